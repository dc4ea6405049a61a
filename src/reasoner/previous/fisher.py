"""How much do a model's answers for old rows depend on each weight, and what does it cost to move one?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.notices import say
from reasoner.previous.growth import put_grown
from reasoner.protections import EWC


class WeightPenalty:
    """Half the strength times the sum of importance x (weight - old weight) squared; see `protections.EWC`.

    Args:
        weights: that learn.
        old: what they were, in the same shapes.
        importance: of each of their parts.
        strength: see `EWC`.
    """

    def __init__(self, weights: list[Tensor], old: list[Tensor], importance: list[Tensor], strength: float) -> None:
        self.weights, self.old, self.importance, self.strength = weights, old, importance, strength

    def __call__(self) -> Tensor:
        """Return it as a scalar, with its graph."""
        parts = [
            (much * (weight - was).square()).sum()
            for weight, was, much in zip(self.weights, self.old, self.importance, strict=True)
        ]
        return self.strength / 2 * torch.stack(parts).sum()


def weight_penalty(predictor: Predictor, old: Predictor, data: Encoded, protection: EWC, *, seed: int) -> WeightPenalty:
    """Return the penalty for a model that begins with an old one's weights.

    What new labels have in the head beside the old ones may move freely.

    Args:
        predictor: the new model; it holds the old weights now.
        old: the old one.
        data: old rows, with gold, as the old model reads them.
        protection: the settings.
        seed: of which rows are taken, if there are more than enough.

    Raises:
        ConfigError: if the rows tell nothing.
    """
    order = torch.randperm(len(data.examples), generator=torch.Generator().manual_seed(seed))[: protection.rows]
    rows = [int(number) for number in sorted(order.tolist())]
    chosen = Encoded([data.examples[row] for row in rows], [data.features[row] for row in rows])
    learning = {name: weight for name, weight in predictor.model.named_parameters() if weight.requires_grad}
    found = fisher_information(old, chosen, learning)
    importance, kept = [], []
    with torch.no_grad():
        for name, weight in learning.items():
            importance.append(torch.zeros_like(weight))
            put_grown(predictor.model, name, found[name], importance[-1])
            kept.append(weight.detach().clone())
    if not any(bool(part.any()) for part in importance):
        raise ConfigError("protection='ewc': the old rows have no gradient in what learns, so nothing would be held. "
                          "Give old rows that the model can be wrong about, or another protection.")  # fmt: skip
    say(f"Each weight is held to what it was by what {len(rows):,} of {len(data.examples):,} old rows depend on it "
        f"(strength {protection.strength:g}).")  # fmt: skip
    return WeightPenalty(list(learning.values()), kept, importance, protection.strength)


def fisher_information(predictor: Predictor, data: Encoded, weights: Mapping[str, object]) -> dict[str, Tensor]:
    """Return the diagonal of the empirical Fisher information: of each row alone the gradient, squared, and summed.

    The rows are run one by one without dropout; the sum is divided by the number of labels in all rows.

    Args:
        predictor: the model.
        data: rows with gold.
        weights: has the names of those that are asked for.

    Returns:
        By name, each of its weight's shape.
    """
    model = predictor.model.eval()
    asked = {name: weight for name, weight in model.named_parameters() if name in weights}
    sums = {name: torch.zeros_like(weight) for name, weight in asked.items()}
    labels = 0.0
    with _learning(model, asked), torch.enable_grad():
        for example, features in zip(data.examples, data.features, strict=True):
            for batch in predictor.batches(Encoded([example], [features]), batch_size=max(1, len(features))):
                placed = batch.to(predictor.device)
                loss = model.loss(model(placed), placed)
                gradients = torch.autograd.grad(loss.total, list(asked.values()), allow_unused=True)
                labels += float(loss.count)
                for name, gradient in zip(asked, gradients, strict=True):
                    if gradient is not None:
                        sums[name].addcmul_(gradient, gradient)
    return {name: total / max(labels, 1.0) for name, total in sums.items()}


@contextmanager
def _learning(model: TaskModel, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let these weights alone have gradients inside the block, and leave the marks as they were."""
    marks = [(weight, weight.requires_grad) for weight in model.parameters()]
    try:
        for weight, _ in marks:
            weight.requires_grad_(False)
        for asked in weights.values():
            asked.requires_grad_(True)
        yield
    finally:
        for weight, mark in marks:
            weight.requires_grad_(mark)
