"""Is every metric's direction known, and is none guessed?"""

from __future__ import annotations

import pytest

from reasoner.errors import ConfigError
from reasoner.metrics import (
    answer_scores,
    classification_scores,
    direction,
    greater_is_better,
    multilabel_scores,
    register_direction,
    regression_scores,
)


@pytest.mark.parametrize(
    "name", ["f1", "person.f1", "by_type.LOC.CITY.recall", "test/f1", "eval_macro_f1", "has_answer_f1", "rougeL", "F1"]
)
def test_greater_is_better(name: str) -> None:
    assert greater_is_better(name) is True


@pytest.mark.parametrize(
    "name", ["loss", "eval_loss", "validation.loss", "mse", "RMSE", "mae", "perplexity", "seconds"]
)
def test_smaller_is_better(name: str) -> None:
    assert greater_is_better(name) is False


def test_every_score_that_ranks_models_has_a_direction() -> None:
    scores = {
        **answer_scores([["red"], []], ["red", ""]),
        **classification_scores(["a"], ["a"]),
        **multilabel_scores([{"a"}], [{"a"}], labels=["a"]),
        **regression_scores([1.0, 2.0], [1.0, 2.0]),
    }
    for name in scores:
        if not name.endswith("total") and name != "by_label":
            assert greater_is_better(name) is (name not in ("mse", "rmse", "mae"))


@pytest.mark.parametrize("name", ["acuracy", "neg_loss", "loss_reduction", "f1.threshold", "", "test_"])
def test_an_unknown_metric_is_not_guessed(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not known, so it is not known whether greater is better"):
        greater_is_better(name)


def test_an_unknown_metric_gets_the_near_name() -> None:
    with pytest.raises(ConfigError, match=r"metric 'acuracy' .* Did you mean 'accuracy'?.*register_direction"):
        greater_is_better("acuracy")


def test_a_metric_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direction, "_directions", dict(direction._directions))
    register_direction("edit_distance", greater_is_better=False)
    register_direction("edit_distance", False)
    assert greater_is_better("test.edit_distance") is False
    with pytest.raises(ConfigError, match=r"'edit_distance' is already known as better when it is smaller"):
        register_direction("edit_distance", True)
