"""Records of runs for the tests of the reports: their tables come from the metrics themselves."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from reasoner.metrics import answer_scores, classification_scores, tag_scores
from reasoner.reports.run import Run

GOLD = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "O", "B-LOC"], ["B-PER", "O", "B-MISC", "I-MISC"]]
GUESS_BEFORE = [["O", "B-PER", "O", "O"], ["B-LOC", "O", "O", "B-LOC"], ["O", "O", "O", "O"]]
GUESS_AFTER = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC", "O", "B-LOC"], ["B-PER", "O", "O", "B-MISC"]]


def ner_scores(guess: list[list[str]], loss: float) -> dict[str, Any]:
    return {**tag_scores(GOLD, guess), "loss": loss, "rows_per_second": 812.5}


def history() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(10, 130, 10):
        loss = 2.0 * 0.97**step + 0.2
        rows.append(
            {"step": step, "epoch": step / 40, "split": "train", "loss": loss, "learning_rate": 2e-4 * (1 - step / 120)}
        )
        if step % 40 == 0:
            f1 = {40: 0.31, 80: 0.4321, 120: 0.4}[step]
            rows.append({"step": step, "epoch": step / 40, "split": "validation", "f1": f1, "loss": loss + 0.1})
    return rows


FULL = Run(
    task="ner",
    model="/home/ada/models/minilm",
    method="Freeze(layers=2, embeddings=True)",
    primary_metric="f1",
    compared_split="test",
    labels=["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
    rows={"train": 1234, "validation": 56, "test": 3},
    sources={"train": "/home/ada/my data/train.conll", "validation": "dev.conll", "test": "owner/wnut"},
    parameters=22_713_216,
    trainable_parameters=10_647_936,
    config={"learning_rate": 2e-4, "num_train_epochs": 4, "patience": 1, "max_steps": None, "seed": 42,
            "max_length": 128, "optim": "adamw"},
    metrics={
        "before": ner_scores(GUESS_BEFORE, 2.3),
        "train": {"loss": 0.2517, "seconds": 35.21, "tokens_per_second": 12345.6, "steps": 120, "epochs": 3.0},
        "validation": {"f1": 0.4321, "precision": 0.5, "recall": 0.38, "support": 70, "loss": 0.6},
        "test": ner_scores(GUESS_AFTER, 0.5),
    },
    history=history(),
    best_step=80,
    stopped_early=True,
    notices=[
        "/home/ada/my data/train.conll: 2 comment lines were skipped.",
        "Learning rate 0.0002, by the rule of Freeze for a model of width 384.",
        "No validation split was given: 56 of 1290 training rows were cut off for it (seed 42).",
    ],
    versions={"reasoner": "0.1.0", "torch": "2.9.0"},
)  # fmt: skip


@pytest.fixture
def full() -> Run:
    """NER with everything: before, test, early stopping, notices."""
    return deepcopy(FULL)


@pytest.fixture
def sure(full: Run) -> Run:
    """The same with all that says how sure its scores are."""
    full.intervals = {
        "before": {"lower": 0.1, "upper": 0.35, "confidence": 0.95},
        "validation": {"lower": 0.3812, "upper": 0.4933, "confidence": 0.95},
        "test": {"lower": 0.5, "upper": 0.8, "confidence": 0.95},
    }
    full.comparison = {
        "metric": "f1",
        "rows": 1287,
        "before": 0.2,
        "after": 0.51,
        "difference": 0.31,
        "lower": 0.25,
        "upper": 0.37,
        "confidence": 0.95,
        "p_value": 0.000999,
        "mcnemar_p_value": 0.0314,
        "fixed_count": 1210,
        "broken_count": 12,
        "fixed": ["test, row 1", "test, row 2", "test, row 5", "test, row 6"],
        "broken": ["test, row 9"],
    }
    full.seeds = [
        {"seed": 41, "validation": {"f1": 0.4}, "test": {"f1": 0.5}, "seconds": 30.04},
        {"seed": 42, "validation": {"f1": 0.4321}, "test": {"f1": 0.6667}, "seconds": 35.21},
        {"seed": 43, "validation": {"f1": 0.42}, "test": {"f1": 0.6}, "seconds": 29.0},
    ]
    full.calibration = {
        "temperature": 1.371,
        "validation_ece_before": 0.0812,
        "validation_ece_after": 0.03,
        "ece": 0.04,
        "count": 6,
    }
    return full


@pytest.fixture
def minimal() -> Run:
    """Classification without scores before and without a test split, and no more than the required fields."""
    gold = ["yes", "no", "yes", "no"]
    return Run(
        task="classification",
        model="google-bert/bert-base-uncased",
        method="Full()",
        primary_metric="macro_f1",
        compared_split="validation",
        metrics={"validation": dict(classification_scores(gold, ["yes", "no", "no", "no"]))},
    )


@pytest.fixture
def answers() -> Run:
    """Question answering: many scores in one flat dict, and a threshold."""
    gold = [["London"], [], ["a red house"]]
    before = answer_scores(gold, ["", "", ""])
    after = answer_scores(gold, ["London", "Paris", "red house today"])
    return Run(
        task="qa",
        model="roberta-base",
        method="Full()",
        primary_metric="f1",
        compared_split="validation",
        metrics={"before": before, "validation": {**after, "no_answer_threshold": -1.25}},
    )
