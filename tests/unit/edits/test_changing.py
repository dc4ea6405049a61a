"""Is what a changing edit says is right after it right, and does it keep off where that is not certain?"""

from __future__ import annotations

from random import Random

import pytest

from reasoner.data.answers import Answer
from reasoner.edits.changing import CONTRASTS, ContrastEdit, contrasts_of
from reasoner.errors import ConfigError
from reasoner.tasks.classification import Classification
from reasoner.tasks.nli import NLI, NLIExample
from reasoner.tasks.qa import QuestionAnswering, QuestionAnsweringExample

THREE = NLI(labels=("entailment", "neutral", "contradiction"))
TWO = NLI(labels=("ENTAILMENT", "not_entailment"))
EDITS = {edit.name: edit for edits in CONTRASTS.values() for edit in edits}


def denied(task, hypothesis, label):
    row = NLIExample(premise="P.", hypothesis=hypothesis, label=label)
    made = EDITS["negation"].make(task, row, Random(0))
    return None if made is None else (made.premise, made.hypothesis, made.label)


@pytest.mark.parametrize(
    ("task", "label", "after"),
    [
        (THREE, "entailment", "contradiction"),
        (THREE, "contradiction", "entailment"),
        (THREE, 0, "contradiction"),
        (THREE, "neutral", None),
        (TWO, "ENTAILMENT", "not_entailment"),
        (TWO, "not_entailment", None),
    ],
)
def test_a_denied_hypothesis_has_the_opposite_label_where_that_is_certain(task, label, after):
    found = denied(task, "The dog is asleep.", label)
    assert found == (after and ("P.", "It is not true that the dog is asleep.", after))


@pytest.mark.parametrize(
    ("hypothesis", "after"),
    [
        ("Anna was late", "It is not true that Anna was late"),
        ("There are three cats.", "It is not true that there are three cats."),
        ("A man outside.", None),
        ("Is the dog asleep?", None),
        ("", None),
    ],
)
def test_only_whole_sentences_are_denied(hypothesis, after):
    found = denied(THREE, hypothesis, "entailment")
    assert (found and found[1]) == after


def question(context, answer, question="When was it built?", times=1):
    start = context.index(answer) if answer else 0
    answers = (Answer(answer, start),) * times if answer else ()
    return QuestionAnsweringExample(id="1", context=context, question=question, answers=answers)


@pytest.mark.parametrize(
    ("name", "context", "answer", "known"),
    [
        ("number", "The mill of 40 rooms was built in 1912, they say.", "1912", r"1[89]\d\d"),
        ("number", "It has 12 floors.", "12", r"\d\d"),
        ("name", "The mill was built by Omar in spring.", "Omar", r"[A-Z]\w+"),
        ("place", "The mill stands in Oslo.", "Oslo", r"[A-Z]\w+"),
    ],
)
def test_another_answer_is_right_where_the_old_one_stood(name, context, answer, known):
    import re

    row = question(context, answer, times=2)
    made = EDITS[name].make(QuestionAnswering(), row, Random(0))
    (text, start), again = made.answers
    assert again == (text, start) and text != answer and re.fullmatch(known, text)
    assert made.context == context.replace(answer, text) and made.context[start : start + len(text)] == text
    assert made.question == row.question


@pytest.mark.parametrize(
    ("context", "answer", "asked"),
    [
        ("Built in 1912, and 1912 was a good year.", "1912", "When was it built?"),
        ("Built in 1912.", "1912", "Was it built in 1912?"),
        ("Built in 1912.", "in 1912", "When was it built?"),
        ("It cost 1912.50 then.", "1912", "What did it cost?"),
        ("Built in 1912.", "", "Who built it?"),
    ],
)
def test_an_answer_that_is_not_alone_stays(context, answer, asked):
    assert EDITS["number"].make(QuestionAnswering(), question(context, answer, asked), Random(0)) is None


def test_names_are_checked():
    own = ContrastEdit("own", "by hand", lambda task, example, random: None)
    assert contrasts_of(THREE, None) == CONTRASTS[NLI]
    assert contrasts_of(THREE, ["negation", own]) == (*CONTRASTS[NLI], own)
    assert contrasts_of(Classification(), [own]) == (own,)
    for task, edits, message in (
        (Classification(), None, "for Classification no change is known"),
        (THREE, ["negatoin"], "there is no edit 'negatoin' here. Did you mean 'negation'"),
        (THREE, ["number"], "there is no edit 'number' here"),
        (THREE, [], "at least one edit"),
        (THREE, [own, own], "each name once"),
    ):
        with pytest.raises(ConfigError, match=message):
            contrasts_of(task, edits)
