"""Are variants compared on equal terms, run by run, whatever breaks off or fails, and is what they forget measured?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES

import reasoner
import reasoner.encoding
import reasoner.experiments.variants
from reasoner import ConfigError, Freeze
from reasoner.experiments.old_skills import OldSkills

ROWS = CASES["classification"].splits
QUICK = {"max_steps": 3, "eval_steps": 3, "per_device_train_batch_size": 4, "use_cpu": True, "learning_rate": 3e-3}


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's collector takes longer than a tiny model's training."""
    monkeypatch.setattr(reasoner.experiments.variants, "release_memory", lambda: None)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Each training that is begun, by method and seed; one that is named here as ("method", seed) fails."""
    begun: list[tuple[str, int]] = []
    train = reasoner.experiments.variants.train_on_examples

    def noted(*arguments: Any, **settings: Any) -> Any:
        begun.append((type(settings["method"]).__name__, settings["config"].seed))
        return train(*arguments, **settings)

    monkeypatch.setattr(reasoner.experiments.variants, "train_on_examples", noted)
    return begun


def compare(model: Any, **settings: Any) -> reasoner.Leaderboard:
    return reasoner.compare(model, ROWS, task="classification", **{**QUICK, "check": False, **settings})


def test_each_run_is_what_fine_tune_would_do(lively_bert: Path) -> None:
    board = compare(lively_bert, methods=["full", "head"], seeds=[0, 1])
    assert {item.name for item in board.standings} == {"Full()", "HeadOnly()"}
    for method, name in (("full", "Full()"), ("head", "HeadOnly()")):
        results = [
            reasoner.fine_tune(lively_bert, ROWS, task="classification", method=method, seed=seed, check=False, **QUICK)
            for seed in (0, 1)
        ]
        for split in ("validation", "test"):
            scores = [result.metrics[split]["macro_f1"] for result in results]
            assert [run["scores"][split] for run in board.runs if run["variant"] == name] == scores
        standing, run = board[name], results[0].run
        assert standing.score == pytest.approx(sum(scores) / 2)
        assert standing.trainable_share == run.trainable_parameters / run.parameters
        assert (standing.runs, standing.steps, standing.interval_over) == (2, 3, "seeds")
        assert standing.seconds is not None and standing.disk_bytes is not None
        assert standing.disk_bytes > 4 * run.parameters
    assert board["Full()"].trainable_share == 1 > board["HeadOnly()"].trainable_share
    assert "before" not in json.dumps([run["scores"] for run in board.runs])


def test_a_second_call_makes_only_what_is_missing(lively_bert: Path, tmp_path: Path, trainings: list[Any]) -> None:
    first = compare(lively_bert, methods=["full", "head"], seeds=[0], output_dir=tmp_path)
    assert trainings == [("Full", 0), ("HeadOnly", 0)]
    again = compare(lively_bert, methods=["full", "head"], seeds=[0], output_dir=tmp_path)
    assert trainings[2:] == [] and again == first and again.runs == first.runs
    named = {"renamed": {"method": "head"}, "longer": {"method": "head", "max_steps": 4}}
    wider = compare(lively_bert, variants=named, seeds=[0, 1], output_dir=tmp_path)
    assert trainings[2:] == [("HeadOnly", 0), ("HeadOnly", 1), ("HeadOnly", 1)]
    assert wider["renamed"].runs == 2
    other = {**ROWS, "train": ROWS["train"][:-1]}
    settings = {**QUICK, "methods": ["full"], "seeds": [0], "output_dir": tmp_path}
    reasoner.compare(lively_bert, other, task="classification", **settings)
    assert trainings[5:] == [("Full", 0)]  # other rows, other run
    assert all(path.suffix == ".json" for path in (tmp_path / "runs").iterdir())


def test_a_run_that_fails_is_a_row_and_is_tried_again(
    lively_bert: Path, tmp_path: Path, trainings: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = {"deep": {"method": Freeze(layers=99)}, "plain": {}}
    board = compare(lively_bert, variants=chosen, seeds=[0, 1], output_dir=tmp_path)
    assert [item.name for item in board.standings] == ["plain", "deep"]
    assert (board["deep"].runs, board["deep"].failed, board["plain"].runs) == (0, 2, 2)
    assert board["deep"].errors == ("ConfigError: Freeze(layers=99): the model has 2 layers. Give 0 to 2.",)
    assert board.best == board["plain"]
    assert "deep failed: ConfigError: Freeze(layers=99)" in repr(board)
    assert "Traceback" in next(run for run in board.runs if run["error"])["traceback"]
    compare(lively_bert, variants=chosen, seeds=[0, 1], output_dir=tmp_path)
    assert trainings[4:] == [("Freeze", 0), ("Freeze", 1)]


def test_an_interrupt_ends_it_and_keeps_what_was_finished(
    lively_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, calls = reasoner.experiments.variants.train_on_examples, []

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        calls.append(settings["config"].seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **settings)

    monkeypatch.setattr(reasoner.experiments.variants, "train_on_examples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(lively_bert, methods=["full", "head"], seeds=[0, 1], output_dir=tmp_path)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    board = compare(lively_bert, methods=["full", "head"], seeds=[0, 1], output_dir=tmp_path)
    assert calls == [0, 0, 1, 1, 1] and board["Full()"].runs == board["HeadOnly()"].runs == 2


def test_rows_are_encoded_once(lively_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = [], reasoner.encoding.write_features

    def noted(*arguments: Any, **settings: Any) -> None:
        written.append(arguments)
        write(*arguments, **settings)

    monkeypatch.setattr(reasoner.encoding, "write_features", noted)
    compare(lively_bert, methods=["full", "head"], seeds=[0, 1], max_steps=1)
    assert len(written) == 3  # a file for each split, in four runs
    assert "feature_cache" not in compare(lively_bert, methods=["head"], seeds=[0], max_steps=1).runs[0]["config"]


def test_models_and_heads_are_variants_too(lively_models: Any, lively_bert: Path) -> None:
    models = [lively_models("bert"), lively_models("distilbert")]
    board = compare(None, models=models, methods=["head"], seeds=[0], max_steps=1)
    assert {item.name for item in board.standings} == {f"HeadOnly(), {model.name}" for model in models}
    assert board.standings[0].interval_over == "rows"
    board = compare(lively_bert, heads=["sequence_classification"], seeds=[0], max_steps=1)
    assert board.standings[0].name == "sequence_classification"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Give what is to be compared"),
        ({"variants": {"a": {}}, "methods": ["full"]}, "Give what is to be compared"),
        ({"methods": []}, "here they are of none"),
        ({"variants": {"a": {"learningrate": 1}}}, "Variant 'a': There is no setting named 'learningrate'"),
        ({"variants": {"a": {"seed": 1}}}, "Variant 'a' sets seed"),
        ({"variants": {"a": {"method": "hed"}}}, "Variant 'a': There is no method named 'hed'. Did you mean 'head'"),
        ({"variants": {"a": {}, "b": {"task": "nli"}}}, "here they are of Classification, NLI"),
        ({"methods": ["full", reasoner.Full()]}, r"'Full\(\)' is there twice"),
        ({"methods": ["full"], "seeds": [1, 1]}, "Give each one once"),
        ({"methods": ["full"], "old_data": ROWS["test"]}, "old_data needs a model that was tuned on the old task"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_training(
    lively_bert: Path, trainings: list[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(lively_bert, **settings)
    assert trainings == []


# --- old skills -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def skilled(lively_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned colours by heart."""
    folder = tmp_path_factory.mktemp("skilled")
    settings = {"num_train_epochs": 15, "learning_rate": 5e-3, "per_device_train_batch_size": 4, "dropout": 0.0}
    reasoner.fine_tune(lively_bert, ROWS, task="classification", output_dir=folder, use_cpu=True, **settings)
    return folder


