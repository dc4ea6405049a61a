"""What do the packs of dialogue look like: requests with intent and slots, and talks that ask for what is missing?"""

from __future__ import annotations

from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool

# Words in capitals are slots; the same slot stands under several intents.
REQUESTS = {
    "book_table": words.lines(
        """book a table for NUMBER people in PLACE on WEEKDAY
        i want to eat DISH in PLACE with NUMBER friends
        reserve a table for NUMBER on WEEKDAY
        find me a place in PLACE that serves DISH
        we are NUMBER and would like to have DISH on WEEKDAY""",
        """could you get NUMBER of us a table in PLACE
        can we have DISH somewhere in PLACE on WEEKDAY
        NUMBER seats on WEEKDAY please , and some DISH""",
    ),
    "get_weather": words.lines(
        """will it rain in PLACE on WEEKDAY
        what is the weather like in PLACE
        how cold does it get in PLACE on WEEKDAY
        is WEEKDAY going to be sunny
        tell me the forecast for PLACE for NUMBER days""",
        """do i need an umbrella in PLACE on WEEKDAY
        how warm will PLACE be for the next NUMBER days
        should i expect snow on WEEKDAY""",
    ),
    "play_music": words.lines(
        """play something by ARTIST
        i would like to hear ARTIST on the INSTRUMENT
        play NUMBER songs with a INSTRUMENT
        put on the new album of ARTIST
        let me listen to the INSTRUMENT of ARTIST""",
        """can i hear NUMBER pieces for the INSTRUMENT
        start the record that ARTIST made
        some music by ARTIST for WEEKDAY , please""",
    ),
}
SLOTS = {"NUMBER": "count", "PLACE": "city", "WEEKDAY": "day", "DISH": "dish", "ARTIST": "artist",
         "INSTRUMENT": "instrument"}  # fmt: skip
_FILLERS = {
    "NUMBER": Divided(words.NUMBERS, words.NUMBERS),
    "PLACE": words.PLACES,
    "WEEKDAY": Divided(words.WEEKDAYS, words.WEEKDAYS),
    "DISH": words.DISHES,
    "INSTRUMENT": words.INSTRUMENTS,
}


def intent_and_slots_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make requests in small letters with one of three intents, and up to three slots of six types.

    Forms, and names of cities, artists, dishes and instruments, of `validation` and `test` are unseen in `train`.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `tokens` (list of str), `slots` (as many tags in the IOB2 scheme) and `intent`.

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


# What the person says of each, what the system asks for it, in this order.
ASKED = {
    "DISH": (
        words.lines("i want to eat DISH\ni love DISH\nDISH please", "let us have DISH\ni feel like DISH"),
        "what would you like to eat",
    ),
    "PLACE": (words.lines("in PLACE\nsomewhere in PLACE", "it should be in PLACE"), "in which city"),
    "NUMBER": (words.lines("for NUMBER people\nwe are NUMBER", "NUMBER of us are coming"), "for how many people"),
}
OPENINGS = words.lines("hello\ngood morning\nhi there", "hey\ngood day")
GREETING = "hello , what can i do for you"


def dialogue_pack(*, train: int = 60, validation: int = 20, test: int = 20, seed: int = 0) -> Pack:
    """Make dialogues in which a system asks for what the person has not said, and then gives an order.

    What to eat, where, and for how many: the request says up to two of these, the system asks for the others, and ends
    with `search DISH PLACE NUMBER`. Words and forms of `validation` and `test` are unseen in `train`.

    Args:
        train: number of training dialogues, each of which gives 3 or 4 rows.
        validation: number of validation dialogues.
        test: number of test dialogues.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split, in order: `dialogue` (its number), `turns` (all before the response) and `response`.

    Raises:
        ConfigError: if a size is negative, or more than there are different dialogues.
    """
    drawn = build_pack(_dialogue, seed=seed, train=train, validation=validation, test=test)
    return {
        split: [
            {"dialogue": number, "turns": talk["turns"][:end], "response": talk["turns"][end]}
            for number, talk in enumerate(talks, start=1)
            for end in range(1, len(talk["turns"]), 2)
        ]
        for split, talks in drawn.items()
    }


def _dialogue(random: Random, pool: Pool, index: int) -> Row:
    """Return all turns of a dialogue, the person's and the system's in turn."""
    values = {name: random.choice(_FILLERS[name].of(pool)).lower() for name in ASKED}

    def said(name: str) -> str:
        return random.choice(ASKED[name][0].of(pool)).replace(name, values[name])

    names = list(ASKED)
    at_once = sorted(random.sample(names, random.randint(1, 2)), key=names.index)
    turns = [random.choice(OPENINGS.of(pool)), GREETING, " ".join(map(said, at_once))]
    for name in names:
        if name not in at_once:
            turns += [ASKED[name][1], said(name)]
    return {"turns": [*turns, " ".join(["search", *values.values()])]}


def _row(random: Random, pool: Pool, index: int) -> Row:
    intent = tuple(REQUESTS)[index % len(REQUESTS)]
    tokens: list[str] = []
    tags: list[str] = []
    for word in random.choice(REQUESTS[intent].of(pool)).split():
        filled = _filled(word, random, pool).lower().split()
        kind = SLOTS.get(word)
        tokens += filled
        tags += ["O"] * len(filled) if kind is None else [f"{'I' if n else 'B'}-{kind}" for n in range(len(filled))]
    for place, following in enumerate(tokens[1:]):
        if tokens[place] == "a" and words.takes_an(following):
            tokens[place] = "an"
    return {"tokens": tokens, "slots": tags, "intent": intent}


def _filled(word: str, random: Random, pool: Pool) -> str:
    """Return what stands in a slot; any other word as it is."""
    if word == "ARTIST":
        first = random.choice(words.WOMEN.of(pool) + words.MEN.of(pool))
        return f"{first} {random.choice(words.SURNAMES.of(pool))}"
    return random.choice(_FILLERS[word].of(pool)) if word in _FILLERS else word
