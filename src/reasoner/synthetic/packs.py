"""How is a pack filled: splits of exact size, the same for the same seed, without a repeated row?"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from reasoner.errors import ConfigError
from reasoner.synthetic.words import Pool

Row = dict[str, Any]
Pack = dict[str, list[Row]]

PATIENCE = 2000
"""This many repeated rows in succession mean that there are no new ones."""


def build_pack(draw: Callable[[Random, Pool, int], Row], *, seed: int, **sizes: int) -> Pack:
    """Draw every split of `sizes`; `train` from the train pool, every other split from the held-out pool.

    Each split has its own stream of random numbers: the size of `train` changes nothing in `test`.

    Args:
        draw: gives one row; its last argument counts the rows of the split, for what is to be balanced.
        seed: any whole number.
        **sizes: the number of rows of each split, by its name.

    Raises:
        ConfigError: if a size is not a whole number from 0 up, or is more than there are different rows.
    """
    for split, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ConfigError(f"{split}={size!r} is not a number of rows. Give a whole number, 0 or more.")
    seen: set[str] = set()
    return {split: _rows(draw, Random(f"{seed} {split}"), split, size, seen) for split, size in sizes.items()}


def _rows(draw: Callable[[Random, Pool, int], Row], random: Random, split: str, size: int, seen: set[str]) -> list[Row]:
    pool: Pool = "train" if split == "train" else "held_out"
    rows: list[Row] = []
    repeats = 0
    while len(rows) < size:
        row = draw(random, pool, len(rows))
        key = json.dumps(row, sort_keys=True)
        if key not in seen:
            seen.add(key)
            rows.append(row)
            repeats = 0
            continue
        repeats += 1
        if repeats == PATIENCE:
            raise ConfigError(
                f"{split}={size} cannot be reached without repeated rows. "
                f"The largest possible with this seed is {len(rows)}."
            )
    random.shuffle(rows)
    return rows
