"""Do overlap scores equal nervaluate's, and is every entity counted once among the errors?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate.evaluator import Evaluator

from reasoner.errors import DataError
from reasoner.metrics import (
    Span,
    entity_errors,
    entity_surfaces,
    match_entities,
    overlap_scores,
    seen_unseen,
    span_scores,
    spans,
)

TYPES = ["PER", "LOC", "ORG"]
COUNTS = ("correct", "incorrect", "partial", "missed", "spurious", "possible", "actual")


def random_tags(source: random.Random, length: int) -> list[str]:
    """Well-formed IOB2 tags, about half of them in entities."""
    tags: list[str] = []
    while len(tags) < length:
        if source.random() < 0.5:
            tags.append("O")
        else:
            name = source.choice(TYPES)
            tags += [f"B-{name}", *[f"I-{name}"] * source.randint(0, 3)]
    return tags[:length]


def random_spans(source: random.Random, length: int) -> set[Span]:
    """Spans that may overlap, and stand in one another."""
    starts = [source.randrange(length) for _ in range(source.randint(0, 6))]
    return {Span(source.choice(TYPES), start, start + source.randint(1, max(1, length // 4))) for start in starts}


def reference(gold: list, predicted: list, loader: str) -> dict:
    return Evaluator(gold, predicted, tags=TYPES, loader=loader).evaluate()["overall"]


def in_order(sentences: list[set[Span]]) -> list[list[dict]]:
    """The entities as nervaluate wants them, the end included."""
    return [
        [
            {"label": span.type, "start": span.start, "end": span.end - 1}
            for span in sorted(found, key=lambda span: (span.start, span.end, span.type))
        ]
        for found in sentences
    ]


def assert_equal(ours: dict, theirs: dict) -> None:
    assert list(ours) == ["strict", "exact", "partial", "ent_type"]
    for scheme, scores in ours.items():
        assert {name: scores[name] for name in COUNTS} == {name: getattr(theirs[scheme], name) for name in COUNTS}
        for name in ("precision", "recall", "f1"):
            assert scores[name] == pytest.approx(getattr(theirs[scheme], name), abs=1e-12)


# --- the four schemes -----------------------------------------------------------------------------------------------


def test_500_random_pairs_of_tags_score_as_in_nervaluate():
    source, seen = random.Random(0), dict.fromkeys(COUNTS, 0)
    for _ in range(500):
        lengths = [source.randint(1, 15) for _ in range(source.randint(1, 4))]
        gold = [random_tags(source, length) for length in lengths]
        noise = [random_tags(source, length) for length in lengths]
        predicted = [source.choice([tags, other, other]) for tags, other in zip(gold, noise, strict=True)]
        ours = overlap_scores([spans(tags) for tags in gold], [spans(tags) for tags in predicted])
        assert_equal(ours, reference(gold, predicted, "list"))
        for scores in ours.values():
            for name in COUNTS:
                seen[name] += scores[name]
    assert min(seen.values()) > 300  # every outcome was met, many times


@pytest.mark.parametrize("length", [12, 600], ids=["words", "characters"])  # 600: entities of more than 100
def test_500_random_pairs_of_overlapping_spans_score_as_in_nervaluate(length):
    source = random.Random(length)
    for _ in range(500):
        gold = [random_spans(source, length) for _ in range(2)]
        predicted = [
            {span if source.random() < 0.5 else Span(source.choice(TYPES), *span[1:]) for span in found}
            | random_spans(source, length)
            for found in gold
        ]
        assert_equal(overlap_scores(gold, predicted), reference(in_order(gold), in_order(predicted), "dict"))


def test_what_overlaps_by_less_than_a_hundredth_is_apart():
    # The rule is of nervaluate; these are at its edge, where a float could go either way.
    for length in (99, 100, 101, 200, 201, 300, 1000):
        for shared in (1, 2, 3, 10):
            gold, predicted = [{Span("PER", 0, length)}], [{Span("PER", length - shared, length + 5)}]
            assert_equal(overlap_scores(gold, predicted), reference(in_order(gold), in_order(predicted), "dict"))
            assert overlap_scores(gold, predicted)["partial"]["partial"] == (100 * shared >= length)


def test_the_order_in_which_entities_are_given_changes_nothing():
    source = random.Random(1)
    for _ in range(50):
        gold, predicted = list(random_spans(source, 10)), list(random_spans(source, 10))
        first = overlap_scores([gold], [predicted])
        source.shuffle(gold)
        source.shuffle(predicted)
        assert overlap_scores([gold], [predicted]) == first


def test_the_four_schemes_by_hand():
    gold = [[Span("PER", 0, 2), Span("LOC", 3, 5), Span("ORG", 6, 7), Span("PER", 8, 9)]]
    predicted = [[Span("PER", 0, 2), Span("LOC", 4, 5), Span("LOC", 6, 7), Span("PER", 10, 11)]]
    scores = overlap_scores(gold, predicted)
    assert {scheme: (row["correct"], row["incorrect"], row["partial"]) for scheme, row in scores.items()} == {
        "strict": (1, 2, 0),
        "exact": (2, 1, 0),
        "partial": (2, 0, 1),
        "ent_type": (2, 1, 0),
    }
    assert all(
        row["missed"] == row["spurious"] == 1 and row["possible"] == row["actual"] == 4 for row in scores.values()
    )
    assert scores["partial"]["f1"] == 2.5 / 4


def test_strict_equals_span_scores_where_entities_do_not_overlap():
    source = random.Random(2)
    gold = [spans(random_tags(source, 12)) for _ in range(200)]
    predicted = [found if source.random() < 0.3 else spans(random_tags(source, 12)) for found in gold]
    strict, plain = overlap_scores(gold, predicted)["strict"], span_scores(gold, predicted)
    assert (strict["precision"], strict["recall"]) == (plain["precision"], plain["recall"])
    assert strict["f1"] == pytest.approx(plain["f1"])


def test_nothing_gold_and_nothing_predicted_scores_0():
    assert all(row["f1"] == row["precision"] == row["recall"] == 0 for row in overlap_scores([[]], [[]]).values())


# --- kinds of errors ------------------------------------------------------------------------------------------------

GOLD = Span("PER", 2, 5)


@pytest.mark.parametrize(
    ("predicted", "kind"),
    [
        (Span("PER", 2, 5), "correct"),
        (Span("LOC", 2, 5), "type"),
        (Span("PER", 2, 4), "boundary"),
        (Span("PER", 4, 9), "boundary"),
        (Span("LOC", 1, 6), "boundary_and_type"),
    ],
)
def test_kinds_of_errors(predicted, kind):
    assert match_entities([GOLD], [predicted]) == [(kind, GOLD, predicted)]
    expected = dict.fromkeys(entity_errors([[]], [[]]), 0) | {kind: 1}
    assert entity_errors([[GOLD]], [[predicted]]) == expected


def test_entities_that_only_touch_are_missed_and_spurious():
    beside = Span("PER", 5, 7)
    assert match_entities([GOLD], [beside]) == [("missed", GOLD, None), ("spurious", None, beside)]


def test_a_better_match_is_never_lost_to_a_worse_one():
    # The first prediction overlaps the gold entity too, begins earlier, and in a greedy pass would take it.
    other, right = Span("LOC", 0, 3), Span("PER", 3, 5)
    assert match_entities([GOLD], [other, right]) == [("boundary", GOLD, right), ("spurious", None, other)]


def test_in_a_round_the_longest_overlap_is_first():
    short, long = Span("PER", 1, 3), Span("PER", 3, 6)
    assert match_entities([GOLD], [short, long])[0] == ("boundary", GOLD, long)
    equal = Span("PER", 4, 7), Span("PER", 1, 3)  # both share one word: the one that begins first
    assert match_entities([GOLD], equal)[0] == ("boundary", GOLD, equal[1])


span_sets = st.sets(
    st.builds(
        lambda name, start, size: Span(name, start, start + size),
        st.sampled_from(TYPES),
        st.integers(0, 8),
        st.integers(1, 4),
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(span_sets, span_sets)
def test_every_entity_is_counted_once(gold, predicted):
    matches = match_entities(gold, predicted)
    assert sorted(match.gold for match in matches if match.gold) == sorted(gold)
    assert sorted(match.predicted for match in matches if match.predicted) == sorted(predicted)
    errors = entity_errors([gold], [predicted])
    assert sum(errors.values()) - errors["spurious"] == len(gold)
    assert sum(errors.values()) - errors["missed"] == len(predicted)
    assert errors["correct"] == len(gold & predicted)


@settings(max_examples=50)
@given(span_sets, span_sets)
def test_sides_exchanged_exchange_missed_and_spurious(gold, predicted):
    there, back = entity_errors([gold], [predicted]), entity_errors([predicted], [gold])
    assert (there["correct"], there["type"]) == (back["correct"], back["type"])
    assert there["missed"] - there["spurious"] == back["spurious"] - back["missed"]


# --- seen and unseen ------------------------------------------------------------------------------------------------

WORDS = [["New", "York", "loves", "Ann"], ["Bob", "met", "NEW", "YORK"]]


def test_seen_and_unseen_by_hand():
    known = entity_surfaces([[Span("LOC", 1, 3), Span("PER", 4, 5)]], [["in", "New", "York", "with", "bob"]])
    assert known == {("LOC", "new york"), ("PER", "bob")}
    gold = [[Span("LOC", 0, 2), Span("PER", 3, 4)], [Span("PER", 0, 1), Span("PER", 2, 4)]]
    predicted = [[Span("LOC", 0, 2)], [Span("LOC", 2, 4), Span("ORG", 1, 2)]]
    found = seen_unseen(gold, predicted, WORDS, known)
    # Seen: gold New York and Bob; predicted New York (right) and NEW YORK as a place (wrong).
    assert found["seen"] == {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2}
    # Unseen: gold Ann, and NEW YORK as a person; predicted "met".
    assert found["unseen"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}


def test_spans_may_count_characters():
    assert entity_surfaces([[Span("LOC", 3, 12)]], ["in New\n  York"]) == {("LOC", "new yor")}
    assert entity_surfaces([[Span("LOC", 3, 13)]], ["in New\n  York"]) == {("LOC", "new york")}
    assert entity_surfaces([[Span("LOC", 0, 6)]], ["Straße"]) == entity_surfaces([[Span("LOC", 0, 1)]], [["STRASSE"]])


def test_the_slices_add_up():
    source = random.Random(3)
    words = [[source.choice("abcd") for _ in range(10)] for _ in range(60)]
    training, gold, predicted = ([random_spans(source, 10) for _ in words] for _ in range(3))
    predicted = [
        guess | {span for span in truth if source.random() < 0.5} for truth, guess in zip(gold, predicted, strict=True)
    ]
    inside = [[span for span in found if span.end <= 10] for found in training]
    found = seen_unseen(gold, predicted, words, entity_surfaces(inside, words))
    hits = sum(round(row["recall"] * row["support"]) for row in found.values())
    assert sum(row["support"] for row in found.values()) == sum(map(len, gold))
    assert hits == sum(len(truth & guess) for truth, guess in zip(gold, predicted, strict=True))
    assert sum(round(row["recall"] * row["support"] / row["precision"]) for row in found.values()) == sum(
        map(len, predicted)
    )
    assert min(row["support"] for row in found.values()) > 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: overlap_scores([[]], []), "gold has 1 sentences, predicted has 0"),
        (lambda: overlap_scores([[("PER", 3, 3)]], [[]]), r"sentence 1: the span \('PER', 3, 3\) is empty"),
        (lambda: entity_errors([[], []], [[], [("PER", 3, 2)]]), "sentence 2: the span"),
        (lambda: entity_errors([], []), "no sentences to score"),
        (lambda: seen_unseen([[]], [[]], [], set()), "gold has 1 sentences"),
        (lambda: entity_surfaces([[]], [["a"], ["b"]]), "sentences"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()
