#!/usr/bin/env python3
"""The kernels' jobs in PyTorch, for `gpu-bench`, which asks on standard input and is answered on standard output.

One JSON object a line; each question has an "id", which its answer repeats. On start, with id 0: versions and the GPU, or
{"error": why there are no peers}. Then

    {"prepare": {"kernel": "prefill", "batch": 1, ...}}   ->  {"peers": [names], "skipped": [[name, why], ...]}
    {"time": name}                                        ->  {"seconds": of one call, the mean of a graph of many}
    {"product": n}                                        ->  {"operations_per_second": of a bf16 n x n x n product}

Every peer runs in a CUDA graph where that is possible, over as many copies of its tensors as ours, so that neither
Python's time nor a warm cache is in its numbers. The released WindowKV loops over windows in Python with a device
synchronisation for each: it stands beside a vectorised version of the same algorithm, which is the fair opponent.
"""

import json
import os
import sys
import warnings

# Whatever else prints goes to standard error: a stray line would be taken for an answer.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# Seconds of a graph above which it is replayed without another one before it.
LONG = 0.05


def say(number, answer):
    print(json.dumps({"id": number, **answer}), file=answers, flush=True)


def told(error):
    return f"{type(error).__name__}: {error}"[:300]


try:
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no GPU")
    ABOUT = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpu": torch.cuda.get_device_name(0),
    }
except Exception as error:
    say(0, {"error": f"no PyTorch: {told(error)}"})
    sys.exit(0)

BACKENDS = {
    "SDPA cuDNN": "CUDNN_ATTENTION",
    "SDPA flash": "FLASH_ATTENTION",
    "SDPA memory-efficient": "EFFICIENT_ATTENTION",
}


def rand(*shape):
    return torch.rand(*shape, device="cuda", dtype=torch.bfloat16) * 2 - 1


def elapsed(run):
    """Seconds between two events around what `run` puts on the stream."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


class Eager:
    """A call that cannot be captured: events around it, and Python's time between them."""

    def __init__(self, call, _job):
        self.call = call
        call(0)
        torch.cuda.synchronize()

    def seconds(self):
        return elapsed(lambda: self.call(0))


class Graphed:
    """Calls in one CUDA graph, timed by events around its replay."""

    def __init__(self, call, job):
        # The graph holds addresses: the call keeps its tensors alive.
        self.call = call
        stream = torch.cuda.Stream()
        # The tensors were made on the current stream.
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for i in range(3):
                call(i)
            stream.synchronize()
            once = max(min(elapsed(lambda: call(i)) for i in range(3)), 1e-7)
            self.launches = max(1, min(job["launches"], int(job["seconds"] / once)))
            self.led = once * self.launches < LONG
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=stream):
                for i in range(self.launches):
                    call(i)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph.replay()
        torch.cuda.synchronize()

    def seconds(self):
        # Behind another replay the host's time to start this one is not in the way.
        if self.led:
            self.graph.replay()
        return elapsed(self.graph.replay) / self.launches


def attention(job, seqlen_q):
    batch, heads_q, heads_kv, dim = job["batch"], job["num_heads_q"], job["num_heads_kv"], job["head_dim"]
    seqlen = job["seqlen"]
    sets = [
        (rand(batch, heads_q, seqlen_q, dim), rand(batch, heads_kv, seqlen, dim), rand(batch, heads_kv, seqlen, dim))
        for _ in range(job["copies"])
    ]
    causal = seqlen_q > 1

    def of(backend, sets, grouped):
        def call(i):
            q, k, v = sets[i % len(sets)]
            with sdpa_kernel(getattr(SDPBackend, backend)):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)

        return call

    def repeated(backend):
        """A backend that knows no groups, over K and V repeated before they are timed."""
        group = heads_q // heads_kv
        return lambda: of(backend, [(q, *(x.repeat_interleave(group, 1) for x in kv)) for q, *kv in sets], False)

    peers = {}
    for name, backend in BACKENDS.items():
        if hasattr(SDPBackend, backend):
            peers[name] = (Graphed, of(backend, sets, heads_q != heads_kv))
            if heads_q != heads_kv:
                peers[name] += ((f"{name}, K and V repeated", repeated(backend)),)
    return peers


def scored(job):
    """The suffix's attention to the review tokens, pooled into windows: as its users run it, and vectorised."""
    batch, heads_q, heads_kv, dim = job["batch"], job["num_heads_q"], job["num_heads_kv"], job["head_dim"]
    seqlen, suffix, window = job["seqlen"], min(job["suffix_len"], job["seqlen"]), job["window_len"]
    review = seqlen - suffix
    sets = [
        (rand(batch, heads_q, suffix, dim), rand(batch, heads_kv, seqlen, dim))
        for _ in range(job["copies"])
    ]
    group = heads_q // heads_kv
    mask = torch.full((suffix, suffix), float("-inf"), device="cuda").triu(1)

    def repeated(q, k):
        return q @ k.repeat_interleave(group, dim=1).transpose(2, 3)

    def grouped(q, k):
        # One product a KV head: its query heads' rows together, K read once.
        return (q.view(batch, heads_kv, group * suffix, dim) @ k.transpose(2, 3)).view(batch, heads_q, suffix, seqlen)

    def columns(q, k, product):
        weights = product(q, k) * dim**-0.5
        weights[..., -suffix:] += mask.to(weights.dtype)
        weights = torch.softmax(weights, dim=-1, dtype=torch.float32).to(q.dtype)
        return weights[..., :review].sum(dim=-2).mean(dim=1)

    def pooled(q, k):
        scores = columns(q, k, grouped).float()
        padded = F.pad(scores, (0, -review % window))
        counts = F.pad(torch.ones_like(scores), (0, -review % window)).view(batch, -1, window).sum(-1)
        return padded.view(batch, -1, window).sum(-1) / counts

    def released(i):
        scores = columns(*sets[i % len(sets)], repeated)
        windows = []
        for start in range(0, review, window):
            part = scores[0, start : start + window]
            windows.append((start, part.mean().item()))
        return windows

    peers = {"vectorised PyTorch": (Graphed, lambda i: pooled(*sets[i % len(sets)]))}
    if job["compile"]:
        compiled = torch.compile(pooled)
        peers["vectorised, torch.compile"] = (Graphed, lambda i: compiled(*sets[i % len(sets)]))
    if batch == 1:
        peers["the released loop"] = (Eager, released)
    return peers


