"""Do rows repeat or contradict each other, or stand on both sides of a split?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

from reasoner.checks.findings import NOTE, WARNING, Finding
from reasoner.checks.subject import Subject

FEW = 0.01
"""Share of a split's rows up to which it is a note, and no warning: it cannot move a score by a point."""
_MARKS_AND_SPACE = re.compile(r"[\W_]+", re.ASCII)


class Line(NamedTuple):
    """An example as it is compared."""

    where: str
    key: Hashable
    """All its texts, and the places that it is about."""
    texts: tuple[str, ...]
    """The same, the places by what stands there."""
    gold: Any
    example: Any


Pair = tuple[Line, Line]
"""An example, and the earlier one, or the one in another split, that it is like."""


def check_duplicates(subject: Subject) -> Iterator[Finding]:
    """Find, inside each split, rows that repeat an earlier one, and rows of equal input with other gold."""
    for split in subject.examples:
        first: dict[Hashable, Line] = {}
        repeated: list[Pair] = []
        opposed: list[Pair] = []
        for line in _lines(subject, split):
            earlier = first.setdefault(line.key, line)
            if earlier is not line:
                (repeated if earlier.gold == line.gold else opposed).append((line, earlier))
        total = len(subject.examples[split])
        what = f"{split}: {{}} of {{}} rows repeat an earlier row"
        yield from _pairs(
            "duplicate", what, "Leave them out, unless they are meant to count more than once.", repeated, total
        )
        what = f"{split}: {{}} of {{}} rows have the same input as an earlier one and other gold"
        remedy = "One of the two is wrong, or the input does not decide it: look at them."
        yield from _pairs("contradiction", what, remedy, opposed, total)


def check_leakage(subject: Subject) -> Iterator[Finding]:
    """Find rows of one split that stand in another: to the letter, but for case and punctuation, or in part."""
    lines = {split: _lines(subject, split) for split in subject.examples}
    for first, second in combinations(lines, 2):
        exact = {line.key: line for line in reversed(lines[first])}
        near = {_normalised(line): line for line in reversed(lines[first])}
        same: list[Pair] = []
        alike: list[Pair] = []
        rest: list[Line] = []
        for line in lines[second]:
            if line.key in exact:
                same.append((line, exact[line.key]))
            elif any(_normalised(line)) and _normalised(line) in near:
                alike.append((line, near[_normalised(line)]))
            else:
                rest.append(line)
        total = len(lines[second])
        remedy = f"Take them out of {first}: the scores on {second} reward what was memorised."
        other = sum(line.gold != twin.gold for line, twin in same)
        but = f" ({other:,} with other gold there)" if other else ""
        what = f"{{}} of {{}} rows of {second} stand in {first} as well{but}"
        yield from _pairs("leakage", what, remedy, same, total)
        what = f"{{}} of {{}} rows of {second} stand in {first} but for case, spaces and punctuation"
        yield from _pairs("near_leakage", what, remedy, alike, total)
        yield from _shared(first, second, lines[first], rest, total)


def _shared(first: str, second: str, ours: Sequence[Line], rest: Sequence[Line], total: int) -> Iterator[Finding]:
    """Find rows that have only one of their texts, such as the premise or the context, in common with the other split.

    Which text that is, an example says itself: its `group`, if that is one text. (A question with its choices has none:
    "Which is true?" stands in many rows, and gives nothing away.)
    """
    groups = {line.example.group: line for line in reversed(ours) if isinstance(line.example.group, str)}
    pairs = [(line, groups[line.example.group]) for line in rest if line.example.group in groups]
    if len(pairs) > FEW * total:
        example = pairs[0][0].example
        name = next((name for name, text in example.texts.items() if text.casefold() == example.group), "text")
        what = f"{{}} of {{}} rows of {second} have a {name} that {first} has as well"
        remedy = f"Scores on {second} may be better than on new texts: keep the rows of one {name} in one split."
        yield from _pairs("shared_text", what, remedy, pairs, total)


def _lines(subject: Subject, split: str) -> list[Line]:
    """Return the examples of a split that have texts."""
    pairs = zip(subject.examples[split], subject.gold[split], strict=True)
    lines = []
    for example, names in pairs:
        if texts := tuple(example.texts.values()):
            places = tuple(texts[0][start:end] for start, end in example.marked)
            gold = _gold(example, names)
            lines.append(Line(example.where, (texts, example.marked), texts + places, gold, example))
    return lines


def _gold(example: Any, names: tuple[str, ...]) -> Any:
    """Return what must be equal for two rows to have the same gold: tags, names, or a number."""
    return getattr(example, "ner_tags", None) or names or getattr(example, "label", None)


def _pairs(code: str, what: str, remedy: str, pairs: Sequence[Pair], total: int) -> Iterator[Finding]:
    """Give the finding, if there is any such pair; in `what` the first {} is their number, the second the total."""
    if pairs:
        yield Finding(
            code=code,
            what=what.format(f"{len(pairs):,}", f"{total:,}"),
            remedy=remedy,
            severity=WARNING if len(pairs) > FEW * total else NOTE,
            count=len(pairs),
            places=tuple(line.where for line, _ in pairs),
            partners=tuple(twin.where for _, twin in pairs),
        )


def _normalised(line: Line) -> tuple[str, ...]:
    return tuple(_normalise(text) for text in line.texts)


@cache
def _normalise(text: str) -> str:
    """Return a text without case, white space, punctuation and symbols; letters, their marks and numbers stay."""
    text = unicodedata.normalize("NFKC", text).casefold()
    if text.isascii():
        return _MARKS_AND_SPACE.sub("", text)
    return "".join(character for character in text if unicodedata.category(character)[0] in "LMN")