@pytest.mark.parametrize("name", ["nli", "ner"])  # one with a pooler, one without
def test_what_is_forgotten_is_measured(skilled: Path, name: str) -> None:
    case = CASES[name]
    settings = {"seeds": [0], "use_cpu": True, "max_steps": 12, "learning_rate": 2e-2, "old_data": ROWS["train"]}
    settings["eval_steps"] = 12  # once, at the end: the last weights are the best
    board = reasoner.compare(skilled, case.splits, task=case.task, methods=["full", "head"], **settings)
    score = reasoner.load(skilled, use_cpu=True).evaluate(ROWS["train"])["macro_f1"]
    olds = {run["variant"]: run["old"] for run in board.runs}
    assert score > 0.9
    assert olds["HeadOnly()"] == {"metric": "macro_f1", "before": score, "after": score}  # its layers are as they were
    assert olds["Full()"]["after"] < score - 0.2
    assert board["Full()"].old_change == olds["Full()"]["after"] - score
    assert "old task" in repr(board) and "the change of its macro_f1" in " ".join(repr(board).split())


def test_old_rows_that_cannot_be_scored_are_no_failed_run(skilled: Path, trainings: list[Any]) -> None:
    rows = [{**row, "label": "violet"} for row in ROWS["train"]]
    with pytest.raises(reasoner.LabelError, match="violet"):
        compare(skilled, methods=["full"], old_data=rows)
    assert trainings == []
    with pytest.raises(ConfigError, match="old_data takes one split, and it has train, validation, test"):
        OldSkills(ROWS, reasoner.load(skilled, use_cpu=True).predictor.device)
