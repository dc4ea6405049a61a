"""Of which places does a decoder give logits? Of those that are asked for alone, as far as its architecture can."""

from __future__ import annotations

import sys
from inspect import signature
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class LogitPlaces:
    """The output layer over a vocabulary costs as much as several others, and prompts are not learned.

    transformers' decoders take `logits_to_keep`: since 5.24 a mask of the places, of which the logits come one below
    the other, before that the numbers of places that are the same for each row.

    Args:
        config: of a decoder.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

        network = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        self.parameters = frozenset() if network is None else frozenset(signature(network.forward).parameters)
        """What the architecture's forward takes."""
        self.chooses = "logits_to_keep" in self.parameters
        self.by_mask = self.chooses and hasattr(sys.modules[network.__module__], "slice_logits_to_keep")

    def of(self, wanted: Tensor) -> Tensor:
        """Return the places whose logits come, (rows, length), where at least those of `wanted` have to."""
        if self.by_mask:
            return wanted
        return (wanted.any(0) if self.chooses else wanted.new_ones(wanted.shape[1])).expand_as(wanted)

    def arguments(self, wanted: Tensor) -> dict[str, Tensor]:
        """Return what the network is called with beside its inputs; its logits, flattened, are those of `of`."""
        if not self.chooses:
            return {}
        return {"logits_to_keep": wanted if self.by_mask else wanted.any(0).nonzero().squeeze(1)}
