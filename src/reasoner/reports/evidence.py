"""What do the training rows show that are most like an input: their labels, how near they are, do they agree?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from statistics import fmean
from typing import Any

from reasoner.reports.layout import clean, clipped

WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training row that the model sees near an input."""

    where: str
    texts: Mapping[str, str]
    gold: tuple[str, ...]
    """Its label, or labels; of NER the types of its entities."""
    similarity: float
    """Cosine, from -1 to 1: 1 means that the head is given the same."""
    agrees: bool | None
    """Whether its gold is what is predicted for the input; None: the two cannot be compared."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Evidence:
    """The training rows nearest to an input. Printing it, or showing it in a notebook, lists them in order."""

    texts: Mapping[str, str]
    """Of the input."""
    said: tuple[str, ...]
    """What is predicted for it, as `Neighbour.gold`."""
    neighbours: tuple[Neighbour, ...]
    """The nearest first."""

    @property
    def agreeing(self) -> int | None:
        """How many of the neighbours have what is predicted as their gold; None: they cannot be compared."""
        known = [one.agrees for one in self.neighbours if one.agrees is not None]
        return sum(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON values."""
        return asdict(self)

    def __repr__(self) -> str:
        lines = textwrap.wrap(self._heading(), WIDTH)
        for one in self.neighbours:
            lines += [f"  {one.similarity:.3f}  {_names(one.gold)}{_mark(one)}  ({one.where})"]
            lines += [clipped(f"         {clean(f'{name}: {text}')}", WIDTH) for name, text in one.texts.items()]
        return "\n".join(clipped(line, WIDTH) for line in lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.similarity:.3f}</td><td>{escape(_names(one.gold) + _mark(one))}</td>"
            f"<td>{'<br>'.join(escape(text) for text in one.texts.values())}</td><td>{escape(one.where)}</td></tr>"
            for one in self.neighbours
        )
        return f"<div><b>{escape(self._heading())}</b><table>{rows}</table></div>"

    def _heading(self) -> str:
        agreeing = "" if self.agreeing is None else f"; {self.agreeing} of {len(self.neighbours)} neighbours agree"
        return f"{_names(self.said)}{agreeing}: {clean(' | '.join(self.texts.values()))[:200]}"


class Evidences(list[Evidence]):
    """A list of evidence, one an input."""

    def agreement(self) -> float | None:
        """Return the mean share of neighbours that agree; None where none can be compared."""
        shares = [one.agreeing / len(one.neighbours) for one in self if one.agreeing is not None]
        return fmean(shares) if shares else None

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self))

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _mark(one: Neighbour) -> str:
    return "" if one.agrees is None else " (agrees)" if one.agrees else " (differs)"
