"""How good are several samples of one answer? pass@k, the vote of the majority, and what a right answer costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb, inf
from typing import NamedTuple

from reasoner.errors import DataError


class Vote(NamedTuple):
    """What the most samples say."""

    answer: Hashable
    """The answer with the most votes, of several the one that came first; None if no sample has an answer."""
    votes: int
    """How many said it."""
    tied: tuple[Hashable, ...]
    """All answers with as many votes, that one among them; longer than one: the vote is a tie."""


class MajorityScore(NamedTuple):
    """What a vote of k samples is worth."""

    correct: float
    """The probability that the vote is right; of tied answers each is taken as often."""
    tied: float
    """The probability that the vote is a tie."""


def majority(answers: Sequence[Hashable]) -> Vote:
    """Return the answer that the most samples give (self-consistency: Wang et al., 2022). None does not vote.

    Raises:
        DataError: if there is no sample.
    """
    if not answers:
        raise DataError("There is no sample to vote. Give at least one.")
    votes = Counter(answer for answer in answers if answer is not None)  # keeps the order in which they came
    most = max(votes.values(), default=0)
    tied = tuple(answer for answer, number in votes.items() if number == most)
    return Vote(tied[0] if tied else None, most, tied)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Return the probability that of k of the samples at least one is correct: 1 - C(n - c, k) / C(n, k).

    The unbiased estimator of Chen et al. (2021), "Evaluating large language models trained on code".

    Raises:
        DataError: unless 0 <= correct <= samples and 1 <= k <= samples.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise DataError(f"pass@{k} of {samples} samples, {correct} correct: k (from 1) and correct may not be more.")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def maj_at_k(answers: Sequence[Hashable], correct: Sequence[bool], k: int) -> MajorityScore:
    """Return how often the majority of k of the samples is right, over all ways to draw them without order.

    Exact, not sampled: answers are counted by a polynomial in the number of votes.

    Args:
        answers: For each sample its answer, equal ones being one answer (`Verifier.groups`); None: it does not vote.
        correct: For each sample whether it is right; samples with one answer must agree.
        k: How many samples vote.

    Raises:
        DataError: if the lengths differ, samples with one answer differ in `correct`, or k is below 1 or too large.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    right = {answer for answer, good in zip(answers, correct, strict=False) if good and answer is not None}
    wrong = {answer for answer, good in zip(answers, correct, strict=False) if not good}
    if len(answers) != len(correct) or right & wrong or not 1 <= k <= len(answers):
        raise DataError(
            f"maj@{k} of {len(answers)} answers, {len(correct)} of them judged: give one judgement an answer, the same "
            "for the same answer, and k from 1 to their number."
        )
    silent = len(answers) - sum(votes.values())
    won = tied = 0.0
    for answer, number in votes.items():
        others = [count for other, count in votes.items() if other != answer]
        for most in range(1, min(number, k) + 1):
            for ties, ways in enumerate(_ways(others, silent, most, k - most)):
                draws = comb(number, most) * ways / (ties + 1)
                won += draws * (answer in right)
                tied += draws * (ties > 0)
    return MajorityScore(won / comb(len(answers), k), tied / comb(len(answers), k))


def _ways(others: Sequence[int], silent: int, most: int, drawn: int) -> list[int]:
    """Return by how many answers have `most` votes too, in how many ways `drawn` samples give no answer more.

    `others` are how many samples there are of each other answer, `silent` those without one.
    """
    found = {(0, 0): 1}  # (drawn so far, ties so far) -> ways
    for number in others:
        step: Counter[tuple[int, int]] = Counter()
        for (used, ties), ways in found.items():
            for taken in range(min(number, most, drawn - used) + 1):
                step[used + taken, ties + (taken == most)] += ways * comb(number, taken)
        found = dict(step)
    by_ties = [0] * (len(others) + 1)
    for (used, ties), ways in found.items():
        by_ties[ties] += ways * comb(silent, drawn - used)
    return by_ties


def sampling_scores(
    answers: Sequence[Sequence[Hashable]],
    correct: Sequence[Sequence[bool]],
    *,
    ks: Sequence[int] = (1,),
    costs: Sequence[Sequence[float]] | None = None,
) -> dict[str, float]:
    """Return pass@k and maj@k of several samples a question, their mean over the questions, and what they cost.

    Args:
        answers: For each question the answers of its samples, as `maj_at_k` takes them.
        correct: Likewise, whether each is right.
        ks: How many samples are drawn.
        costs: Likewise, what each sample cost, in tokens, seconds or money; the cost of a right answer is what the
            samples of all questions cost, over the questions that are right, by pass@k and by maj@k.

    Raises:
        DataError: if there is no question, or as `pass_at_k` and `maj_at_k` do.
    """
    number = len(answers)
    if not number or len(correct) != number or (costs is not None and list(map(len, costs)) != list(map(len, answers))):
        raise DataError(f"{number} questions: give at least one, and for each sample one judgement and one cost.")
    scores: dict[str, float] = {}
    for k in ks:
        votes = [maj_at_k(*question, k) for question in zip(answers, correct, strict=True)]
        scores[f"pass@{k}"] = sum(pass_at_k(len(right), sum(map(bool, right)), k) for right in correct) / number
        scores[f"maj@{k}"] = sum(vote.correct for vote in votes) / number
        scores[f"tied@{k}"] = sum(vote.tied for vote in votes) / number
        if costs is not None:
            spent = k * sum(sum(cost) / len(cost) for cost in costs) / number
            for name in ("pass", "maj"):
                score = scores[f"{name}@{k}"]
                scores[f"cost_per_correct/{name}@{k}"] = spent / score if score else inf
    return scores
