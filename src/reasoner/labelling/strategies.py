"""Which rows to take of many: the most doubtful, the most different, or some of both?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reasoner.vectors import Vectors

STRATEGIES = ("both", "uncertainty", "diversity", "random")
FILTER = 10
"""Of how many doubtful rows for each that is wanted clusters are made (Zhdanov, 2019, section 3)."""


class Pick(NamedTuple):
    """A row that was chosen, by its number, and why."""

    row: int
    why: str


def most_doubtful(doubts: Sequence[float], number: int) -> list[Pick]:
    """Return the rows of the highest doubt, the highest first."""
    order = sorted(range(len(doubts)), key=lambda row: -doubts[row])
    return [Pick(row, f"number {place} of {len(doubts)} by doubt") for place, row in enumerate(order[:number], start=1)]


def at_random(rows: int, number: int, *, seed: int) -> list[Pick]:
    """Return rows drawn without looking at them."""
    drawn = np.random.default_rng(seed).permutation(rows)[:number].tolist()
    return [Pick(row, "drawn at random") for row in drawn]


def farthest_first(vectors: Vectors, number: int, *, known: Vectors | None = None) -> list[Pick]:
    """Return each time the row that is farthest from all that are known or chosen: greedy k-center.

    So no row of the pool stays far from a labelled one (Sener & Savarese, 2018, https://arxiv.org/abs/1708.00489;
    Gonzalez, 1985). Without known rows the first is the one that is nearest to the mean.

    Args:
        vectors: (rows, width) of the pool.
        number: how many.
        known: (known rows, width), of those that have labels.
    """
    distance = np.full(len(vectors), np.inf)
    for vector in () if known is None else known:
        distance = np.minimum(distance, _distances(vectors, vector))
    picks: list[Pick] = []
    chosen = np.zeros(len(vectors), bool)
    for _ in range(min(number, len(vectors))):
        if np.isinf(distance).all():
            row, why = int(_distances(vectors, vectors.mean(0)).argmin()), "nearest to the mean of all rows"
        else:
            row = int(np.where(chosen, -1.0, distance).argmax())
            why = f"{distance[row]:.2f} from the nearest row that is labelled or chosen"
        picks.append(Pick(row, why))
        chosen[row] = True
        distance = np.minimum(distance, _distances(vectors, vectors[row]))
    return picks


def doubtful_and_different(vectors: Vectors, doubts: Sequence[float], number: int, *, seed: int) -> list[Pick]:
    """Return the rows nearest to the centres of clusters of the most doubtful ones.

    After Zhdanov (2019, https://arxiv.org/abs/1901.05954): of the pool the most doubtful rows, ten for each that is
    wanted; on these k-means, each row weighed by its doubt; of each cluster the row nearest to its centre.

    Args:
        vectors: (rows, width) of the pool.
        doubts: one a row.
        number: how many.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans

    number = min(number, len(vectors))
    kept = np.array([pick.row for pick in most_doubtful(doubts, FILTER * number)])
    weights = np.array(doubts)[kept] + 1e-6  # not all of them 0
    different = len(np.unique(vectors[kept], axis=0))
    clusters = KMeans(min(number, different), n_init=1, random_state=seed).fit(vectors[kept], sample_weight=weights)
    picks = []
    for centre in range(clusters.n_clusters):
        members = np.flatnonzero(clusters.labels_ == centre)
        if len(members):
            nearest = members[_distances(vectors[kept[members]], clusters.cluster_centers_[centre]).argmin()]
            picks.append(Pick(int(kept[nearest]), f"stands for {len(members)} of the {len(kept)} most doubtful rows"))
    picks.sort(key=lambda pick: -doubts[pick.row])
    taken = {pick.row for pick in picks}
    spare = [row for row in kept.tolist() if row not in taken][: number - len(picks)]
    return [*picks, *(Pick(row, "doubtful; all that differ from it are taken") for row in spare)]


def _distances(vectors: Vectors, one: Vectors) -> Vectors:
    """Return how far one vector is from each, (rows,)."""
    found: Vectors = np.linalg.norm(vectors - one, axis=1)
    return found
