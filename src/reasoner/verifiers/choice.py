"""Is the letter right? The one in a LaTeX box, after "answer is", alone in the text, or the last in parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from reasoner.errors import ConfigError, DataError
from reasoner.verifiers.base import Verifier, boxed


@dataclass(frozen=True)
class Choice(Verifier):
    """Compares the letter of a choice. Gold is a letter, or the index of one from 0."""

    letters: str = "ABCDE"
    """The letters that there are."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z]{2,26}", self.letters) or len(set(self.letters)) < len(self.letters):
            raise ConfigError(f"Choice: letters is {self.letters!r}. Give two or more capital letters, each once.")

    def parse(self, text: str) -> str | None:
        """Return the letter, a capital one, or None."""
        inside = boxed(text)
        if inside is not None:
            text = re.sub(r"\\text\w*\s*\{([^{}]*)\}", r"\1", inside)
        letter, small = f"[{self.letters}]", f"[{self.letters}{self.letters.lower()}]"
        patterns = (  # in the second: "A" and "I" before a small letter are words
            rf"(?:answer|choice|option)\s*(?:is|:|=)\s*[*_\s]*(?:(?:option|choice)\s+)?\(({small})\)",
            rf"(?i:answer|choice|option)\s*(?i:is|:|=)\s*[*_\s]*(?:(?i:option|choice)\s+)?({letter})(?![\w'’-])"
            r"(?:(?<![AI])|(?![ \t]+[a-z]))",
            rf"^[\s*_(]*({small})[\s*_).:]*$",
            rf"^[\s*_(]*({letter})\s*[).:](?=\s)",
            rf"\(({letter})\)",
        )
        for number, pattern in enumerate(patterns):
            found = re.findall(pattern, text, re.IGNORECASE if number == 0 else re.NOFLAG)
            if found:
                return str(found[-1]).upper()
        return None

    def parse_gold(self, gold: Any) -> str:
        """Return gold as a letter."""
        if isinstance(gold, int) and not isinstance(gold, bool) and 0 <= gold < len(self.letters):
            return self.letters[gold]
        if isinstance(gold, str) and len(gold) == 1 and gold.upper() in self.letters:
            return gold.upper()
        raise DataError(f"Choice: gold is {gold!r}. Give one of the letters {self.letters}, or its index from 0.")
