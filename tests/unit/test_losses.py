"""Do the losses equal those of PyTorch and of the formulas, as sums and counts that can be added up?"""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_squared_error
from torch.nn import functional

from reasoner.losses import (
    LossSum,
    binary_cross_entropy,
    cross_entropy,
    grouped_cross_entropy,
    squared_error,
)


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def some_labels(rows, classes, ignored, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (rows,), generator=generator)
    labels[torch.rand(rows, generator=generator) < ignored] = -100
    return labels


@settings(max_examples=60)
@given(
    rows=st.integers(1, 12),
    classes=st.integers(2, 7),
    ignored=st.sampled_from([0.0, 0.4]),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    weighted=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_cross_entropy_is_that_of_pytorch(rows, classes, ignored, smoothing, weighted, seed):
    logits, labels = numbers(rows, classes, seed=seed), some_labels(rows, classes, ignored, seed)
    labels[0] = 0  # PyTorch's mean over nothing is NaN
    weights = numbers(classes, seed=seed + 1).exp() if weighted else None
    ours = cross_entropy(logits, labels, weights=weights, label_smoothing=smoothing)
    theirs = functional.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    torch.testing.assert_close(ours.mean, theirs, rtol=1e-12, atol=1e-12)
    assert ours.count.item() == pytest.approx(
        sum(1.0 if weights is None else weights[label].item() for label in labels if label != -100)
    )


def test_cross_entropy_of_tokens_is_that_of_the_labelled_tokens_alone():
    logits, labels = numbers(3, 5, 4), some_labels(15, 4, 0.5).view(3, 5)
    ours = cross_entropy(logits, labels)
    kept = labels != -100
    probabilities = logits[kept].softmax(-1).numpy()
    assert ours.mean.item() == pytest.approx(log_loss(labels[kept].numpy(), probabilities, labels=range(4)), abs=1e-12)
    assert ours.count.item() == int(kept.sum())


def test_cross_entropy_survives_logits_of_minus_infinity():
    logits = numbers(2, 4)
    logits[:, 3] = float("-inf")
    logits.requires_grad_()
    loss = cross_entropy(logits, torch.tensor([0, 2]))
    loss.total.backward()
    torch.testing.assert_close(
        loss.total, functional.cross_entropy(logits[:, :3], torch.tensor([0, 2]), reduction="sum")
    )
    assert logits.grad[:, 3].tolist() == [0.0, 0.0] and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_is_the_formula(weighted, smoothing):
    logits, labels = numbers(6, 3), (numbers(6, 3, seed=1) > 0).double()
    weights = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64) if weighted else None
    ours = binary_cross_entropy(logits, labels, weights=weights, label_smoothing=smoothing)
    targets = labels.numpy() * (1 - smoothing) + 0.5 * smoothing
    p = 1 / (1 + numpy.exp(-logits.numpy()))
    losses = -(targets * numpy.log(p) + (1 - targets) * numpy.log(1 - p))
    factor = numpy.ones((6, 3)) if weights is None else numpy.broadcast_to(weights.numpy(), (6, 3))
    assert ours.total.item() == pytest.approx((losses * factor).sum(), abs=1e-12)
    assert ours.count.item() == pytest.approx(factor.sum())
    if not weighted and not smoothing:
        torch.testing.assert_close(ours.mean, functional.binary_cross_entropy_with_logits(logits, labels))


def test_squared_error_is_that_of_sklearn():
    outputs, targets = numbers(9), numbers(9, seed=1)
    ours = squared_error(outputs, targets)
    assert ours.mean.item() == pytest.approx(mean_squared_error(targets.numpy(), outputs.numpy()), abs=1e-12)
    assert ours.count.item() == 9


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6), seed=st.integers(0, 10_000), data=st.data())
def test_grouped_cross_entropy_is_a_loop_over_the_groups(sizes, seed, data):
    scores = numbers(sum(sizes), seed=seed) * 30
    right = [data.draw(st.integers(0, size - 1)) for size in sizes]
    labels = torch.tensor([float(i == r) for size, r in zip(sizes, right, strict=True) for i in range(size)])
    group = torch.tensor([number for number, size in enumerate(sizes) for _ in range(size)])
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))  # groups need not be in a row
    ours = grouped_cross_entropy(scores[order], labels[order], group[order])
    pieces = zip(scores.split(sizes), right, strict=True)
    theirs = torch.stack([functional.cross_entropy(piece, torch.tensor(r)) for piece, r in pieces])
    torch.testing.assert_close(ours.total, theirs.sum(), rtol=1e-12, atol=1e-9)
    assert ours.count.item() == len(sizes)


