"""Which words tell of a person's gender or nationality: what stands for what when a row is told of somebody else?

The lists are English, short, and yours to replace: what they do not hold is not measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from reasoner.data.edited import Replacement
from reasoner.errors import ConfigError

NO_NOUN = frozenset({
    "a", "about", "after", "again", "and", "as", "at", "because", "before", "but", "by", "during", "for", "from", "if",
    "in", "into", "is", "it", "of", "off", "on", "or", "out", "over", "so", "than", "that", "the", "then", "through",
    "to", "too", "under", "until", "up", "was", "when", "where", "which", "while", "who", "with",
})  # fmt: skip
"""After one of these words, or the end of a sentence, "her" was "him" and not "his"."""


@dataclass(frozen=True)
class WordGroup:
    """Words that say who somebody is, in columns: the n-th word of each value stands for the n-th of the others.

    A word may stand in a column several times; what it becomes is then what stands beside it first.
    """

    name: str
    """Such as "gender"."""
    words: Mapping[str, Sequence[str]]
    """By value, such as "female": words in small letters, or names as they are written."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.words.values()}
        if len(self.words) < 2 or len(lengths) != 1 or 0 in lengths:
            raise ConfigError(f"WordGroup '{self.name}': give two values at least, with equally many words each.")
        if any(not isinstance(word, str) or not word.strip() for column in self.words.values() for word in column):
            raise ConfigError(f"WordGroup '{self.name}': give each word as text.")

    def replacements(self, text: str, value: str) -> list[Replacement]:
        """Return what is replaced so that a text tells of somebody of this value; its words for it are in no list."""
        column = self.words[value]
        becomes: dict[str, str] = {}
        for words in self.words.values():
            for place, word in enumerate(words):
                becomes.setdefault(word, column[place])
        becomes |= {word: word for word in column}
        found = []
        for match in self._pattern.finditer(text):
            word = match[0] if match[0] in becomes else match[0].lower()
            new = becomes.get(word)
            if new is None:
                continue
            if word == "her" and new in ("his", "him"):
                new = "his" if _before_a_noun(text, match.end()) else "him"
            if new != word:
                found.append(Replacement(*match.span(), _written_as(match[0], new)))
        return found

    def tells(self, text: str) -> bool:
        """Return whether a text has one of the words."""
        return any(match[0] in self._known or match[0].lower() in self._known for match in self._pattern.finditer(text))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(word for column in self.words.values() for word in column)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        listed = "|".join(sorted(map(re.escape, self._known), key=len, reverse=True))
        return re.compile(rf"(?<![\w-])(?:{listed})(?![\w-])", re.IGNORECASE)


def _before_a_noun(text: str, end: int) -> bool:
    following = re.match(r"\s+([^\W\d_]+)", text[end:])
    return following is not None and following[1].lower() not in NO_NOUN


def _written_as(old: str, new: str) -> str:
    """Return the new word with the capitals of the old one."""
    if old.isupper() and len(old) > 1:
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new


GROUPS = (
    WordGroup(
        "gender",
        {
            "female": (
                "she", "her", "her", "hers", "herself", "woman", "women", "girl", "girls", "lady", "ladies", "mother",
                "mothers", "daughter", "daughters", "sister", "sisters", "wife", "wives", "aunt", "grandmother",
                "niece", "queen", "mrs", "ms", "Alice", "Anna", "Clara", "Elena", "Emily", "Fatima",
                "Hannah", "Jane", "Julia",
                "Laura", "Maria", "Olga", "Priya", "Rosa", "Sofia", "Zainab",
            ),
            "male": (
                "he", "his", "him", "his", "himself", "man", "men", "boy", "boys", "gentleman", "gentlemen", "father",
                "fathers", "son", "sons", "brother", "brothers", "husband", "husbands", "uncle", "grandfather",
                "nephew", "king", "mr", "mr", "Antonio", "Ben", "Carlos", "Daniel", "Diego", "Omar", "George", "Ivan",
                "James", "John", "Michael", "Peter", "Samuel", "Paul", "Thomas", "Amir",
            ),
        },
    ),
    WordGroup(
        "nationality",
        {
            "American": ("american", "americans", "america"),
            "Chinese": ("chinese", "chinese people", "china"),
            "French": ("french", "french people", "france"),
            "German": ("german", "germans", "germany"),
            "Indian": ("indian", "indians", "india"),
            "Iranian": ("iranian", "iranians", "iran"),
            "Mexican": ("mexican", "mexicans", "mexico"),
            "Nigerian": ("nigerian", "nigerians", "nigeria"),
            "Polish": ("polish", "poles", "poland"),
            "Russian": ("russian", "russians", "russia"),
        },
    ),
)  # fmt: skip
"""What `bias` looks at where nothing else is given."""
