"""Is the network compiled when it pays and else left alone, and is nothing of it left?"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reasoner.notices import collect
from reasoner.tasks.nli import NLI
from reasoner.training import compiling, row_gradients
from reasoner.training.compiling import TIMED, UNTIMED, Compiler
from reasoner.training.config import TrainingConfig
from reasoner.training.history import History
from reasoner.training.trainer import Trainer

CUDA = torch.device("cuda")


class Counting:
    """Stands for torch.compile: runs the function as it is, and counts."""

    def __init__(self, *, error=None):
        self.settings, self.calls, self.error = None, 0, error

    def __call__(self, function, **settings):
        self.settings = settings

        def run(*arguments, **inputs):
            self.calls += 1
            if self.error is not None:
                raise self.error
            return function(*arguments, **inputs)

        return run


@pytest.fixture
def compiled(monkeypatch):
    counting = Counting()
    monkeypatch.setattr(compiling.torch, "compile", counting)
    return counting


def steps(compiler, trainer, number, seconds, positions=1000):
    for _ in range(number):
        trainer.step += 1
        trainer.history.seconds += seconds
        trainer.history.positions += positions
        compiler.network(torch.ones(1, 2))
        compiler.on_step_end(trainer)


def a_run(wanted=None, *, total_steps=10_000, device=CUDA, full_determinism=False):
    compiler = Compiler(nn.Linear(2, 1).train(), wanted)
    config = TrainingConfig(full_determinism=full_determinism)
    trainer = SimpleNamespace(step=0, total_steps=total_steps, device=device, history=History(), config=config)
    compiler.on_train_begin(trainer)
    return compiler, trainer


@pytest.mark.parametrize(("after", "positions", "kept"), [(0.5, 1000, True), (1.5, 1000, False), (1.5, 2000, True)])
def test_the_faster_way_is_kept_and_said(compiled, after, positions, kept):
    compiler, trainer = a_run()
    with collect() as said:
        steps(compiler, trainer, UNTIMED + TIMED, 1.0)
        assert compiled.calls == 0 and compiled.settings is None
        steps(compiler, trainer, 1, 1.0)
        assert compiled.settings == {"dynamic": True, "backend": "inductor"}
        steps(compiler, trainer, 1, 60.0)
        steps(compiler, trainer, UNTIMED + TIMED, after, positions)
    pace = 1000 * after / (positions / 1000)
    took = 60 + UNTIMED * after
    assert len(said) == 1
    assert f"take {pace:.3g} ms instead of 1e+03 ms, and the first {UNTIMED + 1} steps took {took:.0f} s" in said[0]
    assert said[0].endswith("It stays so." if kept else "It is not faster, so it runs as before.")
    before = compiled.calls
    assert before == UNTIMED + TIMED + 1
    steps(compiler, trainer, 3, 1.0)
    assert compiled.calls == before + (3 if kept else 0)


@pytest.mark.parametrize(("total_steps", "device"), [(625, CUDA), (10**6, torch.device("cpu"))])
def test_nothing_is_tried_in_a_short_run_or_on_the_cpu(compiled, total_steps, device):
    compiler, trainer = a_run(total_steps=total_steps, device=device)
    with collect() as said:
        steps(compiler, trainer, 3 * (UNTIMED + TIMED), 1.0)
    assert compiled.settings is None and said == []


def test_with_full_determinism_no_clock_decides(compiled):
    compiler, trainer = a_run(full_determinism=True)
    with collect() as said:
        steps(compiler, trainer, 3 * (UNTIMED + TIMED), 1.0)
    assert compiled.settings is None and said == []


def test_just_long_enough(compiled):
    compiler, trainer = a_run(total_steps=626)
    steps(compiler, trainer, UNTIMED + TIMED + 1, 1.0)
    assert compiled.settings is not None


def test_never_and_always(compiled):
    compiler, trainer = a_run(False)
    steps(compiler, trainer, 60, 1.0)
    assert compiled.settings is None
    compiler, trainer = a_run(True, device=torch.device("cpu"), total_steps=2)
    steps(compiler, trainer, 2, 1.0)
    assert compiled.calls == 2


def test_evaluation_is_not_compiled_and_nothing_stays(compiled):
    compiler, trainer = a_run(True)
    network, values = compiler.network, torch.ones(1, 2)
    with torch.no_grad():
        network(values)
    network.eval()(values)
    assert compiled.calls == 0
    network.train()(values)
    assert compiled.calls == 1
    deepcopy(network)(values)
    assert compiled.calls == 1 and network.state_dict().keys() == {"weight", "bias"}
    compiler.on_train_end(trainer)
    network(values)
    assert compiled.calls == 1


def test_what_cannot_be_compiled_runs_as_before(compiled):
    compiled.error = TypeError("no such thing")
    compiler, trainer = a_run()
    with collect() as said:
        steps(compiler, trainer, 2 * (UNTIMED + TIMED), 1.0)
    assert compiled.calls == 1
    assert said == ["The network could not be compiled, and runs as before (TypeError)."]


@pytest.mark.parametrize(("wanted", "error"), [(True, TypeError), (None, torch.OutOfMemoryError)])
def test_errors_that_are_raised(compiled, wanted, error):
    compiled.error = error("no")
    compiler, trainer = a_run(wanted)
    with pytest.raises(error):
        steps(compiler, trainer, 2 * (UNTIMED + TIMED), 1.0)


def test_weights_are_those_of_a_run_without(prepare, monkeypatch):
    monkeypatch.setattr(row_gradients, "LARGE", 1)
    predictor, data = prepare(NLI(), dropout=0.0)
    start, plain = deepcopy(predictor.model), deepcopy(predictor.model)
    batches = predictor.batches(data, batch_size=8, shuffle=True, seed=3)
    config = TrainingConfig(use_cpu=True, bf16=False, learning_rate=1e-3, max_steps=5, torch_compile=True)
    torch._dynamo.reset()
    compiler = Compiler(predictor.model.network, True, backend="aot_eager")
    Trainer(predictor.model, batches, config=config, callbacks=[compiler]).train()
    Trainer(plain, batches, config=replace(config, torch_compile=False)).train()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    moved = 0.0
    for ours, theirs, before in zip(predictor.model.parameters(), plain.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        moved = max(moved, float((ours - before).detach().abs().max()))
    assert moved > 1e-4
