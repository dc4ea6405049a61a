"""How good are predicted entities: precision, recall and F1 over whole spans, and over single tags?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypedDict

from reasoner import notices
from reasoner.errors import Problem, raise_if_any
from reasoner.metrics.checks import check_same_length
from reasoner.metrics.chunking import (
    Span,
    check_mode,
    default_spans,
    resolve_scheme,
    spans,
    strict_spans,
    tag_problems,
)
from reasoner.metrics.counts import (
    Averages,
    LabelScores,
    macro_average,
    scores_by_name,
    scores_from_counts,
    weighted_average,
)

__all__ = ["EntityScores", "Span", "TokenScores", "entity_scores", "span_scores", "spans", "token_scores"]


class EntityScores(LabelScores):
    """Scores over whole entities; precision, recall, F1 and support at the top are over all types (micro)."""

    macro: Averages
    """The plain mean over the types that are gold or predicted."""
    weighted: Averages
    """The mean over the types, weighted by their support."""
    by_type: dict[str, LabelScores]


class TokenScores(TypedDict):
    """Scores over single tags, one a word."""

    accuracy: float
    support: int
    """How many words there are."""
    by_tag: dict[str, LabelScores]


def entity_scores(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    mode: str = "default",
    scheme: str | None = None,
) -> EntityScores:
    """Score tag sequences by whole entities: right only when type, first and last word are all right.

    Equal to `classification_report` and `f1_score` of seqeval 1.2.2 in both modes, ill-formed tags included, except
    that a set without any entity has the score 0 in every place (there seqeval's macro average is NaN).

    Args:
        gold: for each sentence one tag a word, such as `[["B-PER", "I-PER", "O"]]`.
        predicted: the same shape.
        mode: `"default"` or `"strict"`, see `spans`.
        scheme: for `"strict"`, see `spans`; None: found from the gold tags.

    Raises:
        DataError: if the shapes differ or a tag cannot be read; every sentence at fault is named, counted from 1.
        ConfigError: if `mode` or `scheme` is unknown, or a scheme is given without `mode="strict"`.
    """
    check_mode(mode, scheme)
    _check_shapes(gold, predicted)
    if mode == "strict":
        scheme = resolve_scheme(scheme, gold)
    raise_if_any(_all_tag_problems(gold, predicted, scheme))
    if scheme is not None:
        return span_scores(
            [strict_spans(tags, scheme) for tags in gold], [strict_spans(tags, scheme) for tags in predicted]
        )
    _say_loose_tags([*gold, *predicted])
    return span_scores([default_spans(_joined(gold))], [default_spans(_joined(predicted))])


def span_scores(gold: Sequence[Collection[Span]], predicted: Sequence[Collection[Span]]) -> EntityScores:
    """Score entities that are given as spans: for each sentence (or document) a set of them, in any order.

    A span that stands twice in one set counts once. Offsets may be in any unit that gold and predicted share.

    Raises:
        DataError: if the numbers of sets differ, or there are none.
    """
    check_same_length(gold, predicted, unit="sentences")
    gold_set, predicted_set = _numbered(gold), _numbered(predicted)
    hits = gold_set & predicted_set
    types = sorted({span.type for _, span in gold_set | predicted_set})
    by_type = scores_by_name(_types(hits), _types(predicted_set), _types(gold_set), types)
    overall = scores_from_counts(len(hits), len(predicted_set), len(gold_set))
    rows = by_type.values()
    return {**overall, "macro": macro_average(rows), "weighted": weighted_average(rows), "by_type": by_type}


def well_formed_spans(tags: Sequence[str], scheme: str) -> list[Span]:
    """Return the entities whose tags keep to their scheme, as seqeval's strict mode finds them.

    Args:
        tags: one a word.
        scheme: IOB1, IOB2, BIOES or BILOU as in `spans`; also IO, which is read as IOB1 (they differ where two entities
            touch, which IO cannot write), and BMES, which is BIOES with another letter for the inside.

    Raises:
        DataError: if a tag has a prefix that the scheme lacks.
        ConfigError: if the scheme is unknown.
    """
    if scheme == "BMES":
        tags, scheme = [f"I{tag[1:]}" if tag.startswith("M") else tag for tag in tags], "BIOES"
    return spans(tags, mode="strict", scheme="IOB1" if scheme == "IO" else scheme)


def token_scores(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> TokenScores:
    """Score tag sequences word by word, `O` included, with a row for each tag that is gold or predicted.

    Raises:
        DataError: if the shapes differ or a tag cannot be read; every sentence at fault is named, counted from 1.
    """
    _check_shapes(gold, predicted)
    raise_if_any(_all_tag_problems(gold, predicted, None))
    pairs = [pair for sentence in zip(gold, predicted, strict=True) for pair in zip(*sentence, strict=True)]
    hits = Counter(tag for tag, guess in pairs if tag == guess)
    gold_counts, predicted_counts = Counter(tag for tag, _ in pairs), Counter(guess for _, guess in pairs)
    by_tag = scores_by_name(hits, predicted_counts, gold_counts, sorted({*gold_counts, *predicted_counts}))
    return {"accuracy": hits.total() / max(len(pairs), 1), "support": len(pairs), "by_tag": by_tag}


def _check_shapes(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    check_same_length(gold, predicted, unit="sentences")
    raise_if_any(
        Problem(
            f"sentence {number}",
            f"gold has {len(tags)} tags, predicted has {len(guesses)}",
            "Give one tag per word in both.",
        )
        for number, (tags, guesses) in enumerate(zip(gold, predicted, strict=True), start=1)
        if len(tags) != len(guesses)
    )


def _all_tag_problems(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str | None
) -> Iterator[Problem]:
    for side, sentences in (("gold", gold), ("predicted", predicted)):
        for number, tags in enumerate(sentences, start=1):
            yield from tag_problems(tags, where=f"sentence {number}, {side}", scheme=scheme)


def _say_loose_tags(sentences: Iterable[Sequence[str]]) -> None:
    """Say which tags the default mode does not know: it then reads the first letter as a prefix, as seqeval does."""
    loose = sorted(
        tag for tag in {tag for tags in sentences for tag in tags} if tag[0] not in "OBIES" or tag[1:2] not in ("", "-")
    )
    if loose:
        notices.say(
            f"{len(loose)} kinds of tags are not O and do not begin with B-, I-, E- or S- ({', '.join(loose[:5])}): "
            "their entities may be merged or lost. Convert the tags, or for BILOU set mode='strict'."
        )


def _joined(sentences: Sequence[Sequence[str]]) -> list[str]:
    """All sentences as one, an `O` after each, as seqeval reads them: it matters for a few ill-formed tags only."""
    return [tag for tags in sentences for tag in (*tags, "O")]


def _numbered(sentences: Sequence[Collection[Span]]) -> set[tuple[int, Span]]:
    return {
        (number, span if isinstance(span, Span) else Span(*span))
        for number, found in enumerate(sentences)
        for span in found
    }


def _types(numbered: Iterable[tuple[int, Span]]) -> Counter[str]:
    return Counter(span.type for _, span in numbered)
