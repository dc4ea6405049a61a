"""Which rows does an epoch show: each label alike, or some of the old rows beside the new ones?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from reasoner.data.feature_file import Ints


def strata_of(labels: Sequence[Sequence[str]]) -> list[str]:
    """Return one label a row to balance by: of several the one that the fewest rows have; "" where there is none.

    Args:
        labels: of each row.
    """
    counts = Counter(name for names in labels for name in set(names))
    return [min(names, key=lambda name: (counts[name], name)) if names else "" for names in labels]


def replayed_order(examples: Ints, first_old: int, drawn: int, generator: torch.Generator) -> Ints:
    """Return the new rows and so many of the old ones, drawn at random without repeats, all in random order.

    Args:
        examples: (rows,), the number of each row's example; an example is drawn with all its rows.
        first_old: the number of the first old example; all after it are old.
        drawn: how many old examples; where there are fewer, all of them.
        generator: of random numbers.
    """
    old = np.unique(examples[examples >= first_old])
    chosen = old[torch.randperm(len(old), generator=generator).numpy()[:drawn]]
    kept = np.flatnonzero((examples < first_old) | np.isin(examples, chosen))
    order: Ints = kept[torch.randperm(len(kept), generator=generator).numpy()]
    return order


def balanced_order(strata: Ints, generator: torch.Generator) -> Ints:
    """Return as many rows as there are, in random order, as many of each stratum (to within one).

    No row comes a second time before all of its stratum have come once. Of a stratum with more rows than its share some
    are left out, other ones in each epoch.

    Args:
        strata: (rows,), the number of each row's stratum.
        generator: of random numbers.
    """
    names = np.unique(strata)
    share, more = divmod(len(strata), len(names))
    drawn = []
    for place, name in enumerate(names[torch.randperm(len(names), generator=generator).numpy()]):
        rows, wanted = np.flatnonzero(strata == name), share + (place < more)
        orders = [torch.randperm(len(rows), generator=generator).numpy() for _ in range(-(-wanted // len(rows)))]
        drawn.append(rows[np.concatenate([*orders, np.zeros(0, np.int64)])[:wanted]])
    together = np.concatenate(drawn)
    order: Ints = together[torch.randperm(len(together), generator=generator).numpy()]
    return order
