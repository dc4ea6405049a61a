"""Are the multiple-choice answers true? The facts are read back and the questions solved by brute force."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import pytest

from reasoner.synthetic import multiple_choice_pack, words

PACK = multiple_choice_pack(train=1200, validation=100, test=500)
ROWS = [row for rows in PACK.values() for row in rows]
WOMEN = set(words.WOMEN.train + words.WOMEN.held_out)

MEANINGS = {
    "father": ["parent"],
    "mother": ["parent"],
    "son": ["child"],
    "daughter": ["child"],
    "brother": ["sibling"],
    "sister": ["sibling"],
    "husband": ["spouse"],
    "wife": ["spouse"],
    "grandfather": ["parent parent"],
    "grandmother": ["parent parent"],
    "grandson": ["child child"],
    "granddaughter": ["child child"],
    "uncle": ["sibling parent", "spouse sibling parent"],
    "aunt": ["sibling parent", "spouse sibling parent"],
    "nephew": ["child sibling", "child sibling spouse"],
    "niece": ["child sibling", "child sibling spouse"],
    "father-in-law": ["parent spouse"],
    "mother-in-law": ["parent spouse"],
    "brother-in-law": ["sibling spouse", "spouse sibling", "spouse sibling spouse"],
    "sister-in-law": ["sibling spouse", "spouse sibling", "spouse sibling spouse"],
    "son-in-law": ["spouse child"],
    "daughter-in-law": ["spouse child"],
}
FEMALE = {"mother", "daughter", "sister", "wife", "grandmother", "granddaughter", "aunt", "niece"}
FEMALE |= {"mother-in-law", "sister-in-law", "daughter-in-law"}
OPPOSITES = {"taller": "shorter", "older": "younger", "faster": "slower", "heavier": "lighter", "stronger": "weaker"}
OPPOSITES |= {"richer": "poorer", "louder": "quieter", "braver": "shyer"}


def kin(text):
    """(one, role, other) from a statement; from a question, where the one is asked for, (None, role, other)."""
    for pattern in (
        r"(?P<one>\w+) is (?P<other>\w+)'s (?P<role>\S+)\.",
        r"(?P<one>\w+) is the (?P<role>\S+) of (?P<other>\w+)\.",
        r"(?P<other>\w+)'s (?P<role>\S+) is (?P<one>\w+)\.",
        r"The (?P<role>\S+) of (?P<other>\w+) is called (?P<one>\w+)\.",
        r"Who is (?P<other>\w+)'s (?P<role>\S+)\?",
        r"What is the name of the (?P<role>\S+) of (?P<other>\w+)\?",
    ):
        found = re.fullmatch(pattern, text)
        if found:
            return found.groupdict().get("one"), found["role"], found["other"]
    return None


def closure(facts):
    """All that follows on parents, children, siblings and couples, if couples share their children."""
    known = {(one, MEANINGS[role][0], other) for one, role, other in facts}
    inverse = {"parent": "child", "child": "parent", "sibling": "sibling", "spouse": "spouse"}
    rules = {
        ("parent", "sibling"): "parent",
        ("sibling", "sibling"): "sibling",
        ("child", "parent"): "sibling",
        ("spouse", "parent"): "parent",
        ("parent", "child"): "spouse",
    }
    while True:
        new = {(other, inverse[link], one) for one, link, other in known}
        new |= {
            (a, rules[first, second], c)
            for a, first, b in known
            for b_again, second, c in known
            if b == b_again and a != c and (first, second) in rules
        }
        if new <= known:
            return known
        known |= new


def reach(known, path, name):
    reached = {name}
    for link in reversed(path.split()):
        reached = {one for one, found, other in known if found == link and other in reached}
    return reached


def solve_kinship(row):
    facts = [kin(fact + ".") for fact in row["context"].removesuffix(".").split(". ")]
    _, role, other = kin(row["question"])
    assert all((one in WOMEN) == (said in FEMALE) for one, said, _ in facts)
    known = closure(facts)
    fitting = set().union(*(reach(known, path, other) for path in MEANINGS[role])) - {other}
    return {name for name in fitting if (name in WOMEN) == (role in FEMALE)}


def above(fact):
    """(upper, lower, the word for what the upper one is more of)."""
    names = r"(\w+)"
    for pattern, one, other, word in (
        (rf"{names} is (\w+) than {names}\.", 1, 3, 2),
        (rf"Compared with {names}, {names} is (\w+)\.", 2, 1, 3),
        (rf"Of {names} and {names}, the (\w+) one is \2\.", 2, 1, 3),
    ):
        found = re.fullmatch(pattern, fact)
        if found:
            if found[word] in OPPOSITES:
                return found[one], found[other]
            assert found[word] in OPPOSITES.values()
            return found[other], found[one]
    raise AssertionError(fact)


def solve_order(row):
    pairs = [above(fact + ".") for fact in row["context"].removesuffix(".").split(". ")]
    people = sorted({name for pair in pairs for name in pair})
    (order,) = [o for o in permutations(people) if all(o.index(upper) < o.index(lower) for upper, lower in pairs)]
    rank = re.search(r"the (second )?(\w+)est( person)?\?$", row["question"])
    if not rank:
        bounds = [name for name in order if name in re.findall(r"\w+", row["question"])]
        low, high = order.index(bounds[-1]), order.index(bounds[0])
        assert len(bounds) == 2 and low - high == 2
        return {order[high + 1]}
    upwards = rank[2] + "er" in OPPOSITES
    place = 1 if rank[1] else 0
    return {order[place] if upwards else order[-1 - place]}


@pytest.mark.parametrize("split", PACK)
def test_exactly_one_choice_follows_and_it_is_the_label(split):
    kinds = Counter()
    for row in PACK[split]:
        kinds[bool(kin(row["question"]))] += 1
        solution = solve_kinship(row) if kin(row["question"]) else solve_order(row)
        assert solution & set(row["choices"]) == {row["choices"][row["label"]]}, row
    assert kinds[True] == kinds[False] == len(PACK[split]) / 2


def test_the_answer_needs_two_facts():
    for row in ROWS:
        if kin(row["question"]):
            answer, (_, role, other) = row["choices"][row["label"]], kin(row["question"])
            facts = row["context"].removesuffix(".").split(". ")
            assert f"{role} " not in row["context"]
            assert not any(answer in fact and re.search(rf"\b{other}\b", fact) for fact in facts), row


def test_choices_are_different_and_all_in_the_context():
    for row in ROWS:
        assert len(set(row["choices"])) == len(row["choices"])
        assert 2 <= len(row["choices"]) <= 5
        assert set(row["choices"]) <= set(re.findall(r"\w+", row["context"]))
        assert 3 <= row["context"].count(".") <= 5


def test_the_place_of_the_answer_is_uniform():
    rows = multiple_choice_pack(train=4000, validation=0, test=0)["train"]
    counts = Counter((len(row["choices"]), row["label"]) for row in rows)
    assert {size for size, _ in counts} == {2, 3, 4, 5}
    for size in (2, 3, 4, 5):
        places = [counts[size, place] for place in range(size)]
        expected = sum(places) / size
        chi_squared = sum((count - expected) ** 2 / expected for count in places)
        assert chi_squared < 18.5, places  # p < 0.001 for up to four degrees of freedom


def test_names_and_templates_of_the_test_split_are_unseen():
    names = set(words.WOMEN.train + words.MEN.train + words.WOMEN.held_out + words.MEN.held_out)

    def seen(rows):
        used, frames = set(), set()
        for row in rows:
            for sentence in [*row["context"].removesuffix(".").split(". "), row["question"]]:
                tokens = re.findall(r"[\w-]+|[^\w\s]", sentence)
                used |= names & set(tokens)
                gap = {*names, *MEANINGS, *OPPOSITES, *OPPOSITES.values()}
                frames.add(tuple("_" if token in gap else re.sub(r"^\w+est$", "_", token) for token in tokens))
        return used, frames

    for train, held_out in zip(seen(PACK["train"]), seen(PACK["validation"] + PACK["test"]), strict=True):
        assert not train & held_out
