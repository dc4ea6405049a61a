"""The contract of a tuning method: which weights learn, and how fast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from reasoner.errors import ConfigError


@dataclass(frozen=True)
class Method(ABC):
    """A frozen dataclass; its fields are the method's settings, JSON values."""

    searched: ClassVar[Mapping[str, Any]] = {}
    """Where a search looks for its own settings if it is told nothing else: see `search`."""

    model_dropout: ClassVar[float | None] = None
    """The probability in the model's dropout layers, for when none is given; None: the checkpoint's own."""

    @abstractmethod
    def apply(self, model: Any) -> None:
        """Mark which weights of a `TaskModel` learn (`requires_grad`), and add some if the method has its own."""

    @abstractmethod
    def learning_rate(self, width: int) -> float:
        """Return the learning rate for a model of this hidden width, for when none is given."""

    @property
    def reserved_positions(self) -> int:
        """How many of the model's positions the method takes for itself: no text gets them."""
        return 0

    def begin_epoch(self, model: Any, epoch: int) -> None:  # noqa: B027  # most methods have nothing to say there
        """Mark anew which weights learn from this epoch on, counted from 0. All that ever do must be in `apply`."""


def set_trainable(module: nn.Module, trainable: bool) -> None:
    """Let all weights of a module learn, or none."""
    for weight in module.parameters():
        weight.requires_grad_(trainable)


def check_learns(model: Any, method: Method) -> None:
    """Refuse a method under which nothing of a model learns.

    Raises:
        ConfigError: if this is one.
    """
    require(any(weight.requires_grad for weight in model.parameters()),
            f"{type(method).__name__}: of {type(model.network).__name__} there is nothing to train beside the layers: "
            "its output layer is the pretrained one. Take method='top-k', 'lora' or 'adapter'.")  # fmt: skip


def require(holds: bool, message: str) -> None:
    """Refuse a setting.

    Raises:
        ConfigError: with the message, if the condition does not hold.
    """
    if not holds:
        raise ConfigError(message)


def is_whole(value: object, least: int) -> bool:
    """Return whether a setting is a whole number of at least this size."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
