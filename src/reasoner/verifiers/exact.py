"""Is the text right, letter by letter? What stands after a mark, or the whole text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.errors import ConfigError, DataError
from reasoner.verifiers.base import Verifier


@dataclass(frozen=True)
class Exact(Verifier):
    """Compares texts; white space at the ends does not count, and each run of it inside counts as one space.

    Gold is a text, or a list of texts of which any is right.
    """

    after: str | None = None
    """The answer is what stands after the last occurrence of this ("Answer:"); without it there is no answer."""
    ignore_case: bool = False
    """Whether "Paris" and "paris" are one."""

    def __post_init__(self) -> None:
        if self.after == "":
            raise ConfigError("Exact: after is empty. Give the mark before the answer, or None for the whole text.")

    def parse(self, text: str) -> str | None:
        """Return the answer, or None if it is empty or the mark is missing."""
        if self.after is not None:
            _, mark, text = text.rpartition(self.after)
            if not mark:
                return None
        return self._plain(text) or None

    def parse_gold(self, gold: Any) -> Any:
        """Return gold as a list of texts, each the answer alone: the mark is not looked for (see `gold_in`)."""
        texts = [gold] if isinstance(gold, str) else gold
        if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f"Exact: gold is {gold!r}. Give a text, or a list of texts.")
        return [self._plain(text) for text in texts]

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether the answer is one of gold."""
        return answer in gold if isinstance(gold, list) else bool(answer == gold)

    def _plain(self, text: str) -> str:
        plain = " ".join(text.split())
        return plain.casefold() if self.ignore_case else plain
