"""Is each point of a learning curve what fine_tune gives, on nested rows, and is nothing done twice?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import reasoner
import reasoner.experiments.variants

QUICK = {"max_steps": 2, "per_device_train_batch_size": 8, "use_cpu": True, "learning_rate": 3e-3, "check": False}
LABELS = ["red", "green", "blue", "grey"]


def rows(number: int, first: int) -> list[dict]:
    return [{"text": f"a {LABELS[n % 16 % 4]} thing number {n}", "label": LABELS[n % 16 % 4]}
            for n in range(first, first + number)]  # fmt: skip


DATA = {"train": rows(32, 0), "validation": rows(8, 100), "test": rows(8, 200)}


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The seed and the training rows of each training that begins."""
    begun: list[Any] = []
    train = reasoner.experiments.variants.train_on_examples

    def noted(model: Any, examples: Any, **settings: Any) -> Any:
        begun.append((settings["config"].seed, [row.text for row in examples["train"]]))
        return train(model, examples, **settings)

    monkeypatch.setattr(reasoner.experiments.variants, "train_on_examples", noted)
    return begun


def test_points_are_those_of_fine_tune_on_nested_rows(lively_bert: Path, tmp_path: Path, trainings: list[Any]):
    settings = {"task": "classification", "seeds": [0, 1], "output_dir": tmp_path, **QUICK}
    found = reasoner.learning_curve(lively_bert, DATA, sizes=[8, 32, 16], **settings)
    assert [point.rows for point in found.points] == [8, 16, 32]
    assert (found.metric, found.split) == ("macro_f1", "test")
    by_seed = {seed: [set(texts) for of, texts in trainings if of == seed] for seed in (0, 1)}
    for small, middle, whole in by_seed.values():
        assert (len(small), len(middle), len(whole)) == (8, 16, 32) and small < middle < whole
        assert {text.split()[1] for text in small} == set(LABELS)
    assert by_seed[0][0] != by_seed[1][0], "each seed draws its own rows"
    seed, texts = trainings[1]
    kept = [row for row in DATA["train"] if row["text"] in texts]
    alone = reasoner.fine_tune(lively_bert, {**DATA, "train": kept}, task="classification", seed=seed,
                               evaluate_before=False, **QUICK)  # fmt: skip
    assert found.points[1].scores[seed] == alone.metrics["test"]["macro_f1"]
    done = len(trainings)
    again = reasoner.learning_curve(lively_bert, DATA, sizes=[8, 16, 32], **settings)
    assert len(trainings) == done and again == found
    wider = reasoner.learning_curve(lively_bert, DATA, sizes=[8, 16, 24, 32], **settings)
    assert len(trainings) == done + 2 and len(wider.points) == 4


def test_sizes_are_halved_and_what_is_no_size_is_refused(lively_bert: Path):
    settings = {"task": "classification", "seeds": [0], **QUICK}
    found = reasoner.learning_curve(lively_bert, DATA, **settings)
    assert [point.rows for point in found.points] == [8, 16, 32]
    for sizes in ([3, 8], [8, 33], [8, 8], [], [8.5]):
        with pytest.raises(reasoner.ConfigError, match=r"from 4 .* to 32"):
            reasoner.learning_curve(lively_bert, DATA, sizes=sizes, **settings)
