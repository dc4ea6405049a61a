"""Does the report of a search show the best trials first, and say what pruned and failed ones came to?"""

from __future__ import annotations

import json
from typing import Any

import pytest

optuna = pytest.importorskip("optuna", reason="the extra 'search' is not installed")

from reasoner.methods.full import Full  # noqa: E402
from reasoner.reports.trials import SearchResult, trial_values  # noqa: E402
from reasoner.training.config import TrainingConfig  # noqa: E402


def trial(number: int, state: str, value: float | None, **more: Any) -> dict[str, Any]:
    values = {"number": number, "state": state, "value": value, "params": {"learning_rate": 10.0**-number}}
    return {**values, "seconds": 1.5, "error": None, **more}


def found(*trials: dict[str, Any], best: dict[str, Any] | None = None, metric: str = "accuracy") -> SearchResult:
    settings: dict[str, Any] = {"method": Full(), "config": TrainingConfig(), "path": None, "study": None}
    return SearchResult(task="nli", metric=metric, trials=trials, best=best, **settings)


TRIALS = (
    trial(0, "complete", 0.5),
    trial(1, "pruned", 0.9),
    trial(2, "failed", None, error="DivergedError: nan", seconds=None),
    trial(3, "complete", 0.7),
    trial(4, "failed", None, error="DivergedError: nan"),
    trial(5, "pruned", None),
)


@pytest.mark.parametrize(("metric", "order"), [("accuracy", "3 0 1 5"), ("loss", "0 3 1 5")])
def test_the_best_comes_first_and_pruned_ones_last(metric: str, order: str) -> None:
    rows = found(*TRIALS, metric=metric).table().rows
    assert [row[0].partition(",")[0] for row in rows] == order.split()
    assert [row[0].endswith(", pruned") for row in rows] == [False, False, True, True]


def test_text_html_and_json() -> None:
    result = found(*TRIALS, best=TRIALS[3])
    text = repr(result)
    assert "2 complete, 2 failed, 2 pruned" in text and "Best: trial 3, accuracy 0.7000 on validation." in text
    assert "failed, 2 of them: DivergedError: nan" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "trial 3" in result._repr_html_()
    assert json.loads(json.dumps(result.to_dict()))["counts"] == {"complete": 2, "pruned": 2, "failed": 2}
    assert "no trial" in repr(found())


def test_ten_trials_are_shown() -> None:
    assert len(found(*(trial(n, "complete", n / 20) for n in range(20))).table().rows) == 10


def test_a_trial_of_optuna_is_read() -> None:
    study = optuna.create_study()

    def objective(one: Any) -> float:
        one.suggest_float("x", 0, 1)
        one.report(0.25, 1)
        one.report(float("nan") if one.number == 2 else 0.5, 2)
        if one.number:
            raise optuna.TrialPruned
        return 0.75

    study.optimize(objective, n_trials=3)
    values = [trial_values(one) for one in study.get_trials()]
    assert [one["state"] for one in values] == ["complete", "pruned", "pruned"]
    assert [one["value"] for one in values] == [0.75, 0.5, None]
    assert values[0]["params"].keys() == {"x"} and values[0]["seconds"] >= 0 and values[0]["error"] is None
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    assert trial_values(study.get_trials()[3])["error"] == "its process ended"
