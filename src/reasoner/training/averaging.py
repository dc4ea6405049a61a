"""Which weights are kept, if not those of one step? Their moving mean, or the mean of the best evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping


class MovingAverage:
    """The exponential moving average of weights (Polyak & Juditsky, 1992; Tarvainen & Valpola, 2017).

    After t steps it is the sum of (1 - decay) decay^(t - i) weights_i over the steps i, divided by the sum of these
    factors, 1 - decay^t: corrected as Adam's moments are (Kingma & Ba, 2015), so that the weights before the first step
    take no part, and a short training is not held back by them.

    Args:
        weights: those that training changes, in place.
        decay: in [0, 1); the mean reaches back over about 1 / (1 - decay) steps.
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.weights, self.decay = weights, decay
        self.restart()

    def restart(self) -> None:
        """Forget all steps so far."""
        self._values: list[Tensor] = []
        self._steps = 0

    def update(self) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        weights = [weight.detach() for weight in self.weights]
        if self._steps == 1:
            self._values = [weight.clone() for weight in weights]
        else:
            torch._foreach_lerp_(self._values, weights, (1 - self.decay) / (1 - self.decay**self._steps))

    def put(self) -> None:
        """Put the average in the place of the weights, if there was a step."""
        if self._steps:
            put(self._values, self.weights)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the average stand in the place of the weights inside the block."""
        own = [weight.detach().clone() for weight in self.weights]
        self.put()
        try:
            yield
        finally:
            put(own, self.weights)


class Checkpoint(NamedTuple):
    """What the model was at an evaluation."""

    score: float
    step: int
    tensors: list[Tensor]


class BestCheckpoints:
    """Keeps what the best evaluations scored, for the mean of their weights.

    Vaswani et al. (2017, section 6.1) average the last checkpoints; Izmailov et al. (2018,
    https://arxiv.org/abs/1803.05407) show that such a mean lies in a wider optimum than its parts. Statistics of batch
    norms are averaged with the weights.

    Args:
        number: how many are kept.
        greater_is_better: which scores are better.
    """

    def __init__(self, number: int, greater_is_better: bool) -> None:
        self.number, self._sign = number, 1 if greater_is_better else -1
        self.kept: list[Checkpoint] = []
        """The best first; of equal ones the earlier."""

    def wants(self, score: float) -> bool:
        """Return whether a score would be among the best. NaN never is."""
        room = len(self.kept) < self.number and score == score
        return room or (bool(self.kept) and self._sign * score > self._sign * self.kept[-1].score)

    def add(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, in the place of the worst if there are enough."""
        self.kept.append(checkpoint)
        self.kept.sort(key=lambda kept: -self._sign * kept.score)
        del self.kept[self.number :]

    @property
    def steps(self) -> list[int]:
        """The steps of those that are kept, in order."""
        return sorted(checkpoint.step for checkpoint in self.kept)

    def mean(self) -> list[Tensor]:
        """Return the mean of each tensor; of whole numbers (how many batches a norm has seen) those of the best."""
        parts = zip(*(checkpoint.tensors for checkpoint in self.kept), strict=True)
        return [_mean(tensors) if tensors[0].is_floating_point() else tensors[0] for tensors in parts]


def best_checkpoints(config: TrainingConfig, stopping: EarlyStopping | None) -> BestCheckpoints | None:
    """Return what keeps the checkpoints that `average_checkpoints` asks for; None: it asks for none."""
    if config.average_checkpoints is None or stopping is None:
        return None
    return BestCheckpoints(config.average_checkpoints, stopping.greater_is_better)


@torch.no_grad()
def put(values: Iterable[Tensor], into: Iterable[Tensor]) -> None:
    """Copy values into tensors, one by one."""
    for tensor, value in zip(into, values, strict=True):
        tensor.copy_(value)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].double()
    for tensor in tensors[1:]:
        total += tensor
    return (total / len(tensors)).to(tensors[0].dtype)
