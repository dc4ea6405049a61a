"""Features -> padded batches: bucketed by length, shuffled by a seed, an example's features kept together if asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from reasoner.data.features import Batch, Feature
from reasoner.data.states import States
from reasoner.losses import IGNORED

POOL = 50
"""How many batches at most are drawn at random before they are sorted by length: large enough to waste little."""
LEAST_POOLS = 4
"""Into how many pools small data is cut at least (if it has as many batches), so that each epoch has other batches."""


class Batches:
    """An iterable of batches that gives every feature exactly once an epoch.

    Shuffled: units are permuted, cut into pools of at most `POOL` batches, sorted by length inside a pool, and the
    pool's batches are permuted again: so a batch holds sequences of like length, and little of it is padding. Not
    shuffled: in order of length over everything, longest first, so that a batch too large for the memory shows at once.

    Args:
        features: one list of features an example.
        batch_size: features a batch; with `keep_together`, examples a batch.
        padding: the value that pads each input, such as `{"input_ids": 0, "attention_mask": 0}`.
        keep_together: never part the features of one example.
        shuffle: another order each epoch, fixed by `seed` and `epoch`.
        padding_side: "right" or "left".
        states: goes into every batch; see `Batch`.
    """

    def __init__(
        self,
        features: Sequence[Sequence[Feature]],
        batch_size: int,
        *,
        padding: dict[str, int],
        keep_together: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        padding_side: str = "right",
        states: States | None = None,
    ) -> None:
        self.features = [feature for group in features for feature in group]
        self.example_of = [example for example, group in enumerate(features) for _ in group]
        self.units = _units(features, keep_together)
        self.batch_size, self.padding, self.shuffle = batch_size, padding, shuffle
        self.seed, self.padding_side, self.states = seed, padding_side, states
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.units) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for units in self._order():
            yield self._collate([index for unit in units for index in unit])

    def _order(self) -> Iterator[list[list[int]]]:
        size, units = self.batch_size, self.units
        if not self.shuffle:
            ordered = sorted(units, key=self._length, reverse=True)
            yield from (ordered[start : start + size] for start in range(0, len(ordered), size))
            return
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        shuffled = _permuted(units, generator)
        batches = []
        step = size * max(1, min(POOL, len(self) // LEAST_POOLS))
        for start in range(0, len(shuffled), step):
            pool = sorted(shuffled[start : start + step], key=self._length)
            batches += _permuted([pool[begin : begin + size] for begin in range(0, len(pool), size)], generator)
        yield from batches

    def _length(self, unit: list[int]) -> int:
        return max(len(self.features[index]) for index in unit)

    def _collate(self, indexes: list[int]) -> Batch:
        features = [self.features[index] for index in indexes]
        length = max(len(feature) for feature in features)
        inputs = {
            name: self._padded([feature.inputs[name] for feature in features], length, self.padding[name])
            for name in features[0].inputs
        }
        targets = {name: torch.tensor([feature.targets[name] for feature in features]) for name in features[0].targets}
        for name in features[0].token_targets:
            targets[name] = self._padded([feature.token_targets[name] for feature in features], length, IGNORED)
        positions: dict[int, int] = {}
        group = [positions.setdefault(self.example_of[index], len(positions)) for index in indexes]
        return Batch(inputs, targets, torch.tensor(group), indexes, sum(map(len, features)), self.states)

    def _padded(self, rows: list[list[int]], length: int, value: int) -> torch.Tensor:
        if self.padding_side == "left":
            return torch.tensor([[value] * (length - len(row)) + row for row in rows])
        return torch.tensor([row + [value] * (length - len(row)) for row in rows])


def padding_of(tokenizer: Any) -> dict[str, int]:
    """Return the value that pads each model input; a tokenizer without a padding token lends its end token."""
    token = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return {"input_ids": token or 0, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}


def _units(features: Sequence[Sequence[Feature]], keep_together: bool) -> list[list[int]]:
    """Return the smallest pieces that a batch is made of, as lists of feature indexes."""
    groups, start = [], 0
    for group in features:
        groups.append(list(range(start, start + len(group))))
        start += len(group)
    if keep_together:
        return [group for group in groups if group]
    return [[index] for group in groups for index in group]


def _permuted(items: list[Any], generator: torch.Generator) -> list[Any]:
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]
