"""With `full_determinism`: are the switches on in the whole run, back after it, and is what cannot be refused?"""

from __future__ import annotations

import os

import pytest
import torch
from test_trainer import made

import reasoner
from own_head import OwnLayers
from reasoner.errors import ConfigError
from reasoner.tasks.nli import NLI
from reasoner.training.callbacks import Callback
from reasoner.training.determinism import WORKSPACE, deterministic

ON = (2, True, False, ":4096:8")
BEFORE = {"as PyTorch has it": (0, False, False, None), "set by the program": (1, True, True, ":4096:2")}


def switches():
    cudnn = torch.backends.cudnn
    return torch.get_deterministic_debug_mode(), cudnn.deterministic, cudnn.benchmark, os.environ.get(WORKSPACE)


@pytest.fixture(params=BEFORE)
def before(request, monkeypatch):
    """Set the switches, and put them back after the test."""
    mode, cudnn, benchmark, workspace = BEFORE[request.param]
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", cudnn)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", benchmark)
    monkeypatch.delenv(WORKSPACE, raising=False)
    if workspace is not None:
        monkeypatch.setenv(WORKSPACE, workspace)
    torch.set_deterministic_debug_mode(mode)
    yield BEFORE[request.param]
    torch.set_deterministic_debug_mode(0)


class Watch(Callback):
    """Writes the switches down at each stage; raises an error at a step."""

    def __init__(self, fail_at=None):
        self.seen, self.fail_at = [], fail_at

    def on_batch(self, trainer, batch, outputs):
        self.seen.append(switches())

    def on_evaluate(self, trainer, metrics):
        self.seen.append(switches())

    def on_step_end(self, trainer):
        self.seen.append(switches())
        if trainer.step == self.fail_at:
            raise InterruptedError


def test_on_inside_and_back_afterwards(before):
    with deterministic(True):
        assert switches() == ON
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        with deterministic(True):
            assert switches() == ON
        assert switches() == ON
    assert switches() == before
    with deterministic(False):
        assert switches() == before


def test_a_workspace_that_will_do_stays(before, monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with deterministic(True):
        assert switches() == (*ON[:3], ":16:8")
    assert switches() == (*before[:3], ":16:8")


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, RuntimeError("shapes differ")])
def test_back_after_any_error_which_is_raised_as_it_is(before, error):
    with pytest.raises(type(error) if isinstance(error, RuntimeError) else error), deterministic(True):
        raise error
    assert switches() == before


def test_an_operation_without_such_a_kernel_is_named(before):
    values = torch.zeros(4)
    refused = pytest.raises(ConfigError, match=r"operation 'put_' .* no deterministic kernel .*use_cpu=True")
    with refused, deterministic(True):
        values.put_(torch.tensor([0, 0]), torch.ones(2))
    assert switches() == before


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("fail_at", [None, 3])
def test_a_trainer_trains_and_evaluates_with_them(before, wanted, fail_at):
    watch = Watch(fail_at)
    trainer, _ = made([0.1, 0.2], num_train_epochs=2, callbacks=[watch], full_determinism=wanted)
    if fail_at is None:
        trainer.train()
    else:
        with pytest.raises(InterruptedError):
            trainer.train()
    assert len(watch.seen) == (2 * 8 + 2 if fail_at is None else 2 * 3)
    assert set(watch.seen) == {ON if wanted else before}
    assert switches() == before


class Recording(OwnLayers):
    """Writes down the switches at each forward pass."""

    seen: list[tuple] = []

    def forward(self, hidden, batch):
        self.seen.append((torch.is_grad_enabled(), switches()))
        return super().forward(hidden, batch)


class NoKernel(OwnLayers):
    """Computes with an operation that has no deterministic kernel."""

    def forward(self, hidden, batch):
        logits = super().forward(hidden, batch)["logits"]
        return {"logits": logits + torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))}


def tune(model, rows, head, **settings):
    reasoner.register_head("own", head)
    data = {"train": rows[:24], "validation": rows[24:]}
    return reasoner.fine_tune(model, data, task=NLI(head="own"), use_cpu=True, num_train_epochs=1, **settings)


def test_a_whole_run_has_them(before, registry, tiny_bert, rows_of):
    """The check of data and model, the score before, training, and all scores after it."""
    Recording.seen.clear()
    result = tune(tiny_bert, rows_of("NLI"), Recording, full_determinism=True)
    assert {mode for _, mode in Recording.seen} == {ON} and {grad for grad, _ in Recording.seen} == {True, False}
    assert switches() == before and result.run.config["full_determinism"] is True
    Recording.seen.clear()
    tune(tiny_bert, rows_of("NLI"), Recording)
    assert {mode for _, mode in Recording.seen} == {before}


@pytest.mark.parametrize("check", [True, False])
def test_a_model_that_cannot_is_refused_before_training(registry, tiny_bert, rows_of, check):
    watch = Watch()
    settings = {"check": check, "callbacks": [watch]}
    with pytest.raises(ConfigError, match=r"^full_determinism: the operation 'put_'"):
        tune(tiny_bert, rows_of("NLI"), NoKernel, full_determinism=True, **settings)
    assert watch.seen == [] and switches()[0] == 0
    tune(tiny_bert, rows_of("NLI"), NoKernel, **settings)
    assert watch.seen


def test_compiled_kernels_are_refused(registry, tiny_bert, rows_of):
    with pytest.raises(ConfigError, match=r"full_determinism does not go with torch_compile=True"):
        tune(tiny_bert, rows_of("NLI"), OwnLayers, full_determinism=True, torch_compile=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("task", ["ner", "nli"])
def test_two_runs_on_a_gpu_are_equal(task, tiny_bert):
    pack = getattr(reasoner.synthetic, f"{task}_pack")(train=64, validation=16, test=0)
    runs = [reasoner.fine_tune(tiny_bert, pack, task=task, num_train_epochs=2, full_determinism=True) for _ in range(2)]
    one, other = (run.predictor.model.state_dict() for run in runs)
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []
