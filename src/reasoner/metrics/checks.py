"""Can these gold and predicted values be compared at all?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reasoner.errors import DataError


def check_same_length(gold: Sequence[Any], predicted: Sequence[Any], *, unit: str) -> None:
    """Refuse lists that do not pair up, and lists with nothing to score: a score over nothing would be a made-up one.

    Args:
        gold: one item for each `unit`.
        predicted: the same number of items, in the same order.
        unit: what an item is, in the plural, such as `"sentences"`.

    Raises:
        DataError: if the lengths differ, or both are 0.
    """
    if len(gold) != len(predicted):
        raise DataError(
            f"gold has {len(gold)} {unit}, predicted has {len(predicted)}. Give both for the same {unit}, in one order."
        )
    if not len(gold):
        raise DataError(f"there are no {unit} to score. Give at least one.")
