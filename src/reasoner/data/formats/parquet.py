"""How is a Parquet file read?"""

from __future__ import annotations

import io
from typing import Any

from reasoner.data.formats.memory import label_names, plain
from reasoner.data.rows import Row
from reasoner.errors import DataError, Problem


def read_parquet(content: bytes, source: str) -> list[Row]:
    """Return one row a record, as plain Python values.

    Where the file was written by `datasets`, class labels are given by their names.

    Raises:
        DataError: if the bytes are not a Parquet file.
    """
    try:
        records = _records(content)
    except Exception as error:  # whatever damaged content leads to in its reader: names that are no UTF-8, for one
        what = f"is not a readable Parquet file ({error})"
        raise DataError([Problem(source, what, "Write or download the file again.")]) from None
    return [Row(plain(record), source, number, "row") for number, record in enumerate(records, start=1)]


def _records(content: bytes) -> list[dict[str, Any]]:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    records: list[dict[str, Any]] = table.to_pylist()
    if b"huggingface" not in (table.schema.metadata or {}):
        return records
    from datasets import Features

    features = Features.from_arrow_schema(table.schema)
    return [{name: label_names(value, features[name]) for name, value in record.items()} for record in records]
