"""Which part of a network never changes, and how does it give again what it gave before?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from torch import Tensor, nn

from reasoner.errors import ConfigError
from reasoner.methods.freeze import embeddings_of, layers_of
from reasoner.packing import output_of, pooler_of, standing_in

_IN_TUPLE = "_gives_a_tuple"
"""Attribute of a layer that was seen: DeBERTa's give a tuple, those of others the hidden states."""


class FrozenPart(Protocol):
    """The lower part of a network, none of whose weights learn."""

    name: str
    """For messages, with its verb."""

    @property
    def training(self) -> bool:
        """Whether dropout may be active in it: what it gives then is another thing each time."""

    def seen(self) -> AbstractContextManager[list[Tensor]]:
        """Return a context that gives a list of the hidden states that the part gives inside it."""

    def giving(self, hidden: Tensor) -> AbstractContextManager[None]:
        """Return a context in which the part computes nothing and gives `hidden`, (features, length, width)."""


class WholeBackbone:
    """All but pooler and head; the pooler may learn, since it runs on the last hidden states."""

    name = "The backbone is"

    def __init__(self, backbone: nn.Module) -> None:
        self.backbone = backbone

    @property
    def training(self) -> bool:
        """Whether it is in training mode."""
        return self.backbone.training

    def seen(self) -> AbstractContextManager[list[Tensor]]:
        """Collect the last hidden states."""
        return _collecting(self.backbone, lambda output: output.last_hidden_state)

    @contextmanager
    def giving(self, hidden: Tensor) -> Iterator[None]:
        """Let the backbone give these last hidden states, whatever it is called with."""
        with standing_in(self.backbone, lambda *_, **__: output_of(self.backbone, hidden)):
            yield


class LowerLayers:
    """The embeddings and the lowest layers (`Freeze`)."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers
        self.name = f"The embeddings and the lowest {len(layers)} layers are"

    @property
    def training(self) -> bool:
        """Whether one of the layers is in training mode."""
        return any(layer.training for layer in self.layers)

    def seen(self) -> AbstractContextManager[list[Tensor]]:
        """Collect what the last of the layers gives."""
        last = self.layers[-1]

        def hidden_of(output: Any) -> Any:
            vars(last)[_IN_TUPLE] = isinstance(output, tuple)
            return output[0] if isinstance(output, tuple) else output

        return _collecting(last, hidden_of)

    @contextmanager
    def giving(self, hidden: Tensor) -> Iterator[None]:
        """Let every one of the layers give these hidden states, in the form that was seen; the embeddings run."""
        output = (hidden, None) if vars(self.layers[-1]).get(_IN_TUPLE) else hidden
        with ExitStack() as stack:
            for layer in self.layers:
                stack.enter_context(standing_in(layer, lambda *_, **__: output))
            yield


def frozen_part(backbone: nn.Module) -> FrozenPart | None:
    """Return the largest lower part of a backbone whose weights do not learn; None if the lowest layer does."""
    config: Any = backbone.config
    if config.is_encoder_decoder:  # what the decoder gives is not of what was read alone
        return None
    if backbone_is_frozen(backbone):
        return WholeBackbone(backbone)
    try:
        layers = list(layers_of(backbone))
    except ConfigError:  # an unknown architecture
        return None
    frozen = next((number for number, layer in enumerate(layers) if _learns(layer)), len(layers))
    if not frozen or any(map(_learns, embeddings_of(backbone))):
        return None
    return LowerLayers(layers[:frozen])


def backbone_is_frozen(backbone: nn.Module) -> bool:
    """Return whether no weight of the backbone learns but those of its pooler."""
    pooler = pooler_of(backbone)
    learning = set() if pooler is None else {id(weight) for weight in pooler.parameters()}
    return not any(weight.requires_grad and id(weight) not in learning for weight in backbone.parameters())


@contextmanager
def _collecting(module: nn.Module, hidden_of: Callable[[Any], Tensor]) -> Iterator[list[Tensor]]:
    """Collect the hidden states in what a module gives inside the block."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, output: found.append(hidden_of(output)))
    try:
        yield found
    finally:
        hook.remove()


def _learns(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())
