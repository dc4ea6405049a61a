"""Features in an Arrow file: how are they written part by part, and read by number from the mapped file?"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from reasoner.data.features import Feature
from reasoner.data.windows import Owned

Ints = NDArray[np.integer[Any]]

FORMAT = 1
NARROW = ("attention_mask", "token_type_ids")
"""Inputs that take a byte a token; all others, and token targets, take four."""
TUPLES: Mapping[str, Any] = {"tuple": tuple, "Owned": Owned._make}
"""What `Feature.info` may be a list of, by the name of its class, and how one is made of its numbers."""


class CannotHoldError(Exception):
    """What a feature holds that the file cannot; the message says it."""


class _Ragged(NamedTuple):
    """A list of numbers for each feature."""

    values: NDArray[Any]
    offsets: Ints

    def row(self, index: int) -> NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


class _Part(NamedTuple):
    """The columns of one record batch, by name, as arrays that lie in the file."""

    inputs: dict[str, _Ragged]
    targets: dict[str, _Ragged | NDArray[Any]]
    token_targets: dict[str, _Ragged]
    info: Any
    """Numbers (`_Ragged`), or an Arrow array of JSON texts; None: there is none."""


class FeatureFile(Sequence[list[Feature]]):
    """The features of each example, in a memory-mapped file: what is not asked for takes no memory.

    `file[3]` is the list of the features of example 3, made anew each time; `file[10:20]` reads in the same file.

    Args:
        path: what `write_features` wrote.
        keeper: an object that lives as long as this one, such as the temporary folder of the file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is broken, or was not written by `write_features`.
    """

    def __init__(self, path: Path, *, keeper: Any = None) -> None:
        import pyarrow as pa

        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        about = json.loads((reader.schema.metadata or {}).get(b"reasoner", b"{}"))
        if about.get("format") != FORMAT:
            raise ValueError("it is no file of features, or one of another version")
        self.key: str = about["key"]
        """What it was written with."""
        self._info, self._keeper = about["info"], keeper
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._parts = [_part(batch) for batch in batches]
        self._part_starts = [0, *np.cumsum([batch.num_rows for batch in batches]).tolist()]
        examples = np.concatenate([batch.column("example").to_numpy() for batch in batches])
        self.sizes: Ints = np.bincount(examples)
        """(examples,) how many features each has."""
        self.lengths: Ints = np.concatenate([np.diff(part.inputs["input_ids"].offsets) for part in self._parts])
        """(features,) tokens."""
        self._starts = np.concatenate([[0], self.sizes.cumsum()])  # (examples + 1,)
        self._first = 0  # of the features that are shown

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> list[Feature]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[list[Feature]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return the features of an example, or those of several."""
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return [self._feature(place) for place in range(self._starts[numbers], self._starts[numbers + 1])]
        if numbers.step != 1:
            return [self[number] for number in numbers]
        part, start, stop = copy(self), numbers.start, max(numbers.start, numbers.stop)
        first, last = self._starts[start], self._starts[stop]
        part.sizes, part.lengths = self.sizes[start:stop], self.lengths[first:last]
        part._starts, part._first = self._starts[start : stop + 1] - first, self._first + int(first)
        return part

    def arrays(self, index: int) -> Feature:
        """Return a feature, counted over all examples, with arrays in place of lists, and without `info`: for batches.

        The arrays lie in the file.
        """
        part, row = self._place(index)
        return Feature(
            {name: column.row(row) for name, column in part.inputs.items()},  # type: ignore[misc]
            {
                name: column.row(row).tolist() if isinstance(column, _Ragged) else column[row].item()
                for name, column in part.targets.items()
            },
            {name: column.row(row) for name, column in part.token_targets.items()},  # type: ignore[misc]
        )

    def _feature(self, index: int) -> Feature:
        feature, (part, row) = self.arrays(index), self._place(index)
        feature.inputs = {name: values.tolist() for name, values in feature.inputs.items()}  # type: ignore[attr-defined]
        feature.token_targets = {name: values.tolist() for name, values in feature.token_targets.items()}  # type: ignore[attr-defined]
        if isinstance(part.info, _Ragged):
            numbers = part.info.row(row).reshape(-1, self._info["width"]).tolist()
            feature.info = list(map(TUPLES[self._info["of"]], numbers))
        elif part.info is not None:
            feature.info = json.loads(part.info[row].as_py())
        return feature

    def _place(self, index: int) -> tuple[_Part, int]:
        """Return the part that holds a feature, and its row there."""
        number = bisect_right(self._part_starts, index + self._first) - 1
        return self._parts[number], index + self._first - self._part_starts[number]


def feature_lengths(features: Sequence[Sequence[Feature]]) -> Ints:
    """Return how many tokens each feature has, (features,)."""
    if isinstance(features, FeatureFile):
        return features.lengths
    return np.array([len(feature) for group in features for feature in group], np.int64)


def group_sizes(features: Sequence[Sequence[Feature]]) -> Ints:
    """Return how many features each example has, (examples,)."""
    return features.sizes if isinstance(features, FeatureFile) else np.array([len(group) for group in features], int)


def feature_reader(features: Sequence[Sequence[Feature]]) -> Callable[[int], Feature]:
    """Return a function that gives a feature by its number, counted over all examples, for a batch."""
    if isinstance(features, FeatureFile):
        return features.arrays
    return [feature for group in features for feature in group].__getitem__


