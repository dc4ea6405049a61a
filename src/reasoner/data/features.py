"""What the model sees of an example, and what a batch of it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from reasoner.data.states import PartOfStates, States


@dataclass(slots=True)
class Feature:
    """One sequence for the model: a whole example, one window of it, or one choice of it. Not padded."""

    inputs: dict[str, list[int]]
    """What the network is called with: `input_ids`, `attention_mask`, perhaps `token_type_ids`, each (length,)."""
    targets: dict[str, Any] = field(default_factory=dict)
    """Numbers or vectors of one size, for the head's loss; empty when the example has no gold."""
    token_targets: dict[str, list[int]] = field(default_factory=dict)
    """Lists as long as the inputs, or what an encoder-decoder writes; padded with `-100`."""
    info: Any = None
    """What decoding needs and the model does not see: offsets, word indexes."""

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


class EncodedRow(NamedTuple):
    """A row and its features."""

    example: Any
    features: Sequence[Feature]


@dataclass(slots=True)
class Batch:
    """Padded features as tensors."""

    inputs: dict[str, Tensor]
    """Each (features, length)."""
    targets: dict[str, Tensor]
    """Each (features, ...); token targets (features, length)."""
    group: Tensor
    """(features,): which of the batch's examples a feature belongs to, counted from 0."""
    feature_index: list[int]
    """Where each feature stands in the list that was batched."""
    tokens: int
    """How many tokens are not padding."""
    states: States | PartOfStates | None = None
    """Where a frozen part's states of these features are kept. A batch of changed inputs must not carry it."""
    span: tuple[int, int] | None = None
    """The first position that holds a token of any feature, and the one behind the last; None: not known."""

    @property
    def positions(self) -> int:
        """How many positions the network computes, those of padding among them."""
        return self.inputs["input_ids"].numel()

    def to(self, device: Any) -> Batch:
        """Return the batch on `device`, copied without waiting where the memory is pinned."""
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.targets.items()},
            self.group.to(device, non_blocking=True),
            self.feature_index,
            self.tokens,
            self.states,
            self.span,
        )
