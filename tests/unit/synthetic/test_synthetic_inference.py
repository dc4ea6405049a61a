"""Are the NLI labels true? The English is parsed back, and the labels derived from explicit sets of individuals."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations_with_replacement, product

import pytest

from reasoner.synthetic import nli_pack, words
from reasoner.synthetic.inference import CONJUNCTIONS, LABELS, NUMBER_FORMS, POLARITIES, QUANTIFIERS, VOICES

PACK = nli_pack(train=3000, validation=300, test=1500)
ROWS = [row for rows in PACK.values() for row in rows]
LEMMAS = {form: forms[0] for forms in words.VERBS.train + words.VERBS.held_out for form in forms}
PASSIVES = {form: f[0] for f in words.TRANSITIVE_VERBS.train + words.TRANSITIVE_VERBS.held_out for form in f}
BROADER = dict(words.KINDS.train + words.KINDS.held_out)
NUMERALS = {word: number for number, word in enumerate(words.NUMBERS, start=2)}

QUANTIFIER_PATTERNS = {
    r"(?:all the|every|each of the|each(?! of the)) (\S+) (.+)": lambda noun, verb: noun <= verb,
    r"(?:some of the|at least one|one or more of the) (\S+) (?!did not )(.+)": lambda noun, verb: bool(noun & verb),
    r"there was an? (\S+) that (.+)": lambda noun, verb: bool(noun & verb),
    r"(?:no|none of the|not a single|not one of the) (\S+) (.+)": lambda noun, verb: not noun & verb,
    r"(?:not all the|not every) (\S+) (.+)": lambda noun, verb: not noun <= verb,
    r"(?:some of the|at least one) (\S+) did not (.+)": lambda noun, verb: bool(noun - verb),
    r"(?:most of the|more than half of the) (\S+) (.+)": lambda noun, verb: 2 * len(noun & verb) > len(noun),
}
NUMBER_PATTERNS = {
    r"(?:at least|no fewer than) (\w+) (.+)": lambda count, number: count >= number,
    r"(?:more than|over) (\w+) (.+)": lambda count, number: count > number,
    r"(?:exactly|precisely) (\w+) (.+)": lambda count, number: count == number,
    r"(\w+) (.+), no more and no fewer": lambda count, number: count == number,
    r"(?:at most|no more than) (\w+) (.+)": lambda count, number: count <= number,
    r"(?:fewer than|under) (\w+) (.+)": lambda count, number: count < number,
}
CONJUNCTION_PATTERNS = {
    r"either (\w+) or (\w+) (.+), but not both": lambda a, b: a != b,
    r"exactly one of (\w+) and (\w+) (.+)": lambda a, b: a != b,
    r"of (\w+) and (\w+), only \1 (.+)": lambda a, b: a and not b,
    r"(\w+) (?P<verb>.+), but (?P<other>\w+) did not": lambda a, b: a and not b,
    r"(?:at least one|one or both) of (\w+) and (\w+) (.+)": lambda a, b: a or b,
    r"(\w+) or (\w+) (?:or both of them )?(.+)": lambda a, b: a or b,
    r"neither (\w+) nor (\w+) (.+)": lambda a, b: not a and not b,
    r"(\w+) did not (?P<verb>.+), and (?P<other>\w+) did not either": lambda a, b: not a and not b,
    r"(\w+) (?P<verb>.+), and so did (?P<other>\w+)": lambda a, b: a and b,
    r"(?:both )?(\w+) (?:and|as well as) (\w+) (.+)": lambda a, b: a and b,
    r"(\w+) was not among those who (.+)": lambda a: not a,
    r"(\w+) was among those who (.+)": lambda a: a,
    r"(\w+) did not (.+)": lambda a: not a,
    r"(\w+) (.+)": lambda a: a,
}


def first_match(patterns, sentence):
    for pattern, meaning in patterns.items():
        found = re.fullmatch(pattern, sentence[:-1].lower())
        if found:
            return found, meaning
    raise AssertionError(f"not understood: {sentence}")


def predicate(text):
    verb, *rest = text.split()
    return " ".join([LEMMAS[verb], *rest])


def label(premise, hypothesis, worlds):
    outcomes = {bool(hypothesis(world)) for world in worlds if premise(world)}
    assert outcomes, "the premise can never be true"
    return "neutral" if len(outcomes) == 2 else "entailment" if True in outcomes else "contradiction"


def implied_by(narrow, broad):
    return broad == narrow or narrow.startswith(broad + " ") or BROADER.get(narrow) == broad


def consistent_sorts(atoms):
    """Every set of atoms that one individual can have."""
    for truth in product((False, True), repeat=len(atoms)):
        held = {atom for atom, true in zip(atoms, truth, strict=True) if true}
        if all(broad in held for narrow in held for broad in atoms if implied_by(narrow, broad)):
            yield frozenset(held)


def quantified_label(row):
    parsed = []
    for sentence in (row["premise"], row["hypothesis"]):
        found, meaning = first_match(QUANTIFIER_PATTERNS, sentence)
        noun = found[1] if found[1] in BROADER or found[1] in BROADER.values() else found[1].removesuffix("s")
        parsed.append((noun, predicate(found[2]), meaning))
    nouns = sorted({noun for noun, _, _ in parsed})
    sorts = list(consistent_sorts(sorted({atom for noun, verb, _ in parsed for atom in (noun, verb)})))
    worlds = [
        world
        for size in (1, 2, 3)
        for world in combinations_with_replacement(sorts, size)
        if all(any(noun in one for one in world) for noun in nouns)  # there are such individuals
    ]

    def reading(noun, verb, meaning):
        def among(world, atom):
            return {number for number, held in enumerate(world) if atom in held}

        return lambda world: meaning(among(world, noun), among(world, verb))

    return label(reading(*parsed[0]), reading(*parsed[1]), worlds)


def number_label(row):
    def reading(sentence):
        found = re.fullmatch(r"the number of (.+) that (.+) was (\w+)\.", sentence.lower())
        if found:
            return (f"{found[1]} {found[2]}", lambda count: count == NUMERALS[found[3]])
        found, meaning = first_match(NUMBER_PATTERNS, sentence)
        return found[2], lambda count: meaning(count, NUMERALS[found[1]])

    (what, premise), (same, hypothesis) = reading(row["premise"]), reading(row["hypothesis"])
    assert what == same
    return label(premise, hypothesis, range(40))


def negation_label(row):
    def reading(sentence):
        text = sentence[:-1].lower()
        outer = re.match(r"it is (not true|false|true|a fact) that ", text)
        positive = not (outer and outer[1] in ("not true", "false"))
        name, verb = (text[outer.end() :] if outer else text).split(" ", 1)
        inner = re.match(r"(did not|didn't|really did) ", verb)
        if inner:
            verb = verb[inner.end() :]
            positive = positive == (inner[1] == "really did")
        return name, predicate(verb), positive

    readings = [reading(row["premise"]), reading(row["hypothesis"])]
    people, verbs = sorted({r[0] for r in readings}), sorted({r[1] for r in readings})
    worlds = [dict(zip(people, held, strict=True)) for held in product(consistent_sorts(verbs), repeat=len(people))]
    premise, hypothesis = (
        lambda world, name=name, verb=verb, positive=positive: (verb in world[name]) == positive
        for name, verb, positive in readings
    )
    return label(premise, hypothesis, worlds)


def passive_label(row):
    def reading(sentence):
        text = sentence[:-1]
        positive = not re.search(r" not |n't ", text)
        text = re.sub(r"did not |hasn't |has |not ", "", text)
        voice = re.match(r"(\w+) (?:was|been) (\w+) by (\w+) (.+)", text)
        if voice:
            return (voice[3], PASSIVES[voice[2]], voice[1], voice[4]), positive
        voice = re.match(r"(\w+) (\w+) (\w+) (.+)", text)
        return (voice[1], PASSIVES[voice[2]], voice[3], voice[4]), positive

    (fact, positive), (other, other_positive) = reading(row["premise"]), reading(row["hypothesis"])
    if fact != other:
        assert fact[1] == other[1]
        return "neutral"
    return "entailment" if positive == other_positive else "contradiction"


def conjunction_label(row):
    def reading(sentence):
        found, meaning = first_match(CONJUNCTION_PATTERNS, sentence)
        named = found.groupdict()
        people = (found[1], named["other"]) if named else found.groups()[:-1]
        return people, meaning

    (first, premise), (second, hypothesis) = reading(row["premise"]), reading(row["hypothesis"])
    people = sorted({*first, *second})
    worlds = [dict(zip(people, truth, strict=True)) for truth in product((False, True), repeat=len(people))]
    return label(
        lambda world: premise(*(world[name] for name in first)),
        lambda world: hypothesis(*(world[name] for name in second)),
        worlds,
    )


SOLVERS = {
    "quantifier": quantified_label,
    "monotonicity": quantified_label,
    "number": number_label,
    "negation": negation_label,
    "passive": passive_label,
    "conjunction": conjunction_label,
}


@pytest.mark.parametrize("phenomenon", SOLVERS)
def test_labels_follow_from_the_english(phenomenon):
    rows = [row for row in ROWS if row["phenomenon"] == phenomenon]
    assert len(rows) > 0.12 * len(ROWS)
    for row in rows:
        assert SOLVERS[phenomenon](row) == row["label"], row


def test_known_pairs():
    def of(phenomenon, premise, hypothesis):
        return SOLVERS[phenomenon]({"premise": premise, "hypothesis": hypothesis})

    assert of("quantifier", "All the pilots sang.", "Some of the pilots sang.") == "entailment"
    assert of("quantifier", "Some of the pilots sang.", "Every pilot sang.") == "neutral"
    assert of("monotonicity", "No dog sang.", "No poodle sang in the park.") == "entailment"
    assert of("passive", "Anna chased Ben at dawn.", "Anna was chased by Ben at dawn.") == "neutral"
    assert of("number", "Exactly three pilots sang.", "More than four pilots sang.") == "contradiction"


def test_labels_are_balanced_in_every_split():
    for rows in PACK.values():
        counts = Counter(row["label"] for row in rows)
        assert set(counts) == set(LABELS)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_premise_and_hypothesis_differ_and_are_sentences():
    for row in ROWS:
        assert row["premise"] != row["hypothesis"]
        for sentence in (row["premise"], row["hypothesis"]):
            assert sentence[0].isupper() and sentence.endswith(".") and "{" not in sentence and "  " not in sentence


def test_the_hypothesis_alone_does_not_give_the_label_away():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(token_pattern=r"\S+")
    model = LogisticRegression(max_iter=200)
    train, test = PACK["train"], nli_pack(train=1500, validation=0, test=0, seed=1)["train"]
    model.fit(vectorizer.fit_transform([row["hypothesis"] for row in train]), [row["label"] for row in train])
    for rows in (PACK["test"], test):  # unseen templates, and the same templates
        features = vectorizer.transform([row["hypothesis"] for row in rows])
        assert model.score(features, [row["label"] for row in rows]) < 0.40


def test_words_and_templates_of_the_test_split_are_unseen():
    nouns = [
        words.JOBS,
        words.VERBS,
        words.TRANSITIVE_VERBS,
        words.KINDS,
        words.WOMEN,
        words.MEN,
        words.TIMES,
        words.SPOTS,
    ]

    def content(pool):
        """Every word that a form is filled with, less the small words in phrases such as `on the hill`."""
        flat = (" ".join(item) if isinstance(item, tuple) else item for divided in nouns for item in divided.of(pool))
        small = {"in", "on", "at", "the", "near", "behind", "outside", "under", "after", "before", "during", "last"}
        return {word.lower() for item in flat for word in item.split()} - small

    def used(rows):
        text = " ".join(f"{row['premise']} {row['hypothesis']}" for row in rows).lower()
        return set(re.findall(r"[a-z']+", text))

    assert not content("train") & content("held_out")
    assert not used(PACK["train"]) & content("held_out")
    assert not used(PACK["validation"] + PACK["test"]) & content("train")
    for forms in (QUANTIFIERS, NUMBER_FORMS, POLARITIES, VOICES, CONJUNCTIONS):
        assert not {template for template, _ in forms.train} & {template for template, _ in forms.held_out}
