"""What the library did on its own (dropped, repaired, inferred, defaulted): counted, and said once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

logger = logging.getLogger("reasoner")

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)
_logged: ContextVar[set[str]] = ContextVar("logged")
_counter: ContextVar[Counter[str] | None] = ContextVar("counter", default=None)
_muted: ContextVar[bool] = ContextVar("muted", default=False)


def say(message: str) -> None:
    """Log `message` once: inside `collect()` a message that was already said is not repeated."""
    collected = _collected.get()
    if collected is not None:
        if message in collected:
            return
        collected.append(message)
        if message in _logged.get():
            return
        _logged.get().add(message)
    tell(message)


def said() -> list[str]:
    """Return what was said so far inside `collect()`, in order."""
    return list(_collected.get() or ())


def tell(message: str) -> None:
    """Log progress: like `say`, but it is news and no notice, so it is neither collected nor held back."""
    if not _muted.get():
        _make_visible()
        logger.info(message)


@dataclass(frozen=True)
class Mean:
    """A mean that `count` adds up: a sum, and the number that it is over."""

    total: int
    number: int

    def __add__(self, other: Mean) -> Mean:
        return Mean(self.total + other.total, self.number + other.number)

    def __radd__(self, nothing: int) -> Mean:
        return self

    def __str__(self) -> str:
        return f"{self.total / self.number:.1f}"


def count(message: str, number: int | Mean = 1) -> None:
    """Add to a count that is said when the surrounding `counting()` ends.

    Args:
        message: a sentence with `{n}` where the count goes, such as `"{n} rows had no label and were dropped."`.
        number: how many to add; or a mean, always a mean for the same message.
    """
    counter = _counter.get()
    if counter is None:
        say(message.format(n=number))
    else:
        counter[message] += number  # type: ignore[assignment]


@contextmanager
def collect(*, apart: bool = False) -> Iterator[list[str]]:
    """Collect everything that is said inside the block, in order. Blocks nest: an inner one collects for the outer.

    Args:
        apart: collect on from what the outer block has, but not for it: for one of several runs. What was said in an
            earlier one is collected again and not logged again.
    """
    outer = _collected.get()
    messages: list[str] = [] if outer is None else list(outer) if apart else outer
    logged = _logged.set(set()) if outer is None else None
    token = _collected.set(messages)
    try:
        yield messages
    finally:
        _collected.reset(token)
        if logged is not None:
            _logged.reset(logged)


@contextmanager
def counting(prefix: str = "") -> Iterator[Counter[str]]:
    """Add up what `count()` is told inside the block, and say each total at its end."""
    counter: Counter[str] = Counter()
    try:
        with adding_to(counter):
            yield counter
    finally:
        say_totals(counter, prefix)


@contextmanager
def adding_to(counter: Counter[str]) -> Iterator[None]:
    """Add what `count()` is told inside the block to `counter`, and say nothing: for a count over several blocks."""
    token = _counter.set(counter)
    try:
        yield
    finally:
        _counter.reset(token)


def say_totals(counter: Counter[str], prefix: str = "") -> None:
    """Say what was counted."""
    for message, number in counter.items():
        say(prefix + message.format(n=number))


@contextmanager
def muted() -> Iterator[None]:
    """Log nothing inside the block; notices are collected all the same."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def _make_visible() -> None:
    """Give the logger a plain handler when the program has set up no logging of its own."""
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


@contextmanager
def quietly() -> Iterator[None]:
    """Silence transformers' reports and bars on loading and saving: what matters is said by this library."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
