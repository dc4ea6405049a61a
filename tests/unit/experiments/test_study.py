"""Are exactly so many trials finished, whatever fails, dies or runs beside?"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna", reason="the extra 'search' is not installed")

from optuna.trial import TrialState  # noqa: E402

import reasoner.experiments.study as study_module  # noqa: E402
from reasoner.errors import ConfigError, DataError  # noqa: E402
from reasoner.experiments.study import WITHDRAWN, open_study, optuna_quiet, run_trials  # noqa: E402

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial without a sign of life for 3 s is dead, and nothing is collected between trials."""
    monkeypatch.setattr(study_module, "HEARTBEAT", 1)
    monkeypatch.setattr(study_module, "release_memory", lambda: None)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Any]:
    """Open the study of a folder, as another process would."""

    def opened(folder: Path | None = tmp_path, storage: Any = None, **made_of: Any) -> Any:
        with optuna_quiet():
            return open_study(storage, folder, name="s", greater=True, pruner=None, made_of={"data": "d", **made_of})

    return opened


def run(opened: tuple[Any, bool], objective: Callable[[Any], float], n_trials: int) -> Any:
    study, heartbeats = opened
    with optuna_quiet():
        run_trials(study, objective, n_trials=n_trials, heartbeats=heartbeats, after=lambda trial: None)
    return study


def states(study: Any) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


def sometimes(trial: Any) -> float:
    """Fail, prune or finish, in turn; each failure has a message of its own."""
    trial.suggest_float("x", 0, 1)
    if trial.number % 4 == 1:
        raise ValueError(f"no {trial.number}")
    if trial.number % 4 == 2:
        raise optuna.TrialPruned
    return float(trial.number)


@pytest.mark.parametrize("in_memory", [False, True])
def test_failed_trials_do_not_count_and_a_search_goes_on(opened: Any, in_memory: bool) -> None:
    place = opened(folder=None) if in_memory else opened()
    assert states(run(place, sometimes, 4)) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE", "COMPLETE"]
    again = place if in_memory else opened()
    assert Counter(states(run(again, sometimes, 8))) == {"COMPLETE": 5, "PRUNED": 3, "FAIL": 3}
    before = states(again[0])
    assert states(run(again, sometimes, 8)) == before == states(run(again, sometimes, 5))  # there are enough


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_what_a_dead_process_left_does_not_count(opened: Any) -> None:
    study, heartbeats = opened()
    assert heartbeats
    with optuna_quiet():
        left = study.ask()  # RUNNING, and nobody gives a sign of life
        study._storage.record_heartbeat(left._trial_id)
    run(opened(), sometimes, 4)
    assert states(study)[0] == "FAIL"
    assert sum(trial.state in FINISHED for trial in study.get_trials()) == 4


def test_several_at_once_make_no_trial_too_many(opened: Any) -> None:
    begun = threading.Barrier(3, timeout=30)
    errors = []

    def slow(trial: Any) -> float:
        time.sleep(0.3)  # the last ones run at the same time
        return float(trial.number)

    def work() -> None:
        try:
            study, heartbeats = opened()
            begun.wait()
            run_trials(study, slow, n_trials=7, heartbeats=heartbeats, after=lambda trial: None)
        except Exception as error:
            errors.append(error)

    with optuna_quiet():
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    trials = opened()[0].get_trials()
    assert sum(trial.state in FINISHED for trial in trials) == 7
    assert all(WITHDRAWN in trial.user_attrs for trial in trials if trial.state == TrialState.FAIL)


def test_a_trial_that_another_made_meanwhile_is_withdrawn(opened: Any) -> None:
    study, heartbeats = opened()
    made = []

    def slower(trial: Any) -> float:
        made.append(trial.number)
        return 1.0

    ask = study.ask

    def overtaken(*arguments: Any, **settings: Any) -> Any:
        if len(study.get_trials()) == 1:  # another process adds one before this one can
            study.add_trial(optuna.trial.create_trial(state=TrialState.COMPLETE, value=0.5))
        return ask(*arguments, **settings)

    study.ask = overtaken
    run((study, heartbeats), slower, 2)
    assert made == [0]
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_three_first_trials_with_one_error_end_it(opened: Any) -> None:
    def broken(trial: Any) -> float:
        raise ValueError("the same" if trial.number < 3 else "another")

    with pytest.raises(ValueError, match="the same") as caught:
        run(opened(), broken, 20)
    assert states(opened()[0]) == ["FAIL"] * 3
    assert caught.value.__notes__ == ["3 trials failed with this error."]


def test_errors_that_differ_end_it_only_when_there_are_as_many_as_trials(opened: Any) -> None:
    def broken(trial: Any) -> float:
        raise ValueError(f"number {trial.number}")

    with pytest.raises(ValueError, match="number 4"):
        run(opened(), broken, 5)


def test_the_same_error_after_a_trial_that_went_well_does_not_end_it(opened: Any) -> None:
    def broken(trial: Any) -> float:
        if trial.number in (1, 2, 3):
            raise ValueError("the same")
        return 0.0

    assert Counter(states(run(opened(), broken, 5))) == {"COMPLETE": 5, "FAIL": 3}


@pytest.mark.parametrize("error", [DataError("rows"), KeyboardInterrupt()])
def test_wrong_data_and_an_interrupt_end_it_at_once(opened: Any, error: BaseException) -> None:
    def broken(trial: Any) -> float:
        raise error

    with pytest.raises(type(error)):
        run(opened(), broken, 5)
    assert states(opened()[0]) == ["FAIL"]


def test_a_study_of_something_else_is_refused(opened: Any, tmp_path: Path) -> None:
    opened()
    with pytest.raises(ConfigError, match=r"made with another data\. Give another output_dir or study_name"):
        opened(data="other")
    with pytest.raises(ConfigError, match=r"The storage 'nonsense:///x' cannot be opened"):
        opened(storage="nonsense:///x")
    other, _ = opened(storage=f"sqlite:///{tmp_path / 'elsewhere.db'}", data="other")
    assert other.get_trials() == [] and (tmp_path / "elsewhere.db").exists()


def test_optuna_is_heard_again_afterwards() -> None:
    before = optuna.logging.get_verbosity()
    with optuna_quiet():
        assert optuna.logging.get_verbosity() == optuna.logging.CRITICAL
    assert optuna.logging.get_verbosity() == before
