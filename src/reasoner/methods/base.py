"""The contract of a tuning method: which weights learn, and how fast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Method(ABC):
    """A frozen dataclass; its fields are the method's settings, JSON values."""

    @abstractmethod
    def apply(self, model: Any) -> None:
        """Mark which weights of a `TaskModel` learn (`requires_grad`), and add some if the method has its own."""

    @abstractmethod
    def learning_rate(self, width: int) -> float:
        """Return the learning rate for a model of this hidden width, for when none is given."""


def set_trainable(module: nn.Module, trainable: bool) -> None:
    """Let all weights of a module learn, or none."""
    for weight in module.parameters():
        weight.requires_grad_(trainable)
