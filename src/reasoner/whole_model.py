"""With `fsdp`: what is trained, and when is the whole model together to be scored and saved?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.methods.base import Method
from reasoner.methods.freeze import layers_of
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import current
from reasoner.training.sharding import ShardedModel

T = TypeVar("T")


def check_fsdp(config: TrainingConfig, method: Method) -> None:
    """Refuse what does not go with `fsdp`.

    Raises:
        ConfigError: if there is one process alone, or a setting needs the whole model in training.
    """
    if not config.fsdp:
        return
    if current().number == 1:
        raise ConfigError("fsdp shares a model between several processes, and this is the only one. Start the script "
                          "with torchrun (docs/ranks.md), or leave fsdp out.")  # fmt: skip
    refused = {
        "torch_compile": bool(config.torch_compile),
        "language_modeling_weight": bool(config.language_modeling_weight),
        "on_divergence='halve'": config.on_divergence == "halve",
        "the method gradual": type(method).begin_epoch is not Method.begin_epoch,
    }
    if wrong := [name for name, is_on in refused.items() if is_on]:
        raise ConfigError(f"fsdp does not go with {', '.join(wrong)}. Leave one of them out.")


class WholeModel:
    """The predictor's model, and what is trained in its place: itself, or with `fsdp` a sharded copy.

    With `fsdp` it waits in the CPU's memory while the copy is trained, and gets the weights when they are needed.
    """

    def __init__(self, predictor: Predictor, config: TrainingConfig) -> None:
        self.model, self.device = predictor.model, predictor.device
        self.sharded = None
        if config.fsdp:
            self.sharded = ShardedModel(self.model, lambda copy: layers_of(copy.backbone), current())
            self._leave_device()

    @property
    def trained(self) -> nn.Module:
        """What the trainer trains."""
        return self.model if self.sharded is None else self.sharded

    def bring(self) -> None:
        """Give the whole model the weights as they are now, on its device."""
        if self.sharded is not None:
            self.sharded.put_into(self.model.to(self.device))

    def scored(self, score: Callable[[], T]) -> T:
        """Return what an evaluation of the whole model gives, with the weights as they are now."""
        self.bring()
        found = score()
        self._leave_device()
        return found

    def _leave_device(self) -> None:
        if self.sharded is not None and self.device.type == "cuda":
            self.model.to("cpu")
            torch.cuda.empty_cache()
