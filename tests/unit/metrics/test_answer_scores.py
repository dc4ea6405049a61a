"""Do answer scores follow the published rules of SQuAD 2.0, and is the best threshold the best?"""

from __future__ import annotations

import math
import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.errors import DataError
from reasoner.metrics import answer_scores, best_no_answer_threshold
from reasoner.metrics.answers import answer_exact_match, answer_f1, normalize_answer

ASCII_PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
VOCABULARY = (
    "the a an The AN A theatre another red blue two 2 Denver Broncos 1,000 1000 3.14 $5 50% U.S. No. it's its don't "
    " well-known (9) x_y & - ... an- a. the, café CAFÉ naïve Straße Éire İstanbul 東京 北京。 “quoted” ½ — the\u00a0sea"
)
WORDS = [*VOCABULARY.split(" "), "\t", "\u2009"]


# --- An independent reading of the published rules, with other means than the library's (no regular expression on
# --- words, no Counter, exact fractions).


def rule_words(text: str) -> list[str]:
    """Lower case; no ASCII punctuation; whole words a, an, the give way to a space; split at white space."""
    kept = "".join(character for character in text.lower() if character not in ASCII_PUNCTUATION)
    pieces, current = [], ""
    for character in kept + "\0":  # cut into runs of word characters and single other characters
        if re.fullmatch(r"\w", character):
            current += character
        else:
            pieces += [current, character]
            current = ""
    return "".join(" " if piece in ("a", "an", "the") else piece for piece in pieces[:-1]).split()


def rule_gold(answers: list[str]) -> list[list[str]]:
    """Only gold answers with something left count; where there is none, the right answer is the empty one."""
    return [rule_words(answer) for answer in answers if rule_words(answer)] or [[]]


def rule_exact(answer: str, answers: list[str]) -> int:
    return max(int(rule_words(answer) == gold) for gold in rule_gold(answers))


def rule_f1(answer: str, answers: list[str]) -> Fraction:
    best = Fraction(0)
    for gold in rule_gold(answers):
        words, left, common = rule_words(answer), list(gold), 0
        if not words or not gold:
            best = max(best, Fraction(int(words == gold)))
            continue
        for word in words:
            if word in left:
                left.remove(word)
                common += 1
        if common:
            precision, recall = Fraction(common, len(words)), Fraction(common, len(gold))
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def rule_scores(gold: list[list[str]], predicted: list[str]) -> dict[str, Fraction]:
    questions = list(zip(gold, predicted, strict=True))
    groups = {"": questions}
    if any(not answers for answers in gold):
        groups["has_answer_"] = [pair for pair in questions if len(pair[0]) > 0]
        groups["no_answer_"] = [pair for pair in questions if len(pair[0]) == 0]
    scores = {}
    for prefix, members in groups.items():
        if members:
            scores[prefix + "exact_match"] = Fraction(sum(rule_exact(a, g) for g, a in members), len(members))
            scores[prefix + "f1"] = sum((rule_f1(a, g) for g, a in members), Fraction(0)) / len(members)
            scores[prefix + "total"] = Fraction(len(members))
    return scores


def random_answer(source: random.Random) -> str:
    return source.choice([" ", " ", "  ", "-", "\n"]).join(source.choices(WORDS, k=source.randint(0, 5)))


def random_question(source: random.Random) -> tuple[list[str], str]:
    answers = [random_answer(source) for _ in range(source.choice([0, 0, 1, 1, 2, 3]))]
    near = source.choice(answers) if answers else ""
    changed = " ".join([*near.upper().split()[source.randint(0, 1) :], source.choice(["", "the", "red", "."])])
    return answers, source.choice([near, near, changed, random_answer(source), ""])


def test_500_random_questions_follow_the_published_rules() -> None:
    source = random.Random(7)
    questions = [random_question(source) for _ in range(500)]
    for answers, answer in questions:
        assert normalize_answer(answer) == " ".join(rule_words(answer))
        assert answer_exact_match(answer, answers) == rule_exact(answer, answers)
        assert answer_f1(answer, answers) == pytest.approx(float(rule_f1(answer, answers)), abs=1e-12)
    for size in (1, 2, 7, 500):
        gold, predicted = [list(column) for column in zip(*questions[:size], strict=True)]
        expected = {name: float(value) for name, value in rule_scores(gold, predicted).items()}
        assert answer_scores(gold, predicted) == pytest.approx(expected, abs=1e-12)
    scored = [float(rule_f1(answer, answers)) for answers, answer in questions]
    assert 100 < sum(0 < value < 1 for value in scored) + sum(value == 0 for value in scored) < 400  # no trivial draw


