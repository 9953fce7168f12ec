#!/usr/bin/env python3
"""windowkv and PyTorch side by side on this machine's CPU: prefill seconds and decode tokens a second.

One random Llama of 149.8 million parameters, one prompt, the same number of threads for both. PyTorch runs in
float32; windowkv from float32 weights and, as a row of its own, from bf16 weights (computing in float32 too).
Before anything is timed, the logits of the first new token must agree and all greedy tokens must be equal.

PyTorch gets its best reasonable form in eager mode: scaled_dot_product_attention, q/k/v and gate/up in one matrix
product each, a KV cache that is allocated once, logits of the last row only, inference mode, a warm-up. With
--compile its decode step goes through torch.compile. The model is written out below, so nothing else is needed:

    pip install torch numpy safetensors
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = """examples:
  python benches/peers/cpu_pytorch.py                             the comparison of the README
  python benches/peers/cpu_pytorch.py --rounds 9 --json cpu.json  more rounds, and every number in a file
  python benches/peers/cpu_pytorch.py --threads 1 --compile       one thread, PyTorch's decode step compiled
"""


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompt-tokens", type=int, default=2048, metavar="N")
    parser.add_argument("--new-tokens", type=int, default=65, metavar="N", help="the first comes out of prefill")
    parser.add_argument("--capacity", type=int, default=256, metavar="N", help="WindowKV's --max-capacity-prompt")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="timed rounds, at least 5 to be quoted")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--compile", action="store_true", help="torch.compile for PyTorch's decode step")
    parser.add_argument("--models", type=Path, metavar="DIR", help="keep the checkpoints here [default: temporary]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="machine, versions and all rounds")
    return parser.parse_args()


ARGUMENTS = parse_arguments()
# Before torch is loaded, so that its libraries make no more threads than these.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = str(ARGUMENTS.threads)

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class TorchLlama:
    """Llama in float32 with a preallocated cache `k v [layers, 1, num_heads_kv, capacity, head_dim]`."""

    def __init__(self, folder, capacity):
        c = json.loads((folder / "config.json").read_text())
        w = load_file(folder / "model.safetensors")
        self.num_layers, self.eps = c["num_hidden_layers"], c["rms_norm_eps"]
        self.num_heads_q, self.num_heads_kv = c["num_attention_heads"], c["num_key_value_heads"]
        self.hidden, self.head_dim = c["hidden_size"], c["head_dim"]
        self.group = self.num_heads_q // self.num_heads_kv
        self.embed, self.norm = w["model.embed_tokens.weight"], w["model.norm.weight"]
        self.lm_head = w.get("lm_head.weight", self.embed)
        self.layers = []
        for layer in range(self.num_layers):
            get = lambda part: w.pop(f"model.layers.{layer}.{part}.weight")
            attention = {x: get(f"self_attn.{x}_proj") for x in "qkvo"}
            mlp = {x: get(f"mlp.{x}_proj") for x in ("gate", "up", "down")}
            self.layers.append(
                (
                    get("input_layernorm"),
                    torch.cat([attention["q"], attention["k"], attention["v"]]),
                    attention["o"],
                    get("post_attention_layernorm"),
                    torch.cat([mlp["gate"], mlp["up"]]),
                    mlp["down"],
                )
            )
        inv_freq = c["rope_theta"] ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        angles = torch.outer(torch.arange(capacity, dtype=torch.float64), inv_freq)
        self.cos, self.sin = angles.cos().float(), angles.sin().float()
        shape = (self.num_layers, 1, self.num_heads_kv, capacity, self.head_dim)
        self.k, self.v = torch.zeros(shape), torch.zeros(shape)

    def rope(self, x, start):
        """`x [1, heads, tokens, head_dim]` from position `start` on."""
        tokens = x.shape[2]
        cos, sin = self.cos[start : start + tokens], self.sin[start : start + tokens]
        low, high = x.chunk(2, dim=-1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)

    def forward(self, ids, start):
        """Runs `ids [tokens]` from position `start`; returns the last token's logits `[vocab_size]`."""
        tokens, end = ids.shape[0], start + ids.shape[0]
        x = F.embedding(ids, self.embed)
        for layer, (input_norm, qkv, o, post_norm, gate_up, down) in enumerate(self.layers):
            heads = F.linear(F.rms_norm(x, (self.hidden,), input_norm, self.eps), qkv)
            heads = heads.view(1, tokens, -1, self.head_dim).transpose(1, 2)
            q, k, v = heads.split([self.num_heads_q, self.num_heads_kv, self.num_heads_kv], dim=1)
            q = self.rope(q, start)
            self.k[layer, :, :, start:end] = self.rope(k, start)
            self.v[layer, :, :, start:end] = v
            k, v = self.k[layer, :, :, :end], self.v[layer, :, :, :end]
            if tokens == 1:
                # The query heads of a group as rows of one product: K and V are read once, not copied per head.
                grouped = q.view(1, self.num_heads_kv, self.group, self.head_dim)
                out = F.scaled_dot_product_attention(grouped, k, v)
            else:
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)
            x = x + F.linear(out.reshape(tokens, -1), o)
            gate, up = F.linear(F.rms_norm(x, (self.hidden,), post_norm, self.eps), gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x[-1], (self.hidden,), self.norm, self.eps), self.lm_head)


