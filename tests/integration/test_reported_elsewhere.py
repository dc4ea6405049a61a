"""What users of other trainers reported as bugs: the same situation here. Each number is that of the report.

Of other reports, transformers#11323, #11284, #40691 and accelerate#4071 (resuming) are in test_trainer_state.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from task_cases import CASES
from torch import Tensor

import reasoner
from own_head import OwnLayers
from reasoner.tasks.classification import Classification
from reasoner.training.callbacks import Callback
from reasoner.training.forecast import peak_memory_mib
from reasoner.training.memory import release_memory, reset_peak_memory

# --- transformers#40221: saving the best and loading it at the end, the last was loaded, and nothing said so ---------

BEST, BROKEN_AT, STOPPED_AT, LAST = 6, 8, 10, 12


class Spoiled(Callback):
    """Copies the weights that are the best, and spoils them after each step beyond `BEST`; breaks a run off once."""

    def __init__(self, breaks: bool) -> None:
        self.breaks, self.best = breaks, {}

    def on_step_end(self, trainer: Any) -> None:
        if trainer.step > BEST:
            layer = trainer.model.network.classifier
            with torch.no_grad():
                layer.weight.zero_()
                layer.bias.copy_(torch.arange(len(layer.bias)))  # the last label for every row
        if self.breaks and trainer.step == BROKEN_AT:
            self.breaks = False
            raise InterruptedError

    def on_best(self, trainer: Any) -> None:
        self.best = {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("case", ["in memory", "with a folder", "stopped early", "broken off and resumed"])
def test_the_best_weights_are_those_that_are_left(case: str, lively_bert: Path, tmp_path: Path) -> None:
    """transformers#40221. In memory and in the folder, whether evaluations and checkpoints fall together or not."""
    folder = None if case == "in memory" else tmp_path / "run"
    watch = Spoiled(breaks=case.startswith("broken"))
    splits = CASES["classification"].splits
    settings: dict[str, Any] = {
        "task": "classification", "output_dir": folder, "callbacks": [watch], "use_cpu": True, "eval_steps": 2,
        "max_steps": LAST, "learning_rate": 5e-3, "dropout": 0.0, "resume": folder is not None,
        "checkpoint_steps": None if folder is None else 3, "patience": 2 if case == "stopped early" else None,
    }  # fmt: skip
    if watch.breaks:
        with pytest.raises(InterruptedError):
            reasoner.fine_tune(lively_bert, splits, **settings)
    result = reasoner.fine_tune(lively_bert, splits, **settings)
    metric = result.run.primary_metric
    scores = {row["step"]: row[metric] for row in result.history if row["split"] == "validation"}
    assert max(scores) == (STOPPED_AT if case == "stopped early" else LAST)
    assert scores[BEST] > max(score for step, score in scores.items() if step != BEST)  # so the last is not the best
    assert result.run.best_step == BEST
    left = [result] if folder is None else [result, reasoner.load(folder, use_cpu=True)]
    for one in left:
        weights = one.predictor.model.state_dict()
        assert watch.best and [name for name in watch.best if not torch.equal(weights[name], watch.best[name])] == []
        assert one.evaluate(splits["validation"])[metric] == scores[BEST]


# --- transformers#37766: the more batches were accumulated, the larger was the loss ----------------------------------


@pytest.mark.parametrize("name", ["ner", "own head"])
def test_the_loss_does_not_grow_with_accumulation(
    name: str, lively_bert: Path, rows_of: Any, registry: Any, tmp_path: Path
) -> None:
    """transformers#37766, where the model takes no number of items: our own head, and transformers' for tokens."""
    reasoner.register_head("own_layers", OwnLayers)
    task = "ner" if name == "ner" else Classification(head="own_layers")
    rows = rows_of("NER" if name == "ner" else "Classification")
    told, weights = [], []
    for size in (32, 8, 1):
        result = reasoner.fine_tune(
            lively_bert, {"train": rows, "validation": rows[:8]}, task=task, use_cpu=True, dropout=0.0, optim="sgd",
            learning_rate=0.02, num_train_epochs=4, per_device_train_batch_size=size, logging_steps=1,
            gradient_accumulation_steps=32 // size, eval_steps=100, max_grad_norm=0, check=False, evaluate_before=False,
        )  # fmt: skip
        told.append([row["loss"] for row in result.history if row["split"] == "train"])
        weights.append(torch.cat([weight.detach().flatten() for weight in result.predictor.model.parameters()]))
    assert [len(losses) for losses in told] == [4, 4, 4] and told[0][0] > 1.01 * told[0][-1]
    for losses, learned in zip(told[1:], weights[1:], strict=True):
        assert losses == pytest.approx(told[0], rel=1e-5)
        torch.testing.assert_close(learned, weights[0], rtol=1e-4, atol=1e-6)


# --- transformers#7232: evaluation and prediction kept all outputs on the GPU, until its memory was full -------------

WIDE = 2**18
"""Numbers of outputs a row: 1 MiB."""
ROWS, BATCH = 600, 8
GIVEN_BACK = "MALLOC_MMAP_THRESHOLD_"
"""Of glibc: from how many bytes on a block is memory of its own, which is given back when it is freed."""


class WideHead(OwnLayers):
    """Gives 1 MiB of outputs for each row; keeps count of the tensors that are still held."""

    given: list[list[weakref.ref[Tensor]]] = []
    held: list[int] = []

    def forward(self, hidden: Tensor, batch: Any) -> dict[str, Tensor]:
        self.held.append(sum(output() is not None for outputs in self.given for output in outputs))
        outputs = super().forward(hidden, batch)
        outputs["wide"] = torch.ones(len(hidden), WIDE, device=hidden.device)
        self.given.append([weakref.ref(output) for output in outputs.values()])
        return outputs


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is reset as on Linux")
@pytest.mark.parametrize("use", ["evaluate", "predict", "predict an iterator"])
def test_evaluation_holds_the_outputs_of_one_batch(
    use: str, prepare: Any, rows_of: Any, registry: Any, request: pytest.FixtureRequest
) -> None:
    """transformers#7232: what all rows give would not fit; at no time more is held than a batch or two.

    It is measured in a process where the C library gives large blocks back as soon as they are freed. Left alone, glibc
    keeps them or not as its threshold happens to have moved: then the peak says nothing of what was held.
    """
    if GIVEN_BACK not in os.environ:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", request.node.nodeid],
            cwd=request.config.rootpath, env={**environment, GIVEN_BACK: str(WIDE * 4)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
        return
    reasoner.register_head("wide", WideHead)
    rows = [row for _ in range(ROWS // 30) for row in rows_of("Classification")[:30]]
    predictor, data = prepare(Classification(head="wide"), rows=rows, per_device_eval_batch_size=BATCH)
    texts = [row["text"] for row in rows]
    WideHead.given.clear()
    WideHead.held.clear()
    release_memory()
    assert reset_peak_memory()
    before = peak_memory_mib(predictor.device)
    if use == "evaluate":
        assert len(predictor.evaluate(data).predictions) == ROWS
    else:
        assert len(list(predictor.predict(texts if use == "predict" else iter(texts)))) == ROWS
    after = peak_memory_mib(predictor.device)
    assert before is not None and after is not None
    assert len(WideHead.given) >= ROWS / BATCH and max(WideHead.held) <= 2  # those of the batch before, at most
    assert after - before < ROWS / 6  # MiB: what all rows gave is six times that
