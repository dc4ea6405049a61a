"""The gold of tagged sentences: which types does it hold, and which of its words and tags cannot be used?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reasoner.data.examples import RowError
from reasoner.errors import LabelError, Problem
from reasoner.losses import IGNORED

GoldRow = tuple[str, list[str | None]]
"""Where a row stands, and its gold in IOB2; None at a word that is not scored."""


def read_gold(
    examples: Iterable[Any], tags_of: Callable[[Any], list[str | None]]
) -> tuple[list[GoldRow], list[Problem]]:
    """Return the gold of examples, and which of them have tags that are not of the scheme that `tags_of` reads."""
    rows, problems, remedy = [], [], "Write all tags in one scheme, or name it in the task with scheme=..."
    for example in examples:
        try:
            rows.append((example.where, tags_of(example)))
        except LabelError as error:
            problems.append(Problem(example.where, str(error).rstrip("."), remedy, True, "tag_scheme"))
    return rows, problems


def types_of(rows: Iterable[GoldRow]) -> list[tuple[str, str]]:
    """Return every entity's type with its place; each begins with a B- tag, since gold is in IOB2."""
    return [(tag[2:], where) for where, tags in rows for tag in tags if tag is not None and tag.startswith("B-")]


def unknown_tags(rows: Iterable[GoldRow], labels: Sequence[str]) -> list[Problem]:
    """Return the gold tags that are not among the labels, though their types are."""
    remedy = "Name all tags in the task: labels=['O', 'B-...', 'I-...', ...]."
    return [
        Problem(where, f"the tag '{tag}' is not one of the task's labels", remedy, about_labels=True)
        for where, tags in rows
        for tag in dict.fromkeys(tags)
        if tag is not None and tag not in labels
    ]


def unnamed_numbers(rows: Iterable[tuple[str, Sequence[str | int]]], names: Sequence[str]) -> list[Problem]:
    """Return the tags that are numbers out of range.

    Args:
        rows: where each row stands, and its tags as the data has them.
        names: what the numbers mean.

    Raises:
        LabelError: if there are numbers and no names.
    """
    problems = []
    for where, tags in rows:
        for tag in tags:
            if isinstance(tag, str) or tag == IGNORED or 0 <= tag < len(names):
                continue
            if not names:
                raise LabelError(
                    f"{where}: ner_tags are numbers, and nothing says what they mean. "
                    "Give their names in order: task=NER(tag_names=['O', 'B-PER', ...])."
                )
            what = f"ner_tags holds {tag}, which is out of range: there are {len(names)} tags, numbered from 0"
            problems.append(Problem(where, what, "Correct it, or give all tag_names.", True, "label_out_of_range"))
    return problems


def commonest_tags(sentences: Iterable[tuple[Sequence[str], Sequence[str | None]]]) -> dict[str, str]:
    """Return for each word the tag that it has most often; None is no tag.

    Args:
        sentences: words and tags of each.
    """
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in sentences:
        for word, tag in zip(words, tags, strict=True):
            if tag is not None:
                seen[word][tag] += 1
    return {word: counts.most_common(1)[0][0] for word, counts in seen.items()}


def check_words(words: Sequence[Any]) -> None:
    """Refuse words that are not text.

    Raises:
        RowError: that shows the first one.
    """
    for word in words:
        if not isinstance(word, str):
            raise RowError(f"tokens holds {word!r:.40}, which is not text", "Give each word as a string.")
