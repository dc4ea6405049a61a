"""How good are predicted answers to questions, by the rules of SQuAD 1.1 and 2.0?"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from math import inf, isfinite, nextafter

from reasoner.errors import Problem, raise_if_any
from reasoner.metrics.checks import check_same_length

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def answer_scores(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Score answers by exact match and by F1 over words, the best over each question's gold answers.

    The rules are those of the official evaluation of SQuAD 2.0 (Rajpurkar et al., 2018,
    https://arxiv.org/abs/1806.03822), which on answerable questions are those of 1.1; scores are fractions 0-1.

    Args:
        gold: for each question its acceptable answers; an empty list: it has no answer.
        predicted: for each question one answer; `""`: none.

    Returns:
        `exact_match`, `f1` and `total` (the number of questions). If any question has no answer, also the same three
        with the prefix `no_answer_`, and with `has_answer_` for the rest if there is one.

    Raises:
        DataError: if the lengths differ or are 0, or an item is not of the type above.
    """
    _check(gold, predicted)
    pairs = [
        (answer_exact_match(answer, answers), answer_f1(answer, answers))
        for answer, answers in zip(predicted, gold, strict=True)
    ]
    scores = _means(pairs)
    # Whether a question has an answer is read from the list as given, before answers that are "the" alone are dropped.
    without = [pair for pair, answers in zip(pairs, gold, strict=True) if not answers]
    rest = [pair for pair, answers in zip(pairs, gold, strict=True) if answers]
    if without:
        scores |= _means(rest, "has_answer_") | _means(without, "no_answer_")
    return scores


def best_no_answer_threshold(
    gold: Sequence[Sequence[str]], predicted: Sequence[str], no_answer_scores: Sequence[float]
) -> dict[str, float]:
    """Find the threshold that gives the best F1 when a question is left unanswered above it.

    Question i gets the answer `""` when `no_answer_scores[i] > threshold`, else `predicted[i]`. Unlike the official
    script, questions with equal scores are answered or left together, so that the threshold does give what is returned.

    Args:
        gold: for each question its acceptable answers; an empty list: it has no answer.
        predicted: for each question the best answer that is a span of the text.
        no_answer_scores: for each question how much speaks for it having no answer, in any unit.

    Returns:
        `threshold`, and the `exact_match` and `f1` that it gives. It is the score of a question, or just below the
        lowest score when it is best to answer none. Of thresholds with one F1 it is the one with the best exact
        match, then the lowest.

    Raises:
        DataError: if the lengths differ or are 0, an item is not of the type above, or a score is not finite.
    """
    _check(gold, predicted)
    check_same_length(gold, no_answer_scores, unit="no-answer scores")
    raise_if_any(
        Problem(f"question {number}", f"the no-answer score is {score!r}", "Give a finite number.")
        for number, score in enumerate(no_answer_scores, start=1)
        if not isfinite(score)
    )
    gains: dict[float, list[float]] = {nextafter(min(no_answer_scores), -inf): [0.0, 0.0]}
    for score, answer, answers in sorted(zip(no_answer_scores, predicted, gold, strict=True), key=lambda row: row[0]):
        gain = gains.setdefault(score, [0.0, 0.0])
        gain[0] += answer_f1(answer, answers) - answer_f1("", answers)
        gain[1] += answer_exact_match(answer, answers) - answer_exact_match("", answers)
    threshold = _best_prefix(gains)
    kept = [answer if score <= threshold else "" for answer, score in zip(predicted, no_answer_scores, strict=True)]
    scores = answer_scores(gold, kept)
    return {"threshold": float(threshold), "exact_match": scores["exact_match"], "f1": scores["f1"]}


def answer_exact_match(predicted: str, answers: Sequence[str]) -> float:
    """Return 1.0 if the normalized answer equals one of the normalized gold answers, else 0.0."""
    return float(normalize_answer(predicted) in _normalized_gold(answers))


def answer_f1(predicted: str, answers: Sequence[str]) -> float:
    """Return the best F1 over words between the normalized answer and the gold answers; two empty ones score 1."""
    words = normalize_answer(predicted).split()
    return max(_word_f1(words, answer.split()) for answer in _normalized_gold(answers))


def normalize_answer(text: str) -> str:
    """Lower the case, remove ASCII punctuation, then the articles a, an and the, and make white space single spaces."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def _normalized_gold(answers: Sequence[str]) -> list[str]:
    """The normalized gold answers that are not empty; an empty one if none is left, which is also how none is given."""
    return [normal for answer in answers if (normal := normalize_answer(answer))] or [""]


def _word_f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))


def _means(pairs: Sequence[tuple[float, float]], prefix: str = "") -> dict[str, float]:
    if not pairs:
        return {}
    return {
        f"{prefix}exact_match": sum(exact for exact, _ in pairs) / len(pairs),
        f"{prefix}f1": sum(f1 for _, f1 in pairs) / len(pairs),
        f"{prefix}total": len(pairs),
    }


def _best_prefix(gains: dict[float, list[float]]) -> float:
    """Return the threshold up to which the gains in F1, then in exact match, add up to most; `gains` is in order."""
    best_threshold, best, total_f1, total_exact = 0.0, (-inf, -inf), 0.0, 0.0
    for threshold, (f1, exact) in gains.items():
        total_f1, total_exact = total_f1 + f1, total_exact + exact
        if (round(total_f1, 9), total_exact) > best:  # rounded: equal sums may differ by the order of adding
            best_threshold, best = threshold, (round(total_f1, 9), total_exact)
    return best_threshold


def _check(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> None:
    check_same_length(gold, predicted, unit="questions")
    problems = []
    for number, (answers, answer) in enumerate(zip(gold, predicted, strict=True), start=1):
        if isinstance(answers, str) or not all(isinstance(text, str) for text in answers):
            problems.append(
                Problem(f"question {number}", f"gold is {answers!r}", "Give a list of answers, [] for none.")
            )
        if not isinstance(answer, str):
            problems.append(
                Problem(f"question {number}", f"predicted is {answer!r}", 'Give a string, "" for no answer.')
            )
    raise_if_any(problems)
