"""How do features become padded batches? By length, so many rows or tokens each, in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch

from reasoner.data.features import Batch, Feature
from reasoner.data.states import PartOfStates, States
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
        tokens_per_batch: instead of `batch_size`: as many features as fit so that features x longest is at most this.
            A feature (with `keep_together`, an example) that is larger is a batch of its own. How many batches there
            are then differs a little from epoch to epoch, since pools are drawn at random.
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
        tokens_per_batch: int | None = None,
        keep_together: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        padding_side: str = "right",
        states: States | PartOfStates | None = None,
    ) -> None:
        self.features = [feature for group in features for feature in group]
        self.example_of = [example for example, group in enumerate(features) for _ in group]
        self.units = _units(features, keep_together)
        self.lengths = [len(feature) for feature in self.features]
        self.batch_size, self.tokens_per_batch = batch_size, tokens_per_batch
        self.padding, self.shuffle, self.keep_together = padding, shuffle, keep_together
        self.seed, self.padding_side, self.states = seed, padding_side, states
        self.epoch = 0
        self._planned: tuple[int, list[list[int]]] | None = None

    def __len__(self) -> int:
        """Return how many batches the epoch has that `epoch` says."""
        return -(-len(self.units) // self.batch_size) if self.tokens_per_batch is None else len(self.plan())

    def __iter__(self) -> Iterator[Batch]:
        for indexes in self.plan():
            yield self.collate(indexes)

    def plan(self) -> list[list[int]]:
        """Return which features each batch of this epoch holds, as indexes."""
        if self._planned is None or self._planned[0] != self.epoch:
            batches = [[index for unit in units for index in unit] for units in self._order()]
            self._planned = (self.epoch, batches)
        return self._planned[1]

    @property
    def padding_share(self) -> float:
        """The share of this epoch's positions that are padding, from 0 to 1."""
        return 1 - sum(self.lengths) / self.positions if self.positions else 0.0

    @property
    def positions(self) -> int:
        """How many positions the network computes in this epoch, those of padding among them."""
        return sum(len(batch) * max(self.lengths[index] for index in batch) for batch in self.plan())

    def _order(self) -> list[list[list[int]]]:
        """Return the batches of this epoch as lists of units."""
        if not self.shuffle:
            return self._cut(sorted(self.units, key=self._length, reverse=True))
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        shuffled = _permuted(self.units, generator)
        batches: list[list[list[int]]] = []
        left: list[list[int]] = []
        for start in range(0, len(shuffled), self._pool):
            pool = self._cut(sorted(left + shuffled[start : start + self._pool], key=self._length))
            more = self.tokens_per_batch is not None and start + self._pool < len(shuffled)
            left = pool.pop() if more else []  # the last is hardly ever full: its rows go into the next pool
            batches += _permuted(pool, generator)
        return batches if self.tokens_per_batch is None else _permuted(batches, generator)  # long rows came late

    def _cut(self, units: list[list[int]]) -> list[list[list[int]]]:
        """Cut units that are in order of length into batches."""
        if self.tokens_per_batch is None:
            return [units[start : start + self.batch_size] for start in range(0, len(units), self.batch_size)]
        batches: list[list[list[int]]] = []
        rows = longest = 0
        for unit in units:
            length = self._length(unit)
            rows, longest = rows + len(unit), max(longest, length)
            if not batches or rows * longest > self.tokens_per_batch:
                batches.append([])
                rows, longest = len(unit), length
            batches[-1].append(unit)
        return batches

    @cached_property
    def _pool(self) -> int:
        """How many units a pool holds."""
        size, batches = self.batch_size, -(-len(self.units) // self.batch_size)
        if self.tokens_per_batch is not None:
            batches = len(self._cut(sorted(self.units, key=self._length)))
            size = -(-len(self.units) // max(1, batches))
        return max(1, size) * max(1, min(POOL, batches // LEAST_POOLS))

    def _length(self, unit: list[int]) -> int:
        return max(self.lengths[index] for index in unit)

    def collate(self, indexes: list[int]) -> Batch:
        """Return these features as one padded batch."""
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
