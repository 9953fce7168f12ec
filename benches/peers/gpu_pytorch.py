#!/usr/bin/env python3
"""The kernels' jobs in PyTorch, for `gpu-bench`, which asks on standard input and is answered on standard output.

One JSON object a line. On start: versions and the GPU, or {"error": why there are no peers}. Then

    {"prepare": {"kernel": "prefill", "batch": 1, ...}}   ->  {"peers": [names], "skipped": [[name, why], ...]}
    {"time": name}                                        ->  {"seconds": of one call, the mean of a graph of many}
    {"product": n}                                        ->  {"operations_per_second": of a bf16 n x n x n product}

Every peer runs in a CUDA graph where that is possible, over rotated copies of its tensors, so that neither Python's
time nor a warm cache is in its numbers. The released WindowKV loops over windows in Python with a device
synchronisation for each: it stands beside a vectorised version of the same algorithm, which is the fair opponent.
"""

import json
import sys

ROTATED_BYTES = 512 << 20
MAX_COPIES = 64
ROUND_SECONDS = 0.02
MAX_LAUNCHES = 400


def say(answer):
    print(json.dumps(answer), flush=True)


try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as error:
    say({"error": f"no PyTorch: {error}"})
    sys.exit(0)
if not torch.cuda.is_available():
    say({"error": "PyTorch sees no GPU"})
    sys.exit(0)

BACKENDS = {
    "SDPA cuDNN": "CUDNN_ATTENTION",
    "SDPA flash": "FLASH_ATTENTION",
    "SDPA memory-efficient": "EFFICIENT_ATTENTION",
}


def rand(*shape):
    return torch.rand(*shape, device="cuda", dtype=torch.bfloat16) * 2 - 1


