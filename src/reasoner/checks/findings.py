"""What is a finding: one kind of fault, how often it was found and where, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

ERROR, WARNING, NOTE = "error", "warning", "note"
SHOWN_PLACES = 5
_PLACE = re.compile(r"(.*), (\w+) (\d+)")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of fault, with every place where it was found."""

    code: str
    """A name that stays the same from version to version, such as "leakage"."""
    what: str
    """What is wrong, with its count, as a sentence without its full stop."""
    remedy: str
    """What to do about it, as a sentence with its full stop."""
    severity: str = WARNING
    """"error": training would fail, or its scores would lie; "warning": look at it; "note": good to know."""
    count: int = 0
    """How often: rows, tags, entities or labels, as `what` says."""
    places: tuple[str, ...] = ()
    """File and line (or split and row) of each row concerned; empty where it is no row in particular."""
    partners: tuple[str, ...] = ()
    """The row that each of the places repeats or contradicts; empty where there is none."""


def some_places(finding: Finding) -> str:
    """Return the first places of a finding, and how many more there are; in brackets the rows that they are like.

    Places of one file stand together: `dev.csv, lines 3, 8 (train.csv, lines 112, 7); test.csv, line 4`.
    """
    partners = finding.partners or [""] * len(finding.places)
    pairs = list(zip(finding.places, partners, strict=True))[:SHOWN_PLACES]
    parts = []
    for (source, other), group in groupby(pairs, key=lambda pair: (_file(pair[0]), _file(pair[1]))):
        places, like = zip(*group, strict=True)
        own = "as " + ", ".join(map(_number, like)) if source == other else _joined(like)
        parts.append(_joined(places) + (f" ({own})" if other else ""))
    more = len(finding.places) - SHOWN_PLACES
    return "; ".join(parts) + (f" and {more:,} more" if more > 0 else "")


def listed(names: Sequence[object], most: int = 6) -> str:
    """Return names with commas between them, the first ones if there are many."""
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _joined(places: Sequence[str]) -> str:
    """Return `train.jsonl, lines 3, 8` for `train.jsonl, line 3` and `train.jsonl, line 8`."""
    match = _PLACE.fullmatch(places[0])
    if match is None or len(places) == 1:
        return ", ".join(places)
    return f"{match[1]}, {match[2]}s {', '.join(map(_number, places))}"


def _file(place: str) -> str:
    """Return the part of a place that it shares with others of its file."""
    match = _PLACE.fullmatch(place)
    return f"{match[1]}, {match[2]}" if match else place


def _number(place: str) -> str:
    match = _PLACE.fullmatch(place)
    return match[3] if match else place
