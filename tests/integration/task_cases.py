"""What do the integration tests train on: rows, inputs and perfect predictions for each task and kind?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reasoner.metrics.entities import spans
from reasoner.synthetic import multiple_choice_pack, ner_pack, nli_pack, qa_pack

SIZES = {"train": 12, "validation": 6, "test": 6}
Rows = list[dict[str, Any]]
Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Case:
    """One task with all that a test needs to train it and to use it."""

    task: str
    splits: dict[str, Rows]
    inputs: list[Any]
    """What people give to `predict`."""
    perfect: Callable[[Any], Any]
    auto_class: str
    labels: tuple[str, ...] = ()
    """As they stand in `config.json`; empty where the model's outputs have no names."""


def _classification(labelled: Callable[[str, str, int], Any]) -> dict[str, Rows]:
    """Rows about things with a colour and a size; `labelled` gives a row's label."""
    things, places = ("lamp", "chair", "kettle", "radio"), ("harbour", "village", "museum")
    rows = []
    for number in range(sum(SIZES.values())):
        colour, size = ("red", "green", "blue")[number % 3], ("small", "large")[number % 2]
        text = f"The {size} {colour} {things[number % 4]} number {number} is in the {places[number // 3 % 3]}."
        rows.append({"text": text, "label": labelled(colour, size, number)})
    first, second = SIZES["train"], SIZES["train"] + SIZES["validation"]
    return {"train": rows[:first], "validation": rows[first:second], "test": rows[second:]}


_NER_TYPES = ("DATE", "LOC", "ORG", "PER")
_TEXTS = ["The red lamp is here.", ("A pair of texts", "that belong together"), "short"]
_SEQUENCE = "AutoModelForSequenceClassification"

CASES = {
    "ner": Case(
        "ner",
        ner_pack(**SIZES),
        ["Maria Silva works in Oslo.", ("John", "left", "Boston"), "no name here"],
        lambda example: [
            {"entity_group": span.type, "start_word": span.start, "end_word": span.end}
            for span in spans(example.ner_tags)
        ],
        "AutoModelForTokenClassification",
        ("O", *(f"{prefix}-{name}" for name in _NER_TYPES for prefix in "BI")),
    ),
    "nli": Case(
        "nli",
        nli_pack(**SIZES),
        [{"premise": "A dog runs.", "hypothesis": "An animal moves."}, ("It rains in the old harbour.", "It is dry.")],
        lambda example: {"label": example.label},
        _SEQUENCE,
        ("entailment", "neutral", "contradiction"),
    ),
    "qa": Case(
        "qa",
        qa_pack(**SIZES),
        [
            {"question": "Who left?", "context": "John Carter left Boston."},
            {"question": "Where is the lake?", "context": "The lake lies in the north of Ontario, far from any town."},
        ],
        lambda example: {"answer": example.answers[0].text if example.answers else ""},
        "AutoModelForQuestionAnswering",
    ),
    "multiple_choice": Case(
        "multiple_choice",
        multiple_choice_pack(**SIZES),
        [
            {"question": "Who is the father?", "choices": ["Peter", "Laura"], "context": "Peter is the father."},
            {"question": "What is red?", "choices": ["the box", "the sea", "the longest river of all", "snow"]},
        ],
        lambda example: {"choice": example.label},
        "AutoModelForMultipleChoice",
    ),
    "classification": Case(
        "classification",
        _classification(lambda colour, size, number: colour),
        _TEXTS,
        lambda example: {"label": example.label},
        _SEQUENCE,
        ("blue", "green", "red"),
    ),
    "several labels": Case(
        "classification",
        _classification(lambda colour, size, number: [colour, size] if number % 4 else [size]),
        _TEXTS,
        lambda example: {"labels": list(example.label)},
        _SEQUENCE,
        ("blue", "green", "large", "red", "small"),
    ),
    "a number": Case(
        "classification",
        _classification(lambda colour, size, number: number / 7 + 0.05),
        _TEXTS,
        lambda example: {"value": example.label},
        _SEQUENCE,
    ),
}
FIVE = ("ner", "nli", "qa", "multiple_choice", "classification")
"""One case for each task."""


def assert_close(one: Any, other: Any) -> None:
    """Assert that two predictions are equal, numbers to 1e-5."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_close(a, b)
    else:
        assert one == (pytest.approx(other, abs=1e-5) if isinstance(other, float) else other)


def write_files(files: Files, folder: Path) -> dict[str, Path]:
    """Write files into a new folder, and return them by split: what comes before the first full stop of their names."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return {name.split(".")[0]: folder / name for name in files}
