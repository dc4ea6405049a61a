"""All weights learn but the embeddings and the lowest layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from reasoner.errors import ConfigError
from reasoner.methods.base import Method, set_trainable
from reasoner.methods.full import Full


@dataclass(frozen=True)
class Freeze(Method):
    """Freeze the embeddings and the first `layers` layers of the backbone."""

    layers: int = 0
    """How many layers are frozen, counted from the embeddings up."""
    embeddings: bool = True
    """Whether the embeddings are frozen; they must be if a layer above them is to run without a gradient below."""

    def apply(self, model: Any) -> None:
        """Freeze the named parts.

        Raises:
            ConfigError: if the model has fewer layers.
        """
        set_trainable(model, True)
        stack = layers_of(model.backbone)
        if not 0 <= self.layers <= len(stack):
            raise ConfigError(
                f"Freeze(layers={self.layers}): the model has {len(stack)} layers. Give 0 to {len(stack)}."
            )
        for layer in stack[: self.layers]:
            set_trainable(layer, False)
        if self.embeddings:
            for module in embeddings_of(model.backbone):
                set_trainable(module, False)

    def learning_rate(self, width: int) -> float:
        """Return the rule of `Full`."""
        return Full().learning_rate(width)


def layers_of(backbone: nn.Module) -> nn.ModuleList:
    """Return the stack of a backbone's layers, whatever the architecture calls it; an encoder's, then its decoder's."""
    config: Any = backbone.config
    number: int = config.num_hidden_layers
    if not config.is_encoder_decoder:
        return _stack(backbone, number)
    written = getattr(config, "decoder_layers", getattr(config, "num_decoder_layers", None)) or number
    both: Any = backbone
    return nn.ModuleList([*_stack(both.get_encoder(), number), *_stack(both.get_decoder(), written)])


def _stack(network: nn.Module, number: int) -> nn.ModuleList:
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise ConfigError(f"No stack of {number} layers was found in {type(network).__name__}.")


def embeddings_of(backbone: nn.Module) -> list[nn.Module]:
    """Return the modules that turn token ids and positions into what the layers work on, wherever they stand."""
    inside_layers = {id(module) for layer in layers_of(backbone) for module in layer.modules()}
    return [
        module
        for name, module in backbone.named_modules()
        if id(module) not in inside_layers and ("embed" in name.rpartition(".")[2] or isinstance(module, nn.Embedding))
    ]
