"""How is a batch cut into parts?"""

from __future__ import annotations

from copy import copy
from typing import Any

import torch

PARTS = ("inputs", "targets")
"""The fields of a batch that hold tensors by name, each with the features as its first dimension."""


def can_cut(batch: Any) -> bool:
    """Return whether a batch has the fields of `data.features.Batch`, with a feature in each row of its tensors."""
    if not all(hasattr(batch, name) for name in (*PARTS, "group", "feature_index")):
        return False
    tensors = [tensor for name in PARTS for tensor in getattr(batch, name).values()]
    return all(len(tensor) == len(batch.feature_index) for tensor in (*tensors, batch.group))


def rows_of(batch: Any) -> list[list[int]]:
    """Return the positions in the batch that belong together, for each of its examples."""
    rows: dict[int, list[int]] = {}
    for position, example in enumerate(batch.group.tolist()):
        rows.setdefault(example, []).append(position)
    return list(rows.values())


def cut(batch: Any, positions: list[int]) -> Any:
    """Return a batch of some of a batch's features, padded as they were."""
    index = torch.tensor(positions, device=batch.group.device)
    part = copy(batch)
    for name in PARTS:
        setattr(part, name, {key: tensor.index_select(0, index) for key, tensor in getattr(batch, name).items()})
    part.group = batch.group.index_select(0, index).unique(return_inverse=True)[1]
    part.feature_index = [batch.feature_index[position] for position in positions]
    return part
