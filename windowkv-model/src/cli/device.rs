//! Where a model runs.

use clap::{Args, ValueEnum};
use half::{bf16, f16};
use serde::Serialize;
use windowkv_kernels::{Device, HalfPrecision};

use super::terminal::progress;
use crate::Result;
use crate::device::{
    DEFAULT_PREFILL_CHUNK, DeviceModel, DevicePlan, PromptShape, free_memory, generate_batch,
    gpu_is_there, open_gpu,
};
use crate::error::Error;
use crate::runner::{Generation, Model, Request};
use crate::weights::{DType, Weights};

/// Where a model runs, and in which type of numbers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Device")]
pub(super) struct DeviceArgs {
    /// Where the model runs: auto takes the GPU if there is one and this program has code for it, and says what it chose;
    /// cpu computes in float32; emulated runs the GPU's kernels on the CPU, slowly [default: auto]
    #[arg(long, value_enum)]
    device: Option<DeviceName>,
    /// Numbers on the GPU or the emulated one [default: as the weights, bf16 for those in float32]
    #[arg(long, value_enum)]
    dtype: Option<DtypeName>,
    /// Tokens of the prompt that go through a layer at a time on the GPU: fewer take less memory
    #[arg(long, value_name = "TOKENS", default_value_t = DEFAULT_PREFILL_CHUNK, value_parser = chunk)]
    prefill_chunk: usize,
}

