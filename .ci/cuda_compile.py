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
                print(line)
                if not launch:
                    print(f"error: no cuda/**/resources.cpp prints the launch of {name}")
                    failed = True
                if stack or spills:
                    print(f"error: {name} on {arch}: {stack} bytes of local memory, {spills} bytes of spills")
                    failed = True
    seconds = time.monotonic() - started
    print(f"{len(sources)} files, {count} kernels, {seconds:.0f} s on {os.cpu_count()} cores")
    if seconds > LIMIT_SECONDS:
        print(f"error: that is more than {LIMIT_SECONDS} s")
        failed = True
    return 1 if failed or count == 0 else 0


sys.exit(main())
