"""Do entity scores equal seqeval's, and do they behave as scores must?"""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import scheme as seqeval_schemes
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from reasoner import notices
from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.metrics import Span, entity_scores, span_scores, spans, token_scores

PREFIXES = {"IOB1": "IOB", "IOB2": "IOB", "IOE1": "IOE", "IOE2": "IOE", "IOBES": "IOBES", "BILOU": "BILOU"}
TYPES = ["PER", "LOC", "LOC-CITY", "X", "X-"]
SEQUENCES = 2000
pytestmark = pytest.mark.filterwarnings("ignore")  # seqeval warns of every ill-formed tag and every empty division


def random_tag(source: random.Random, prefixes: str) -> str:
    prefix = source.choice(prefixes)
    if prefix == "O":
        return "O"
    roll = source.random()  # a few tags without a type, and a few without their dash
    return (
        prefix if roll < 0.03 else prefix + source.choice(TYPES) if roll < 0.06 else f"{prefix}-{source.choice(TYPES)}"
    )


def random_pair(source: random.Random, prefixes: str, sentences: int) -> tuple[list[list[str]], list[list[str]]]:
    """Gold and predicted tags that agree on about two thirds of the words."""
    gold = [[random_tag(source, prefixes) for _ in range(source.randint(0, 9))] for _ in range(sentences)]
    predicted = [[tag if source.random() < 0.65 else random_tag(source, prefixes) for tag in tags] for tags in gold]
    return gold, predicted


def assert_equal_reports(ours: dict, report: dict) -> None:
    """Every figure of seqeval's report stands in ours."""

    def same(row: dict, reference: dict) -> None:
        assert row["precision"] == pytest.approx(reference["precision"], abs=1e-12)
        assert row["recall"] == pytest.approx(reference["recall"], abs=1e-12)
        assert row["f1"] == pytest.approx(reference["f1-score"], abs=1e-12)

    assert set(ours["by_type"]) == set(report) - {"micro avg", "macro avg", "weighted avg"}
    for name, row in ours["by_type"].items():
        same(row, report[name])
        assert row["support"] == report[name]["support"]
    same(ours, report["micro avg"])
    assert ours["support"] == report["micro avg"]["support"]
    if ours["by_type"]:  # without any entity seqeval's macro average is NaN
        same(ours["macro"], report["macro avg"])
    same(ours["weighted"], report["weighted avg"])


@pytest.mark.parametrize("prefixes", ["OOBI", "OBIES", "OOOOBIESMLU.x"])
def test_default_mode_equals_seqeval_on_random_sequences(prefixes: str) -> None:
    source, done = random.Random(1), 0
    while done < SEQUENCES:
        gold, predicted = random_pair(source, prefixes, source.randint(1, 12))
        done += len(gold)
        scores = entity_scores(gold, predicted)
        assert_equal_reports(scores, classification_report(gold, predicted, output_dict=True))
        assert scores["f1"] == pytest.approx(f1_score(gold, predicted), abs=1e-12)
        assert scores["precision"] == pytest.approx(precision_score(gold, predicted), abs=1e-12)
        assert scores["recall"] == pytest.approx(recall_score(gold, predicted), abs=1e-12)


@pytest.mark.parametrize("scheme", PREFIXES)
def test_strict_mode_equals_seqeval_on_random_sequences(scheme: str) -> None:
    source, done = random.Random(2), 0
    reference = getattr(seqeval_schemes, scheme)
    while done < SEQUENCES:
        gold, predicted = random_pair(source, PREFIXES[scheme], source.randint(1, 25))
        done += len(gold)
        scores = entity_scores(gold, predicted, mode="strict", scheme=scheme)
        report = classification_report(gold, predicted, output_dict=True, mode="strict", scheme=reference)
        assert_equal_reports(scores, report)
        if scores["by_type"]:
            assert scores["f1"] == pytest.approx(f1_score(gold, predicted, mode="strict", scheme=reference), abs=1e-12)


