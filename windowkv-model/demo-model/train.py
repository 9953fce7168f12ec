#!/usr/bin/env python3
"""Trains the demo model on the CPU: a small Llama that finds facts in a haystack.

    cargo build --release -p windowkv-model --example demo-data
    python windowkv-model/demo-model/train.py --data target/release/examples/demo-data --out model --log train.log --seed 1

Data comes from the generator alone (`demo-data train SEED`). Two layers learn to copy on short texts; then the model grows
to eight layers and learns the long ones. A checkpoint follows each stage; `--resume` continues after the last.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, MLP, THETA, EPS = 128, 4, 2, 32, 256, 10_000.0, 1e-5
BEGIN, END = 1, 2
INIT_STD = 0.09
# Layers of the grown model that start as copies of the two trained ones; the others start as no-ops.
LAYERS = 8
GROWN = {0: 0, 2: 1, 3: 1, 4: 1, 5: 1}

# (name, layers, length, tokens of a batch, least and most steps, accuracy to go on at, learning rate)
STAGES = [
    ("copy-64", 2, 64, 4096, 100, 6000, 0.90, 2e-3),
    ("copy-128", 2, 128, 4096, 50, 1500, 0.95, 2e-3),
    ("copy-256", 2, 256, 8192, 50, 1000, 0.97, 2e-3),
    ("copy-512", 2, 512, 8192, 50, 1000, 0.97, 2e-3),
    ("grown-256", 8, 256, 8192, 60, 600, 0.98, 1e-3),
    ("grown-512", 8, 512, 8192, 50, 400, 0.98, 1e-3),
    ("grown-1024", 8, 1024, 8192, 50, 400, 0.985, 1e-3),
    ("grown-2048", 8, 2048, 8192, 60, 200, 0.99, 1e-3),
    ("grown-4096", 8, 4096, 8192, 160, 160, 0.99, 1e-3),
    # All lengths in turn: after the longest texts alone the model answers short ones worse.
    ("mixed", 8, (256, 512, 1024, 2048, 4096), 8192, 160, 160, 0.99, 1e-3),
    ("polish", 8, (256, 1024, 2048, 4096, 512, 2048), 8192, 168, 168, 0.99, 1e-3),
]


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(HIDDEN, eps=EPS)
        self.post_attention_layernorm = nn.RMSNorm(HIDDEN, eps=EPS)
        self.q_proj = nn.Linear(HIDDEN, HEADS * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(HIDDEN, KV_HEADS * HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_DIM, HIDDEN, bias=False)
        self.gate_proj = nn.Linear(HIDDEN, MLP, bias=False)
        self.up_proj = nn.Linear(HIDDEN, MLP, bias=False)
        self.down_proj = nn.Linear(MLP, HIDDEN, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=INIT_STD)

    def forward(self, x, cos, sin):
        b, n, _ = x.shape
        h = self.input_layernorm(x)
        q = self.q_proj(h).view(b, n, HEADS, HEAD_DIM).transpose(1, 2)
        k = self.k_proj(h).view(b, n, KV_HEADS, HEAD_DIM).transpose(1, 2)
        v = self.v_proj(h).view(b, n, KV_HEADS, HEAD_DIM).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = (t.repeat_interleave(HEADS // KV_HEADS, dim=1) for t in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o_proj(a.transpose(1, 2).reshape(b, n, HEADS * HEAD_DIM))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


def rotate(x, cos, sin):
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Model(nn.Module):
    def __init__(self, vocab, layers):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab, HIDDEN)
        nn.init.normal_(self.embed_tokens.weight, std=INIT_STD)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.norm = nn.RMSNorm(HIDDEN, eps=EPS)

    def forward(self, ids):
        """Last hidden states, normalised."""
        n = ids.shape[1]
        inverse = THETA ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
        angles = torch.arange(n, dtype=torch.float64)[:, None] * inverse[None]
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos().float(), angles.sin().float()
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)

    def logits(self, hidden):
        return hidden @ self.embed_tokens.weight.T


def grow(small, vocab):
    """Eight layers from two: copies of the trained ones, a copied layer's output divided by the number of its copies."""
    model = Model(vocab, LAYERS)
    model.embed_tokens.load_state_dict(small.embed_tokens.state_dict())
    model.norm.load_state_dict(small.norm.state_dict())
    for place, layer in enumerate(model.layers):
        source = GROWN.get(place)
        if source is not None:
            layer.load_state_dict(small.layers[source].state_dict())
        share = 0.0 if source is None else 1.0 / list(GROWN.values()).count(source)
        with torch.no_grad():
            layer.o_proj.weight.mul_(share)
            layer.down_proj.weight.mul_(share)
    return model