fn chunk(text: &str) -> std::result::Result<usize, String> {
    super::count(text, 1..=crate::config::MAX_POSITIONS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeviceName {
    Auto,
    Cpu,
    Cuda,
    Emulated,
}

/// A half-precision type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DtypeName {
    Bf16,
    F16,
}

/// Where a run goes on.
pub(super) enum Choice {
    /// The CPU runner.
    Cpu,
    /// A device.
    Device(Box<OnDevice>),
}

/// A device and how it is used.
pub(super) struct OnDevice {
    pub(super) device: Device,
    pub(super) dtype: DtypeName,
    pub(super) prefill_chunk: usize,
}

/// What a report says of the device.
#[derive(Serialize)]
pub(super) struct DeviceReport {
    name: &'static str,
    dtype: DtypeName,
    compute_capability: u32,
    planned_bytes: u64,
    plan: DevicePlan,
}

/// What `--device` names on this machine.
enum Opened {
    Cpu,
    /// A device, and why, where `auto` chose it.
    Device(Device, Option<String>),
    /// `auto` finds no GPU, and why.
    NoGpu(windowkv_kernels::Error),
}

impl DeviceArgs {
    /// Opens the device that was asked for; also what `auto` has to say.
    ///
    /// # Errors
    /// No such device, and what to do.
    pub(super) fn choose(&self, weights: &Weights) -> Result<(Choice, Option<String>)> {
        self.choose_for(weights.embed.dtype())
    }

    /// The same for weights of type `dtype`.
    ///
    /// # Errors
    /// As [`choose`](Self::choose).
    pub(super) fn choose_for(&self, dtype: DType) -> Result<(Choice, Option<String>)> {
        Ok(match self.open()? {
            Opened::Cpu => (Choice::Cpu, None),
            Opened::Device(device, why) => (Choice::Device(Box::new(self.on(device, dtype))), why),
            Opened::NoGpu(why) => {
                let why = format!("--device auto chose cpu, in float32: {why}");
                // Without a GPU, a program that is built for none has nothing to tell those who did not ask.
                let tell = self.device.is_some() || cfg!(feature = "cuda") || gpu_is_there();
                (Choice::Cpu, tell.then_some(why))
            }
        })
    }

    /// The device for what only GPUs do: `auto` takes the emulated one where there is no other.
    ///
    /// # Errors
    /// As [`choose`](Self::choose), and for `--device cpu`.
    pub(super) fn choose_gpu(&self, dtype: DType) -> Result<(OnDevice, Option<String>)> {
        let (device, why) = match self.open()? {
            Opened::Cpu => {
                return Err(Error::Setting {
                    name: "device",
                    value: "cpu".to_owned(),
                    expected: "cuda or emulated: bench measures the device's pipeline",
                });
            }
            Opened::Device(device, why) => (device, why),
            Opened::NoGpu(why) => {
                let why = format!("--device auto chose emulated, whose times are no GPU's: {why}");
                (Device::emulated(), Some(why))
            }
        };
        Ok((self.on(device, dtype), why))
    }

    fn open(&self) -> Result<Opened> {
        Ok(match self.device {
            Some(DeviceName::Cpu) => Opened::Cpu,
            Some(DeviceName::Emulated) => Opened::Device(Device::emulated(), None),
            Some(DeviceName::Cuda) => {
                let device = open_gpu().map_err(|source| Error::Device {
                    step: "opening the GPU".to_owned(),
                    source,
                })?;
                Opened::Device(device, None)
            }
            Some(DeviceName::Auto) | None => match open_gpu() {
                Ok(device) => {
                    let capability = device.capability();
                    let (major, minor) = (capability / 10, capability % 10);
                    let why = format!(
                        "--device auto chose cuda: there is a GPU of compute capability {major}.{minor}"
                    );
                    Opened::Device(device, Some(why))
                }
                Err(why) => Opened::NoGpu(why),
            },
        })
    }

    fn on(&self, device: Device, dtype: DType) -> OnDevice {
        OnDevice {
            device,
            dtype: self.dtype.unwrap_or(match dtype {
                DType::F16 => DtypeName::F16,
                DType::Bf16 | DType::F32 => DtypeName::Bf16,
            }),
            prefill_chunk: self.prefill_chunk,
        }
    }
}

impl OnDevice {
    /// What a batch of prompts takes.
    ///
    /// # Errors
    /// A model or request that the device cannot run.
    pub(super) fn plan(
        &self,
        config: &crate::config::ModelConfig,
        prompts: &[PromptShape<'_>],
    ) -> Result<DevicePlan> {
        DevicePlan::new(&self.device, config, prompts, self.prefill_chunk)
    }

    /// Answers a request, with a bar while the weights are copied.
    ///
    /// # Errors
    /// As [`generate_batch`], before anything is copied where the plan does not fit.
    pub(super) fn generate(
        &self,
        model: &Model,
        request: &Request<'_>,
        progress: &mut dyn FnMut(f64),
        on_text: &mut dyn FnMut(&str),
    ) -> Result<(Generation, DeviceReport)> {
        match self.dtype {
            DtypeName::Bf16 => self.run::<bf16>(model, request, progress, on_text),
            DtypeName::F16 => self.run::<f16>(model, request, progress, on_text),
        }
    }

    fn run<T: HalfPrecision>(
        &self,
        model: &Model,
        request: &Request<'_>,
        prefilled: &mut dyn FnMut(f64),
        on_text: &mut dyn FnMut(&str),
    ) -> Result<(Generation, DeviceReport)> {
        let prompt = PromptShape {
            seqlen: request.ids.len(),
            method: request.method,
            new_tokens: request.max_new_tokens,
        };
        let plan = self.plan(model.llama.config(), &[prompt])?;
        plan.check(free_memory(&self.device))?;
        let bar = progress("weights", 1000);
        let loaded = DeviceModel::<T>::load(&self.device, &model.llama, &mut |done| {
            bar.set_position((done * 1000.0) as u64);
        });
        bar.finish_and_clear();
        let loaded = loaded?;
        let requests = std::slice::from_ref(request);
        let mut answers = generate_batch(
            model,
            &loaded,
            requests,
            self.prefill_chunk,
            prefilled,
            &mut |_, text| on_text(text),
        )?;
        let report = DeviceReport {
            name: self.device.name(),
            dtype: self.dtype,
            compute_capability: self.device.capability(),
            planned_bytes: plan.total(),
            plan,
        };
        Ok((answers.remove(0), report))
    }
}
