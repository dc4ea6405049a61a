"""Does a search end with exactly its trials though it is killed, and does its best setting train as it said?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES

import reasoner
from reasoner import Callback, ConfigError, TrainingConfig

optuna = pytest.importorskip("optuna", reason="the extra 'search' is not installed")

import reasoner.experiments.hyperparameters  # noqa: E402
import reasoner.experiments.study  # noqa: E402

ROWS = CASES["classification"].splits
FIXED = {"max_steps": 2, "eval_steps": 1, "use_cpu": True, "disable_tqdm": True, "check": False}
SPACE = {"learning_rate": (1e-4, 1e-2, "log"), "per_device_train_batch_size": [4, 6]}
TRIALS = 20
PROGRAM = """
import json, sys
import reasoner, reasoner.experiments.study
reasoner.experiments.study.HEARTBEAT = 1
model, rows, folder, settings = json.loads(sys.stdin.read())
settings["space"]["learning_rate"] = tuple(settings["space"]["learning_rate"])
reasoner.search(model, rows, task="classification", output_dir=folder, **settings)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's collector takes longer than a tiny model's training, and a trial is dead after 3 s without a sign."""
    monkeypatch.setattr(reasoner.experiments.study, "release_memory", lambda: None)
    monkeypatch.setattr(reasoner.experiments.study, "HEARTBEAT", 1)


def search(model: Path, **settings: Any) -> reasoner.SearchResult:
    if "space" not in settings:
        settings["space"] = SPACE
    return reasoner.search(model, ROWS, task="classification", **{**FIXED, **settings})


def states(result: reasoner.SearchResult) -> list[str]:
    return [trial["state"] for trial in result.trials]


# --- killed, and started again --------------------------------------------------------------------------------------


def test_a_search_that_is_killed_goes_on_and_ends_with_exactly_its_trials(lively_bert: Path, tmp_path: Path) -> None:
    settings = {**FIXED, "space": SPACE, "n_trials": TRIALS}
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert program.stdin is not None
    program.stdin.write(json.dumps([str(lively_bert), ROWS, str(tmp_path), settings]).encode())
    program.stdin.close()
    _wait_for(tmp_path / "best_settings.json", program)  # a trial is complete
    time.sleep(0.3)
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    left = _study(tmp_path).get_trials()
    assert 1 <= len(left) < TRIALS
    running = [trial.number for trial in left if trial.state.name == "RUNNING"]

    found = search(lively_bert, n_trials=TRIALS, output_dir=tmp_path)
    assert sum(state in ("complete", "pruned") for state in states(found)) == TRIALS
    assert [trial["number"] for trial in found.trials if trial["state"] == "failed"] == running
    assert "running" not in states(found)
    first = [trial["params"] for trial in found.trials[: len(left)]]
    assert first == [trial.params for trial in left]
    rates = [trial["params"]["learning_rate"] for trial in found.trials if trial["params"]]
    assert len(set(rates)) == len(rates)  # nothing is drawn again
    assert states(search(lively_bert, n_trials=TRIALS, output_dir=tmp_path)) == states(found)  # and nothing is left


def _wait_for(path: Path, program: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while not path.exists():
        assert program.poll() is None and time.monotonic() < end, "the search ended early, or did not begin"
        time.sleep(0.05)


def _study(folder: Path) -> Any:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{folder / 'study.db'}")


# --- what is searched, and what is found ----------------------------------------------------------------------------


def test_the_best_setting_trains_as_the_search_said(lively_bert: Path, tmp_path: Path) -> None:
    found = search(lively_bert, n_trials=4, output_dir=tmp_path)
    assert states(found) == ["complete"] * 4
    values = [trial["value"] for trial in found.trials]
    assert found.best is not None and found.best["value"] == max(values)
    assert found.best == found.trials[values.index(max(values))]
    settings = reasoner.read_settings(tmp_path / "best_settings.json")
    assert settings == {"method": found.method, "config": found.config}
    assert settings["config"] == TrainingConfig(
        **found.best["params"], **{name: value for name, value in FIXED.items() if name != "check"}
    )
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", check=False, **settings)
    assert result.metrics["validation"]["macro_f1"] == found.best["value"]
    assert json.loads((tmp_path / "best_settings.json").read_text())["found"]["value"] == found.best["value"]


def test_the_same_seed_searches_alike_and_another_otherwise(lively_bert: Path) -> None:
    one, same, other = (
        [trial["params"] for trial in search(lively_bert, n_trials=2, seed=seed).trials] for seed in (1, 1, 7)
    )
    assert one == same != other


def test_the_test_split_is_scored_only_for_the_best_and_only_if_asked(
    lively_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, train = [], reasoner.experiments.hyperparameters.train_on_examples

    def noted(model: Any, examples: Any, **settings: Any) -> Any:
        splits.append(list(examples))
        return train(model, examples, **settings)

    monkeypatch.setattr(reasoner.experiments.hyperparameters, "train_on_examples", noted)
    assert search(lively_bert, n_trials=2, output_dir=tmp_path).result is None
    found = search(lively_bert, n_trials=2, output_dir=tmp_path, train_best=True)
    assert splits == [["train", "validation"]] * 2 + [["train", "validation", "test"]]
    assert found.best is not None
    assert found.result.metrics["validation"]["macro_f1"] == found.best["value"]
    assert reasoner.load(tmp_path / "best_model").run.metrics["test"] == found.result.metrics["test"]
    assert "Trained once more, on test: macro_f1" in repr(found)


def test_without_a_space_it_looks_around_the_methods_rule(lively_bert: Path) -> None:
    given = {**FIXED, "max_steps": None, "eval_steps": None, "weight_decay": 0.02}
    found = search(lively_bert, space=None, method="head", n_trials=1, num_train_epochs=1, **given)
    (trial,) = found.trials
    assert trial["params"].keys() == {"learning_rate", "per_device_train_batch_size", "warmup_steps"}
    assert 1e-3 / 5 <= trial["params"]["learning_rate"] <= 5e-3
    assert (found.config.weight_decay, found.config.num_train_epochs) == (0.02, 1)


def test_methods_and_their_settings_are_searched(lively_bert: Path, tmp_path: Path) -> None:
    found = search(lively_bert, space={"method": ["head"]}, n_trials=1, output_dir=tmp_path / "a")
    assert found.method == reasoner.HeadOnly()
    space = {"method.layers": (1, 2)}
    found = search(lively_bert, space=space, method="freeze", n_trials=2, output_dir=tmp_path / "b")
    assert found.method.layers in (1, 2)
    assert reasoner.read_settings(tmp_path / "b" / "best_settings.json")["method"] == found.method


# --- trials that end early ------------------------------------------------------------------------------------------


class Always(optuna.pruners.BasePruner):
    """Ends each trial that may be ended."""

    def prune(self, study: Any, trial: Any) -> bool:
        return True


class Begun(Callback):
    """Counts steps."""

    steps = 0

    def on_step_end(self, trainer: Any) -> None:
        self.steps += 1


def test_a_pruned_trial_ends_there_and_counts(lively_bert: Path) -> None:
    begun = Begun()
    found = search(lively_bert, n_trials=2, pruner=Always(), callbacks=[begun])
    assert states(found) == ["pruned"] * 2 and begun.steps == 2  # of four
    assert found.best is None and found.path is None
    assert all(trial["value"] is not None for trial in found.trials)
    assert "2 pruned" in repr(found)
    found = search(lively_bert, n_trials=2, pruner=Always(), eval_steps=None, max_steps=1)
    assert states(found) == ["complete"] * 2  # after the last step there is nothing to save


def test_a_failed_trial_is_recorded_and_the_search_goes_on(lively_bert: Path) -> None:
    class Fails(Callback):
        def __init__(self) -> None:
            self.trainings = 0

        def on_train_begin(self, trainer: Any) -> None:
            self.trainings += 1
            if self.trainings == 2:
                raise reasoner.DivergedError("the loss is nan")

    found = search(lively_bert, n_trials=2, callbacks=[Fails()])
    assert states(found) == ["complete", "failed", "complete"]
    assert found.trials[1]["error"] == "DivergedError: the loss is nan"
    assert "failed, 1 of them: DivergedError: the loss is nan" in repr(found)


def test_where_every_trial_fails_alike_the_error_is_raised(lively_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Freeze\(layers=9\): the model has 2 layers"):
        search(lively_bert, method=reasoner.Freeze(layers=9), n_trials=20, output_dir=tmp_path)
    assert len(_study(tmp_path).get_trials()) == 3


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_trials": 0}, "n_trials is 0"),
        ({"learning_rate": 1e-3}, "learning_rate cannot be searched and set at once"),
        ({"space": {"learningrate": (1e-5, 1e-4)}}, "no setting named 'learningrate'. Did you mean 'learning_rate'"),
        ({"method": "hed"}, "There is no method named 'hed'"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    lively_bert: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(lively_bert, output_dir=tmp_path, **settings)
    assert not (tmp_path / "study.db").exists()


def test_a_study_goes_on_only_with_what_it_began_with(lively_bert: Path, tmp_path: Path) -> None:
    search(lively_bert, n_trials=1, output_dir=tmp_path)
    for part, changes in {
        "config": {"max_steps": 3},
        "space": {"space": {**SPACE, "weight_decay": [0.0, 0.1]}},
        "method": {"method": "head"},
    }.items():
        with pytest.raises(ConfigError, match=f"was made with another {part}"):
            search(lively_bert, n_trials=1, output_dir=tmp_path, **changes)
    search(lively_bert, n_trials=1, output_dir=tmp_path, method="head", study_name="other")
    assert len(optuna.get_all_study_names(f"sqlite:///{tmp_path / 'study.db'}")) == 2