def run_torch(model, decode, prompt, new_tokens):
    """Prefill to the first token, then greedy decode. `prompt [tokens]`."""
    with torch.inference_mode():
        begin = time.perf_counter()
        logits = model.forward(prompt, 0)
        token = logits.argmax()
        ids = [token.item()]
        prefilled = time.perf_counter()
        for position in range(len(prompt), len(prompt) + new_tokens - 1):
            token = decode(token.view(1), position).argmax()
            ids.append(token.item())
        end = time.perf_counter()
    return {"prefill_seconds": prefilled - begin, "decode_seconds": end - prefilled, "ids": ids}, logits.numpy()


def cargo(*arguments):
    """Runs a program of the workspace in its release form; what it prints on stdout."""
    command = ["cargo", "run", "--quiet", "--release", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout


def run_ours(folder, prompt_file, new_tokens, method):
    """One fresh process; it times itself from the ids on, the first reading of its mapped weights included."""
    command = ["generate", "--model-dir", folder, "--prompt-file", prompt_file, "--max-new-tokens", new_tokens]
    command += ["--ignore-eos", "--json", "--max-input-len", ARGUMENTS.prompt_tokens, *method]
    report = json.loads(cargo("-p", "windowkv-model", "--bin", "windowkv", "--", *map(str, command)))
    return {
        "prefill_seconds": report["timing"]["prefill_seconds"],
        "decode_seconds": report["timing"]["decode_seconds"],
        "peak_memory_bytes": report["peak_memory_bytes"],
        "ids": report["ids"],
    }


def check_agreement(folder, model, prompt, prompt_file, scratch, new_tokens):
    """Stops the program unless both compute the same: logits of the first token, and all greedy tokens."""
    theirs, logits = run_torch(model, model.forward, prompt, new_tokens)
    ours = run_ours(folder, prompt_file, new_tokens, ["--method", "fullkv"])
    file = scratch / "logits.f32"
    cargo("-p", "windowkv-benches", "--example", "last-logits", "--", str(folder), str(prompt_file), str(file))
    difference = float(np.abs(np.fromfile(file, "<f4") - logits).max())
    bound = 1e-4 * float(np.abs(logits).max())
    print(f"largest difference of logits {difference:.1e} (bound {bound:.1e})", file=sys.stderr)
    if difference > bound:
        sys.exit("the logits of windowkv and PyTorch differ")
    if ours["ids"] != theirs["ids"]:
        sys.exit(f"the greedy tokens differ:\n  windowkv {ours['ids']}\n  PyTorch  {theirs['ids']}")
    print(f"all {new_tokens} greedy tokens are equal", file=sys.stderr)
    return difference


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def table(rows):
    """Markdown; ratios are medians of the ratios to the PyTorch run of the same round."""
    text = "| | prefill s (min-max) | x PyTorch | decode tokens/s (min-max) | x PyTorch |\n|---|---|---|---|---|\n"
    for name, row in rows.items():
        p, d = row["prefill_seconds"], row["decode_tokens_per_second"]
        text += f"| {name} | {p['median']:.2f} ({p['min']:.2f}-{p['max']:.2f}) | {row['prefill_speedup']:.2f} "
        text += f"| {d['median']:.1f} ({d['min']:.1f}-{d['max']:.1f}) | {row['decode_speedup']:.2f} |\n"
    return text


def main():
    a = ARGUMENTS
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        models = (a.models or scratch).resolve()
        folders = {dtype: models / f"llama-150m-{dtype}" for dtype in ("f32", "bf16")}
        for dtype, folder in folders.items():
            if not (folder / "generation_config.json").exists():
                arguments = ["--out", str(folder), "--dtype", dtype, "--max-positions", str(a.prompt_tokens + 1024)]
                print(cargo("-p", "windowkv-model", "--example", "random-checkpoint", "--", *arguments), end="")
        vocab_size = json.loads((folders["f32"] / "config.json").read_text())["vocab_size"]
        ids = np.random.default_rng(7).integers(2, vocab_size, a.prompt_tokens)
        prompt_file = scratch / "prompt.txt"
        prompt_file.write_text(" ".join(f"t{id}" for id in ids))
        prompt = torch.from_numpy(ids)

        model = TorchLlama(folders["f32"], a.prompt_tokens + a.new_tokens)
        difference = check_agreement(folders["f32"], model, prompt, prompt_file, scratch, a.new_tokens)

        window = ["--method", "windowkv", "--max-capacity-prompt", a.capacity]
        full = ["--method", "fullkv"]
        baseline = "PyTorch float32"
        runs = {baseline: lambda: run_torch(model, model.forward, prompt, a.new_tokens)[0]}
        if a.compile:
            # Positions differ from step to step, so the step is compiled for any of them.
            compiled = torch.compile(model.forward, dynamic=True)
            runs["PyTorch float32, decode compiled"] = lambda: run_torch(model, compiled, prompt, a.new_tokens)[0]
        for dtype, folder in folders.items():
            for name, method in (("FullKV", full), (f"WindowKV {a.capacity}", window)):
                runs[f"windowkv {dtype}, {name}"] = lambda f=folder, m=method: run_ours(f, prompt_file, a.new_tokens, m)
        for run in runs.values():
            run()  # Warm-up: the compiler, caches of files, allocators.

        rounds = []
        for index in range(a.rounds):
            # There and back again (ABBA): what slows the machine down slowly hits all of them alike.
            order = list(runs) if index % 2 == 0 else list(reversed(runs))
            rounds.append({name: runs[name]() for name in order})
            print(f"round {index + 1} of {a.rounds}", file=sys.stderr)

    rows = {}
    for name in runs:
        prefill = [round[name]["prefill_seconds"] for round in rounds]
        decode = [(a.new_tokens - 1) / round[name]["decode_seconds"] for round in rounds]
        ratios = lambda key: [round[baseline][key] / round[name][key] for round in rounds]
        rows[name] = {
            "prefill_seconds": summary(prefill),
            "decode_tokens_per_second": summary(decode),
            "prefill_speedup": statistics.median(ratios("prefill_seconds")),
            "decode_speedup": statistics.median(ratios("decode_seconds")),
        }
    machine = {
        "cpu": cpu_name(),
        "threads": a.threads,
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rustc": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip(),
    }
    print(f"{machine['cpu']}, {a.threads} threads, torch {machine['torch']}, {machine['rustc']}; ", end="")
    print(f"prompt of {a.prompt_tokens} tokens, {a.new_tokens} new ones, medians of {a.rounds} rounds\n")
    print(table(rows))
    if a.json:
        settings = {name: value for name, value in vars(a).items() if not isinstance(value, Path)}
        report = {"machine": machine, "settings": settings, "largest_logit_difference": difference}
        a.json.write_text(json.dumps(report | {"rows": rows, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
