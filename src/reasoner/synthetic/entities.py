"""What does the NER pack look like: sentences with people, places, organisations, dates, and what resembles them?"""

from __future__ import annotations

from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool

# Words in capitals are slots. The sentences without entities hold what looks like one: `may`, `bank`, a bare number.
SENTENCES = words.lines(
    """PER met PER in LOC on DATE .
    PER works as a JOB in LOC .
    PER , a JOB from LOC , joined ORG in DATE .
    ORG opened a new office in LOC on DATE .
    ORG hired PER in DATE .
    The JOB told PER that the THING was QUALITY .
    On DATE PER flew from LOC to LOC .
    PER and PER visited LOC .
    ORG was sued by ORG in DATE .
    " The THING is QUALITY , " said PER of ORG .
    PER left ORG to become a JOB .
    The people of LOC still remember PER .
    The headquarters of ORG are in LOC .
    ORG bought NUMBER THINGS from ORG .
    PER was born in LOC on DATE .
    In DATE the JOB moved from LOC to LOC .
    Shares of ORG fell on DATE .
    PER , who leads ORG , lives near LOC .
    A JOB named PER repaired the THING .
    On DATE the THING arrived in LOC .
    ORG denied the story .
    PER did not answer the QUALITY letter .
    Heavy rain fell over LOC on DATE .
    The road between LOC and LOC is closed .
    PER asked PER about the THING .
    The JOB has lived in LOC since DATE .
    ORG and ORG signed the THING in LOC .
    PER studied in LOC until DATE .
    We saw PER at the market .
    He sent the THING to ORG .
    May I borrow the QUALITY THING of the JOB ?
    The JOB may find the THING QUALITY .
    The bank sold NUMBER THINGS to a JOB .
    A JOB in the city council called the THING QUALITY .
    They will march to the university with a QUALITY THING .
    The JOB counted YEAR THINGS and NUMBER boxes .
    Sales of the QUALITY THING rose by NUMBER percent .
    The brothers of the JOB lost a THING near the lake .
    Young people think that the THING is QUALITY .
    Every JOB in the street owns a QUALITY THING .""",
    """Last time , PER took the train to LOC with PER .
    By DATE , ORG had moved to LOC .
    PER resigned from ORG on DATE .
    According to PER , the THING from LOC is QUALITY .
    A spokesman for ORG said that PER had left LOC .
    Since DATE , PER has been the best JOB in LOC .
    ORG will merge with ORG , the JOB said .
    The trial of PER begins on DATE in LOC .
    PER married PER in DATE .
    After years in LOC , PER returned to LOC .
    ORG gave PER a QUALITY THING .
    Nobody at ORG knew the JOB .
    It snowed in LOC on DATE .
    Neither PER nor PER had heard of ORG .
    The THING was found near LOC by a JOB .
    PER lost the THING .
    The new director of ORG is PER .
    Fans of ORG travelled to LOC .
    Both LOC and LOC were flooded in DATE .
    PER wrote to the JOB on DATE .
    PER of ORG met PER in LOC .
    PER , born in LOC , sold ORG to PER .
    May the QUALITY JOB keep the THING ?
    The river bank may be QUALITY , said the JOB .
    The JOB wants to study at a university and buy a QUALITY THING .
    He paid YEAR coins for NUMBER THINGS and a THING .
    A united group of NUMBER THINGS opened the museum .
    Banks lend the JOB money for a QUALITY THING .
    The JOB cooks at the lake while NUMBER THINGS wait .""",
)
PERSON_FORMS = (
    ("FIRST SURNAME",) * 5 + ("FIRST",) * 2 + ("INITIAL . SURNAME", "Dr SURNAME", "Mrs SURNAME", "Mr SURNAME")
)
DATE_FORMS: Divided[tuple[str, ...]] = Divided(
    (
        ("YEAR", "MONTH YEAR", "the summer of YEAR", "MONTH"),
        ("WEEKDAY", "DAY MONTH", "DAY MONTH YEAR", "MONTH DAY , YEAR", "WEEKDAY , DAY MONTH"),
    ),
    (
        ("YEAR", "MONTH YEAR", "the autumn of YEAR", "early MONTH YEAR", "MONTH"),
        ("WEEKDAY", "DAY MONTH", "DAY MONTH YEAR", "MONTH DAY", "WEEKDAY , MONTH DAY"),
    ),
)
"""Two lists: what follows `in` or `since`, and what follows `on` or `by`."""
TITLES = ("Dr", "Mrs", "Mr")

