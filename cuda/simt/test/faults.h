// Kernels with a fault each, for the tests of the emulated GPU's reports.

#pragma once

#include <span>

#include "ptx/test/probe.cuh"

namespace windowkv::inline WKV_MACHINE::probe {

std::span<const Probe> fault_probes();

}  // namespace windowkv::inline WKV_MACHINE::probe
