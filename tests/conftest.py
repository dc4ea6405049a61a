"""What do the tests share? Small random checkpoints made once a session, rows for every task, a clean registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for the Hub
settings.register_profile("without a clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without a clock")  # a busy machine fails no test of a property


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="kill runs ten times as often (tests/faults)")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_models("bert")` is the folder of a tiny random model of that architecture; nobody may write into it."""
    from tiny import build_tiny

    folders: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in folders:
            folders[architecture] = build_tiny(architecture, tmp_path_factory.mktemp(architecture))
        return folders[architecture]

    return folder


@pytest.fixture(scope="session")
def tiny_bert(tiny_models: Callable[[str], Path]) -> Path:
    """The folder of a tiny random BERT."""
    return tiny_models("bert")


class Prepared(NamedTuple):
    """A predictor and the encoded rows that its task was made for."""

    predictor: Any
    data: Any


@pytest.fixture(scope="session")
def prepare(tiny_models: Callable[[str], Path]) -> Callable[..., Prepared]:
    """`prepare(task)` is what `fine_tune` makes before it trains: a fresh model on the CPU, and its encoded rows.

    With `sharp=True` the model has larger weights, so that its outputs differ from text to text.
    """
    from reasoner.data.examples import examples_from_rows
    from reasoner.data.sources import read_splits
    from reasoner.preparation import build_predictor, task_class_and_settings
    from reasoner.training.config import TrainingConfig

    def prepared(
        task: Any,
        *,
        rows: list[dict[str, Any]] | None = None,
        architecture: str = "bert",
        source: Any = None,
        sharp: bool = False,
        **config: Any,
    ) -> Prepared:
        task_class, settings = task_class_and_settings(task)
        if rows is None:
            rows = task_rows(task_class.__name__, settings.get("kind"))
        examples = examples_from_rows(read_splits({"train": rows}), task_class.schema(settings))
        made = task_class.from_examples(examples, **settings)
        settings_of_run = TrainingConfig(use_cpu=True, bf16=False, **config)
        predictor = build_predictor(source or tiny_models(architecture), made, config=settings_of_run)
        if sharp:
            _sharpen(predictor.model)
        return Prepared(predictor, predictor.encode(examples["train"]))

    return prepared


def _sharpen(model: Any) -> None:
    """Enlarge the weights: a tiny random model says nearly the same of every text, which hides what is mixed up."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embeddings" not in name:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., list[dict[str, Any]]]:
    """`rows_of("NER")` are labelled rows for a task, by the name of its class."""
    return task_rows


def task_rows(task: str, kind: str | None = None, number: int = 32) -> list[dict[str, Any]]:
    """Return labelled rows of uneven length for a task, by the name of its class."""
    from tiny import CORPUS

    rows: list[dict[str, Any]] = []
    for index, sentence in enumerate(CORPUS[:number]):
        words, other = sentence.split(), CORPUS[(7 * index + 3) % len(CORPUS)]
        if task == "NER":
            tags = ["B-NAME" if i and word[0].isupper() else "B-NUM" if word[0].isdigit() else "O"
                    for i, word in enumerate(words)]  # fmt: skip
            rows.append({"tokens": words, "ner_tags": tags})
        elif task == "NLI":
            labels = ("entailment", "neutral", "contradiction")
            rows.append({"premise": sentence, "hypothesis": other, "label": labels[index % 5 % 3]})
        elif task == "QuestionAnswering":
            context = " ".join((sentence, other, sentence)[: 1 + index % 3])
            answer = {"text": [words[2]], "answer_start": [sentence.index(words[2])]}
            empty = {"text": [], "answer_start": []}
            rows.append({"question": other, "context": context, "answers": empty if index % 4 == 3 else answer})
        elif task == "MultipleChoice":
            choices = [*words[: 2 + index % 3], other]
            rows.append({"question": sentence, "choices": choices, "label": index % len(choices)})
        else:
            found = [name for name, holds in (("question", "?" in sentence), ("long", len(words) > 10)) if holds]
            label = {"multi": found, "number": len(words) / 7}.get(kind or "", found[0] if found else "short")
            rows.append({"text": sentence, "label": label})
    return rows


@pytest.fixture
def registry() -> Iterator[dict[str, dict[str, str | type]]]:
    """The registry's tables, put back after the test as they were before it."""
    from reasoner.registry import TABLES

    before = {kind: dict(table) for kind, table in TABLES.items()}
    yield TABLES
    for kind, table in TABLES.items():
        table.clear()
        table.update(before[kind])
