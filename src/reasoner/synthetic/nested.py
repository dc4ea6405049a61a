"""What does the nested NER pack look like: names inside of names, up to three deep?"""

from __future__ import annotations

from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool

# Words in capitals are slots; what a slot of `FORMS` is filled with is an entity inside of the entity.
SENTENCES = words.lines(
    """PER met PER at ORG on MONTH DAY .
    PER works as a JOB at ORG .
    ORG hired PER in YEAR .
    ORG and ORG signed the THING in LOC .
    The THING was sent from LOC to ORG .
    PER left ORG to become a JOB .
    PER was born in LOC .
    In YEAR ORG bought NUMBER THINGS .
    We saw PER near LOC .
    ORG denied the story of PER .
    The JOB told PER that the THING was QUALITY .
    The university sold a QUALITY THING to the JOB .
    The president of the bank wrote to a JOB .
    Heavy rain fell over LOC .""",
    """Last year PER moved to LOC with PER .
    A spokesman for ORG said that PER had left .
    PER , the new JOB of ORG , arrived in LOC .
    ORG gave PER a QUALITY THING .
    Nobody at ORG knew the JOB .
    Both LOC and LOC were flooded .
    According to ORG , the THING is QUALITY .
    The department of the hospital lost NUMBER THINGS .
    The mayor and a JOB opened the QUALITY museum .""",
)
FORMS: dict[str, tuple[str, ...]] = {
    "PER": ("FIRST SURNAME", "FIRST SURNAME", "President FIRST SURNAME of ORG", "Mayor FIRST SURNAME of CITY"),
    "ORG": ("SCHOOL", "COMPANY", "UNIT of the SCHOOL", "Bank of CITY", "CITY City Council", "HALL Hospital"),
    "LOC": ("CITY", "CITY Airport", "Port of CITY"),
    "SCHOOL": ("University of CITY", "COMPANY Academy"),
    "HALL": ("CITY University",),
    "CITY": ("PLACE",),
}
"""How names are built: the same in all splits, for it is what is to be learned; the words in them are held out."""
TYPES = {"PER": "PER", "ORG": "ORG", "LOC": "LOC", "SCHOOL": "ORG", "HALL": "ORG", "CITY": "LOC"}
UNITS = ("Department of Physics", "Faculty of Law", "School of Medicine", "Office of Planning")

Found = list[tuple[int, int, str]]
"""Entities as (first word, word after the last, type)."""


def nested_ner_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make a NER pack with nested entities of the types PER, ORG and LOC.

    `Department of Physics of the University of Oslo` is an organisation that holds another, which holds a place. Names
    of `validation` and `test`, and their sentences, are unseen in `train`.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `text` and `entities` (a list of `{"start", "end", "label"}`, in characters).

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def _row(random: Random, pool: Pool, index: int) -> Row:
    tokens, found = _filled(random.choice(SENTENCES.of(pool)), random, pool)
    starts = [sum(len(token) + 1 for token in tokens[:number]) for number in range(len(tokens))]
    entities = [
        {"start": starts[first], "end": starts[last - 1] + len(tokens[last - 1]), "label": kind}
        for first, last, kind in sorted(found, key=lambda span: (span[0], -span[1], span[2]))
    ]
    return {"text": " ".join(tokens), "entities": entities}


def _filled(form: str, random: Random, pool: Pool) -> tuple[list[str], Found]:
    """Return the words of a form, its slots filled, and the entities in it."""
    tokens: list[str] = []
    found: Found = []
    for slot in form.split():
        begin = len(tokens)
        if slot in FORMS:
            inside, deeper = _filled(random.choice(FORMS[slot]), random, pool)
            tokens += inside
            found += [(begin + first, begin + last, kind) for first, last, kind in deeper]
            found.append((begin, len(tokens), TYPES[slot]))
        else:
            tokens += (random.choice(_SLOTS[slot].of(pool)) if slot in _SLOTS else slot).split()
    # A place alone is one place, though the forms of LOC and CITY both make it one.
    return tokens, list(dict.fromkeys(found))


_SLOTS: dict[str, Divided[str]] = {
    "FIRST": Divided(words.WOMEN.train + words.MEN.train, words.WOMEN.held_out + words.MEN.held_out),
    "SURNAME": words.SURNAMES,
    "PLACE": words.PLACES,
    "COMPANY": words.COMPANIES,
    "UNIT": Divided(UNITS, UNITS),
    "JOB": words.JOBS,
    "THING": words.THINGS,
    "THINGS": Divided(tuple(f"{thing}s" for thing in words.THINGS.train),
                      tuple(f"{thing}s" for thing in words.THINGS.held_out)),
    "QUALITY": words.QUALITIES,
    "NUMBER": Divided(words.NUMBERS, words.NUMBERS),
    "YEAR": words.YEARS,
    "MONTH": Divided(words.MONTHS, words.MONTHS),
    "DAY": Divided(tuple(map(str, range(1, 29))), tuple(map(str, range(1, 29)))),
}  # fmt: skip