def hf_tensors(model):
    tensors = {"model.embed_tokens.weight": model.embed_tokens.weight, "model.norm.weight": model.norm.weight}
    for i, layer in enumerate(model.layers):
        for name, parameter in layer.named_parameters():
            module = name.split(".")[0]
            parent = {"q": "self_attn.", "k": "self_attn.", "v": "self_attn.", "o": "self_attn.", "g": "mlp.", "d": "mlp."}
            prefix = "" if "norm" in module else "mlp." if module == "up_proj" else parent[module[0]]
            tensors[f"model.layers.{i}.{prefix}{module}.weight"] = parameter
    return {name: t.detach().to(torch.bfloat16).contiguous() for name, t in tensors.items()}


class Data:
    """Batches of fact prompts from the generator and of repeated random spans."""

    def __init__(self, command, seed, worker):
        self.seed, self.worker = seed, worker
        self.process = subprocess.Popen([command, "train", str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, stage):
        """Every stage and worker has data of its own, whatever came before."""
        self.rng = np.random.default_rng([self.seed, stage, self.worker])
        self.index = (stage * 64 + self.worker) * 10_000_000

    def facts_prompt(self, length, low):
        rng = self.rng
        # Some of the texts are shorter, so that no length is forgotten.
        tokens = int(rng.integers(low, length + 1)) if rng.random() < 0.25 else length
        answer = int(rng.integers(1, 3)) if rng.random() < 0.15 else int(rng.integers(3, 9))
        if length <= 64:
            facts, questions, answer = 1, 1, int(rng.integers(1, 6))
            if answer <= 3:
                facts = 2
        elif length <= 128:
            facts, answer, questions = int(rng.integers(2, 4)), min(answer, 6), 2
        else:
            # The longest texts are few: many questions in each.
            top = 25 if length >= 4096 else 17 if length >= 1024 else 13 if length >= 512 else 9
            facts = int(rng.integers(4, top))
            questions = min(facts, 4 if length == 256 else 6 if length <= 1024 else 8 if length <= 2048 else 20)
            questions = int(rng.integers(1, questions + 1)) if length <= 256 else questions
            while 1 + facts * (6 + answer) + questions * (19 + answer) > tokens:
                facts, questions = max(1, facts - 1), max(1, min(questions, facts - 1))
                answer = answer - 1 if facts == 1 else answer
        return tokens, facts, answer, questions

    def facts(self, count, length):
        low = max(64, min(256, length // 2)) if length > 128 else length
        requests = []
        for _ in range(count):
            tokens, facts, answer, questions = self.facts_prompt(length, low)
            requests.append(f"{self.index} {tokens} {facts} {answer} {questions}\n")
            self.index += 1
        self.process.stdin.write("".join(requests).encode() + b"\n")
        self.process.stdin.flush()
        ids = np.full((count, length), END, dtype=np.int64)
        # 0: no loss (the padding), 1: language modelling, 2: an answer.
        kind = np.zeros((count, length), dtype=np.int64)
        for row in range(count):
            n = int.from_bytes(self.process.stdout.read(2), "little")
            sample = np.frombuffer(self.process.stdout.read(2 * n), dtype="<u2")
            ids[row, :n] = sample & 0x7FFF
            kind[row, :n] = 1 + (sample >> 15)
        longest = kind.any(axis=0).sum()
        return ids[:, :longest], kind[:, :longest]

    def repeats(self, count, length, vocab):
        rng = self.rng
        ids = rng.integers(3, vocab, size=(count, length))
        ids[:, 0] = BEGIN
        kind = np.zeros((count, length), dtype=np.int64)
        for row in range(count):
            at = int(rng.integers(8, max(9, length // 2)))
            while at < length - 4:
                span = int(rng.integers(4, min(24, at) + 1))
                span = min(span, length - at)
                source = int(rng.integers(1, at - span + 1)) if at - span >= 1 else 1
                ids[row, at : at + span] = ids[row, source : source + span]
                kind[row, at + 1 : at + span] = 2
                at += span + int(rng.integers(0, 9 if length <= 256 else 1 + length // 16))
        return ids, kind


def losses(model, ids, kind, lm_weight):
    """Loss, and correct and all tokens of the answers (or repeats)."""
    hidden = model(ids[:, :-1])
    target, kind = ids[:, 1:], kind[:, 1:]
    wanted = kind > (0 if lm_weight else 1)
    logits = model.logits(hidden[wanted])
    target, kind = target[wanted], kind[wanted]
    each = F.cross_entropy(logits, target, reduction="none")
    answers = kind == 2
    loss = each[answers].mean()
    if lm_weight:
        loss = loss + lm_weight * each[~answers].mean()
    right = (logits[answers].argmax(-1) == target[answers]).sum().item()
    return loss, right, int(answers.sum())


def total(numbers):
    """Sums of the workers' numbers."""
    sums = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def mean_gradients(parameters):
    """Gives every worker the mean of all workers' gradients."""
    flat = torch.cat([p.grad.flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, mean in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad.copy_(mean.view_as(p))


@torch.no_grad()
def evaluate(model, command, seed, length, facts, answer_tokens, count):
    """Share of answers that are right token for token, full stop and end included, with the weights rounded to bf16.

    The right answer is fed as far as it goes, and the argmax at each place has to be its next token: that is the same as
    greedy generation giving the right answer. The workers share the prompts.
    """
    rounded = Model(model.embed_tokens.num_embeddings, len(model.layers))
    rounded.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in model.state_dict().items()})
    args = [command, "prompts", str(seed), "0", str(count), str(length), str(facts), str(answer_tokens)]
    output = subprocess.run(args, check=True, capture_output=True).stdout
    right = 0
    for line in output.splitlines()[dist.get_rank() :: dist.get_world_size()]:
        prompt = json.loads(line)
        answer = torch.tensor(prompt["answer_ids"])
        ids = torch.tensor(prompt["ids"] + prompt["answer_ids"][:-1])[None]
        hidden = rounded(ids)[0, -len(answer) :]
        right += int((rounded.logits(hidden).argmax(-1) == answer).all())
    return total([right])[0] / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the generator's program")
    parser.add_argument("--out", required=True, help="folder of the model and its checkpoint")
    parser.add_argument("--log", default="train.log")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=4608, help="for config.json")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each, which share every batch")
    parser.add_argument("--stages", type=int, default=len(STAGES), help="stop after so many")
    parser.add_argument("--resume", action="store_true", help="continue after the last checkpoint in the folder")
    parser.add_argument("--eval-only", action="store_true")
    parser.add_argument("--eval-prompts", type=int, default=200)
    args = parser.parse_args()
    args.command = " ".join(sys.argv)
    os.makedirs(args.out, exist_ok=True)
    subprocess.run([args.data, "files", args.out, str(args.max_tokens)], check=True)
    with tempfile.TemporaryDirectory() as folder:
        args.meeting = "file://" + os.path.join(folder, "workers")
        mp.spawn(work, (args,), args.workers)


def work(worker, args):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=args.meeting, rank=worker, world_size=args.workers)
    torch.manual_seed(args.seed)
    with open(os.path.join(args.out, "config.json")) as file:
        vocab = json.load(file)["vocab_size"]
    append = args.resume or args.eval_only
    log_file = open(args.log, "a" if append else "w", buffering=1) if worker == 0 else None
    checkpoint = os.path.join(args.out, "checkpoint.pt")
    started = time.time()

    def seconds():
        return time.time() - started + before

    def log(text):
        if log_file:
            print(text, flush=True)
            log_file.write(text + "\n")

    def save(model, done):
        if worker:
            return
        state = {"model": model.state_dict(), "layers": len(model.layers), "done": done, "seconds": seconds()}
        torch.save(state, checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)
        if len(model.layers) == LAYERS:
            path = os.path.join(args.out, "model.safetensors")
            save_file(hf_tensors(model), path + ".new", metadata={"format": "pt"})
            os.replace(path + ".new", path)

    data = Data(args.data, args.seed, worker)
    model, done, before = Model(vocab, STAGES[0][1]), 0, 0.0
    if append:
        state = torch.load(checkpoint)
        model = Model(vocab, state["layers"])
        model.load_state_dict(state["model"])
        done, before = state["done"], state["seconds"]
    size = sum(p.numel() for p in Model(vocab, LAYERS).parameters())
    log(f"# {args.command}")
    log(f"# torch {torch.__version__}, vocabulary {vocab}, {size} parameters in {LAYERS} layers")
    log("# stage step length loss-answers+lm loss-repeats answers repeats seconds")

    optimizer = None
    for number, (name, layers, lengths, batch, least, most, goal, rate) in enumerate(STAGES[: args.stages]):
        if number < done or args.eval_only:
            continue
        lengths = lengths if isinstance(lengths, tuple) else (lengths,)
        length = max(lengths)
        torch.manual_seed(args.seed)
        data.start(number)
        if len(model.layers) != layers:
            model, optimizer = grow(model, vocab), None
        parameters = list(model.parameters())
        warm_up = 0
        # The last three stages end with a falling rate, so each begins with a fresh optimizer.
        decays = number >= len(STAGES) - 3
        if optimizer is None or decays:
            groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.01}]
            groups.append({"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0})
            optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))
            warm_up = 100 if layers < LAYERS else 20
        share = 0.5 if length <= 256 else 0.25 if length <= 1024 else 0.0
        sums = []
        for step in range(1, most + 1):
            length = lengths[(step - 1) % len(lengths)]
            rows = max(1, batch // args.workers // length)
            repeat_rows = int(rows * share)
            factor = min(1.0, step / warm_up) if warm_up else 1.0
            if decays:
                # Steady for the first half, then down to nothing.
                factor *= min(1.0, 0.02 + 2 * (1 - step / most))
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            ids, kind = data.facts(rows - repeat_rows, length)
            loss, right, answers = losses(model, torch.from_numpy(ids), torch.from_numpy(kind), 0.2)
            loss.backward()
            step_sums = [1.0, loss.item(), right, answers, 0.0, 0.0, 1e-9]
            if repeat_rows:
                ids, kind = data.repeats(repeat_rows, length, vocab)
                loss, right, answers = losses(model, torch.from_numpy(ids), torch.from_numpy(kind), 0.0)
                loss.backward()
                step_sums[4:] = [loss.item(), right, answers]
            mean_gradients(parameters)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            sums.append(step_sums)
            if step % 20 == 0 or step == most:
                n, loss, right, answers, repeat_loss, repeat_right, repeats = total(np.sum(sums, axis=0).tolist())
                sums, accuracy = [], right / answers
                log(f"{name} {step} {length} {loss / n:.4f} {repeat_loss / n:.4f} {accuracy:.4f} "
                    f"{repeat_right / repeats:.4f} {seconds():.0f}")
                # A resume goes back to the beginning of the stage, with these weights.
                save(model, number)
                if step >= least and accuracy >= goal:
                    break
        save(model, number + 1)
        if length >= 256:
            exact = evaluate(model, args.data, 1_000_000 + args.seed, length, 8 if length > 256 else 4, 3, 40)
            log(f"# {name}: {exact:.3f} of 40 held-out answers exact at {length}")
    if args.eval_only or args.stages == len(STAGES):
        log(f"# training took {seconds():.0f} s")
        log("# held-out prompts with 8 facts: length, answer words, exact")
        for length in (512, 1024, 2048, 4096):
            for words in (3, 6):
                exact = evaluate(model, args.data, 2_000_000 + args.seed, length, 8, words, args.eval_prompts)
                log(f"# {length} {words} {exact:.4f} of {args.eval_prompts}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
