"""How do tables in memory (lists of dicts, DataFrames, data sets) and streams become rows of plain Python values?"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reasoner.data.rows import Row
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any


def read_memory(source: Any, name: str) -> list[Row]:
    """Return the rows of a list of dicts, a pandas DataFrame, a `datasets.Dataset` or a stream; nothing is changed.

    Args:
        source: the table.
        name: what messages call it.

    Raises:
        DataError: if items are no dicts, or a DataFrame has two columns of one name.
        ConfigError: if it is something else.
    """
    records: Sequence[Mapping[Any, Any]]
    if is_a(source, "pandas", "DataFrame"):
        records = _frame_records(source, name)
    elif is_a(source, "datasets", "Dataset"):
        records = [_named(record, source.features) for record in source.with_format(None)]
    elif is_stream(source):
        records = _checked(list(stream_records(source)), name)
    elif isinstance(source, Sequence) and not isinstance(source, str | bytes):
        records = _checked(source, name)
    else:
        raise ConfigError(
            f"{name}: a {type(source).__name__} cannot be read. "
            "Give a path, a list of dicts, a pandas DataFrame, a datasets.Dataset or a datasets.IterableDataset."
        )
    return [Row(plain(record), name, number, "row") for number, record in enumerate(records, start=1)]


def is_a(value: object, library: str, name: str) -> bool:
    """Say whether `value` is of the library's class; the library is not imported: unless it is loaded, it is not."""
    return library in sys.modules and isinstance(value, getattr(sys.modules[library], name))


def plain(value: Any) -> Any:
    """Return a copy in plain Python values: NumPy's and tensors' converted, NaN, NaT and pandas' NA as None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or type(value) in (str, int, bool):
        return value
    if type(value).__name__ == "NAType" or (not hasattr(value, "__len__") and _is_nan(value)):
        return None
    return plain_array(value) if hasattr(value, "tolist") else value


def plain_array(value: Any) -> Any:
    """Return a NumPy scalar, an array, a tensor or a Series in plain Python values."""
    converted = value.tolist()
    return plain(converted) if not hasattr(converted, "tolist") else converted


def label_names(value: Any, feature: Any) -> Any:
    """Return `value` with class labels as their names, by the `feature` that describes it.

    A number that is no class, such as `-1` for a missing label, stays as it is.
    """
    if value is None:
        return None
    if isinstance(feature, Mapping):
        return {name: label_names(item, feature[name]) for name, item in value.items()}
    if hasattr(feature, "int2str"):
        return feature.int2str(value) if 0 <= value < feature.num_classes else value
    inner = getattr(feature, "feature", None)  # a list of something
    if isinstance(value, list) and inner is not None:
        return [label_names(item, inner) for item in value]
    return value


def _frame_records(frame: Any, name: str) -> list[dict[Any, Any]]:
    twice = [column for column, number in Counter(frame.columns).items() if number > 1]
    if twice:
        what = "has these columns more than once: " + ", ".join(map(repr, twice))
        raise DataError([Problem(name, what, "Give each column its own name.")])
    records: list[dict[Any, Any]] = frame.to_dict("records")
    return records


def is_stream(source: object) -> bool:
    """Say whether a source is one that is read from its beginning to its end alone, and perhaps has none."""
    return is_a(source, "datasets", "IterableDataset") or is_a(source, "torch.utils.data", "IterableDataset")


def stream_records(source: Iterable[Any], *, epoch: int = 0) -> Iterator[Any]:
    """Yield the items of a stream from its beginning, class labels as their names.

    Args:
        source: see `is_stream`.
        epoch: the number of the pass, told to the source where it wants to know (`set_epoch`).
    """
    if is_a(source, "datasets", "IterableDataset"):
        source = source.with_format(None)  # type: ignore[attr-defined]  # a copy: the one that was given stays as it is
    if hasattr(source, "set_epoch"):
        source.set_epoch(epoch)
    features = getattr(source, "features", None) or {}
    for record in source:
        yield _named(record, features) if features and isinstance(record, Mapping) else record


def class_names(feature: Any) -> list[str]:
    """Return the names of the class labels that a feature of a data set holds, at whatever depth; else none."""
    if hasattr(feature, "int2str"):
        return list(feature.names)
    inner = list(feature.values()) if isinstance(feature, Mapping) else [getattr(feature, "feature", None)]
    return next((names for item in inner if item is not None and (names := class_names(item))), [])


def _named(record: Mapping[Any, Any], features: Mapping[str, Any]) -> dict[Any, Any]:
    """Return a record of a data set with class labels as their names."""
    return {name: label_names(value, features.get(name)) for name, value in record.items()}


def _checked(items: Sequence[Any], name: str) -> Sequence[Mapping[Any, Any]]:
    raise_if_any(
        Problem(f"{name}, row {number}", f"is a {type(item).__name__}, not a dict", "Give a list of dicts, one a row.")
        for number, item in enumerate(items, start=1)
        if not isinstance(item, Mapping)
    )
    return items


def _is_nan(value: Any) -> bool:
    try:
        return bool(value != value)  # NaN and NaT alone are not equal to themselves
    except (TypeError, ValueError, RuntimeError):
        return False
