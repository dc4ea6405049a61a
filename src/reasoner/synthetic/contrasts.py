"""What do sets of inference rows look like that differ in one respect, and in what is right?"""

from __future__ import annotations

from random import Random

from reasoner.errors import ConfigError
from reasoner.synthetic.inference import LABELS, PHENOMENA, choices_of, sentence
from reasoner.synthetic.packs import PATIENCE, Pack, Row

CHANGES = {"negation": "negation", "number": "number", "passive": "role swap"}
"""Phenomena of the NLI pack whose premises under the three labels differ by what the second name says."""


def contrast_pack(*, sets: int = 60, seed: int = 0) -> Pack:
    """Make contrast sets for inference (Gardner et al., 2020, https://arxiv.org/abs/2004.02709), of our own words.

    A set has one hypothesis and three premises, one a label, which differ in a negation, in a number, or in who did
    what to whom; the labels are computed by going through possible worlds, as in `nli_pack`. Words and templates are
    those of its held-out part.

    Args:
        sets: how many, in turn of each change.
        seed: the same seed gives the same rows.

    Returns:
        One split, "test": `premise`, `hypothesis`, `label`, `set` (which set a row is of) and `change`.

    Raises:
        ConfigError: if it is no number from 1 up, or there are not so many different sets.
    """
    if not isinstance(sets, int) or isinstance(sets, bool) or sets < 1:
        raise ConfigError(f"sets is {sets!r}. Give a whole number of at least 1.")
    random = Random(f"{seed} contrast")
    rows: list[Row] = []
    seen: set[str] = set()
    while len(rows) < sets * len(LABELS):
        kind = tuple(CHANGES)[len(rows) // len(LABELS) % len(CHANGES)]
        for _ in range(PATIENCE):
            made = _set(kind, random)
            if (key := "".join(sorted(row["premise"] for row in made))) not in seen:
                break
        else:
            raise ConfigError(f"sets={sets} cannot be reached: there are no more different ones of '{kind}'.")
        seen.add(key)
        rows += [{**row, "set": f"{CHANGES[kind]} {len(rows) // len(LABELS) + 1}"} for row in made]
    return {"test": rows}


def _set(kind: str, random: Random) -> list[Row]:
    """Return a premise for each label of one hypothesis, all with the same words."""
    hypothesis, premises = random.choice(choices_of(kind, "held_out"))
    slots = PHENOMENA[kind].slots(random, "held_out")
    said = sentence(hypothesis, slots)
    return [
        {"premise": sentence(random.choice(premises[label]), slots), "hypothesis": said, "label": label,
         "change": CHANGES[kind]}
        for label in LABELS
    ]  # fmt: skip
