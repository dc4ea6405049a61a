"""In which way are predicted entities wrong: where they end, what they are, or because training never showed them?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypedDict

from reasoner.errors import Problem, raise_if_any
from reasoner.metrics.checks import check_same_length
from reasoner.metrics.chunking import Span, spans
from reasoner.metrics.counts import Averages, LabelScores, scores_from_counts
from reasoner.metrics.entities import span_scores, token_scores

ERROR_KINDS = ("boundary", "type", "boundary_and_type", "missed", "spurious")

Spans = Sequence[Collection[Span]]
"""For each sentence (or document) a set of spans, in any order; a span that stands twice counts once."""


class OverlapScores(TypedDict):
    """The counts of one scheme, and its scores."""

    correct: int
    incorrect: int
    partial: int
    missed: int
    spurious: int
    possible: int
    """Gold entities: correct, incorrect, partial and missed."""
    actual: int
    """Predicted entities: correct, incorrect, partial and spurious."""
    precision: float
    recall: float
    f1: float


class EntityErrors(TypedDict):
    """How many entities are right, and how many are wrong in which way."""

    correct: int
    boundary: int
    """The type is right, the span is not."""
    type: int
    """The span is right, the type is not."""
    boundary_and_type: int
    """They overlap, and neither span nor type is right."""
    missed: int
    """A gold entity that no prediction is matched to."""
    spurious: int
    """A prediction that is matched to no gold entity."""


class EntityMatch(NamedTuple):
    """A gold entity, a prediction, or the two matched; `kind` is `"correct"` or one of `ERROR_KINDS`."""

    kind: str
    gold: Span | None
    predicted: Span | None


def overlap_scores(gold: Spans, predicted: Spans) -> dict[str, OverlapScores]:
    """Score entities by the four schemes of MUC and SemEval-2013, which differ in what they ask of an overlap.

    `strict`: span and type must be right; `exact`: the span; `partial`: the span, and half a point for an overlap;
    `ent_type`: the type, with any overlap. What overlaps and is not right is incorrect (in `partial`: partial), what
    overlaps nothing is missed or spurious. Sources: Chinchor and Sundheim, MUC-5, 1993; Segura-Bedmar et al.,
    SemEval-2013 task 9 (https://aclanthology.org/S13-2056). The scores equal those of nervaluate 1.2.1
    (https://github.com/MantisAI/nervaluate) on entities in order of start, end and type, including its choices:

    - The predictions choose in that order, each at most one gold entity that none chose before: a right one (in
      `ent_type` the one with the nearest boundaries), else the first that it overlaps. A wrong prediction can so take
      a gold entity from a right one that comes later; outside `ent_type` only where entities overlap each other.
    - An overlap must cover at least 1% of the gold entity: one character of a gold entity of 101 is none.

    nervaluate itself takes the entities in the order in which they are given; the order above makes it the same
    always.

    Args:
        gold: for each sentence a set of spans, in words or characters, the end excluded.
        predicted: the same number of sets.

    Raises:
        DataError: if the numbers of sets differ or are 0, or a span is empty.
    """
    pairs = _ordered_pairs(gold, predicted)
    return {scheme: _scheme_scores(pairs, *rule) for scheme, rule in _SCHEMES.items()}


def scores_by_rule(gold: Spans, predicted: Spans, *, well_formed: Spans | None = None) -> dict[str, LabelScores]:
    """Score the same predictions by four rules, each named: which one a figure follows moves it by many points.

    `conll`: type, first and last word must be right, as conlleval and seqeval's default mode count.
    `scheme_strict`: the same, and a gold entity whose tags break their scheme is none, as in seqeval's strict mode:
    what is predicted in its place is wrong.
    `partial`: the span must be right, whatever the type, and an overlap is worth half a point; `type_only`: the type
    must be right, with any overlap. They are the schemes `partial` and `ent_type` of `overlap_scores`.

    Args:
        gold: for each sentence a set of spans.
        predicted: the same number of sets.
        well_formed: for each sentence the gold entities whose tags keep to their scheme (`well_formed_spans`);
            None: all of them.

    Raises:
        DataError: if the numbers of sets differ or are 0, or a span is empty.
    """
    pairs = _ordered_pairs(gold, predicted)
    conll = span_scores(gold, predicted)
    strict = conll if well_formed is None else span_scores(well_formed, predicted)
    partial, type_only = (_scheme_scores(pairs, *_SCHEMES[scheme]) for scheme in ("partial", "ent_type"))
    return {
        "conll": _row(conll, conll["support"]),
        "scheme_strict": _row(strict, strict["support"]),
        "partial": _row(partial, partial["possible"]),
        "type_only": _row(type_only, type_only["possible"]),
    }


def tag_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, well_formed: Spans | None = None
) -> dict[str, Any]:
    """Return all that a report says of predicted tags: their scores by every rule, their errors, and single tags.

    Args:
        gold: for each sentence one IOB2 tag a word.
        predicted: the same shape.
        well_formed: as in `scores_by_rule`.

    Returns:
        The scores of `entity_scores`, with `by_rule` (`scores_by_rule`), `errors` (`entity_errors`) and `tokens`
        (`token_scores`) beside them.

    Raises:
        DataError: if the shapes differ or a tag cannot be read.
    """
    tokens = token_scores(gold, predicted)
    truth, found = [spans(tags) for tags in gold], [spans(tags) for tags in predicted]
    return {
        **span_scores(truth, found),
        "by_rule": scores_by_rule(truth, found, well_formed=well_formed),
        "errors": entity_errors(truth, found),
        "tokens": tokens,
    }


def entity_errors(gold: Spans, predicted: Spans) -> EntityErrors:
    """Count the entities that are right and wrong by kind; see `match_entities` for the rule.

    Every gold entity and every prediction is counted once: all kinds but `spurious` add up to the gold entities, all
    but `missed` to the predictions.

    Raises:
        DataError: if the numbers of sets differ or are 0, or a span is empty.
    """
    kinds = Counter(match.kind for pair in _ordered_pairs(gold, predicted) for match in _matched(*pair))
    return {
        "correct": kinds["correct"],
        "boundary": kinds["boundary"],
        "type": kinds["type"],
        "boundary_and_type": kinds["boundary_and_type"],
        "missed": kinds["missed"],
        "spurious": kinds["spurious"],
    }


def match_entities(gold: Collection[Span], predicted: Collection[Span]) -> list[EntityMatch]:
    """Match the entities of one sentence one to one, and say for each what is wrong.

    In four rounds, so that a worse match never takes an entity from a better one: same span and type (correct), same
    span (type), same type and an overlap (boundary), an overlap (boundary_and_type). In a round the pair with the
    longest overlap goes first, then the one that begins first. What is left is missed or spurious.
    """
    return _matched(_ordered(gold), _ordered(predicted))


def _matched(left_gold: list[Span], left_predicted: list[Span]) -> list[EntityMatch]:
    """Match two ordered lists; they are used up."""
    if left_gold == left_predicted:
        return [EntityMatch("correct", span, span) for span in left_gold]
    matches = []
    for kind, fits in _ROUNDS:
        pairs = [(truth, found) for truth in left_gold for found in left_predicted if fits(truth, found)]
        for truth, found in sorted(pairs, key=lambda pair: -_overlap(*pair)):  # stable: equal ones stay in order
            if truth in left_gold and found in left_predicted:
                left_gold.remove(truth)
                left_predicted.remove(found)
                matches.append(EntityMatch(kind, truth, found))
    matches += [EntityMatch("missed", truth, None) for truth in left_gold]
    return matches + [EntityMatch("spurious", None, found) for found in left_predicted]


def entity_surfaces(found: Spans, texts: Sequence[str | Sequence[str]]) -> frozenset[tuple[str, str]]:
    """Return type and surface of every entity, the surface in folded case and with single spaces: for `seen_unseen`.

    Args:
        found: for each sentence a set of spans.
        texts: for each sentence its words, which the spans count, or its text, if they count characters.

    Raises:
        DataError: if the numbers of sentences differ or are 0.
    """
    check_same_length(found, texts, unit="sentences")
    return frozenset(_surface(Span(*span), text) for group, text in zip(found, texts, strict=True) for span in group)


def seen_unseen(
    gold: Spans, predicted: Spans, texts: Sequence[str | Sequence[str]], training_surfaces: Collection[tuple[str, str]]
) -> dict[str, LabelScores]:
    """Score entities that training showed apart from those that it did not: a model may only know them by heart.

    An entity is seen if its surface, case aside, is an entity of the same type in training. Recall is over the gold
    entities of a slice, precision over the predictions of a slice; a hit has one surface and so one slice, and both
    slices together are the scores of `span_scores`.

    Args:
        gold: for each sentence a set of spans.
        predicted: the same number of sets.
        texts: as in `entity_surfaces`.
        training_surfaces: what `entity_surfaces` returns for the training split.

    Returns:
        `seen` and `unseen`, each with precision, recall, F1 and support.

    Raises:
        DataError: if the numbers of sentences differ or are 0.
    """
    check_same_length(gold, predicted, unit="sentences")
    check_same_length(gold, texts, unit="sentences")
    hits, guesses, truths = Counter[bool](), Counter[bool](), Counter[bool]()
    for found, guessed, text in zip(gold, predicted, texts, strict=True):
        truth, guess = {Span(*span) for span in found}, {Span(*span) for span in guessed}
        for counter, group in ((hits, truth & guess), (guesses, guess), (truths, truth)):
            counter.update(_surface(span, text) in training_surfaces for span in group)
    return {
        name: scores_from_counts(hits[seen], guesses[seen], truths[seen])
        for name, seen in (("seen", True), ("unseen", False))
    }


# --- one pair of spans ----------------------------------------------------------------------------------------------


def _overlap(gold: Span, predicted: Span) -> int:
    """Return how many words or characters both cover; negative: how far they are apart."""
    return min(gold.end, predicted.end) - max(gold.start, predicted.start)


def _overlaps(gold: Span, predicted: Span) -> bool:
    return _overlap(gold, predicted) > 0


def _overlaps_enough(gold: Span, predicted: Span) -> bool:
    overlap = _overlap(gold, predicted)
    return overlap > 0 and 100 * overlap >= gold.end - gold.start


def _distance(gold: Span, predicted: Span) -> int:
    return abs(gold.start - predicted.start) + abs(gold.end - predicted.end)


def _same_span(gold: Span, predicted: Span) -> bool:
    return gold[1:] == predicted[1:]


def _same_type(gold: Span, predicted: Span) -> bool:
    return gold.type == predicted.type


_SCHEMES: dict[str, tuple[Callable[[Span, Span], bool], str]] = {
    "strict": (Span.__eq__, "incorrect"),
    "exact": (_same_span, "incorrect"),
    "partial": (_same_span, "partial"),
    "ent_type": (_same_type, "incorrect"),
}
"""By scheme: when an overlapping pair is right, and what it is otherwise."""

_ROUNDS: tuple[tuple[str, Callable[[Span, Span], bool]], ...] = (
    ("correct", Span.__eq__),
    ("type", _same_span),
    ("boundary", lambda gold, predicted: _same_type(gold, predicted) and _overlaps(gold, predicted)),
    ("boundary_and_type", _overlaps),
)


# --- the schemes ----------------------------------------------------------------------------------------------------


def _scheme_scores(
    pairs: Sequence[tuple[list[Span], list[Span]]], right: Callable[[Span, Span], bool], otherwise: str
) -> OverlapScores:
    outcomes = Counter(outcome for gold, predicted in pairs for outcome in _outcomes(gold, predicted, right, otherwise))
    matched = outcomes["correct"] + outcomes["incorrect"] + outcomes["partial"]
    possible, actual = matched + outcomes["missed"], matched + outcomes["spurious"]
    points = outcomes["correct"] + outcomes["partial"] / 2
    return {
        "correct": outcomes["correct"],
        "incorrect": outcomes["incorrect"],
        "partial": outcomes["partial"],
        "missed": outcomes["missed"],
        "spurious": outcomes["spurious"],
        "possible": possible,
        "actual": actual,
        "precision": points / actual if actual else 0.0,
        "recall": points / possible if possible else 0.0,
        "f1": 2 * points / (possible + actual) if possible + actual else 0.0,
    }


def _outcomes(
    gold: list[Span], predicted: list[Span], right: Callable[[Span, Span], bool], otherwise: str
) -> Iterator[str]:
    if gold == predicted:  # most sentences are right, and each of their entities is then matched to itself
        yield from ["correct"] * len(gold)
        return
    unclaimed = list(gold)
    for found in predicted:
        near = [truth for truth in unclaimed if _overlaps_enough(truth, found)]
        best = min((truth for truth in near if right(truth, found)), key=lambda t: _distance(t, found), default=None)
        if not near:
            yield "spurious"
            continue
        unclaimed.remove(near[0] if best is None else best)
        yield otherwise if best is None else "correct"
    yield from ["missed"] * len(unclaimed)


def _row(scores: Averages, support: int) -> LabelScores:
    return {
        "precision": scores["precision"],
        "recall": scores["recall"],
        "f1": scores["f1"],
        "support": support,
    }


def _ordered_pairs(gold: Spans, predicted: Spans) -> list[tuple[list[Span], list[Span]]]:
    check_same_length(gold, predicted, unit="sentences")
    pairs = [(_ordered(truth), _ordered(found)) for truth, found in zip(gold, predicted, strict=True)]
    raise_if_any(
        Problem(
            f"sentence {number}", f"the span {tuple(span)} is empty", "Its end, which is excluded, must be greater."
        )
        for number, sides in enumerate(pairs, start=1)
        for side in sides
        for span in side
        if span.end <= span.start
    )
    return pairs


def _ordered(spans: Collection[Span]) -> list[Span]:
    unique = {span if isinstance(span, Span) else Span(*span) for span in spans}
    return sorted(unique, key=itemgetter(1, 2, 0)) if len(unique) > 1 else list(unique)


def _surface(span: Span, text: str | Sequence[str]) -> tuple[str, str]:
    covered = text[span.start : span.end]
    words = covered.split() if isinstance(covered, str) else covered
    return span.type, " ".join(words).casefold()
