"""Which rows does an epoch show, so that each label is seen alike?"""

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
