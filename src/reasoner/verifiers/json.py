"""Is the JSON right? The last object or array in a text, compared by value."""

from __future__ import annotations

from dataclasses import dataclass
from json import JSONDecoder
from typing import Any, NoReturn

from reasoner.errors import DataError
from reasoner.verifiers.base import Verifier

LONGEST = 100_000
STARTS_TRIED = 1_000


@dataclass(frozen=True)
class Json(Verifier):
    """Compares objects and arrays by value: the order of keys does not count, 1 and 1.0 are one, 1 and true are not.

    A key that stands twice in an object, NaN and infinity are no JSON. Gold is an object or array of Python, or its
    text. A text of more than 100,000 characters is not read.
    """

    def parse(self, text: str) -> Any:
        """Return the last outermost object or array of a text, or None."""
        if len(text) > LONGEST:
            return None
        decoder = JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse)
        last, start = None, 0
        for _ in range(STARTS_TRIED):
            start = min((place for mark in "{[" if (place := text.find(mark, start)) >= 0), default=-1)
            if start < 0:
                break
            try:
                last, start = decoder.raw_decode(text, start)
            except (ValueError, RecursionError):
                start += 1
        return last

    def parse_gold(self, gold: Any) -> Any:
        """Return gold as Python values."""
        if isinstance(gold, str):
            return super().parse_gold(gold)
        if not isinstance(gold, dict | list):
            raise DataError(f"Json: gold is {gold!r}. Give an object or array, or its text.")
        return gold

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two values are one."""
        if isinstance(answer, dict) and isinstance(gold, dict):
            return answer.keys() == gold.keys() and all(self.same(answer[key], gold[key]) for key in gold)
        if isinstance(answer, list) and isinstance(gold, list | tuple):
            return len(answer) == len(gold) and all(map(self.same, answer, gold))
        return isinstance(answer, bool) == isinstance(gold, bool) and bool(answer == gold)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
