"""Which rows become the validation split when none is given?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from reasoner.errors import ConfigError, DataError, Problem


def cut_validation(
    groups: Sequence[Hashable], strata: Sequence[Hashable], *, share: float = 0.1, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indexes of the rows for training and for validation, each in ascending order.

    Rows of one group stay together. Groups are taken for validation in an order shuffled by `seed`, each if it brings
    the numbers of rows per stratum nearer to their share, and if every stratum keeps a row for training: so a stratum
    with a single row trains. Where groups are small, each stratum's number differs from its share by less than one.

    Args:
        groups: (rows,) a key a row: rows with equal keys, such as duplicates or questions on one text, are not parted.
        strata: (rows,) a key a row, whose shares are kept, such as the label; one value for all if there is none.
        share: the share of rows for validation, in (0, 1).
        seed: fixes the choice.

    Raises:
        ConfigError: if `share` is not in (0, 1).
        DataError: if no row can be spared.
    """
    if not 0 < share < 1:
        raise ConfigError(f"share={share} cannot be used. It must lie between 0 and 1.")
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    shuffled = list(members.values())
    random.Random(seed).shuffle(shuffled)
    contents = [Counter(strata[index] for index in indexes) for indexes in shuffled]
    chosen = _choose(contents, Counter(strata), share)
    if not chosen:
        what = f"no validation split can be cut off its {len(groups)} rows: none can be spared"
        raise DataError([Problem("train", what, "Give a validation split, or more rows that are not duplicates.")])
    validation = sorted(index for position in chosen for index in shuffled[position])
    taken = set(validation)
    return [index for index in range(len(groups)) if index not in taken], validation


def _choose(contents: Sequence[Counter[Hashable]], available: Counter[Hashable], share: float) -> list[int]:
    """Return the positions of the groups for validation; `contents` counts each group's rows by stratum."""
    wanted = _quotas(available, share)
    have: Counter[Hashable] = Counter()
    chosen = []
    for position, content in enumerate(contents):
        nearer = sum(
            abs(have[stratum] - wanted[stratum]) - abs(have[stratum] + number - wanted[stratum])
            for stratum, number in content.items()
        )
        if nearer > 0 and _leaves_some(content, have, available):
            have.update(content)
            chosen.append(position)
    if not chosen:  # every group is larger than what is wanted: take the smallest
        spare = [position for position, content in enumerate(contents) if _leaves_some(content, have, available)]
        chosen = [min(spare, key=lambda position: contents[position].total())] if spare else []
    return chosen


def _leaves_some(content: Counter[Hashable], have: Counter[Hashable], available: Counter[Hashable]) -> bool:
    return all(have[stratum] + number < available[stratum] for stratum, number in content.items())


def _quotas(available: Counter[Hashable], share: float) -> Mapping[Hashable, int]:
    """Return how many rows of each stratum are wanted, by the largest remainders; one at least over all."""
    exact = {stratum: share * number if number > 1 else 0.0 for stratum, number in available.items()}
    quotas = {stratum: int(number) for stratum, number in exact.items()}
    missing = max(1, round(sum(exact.values()))) - sum(quotas.values())
    for stratum in sorted(exact, key=lambda stratum: quotas[stratum] - exact[stratum])[: max(0, missing)]:
        quotas[stratum] += 1
    return quotas
