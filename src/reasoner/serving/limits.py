"""How much may a request ask for, and how long may it take?"""

from __future__ import annotations

from dataclasses import dataclass, fields

from reasoner.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """What a service refuses. Each limit has its status code and a sentence; nothing is cut to fit."""

    body_bytes: int = 1_000_000
    """Of a request; more: 413."""
    rows: int = 64
    """Inputs in a request; more: 422. As many are run together at most, of all requests that wait (a request whole)."""
    characters: int = 20_000
    """Of all texts of an input; more: 422."""
    choices: int = 64
    """Of an input, where the model runs once for each; more: 422."""
    waiting: int = 256
    """Requests that wait or run; more: 503."""
    seconds: float = 30.0
    """For a body to come (else 408), and for its predictions (else 503). Also how long a stopping service goes on."""

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through."""
        for item in fields(self):
            value = getattr(self, item.name)
            whole = item.name != "seconds"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
                raise ConfigError(f"{item.name} is {value!r}. Give a {'whole ' if whole else ''}number above 0.")
