"""How is a batch cut into parts, and when is it on the CPU?"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from math import ceil, inf
from typing import Any

import torch
from torch import nn

PARTS = ("inputs", "targets")
"""The fields of a batch that hold tensors by name, each with the features as its first dimension."""

CACHED = 600_000
"""Rows x length x length of a batch from which on its attention outgrows the caches of a CPU. MiniLM, forward and
backward pass, one thread: 16 x 384 tokens take 8.7 s whole and 6.4 s in four parts; 16 x 180 take 2.6 s either way."""
KEPT = 10_000_000
"""Rows x length x layers x width of a batch from which on what is kept for its backward pass takes gigabytes. LoRA of
SmolLM2 (30 layers of 576), 16 x 298 tokens, one thread: the process takes 6.0 GiB in three parts, 4.2 in five, 2.8 in
nine, in equal time (benchmarks/parts_memory.py)."""


def can_cut(batch: Any) -> bool:
    """Return whether a batch has the fields of `data.features.Batch`, with a feature in each row of its tensors."""
    if not all(hasattr(batch, name) for name in (*PARTS, "group", "feature_index")):
        return False
    tensors = [tensor for name in PARTS for tensor in getattr(batch, name).values()]
    return all(len(tensor) == len(batch.feature_index) for tensor in (*tensors, batch.group))


def part_limit(model: nn.Module, device: torch.device, *, compares_rows: bool = False) -> float | None:
    """Return how many positions (rows x length) a part may have, so that it keeps no more than `KEPT` allows.

    None: batches are run whole, on other devices than the CPU, where the model normalises over rows, and where rows are
    wrong answers for each other: a part would have fewer of them.
    """
    over_rows = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if device.type != "cpu" or over_rows or compares_rows:
        return None
    config = getattr(getattr(model, "network", None), "config", None)
    size = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
    return KEPT / size if size else inf


def number_of_parts(rows: int, length: int, limit: float | None) -> int:
    """Return in how many parts a batch of rows of that length is run, as far as its rows allow; see `part_limit`."""
    return 1 if limit is None else ceil(max(rows * length**2 / CACHED, rows * length / limit))


def parts_for_cpu(batch: Any, limit: float | None, *, keep_together: bool) -> list[Any]:
    """Return the batch in parts whose attention fits into the caches of a CPU, and which keep little of its memory.

    Args:
        batch: with the fields of `data.features.Batch`; any other is returned whole.
        limit: see `part_limit`.
        keep_together: never part the features of one example.
    """
    if not can_cut(batch):
        return [batch]
    features, length = batch.inputs["input_ids"].shape
    parts = number_of_parts(features, length, limit)
    if parts == 1:
        return [batch]
    rows = rows_of(batch) if keep_together else [[position] for position in range(features)]
    parts = min(parts, len(rows))
    ends = [len(rows) * number // parts for number in range(parts + 1)]
    return [cut(batch, _joined(rows[start:end])) for start, end in pairwise(ends)]


def rows_of(batch: Any) -> list[list[int]]:
    """Return the positions in the batch that belong together, for each of its examples."""
    rows: dict[int, list[int]] = {}
    for position, example in enumerate(batch.group.tolist()):
        rows.setdefault(example, []).append(position)
    return list(rows.values())


def cut(batch: Any, positions: list[int]) -> Any:
    """Return a batch of some of a batch's features, padded as they were: targets may be as long by chance.

    It tells how few of the positions its own features need.
    """
    index = torch.tensor(positions, device=batch.group.device)
    part = copy(batch)
    for name in PARTS:
        setattr(part, name, {key: tensor.index_select(0, index) for key, tensor in getattr(batch, name).items()})
    part.group = batch.group.index_select(0, index).unique(return_inverse=True)[1]
    part.feature_index = [batch.feature_index[position] for position in positions]
    if "attention_mask" in part.inputs:
        mask = part.inputs["attention_mask"]
        held = mask.any(0).nonzero().flatten().tolist()
        part.tokens, part.span = int(mask.sum()), (held[0], held[-1] + 1) if held else None
    return part


def _joined(rows: Sequence[Sequence[int]]) -> list[int]:
    return [position for row in rows for position in row]