def copies(bytes_of_one):
    return max(2, min(MAX_COPIES, -(-ROTATED_BYTES // max(bytes_of_one, 1))))


class Eager:
    """Calls that cannot be captured: the host's clock around a synchronised loop."""

    def __init__(self, call):
        self.call = call
        call(0)
        torch.cuda.synchronize()

    def seconds(self):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        self.call(0)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3


class Graphed:
    """Calls in one CUDA graph, timed by events around its replay."""

    def __init__(self, call):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for i in range(3):
                call(i)
            stream.synchronize()
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            call(0)
            end.record()
            end.synchronize()
            once = max(begin.elapsed_time(end) / 1e3, 1e-7)
            self.launches = max(3, min(MAX_LAUNCHES, int(ROUND_SECONDS / once)))
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=stream):
                for i in range(self.launches):
                    call(i)
        self.graph.replay()
        torch.cuda.synchronize()

    def seconds(self):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / self.launches


def attention(job, seqlen_q):
    batch, heads_q, heads_kv, dim = job["batch"], job["num_heads_q"], job["num_heads_kv"], job["head_dim"]
    seqlen = job["seqlen"]
    bytes_of_one = 4 * batch * dim * (seqlen * heads_kv + seqlen_q * heads_q)
    sets = [
        (rand(batch, heads_q, seqlen_q, dim), rand(batch, heads_kv, seqlen, dim), rand(batch, heads_kv, seqlen, dim))
        for _ in range(copies(bytes_of_one))
    ]
    causal = seqlen_q > 1

    def of(backend):
        def call(i):
            q, k, v = sets[i % len(sets)]
            with sdpa_kernel(getattr(SDPBackend, backend)):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=heads_q != heads_kv)

        return call

    return {name: (Graphed, of(backend)) for name, backend in BACKENDS.items() if hasattr(SDPBackend, backend)}


def scored(job):
    """The suffix's attention to the review tokens, pooled into windows: as its users run it, and vectorised."""
    batch, heads_q, heads_kv, dim = job["batch"], job["num_heads_q"], job["num_heads_kv"], job["head_dim"]
    seqlen, suffix, window = job["seqlen"], min(job["suffix_len"], job["seqlen"]), job["window_len"]
    review = seqlen - suffix
    sets = [
        (rand(batch, heads_q, suffix, dim), rand(batch, heads_kv, seqlen, dim))
        for _ in range(copies(2 * batch * seqlen * heads_kv * dim))
    ]
    mask = torch.full((suffix, suffix), float("-inf"), device="cuda").triu(1)

    def columns(i):
        q, k = sets[i % len(sets)]
        k = k.repeat_interleave(heads_q // heads_kv, dim=1)
        weights = q @ k.transpose(2, 3) * dim**-0.5
        weights[..., -suffix:] += mask.to(weights.dtype)
        weights = torch.softmax(weights, dim=-1, dtype=torch.float32).to(q.dtype)
        return weights[..., :review].sum(dim=-2).mean(dim=1)

    def vectorised(i):
        scores = columns(i).float()
        padded = F.pad(scores, (0, -review % window))
        counts = F.pad(torch.ones_like(scores), (0, -review % window)).view(batch, -1, window).sum(-1)
        return padded.view(batch, -1, window).sum(-1) / counts

    def released(i):
        scores = columns(i)
        windows = []
        for start in range(0, review, window):
            part = scores[0, start : start + window]
            windows.append((start, part.mean().item()))
        return windows

    peers = {"vectorised PyTorch": (Graphed, vectorised)}
    if batch == 1:
        peers["the released loop"] = (Eager, released)
    return peers


def selected(job):
    batch, keep = job["batch"], job["kept_windows"]
    windows = -(-(job["seqlen"] - job["suffix_len"]) // job["window_len"])
    sets = [rand(batch, windows).float() for _ in range(copies(4 * batch * windows))]

    def topk(i):
        return torch.topk(sets[i % len(sets)], keep, dim=-1).indices.sort(dim=-1).values

    def stable(i):
        order = torch.sort(sets[i % len(sets)], dim=-1, descending=True, stable=True).indices
        return order[:, :keep].sort(dim=-1).values

    return {"torch.topk, sorted": (Graphed, topk), "stable torch.sort": (Graphed, stable)}


def gathered(job):
    batch, heads_kv, dim = job["batch"], job["num_heads_kv"], job["head_dim"]
    seqlen, keep, window, suffix = job["seqlen"], job["kept_windows"], job["window_len"], job["suffix_len"]
    if batch != 1:
        return {}
    layers = [(rand(seqlen, heads_kv, dim), rand(seqlen, heads_kv, dim)) for _ in range(job["layers"])]
    starts = torch.linspace(0, seqlen - suffix - window, max(keep, 1), device="cuda").long()[:keep] // window * window
    tokens = (starts[:, None] + torch.arange(window, device="cuda")).flatten()

    def call(_):
        return [
            torch.cat([x.index_select(0, tokens), x[-suffix:]]) for layer in layers for x in layer
        ]

    return {"index_select + cat": (Graphed, call)}


def rows(job):
    count, kernel = job["batch"] * job["seqlen"], job["kernel"]
    if kernel == "rms_norm":
        hidden = job["hidden"]
        sets = [(rand(count, hidden), rand(count, hidden)) for _ in range(copies(8 * count * hidden))]
        weight = rand(hidden)

        def norm(i):
            x, residual = sets[i % len(sets)]
            residual += x
            return F.rms_norm(residual, (hidden,), weight, 1e-5)

        return {"add, F.rms_norm": (Graphed, norm)}
    if kernel == "silu_mul":
        columns = job["intermediate"]
        sets = [(rand(count, columns), rand(count, columns)) for _ in range(copies(6 * count * columns))]
        return {"F.silu, mul": (Graphed, lambda i: F.silu(sets[i % len(sets)][0]) * sets[i % len(sets)][1])}
    if kernel == "sample":
        sets = [rand(count, job["vocab"]) for _ in range(copies(2 * count * job["vocab"]))]
        return {"torch.argmax": (Graphed, lambda i: sets[i % len(sets)].argmax(-1))}
    return {}


def jobs(job):
    kernel = job["kernel"]
    if kernel in ("prefill", "prefill+lse"):
        return attention(job, job["seqlen"])
    if kernel == "decode":
        return attention(job, 1)
    return {"score": scored, "select": selected, "gather": gathered}.get(kernel, rows)(job)


def prepare(job):
    ready, skipped = {}, []
    try:
        peers = jobs(job)
    except Exception as error:
        return ready, [["all", f"{type(error).__name__}: {error}"[:300]]]
    for name, (form, call) in peers.items():
        try:
            ready[name] = form(call)
        except Exception as error:
            torch.cuda.synchronize()
            skipped.append([name, f"{type(error).__name__}: {error}"[:300]])
    return ready, skipped


def product(n):
    a, b = rand(n, n), rand(n, n)
    timed = Graphed(lambda i: a @ b)
    seconds = sorted(timed.seconds() for _ in range(5))[2]
    return 2 * n**3 / seconds


def main():
    say(
        {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu": torch.cuda.get_device_name(0),
        }
    )
    ready = {}
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if "prepare" in question:
                # The last job's tensors go first: a large one needs the room.
                ready.clear()
                torch.cuda.empty_cache()
                ready, skipped = prepare(question["prepare"])
                say({"peers": list(ready), "skipped": skipped})
            elif "time" in question:
                say({"seconds": ready[question["time"]].seconds()})
            else:
                say({"operations_per_second": product(question["product"])})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"[:300]})


main()
