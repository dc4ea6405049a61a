"""What does the link prediction pack look like: things whose texts say what they are linked to?"""

from __future__ import annotations

from random import Random

from reasoner.errors import ConfigError
from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack

RELATIONS = ("works as", "comes from", "has family name")


def link_prediction_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make triples about people, whose texts ("Maria Silva, a nurse from Oslo") say job, place and family name.

    So every triple follows from the texts, and no triple stands in two splits; but each person of `validation` and
    `test` may be known from other triples.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `head`, `relation` and `tail`.

    Raises:
        ConfigError: if a size is negative.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    if min(sizes.values()) < 0:
        raise ConfigError("A split of link_prediction_pack has fewer than 0 rows. Give whole numbers from 0 up.")
    random = Random(f"links {seed}")
    people: dict[str, tuple[str, str, str]] = {}
    jobs, places = words.JOBS.train[:12], words.PLACES.train[:12]
    names = [f"{first} {last}" for first in words.WOMEN.train + words.MEN.train for last in words.SURNAMES.train]
    needed = -(-sum(sizes.values()) // len(RELATIONS))
    if needed > len(names):
        raise ConfigError(f"There are {len(names)} names, so at most {len(names) * len(RELATIONS)} rows in all.")
    for name in random.sample(names, needed):
        job, place = random.choice(jobs), random.choice(places)
        people[f"{name}, {words.with_article(job)} from {place}"] = (job, place, name.split(maxsplit=1)[1])
    rows = [
        {"head": person, "relation": relation, "tail": tail}
        for person, tails in people.items()
        for relation, tail in zip(RELATIONS, tails, strict=True)
    ]
    random.shuffle(rows)
    pack: Pack = {}
    first = 0
    for split, size in sizes.items():
        pack[split] = rows[first : first + size]
        first += size
    return pack
