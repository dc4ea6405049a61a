"""Is the gradient of a table that is kept that of PyTorch, at every step and whatever else happens to it?"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from reasoner.training import row_gradients
from reasoner.training.row_gradients import LARGE, RowGradients

ROWS, WIDTH = 12, 3


def pair(seed=0):
    """Return a table, a copy of it, and weights for its sum."""
    torch.manual_seed(seed)
    table = nn.Parameter(torch.randn(ROWS, WIDTH))
    return table, deepcopy(table), torch.randn(ROWS, WIDTH)


def step(kept, table, ids, factor, padding_idx=None, *, tied=False):
    """Run forward and backward; `kept=None` is PyTorch's way."""
    lookup = functional.embedding if kept is None else kept.lookup
    looked_up = lookup(ids, table, padding_idx)
    loss = (looked_up * factor[: ids.numel()].view_as(looked_up)).sum() + (looked_up**2).sum()
    if tied:
        loss = loss + (table.tanh() * factor).sum()
    loss.backward()
    if kept is not None:
        kept.release()


ids_lists = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS)
steps = st.lists(st.tuples(ids_lists, st.sampled_from(["clear", "zero", "add", "scale", "replace"]), st.booleans()),
                 min_size=1, max_size=8)  # fmt: skip


@settings(max_examples=60)
@given(steps=steps, padding_idx=st.sampled_from([None, 0, 5]))
def test_it_is_the_gradient_of_pytorch_whatever_came_before(steps, padding_idx):
    """After steps with and without a second use of the table, sums over batches, scaling, and a gradient put there."""
    ours, theirs, factor = pair()
    kept = RowGradients()
    for ids, before, tied in steps:
        for table in (ours, theirs):
            if before == "clear":
                table.grad = None
            elif table.grad is not None and before in ("zero", "scale"):
                table.grad.mul_(0.0 if before == "zero" else 0.5)
            elif before == "replace":
                table.grad = factor.clone()
        step(kept, ours, torch.tensor(ids), factor, padding_idx, tied=tied)
        step(None, theirs, torch.tensor(ids), factor, padding_idx, tied=tied)
        assert not ours.grad.is_sparse
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-6)


def test_the_array_stays_and_the_hooks_go():
    table, _, factor = pair()
    kept = RowGradients()
    places = set()
    for ids in ([1, 2], [3], [1, 1, 4]):
        table.grad = None
        step(kept, table, torch.tensor(ids), factor)
        assert table.grad.abs().sum(1).nonzero().flatten().tolist() == sorted(set(ids))
        places.add(table.grad.data_ptr())
        assert not table._backward_hooks
    assert len(places) == 1


def test_two_look_ups_of_one_table_in_one_step():
    ours, theirs, _ = pair()
    kept = RowGradients()
    for table, lookup in ((ours, kept.lookup), (theirs, functional.embedding)):
        one, other = lookup(torch.tensor([1, 2]), table), lookup(torch.tensor([[2], [3]]), table)
        (one.sum() * 2 + (other**2).sum()).backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_a_table_that_the_loss_does_not_depend_on_gets_no_gradient():
    """It would be moved by the optimiser's momentum and its decay."""
    table, other, _ = pair()
    kept = RowGradients()
    kept.lookup(torch.tensor([1]), table)
    other.sum().backward()
    kept.release()
    assert table.grad is None


def test_after_an_error_in_between_nothing_is_left_behind():
    ours, theirs, factor = pair()
    kept = RowGradients()
    step(kept, ours, torch.tensor([1, 2]), factor)
    ours.grad = None
    kept.lookup(torch.tensor([7]), ours)  # and no backward pass
    kept.release()
    step(kept, ours, torch.tensor([4]), factor)
    step(None, theirs, torch.tensor([4]), factor)
    assert torch.equal(ours.grad, theirs.grad)


def test_which_tables_are_kept(monkeypatch):
    kept = RowGradients()
    table = nn.Parameter(torch.zeros(LARGE // 64, 64))
    assert kept.can_keep(table)
    with torch.no_grad():
        assert not kept.can_keep(table)
    assert not kept.can_keep(table * 2) and not kept.can_keep(nn.Parameter(torch.zeros(LARGE // 64, 63)))
    assert not kept.can_keep(nn.Parameter(torch.zeros(LARGE // 64, 64, device="meta")))
    assert not kept.can_keep(table.requires_grad_(False))
    monkeypatch.setattr(row_gradients, "LARGE", 1)
    assert kept.can_keep(nn.Parameter(torch.zeros(2, 2)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_seen_and_gone_after(bad):
    table, _, factor = pair()
    kept = RowGradients()
    step(kept, table, torch.tensor([1, 2]), factor * bad)
    assert not table.grad.norm().isfinite()
    table.grad = None
    step(kept, table, torch.tensor([3]), factor)
    assert table.grad.isfinite().all() and float(table.grad[1:3].abs().max()) == 0