@pytest.mark.parametrize(
    ("answer", "answers", "exact", "f1"),
    [
        ("The Denver Broncos!", ["Denver Broncos"], 1, 1),
        ("Broncos of Denver", ["Denver Broncos", "Broncos"], 0, 0.8),
        ("1,000", ["1000"], 1, 1),
        ("3.14", ["314"], 1, 1),  # the rules remove the point too
        ("", [], 1, 1),
        ("Denver", [], 0, 0),
        ("the", [], 1, 1),  # nothing is left of it, so the rules take it for no answer
        ("", ["Denver"], 0, 0),
        ("", ["The", "..."], 1, 1),  # no gold answer is left
        ("", ["The", "Denver"], 0, 0),
        ("red red blue", ["red"], 0, 0.5),
        ("“Denver”", ["Denver"], 0, 0),  # punctuation is ASCII punctuation
    ],
)
def test_single_answers(answer: str, answers: list[str], exact: int, f1: float) -> None:
    assert answer_exact_match(answer, answers) == exact
    assert answer_f1(answer, answers) == pytest.approx(f1)


def test_groups_appear_only_where_a_question_has_no_answer() -> None:
    assert answer_scores([["a b"]], ["b"]) == {"exact_match": 1.0, "f1": 1.0, "total": 1}
    mixed = answer_scores([["red"], ["blue"], []], ["red", "", "red"])
    assert mixed == pytest.approx(
        {
            "exact_match": 1 / 3, "f1": 1 / 3, "total": 3,
            "has_answer_exact_match": 0.5, "has_answer_f1": 0.5, "has_answer_total": 2,
            "no_answer_exact_match": 0, "no_answer_f1": 0, "no_answer_total": 1,
        }
    )  # fmt: skip
    assert set(answer_scores([[]], [""])) == {
        *("exact_match", "f1", "total", "no_answer_exact_match", "no_answer_f1", "no_answer_total")
    }


words = st.sampled_from(["red", "blue", "the", "1,000", "", "é!"])
texts = st.lists(words, max_size=4).map(" ".join)
question_lists = st.lists(st.tuples(st.lists(texts, max_size=3), texts), min_size=1, max_size=8)


@settings(max_examples=60)
@given(question_lists, st.randoms(use_true_random=False))
def test_perfect_answers_score_one_and_order_changes_nothing(questions: list, source: random.Random) -> None:
    gold = [answers for answers, _ in questions]
    # Where some gold answers are only articles, those that are not count.
    perfect = [next((text for text in answers if normalize_answer(text)), "") for answers in gold]
    scores = answer_scores(gold, perfect)
    assert scores["exact_match"] == scores["f1"] == 1.0
    shuffled = source.sample(questions, len(questions))
    before, after = (answer_scores(*map(list, zip(*order, strict=True))) for order in (questions, shuffled))
    assert before == pytest.approx(after, abs=1e-12)


def brute_force(gold: list[list[str]], predicted: list[str], no_answer: list[float]) -> Fraction:
    """The best F1 over every threshold that could make a difference."""
    candidates = [-math.inf, *no_answer, math.inf]
    kept = [
        [answer if score <= threshold else "" for answer, score in zip(predicted, no_answer, strict=True)]
        for threshold in candidates
    ]
    return max(rule_scores(gold, answers)["f1"] for answers in kept)


@settings(max_examples=80)
@given(question_lists, st.data())
def test_the_best_threshold_is_the_best(questions: list, data: st.DataObject) -> None:
    gold, predicted = [list(column) for column in zip(*questions, strict=True)]
    scores = st.one_of(st.sampled_from([-1.5, 0.0, 0.0, 2]), st.floats(-5, 5))
    no_answer = data.draw(st.lists(scores, min_size=len(gold), max_size=len(gold)))
    found = best_no_answer_threshold(gold, predicted, no_answer)
    assert found["f1"] == pytest.approx(float(brute_force(gold, predicted, no_answer)), abs=1e-9)
    applied = ["" if score > found["threshold"] else text for text, score in zip(predicted, no_answer, strict=True)]
    reached = answer_scores(gold, applied)
    assert found["f1"] == reached["f1"] and found["exact_match"] == reached["exact_match"]


def test_threshold_by_hand() -> None:
    gold = [["red"], ["blue"], [], []]
    found = best_no_answer_threshold(gold, ["red", "blue", "red", "red"], [-2.0, 0.5, 0.7, 3.0])
    assert found == {"threshold": 0.5, "exact_match": 1.0, "f1": 1.0}
    none = best_no_answer_threshold([[], []], ["red", "blue"], [1.0, 2.0])
    assert none["threshold"] < 1.0 and math.isfinite(none["threshold"]) and none["f1"] == 1.0
    every = best_no_answer_threshold([["red"], ["blue"]], ["red", "blue"], [1.0, 2.0])
    assert every == {"threshold": 2.0, "exact_match": 1.0, "f1": 1.0}


def test_bad_input_names_every_question() -> None:
    with pytest.raises(DataError) as caught:
        answer_scores(["red", ["blue"]], ["red", None])  # type: ignore[list-item]
    assert [str(problem) for problem in caught.value.problems] == [
        "question 1: gold is 'red'. Give a list of answers, [] for none.",
        'question 2: predicted is None. Give a string, "" for no answer.',
    ]
    with pytest.raises(DataError, match=r"gold has 1 questions, predicted has 2"):
        answer_scores([[]], ["", ""])
    with pytest.raises(DataError, match=r"question 1: the no-answer score is nan. Give a finite number."):
        best_no_answer_threshold([[]], [""], [float("nan")])