def test_the_scheme_is_found_as_seqeval_finds_it() -> None:
    source = random.Random(3)
    found, refused = set(), 0
    for _ in range(300):
        prefixes = "".join(source.sample("OBIESLU", source.randint(1, 5)))
        gold, predicted = random_pair(source, prefixes, 4)
        try:
            report = classification_report(gold, predicted, output_dict=True, mode="strict")
        except (ValueError, KeyError):
            with pytest.raises(DataError):
                entity_scores(gold, predicted, mode="strict")
            refused += 1
        else:
            found.add(seqeval_schemes.auto_detect(gold).__name__)
            assert_equal_reports(entity_scores(gold, predicted, mode="strict"), report)
    assert found == {"IOB2", "IOE2", "IOBES", "BILOU"} and refused > 20


@pytest.mark.parametrize("prefixes", ["OBI", "OBIES", "OOBIESML."])
def test_default_spans_equal_seqevals_on_single_sentences(prefixes: str) -> None:
    source = random.Random(4)
    for _ in range(500):
        tags = [random_tag(source, prefixes) for _ in range(source.randint(0, 12))]
        assert spans(tags) == [Span(name, start, end + 1) for name, start, end in get_entities(tags)]


@pytest.mark.parametrize("scheme", PREFIXES)
def test_strict_spans_equal_seqevals_on_single_sentences(scheme: str) -> None:
    source, reference = random.Random(5), getattr(seqeval_schemes, scheme)
    for _ in range(300):
        tags = [random_tag(source, PREFIXES[scheme]) for _ in range(source.randint(0, 12))]
        expected = [Span(item.tag, item.start, item.end) for item in seqeval_schemes.Tokens(tags, reference).entities]
        assert spans(tags, mode="strict", scheme=scheme) == expected


def test_spans_by_hand() -> None:
    assert spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]) == [("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5)]
    assert spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"], mode="strict", scheme="IOB2") == [
        ("PER", 0, 2),
        ("LOC", 4, 5),
    ]
    assert spans(["S-A", "B-A", "E-A"], mode="strict", scheme="BIOES") == [("A", 0, 1), ("A", 1, 3)]


def test_scores_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "O"]]
    scores = entity_scores(gold, predicted)
    assert scores["precision"] == scores["recall"] == pytest.approx(2 / 3)
    assert scores["by_type"]["LOC"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2}
    assert scores["macro"]["recall"] == 0.75 and scores["weighted"]["recall"] == pytest.approx(2 / 3)


def test_without_any_entity_every_score_is_zero() -> None:
    scores = entity_scores([["O", "O"]], [["O", "O"]])
    zeros = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert scores == {**zeros, "support": 0, "macro": zeros, "weighted": zeros, "by_type": {}}


span_sets = st.lists(
    st.sets(st.builds(Span, st.sampled_from(TYPES), st.integers(0, 5), st.integers(6, 9)), max_size=4), min_size=1
)


@settings(max_examples=60)
@given(span_sets)
def test_perfect_spans_score_one(gold: list[set[Span]]) -> None:
    scores = span_scores(gold, [list(found) for found in gold])
    expected = 1.0 if any(gold) else 0.0
    for part in (scores, scores["macro"], scores["weighted"]):
        assert part["precision"] == part["recall"] == part["f1"] == pytest.approx(expected)


tag_pairs = st.lists(
    st.lists(st.tuples(*[st.sampled_from(["O", "B-A", "I-A", "B-B", "E-B", "S-A"])] * 2), max_size=6), min_size=1
)


@settings(max_examples=60)
@given(tag_pairs, st.randoms(use_true_random=False))
def test_the_order_of_sentences_changes_nothing(sentences: list, source: random.Random) -> None:
    shuffled = source.sample(sentences, len(sentences))

    def tags(pairs: list, side: int) -> list[list[str]]:
        return [[pair[side] for pair in sentence] for sentence in pairs]

    for function in (entity_scores, token_scores):
        assert function(tags(sentences, 0), tags(sentences, 1)) == function(tags(shuffled, 0), tags(shuffled, 1))