def test_gradients_are_those_of_the_function():
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    labels, several = torch.tensor([0, -100, 2, 1]), (numbers(4, 3, seed=2) > 0).double()
    items, group = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 1, 1])
    matrix, vector = numbers(4, 3).requires_grad_(), numbers(4).requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda x: cross_entropy(x, labels, weights=weights, label_smoothing=0.1).mean, (matrix,))
    assert check(lambda x: binary_cross_entropy(x, several, weights=weights, label_smoothing=0.1).mean, (matrix,))
    assert check(lambda x: squared_error(x, numbers(4, seed=3)).mean, (vector,))
    assert check(lambda x: grouped_cross_entropy(x, items, group).mean, (vector,))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_sums_of_parts_are_the_sum_of_the_whole(weighted):
    weights = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64) if weighted else None
    logits, labels = numbers(12, 3), some_labels(12, 3, 0.3)
    whole = cross_entropy(logits, labels, weights=weights)
    parts = [cross_entropy(logits[a:b], labels[a:b], weights=weights) for a, b in ((0, 1), (1, 8), (8, 12))]
    added = LossSum(sum(part.total for part in parts), sum(part.count for part in parts))
    torch.testing.assert_close(added.mean, whole.mean, rtol=1e-12, atol=1e-12)


def test_the_mean_over_nothing_is_zero_and_has_no_gradient():
    logits = numbers(2, 3).requires_grad_()
    loss = cross_entropy(logits, torch.tensor([-100, -100]))
    loss.mean.backward()
    assert loss.mean.item() == 0.0 and loss.count.item() == 0.0 and not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    logits, labels = numbers(300, 3).to(dtype), some_labels(300, 3, 0.0)
    items, group = torch.tensor([1.0, 0.0] * 150), torch.arange(300) // 2
    for loss, exact in (
        (cross_entropy(logits, labels), cross_entropy(logits.double(), labels)),
        (binary_cross_entropy(logits, logits > 0), binary_cross_entropy(logits.double(), logits > 0)),
        (squared_error(logits[:, 0], logits[:, 1]), squared_error(logits[:, 0].double(), logits[:, 1].double())),
        (grouped_cross_entropy(logits[:, 0], items, group), grouped_cross_entropy(logits[:, 0].double(), items, group)),
    ):
        assert loss.total.dtype == loss.count.dtype == torch.float32
        torch.testing.assert_close(loss.mean.double(), exact.mean.double(), rtol=1e-5, atol=1e-6)
        assert not loss.count.requires_grad


@settings(max_examples=40)
@given(
    gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]),
    smoothing=st.sampled_from([0.0, 0.1]),
    weighted=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_focal_loss_is_the_formula(gamma, smoothing, weighted, seed):
    """Lin et al. (2017), equation 5, label by label; gamma 0 is the cross-entropy."""
    logits, labels = numbers(9, 4, seed=seed) * 3, some_labels(9, 4, 0.3, seed)
    labels[0] = 0
    weights = numbers(4, seed=seed + 1).exp() if weighted else torch.ones(4, dtype=torch.float64)
    ours = cross_entropy(logits, labels, weights=weights, label_smoothing=smoothing, focal_gamma=gamma)
    total = 0.0
    for row, label in zip(logits.softmax(-1).tolist(), labels.tolist(), strict=True):
        if label != -100:
            target = [smoothing / 4 + (1 - smoothing) * (i == label) for i in range(4)]
            loss = -sum(t * w * numpy.log(p) for t, w, p in zip(target, weights.tolist(), row, strict=True))
            total += (1 - row[label]) ** gamma * loss
    assert ours.total.item() == pytest.approx(total, rel=1e-9)
    assert ours.count.item() == pytest.approx(sum(weights[label].item() for label in labels if label != -100))
    plain = cross_entropy(logits, labels, weights=weights, label_smoothing=smoothing)
    assert (ours.total.item() == plain.total.item()) == (gamma == 0)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_binary_focal_loss_is_the_formula(gamma):
    logits, labels = numbers(6, 3), (numbers(6, 3, seed=1) > 0).double()
    weights = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    ours = binary_cross_entropy(logits, labels, weights=weights, focal_gamma=gamma)
    p = torch.where(labels == 1, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(ours.total, -(weights * (1 - p) ** gamma * p.log()).sum(), rtol=1e-12, atol=1e-12)
    assert ours.count.item() == pytest.approx(6 * 5.5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_has_a_gradient_where_a_label_is_certain(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.5]], requires_grad=True)
    cross_entropy(logits, torch.tensor([0, 1]), focal_gamma=gamma).total.backward()
    assert bool(logits.grad.isfinite().all()) and logits.grad[0].tolist() == [0.0, 0.0]
    assert float(logits.grad[1, 0]) > 0
    matrix = numbers(4, 3).requires_grad_()
    labels = torch.tensor([0, -100, 2, 1])
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels, focal_gamma=gamma).mean, (matrix,))
