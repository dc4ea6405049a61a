"""How often did something happen, and how sure is that? The cells of reports that count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from reasoner.metrics import share_interval


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of some rows, with the interval of their share."""

    hits: int
    rows: int
    lower: float
    """Lower end of the share's 95% interval (Wilson)."""
    upper: float

    @classmethod
    def of(cls, hits: list[bool]) -> Self:
        """Count them; at least one."""
        interval = share_interval(sum(hits), len(hits))
        return cls(hits=sum(hits), rows=len(hits), lower=interval.lower, upper=interval.upper)

    @property
    def rate(self) -> float:
        """The share, from 0 to 1."""
        return self.hits / self.rows

    @property
    def cells(self) -> tuple[str, str]:
        """Share and interval, as text."""
        return f"{self.rate:.1%}", f"{self.lower:.1%} {self.upper:.1%}"


def cells_of(share: Share | None) -> tuple[str, str]:
    """Return the cells of a share, or of none."""
    return ("-", "-") if share is None else share.cells
