"""Is the fast dropout one of the probability that was asked for, and attention with it that of PyTorch?"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from reasoner.training import dropout as module
from reasoner.training.dropout import attention, can_attend, can_drop, dropout, dropped_states


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_probability_at_every_place_of_a_draw(p):
    torch.manual_seed(1)
    number = 2**20
    dropped = dropout(torch.ones(number, 4), p) == 0
    exact = dropped_states(p) / 2**16
    assert abs(exact - p) <= 2**-17
    spread = (exact * (1 - exact) / number) ** 0.5
    assert float((dropped.double().mean(0) - exact).abs().max()) < 5 * spread


def test_values_of_one_draw_are_independent():
    torch.manual_seed(2)
    number = 2**20
    dropped = (dropout(torch.ones(number, 8), 0.3) == 0).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(8, dtype=torch.float64)
    assert float(correlation.abs().max()) < 5 / number**0.5


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9])
def test_what_is_kept_is_divided_by_the_share_that_is_kept(p):
    torch.manual_seed(3)
    values = torch.randn(50, 31, dtype=torch.float64)
    outputs = dropout(values, p)
    kept = outputs != 0
    torch.testing.assert_close(outputs[kept], values[kept] / (1 - dropped_states(p) / 2**16), rtol=1e-14, atol=0)
    assert 0 < int(kept.sum()) < values.numel()


def test_the_gradient_passes_where_the_value_passed():
    torch.manual_seed(4)
    values = torch.randn(7, 9, 5, requires_grad=True)
    outputs = dropout(values.transpose(0, 1), 0.4)
    assert outputs.shape == (9, 7, 5)
    (gradient,) = torch.autograd.grad(outputs.sum(), values)
    torch.testing.assert_close(gradient.transpose(0, 1) * values.detach().transpose(0, 1), outputs.detach())


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (5,), (2, 3, 7)])
def test_every_shape(shape):
    outputs = dropout(torch.ones(shape), 0.5)
    assert outputs.shape == shape and set(outputs.flatten().tolist()) <= {0.0, 2.0}


def test_a_seed_gives_the_same_and_no_two_draws_are_alike():
    torch.manual_seed(5)
    first, second = dropout(torch.ones(99), 0.5), dropout(torch.ones(99), 0.5)
    torch.manual_seed(5)
    assert torch.equal(dropout(torch.ones(99), 0.5), first) and not torch.equal(first, second)


def test_what_it_is_not_for():
    values = torch.ones(3)
    assert can_drop(values, 0.1) and can_drop(values.double(), 0.999)
    assert not any(can_drop(values, p) for p in (0.0, 1.0, 1e-6, 1 - 1e-6, -0.5, 1.5))
    assert not can_drop(values.bfloat16(), 0.1) and not can_drop(values.to("meta"), 0.1) and not can_drop(3.0, 0.1)


def test_attention_it_is_not_for():
    query, mask = torch.ones(1, 1, 2, 4), torch.ones(2, 2, dtype=torch.bool)
    assert can_attend(query, 0.1, None, False, False) and can_attend(query, 0.1, mask, False, False)
    assert not can_attend(query, 0.0, mask, False, False) and not can_attend(query, 0.1, mask.float(), False, False)
    assert not can_attend(query, 0.1, None, True, False) and not can_attend(query, 0.1, None, False, True)
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_attend(query, 0.1, mask, False, False)


def masks():
    generator = torch.Generator().manual_seed(6)
    some = torch.rand(3, 1, 5, 7, generator=generator) < 0.6
    some[1, 0, 2] = False  # a query that may look nowhere
    yield from (None, some, some[:, :, :1], torch.ones(5, 7, dtype=torch.bool), torch.zeros(5, 7, dtype=torch.bool))


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", masks())
def test_attention_is_that_of_pytorch(monkeypatch, mask, scale):
    """Where nothing is dropped: values and gradients."""
    monkeypatch.setattr(module, "dropout", lambda values, p: values)
    torch.manual_seed(7)
    shapes = ((3, 2, 5, 4), (3, 2, 7, 4), (3, 2, 7, 6))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    ours = attention(*inputs, mask, 0.1, scale)
    theirs = functional.scaled_dot_product_attention(*inputs, mask, scale=scale)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(ours)
    for one, other in zip(*(torch.autograd.grad(out, inputs, weights) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_attention_drops_probabilities():
    """With values of 1 an output is the sum of the probabilities that are kept, here each 2 / 64."""
    torch.manual_seed(8)
    query = torch.zeros(2, 3, 40, 4)
    key = torch.zeros(2, 3, 64, 4)
    outputs = attention(query, key, torch.ones(2, 3, 64, 1), None, 0.5, None).flatten()
    kept = outputs * 32
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-4)
    assert abs(float(kept.mean()) - 32) < 5 * 4 / 240**0.5 and 3 < float(kept.std()) < 5
