"""What did the frozen part of a network give for each feature? Kept in memory or in a temporary file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence


class States:
    """Hidden states by feature, without padding: one row for each token. They are filled in as they are met.

    Args:
        lengths: of the features, in tokens.
        width: of the hidden states.
        dtype: of what is kept.
        in_file: keep them in a memory-mapped file in the folder for temporary files, which goes when this object goes.
    """

    def __init__(
        self, lengths: Sequence[int], width: int, *, dtype: torch.dtype = torch.float32, in_file: bool = False
    ) -> None:
        self._starts = [0, *accumulate(lengths)]
        self._known = [False] * len(lengths)
        self._given = dtype  # what the frozen part gave: bfloat16 under autocast
        size = self._starts[-1] * width
        if in_file:
            self._folder = TemporaryDirectory(prefix="reasoner-", ignore_cleanup_errors=True)
            path = str(Path(self._folder.name) / "states")
            self._values = torch.from_file(path, shared=True, size=size, dtype=dtype).view(-1, width)
        else:
            self._values = torch.empty(size, dtype=dtype).view(-1, width)  # takes memory as it is written to

    @property
    def complete(self) -> bool:
        """Whether the states of all features are known."""
        return all(self._known)

    def of(self, index: int) -> Tensor:
        """Return the states of one feature, (its length, width)."""
        return self._values[self._starts[index] : self._starts[index + 1]]

    def get(self, indexes: Sequence[int], length: int) -> Tensor | None:
        """Return (features, length, width) on the CPU, padded with zeros on the right; None if one is not known yet."""
        if not all(self._known[index] for index in indexes):
            return None
        hidden = pad_sequence([self.of(index) for index in indexes], batch_first=True).to(self._given)
        return pad(hidden, (0, 0, 0, length - hidden.shape[1])) if hidden.shape[1] < length else hidden

    def part(self, first: int) -> PartOfStates:
        """Return the states of the features from `first` on, as if they were the first."""
        return PartOfStates(self, first)

    def put(self, indexes: Sequence[int], hidden: Tensor) -> None:
        """Keep what the frozen part gave, (features, length, width), padded on the right."""
        self._given = hidden.dtype
        for index, row in zip(indexes, hidden.detach().cpu(), strict=True):
            kept = self.of(index)
            kept.copy_(row[: len(kept)])
            self._known[index] = True


class PartOfStates(NamedTuple):
    """The states of a part of the features, which are counted from 0 there."""

    whole: States
    first: int
    """Where the first of them stands in the whole."""

    def part(self, first: int) -> PartOfStates:
        """Do as `States.part` does."""
        return PartOfStates(self.whole, self.first + first)

    def get(self, indexes: Sequence[int], length: int) -> Tensor | None:
        """Do as `States.get` does."""
        return self.whole.get([self.first + index for index in indexes], length)

    def put(self, indexes: Sequence[int], hidden: Tensor) -> None:
        """Do as `States.put` does."""
        self.whole.put([self.first + index for index in indexes], hidden)
