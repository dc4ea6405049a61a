"""Is the model of `refit` the one that training on all rows gives, and are its scores those that may be believed?"""

from __future__ import annotations

import pytest
import torch
from task_cases import CASES

import reasoner
from reasoner import synthetic
from reasoner.errors import ConfigError

PACK = synthetic.nli_pack(train=40, validation=16, test=16)
RUN = {"use_cpu": True, "check": False, "disable_tqdm": True, "per_device_train_batch_size": 8}


def weights(result):
    return list(result.predictor.model.state_dict().values())


def scores(result, split):
    return {name: value for name, value in result.run.metrics[split].items() if "second" not in name}


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_it_is_the_model_of_all_rows_with_the_scores_that_chose_it(lively_bert, tmp_path):
    plain = reasoner.fine_tune(lively_bert, PACK, task="nli", num_train_epochs=1, **RUN)
    result = reasoner.fine_tune(
        lively_bert, PACK, task="nli", num_train_epochs=1, refit=True, output_dir=tmp_path / "out", **RUN
    )
    everything = {**PACK, "train": [*PACK["train"], *PACK["validation"]]}
    assert same(result, reasoner.fine_tune(lively_bert, everything, task="nli", num_train_epochs=1, **RUN))
    assert not same(result, plain)
    assert scores(result, "validation") == scores(plain, "validation")
    assert result.run.intervals["validation"] == plain.run.intervals["validation"]
    assert scores(result, "before") == scores(plain, "before")
    assert result.predictor.model.head.temperature == plain.predictor.model.head.temperature
    assert result.evaluate(PACK["test"])["accuracy"] == result.metrics["test"]["accuracy"]
    assert result.run.comparison["after"] == result.metrics["test"]["accuracy"]
    assert any("refit: the model was trained on the 56 rows" in notice for notice in result.run.notices)
    loaded = reasoner.load(tmp_path / "out", use_cpu=True)
    assert same(loaded, result) and loaded.run.to_dict() == result.run.to_dict()
    assert "56 rows of train and validation" in str(result.report())


def test_it_ends_where_the_first_was_best(lively_bert):
    """The first is best after its first of three epochs, since later ones have no learning rate worth the name."""
    settings = {"num_train_epochs": 3, "learning_rate": 1e-30, "evaluate_before": False, **RUN}
    steps = []

    class Count(reasoner.Callback):
        def on_train_end(self, trainer):
            steps.append((trainer.step, trainer.total_steps))

    result = reasoner.fine_tune(lively_bert, PACK, task="nli", refit=True, callbacks=[Count()], **settings)
    assert result.run.best_step == 5  # of 15: ties go to the earlier
    assert steps == [(15, 15), (7, 21)]  # 40 rows and 56, 8 a batch
    assert len([row for row in result.run.history if row["split"] == "validation"]) == 3


def test_without_a_test_split_nothing_says_how_good_it_is(lively_bert):
    data = {"train": PACK["train"], "validation": PACK["validation"]}
    plain = reasoner.fine_tune(lively_bert, data, task="nli", num_train_epochs=1, **RUN)
    result = reasoner.fine_tune(lively_bert, data, task="nli", num_train_epochs=1, refit=True, **RUN)
    assert result.run.metrics.keys() == plain.run.metrics.keys()
    assert result.run.comparison == plain.run.comparison and result.run.calibration == plain.run.calibration


def test_a_cut_validation_split_comes_back_and_seeds_go_with_it(lively_bert):
    result = reasoner.fine_tune(
        lively_bert, {"train": PACK["train"]}, task="nli", num_train_epochs=1, refit=True, seeds=[0, 1], **RUN
    )
    assert any("refit: the model was trained on the 40 rows" in notice for notice in result.run.notices)
    assert len(result.run.seeds) == 2


def test_thresholds_are_those_of_validation(lively_bert):
    pack = synthetic.qa_pack(train=24, validation=12, test=12)
    settings = {"task": reasoner.QuestionAnswering(), "num_train_epochs": 1, "max_length": 64, **RUN}
    plain = reasoner.fine_tune(lively_bert, pack, **settings)
    result = reasoner.fine_tune(lively_bert, pack, refit=True, **settings)
    assert result.predictor.task == plain.predictor.task


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"average_checkpoints": 2}, "does not go with average_checkpoints"),
        ({"resume": True}, "does not go with refit"),
    ],
)
def test_what_does_not_go_with_it_is_refused(settings, what, lively_bert, tmp_path):
    with pytest.raises(ConfigError, match=what):
        reasoner.fine_tune(lively_bert, PACK, task="nli", refit=True, output_dir=tmp_path / "out", **settings, **RUN)


def test_compare_counts_the_time_of_both(lively_bert):
    board = reasoner.compare(
        lively_bert, PACK, task="nli", variants={"plain": {}, "refit": {"refit": True}}, seeds=[0], num_train_epochs=1,
        **{name: value for name, value in RUN.items() if name != "check"},
    )  # fmt: skip
    plain, refit = board.runs
    assert refit["error"] is None and refit["steps"] == 5 + 7 and plain["steps"] == 5
    assert refit["scores"]["validation"] == plain["scores"]["validation"]


@pytest.mark.parametrize("name", CASES)
def test_the_best_recipe_of_every_task_trains_is_saved_and_predicts(name, lively_bert, tmp_path):
    case = CASES[name]
    settings = {name: value for name, value in RUN.items() if name != "check"}
    result = reasoner.fine_tune(
        lively_bert, case.splits, task=case.task, recipe="best", max_steps=2, output_dir=tmp_path / "out", **settings
    )
    assert any(f"recipe='best' for {case.task} sets" in notice for notice in result.run.notices)
    assert result.run.config["refit"] is True
    loaded, metric = reasoner.load(tmp_path / "out", use_cpu=True), result.run.primary_metric
    assert loaded.evaluate(case.splits["test"])[metric] == pytest.approx(result.metrics["test"][metric])
    assert len(result.predict(case.inputs)) == len(case.inputs)
