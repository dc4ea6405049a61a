"""Loss functions: (outputs, labels) -> LossSum, a total and the count that it is over. No modules, no state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
"""The label that takes no part in a loss (the convention of PyTorch and of the field)."""


class LossSum(NamedTuple):
    """A sum of losses and the count it is over.

    The mean is only taken once, over everything that makes up one optimiser step: so gradient accumulation and
    several processes give the same gradient as one large batch, token losses included.
    """

    total: Tensor
    """The sum of the losses, a scalar with a gradient."""
    count: Tensor  # type: ignore[assignment]
    """How many labels (or the sum of their weights) the total is over, a scalar without a gradient."""

    @property
    def mean(self) -> Tensor:
        """The mean loss; zero when nothing was counted."""
        return self.total / self.count.clamp(min=torch.finfo(self.total.dtype).tiny)


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars of one device."""
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).sum()


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> LossSum:
    """Cross-entropy over the last dimension, for tokens or for whole texts.

    With `weights` the count is the sum of the labels' weights, so that the mean equals
    `torch.nn.functional.cross_entropy(..., reduction="mean")`, label smoothing included.

    Args:
        logits: (..., classes)
        labels: (...), class indices; `-100` is ignored.
        weights: (classes,), a weight for each class.
        label_smoothing: share of the target that is spread evenly over the classes, in [0, 1)
            (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567).
        focal_gamma: multiplies the loss of a label of probability p by (1 - p)^focal_gamma, so that labels that are
            learned count less (focal loss: Lin et al., 2017, https://arxiv.org/abs/1708.02002); the count stays.
    """
    logits, labels = at_least_float32(logits).flatten(0, -2), labels.flatten()
    losses = functional.cross_entropy(
        logits,
        labels,
        weight=weights,
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
        reduction="none" if focal_gamma else "sum",
    )
    if focal_gamma:
        plain = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        losses = _focus(plain, focal_gamma) * losses
    total = losses.sum()
    counted = labels != IGNORED
    if weights is None:
        return LossSum(total, counted.sum().to(total.dtype))
    return LossSum(total, (weights[labels.clamp(min=0)] * counted).sum().to(total.dtype))


def binary_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> LossSum:
    """Binary cross-entropy over independent labels; the count is texts times labels (or the sum of their weights).

    Args:
        logits: (batch, labels)
        labels: (batch, labels), 0 or 1.
        weights: (labels,), a weight for each label.
        label_smoothing: how far targets are drawn from 0 and 1 towards 1/2, in [0, 1).
        focal_gamma: see `cross_entropy`; p is the probability of the yes or no that is right.
    """
    logits = at_least_float32(logits)
    targets = labels.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if focal_gamma:
        right = functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
        losses = _focus(right, focal_gamma) * losses
    weight = torch.ones_like(losses) if weights is None else weights.to(losses.dtype).expand_as(losses)
    return LossSum((losses * weight).sum(), weight.sum())


def _focus(negative_log_likelihood: Tensor, gamma: float) -> Tensor:
    """Return (1 - p)^gamma; kept off 0, where a power below 1 has no gradient."""
    missing = -torch.expm1(-negative_log_likelihood)
    return missing.clamp(min=torch.finfo(missing.dtype).tiny) ** gamma


def squared_error(outputs: Tensor, targets: Tensor) -> LossSum:
    """Squared error.

    Args:
        outputs: (batch,)
        targets: (batch,)
    """
    outputs = at_least_float32(outputs)
    total = (outputs - targets.to(outputs.dtype)).square().sum()
    return LossSum(total, torch.full_like(total, outputs.numel(), requires_grad=False))


def several_of_many(logits: Tensor, gold: Tensor, possible: Tensor) -> LossSum:
    """Cross-entropy for choosing any number of many items, few of which are right: each above 0, all others below.

    log(1 + sum of exp(score) over the wrong) + log(1 + sum of exp(-score) over the right): a softmax in which 0 stands
    between both (Su et al., 2022, https://arxiv.org/abs/2208.02955). However many are wrong, the hardest count.

    Args:
        logits: (..., items)
        gold: (..., items), True where an item is right.
        possible: (..., items), False where there is no item. What has none is not counted.
    """
    logits = at_least_float32(logits)
    nothing = torch.zeros_like(logits[..., :1])
    wrong = torch.cat([logits.masked_fill(gold | ~possible, float("-inf")), nothing], dim=-1).logsumexp(-1)
    right = torch.cat([(-logits).masked_fill(~(gold & possible), float("-inf")), nothing], dim=-1).logsumexp(-1)
    counted = possible.any(-1)
    return LossSum(((wrong + right) * counted).sum(), counted.sum().to(logits.dtype))


