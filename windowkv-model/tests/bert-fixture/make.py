#!/usr/bin/env python3
"""Makes the BERT classifier that the tests read: tiny, random, in both forms, with what PyTorch computes of it.

    pip install torch transformers safetensors
    python windowkv-model/tests/bert-fixture/make.py            # writes into its own folder

The head is the released design's: dropout (off), linear to 2 labels, ReLU, argmax. An input of more than 511 ids is cut
to its first and last 256. Same seed, same files: expected.json records the versions that made them.
"""

import json
import random
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, BertTokenizerFast

HERE = Path(__file__).resolve().parent
SEED = 17
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = """the a of and to in is was what which who how many summary summarize passage question answer text
following given write read report story code line document paragraph meeting Paris Berlin North South""".split()
CHINESE = "请根据以下文章回答问题总结会议的主要内容"


def vocabulary():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = list(LETTERS) + [f"##{letter}" for letter in LETTERS]
    rest = list("0123456789.,:;?!'\"()-") + sorted(set(CHINESE)) + ["##s", "##ing", "##ed", "##ize"]
    return list(dict.fromkeys(special + pieces + rest + WORDS))


class Classifier(torch.nn.Module):
    """As released: `bert` and `linear` are the state dict's names."""

    def __init__(self, config):
        super().__init__()
        self.bert = BertModel(config)
        self.dropout = torch.nn.Dropout(0.5)
        self.linear = torch.nn.Linear(config.hidden_size, 2)

    def forward(self, ids):
        pooled = self.bert(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
        return pooled, self.linear(self.dropout(pooled))


def texts():
    rng = random.Random(SEED)
    long = " ".join(rng.choice(WORDS) for _ in range(700))
    middle = " ".join(rng.choice(WORDS) for _ in range(400))
    return [
        "Read the following passage and answer the question.",
        "Summarize the meeting: who was in Paris?",
        "请根据以下文章回答问题",
        "请总结会议的主要内容。",
        "",
        "zebra quiz 42, naïve café!",
        "[MASK] and [SEP] written in a text",
        middle,
        long,
        "What is the summary? " + long + " Answer the question.",
        "Berlin " * 600,
    ]


def scale(model):
    """Random weights large enough that logits differ from text to text, and biases and norms that matter."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name:
                parameter.copy_(1 + 0.1 * noise)
            elif name == "linear.weight":
                parameter.copy_(0.6 * noise)
            elif name == "linear.bias":
                parameter.copy_(torch.tensor([0.8, -0.7]))
            else:
                parameter.copy_((0.05 if name.endswith("bias") else 0.25) * noise)


def main():
    torch.manual_seed(SEED)
    vocab = vocabulary()
    (HERE / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=48, max_position_embeddings=512, type_vocab_size=2, hidden_act="gelu",
    )
    config.save_pretrained(HERE)
    (HERE / "tokenizer_config.json").write_text('{"do_lower_case": false}\n')
    tokenizer = BertTokenizerFast(vocab=str(HERE / "vocab.txt"), vocab_file=str(HERE / "vocab.txt"), do_lower_case=False)
    model = Classifier(config).eval()
    scale(model)
    state = model.state_dict()
    torch.save(state, HERE / "classifier.pth")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, HERE / "classifier.safetensors")

    cases = []
    with torch.inference_mode():
        for text in texts():
            ids = tokenizer(text, add_special_tokens=True)["input_ids"]
            if len(ids) > 511:
                ids = ids[:256] + ids[-256:]
            pooled, logits = model(torch.tensor([ids]))
            relu = torch.relu(logits[0])
            cases.append({
                "text": text, "ids": ids, "pooled": pooled[0].tolist(), "logits": logits[0].tolist(),
                "softmax": torch.softmax(relu, -1).tolist(), "label": int(torch.argmax(relu)),
            })
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    report = {"versions": versions, "seed": SEED, "cases": cases}
    text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
    (HERE / "expected.json").write_text(text.replace('{"text"', '\n{"text"') + "\n", encoding="utf-8")
    print([(case["label"], [round(x, 3) for x in case["logits"]], len(case["ids"])) for case in cases])


if __name__ == "__main__":
    main()