@settings(max_examples=60)
@given(tag_pairs)
def test_swapping_gold_and_predicted_swaps_precision_and_recall(sentences: list) -> None:
    gold, predicted = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    scores, swapped = entity_scores(gold, predicted), entity_scores(predicted, gold)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (
        swapped["recall"],
        swapped["precision"],
        swapped["f1"],
    )


def test_token_scores_equal_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    gold, predicted = random_pair(random.Random(6), "OBI", 200)
    flat_gold, flat_predicted = ([tag for tags in side for tag in tags] for side in (gold, predicted))
    scores = token_scores(gold, predicted)
    assert scores["accuracy"] == pytest.approx(accuracy_score(flat_gold, flat_predicted), abs=1e-12)
    assert scores["support"] == len(flat_gold)
    tags = sorted({*flat_gold, *flat_predicted})
    assert list(scores["by_tag"]) == tags
    columns = precision_recall_fscore_support(flat_gold, flat_predicted, labels=tags, zero_division=0)
    for tag, *expected in zip(tags, *columns, strict=True):
        row = scores["by_tag"][tag]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("function", [entity_scores, token_scores])
def test_unequal_lengths_name_every_sentence(function) -> None:
    with pytest.raises(DataError) as caught:
        function([["O"], ["O", "O"], ["O"]], [["O"], ["O"], []])
    assert [str(problem) for problem in caught.value.problems] == [
        "sentence 2: gold has 2 tags, predicted has 1. Give one tag per word in both.",
        "sentence 3: gold has 1 tags, predicted has 0. Give one tag per word in both.",
    ]
    with pytest.raises(DataError, match=r"gold has 2 sentences, predicted has 1"):
        function([["O"], ["O"]], [["O"]])
    with pytest.raises(DataError, match=r"there are no sentences to score"):
        function([], [])


def test_unreadable_tags_name_their_sentence() -> None:
    with pytest.raises(LabelError, match=r"sentence 2, predicted: tag 1 is ''. Give every word a tag"):
        entity_scores([["O"], ["O"]], [["O"], [""]])
    with pytest.raises(LabelError, match=r"sentence 1, predicted: tag 2 is 'S-A'. IOB2 has the prefixes I, O, B"):
        entity_scores([["B-A", "I-A"]], [["B-A", "S-A"]], mode="strict")
    with pytest.raises(DataError, match=r"scheme cannot be told from the prefixes of the tags: O. Pass scheme="):
        entity_scores([["O"]], [["O"]], mode="strict")


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"mode 'strickt' is not known. Did you mean 'strict'?"):
        entity_scores([["O"]], [["O"]], mode="strickt")
    with pytest.raises(ConfigError, match=r"scheme 'IOB3' is not known. Did you mean 'IOB"):
        spans(["O"], mode="strict", scheme="IOB3")
    with pytest.raises(ConfigError, match=r"has no effect in mode 'default'"):
        entity_scores([["O"]], [["O"]], scheme="IOB2")


def test_tags_that_default_mode_does_not_know_are_said() -> None:
    with notices.collect() as said:
        entity_scores([["B-PER", "L-PER", "O"]], [["B-PER", "I-PER", "O"]])
        assert len(said) == 1 and "L-PER" in said[0] and "mode='strict'" in said[0]
    with notices.collect() as said:
        entity_scores([["B-PER", "E-PER", "S", "O"]], [["B-PER", "I-PER", "O", "O"]])
        assert said == []


def test_importing_the_metrics_loads_nothing_heavy() -> None:
    program = (
        "import sys, reasoner.metrics;"
        "print([name for name in ('numpy', 'scipy', 'sklearn', 'torch', 'seqeval', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
