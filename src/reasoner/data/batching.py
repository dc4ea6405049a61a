"""How do features become padded batches? By length, so many rows or tokens each, in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reasoner.data.feature_file import Ints, feature_lengths, feature_reader, group_sizes
from reasoner.data.features import Batch, Feature
from reasoner.data.sampling import balanced_order, replayed_order
from reasoner.data.states import PartOfStates, States
from reasoner.losses import IGNORED

POOL = 50
"""How many batches at most are drawn at random before they are sorted by length: large enough to waste little."""
LEAST_POOLS = 4
"""Into how many pools small data is cut at least (if it has as many batches), so that each epoch has other batches."""
LEAST_ROWS = 8
"""A batch that has fewer rows is not ended early for its padding: to start a batch costs as much as some positions."""
_NO_VALUES = np.zeros(0, np.int64)


class _Units(NamedTuple):
    """The smallest pieces that a batch is made of: runs of features. Each field is (units,)."""

    first: Ints
    """The feature that it begins with."""
    rows: Ints
    """How many features it has."""
    longest: Ints
    """Tokens of its longest feature."""
    tokens: Ints
    """Tokens of all its features."""


class Batches:
    """An iterable of batches that gives every feature exactly once an epoch.

    Shuffled: units are permuted, cut into pools of at most `POOL` batches, sorted by length inside a pool, and the
    pool's batches are permuted again: so a batch holds sequences of like length, and little of it is padding. Not
    shuffled: in order of length over everything, longest first, so that a batch too large for the memory shows at once.

    Args:
        features: the features of each example: lists, or a `FeatureFile`.
        batch_size: features a batch; with `keep_together`, examples a batch.
        tokens_per_batch: instead of `batch_size`: as many features as fit so that features x longest is at most this.
            A feature (with `keep_together`, an example) that is larger is a batch of its own. How many batches there
            are then differs a little from epoch to epoch, since pools are drawn at random.
        padding: the value that pads each input, such as `{"input_ids": 0, "attention_mask": 0}`.
        most_padding: not shuffled: a batch of at least `LEAST_ROWS` rows ends where another row would make more than
            this share of it padding. Rows of few examples differ much in length, and in large batches most is padding.
        keep_together: never part the features of one example.
        shuffle: another order each epoch, fixed by `seed` and `epoch`.
        padding_side: "right" or "left".
        states: goes into every batch; see `Batch`.
        strata: the number of each example's stratum; shuffled, an epoch draws from all alike: see `balanced_order`.
        replay: the number of the first old example, and how many old ones an epoch shows: see `replayed_order`.
        compares_rows: rows are wrong answers for each other: what is shuffled is not sorted, or they would be told from
            those of their own length alone, and no batch is cut.
    """

    def __init__(
        self,
        features: Sequence[Sequence[Feature]],
        batch_size: int,
        *,
        padding: dict[str, int],
        tokens_per_batch: int | None = None,
        most_padding: float = 1.0,
        keep_together: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        padding_side: str = "right",
        states: States | PartOfStates | None = None,
        strata: Ints | None = None,
        replay: tuple[int, int] | None = None,
        compares_rows: bool = False,
    ) -> None:
        self.read = feature_reader(features)
        self.lengths = feature_lengths(features)  # (features,)
        self.example_of = np.repeat(np.arange(len(features)), group_sizes(features))  # (features,)
        self.batch_size, self.tokens_per_batch, self.most_padding = batch_size, tokens_per_batch, most_padding
        self.padding, self.shuffle, self.keep_together = padding, shuffle, keep_together
        self.seed, self.padding_side, self.states = seed, padding_side, states
        self.epoch = 0
        self._units = _units(self.lengths, group_sizes(features), keep_together)
        self._strata = None if strata is None else np.asarray(strata)[self.example_of[self._units.first]]  # (units,)
        self._replay, self.compares_rows = replay, compares_rows
        self._planned: tuple[int, list[list[int]]] | None = None

    def __len__(self) -> int:
        """Return how many batches the epoch has that `epoch` says."""
        if self._replay is None and self.tokens_per_batch is None and (self.shuffle or self.most_padding == 1):
            return -(-len(self._units.first) // self.batch_size)
        return len(self.plan())

    def __iter__(self) -> Iterator[Batch]:
        return self.after(0)

    def after(self, number: int) -> Iterator[Batch]:
        """Yield the batches of this epoch but the first `number`, which are not made."""
        for indexes in self.plan()[number:]:
            yield self.collate(indexes)

    def plan(self) -> list[list[int]]:
        """Return which features each batch of this epoch holds, as indexes."""
        if self._planned is None or self._planned[0] != self.epoch:
            first, rows = self._units.first, self._units.rows
            batches = [
                [index for start, size in zip(first[units].tolist(), rows[units].tolist(), strict=True)
                 for index in range(start, start + size)]
                for units in self._order()
            ]  # fmt: skip
            self._planned = (self.epoch, batches)
        return self._planned[1]

    @property
    def padding_share(self) -> float:
        """The share of this epoch's positions that are padding, from 0 to 1."""
        tokens = sum(int(self.lengths[batch].sum()) for batch in self.plan())
        return 1 - tokens / self.positions if self.positions else 0.0

    @property
    def positions(self) -> int:
        """How many positions the network computes in this epoch, those of padding among them."""
        return sum(len(batch) * int(self.lengths[batch].max()) for batch in self.plan())

    def _order(self) -> list[Ints]:
        """Return the batches of this epoch, as numbers of units."""
        longest, number = self._units.longest, len(self._units.longest)
        if not self.shuffle:
            return self._cut(np.argsort(-longest, kind="stable"), self.most_padding)
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        if self._replay is not None:
            shuffled = replayed_order(self.example_of[self._units.first], *self._replay, generator)
            number = len(shuffled)
        elif self._strata is None:
            shuffled = torch.randperm(number, generator=generator).numpy()
        else:
            shuffled = balanced_order(self._strata, generator)
        batches: list[Ints] = []
        left = shuffled[:0]
        for start in range(0, number, self._pool):
            drawn = np.concatenate([left, shuffled[start : start + self._pool]])
            pool = self._cut(drawn if self.compares_rows else drawn[np.argsort(longest[drawn], kind="stable")])
            more = self.tokens_per_batch is not None and start + self._pool < number
            left = pool.pop() if more else left[:0]  # the last is hardly ever full: its rows go into the next pool
            batches += _permuted(pool, generator)
        return batches if self.tokens_per_batch is None else _permuted(batches, generator)  # long rows came late

    def _cut(self, units: Ints, most_padding: float = 1.0) -> list[Ints]:
        """Cut units that are in order of length into batches."""
        if self.tokens_per_batch is None and most_padding == 1:
            return [units[start : start + self.batch_size] for start in range(0, len(units), self.batch_size)]
        starts = [0]
        rows = longest = tokens = 0
        sizes = zip(*(column[units].tolist() for column in self._units[1:]), strict=True)
        for place, (more_rows, length, more_tokens) in enumerate(sizes):
            rows, longest, tokens = rows + more_rows, max(longest, length), tokens + more_tokens
            held, positions = place - starts[-1], rows * longest
            limit = self.tokens_per_batch
            full = held == self.batch_size if limit is None else positions > limit
            wasteful = held >= LEAST_ROWS and positions - tokens > most_padding * positions
            if held and (full or wasteful):
                starts.append(place)
                rows, longest, tokens = more_rows, length, more_tokens
        return np.split(units, starts[1:]) if len(units) else []

    @cached_property
    def _pool(self) -> int:
        """How many units a pool holds."""
        number = len(self._units.longest)
        size, batches = self.batch_size, -(-number // self.batch_size)
        if self.tokens_per_batch is not None:
            batches = len(self._cut(np.argsort(self._units.longest, kind="stable")))
            size = -(-number // max(1, batches))
        return max(1, size) * max(1, min(POOL, batches // LEAST_POOLS))

    def collate(self, indexes: list[int]) -> Batch:
        """Return these features as one padded batch."""
        features, lengths = [self.read(index) for index in indexes], self.lengths[indexes]
        missing = lengths.max() - lengths if self.padding_side == "left" else np.zeros_like(lengths)
        place = np.arange(lengths.max()) - missing[:, None]  # (features, length)
        held = (place >= 0) & (place < lengths[:, None])
        inputs = {
            name: _padded([feature.inputs[name] for feature in features], held, self.padding[name])
            for name in features[0].inputs
        }
        targets = {name: torch.tensor([feature.targets[name] for feature in features]) for name in features[0].targets}
        for name in dict.fromkeys(name for feature in features for name in feature.token_targets):
            each = zip(features, lengths.tolist(), strict=True)  # a row without gold has none to learn
            rows = [feature.token_targets.get(name, [IGNORED] * length) for feature, length in each]
            sizes = np.array([len(row) for row in rows])
            own = held if (sizes == lengths).all() else np.arange(sizes.max()) < sizes[:, None]
            targets[name] = _padded(rows, own, IGNORED)
        positions: dict[int, int] = {}
        group = [positions.setdefault(example, len(positions)) for example in self.example_of[indexes].tolist()]
        return Batch(inputs, targets, torch.tensor(group), indexes, int(lengths.sum()), self.states)


class ShareOfBatches:
    """Of each batch what one of several ranks has of it: of its features, in order of length, every n-th.

    With `keep_together` it is every n-th example. A rank that has nothing of a batch gets None.

    Args:
        batches: those of all ranks, the same on each.
        index: the number of this rank.
        number: how many ranks there are.
    """

    def __init__(self, batches: Batches, index: int, number: int) -> None:
        self.batches, self.index, self.number = batches, index, number
        self.keep_together, self.compares_rows = batches.keep_together, batches.compares_rows
        self.states, self.example_of = batches.states, batches.example_of

    @property
    def epoch(self) -> int:
        """The epoch whose batches are given."""
        return self.batches.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.batches.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch | None]:
        return self.after(0)

    def after(self, number: int) -> Iterator[Batch | None]:
        """Yield the shares of this epoch but the first `number`, which are not made."""
        for indexes in self.batches.plan()[number:]:
            own = self.own(indexes)
            yield self.batches.collate(own) if own else None

    def own(self, indexes: list[int]) -> list[int]:
        """Return which of a batch's features this rank has."""
        if not self.keep_together:
            return indexes[self.index :: self.number]
        examples = list(dict.fromkeys(self.example_of[indexes].tolist()))
        own = set(examples[self.index :: self.number])
        return [index for index in indexes if self.example_of[index] in own]


def padding_of(tokenizer: Any) -> dict[str, int]:
    """Return the value that pads each model input; a tokenizer without a padding token lends its end token."""
    token = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return {"input_ids": token or 0, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}


def _units(lengths: Ints, sizes: Ints, keep_together: bool) -> _Units:
    """Return the smallest pieces that a batch is made of: features, or with `keep_together` examples."""
    rows = sizes[sizes > 0] if keep_together else np.ones_like(lengths)
    first = rows.cumsum() - rows
    if not len(first):
        return _Units(first, rows, rows, rows)
    return _Units(first, rows, np.maximum.reduceat(lengths, first), np.add.reduceat(lengths, first))


def _padded(rows: list[Any], held: NDArray[np.bool_], value: int) -> torch.Tensor:
    """Return rows of any length as one tensor; `held` says where their values go, (features, length)."""
    values = np.concatenate([_NO_VALUES, *(row for row in rows if len(row))])  # an empty list would count as floats
    padded = np.full(held.shape, value, np.float32 if values.dtype.kind == "f" else np.int64)
    padded[held] = values
    return torch.from_numpy(padded)


def _permuted(items: list[Any], generator: torch.Generator) -> list[Any]:
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]