def grouped_cross_entropy(scores: Tensor, labels: Tensor, group: Tensor) -> LossSum:
    """Cross-entropy over groups of any size: a softmax over the scores of each group; the count is groups.

    Args:
        scores: (items,)
        labels: (items,), 1 for the right item of its group, else 0.
        group: (items,), the group of each item, from 0 without gaps.
    """
    scores = at_least_float32(scores)
    # As many places as items, though there are fewer groups: to read their number would make a CUDA device wait.
    highest = torch.full_like(scores, float("-inf")).scatter_reduce(0, group, scores.detach(), "amax")  # (items,)
    sums = torch.zeros_like(scores).scatter_add(0, group, (scores - highest[group]).exp())  # (items,)
    last = group.max()
    empty = torch.arange(len(scores), device=scores.device) > last
    total = (sums.masked_fill(empty, 1.0).log() + highest.masked_fill(empty, 0.0)).sum() - (scores * labels).sum()
    return LossSum(total, (last + 1).to(total.dtype))


def in_batch_cross_entropy(logits: Tensor, answers: Tensor, right: Tensor) -> LossSum:
    """Cross-entropy of each query over the answers of all queries of the batch (InfoNCE), and perhaps further ones.

    The count is queries.

    An answer that stands in the batch several times competes once, and one that is right for a query does not compete
    with the query's own. So the loss depends on which rows a batch holds, and is exact for that batch alone.
    (van den Oord et al., 2018, https://arxiv.org/abs/1807.03748)

    Args:
        logits: (queries, answers), of each query and each answer; those of the queries come first, its own on the
            diagonal.
        answers: (answers,), the number of each answer.
        right: (queries, answers), True where an answer is right for a query.
    """
    logits = at_least_float32(logits)
    own = torch.eye(*logits.shape, dtype=torch.bool, device=logits.device)
    again = (answers[:, None] == answers).tril(-1).any(1)  # (answers,), whether the answer stood before
    scores = logits.masked_fill((right | again) & ~own, float("-inf"))
    total = (scores.logsumexp(-1) - logits.diagonal()).sum()
    return LossSum(total, torch.full_like(total, len(logits), requires_grad=False))


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """Half the sum of both Kullback-Leibler divergences between two softmaxes over the last dimension.

    It is the sum of (p - q)(x - y) / 2 over probabilities p, q and logits x, y: what normalises them cancels.

    Args:
        logits: (..., classes), finite.
        other: of the same shape.

    Returns:
        (...)
    """
    one, two = at_least_float32(logits), at_least_float32(other)
    return ((one.softmax(-1) - two.softmax(-1)) * (one - two)).sum(-1) / 2


def binary_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """The same between the yes and no of independent labels; logits and result are of any one shape."""
    one, two = at_least_float32(logits), at_least_float32(other)
    return (one.sigmoid() - two.sigmoid()) * (one - two) / 2


def grouped_divergence(scores: Tensor, other: Tensor, group: Tensor) -> Tensor:
    """The same between softmaxes over groups of any size, summed over all of them; see `grouped_cross_entropy`."""
    one, two = at_least_float32(scores), at_least_float32(other)
    return ((_grouped_softmax(one, group) - _grouped_softmax(two, group)) * (one - two)).sum() / 2


def kullback_leibler(logits: Tensor, target: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of a softmax over the last dimension from the one that it is to become.

    The sum of p (log p - log q), with p of the target.

    Args:
        logits: (..., classes), finite.
        target: logits of the same shape.

    Returns:
        (...)
    """
    ours, theirs = at_least_float32(logits).log_softmax(-1), at_least_float32(target).log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)


def grouped_kullback_leibler(scores: Tensor, target: Tensor, group: Tensor) -> Tensor:
    """The same between softmaxes over groups of any size, summed over all of them; see `grouped_cross_entropy`."""
    ours, theirs = (_grouped_log_softmax(at_least_float32(given), group) for given in (scores, target))
    return (theirs.exp() * (theirs - ours)).sum()


def _grouped_softmax(scores: Tensor, group: Tensor) -> Tensor:
    return _grouped_log_softmax(scores, group).exp()


def _grouped_log_softmax(scores: Tensor, group: Tensor) -> Tensor:
    highest = torch.full_like(scores, float("-inf")).scatter_reduce(0, group, scores.detach(), "amax")  # (items,)
    shifted = scores - highest[group]
    return shifted - torch.zeros_like(scores).scatter_add(0, group, shifted.exp())[group].log()


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or in float64 where it is that."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