def selected(job):
    batch, keep = job["batch"], job["kept_windows"]
    windows = -(-(job["seqlen"] - job["suffix_len"]) // job["window_len"])
    sets = [rand(batch, windows).float() for _ in range(job["copies"])]

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
    sets = [
        [(rand(seqlen, heads_kv, dim), rand(seqlen, heads_kv, dim)) for _ in range(job["layers"])]
        for _ in range(job["copies"])
    ]
    starts = torch.linspace(0, seqlen - suffix - window, max(keep, 1), device="cuda").long()[:keep] // window * window
    tokens = (starts[:, None] + torch.arange(window, device="cuda")).flatten()

    def call(i):
        layers = sets[i % len(sets)]
        return [torch.cat([x.index_select(0, tokens), x[-suffix:]]) for layer in layers for x in layer]

    return {"index_select + cat": (Graphed, call)}


def rows(job):
    count, kernel = job["batch"] * job["seqlen"], job["kernel"]
    if kernel == "rms_norm":
        hidden = job["hidden"]
        sets = [(rand(count, hidden), rand(count, hidden)) for _ in range(job["copies"])]
        weight = rand(hidden)

        def norm(i):
            x, residual = sets[i % len(sets)]
            residual += x
            return F.rms_norm(residual, (hidden,), weight, 1e-5)

        return {"add, F.rms_norm": (Graphed, norm)}
    if kernel == "silu_mul":
        columns = job["intermediate"]
        sets = [(rand(count, columns), rand(count, columns)) for _ in range(job["copies"])]
        return {"F.silu, mul": (Graphed, lambda i: F.silu(sets[i % len(sets)][0]) * sets[i % len(sets)][1])}
    if kernel == "sample":
        sets = [rand(count, job["vocab"]) for _ in range(job["copies"])]
        return {"torch.argmax": (Graphed, lambda i: sets[i % len(sets)].argmax(-1))}
    if kernel == "embedding":
        table = rand(job["vocab"], job["hidden"])
        sets = [torch.randint(job["vocab"], (count,), device="cuda") for _ in range(job["copies"])]
        return {"F.embedding": (Graphed, lambda i: F.embedding(sets[i % len(sets)], table))}
    if kernel == "advance":
        sets = [torch.zeros(job["batch"], dtype=torch.int32, device="cuda") for _ in range(job["copies"])]
        return {"add_": (Graphed, lambda i: sets[i % len(sets)].add_(1))}
    return {}


def jobs(job):
    kernel = job["kernel"]
    if kernel in ("prefill", "prefill+lse"):
        return attention(job, job["seqlen"])
    if kernel == "decode":
        return attention(job, 1)
    return {"score": scored, "select": selected, "gather": gathered}.get(kernel, rows)(job)


def attempt(form, call, job):
    """A peer ready to be timed; what fails says why, PyTorch's own warnings with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return form(call, job), None
        except Exception as error:
            torch.cuda.synchronize()
            notes = dict.fromkeys(str(warning.message).split("(Triggered")[0].strip() for warning in caught)
            return None, "; ".join([told(error), *notes])[:600]


def prepare(job):
    ready, skipped = {}, []
    for name, (form, call, *fallback) in jobs(job).items():
        peer, why = attempt(form, call, job)
        if peer is None:
            skipped.append([name, why])
            for other, make in fallback:
                name = other
                peer, why = attempt(lambda call, job: form(call(), job), make, job)
                if peer is None:
                    skipped.append([name, why])
        if peer is not None:
            ready[name] = peer
    return ready, skipped


def product(n):
    a, b = rand(n, n), rand(n, n)
    timed = Graphed(lambda i: a @ b, {"launches": 10, "seconds": 1.0})
    for _ in range(15):
        timed.seconds()
    return 2 * n**3 / sorted(timed.seconds() for _ in range(5))[2]


def main():
    say(0, ABOUT)
    ready = {}
    for line in sys.stdin:
        question = json.loads(line)
        number = question["id"]
        try:
            if "prepare" in question:
                # The last job's tensors go first: a large one needs the room.
                ready.clear()
                torch.cuda.empty_cache()
                ready, skipped = prepare(question["prepare"])
                say(number, {"peers": list(ready), "skipped": skipped})
            elif "time" in question:
                say(number, {"seconds": ready[question["time"]].seconds()})
            else:
                say(number, {"operations_per_second": product(question["product"])})
        except Exception as error:
            say(number, {"error": told(error)})
            # After an error that CUDA does not recover from this raises, and ends the process: another one is started.
            torch.cuda.synchronize()


main()
