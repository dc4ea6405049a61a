"""What does the QA pack look like: short texts on three people, where the wrong person has the same sort of fact?"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool, lines


@dataclass(frozen=True)
class Relation:
    """A sort of fact on a person, told and asked in several ways."""

    values: Divided[str]
    told: Divided[str]
    """Statements with `{person}` and `{value}` (or `{a_value}`, with its article)."""
    asked: Divided[str]
    """Questions on the value."""
    asked_back: Divided[str]
    """Questions on the person."""


@dataclass(frozen=True)
class Fact:
    """A person, the position of a relation in `RELATIONS`, and its value."""

    person: str
    relation: int
    value: str


# Two by two: a relation and the one after it have values of the same sort, and neither follows from the other.
RELATIONS = (
    Relation(
        words.PLACES,
        lines(
            """{person} was born in {value}
            {value} is the birthplace of {person}""",
            """It was in {value} that {person} came into the world
            {person} is a native of {value}""",
        ),
        lines(
            """Where was {person} born?
            In which place was {person} born?""",
            """What is the birthplace of {person}?
            Which place is {person} a native of?""",
        ),
        lines("Who was born in {value}?", "Who is a native of {value}?"),
    ),
    Relation(
        words.PLACES,
        lines(
            """{person} now lives in {value}
            The home of {person} is in {value}""",
            """{person} resides in {value} these days
            {value} is where {person} has a flat""",
        ),
        lines(
            """Where does {person} live now?
            In which place is the home of {person}?""",
            """Where does {person} reside?
            In which place does {person} have a flat?""",
        ),
        lines("Who lives in {value} now?", "Who has a flat in {value}?"),
    ),
    Relation(
        words.COMPANIES,
        lines(
            """{person} works for {value}
            {value} employs {person}""",
            """{person} has a job at {value}
            The employer of {person} is {value}""",
        ),
        lines(
            """Which company does {person} work for?
            Who employs {person}?""",
            """At which firm does {person} have a job?
            What is the employer of {person}?""",
        ),
        lines("Who works for {value}?", "Who has a job at {value}?"),
    ),
    Relation(
        words.COMPANIES,
        lines(
            """{person} owns shares of {value}
            {person} put some money into {value}""",
            """{person} is a shareholder of {value}
            {value} counts {person} among its investors""",
        ),
        lines(
            """Which company does {person} own shares of?
            What did {person} put money into?""",
            """Which firm has {person} as a shareholder?
            Which firm did {person} invest in?""",
        ),
        lines("Who owns shares of {value}?", "Who invested in {value}?"),
    ),
    Relation(
        words.INSTRUMENTS,
        lines(
            """{person} plays the {value} in an orchestra
            On stage, {person} plays the {value}""",
            """{person} performs on the {value}
            The {value} is what {person} plays at concerts""",
        ),
        lines("Which instrument does {person} play?", "On which instrument does {person} perform?"),
        lines("Who plays the {value}?", "Who performs on the {value}?"),
    ),
    Relation(
        words.INSTRUMENTS,
        lines(
            """{person} sold the {value} of an uncle
            {person} sold a dusty old {value}""",
            """{person} auctioned off an inherited {value}
            An old {value} was auctioned off by {person}""",
        ),
        lines("Which instrument did {person} sell?", "Which instrument did {person} auction off?"),
        lines("Who sold the {value}?", "Who auctioned off the {value}?"),
    ),
    Relation(
        words.ANIMALS,
        lines(
            """{person} keeps {a_value} at home
            The pet of {person} is {a_value}""",
            """{person} looks after {a_value}
            {a_value} lives with {person}""",
        ),
        lines(
            """Which animal does {person} keep?
            What is the pet of {person}?""",
            """Which animal does {person} look after?
            Which animal lives with {person}?""",
        ),
        lines("Who keeps {a_value}?", "Who looks after {a_value}?"),
    ),
    Relation(
        words.ANIMALS,
        lines(
            """As a child, {person} was bitten by {a_value}
            {a_value} once bit {person}""",
            """{person} was once attacked by {a_value}
            {a_value} attacked {person} on a walk""",
        ),
        lines("Which animal bit {person}?", "By which animal was {person} attacked?"),
        lines("Who was bitten by {a_value}?", "Who was attacked by {a_value}?"),
    ),
    Relation(
        words.DISHES,
        lines(
            """The favourite dish of {person} is {value}
            {person} likes {value} more than any other dish""",
            """{person} is fondest of {value}
            No meal pleases {person} as much as {value}""",
        ),
        lines(
            """What is the favourite dish of {person}?
            Which dish does {person} like most?""",
            """Which meal is {person} fondest of?
            What pleases {person} most at the table?""",
        ),
        lines("Whose favourite dish is {value}?", "Who is fondest of {value}?"),
    ),
    Relation(
        words.DISHES,
        lines(
            """{person} cannot stand {value}
            {person} hates {value}""",
            """{person} refuses to eat {value}
            {person} is disgusted by {value}""",
        ),
        lines("Which dish does {person} hate?", "What does {person} refuse to eat?"),
        lines("Who hates {value}?", "Who refuses to eat {value}?"),
    ),
    Relation(
        words.LANGUAGES,
        lines(
            """{person} teaches {value} at a school
            {person} gives lessons in {value}""",
            """{person} is a teacher of {value}
            Pupils learn {value} from {person}""",
        ),
        lines("Which language does {person} teach?", "What is {person} a teacher of?"),
        lines("Who teaches {value}?", "Who is a teacher of {value}?"),
    ),
    Relation(
        words.LANGUAGES,
        lines(
            """{person} is taking a first course in {value}
            {person} has just begun to learn {value}""",
            """{person} is a beginner in {value}
            {value} is the language that {person} started to study""",
        ),
        lines("Which language has {person} just begun to learn?", "In which language is {person} a beginner?"),
        lines("Who has just begun to learn {value}?", "Who is a beginner in {value}?"),
    ),
    Relation(
        words.YEARS,
        lines(
            """{person} won a national prize in {value}
            In {value}, {person} received a national prize""",
            """A national award went to {person} in {value}
            {value} was the year of the national award of {person}""",
        ),
        lines("When did {person} win a national prize?", "In which year did {person} get a national award?"),
        lines("Who won a national prize in {value}?", "Who got a national award in {value}?"),
    ),
    Relation(
        words.YEARS,
        lines(
            """{person} got married in {value}
            The marriage of {person} took place in {value}""",
            """The wedding of {person} was in {value}
            In {value} came the wedding of {person}""",
        ),
        lines("When did {person} get married?", "In which year was the wedding of {person}?"),
        lines("Who got married in {value}?", "Whose wedding was in {value}?"),
    ),
)

UNANSWERABLE = (2, 5, 8)
"""Which of every ten rows have no answer."""


def qa_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make a QA pack in the columns of SQuAD 2.0: a text, a question, and its answer in the text or none.

    A text has 4-8 sentences on three people. Beside the answer it always holds a fact of the same sort on another
    person, and a value of the same sort in another relation. In three of ten rows the fact that is asked for is not
    told, though person and value are both in the text. Words and templates of `validation` and `test` are unseen in
    `train`.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `id`, `title`, `context`, `question`, and `answers` with `text` and `answer_start` (in
        characters), two lists of one item, or empty.

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    pack = build_pack(_row, seed=seed, train=train, validation=validation, test=test)
    return {
        split: [{"id": f"{split}-{number}", **row} for number, row in enumerate(rows)] for split, rows in pack.items()
    }


def _row(random: Random, pool: Pool, index: int) -> Row:
    answerable = index % 10 not in UNANSWERABLE
    people = _people(random, pool)
    facts, asked = _facts(people, answerable, random, pool)
    relation = RELATIONS[asked.relation]
    backwards = random.random() < 0.3
    question = random.choice((relation.asked_back if backwards else relation.asked).of(pool))
    context, spans = _text(facts, random, pool)
    answers: dict[str, list[str] | list[int]] = {"text": [], "answer_start": []}
    if answerable:
        start, end = spans[asked][backwards]
        answers = {"text": [context[start:end]], "answer_start": [start]}
    return {
        "title": " and ".join(sorted(people)),
        "context": context,
        "question": _filled(question, asked),
        "answers": answers,
    }


def _people(random: Random, pool: Pool) -> list[str]:
    first = random.sample(words.WOMEN.of(pool) + words.MEN.of(pool), 3)
    return [f"{name} {surname}" for name, surname in zip(first, random.sample(words.SURNAMES.of(pool), 3), strict=True)]


def _facts(people: list[str], answerable: bool, random: Random, pool: Pool) -> tuple[list[Fact], Fact]:
    """Return what the text tells, and what is asked: two facts of the relation, one of its rival, and more.

    Whether there is an answer or not, the text holds the same sorts of facts: only who has which differs.
    """
    asked_relation = random.randrange(len(RELATIONS))
    rival = asked_relation ^ 1
    values = random.sample(RELATIONS[asked_relation].values.of(pool), 3)
    asked = Fact(people[0], asked_relation, values[0])
    told = (asked_relation, asked_relation, rival) if answerable else (rival, asked_relation, asked_relation)
    facts = [Fact(*fact) for fact in zip(people, told, values, strict=True)]
    others = [number for number in range(len(RELATIONS)) if number not in (asked_relation, rival)]
    for number in random.sample(others, random.randint(1, 5)):
        facts.append(Fact(random.choice(people), number, random.choice(RELATIONS[number].values.of(pool))))
    random.shuffle(facts)
    return facts, asked


Span = tuple[int, int]


def _text(facts: list[Fact], random: Random, pool: Pool) -> tuple[str, dict[Fact, tuple[Span, Span]]]:
    """Return the text, and where it tells the value and the person of each fact."""
    text = ""
    spans = {}
    for fact in facts:
        text += " " if text else ""
        template = random.choice(RELATIONS[fact.relation].told.of(pool))
        sentence = _filled(template, fact)
        sentence = sentence[0].upper() + sentence[1:]
        value, person = (len(text) + sentence.lower().index(part.lower()) for part in (fact.value, fact.person))
        spans[fact] = (value, value + len(fact.value)), (person, person + len(fact.person))
        text += f"{sentence}."
    return text, spans


def _filled(template: str, fact: Fact) -> str:
    return template.format(person=fact.person, value=fact.value, a_value=words.with_article(fact.value))
