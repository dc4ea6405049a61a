"""The optimiser with decoupled weight decay, and the schedule of its learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from reasoner.training.config import TrainingConfig


class DecoupledSGD(SGD):
    """SGD with momentum whose weight decay is no part of the gradient (SGDW, https://arxiv.org/abs/1711.05101)."""

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(
            [{**group, "decay": group["weight_decay"], "weight_decay": 0.0} for group in groups], lr, momentum
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Shrink the weights by learning rate times decay, then take SGD's step."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights and group["decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["decay"])
        loss: float | None = super().step(closure)
        return loss


def make_optimizer(
    model: nn.Module, config: TrainingConfig, learning_rate: float, factors: Mapping[str, float] | None = None
) -> Optimizer:
    """Return an optimiser over the trainable weights; matrices decay, vectors (biases and norms) do not.

    Nor does a weight with an attribute `no_decay` that is true.

    Args:
        model: the model.
        config: which optimiser, and its settings.
        learning_rate: the highest.
        factors: what it is multiplied by for a weight, by name; a weight that is not named has 1. Each group of weights
            keeps its own as `factor`.
    """
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            factor = (factors or {}).get(name, 1.0)
            vector = weight.ndim < 2 or getattr(weight, "no_decay", False)
            empty = {"params": [], "weight_decay": 0.0 if vector else config.weight_decay,
                     "lr": learning_rate * factor, "factor": factor}  # fmt: skip
            groups.setdefault((-factor, vector), empty)["params"].append(weight)
    ordered = [groups[key] for key in sorted(groups)]  # the fastest first, matrices before vectors
    if config.optim == "sgd":
        return DecoupledSGD(ordered, lr=learning_rate, momentum=config.sgd_momentum)
    betas = (config.adam_beta1, config.adam_beta2)
    return AdamW(ordered, lr=learning_rate, betas=betas, eps=config.adam_epsilon, fused=True)


def make_schedule(optimizer: Optimizer, config: TrainingConfig, total_steps: int) -> LRScheduler:
    """Return the schedule: a linear warm-up, then linear, cosine or constant."""
    from transformers import get_scheduler

    warmup = config.warmup_steps
    warmup_steps = round(warmup * total_steps) if warmup < 1 else int(warmup)
    name = "constant_with_warmup" if config.lr_scheduler_type == "constant" else config.lr_scheduler_type
    schedule: LRScheduler = get_scheduler(
        name, optimizer, num_warmup_steps=warmup_steps, num_training_steps=total_steps
    )
    return schedule
