"""What does the multiple-choice pack look like: questions on family and order whose answer takes two steps?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Pool, lines


def multiple_choice_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make a multiple-choice pack: every other row on kinship, every other on order (taller, older ...).

    The context tells 3-5 facts; the answer follows from at least two of them. There are 2-5 choices, all named in the
    context, the right one at a random place. Names and templates of `validation` and `test` are unseen in `train`.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `question`, `context`, `choices` (list of str) and `label` (position of the answer).

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def _row(random: Random, pool: Pool, index: int) -> Row:
    return (_order_row if index % 2 else _kinship_row)(random, pool)


def _finished(random: Random, question: str, facts: list[str], answer: str, wrong: Sequence[str]) -> Row:
    """Draw the number of choices and their order, and put the row together."""
    number = random.randint(1, min(4, len(wrong)))
    choices = [answer, *random.sample(wrong, number)]
    random.shuffle(choices)
    random.shuffle(facts)
    return {"question": question, "context": " ".join(facts), "choices": choices, "label": choices.index(answer)}


# --- Kinship ----------------------------------------------------------------------------------------------------------


@dataclass
class Family:
    """Three generations: who is a woman, who are whose parents, who is married to whom."""

    female: dict[str, bool] = field(default_factory=dict)
    parents: dict[str, tuple[str, str]] = field(default_factory=dict)
    spouse: dict[str, str] = field(default_factory=dict)

    def linked(self, path: tuple[str, ...], name: str) -> list[str]:
        """Return who is linked to a person; `("sibling", "parent")` gives the siblings of the parents."""
        reached = [name]
        for link in reversed(path):
            reached = [one for middle in reached for one in self._linked(link, middle)]
        return reached

    def _linked(self, link: str, name: str) -> list[str]:
        if link == "parent":
            return list(self.parents.get(name, ()))
        if link == "child":
            return [child for child, parents in self.parents.items() if name in parents]
        if link == "spouse":
            return [self.spouse[name]] if name in self.spouse else []
        same = self.parents.get(name)
        return [one for one, parents in self.parents.items() if parents == same and one != name]


ROLES = {
    "parent": ("father", "mother"),
    "child": ("son", "daughter"),
    "sibling": ("brother", "sister"),
    "spouse": ("husband", "wife"),
}
"""Link -> its word for a man and for a woman."""
INVERSE = {"parent": "child", "child": "parent", "sibling": "sibling", "spouse": "spouse"}

TWO_STEPS = {
    ("parent", "parent"): ("grandfather", "grandmother"),
    ("child", "child"): ("grandson", "granddaughter"),
    ("sibling", "parent"): ("uncle", "aunt"),
    ("child", "sibling"): ("nephew", "niece"),
    ("parent", "spouse"): ("father-in-law", "mother-in-law"),
    ("sibling", "spouse"): ("brother-in-law", "sister-in-law"),
    ("spouse", "child"): ("son-in-law", "daughter-in-law"),
}
"""Path -> its word for a man and for a woman: the sibling of a parent is an uncle or an aunt."""
ALL_PATHS: dict[tuple[str, ...], list[tuple[str, ...]]] = {
    ("sibling", "parent"): [("sibling", "parent"), ("spouse", "sibling", "parent")],
    ("child", "sibling"): [("child", "sibling"), ("child", "sibling", "spouse")],
    ("sibling", "spouse"): [("sibling", "spouse"), ("spouse", "sibling"), ("spouse", "sibling", "spouse")],
}
"""Every path that goes by the same word, where there are several. Who is on one is never offered as a wrong choice."""

KINSHIP_FACTS = lines(
    """{one} is {other}'s {role}.
    {one} is the {role} of {other}.""",
    """{other}'s {role} is {one}.
    The {role} of {other} is called {one}.""",
)
KINSHIP_QUESTIONS = lines("Who is {other}'s {role}?", "What is the name of the {role} of {other}?")

Link = tuple[str, str, str]
"""(one, link, other): one is the link of the other."""


def _kinship_row(random: Random, pool: Pool) -> Row:
    family = _family(random, pool)
    path = random.choice(tuple(TWO_STEPS))
    first, second = path
    other = random.choice([name for name in family.female if family.linked(path, name)])
    middle = random.choice([name for name in family.linked((second,), other) if family.linked((first,), name)])
    one = random.choice(family.linked((first,), middle))
    told: list[Link] = [
        (one, first, middle),
        random.choice([(middle, second, other), (other, INVERSE[second], middle)]),
    ]
    told += _more_links(family, told, random.randint(1, 3), random)
    alike = {
        name
        for way in ALL_PATHS.get(path, [path])
        for name in family.linked(way, other)
        if family.female[name] == family.female[one]
    }
    wrong = [name for name in _named(told) if name not in alike and name != other]
    question = random.choice(KINSHIP_QUESTIONS.of(pool))
    facts = [
        random.choice(KINSHIP_FACTS.of(pool)).format(one=a, other=b, role=ROLES[link][family.female[a]])
        for a, link, b in told
    ]
    role = TWO_STEPS[path][family.female[one]]
    return _finished(random, question.format(other=other, role=role), facts, one, wrong)


def _family(random: Random, pool: Pool) -> Family:
    """Make a couple with three married children, and one or two children in each of those marriages."""
    family = Family()
    names = {True: list(words.WOMEN.of(pool)), False: list(words.MEN.of(pool))}

    def person(female: bool) -> str:
        name = names[female].pop(random.randrange(len(names[female])))
        family.female[name] = female
        return name

    def couple(one: str) -> tuple[str, str]:
        spouse = person(not family.female[one])
        family.spouse |= {one: spouse, spouse: one}
        return one, spouse

    old = couple(person(True))
    for _ in range(3):
        child = person(random.random() < 0.5)
        family.parents[child] = old
        pair = couple(child)
        for _ in range(random.randint(1, 2)):
            family.parents[person(random.random() < 0.5)] = pair
    return family


def _more_links(family: Family, told: list[Link], number: int, random: Random) -> list[Link]:
    """Draw more true facts, each on somebody who is already named and no two on the same pair."""
    more: list[Link] = []
    while len(more) < number:
        b = random.choice(_named([*told, *more]))
        link = random.choice(tuple(ROLES))
        near = family.linked((link,), b)
        pairs = [{one, other} for one, _, other in [*told, *more]]
        if near and {b, a := random.choice(near)} not in pairs:
            more.append(random.choice([(a, link, b), (b, INVERSE[link], a)]))
    return more


def _named(told: list[Link]) -> list[str]:
    return list(dict.fromkeys(name for one, _, other in told for name in (one, other)))


# --- Order ------------------------------------------------------------------------------------------------------------

ORDER_FACTS = lines(
    """{one} is {more} than {other}.
    {other} is {less} than {one}.""",
    """Compared with {other}, {one} is {more}.
    Of {one} and {other}, the {less} one is {other}.""",
)
RANK_QUESTIONS = lines(
    """Who is the {rank}?
    Which person is the {rank}?""",
    """Who of all of them is the {rank}?
    What is the name of the {rank} person?""",
)
BETWEEN_QUESTIONS = lines(
    "Who is {less} than {high} but {more} than {low}?", "Who comes right between {high} and {low}?"
)


def _order_row(random: Random, pool: Pool) -> Row:
    more, less, most, least = random.choice(words.ORDERS.of(pool))
    people = random.sample(words.WOMEN.of(pool) + words.MEN.of(pool), random.randint(4, 6))  # the {most} first
    facts = [
        random.choice(ORDER_FACTS.of(pool)).format(one=one, other=other, more=more, less=less)
        for one, other in pairwise(people)
    ]
    ranks = {0: most, 1: f"second {most}", len(people) - 2: f"second {least}", len(people) - 1: least}
    if random.random() < 0.25:
        place = random.randrange(1, len(people) - 1)
        high, low = people[place - 1], people[place + 1]
        question = random.choice(BETWEEN_QUESTIONS.of(pool)).format(more=more, less=less, high=high, low=low)
    else:
        place = random.choice(tuple(ranks))
        question = random.choice(RANK_QUESTIONS.of(pool)).format(rank=ranks[place])
    wrong = [name for name in people if name != people[place]]
    return _finished(random, question, facts, people[place], wrong)
