"""Is the number right? The one in the last LaTeX box, after `####` or "answer is", or else the last of all."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

from reasoner.errors import ConfigError, DataError
from reasoner.verifiers.base import INVISIBLE, Outcome, Verdict, Verifier, boxed

DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,4000})(?:\.\d{1,4000})?|\.\d{1,4000}"
FRACTION = re.compile(r"(-?)\\[dt]?frac\s*\{\s*(-?\d{1,400})\s*\}\s*\{\s*(\d{1,400})\s*\}")
NUMBER = re.compile(
    rf"(?P<sign>(?<![\w.)\]])[-+])?\$?(?P<top>(?<![\w.])(?:{DIGITS}))(?:[eE](?P<power>[-+]?\d{{1,3}})(?!\w))?"
    rf"(?:\s?/\s?(?P<bottom>{DIGITS}))?"
)
BETWEEN_DIGITS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[!,])(?=\d{3})")
UNIT = re.compile(
    r"\\(?:text|mathrm|textrm|mbox)\s*\{[^{}]*\}(?:\s*\^\s*(?:\{[^{}]*\}|\w))?|\^\s*\{?\s*\\circ\s*\}?"
    r"|(?<=[A-Za-z])\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d)"
)
"""What says in LaTeX what a number counts, with a power: `\\text{ cm}^2`, `^\\circ`; of `cm^2` the power."""
POWER = re.compile(r"(?<![\w.^])(\d{1,20}(?:\.\d{1,20})?)\s*\^\s*(?:\{\s*(-?\d{1,2})\s*\}|(-?\d{1,2})(?!\d))")
NO_NUMBER = re.compile(
    r"\\sqrt|\\pi|\\times|\\cdot|\^|\d\s*\\[dt]?frac|\\[dt]?frac(?!\s*\{\s*-?\d+\s*\}\s*\{\s*\d+\s*\})"
)
"""In a box: an expression, which `symbolic` reads, and of which the last number says nothing."""
SECONDS = 5
MARKS = (re.compile(r"####"), re.compile(r"answer\s*(?:is|:|=)", re.IGNORECASE))
CLEANED = {**INVISIBLE, ord("\u2212"): "-", ord("\u2013"): "-", ord("\u202f"): None, ord("\u00a0"): " "}


@dataclass(frozen=True)
class Number(Verifier):
    r"""Compares numbers exactly, as fractions: 0.5, 1/2, .50 and `\frac{1}{2}` are one, and so are 1,000 and 1000.

    Signs of currency and per cent, and units, are not looked at. An expression in a box (`2\sqrt{3}`) is unparsable.
    Gold may be a number, or a text that ends with it, as the `answer` of GSM8K.
    """

    tolerance: float = 0.0
    """How far the answer may be from gold, as a share of gold (0.01: one per cent)."""
    symbolic: bool = False
    """Whether expressions (`2\\sqrt{3}`, `x+1`) are compared, by math-verify (`pip install 'reasoner-ft[verify]'`)."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"Number: tolerance is {self.tolerance!r}. Give a share of gold, at least 0 and below 1.")
        if self.symbolic and self.tolerance:
            raise ConfigError("Number: math-verify has a rule of its own for nearness. Give tolerance or symbolic.")
        if self.symbolic and not find_spec("math_verify"):
            raise ConfigError("Number(symbolic=True) needs math-verify. Install it: pip install 'reasoner-ft[verify]'.")

    def parse(self, text: str) -> Any:
        """Return the number as a `Fraction`, or None; with `symbolic`, what math-verify reads."""
        if self.symbolic:
            return _read_symbols(text)
        text = BETWEEN_DIGITS.sub("", text.translate(CLEANED))
        text = POWER.sub(_power, UNIT.sub(" ", text))
        inside = boxed(text)
        if inside is not None:
            result = inside.rpartition("=")[2]
            return None if NO_NUMBER.search(result) else _last(result)
        for mark in MARKS:
            *before, after = mark.split(text)
            if before and (found := next(_numbers(after), None)) is not None:
                return found
        return _last(text)

    def parse_gold(self, gold: Any) -> Any:
        """Return gold, a number or a text, as it is compared."""
        if isinstance(gold, bool) or not isinstance(gold, int | float | Fraction | str):
            raise DataError(f"Number: gold is {gold!r}. Give a number, or a text with one.")
        if self.symbolic and isinstance(gold, str):
            gold = gold.rpartition("####")[2].strip()  # math-verify does not know the mark of GSM8K
            return super().parse_gold(gold if "\\boxed" in gold or "$" in gold else f"${gold}$")
        if isinstance(gold, float) and gold - gold != 0:
            raise DataError(f"Number: gold is {gold!r}. Give a finite number.")
        if not isinstance(gold, str) and not self.symbolic:
            return Fraction(str(gold))
        return super().parse_gold(gold)

    def gold_in(self, solution: str) -> Any:
        """Return the number in a right solution; what math-verify reads is the solution itself."""
        answer = super().gold_in(solution)
        return solution if self.symbolic else answer

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two numbers are equal, or near enough."""
        if self.symbolic:
            return _same_symbols(answer, gold)
        return bool(abs(answer - gold) <= Fraction(str(self.tolerance)) * abs(gold))

    def __call__(self, text: str, gold: Any) -> Verdict:
        """Verify one answer; what math-verify reads is given as a text, and after 5 seconds it is timed out."""
        if not self.symbolic:
            return super().__call__(text, gold)
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError("Number: math-verify keeps its time limit in the main thread alone. Use workers=1.")
        from math_verify.errors import TimeoutException

        try:
            verdict = super().__call__(text, gold)
        except TimeoutException:
            return Verdict(Outcome.TIMED_OUT, None, f"math-verify was stopped after {SECONDS} seconds")
        if verdict.parsed is not None:
            parsed = str(verdict.parsed[-1])
            return Verdict(verdict.outcome, parsed, "" if verdict.correct else f"{parsed!r} is not {gold!r}")
        return verdict


def _read_symbols(text: str) -> Any:
    """Return what math-verify reads in a text, or None."""
    from math_verify import parse

    try:
        return parse(text, parsing_timeout=SECONDS, raise_on_error=True) or None
    except Exception:
        return None


def _same_symbols(answer: Any, gold: Any) -> bool:
    """Return whether math-verify holds two answers to be one; its timeouts are errors, what else fails is a no."""
    from math_verify import verify

    try:
        return bool(verify(gold, answer, timeout_seconds=SECONDS, raise_on_error=True))
    except Exception:  # of several readings of one answer the next may do
        return bool(verify(gold, answer, timeout_seconds=SECONDS))


def _numbers(text: str) -> Iterator[Fraction]:
    """Give the numbers of a text in their order."""
    text = FRACTION.sub(lambda found: f" {found[1]}{found[2]}/{found[3]} ".replace("--", ""), text)
    for found in NUMBER.finditer(text):
        value = Fraction(found["top"].replace(",", "")) * Fraction(10) ** int(found["power"] or 0)
        if found["bottom"]:
            bottom = Fraction(found["bottom"].replace(",", ""))
            if not bottom:
                continue
            value /= bottom
        yield -value if found["sign"] == "-" else value


def _power(found: re.Match[str]) -> str:
    """Return a power of a number as a number."""
    base, exponent = Fraction(found[1]), int(found[2] or found[3])
    return found[0] if not base and exponent < 0 else str(base**exponent)


def _last(text: str) -> Fraction | None:
    last = None
    for last in _numbers(text):  # noqa: B007
        pass
    return last