def write_features(path: Path, parts: Iterable[Sequence[Sequence[Feature]]], *, key: str = "") -> None:
    """Write features; of what is written one part is in memory at a time.

    Args:
        path: of the file.
        parts: the features of each example, part by part; not empty.
        key: goes into the file.

    Raises:
        CannotHoldError: if a feature holds what the file cannot. The file is then of no use.
        OSError: if it cannot be written.
    """
    import pyarrow as pa

    info, schema, number = None, None, 0
    with pa.OSFile(str(path), "wb") as sink:
        for part in parts:
            if not all(part):
                raise CannotHoldError("an example has no features")
            features = [feature for group in part for feature in group]
            info = _info_kind(features) if info is None else info
            columns = {"example": pa.array(np.repeat(np.arange(number, number + len(part), dtype=np.int32),
                                                     group_sizes(part))),
                       **dict(_columns(features, info))}  # fmt: skip
            if schema is None:
                about = {"format": FORMAT, "info": info, "key": key}
                fields = [(name, column.type) for name, column in columns.items()]
                schema = pa.schema(fields, metadata={"reasoner": json.dumps(about)})
                writer = pa.ipc.new_file(sink, schema)
            if [(name, column.type) for name, column in columns.items()] != [(f.name, f.type) for f in schema]:
                raise CannotHoldError("features differ in what they hold")
            writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
            number += len(part)
            del part, features, columns  # before the next one is made
        writer.close()


def _columns(features: Sequence[Feature], info: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the columns of a part, by name."""
    first = features[0]
    for field in ("inputs", "targets", "token_targets"):
        names = list(getattr(first, field))
        if any(getattr(feature, field).keys() != set(names) for feature in features):
            raise CannotHoldError(f"features differ in the names of their {field}")
        for name in names:
            values = [getattr(feature, field)[name] for feature in features]
            column = f"{field}.{name}"
            if field == "targets":
                yield column, _target_column(values, column)
            else:
                yield column, _ragged_column(values, np.int8 if name in NARROW else np.int32, column)
    infos = [feature.info for feature in features]
    if info["kind"] == "tuples":
        kinds = {(type(item).__name__, len(item)) for row in infos for item in row}
        if kinds - {(info["of"], info["width"])}:
            raise CannotHoldError("features differ in their info")
        yield "info", _ragged_column([list(chain.from_iterable(row)) for row in infos], np.int32, "info")
    elif info["kind"] == "json":
        yield "info", _json_column(infos)
    elif any(item is not None for item in infos):
        raise CannotHoldError("features differ in their info")


def _info_kind(features: Sequence[Feature]) -> dict[str, Any]:
    """Return how the info of features like these is written."""
    infos = [feature.info for feature in features]
    if all(info is None for info in infos):
        return {"kind": "none"}
    classes = {type(item) for info in infos if type(info) is list for item in info}
    if all(type(info) is list for info in infos) and classes and classes <= {tuple, Owned}:
        item = next(item for info in infos for item in info)
        return {"kind": "tuples", "of": type(item).__name__, "width": len(item)}
    return {"kind": "json"}


def _ragged_column(rows: Sequence[Sequence[Any]], dtype: Any, name: str) -> Any:
    """Return lists of numbers as a column.

    Raises:
        CannotHoldError: if they are none, or too large.
    """
    import pyarrow as pa

    flat = np.array(list(chain.from_iterable(rows)) or np.zeros(0, dtype))
    offsets = np.cumsum([0, *map(len, rows)])
    values = flat.astype(dtype) if flat.dtype.kind in "if" else flat
    if values.dtype != dtype or values.ndim != 1 or not np.array_equal(values, flat) or offsets[-1] >= 2**31:
        raise CannotHoldError(f"{name} holds something else than {np.dtype(dtype).name}")
    if flat.dtype.kind == "f" and np.dtype(dtype).kind == "i":  # 1.0 would come back as 1
        raise CannotHoldError(f"{name} holds numbers with fractions")
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))


def _target_column(values: Sequence[Any], name: str) -> Any:
    """Return targets, numbers or vectors, as a column; whole numbers and others come back as what they were."""
    import pyarrow as pa

    vectors = all(type(value) is list for value in values)
    kinds = {type(item) for value in values for item in (value if vectors else (value,))}
    if kinds not in ({int}, {float}):
        raise CannotHoldError(f"{name} holds {', '.join(sorted(kind.__name__ for kind in kinds))}")
    dtype = np.int64 if kinds == {int} else np.float64
    try:
        return _ragged_column(values, dtype, name) if vectors else pa.array(np.array(values, dtype))
    except OverflowError:
        raise CannotHoldError(f"{name} holds numbers that are too large") from None


def _json_column(values: Sequence[Any]) -> Any:
    import pyarrow as pa

    try:
        texts = [json.dumps(value) for value in values]
        same = [json.loads(text) for text in texts] == list(values)
    except (TypeError, ValueError):
        same = False
    if not same:
        raise CannotHoldError("info holds what is neither a list of tuples nor a JSON value")
    return pa.array(texts, pa.string())


def _part(batch: Any) -> _Part:
    """Return the columns of a record batch as arrays, without a copy."""
    part = _Part({}, {}, {}, None)
    for name in batch.schema.names:
        field, _, key = name.partition(".")
        column = batch.column(name)
        if hasattr(column, "offsets"):
            column = _Ragged(column.values.to_numpy(), column.offsets.to_numpy())
        if key:
            getattr(part, field)[key] = column if isinstance(column, _Ragged) else column.to_numpy()
        elif field == "info":
            part = part._replace(info=column)
    return part
