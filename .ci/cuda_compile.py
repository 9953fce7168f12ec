"""Compiles cuda/**/*.cu and reads ptxas's report; see cuda-compile.sh."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

# Registers, warps, blocks and shared memory of a multiprocessor, and what the system keeps of the last.
LIMITS = {
    "sm_80": (65536, 64, 32, 164 * 1024, 1024),
    "sm_90a": (65536, 64, 32, 228 * 1024, 1024),
}
HOPPER_ONLY = "// Architectures: sm_90a."


def compile_file(nvcc, source, folder):
    archs = ["90a"] if source.read_text().startswith(HOPPER_ONLY) else ["80", "90a"]
    flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in archs]
    if "80" in archs:
        flags.append("-gencode=arch=compute_90,code=compute_90")
    command = [nvcc, "-std=c++20", "-O3", "-Icuda", "-Icuda/include", "-Xptxas", "-v", "-c", str(source)]
    command += [*flags, "-o", f"{folder}/{str(source).replace('/', '_')}.o", "-Werror", "all-warnings"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def kernels(report):
    """(architecture, mangled name, registers, stack, spills, static shared memory) of each kernel."""
    pattern = re.compile(
        r"Compiling entry function '(\w+)' for '(\w+)'.*?"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
        r"Used (\d+) registers([^\n]*)",
        re.S,
    )
    for name, arch, stack, stores, loads, registers, rest in pattern.findall(report):
        static = re.search(r"(\d+) bytes smem", rest)
        yield arch, name, int(registers), int(stack), int(stores) + int(loads), int(static[1]) if static else 0


def occupancy(arch, registers, threads, shared):
    file, warps, blocks, memory, reserved = LIMITS[arch]
    block_warps = -(-threads // 32)
    warp_registers = -(-registers // 8) * 8 * 32
    fits = min(file // (warp_registers * block_warps), warps // block_warps, blocks, memory // (shared + reserved))
    return fits, 100 * fits * block_warps // warps


def launches(folder):
    """Threads and dynamic shared memory of each kernel, as the programs cuda/**/resources.cpp print them."""
    compiler = os.environ.get("CXX", "c++")
    # The kernels themselves, and what they call, are left out.
    flags = ["-std=c++20", "-O1", "-w", "-Wno-psabi", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
    includes = ["-Icuda", "-Icuda/include", "-Icuda/simt/checks/plain"]
    known = {}
    for source in pathlib.Path("cuda").rglob("resources.cpp"):
        program = f"{folder}/{str(source).replace('/', '_')}"
        subprocess.run([compiler, *flags, *includes, str(source), "-o", program], check=True)
        printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        for line in printed.splitlines():
            name, threads, shared = line.split()
            known[name] = (int(threads), int(shared))
    return known


# What docs/kernels.md calls a kernel, by its function, with the template's arguments.
LABELS = {
    "prefill_kernel": "prefill, head_dim {1}",
    "score_columns_kernel": "score: columns, head_dim {1}",
    "decode_kernel": "decode, head_dim {1}",
    "score_windows_kernel": "score: windows",
    "score_pool_kernel": "score: pool",
    "select_kernel": "select",
    "gather_kernel<4>": "gather",
    "gather_kernel<8>": "gather in place",
    "advance_kernel": "advance",
    "rms_norm_kernel": "rms_norm",
    "rope_kernel": "rope",
    "silu_mul_kernel": "silu_mul",
    "embedding_kernel": "embedding",
    "sample_kernel<ptx::Bfloat16, 256>": "sample, up to 16,384 logits",
    "sample_kernel<ptx::Bfloat16, 512>": "sample, more",
}


def label_of(name):
    """None for samples, probes and other types than bf16."""
    function = re.sub(r"^(\w+::)*(?=\w+_kernel)", "", name)
    base, _, arguments = function.partition("<")
    arguments = arguments.rstrip(">").split(", ")
    if arguments[0] in ("ptx::Half", "float"):
        return None
    label = LABELS.get(function) or LABELS.get(base)
    return label and label.format(*arguments)


def check_documented(table, all_compiled):
    """Whether the rows of docs/kernels.md are those of the table, by label and architecture; tells of others."""
    rows = set()
    for label, by_arch in table.items():
        _, threads, shared, _ = by_arch["sm_80"]
        shared = f"{shared / 1024:.1f}" if shared else "-"
        cells = [cell for arch in ("sm_80", "sm_90a") for cell in (by_arch[arch][0], by_arch[arch][3])]
        rows.add("| " + " | ".join(str(cell) for cell in [label, threads, shared, *cells]) + " |")
    text = pathlib.Path("docs/kernels.md").read_text()
    documented = re.findall(r"^\| [^|]+ \| \d+ \| [\d.-]+ (?:\| \d+ ){4}\|$", text, re.M)
    wrong = [f"has no row {row}" for row in rows - set(documented)]
    if all_compiled:
        wrong += [f"has a row that is not so: {row}" for row in set(documented) - rows]
    for text in wrong:
        print(f"error: docs/kernels.md {text}")
    return not wrong


# Of a compilation of everything for all architectures, on 2 cores.
LIMIT_SECONDS = 120


def main():
    nvcc, wanted = sys.argv[1:3]
    started = time.monotonic()
    sources = sorted(path for path in pathlib.Path("cuda").rglob("*.cu") if wanted in str(path))
    failed = not sources
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        known = launches(folder)
        results = pool.map(lambda source: compile_file(nvcc, source, folder), sources)
        count = 0
        table = {}
        print(f"{'kernel':58} {'arch':7} {'regs':>4} {'threads':>7} {'shared':>7} {'blocks/SM':>9} {'occupancy':>9}")
        for source, (code, report) in zip(sources, results):
            if code != 0:
                print(f"{source}: nvcc failed\n{report}")
                failed = True
            for arch, mangled, registers, stack, spills, static in kernels(report):
                count += 1
                name = subprocess.run(["c++filt", mangled], capture_output=True, text=True).stdout.strip()
                name = re.sub(r"windowkv::(device::)?|\(anonymous namespace\)::|^void |\([^()]*\)$", "", name)
                name = name.replace("(ptx::Major)", "")
                function = re.sub(r"<.*", "", name).split("::")[-1]
                line = f"{name[:58]:58} {arch:7} {registers:4}"
                # By its template's arguments, where they change what a launch asks for.
                launch = known.get(name.replace(" ", "")) or known.get(function)
                if launch:
                    threads, shared = launch
                    blocks, percent = occupancy(arch, registers, threads, shared + static)
                    line += f" {threads:7} {shared + static:7} {blocks:9} {percent:8}%"
                    if label := label_of(name):
                        table.setdefault(label, {})[arch] = registers, threads, shared + static, blocks
                print(line)
                if not launch:
                    print(f"error: no cuda/**/resources.cpp prints the launch of {name}")
                    failed = True
                if stack or spills:
                    print(f"error: {name} on {arch}: {stack} bytes of local memory, {spills} bytes of spills")
                    failed = True
    seconds = time.monotonic() - started
    print(f"{len(sources)} files, {count} kernels, {seconds:.0f} s on {os.cpu_count()} cores")
    failed |= not check_documented(table, not wanted)
    if seconds > LIMIT_SECONDS:
        print(f"error: that is more than {LIMIT_SECONDS} s")
        failed = True
    return 1 if failed or count == 0 else 0


sys.exit(main())
