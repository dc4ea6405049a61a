"""Does each rule count as the tool whose name it goes by, on ill-formed gold too, and fast enough for every epoch?"""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate.evaluator import Evaluator
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from reasoner.data.tag_schemes import read_spans, to_iob2, write_spans
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import (
    entity_errors,
    entity_scores,
    scores_by_rule,
    spans,
    tag_scores,
    token_scores,
    well_formed_spans,
)

SCHEMES = {"IOB1": IOB1, "IOB2": IOB2, "BIOES": IOBES, "BILOU": BILOU}
TYPES = ["PER", "LOC"]


def any_tags(prefixes: str, length: int) -> st.SearchStrategy[list[str]]:
    """Tags in any order, most of them ill-formed."""
    kinds = ["O", "O", *(f"{prefix}-{name}" for prefix in prefixes for name in TYPES)]
    return st.lists(st.sampled_from(kinds), min_size=length, max_size=length)


def predicted_tags(scheme: str, length: int) -> st.SearchStrategy[list[str]]:
    """Tags that a model gives: those of entities, well-formed."""
    prefixes = {"IOB1": "IB", "IOB2": "IB"}.get(scheme, "BI")
    return any_tags(prefixes, length).map(lambda tags: write_spans(read_spans(tags), length, scheme))


@st.composite
def corpora(draw, scheme: str):
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    prefixes = {"IOB1": "IB", "IOB2": "IB", "BIOES": "BIES", "BILOU": "BILU"}[scheme]
    gold = [draw(any_tags(prefixes, length)) for length in lengths]
    predicted = [draw(predicted_tags(scheme, length)) for length in lengths]
    return gold, [write_spans(read_spans(t), len(t), scheme) if draw(st.booleans()) else p
                  for t, p in zip(gold, predicted, strict=True)]  # fmt: skip


def rows(gold: list[list[str]], predicted: list[list[str]], scheme: str):
    """What a task does: gold in its own scheme, everything else in IOB2."""
    own = [spans(to_iob2(tags, scheme)) for tags in gold]
    found = [spans(to_iob2(tags, scheme)) for tags in predicted]
    return scores_by_rule(own, found, well_formed=[well_formed_spans(tags, scheme) for tags in gold])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_conll_and_scheme_strict_are_those_of_seqeval_on_ill_formed_gold(scheme):
    unlike = 0

    @settings(max_examples=150)
    @given(corpora(scheme))
    def check(corpus):
        nonlocal unlike
        gold, predicted = corpus
        ours = rows(gold, predicted, scheme)
        for rule, mode in (("conll", {}), ("scheme_strict", {"mode": "strict", "scheme": SCHEMES[scheme]})):
            if rule == "conll":  # seqeval's default mode knows no BILOU: as conlleval does, both are given IOB2
                pair = [to_iob2(tags, scheme) for tags in gold], [to_iob2(tags, scheme) for tags in predicted]
            else:
                pair = gold, predicted
            for name, measure in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
                expected = measure(*pair, zero_division=0, **mode)
                assert ours[rule][name] == pytest.approx(expected, abs=1e-12), (rule, name)
        unlike += ours["conll"] != ours["scheme_strict"]

    check()
    assert unlike > 20  # or the two rules would not be told apart


def test_partial_and_type_only_are_those_of_nervaluate():
    source = random.Random(0)
    for _ in range(100):
        gold, predicted = ([[source.choice(["O", "B-PER", "B-LOC", "I-PER"]) for _ in range(9)] for _ in range(3)]
                           for _ in range(2))  # fmt: skip
        gold, predicted = ([to_iob2(tags, "IOB2") for tags in side] for side in (gold, predicted))
        reference = Evaluator(gold, predicted, tags=TYPES, loader="list").evaluate()["overall"]
        ours = rows(gold, predicted, "IOB2")
        for rule, scheme in (("partial", "partial"), ("type_only", "ent_type")):
            for name in ("precision", "recall", "f1"):
                assert ours[rule][name] == pytest.approx(getattr(reference[scheme], name), abs=1e-12)
            assert ours[rule]["support"] == reference[scheme].possible == ours["conll"]["support"]


def test_the_four_rules_by_hand():
    gold = [["B-PER", "I-PER", "O", "B-LOC", "O", "B-ORG"]]
    predicted = [["B-PER", "O", "O", "B-PER", "O", "B-ORG"]]
    truth, found = [spans(gold[0])], [spans(predicted[0])]
    f1 = {rule: row["f1"] for rule, row in scores_by_rule(truth, found).items()}
    assert f1 == {"conll": 1 / 3, "scheme_strict": 1 / 3, "partial": 2.5 / 3, "type_only": 2 / 3}
    strict = scores_by_rule(truth, found, well_formed=[truth[0][:2]])["scheme_strict"]
    assert strict == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}  # ORG is now no gold entity


@pytest.mark.parametrize(
    ("tags", "scheme", "found"),
    [
        (["I-PER", "I-PER", "O", "I-LOC"], "IO", [("PER", 0, 2), ("LOC", 3, 4)]),
        (["B-PER", "M-PER", "E-PER", "S-PER"], "BMES", [("PER", 0, 3), ("PER", 3, 4)]),
        (["B-PER", "M-PER", "O", "S-PER"], "BMES", [("PER", 3, 4)]),
        (["O", "I-PER", "B-PER"], "IOB2", [("PER", 2, 3)]),
        (["B-creative-work", "I-creative-work"], "IOB2", [("creative-work", 0, 2)]),
    ],
)
def test_well_formed_spans(tags, scheme, found):
    assert well_formed_spans(tags, scheme) == found


def test_a_scheme_that_does_not_have_the_prefix_is_refused():
    with pytest.raises(DataError, match="tag 1 is 'S-PER'"):
        well_formed_spans(["S-PER"], "IOB2")
    with pytest.raises(ConfigError, match="not known"):
        well_formed_spans(["O"], "IOX")


@settings(max_examples=150)
@given(corpora("IOB2"))
def test_tag_scores_are_those_of_the_parts(corpus):
    gold, predicted = corpus
    gold = [to_iob2(tags, "IOB2") for tags in gold]
    scores = tag_scores(gold, predicted)
    assert {name: scores[name] for name in entity_scores(gold, predicted)} == entity_scores(gold, predicted)
    truth, found = [spans(tags) for tags in gold], [spans(tags) for tags in predicted]
    assert scores["errors"] == entity_errors(truth, found)
    assert scores["tokens"] == token_scores(gold, predicted)
    assert scores["errors"]["correct"] == round(scores["recall"] * scores["support"])


def test_the_work_grows_as_the_sentences_do():
    """Counted in calls, which are the same on every machine."""

    def calls(number):
        source, made = random.Random(0), Counter()
        gold = [to_iob2([source.choice(["O"] * 12 + ["B-PER", "I-PER", "B-LOC"]) for _ in range(20)], "IOB2")
                for _ in range(number)]  # fmt: skip
        predicted = [tags if source.random() < 0.6 else other
                     for tags, other in zip(gold, reversed(gold), strict=True)]  # fmt: skip
        truth, found = ([spans(tags) for tags in side] for side in (gold, predicted))
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, argument: made.update([event]))
        try:
            scores_by_rule(truth, found)
            entity_errors(truth, found)
        finally:
            sys.setprofile(before)
        return made["call"] + made["c_call"]

    few, many = calls(500), calls(2_000)
    assert few > 500 and many < 4.4 * few
