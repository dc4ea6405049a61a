"""Is the truth of the generation pack true: words reversed and sorted, numbers added, words held out?"""

from __future__ import annotations

import re

from reasoner.synthetic import generation_pack
from reasoner.synthetic.wording import NOUNS, NUMBERS, ORDERS

PACK = generation_pack(train=300, validation=90, test=90)

NUMBERS_TO_NINETEEN = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)


def value(text: str) -> int:
    """The number that a text says, worked out without the pack's own list."""
    names = list(NUMBERS_TO_NINETEEN)
    tens = {
        "twenty": 20,
        "thirty": 30,
        "forty": 40,
        "fifty": 50,
        "sixty": 60,
        "seventy": 70,
        "eighty": 80,
        "ninety": 90,
    }
    return sum(tens[part] if part in tens else names.index(part) for part in text.split("-"))


def test_every_completion_is_right():
    seen = dict.fromkeys(ORDERS, 0)
    for row in (row for rows in PACK.values() for row in rows):
        prompt, completion = row["prompt"], row["completion"]
        assert prompt.endswith("\n") and completion == completion.strip() != ""
        if re.search(r"revers|round|last", prompt):
            seen["reverse"] += 1
            assert prompt.rpartition(": ")[2].split() == completion.split()[::-1]
        elif ":" in prompt:
            seen["sort"] += 1
            given = prompt.rpartition(": ")[2].split()
            assert sorted(given) == completion.split()
        else:
            seen["add"] += 1
            one, other = [word for word in re.findall(r"[a-z-]+", prompt.lower()) if word in NUMBERS]
            assert value(one) + value(other) == value(completion)
    assert set(seen.values()) == {160}


def test_numbers_are_in_their_order():
    assert [value(text) for text in NUMBERS] == list(range(100))


def test_nouns_are_held_out_and_different():
    assert len(set(NOUNS.train + NOUNS.held_out)) == len(NOUNS.train + NOUNS.held_out)
    for split in ("validation", "test"):
        assert not {word for row in PACK[split] for word in row["completion"].split()} & set(NOUNS.train)
