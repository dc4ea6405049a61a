"""Where do gold answers stand in their context: read from files, and put right where one place is meant?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reasoner.data.examples import RowError
from reasoner.notices import count

NEARBY = 50
"""Characters within which an answer that is not at its offset is looked for, when it stands more than once."""


class Answer(NamedTuple):
    """A gold answer: `context[start : start + len(text)] == text`."""

    text: str
    start: int


def answers_of_column(value: Any, context: str) -> tuple[Answer, ...]:
    """Return the answers, each moved to where its text stands if it is not at its offset.

    Raises:
        RowError: if an answer stands nowhere in the context, or in several places near its offset.
    """
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
    elif isinstance(value, (list, tuple)) and all(isinstance(item, Mapping) for item in value):
        texts, starts = [item.get("text") for item in value], [item.get("answer_start") for item in value]
    else:
        texts = starts = 0
    if isinstance(texts, str) and isinstance(starts, int):  # one answer, without lists
        texts, starts = [texts], [starts]
    if not all(isinstance(part, (list, tuple)) or part is None for part in (texts, starts)):
        raise RowError("answers has another form", "Give {'text': [...], 'answer_start': [...]}.")
    texts, starts = list(texts or ()), list(starts or ())
    if len(texts) != len(starts):
        raise RowError(f"answers has {len(texts)} texts and {len(starts)} offsets", "Give one answer_start per text.")
    answers = []
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str) or not isinstance(start, int):
            raise RowError(f"answer {text!r} at {start!r} is not a text at a number", "Give a string and an integer.")
        answers.append(Answer(text, _place(text, start, context)))
    return tuple(answers)


def _place(text: str, start: int, context: str) -> int:
    if text and start >= 0 and context[start : start + len(text)] == text:
        return start
    places = []
    place = context.find(text) if text else -1
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    near = places if len(places) == 1 else [place for place in places if abs(place - start) <= NEARBY]
    if len(near) != 1:
        found = (
            "stands in several places near it" if near else "is not to be found near it" if places else "stands nowhere"
        )
        raise RowError(
            f"the answer {text!r:.60} is not at answer_start {start} and {found} in the context",
            "Correct it.",
            code="answer_offset",
        )
    count("{n} answers were not at their answer_start; each was moved to the one place where its text stands.")
    return near[0]
