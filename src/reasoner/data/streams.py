"""How is a source that may be larger than memory, or without end, read: part by part, in order, as often as needed?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

from reasoner.data.examples import Example, usable_examples
from reasoner.data.formats.memory import class_names, is_stream, plain, stream_records
from reasoner.data.rows import Row
from reasoner.data.sources import finished_rows, named_splits
from reasoner.errors import DataError, Problem, ReasonerError, raise_if_any

FIRST = 1_000
"""Rows of a stream that are read before training: by them labels are found, checks made, and the stream known again."""
LABEL_COLUMNS = ("label", "ner_tags", "entities")
"""Where labels stand in the rows of tasks that have names for them."""


class Stream:
    """The training rows of a source that is never held as a whole.

    Args:
        source: a `datasets.IterableDataset`, or PyTorch's, of dicts. It is read anew for each pass; where it has
            `set_epoch`, the number of the pass is set, so that a shuffled one comes in another order.
        example: the task's schema.
        columns: as `read_rows` takes it.
        name: what messages call it.
    """

    def __init__(
        self, source: Any, example: type[Example], *, columns: Mapping[str, Any] | None = None, name: str = "train"
    ) -> None:
        self.source, self.example, self.columns, self.name = source, example, dict(columns or {}), name

    def rows(self, size: int, *, epoch: int = 0, skip: int = 0) -> Iterator[list[Row]]:
        """Yield the rows of a pass, `size` at a time; the first `skip` are read and passed over.

        Raises:
            DataError: if an item is no dict, a column is missing, or the source breaks off with an error.
        """
        items = self._items(epoch, skip)
        while part := list(islice(items, size)):
            raise_if_any(
                Problem(f"{self.name}, row {number}", f"is a {type(item).__name__}, not a dict", "Give dicts.")
                for number, item in part
                if not isinstance(item, Mapping)
            )
            rows = [Row(plain(item), self.name, number, "row") for number, item in part]
            yield finished_rows(rows, self.columns, self.name)

    def first(self) -> list[Row]:
        """Return the first `FIRST` rows."""
        return next(self.rows(FIRST), [])

    def examples(self, rows: Sequence[Row]) -> list[Any]:
        """Return the examples of rows; of those that were dropped the number is told to `notices.count`.

        Raises:
            DataError: with all problems of these rows.
        """
        problems: list[Problem] = []
        examples = usable_examples(rows, self.example, problems)
        raise_if_any(problems)
        return examples

    @property
    def label_names(self) -> list[str]:
        """The names of the classes that the source declares for its labels; none if it declares nothing."""
        features = getattr(self.source, "features", None) or {}
        for ours in LABEL_COLUMNS:
            known = (self.columns.get(ours), ours, *self.example.aliases.get(ours, ()))
            found = [names for name in known if name in features and (names := class_names(features[name]))]
            if found:
                return found[0]
        return []

    def made_of(self) -> dict[str, Any]:
        """Return what the source says of itself, as JSON values: its columns with their types, and its shards."""
        features = getattr(self.source, "features", None)
        return {
            "features": None if features is None else {name: repr(kind) for name, kind in features.items()},
            "shards": getattr(self.source, "num_shards", None),
        }

    def _items(self, epoch: int, skip: int) -> Iterator[tuple[int, Any]]:
        """Yield items with their numbers in the pass, counted from 1."""
        number = 0
        try:
            for number, item in enumerate(stream_records(self.source, epoch=epoch), start=1):
                if number > skip:
                    yield number, item
        except ReasonerError:
            raise
        except Exception as error:  # a broken shard, a network that is gone: whatever it is, say where it was
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            what = f"the stream cannot be read on ({type(error).__name__}: {reason:.300})"
            remedy = "See whether its files are whole and within reach."
            raise DataError(
                [Problem(f"{self.name}, after row {number}", what, remedy, code="broken_stream")]
            ) from error


class StreamedRows(Sequence[Any]):
    """The training examples of a stream: as a sequence the first ones, and `stream`, which gives them all.

    Args:
        first: the examples of its first rows.
        stream: the stream.
    """

    def __init__(self, first: Sequence[Any], stream: Stream) -> None:
        self._first, self.stream = list(first), stream

    def __len__(self) -> int:
        return len(self._first)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return an example, or a list of them."""
        return self._first[index]


def stream_taken_out(data: Any) -> tuple[Any, Any]:
    """Return the source of the training rows if it is a stream, else None; and the data without it.

    Raises:
        ConfigError: if a split's name is unknown.
    """
    if is_stream(data):
        return data, {}
    if isinstance(data, Mapping) and any(map(is_stream, data.values())):
        splits = named_splits(data)
        if is_stream(splits.get("train")):
            return splits.pop("train"), splits
    return None, data