Tagged = list[tuple[str, str]]


def ner_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make a NER pack: sentences with 0-4 entities of the types PER, LOC, ORG and DATE.

    Names and sentences of `validation` and `test` are unseen in `train`. The same word may be a person, a place or a
    part of an organisation (`Paris`, `University of Paris`), a month or a name (`May`), so the context decides.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `tokens` (list of str) and `ner_tags` (as many tags in the IOB2 scheme).

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def _row(random: Random, pool: Pool, index: int) -> Row:
    tagged: Tagged = []
    before = ""
    for token in random.choice(SENTENCES.of(pool)).split():
        tagged += entity(token, before, random, pool) if token in _ENTITY_TYPES else [(word(token, random, pool), "O")]
        before = token
    tokens = with_articles([token for token, _ in tagged])
    return {"tokens": tokens, "ner_tags": [tag for _, tag in tagged]}


def with_articles(tokens: list[str]) -> list[str]:
    """Return the words with "a" and "an" as they should be."""
    return [
        token + "n" if token in ("a", "A") and following and words.takes_an(following) else token
        for token, following in zip(tokens, [*tokens[1:], ""], strict=True)
    ]


_ENTITY_TYPES = ("PER", "LOC", "ORG", "DATE")


def entity(kind: str, before: str, random: Random, pool: Pool) -> Tagged:
    """Return an entity of this type with its tags, and its title without one; `before` is the word before it."""
    if kind == "PER":
        form = random.choice(PERSON_FORMS)
    elif kind == "DATE":
        form = random.choice(DATE_FORMS.of(pool)[before.lower() in ("on", "by")])
    else:
        form = random.choice((words.PLACE_FORMS if kind == "LOC" else words.ORGANISATION_FORMS).of(pool))
    tokens = " ".join(word(token, random, pool) for token in form.split()).split()
    titled = tokens[0] in TITLES  # As in CoNLL-2003, the title is not a part of the name.
    inside = tokens[titled:]
    return [(token, "O") for token in tokens[:titled]] + [
        (token, f"{'I' if position else 'B'}-{kind}") for position, token in enumerate(inside)
    ]


def word(token: str, random: Random, pool: Pool) -> str:
    """Fill a slot below the entities with one word (a place may be several), and give any other token back."""
    if token == "FIRST":
        return random.choice(random.choices(_FIRST_NAMES, weights=(4, 4, 2, 1))[0].of(pool))
    if token == "LOC":
        return random.choice(random.choices(_PLACE_NAMES, weights=(3, 1))[0].of(pool))
    if token == "THINGS":
        return random.choice(words.THINGS.of(pool)) + "s"
    if token == "INITIAL":
        return random.choice("ABCDEFGHJKLMNPRSTW")
    if token == "DAY":
        return str(random.randint(1, 28))
    return random.choice(_SLOTS[token].of(pool)) if token in _SLOTS else token


_FIRST_NAMES = (words.WOMEN, words.MEN, words.NAMES_LIKE_PLACES, words.NAMES_LIKE_MONTHS)
_PLACE_NAMES = (words.PLACES, words.NAMES_LIKE_PLACES)
_SLOTS: dict[str, Divided[str]] = {
    "SURNAME": words.SURNAMES,
    "COMPANY": words.COMPANIES,
    "JOB": words.JOBS,
    "THING": words.THINGS,
    "QUALITY": words.QUALITIES,
    "YEAR": words.YEARS,
    "MONTH": Divided(words.MONTHS, words.MONTHS),
    "WEEKDAY": Divided(words.WEEKDAYS, words.WEEKDAYS),
    "NUMBER": Divided(words.NUMBERS, words.NUMBERS),
}
