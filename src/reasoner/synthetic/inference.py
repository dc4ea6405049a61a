"""What does the NLI pack look like: pairs whose label is computed by going through the possible worlds?

A sentence is a template and a meaning: a function that says in which worlds it is true. The premise entails the
hypothesis if the hypothesis is true in every world in which the premise is, and contradicts it if in none.

The hypothesis is drawn first, then the label, then a premise that makes the label true. So the hypothesis alone says
nothing about the label (the shortcut of Gururangan et al., 2018, https://aclanthology.org/N18-2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool

LABELS = ("entailment", "neutral", "contradiction")

World = tuple[int, ...]
Meaning = Callable[[World], bool]
Slots = dict[str, str]


@dataclass(frozen=True)
class Form:
    """A sentence whose words are yet to be filled in."""

    template: str
    """The English, with slots in braces."""
    is_true: Meaning
    """In which worlds it is true."""
    about: tuple[int, ...] = ()
    """What it speaks of; `Phenomenon.shifts` asks for pairs that differ in it."""


@dataclass(frozen=True)
class Phenomenon:
    """A family of forms over the same worlds."""

    forms: Callable[[Pool], list[Form]]
    """The sentences of a pool."""
    worlds: tuple[World, ...]
    """Every possible state of affairs, as far as the forms can tell."""
    slots: Callable[[Random, Pool], Slots]
    """Draws the words that fill the forms, the same for premise and hypothesis."""
    shifts: bool = False
    """Whether premise and hypothesis always differ in what they are about."""


def nli_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make an NLI pack: premise and hypothesis on negation, quantifiers, monotonicity, numbers, passive, conjunction.

    Words and templates of `validation` and `test` are unseen in `train`. The three labels are equally frequent within
    one row, and each phenomenon has about a sixth of the rows.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `premise`, `hypothesis`, `label` (a name of `LABELS`) and `phenomenon`.

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def relation(premise: Form, hypothesis: Form, worlds: tuple[World, ...]) -> str:
    """Return the label of a pair, by going through the worlds in which the premise is true."""
    outcomes = {hypothesis.is_true(world) for world in worlds if premise.is_true(world)}
    return "neutral" if len(outcomes) == 2 else "entailment" if outcomes == {True} else "contradiction"


def _row(random: Random, pool: Pool, index: int) -> Row:
    name = random.choice(tuple(PHENOMENA))
    label = LABELS[index % len(LABELS)]
    hypothesis, premises = random.choice(choices_of(name, pool))
    premise = random.choice(premises[label])
    slots = PHENOMENA[name].slots(random, pool)
    return {
        "premise": sentence(premise, slots),
        "hypothesis": sentence(hypothesis, slots),
        "label": label,
        "phenomenon": name,
    }


def sentence(form: Form, slots: Slots) -> str:
    """Return a form with its words filled in."""
    text = form.template.format(**slots)
    return f"{text[0].upper()}{text[1:]}."


@cache
def choices_of(name: str, pool: Pool) -> list[tuple[Form, dict[str, list[Form]]]]:
    """Return each form that can be a hypothesis under all three labels, with its premises by label."""
    phenomenon = PHENOMENA[name]
    forms = phenomenon.forms(pool)
    choices = []
    for hypothesis in forms:
        premises: dict[str, list[Form]] = {label: [] for label in LABELS}
        for premise in forms:
            if premise is not hypothesis and (not phenomenon.shifts or premise.about != hypothesis.about):
                premises[relation(premise, hypothesis, phenomenon.worlds)].append(premise)
        if all(premises.values()):
            choices.append((hypothesis, premises))
    return choices


# --- Quantifiers: a world is (how many pilots sang, how many did not), and there is at least one pilot ----------------

_Counted = Callable[[int, int], bool]

QUANTIFIERS: Divided[tuple[str, _Counted]] = Divided(
    (
        ("all the {nouns} {past}", lambda did, did_not: did_not == 0),
        ("every {noun} {past}", lambda did, did_not: did_not == 0),
        ("some of the {nouns} {past}", lambda did, did_not: did > 0),
        ("at least one {noun} {past}", lambda did, did_not: did > 0),
        ("no {noun} {past}", lambda did, did_not: did == 0),
        ("none of the {nouns} {past}", lambda did, did_not: did == 0),
        ("not all the {nouns} {past}", lambda did, did_not: did_not > 0),
        ("at least one {noun} did not {base}", lambda did, did_not: did_not > 0),
    ),
    (
        ("each {noun} {past}", lambda did, did_not: did_not == 0),
        ("each of the {nouns} {past}", lambda did, did_not: did_not == 0),
        ("one or more of the {nouns} {past}", lambda did, did_not: did > 0),
        ("there was {a_noun} that {past}", lambda did, did_not: did > 0),
        ("not a single {noun} {past}", lambda did, did_not: did == 0),
        ("not one of the {nouns} {past}", lambda did, did_not: did == 0),
        ("not every {noun} {past}", lambda did, did_not: did_not > 0),
        ("some of the {nouns} did not {base}", lambda did, did_not: did_not > 0),
    ),
)
MAJORITIES: Divided[tuple[str, _Counted]] = Divided(
    (("most of the {nouns} {past}", lambda did, did_not: did > did_not),),
    (("more than half of the {nouns} {past}", lambda did, did_not: did > did_not),),
)


def _quantifier_forms(pool: Pool) -> list[Form]:
    def form(template: str, holds: _Counted) -> Form:
        return Form(template, lambda world: holds(*world))

    return [form(*item) for item in QUANTIFIERS.of(pool) + MAJORITIES.of(pool)]


def _group_slots(random: Random, pool: Pool) -> Slots:
    noun = random.choice(words.JOBS.of(pool))
    return {"noun": noun, "nouns": noun + "s", "a_noun": words.with_article(noun), **_verb_slots(random, pool)}


def _verb_slots(random: Random, pool: Pool) -> Slots:
    base, past = random.choice(words.VERBS.of(pool))
    when = random.choice(words.TIMES.of(pool))
    return {"base": f"{base} {when}", "past": f"{past} {when}"}


# --- Monotonicity: poodles are dogs, who sang in the kitchen sang -----------------------------------------------------
# A world counts six sorts of animals: (poodle, other dog) x (sang in the kitchen, sang elsewhere, did not sing).

_SORTS = tuple(product((0, 1), (0, 1, 2)))


def _monotonicity_forms(pool: Pool) -> list[Form]:
    def form(template: str, holds: _Counted, noun_level: int, verb_level: int) -> Form:
        def is_true(world: World) -> bool:
            meant = [(number, verb) for number, (noun, verb) in zip(world, _SORTS, strict=True) if noun <= noun_level]
            did = sum(number for number, verb in meant if verb <= verb_level)
            return holds(did, sum(number for number, _ in meant) - did)

        for slot in ("noun", "nouns", "a_noun"):
            template = template.replace(f"{{{slot}}}", f"{{{slot}{noun_level}}}")
        for slot in ("base", "past"):
            template = template.replace(f"{{{slot}}}", f"{{{slot}{verb_level}}}")
        return Form(template, is_true, (noun_level, verb_level))

    return [form(*item, *levels) for item in QUANTIFIERS.of(pool) for levels in product((0, 1), (0, 1))]


def _kind_slots(random: Random, pool: Pool) -> Slots:
    narrow, broad = random.choice(words.KINDS.of(pool))
    spot = random.choice(words.SPOTS.of(pool))
    base, past = random.choice(words.VERBS.of(pool))
    nouns = {"noun0": narrow, "nouns0": narrow + "s", "a_noun0": words.with_article(narrow)}
    nouns |= {"noun1": broad, "nouns1": broad + "s", "a_noun1": words.with_article(broad)}
    return {**nouns, "base0": f"{base} {spot}", "past0": f"{past} {spot}", "base1": base, "past1": past}


# --- Numbers: a world is how many pilots sang. {number1} is one more than {number0}, and so on ------------------------

_FEWEST = 2
"""What the lowest number is in the worlds; any number from 2 up gives the same labels."""

NUMBER_FORMS: Divided[tuple[str, Callable[[int, int], bool]]] = Divided(
    (
        ("at least {number} {nouns} {past}", lambda count, number: count >= number),
        ("more than {number} {nouns} {past}", lambda count, number: count > number),
        ("exactly {number} {nouns} {past}", lambda count, number: count == number),
        ("{number} {nouns} {past}, no more and no fewer", lambda count, number: count == number),
        ("at most {number} {nouns} {past}", lambda count, number: count <= number),
        ("fewer than {number} {nouns} {past}", lambda count, number: count < number),
    ),
    (
        ("no fewer than {number} {nouns} {past}", lambda count, number: count >= number),
        ("over {number} {nouns} {past}", lambda count, number: count > number),
        ("precisely {number} {nouns} {past}", lambda count, number: count == number),
        ("the number of {nouns} that {past} was {number}", lambda count, number: count == number),
        ("no more than {number} {nouns} {past}", lambda count, number: count <= number),
        ("under {number} {nouns} {past}", lambda count, number: count < number),
    ),
)


def _number_forms(pool: Pool) -> list[Form]:
    def form(template: str, holds: Callable[[int, int], bool], step: int) -> Form:
        return Form(template.replace("number}", f"number{step}}}"), lambda world: holds(world[0], _FEWEST + step))

    return [form(*item, step) for item in NUMBER_FORMS.of(pool) for step in range(4)]


def _number_slots(random: Random, pool: Pool) -> Slots:
    lowest = random.randrange(len(words.NUMBERS) - 3)
    return {f"number{step}": words.NUMBERS[lowest + step] for step in range(4)} | _group_slots(random, pool)


# --- Negation: a world says whether Anna sang in the kitchen, Anna sang, Ben sang in the kitchen, Ben sang ------------

POLARITIES: Divided[tuple[str, bool]] = Divided(
    (
        ("{name} {past}", True),
        ("it is true that {name} {past}", True),
        ("it is not true that {name} did not {base}", True),
        ("{name} did not {base}", False),
        ("it is not true that {name} {past}", False),
    ),
    (
        ("it is a fact that {name} {past}", True),
        ("{name} really did {base}", True),
        ("it is false that {name} didn't {base}", True),
        ("{name} didn't {base}", False),
        ("it is false that {name} {past}", False),
    ),
)


def _negation_forms(pool: Pool) -> list[Form]:
    def form(template: str, positive: bool, person: int, verb_level: int) -> Form:
        template = template.replace("{name}", f"{{name{person}}}")
        for slot in ("base", "past"):
            template = template.replace(f"{{{slot}}}", f"{{{slot}{verb_level}}}")
        return Form(template, lambda world: bool(world[2 * person + verb_level]) == positive)

    return [form(*item, *about) for item in POLARITIES.of(pool) for about in product((0, 1), (0, 1))]


def _person_slots(random: Random, pool: Pool) -> Slots:
    names = random.sample(words.WOMEN.of(pool) + words.MEN.of(pool), 3)
    return {f"name{position}": name for position, name in enumerate(names)}


# --- Passive: a world says for each ordered pair of three people whether the first chased the second ------------------

_PAIRS = ((0, 1), (1, 0), (2, 1))
VOICES: Divided[tuple[str, bool]] = Divided(
    (
        ("{agent} {past} {patient} {spot}", True),
        ("{patient} was {participle} by {agent} {spot}", True),
        ("{agent} did not {base} {patient} {spot}", False),
        ("{patient} was not {participle} by {agent} {spot}", False),
    ),
    (
        ("{agent} has {participle} {patient} {spot}", True),
        ("{patient} has been {participle} by {agent} {spot}", True),
        ("{agent} hasn't {participle} {patient} {spot}", False),
        ("{patient} hasn't been {participle} by {agent} {spot}", False),
    ),
)


def _passive_forms(pool: Pool) -> list[Form]:
    def form(template: str, positive: bool, pair: int) -> Form:
        agent, patient = _PAIRS[pair]
        template = template.replace("{agent}", f"{{name{agent}}}").replace("{patient}", f"{{name{patient}}}")
        return Form(template, lambda world: bool(world[pair]) == positive)

    return [form(*item, pair) for item in VOICES.of(pool) for pair in range(len(_PAIRS))]


def _passive_slots(random: Random, pool: Pool) -> Slots:
    base, past, participle = random.choice(words.TRANSITIVE_VERBS.of(pool))
    verb = {"base": base, "past": past, "participle": participle}
    return {**verb, "spot": random.choice(words.SPOTS.of(pool)), **_person_slots(random, pool)}


# --- Conjunction: a world says whether Anna sang and whether Ben sang -------------------------------------------------

CONJUNCTIONS: Divided[tuple[str, _Counted]] = Divided(
    (
        ("{name0} {past}", lambda first, second: bool(first)),
        ("{name0} did not {base}", lambda first, second: not first),
        ("{name0} and {name1} {past}", lambda first, second: bool(first and second)),
        ("both {name1} and {name0} {past}", lambda first, second: bool(first and second)),
        ("{name0} or {name1} {past}", lambda first, second: bool(first or second)),
        ("at least one of {name1} and {name0} {past}", lambda first, second: bool(first or second)),
        ("neither {name0} nor {name1} {past}", lambda first, second: not (first or second)),
        ("either {name0} or {name1} {past}, but not both", lambda first, second: first != second),
        ("{name0} {past}, but {name1} did not", lambda first, second: first > second),
    ),
    (
        ("{name0} was among those who {past}", lambda first, second: bool(first)),
        ("{name0} was not among those who {past}", lambda first, second: not first),
        ("{name0} {past}, and so did {name1}", lambda first, second: bool(first and second)),
        ("{name1} as well as {name0} {past}", lambda first, second: bool(first and second)),
        ("{name0} or {name1} or both of them {past}", lambda first, second: bool(first or second)),
        ("one or both of {name1} and {name0} {past}", lambda first, second: bool(first or second)),
        ("{name0} did not {base}, and {name1} did not either", lambda first, second: not (first or second)),
        ("exactly one of {name0} and {name1} {past}", lambda first, second: first != second),
        ("of {name0} and {name1}, only {name0} {past}", lambda first, second: first > second),
    ),
)


def _conjunction_forms(pool: Pool) -> list[Form]:
    def form(template: str, holds: _Counted) -> Form:
        return Form(template, lambda world: holds(*world))

    return [form(*item) for item in CONJUNCTIONS.of(pool)]


_TRUTH = (0, 1)

PHENOMENA: dict[str, Phenomenon] = {
    "quantifier": Phenomenon(_quantifier_forms, tuple(product(range(4), repeat=2))[1:], _group_slots),
    "monotonicity": Phenomenon(
        _monotonicity_forms,
        tuple(world for world in product(range(2), repeat=6) if any(world[:3])),
        _kind_slots,
        shifts=True,
    ),
    "number": Phenomenon(_number_forms, tuple((count,) for count in range(_FEWEST + 6)), _number_slots),
    "negation": Phenomenon(
        _negation_forms,
        tuple(world for world in product(_TRUTH, repeat=4) if world[0] <= world[1] and world[2] <= world[3]),
        lambda random, pool: _kind_slots(random, pool) | _person_slots(random, pool),
    ),
    "passive": Phenomenon(_passive_forms, tuple(product(_TRUTH, repeat=len(_PAIRS))), _passive_slots),
    "conjunction": Phenomenon(
        _conjunction_forms,
        tuple(product(_TRUTH, repeat=2)),
        lambda random, pool: _verb_slots(random, pool) | _person_slots(random, pool),
    ),
}
