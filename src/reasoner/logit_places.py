"""Of which places does a decoder give logits? Of those that are asked for alone, as far as its architecture can."""

from __future__ import annotations

import sys
from inspect import signature
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def following(values: Tensor, last: int) -> Tensor:
    """Return the value of the token that follows each place, (rows, length); behind the last stands `last`."""
    return torch.nn.functional.pad(values[:, 1:], (0, 1), value=last)


class LogitPlaces:
    """The output layer over a vocabulary costs as much as several others, and prompts are not learned.

    transformers' decoders take `logits_to_keep`: numbers of places, the same for each row, and since 5.24 also a mask
    of places, whose logits come one below the other, or the numbers of each row's own places.

    Args:
        config: of a decoder.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

        network = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        self.parameters = frozenset() if network is None else frozenset(signature(network.forward).parameters)
        """What the architecture's forward takes."""
        self.chooses = "logits_to_keep" in self.parameters
        self.by_row = self.chooses and hasattr(sys.modules[network.__module__], "slice_logits_to_keep")
        """Whether each row may have its own places."""

    def mask(self, wanted: Tensor) -> Tensor:
        """Return the places whose logits come, (rows, length), where at least those of `wanted` have to."""
        if self.by_row:
            return wanted
        return (wanted.any(0) if self.chooses else wanted.new_ones(wanted.shape[1])).expand_as(wanted)

    def numbers(self, wanted: Tensor) -> Tensor:
        """Return as many places of each row, (rows, places), those of `wanted` among them in their order."""
        mask = self.mask(wanted)
        order = mask.int().argsort(dim=1, descending=True, stable=True)
        return order[:, : int(mask.sum(1).max())]

    def arguments(self, places: Tensor) -> dict[str, Tensor]:
        """Return what the network is called with beside its inputs.

        Args:
            places: what `mask` or `numbers` gave. The logits are (places, vocabulary) or (rows, places, vocabulary);
                where each row has the same places they have three dimensions in any case.
        """
        if not self.chooses:
            return {}
        if self.by_row:
            return {"logits_to_keep": places}
        return {"logits_to_keep": places[0].nonzero().squeeze(1) if places.dtype == torch.bool else places[0]}
