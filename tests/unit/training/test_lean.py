"""Is a step under LeanStep the same step, for every architecture, and is nothing left of it afterwards?"""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from reasoner.tasks.ner import NER
from reasoner.training import row_gradients
from reasoner.training.config import TrainingConfig
from reasoner.training.lean import LeanStep
from reasoner.training.trainer import Trainer
from tiny import ARCHITECTURES


@pytest.fixture
def small_tables_too(monkeypatch):
    monkeypatch.setattr(row_gradients, "LARGE", 1)


def trained(model, batches, *, lean=None, **settings):
    config = TrainingConfig(**{"use_cpu": True, "bf16": False, "seed": 3, "learning_rate": 1e-3, "max_steps": 6,
                               "warmup_steps": 0, "gradient_accumulation_steps": 2, **settings})  # fmt: skip
    trainer = Trainer(model, batches, config=config)
    if lean is not None:
        trainer._lean = lean
    trainer.train()
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


def difference(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_run_is_the_same_without_fast_dropout(prepare, small_tables_too, architecture):
    predictor, data = prepare(NER(), architecture=architecture, dropout=0.1, sharp=True)
    batches = predictor.batches(data, batch_size=5, shuffle=True, seed=3)
    plain, other = (predictor.model, deepcopy(predictor.model))
    before = {name: weight.detach().clone() for name, weight in plain.named_parameters()}
    ours = trained(other.double(), batches, fast_dropout=False)
    theirs = trained(plain.double(), batches, lean=nullcontext())
    assert difference(ours, theirs) < 1e-9 and difference(ours, before) > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_fast_dropout_a_seed_gives_the_same_bit_for_bit(prepare, small_tables_too, architecture):
    predictor, data = prepare(NER(), architecture=architecture, dropout=0.1)
    batches = predictor.batches(data, batch_size=5, shuffle=True, seed=3)
    runs = [trained(deepcopy(predictor.model), batches, seed=seed) for seed in (3, 3, 4)]
    assert difference(runs[0], runs[1]) == 0 < difference(runs[0], runs[2])
    assert all(weight.isfinite().all() for weight in runs[0].values())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_dropout_of_pytorch_is_left(prepare, architecture):
    """As seen by the profiler: no draw of `bernoulli_`, and no attention of PyTorch that drops."""
    predictor, data = prepare(NER(), architecture=architecture, dropout=0.1)
    model, batch = predictor.model.train(), next(iter(predictor.batches(data, batch_size=4, shuffle=False)))
    counts = []
    for mode in (nullcontext(), LeanStep()):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler, mode:
            model.loss(model(batch), batch).total.backward()
        counts.append(sum(event.count for event in profiler.key_averages() if event.key == "aten::bernoulli_"))
    assert counts[0] > 0 == counts[1]


def test_on_average_the_loss_and_gradient_are_those_of_pytorch_s_dropout(prepare):
    predictor, data = prepare(NER(), dropout=0.3, sharp=True)
    model, batch = predictor.model.train(), next(iter(predictor.batches(data, batch_size=8, shuffle=False)))
    sums = []
    for mode in (LeanStep(), LeanStep(fast_dropout=False)):
        torch.manual_seed(0)
        rows = []
        for _ in range(150):
            model.zero_grad()
            with mode:
                loss = model.loss(model(batch), batch).total
                loss.backward()
            rows.append(
                torch.stack([loss.detach(), *(w.grad.norm() for w in model.parameters() if w.grad is not None)])
            )
        sums.append(torch.stack(rows).double())
    error = ((sums[0].var(0) + sums[1].var(0)) / 150).sqrt()
    assert float(((sums[0].mean(0) - sums[1].mean(0)).abs() / error).max()) < 4.5


def test_nothing_is_left_of_it():
    embedding, values = nn.Embedding(3, 2), torch.ones(1000)
    torch.manual_seed(0)
    before = functional.dropout(values, 0.5)
    with pytest.raises(ZeroDivisionError), LeanStep():
        assert not torch.equal(functional.dropout(values, 0.5), before)
        _ = 1 / 0
    torch.manual_seed(0)
    assert torch.equal(functional.dropout(values, 0.5), before)
    embedding(torch.tensor([1])).sum().backward()
    assert not embedding.weight.grad.is_sparse and not embedding.sparse


def test_what_it_is_not_for_is_pytorch_s_own(small_tables_too):
    values = torch.ones(6, 4)
    table = torch.randn(5, 4, requires_grad=True)
    ids = torch.tensor([1, 1, 2])
    query = torch.randn(1, 1, 3, 4)
    for compute in (
        lambda: functional.dropout(values, 0.5, training=False),
        lambda: functional.dropout(values.clone(), 0.5, inplace=True),
        lambda: functional.dropout(values.bfloat16(), 0.5),
        lambda: functional.dropout(values, 1.0),
        lambda: functional.embedding(ids, table, scale_grad_by_freq=True).sum().backward() or table.grad,
        lambda: functional.embedding(ids, table, max_norm=100.0),
        lambda: functional.scaled_dot_product_attention(query, query, query, dropout_p=0.5, is_causal=True),
        lambda: functional.scaled_dot_product_attention(query, query, query, torch.zeros(3, 3), 0.5, scale=0.2),
    ):
        results = []
        for mode in (nullcontext(), LeanStep()):
            torch.manual_seed(0)
            table.grad = None
            with mode:
                results.append(compute().detach().clone())
        assert torch.equal(*results)
    with pytest.raises(ValueError, match="probability"), LeanStep():
        functional.dropout(values, -0.5)


@pytest.mark.parametrize("frozen", ["table", "backbone"])
def test_frozen_tables(prepare, small_tables_too, frozen):
    predictor, data = prepare(NER(), dropout=0.1)
    model = predictor.model
    (model.network.get_input_embeddings() if frozen == "table" else model.backbone).requires_grad_(False)
    table = model.network.get_input_embeddings().weight
    before = table.detach().clone()
    trained(model, predictor.batches(data, batch_size=5, shuffle=True, seed=3))
    assert torch.equal(table, before) and table.grad is None


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_again_in_the_backward_pass_has_the_same_dropout(reentrant):
    """Gradient checkpointing: the gradient is that of the values of the forward pass."""
    torch.manual_seed(0)
    values = torch.rand(40, 3, 8, 4, dtype=torch.float64, requires_grad=True)

    def part(values):
        attended = functional.scaled_dot_product_attention(values, values, values, dropout_p=0.4)
        return functional.dropout(attended, 0.5) ** 2

    with LeanStep():
        outputs = checkpoint(part, values, use_reentrant=reentrant)
        outputs.sum().backward()
    torch.manual_seed(0)
    torch.rand_like(values)
    expected = part(values)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(values.grad, torch.autograd.grad(expected.sum(), values)[0])
