"""Does a run that was broken off and goes on end with the weights and the history of one that never was?"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_runs import Break, Broken, assert_same_run, history_of, rows_on_disk, tune

from reasoner import Callback, LoRA, pretrain

CASES = {
    "full": {},
    "lora": {"method": LoRA(rank=4)},
    "bitfit": {"method": "bitfit"},
    "kept states": {"method": "head"},
    "kept lower states": {"method": "top-k", "balanced_sampling": True},
    "gradual": {"method": "gradual"},
    "adapter": {"method": "adapter"},
    "sgd, no dropout": {"optim": "sgd", "dropout": 0.0},
    "early stopping": {"patience": 6, "eval_steps": 2, "num_train_epochs": 8},
    "moving average": {"ema_decay": 0.9},
    "mean of the best": {"average_checkpoints": 2, "eval_steps": 4},
    "accumulation": {"gradient_accumulation_steps": 3, "checkpoint_steps": 1, "num_train_epochs": 8},
    "evaluations in mid-epoch": {"eval_steps": 3, "checkpoint_steps": 3, "logging_steps": 3},
    "batches by tokens": {"tokens_per_batch": 96, "max_length": 48, "checkpoint_steps": 3},
    "steps": {"max_steps": 13, "lr_scheduler_type": "cosine"},
    "r-drop": {"r_drop": 1.0, "checkpoint_steps": 4},
    "consistency": {"consistency": 1.0, "checkpoint_steps": 4},
    "pytorch's dropout": {"fast_dropout": False},
    "stream": {"streamed": True, "max_steps": 17, "eval_steps": 4, "ema_decay": 0.9},
    "stream, batches by tokens": {"streamed": True, "max_steps": 17, "eval_steps": 4, "tokens_per_batch": 96},
    "stream, kept states of validation": {"streamed": True, "max_steps": 17, "method": "head"},
}
BREAKS = [("step", 1), ("step", 8), ("log", 4), ("evaluate", 1), ("best", 1), ("epoch", 1), ("step", 6), ("epoch", 1)]
"""In each of these ways in turn, counted from where the run goes on."""


TASKS = {"NER": "ner", "NLI": "nli", "QuestionAnswering": "qa", "MultipleChoice": "multiple_choice"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_each_task(name, streamed, tiny_bert, rows_of, tmp_path: Path):
    settings: dict[str, Any] = {"task": TASKS[name], "max_length": 32, "num_train_epochs": 2, "checkpoint_steps": 3}
    if streamed:
        settings |= {"streamed": True, "max_steps": 12, "eval_steps": 5}
    whole = tune(tiny_bert, rows_of(name), tmp_path / "whole", callbacks=[Break()], **settings)
    with pytest.raises(Broken):
        tune(tiny_bert, rows_of(name), tmp_path / "broken", callbacks=[Break("step", 8)], **settings)
    result = tune(tiny_bert, rows_of(name), tmp_path / "broken", callbacks=[Break()], resume=True, **settings)
    assert any("goes on after step 6" in notice for notice in result.run.notices)
    assert_same_run(result, whole)
    assert (
        result.metrics["validation"][result.run.primary_metric] == whole.metrics["validation"][whole.run.primary_metric]
    )


@pytest.mark.parametrize("objective", ["teacher", "language modelling"])
def test_with_another_model_beside(objective, tiny_bert, rows_of, tmp_path: Path):
    rows, model = rows_of("Classification"), tiny_bert
    quick = {"num_train_epochs": 1, "learning_rate": 1e-3, "disable_tqdm": True, "use_cpu": True}
    if objective == "teacher":
        tune(tiny_bert, rows, tmp_path / "teacher", seed=7)
        settings: dict[str, Any] = {"teacher": tmp_path / "teacher", "distillation_weight": 0.7}
    else:
        model = tmp_path / "pretrained"
        pretrain(tiny_bert, [row["text"] for row in rows], output_dir=model, **quick)
        settings = {"language_modeling_weight": 0.5}
    whole = tune(model, rows, tmp_path / "whole", callbacks=[Break()], **settings)
    with pytest.raises(Broken):
        tune(model, rows, tmp_path / "broken", callbacks=[Break("step", 8)], **settings)
    result = tune(model, rows, tmp_path / "broken", callbacks=[Break()], resume=True, **settings)
    assert_same_run(result, whole)


@pytest.mark.parametrize("shortcut", ["hypothesis only", "word overlap"])
def test_against_a_shortcut(shortcut, tiny_bert, rows_of, tmp_path: Path):
    settings: dict[str, Any] = {"task": "nli", "debias": shortcut, "num_train_epochs": 2, "checkpoint_steps": 3}
    whole = tune(tiny_bert, rows_of("NLI"), tmp_path / "whole", callbacks=[Break()], **settings)
    with pytest.raises(Broken):
        tune(tiny_bert, rows_of("NLI"), tmp_path / "broken", callbacks=[Break("step", 8)], **settings)
    result = tune(tiny_bert, rows_of("NLI"), tmp_path / "broken", callbacks=[Break()], resume=True, **settings)
    assert any("goes on after step 6" in notice for notice in result.run.notices)
    assert_same_run(result, whole)
    assert result.run.config["debias_accuracy"] == whole.run.config["debias_accuracy"]


class SignalAtTheEnd(Callback):
    """Sends a signal when all steps are made, and the mean of the best weights is scored."""

    def __init__(self, on: bool = False) -> None:
        self.on = on

    def on_log(self, trainer: Any, row: dict[str, Any]) -> None:
        if self.on and row["split"] == "average":
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("checkpoint_steps", [4, None])
def test_a_signal_after_the_last_step(checkpoint_steps, tiny_bert, rows_of, tmp_path: Path):
    rows = rows_of("Classification")
    settings = {"average_checkpoints": 2, "eval_steps": 4, "checkpoint_steps": checkpoint_steps}
    whole = tune(tiny_bert, rows, tmp_path / "whole", callbacks=[SignalAtTheEnd()], **settings)
    if checkpoint_steps is None:  # nothing is saved yet: the run is brought to its end
        result = tune(tiny_bert, rows, tmp_path / "run", callbacks=[SignalAtTheEnd(True)], **settings)
    else:
        with pytest.raises(SystemExit) as ended:
            tune(tiny_bert, rows, tmp_path / "run", callbacks=[SignalAtTheEnd(True)], **settings)
        assert ended.value.code == 143
        assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000015"]
        result = tune(tiny_bert, rows, tmp_path / "run", callbacks=[SignalAtTheEnd()], resume=True, **settings)
    assert_same_run(result, whole)


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_broken_off_ends_as_if_it_never_was(case, tiny_bert, rows_of, tmp_path: Path):
    rows = rows_of("Classification")
    whole = tune(tiny_bert, rows, tmp_path / "whole", callbacks=[Break()], **CASES[case])
    broken, result = 0, None
    for stage, number in [*BREAKS, ("", 0)]:
        try:
            result = tune(
                tiny_bert, rows, tmp_path / "broken", callbacks=[Break(stage, number)], resume=True, **CASES[case]
            )
            break
        except Broken:
            broken += 1
    assert result is not None and broken >= 2
    assert whole.run.stopped_early == (case == "early stopping")
    assert_same_run(result, whole)
    assert history_of(rows_on_disk(tmp_path / "broken")) == history_of(rows_on_disk(tmp_path / "whole"))
    assert not (tmp_path / "broken" / "checkpoints").exists()
    assert result.run.rows == whole.run.rows and result.run.notices[-1] == whole.run.notices[-1]
    ours, theirs = result.label_record, whole.label_record
    assert (ours is None) == (theirs is None) == ("streamed" in CASES[case])
    for name in ("gold", "probability", "other", "other_probability") if ours else ():
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
