"""What does the relation pack look like: sentences that state who works where, who comes from where, what is where?"""

from __future__ import annotations

from random import Random

from reasoner.errors import ConfigError
from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Pool

NONE = "no relation"
SENTENCES = words.lines(
    """works for|PER works for ORG .
    works for|ORG hired PER last year .
    works for|Since spring PER has been an engineer at ORG .
    based in|ORG has its main office in LOC .
    based in|The headquarters of ORG are in LOC .
    born in|PER was born in LOC .
    born in|PER comes from LOC .
    born in|LOC is the birthplace of PER .
    works in|PER works in LOC .
    works in|Every day PER goes to an office in LOC .
    no relation|PER wrote a long letter to ORG .
    no relation|On Monday PER flew to LOC .
    no relation|ORG sold a building in LOC .""",
    """works for|At ORG , PER works for the director .
    works for|PER was hired by ORG in May .
    based in|The main office of ORG is in LOC .
    born in|In LOC , PER was born long ago .
    works in|Each morning PER takes the bus to work in LOC .
    no relation|PER read about ORG on the way home .
    no relation|PER spent a week in LOC .""",
)
"""Before the bar the relation from the first to the second of the types that `SIDES` gives."""
SIDES = {"works for": ("PER", "ORG"), "based in": ("ORG", "LOC"), "born in": ("PER", "LOC"), "works in": ("PER", "LOC")}


def relation_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make sentences with two entities, one marked as head and one as tail, and the relation that is stated.

    Relations are `works for`, `works in`, `based in` and `born in`; `no relation` where none is stated, or only the
    other way round. Names and sentences of `validation` and `test` are unseen in
    `train`. The rows are rows for `ner` too.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `text`, `head` and `tail` (`[start, end]`, in characters), `label`, and `entities` (a
        list of `{"start", "end", "label"}` of the types PER, ORG and LOC).

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def told_world(*, people: int = 24, companies: int = 4, untold: int = 4, seed: int = 0) -> Pack:
    """Make a small world and the sentences that tell of it, in words that `train` of the relation pack never uses.

    Each company is based in one place, each person works for one company, and so works in its place; of `untold`
    people no sentence says the last. It follows from two others.

    Args:
        people: how many.
        companies: how many; each has a place of its own.
        untold: of how many people it is not told where they work.
        seed: the same seed gives the same world.

    Returns:
        `told`, the rows `{"text", "head", "relation", "tail"}`, and `untold`, the same without a text.

    Raises:
        ConfigError: if there are fewer names than are asked for, or fewer people than untold ones.
    """
    firms = [f"{company} Group" for company in words.COMPANIES.held_out]
    firsts, lasts = words.WOMEN.held_out + words.MEN.held_out, words.SURNAMES.held_out
    if not 0 < companies <= len(firms) or not 0 <= untold <= people <= min(len(firsts), len(lasts)):
        most = f"{len(firms)} companies and {min(len(firsts), len(lasts))} people"
        raise ConfigError(f"The world has at most {most}, at least one company, and no more untold than people.")
    random = Random(f"world {seed}")
    firms, places = random.sample(firms, companies), random.sample(words.PLACES.held_out, companies)
    names = [
        f"{first} {last}"
        for first, last in zip(random.sample(firsts, people), random.sample(lasts, people), strict=True)
    ]
    facts = [(firm, "based in", place) for firm, place in zip(firms, places, strict=True)]
    secret: list[tuple[str, str, str]] = []
    for number, person in enumerate(names):
        firm = number % companies
        facts.append((person, "works for", firms[firm]))
        (secret if number >= people - untold else facts).append((person, "works in", places[firm]))
    told = [{"text": _told(fact, random), **_triple(fact)} for fact in facts]
    random.shuffle(told)
    return {"told": told, "untold": [_triple(fact) for fact in secret]}


def _triple(fact: tuple[str, str, str]) -> Row:
    return dict(zip(("head", "relation", "tail"), fact, strict=True))


def _told(fact: tuple[str, str, str], random: Random) -> str:
    """Return a sentence that states a fact."""
    head, relation, tail = fact
    form = random.choice([form for form in SENTENCES.held_out if form.startswith(f"{relation}|")]).partition("|")[2]
    first, second = SIDES[relation]
    return " ".join({first: head, second: tail}.get(word, word) for word in form.split())


def _row(random: Random, pool: Pool, index: int) -> Row:
    relation, _, form = random.choice(SENTENCES.of(pool)).partition("|")
    text, entities = "", []
    for word in form.split():
        filled = _name(word, random, pool)
        start = len(text) + bool(text)
        text = f"{text} {filled}".strip()
        if word in ("PER", "ORG", "LOC"):
            entities.append({"start": start, "end": len(text), "label": word})
    ordered = entities if relation == NONE or entities[0]["label"] == SIDES[relation][0] else entities[::-1]
    if turned := random.random() < 0.2:
        ordered = ordered[::-1]
    head, tail = ([entity["start"], entity["end"]] for entity in ordered)
    return {"text": text, "head": head, "tail": tail, "label": NONE if turned else relation, "entities": entities}


def _name(word: str, random: Random, pool: Pool) -> str:
    if word == "PER":
        first = random.choice(words.WOMEN.of(pool) + words.MEN.of(pool))
        return f"{first} {random.choice(words.SURNAMES.of(pool))}"
    if word == "ORG":
        return f"{random.choice(words.COMPANIES.of(pool))} {random.choice(('Group', 'Ltd', 'Systems'))}"
    return random.choice(words.PLACES.of(pool)) if word == "LOC" else word
