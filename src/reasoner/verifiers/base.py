"""Is the answer in a text right? A verdict, which makes a metric, a filter, a reward, or the best of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from reasoner.errors import ConfigError, DataError
from reasoner.registry import name_of, resolve

INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff"))


class Outcome(StrEnum):
    """What came of verifying one answer."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"
    """There is no answer in the text. It counts as wrong in every score, and is reported beside it."""
    TIMED_OUT = "timed_out"
    """The time for verifying was over: likewise."""


@dataclass(frozen=True)
class Verdict:
    """Is it right, what was read, and why not."""

    outcome: Outcome
    parsed: Any = None
    """The answer that was read out of the text; None if there is none."""
    reason: str = ""
    """Why the answer is not right, for a person."""
    score: float | None = None
    """How good the answer is, 0-1, where the verifier says more than right or wrong."""

    @property
    def correct(self) -> bool:
        """Whether the answer is right."""
        return self.outcome is Outcome.CORRECT

    @property
    def reward(self) -> float:
        """The `score`, or where there is none 1.0 for a right answer, else 0.0."""
        return float(self.correct) if self.score is None else self.score


class Verifier(ABC):
    """Says of a text whether the answer in it is right.

    A subclass says how to `parse`, and may say what `same` means; both must be quick and have no effects. The settings
    of a subclass are the fields of a frozen dataclass.
    """

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Return the answer in a text, or None if there is none."""

    def same(self, answer: Any, gold: Any) -> bool:
        """Return whether two parsed answers are one."""
        return bool(answer == gold)

    def parse_gold(self, gold: Any) -> Any:
        """Return what is compared with an answer; by default gold is parsed as an answer is.

        Raises:
            DataError: if there is no answer in it.
        """
        parsed = self.parse(str(gold))
        if parsed is None:
            raise DataError(f"{type(self).__name__}: no answer is found in gold {_short(gold)}. Give the answer alone.")
        return parsed

    def gold_in(self, solution: str) -> Any:
        """Return the gold of a right solution, worked or not: the answer that is read in it.

        Raises:
            DataError: if there is none.
        """
        answer = self.parse(solution)
        if answer is None:
            raise DataError(f"{type(self).__name__}: no answer is found in the solution {_short(solution)}. Let it end "
                            "with the answer in the form that is read, or give gold beside it.")  # fmt: skip
        return answer

    def __call__(self, text: str, gold: Any) -> Verdict:
        """Verify one answer.

        Raises:
            DataError: if gold cannot be read. A text that cannot be read is a verdict, no error.
        """
        expected = self.parse_gold(gold)
        answer = self.parse(text)
        if answer is None:
            return Verdict(Outcome.UNPARSABLE, None, f"no answer is found in {_short(text)}")
        if self.same(answer, expected):
            return Verdict(Outcome.CORRECT, answer)
        return Verdict(Outcome.WRONG, answer, f"{_short(answer)} is not {_short(expected)}")

    def verify(self, texts: Sequence[str], golds: Sequence[Any], *, workers: int = 1) -> list[Verdict]:
        """Verify answers, `workers` at a time: of use where each runs a program.

        Raises:
            DataError: if there are not as many texts as golds, or gold cannot be read.
            ConfigError: if `workers` is below 1.
        """
        if workers < 1:
            raise ConfigError(f"workers is {workers}. Give 1 or more.")
        if len(texts) != len(golds):
            raise DataError(f"There are {len(texts)} texts and {len(golds)} golds. Give one gold a text.")
        if workers == 1:
            return [self(text, gold) for text, gold in zip(texts, golds, strict=True)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self, texts, golds))

    def score(self, texts: Sequence[str], golds: Sequence[Any], *, workers: int = 1) -> dict[str, float]:
        """Return, as a metric, the shares (0-1) of what came of it; `accuracy` is the share of correct ones of all.

        Raises:
            DataError: if there is nothing to score, or as `verify` does.
        """
        if not texts:
            raise DataError("There is no text to score. Give at least one.")
        return shares(self.verify(texts, golds, workers=workers))

    def rewards(self, texts: Sequence[str], golds: Sequence[Any], *, workers: int = 1) -> list[float]:
        """Return a reward for each text, see `Verdict.reward`: as a rule 1.0 for a right answer, else 0.0."""
        return [verdict.reward for verdict in self.verify(texts, golds, workers=workers)]

    def keep(self, texts: Sequence[str], golds: Sequence[Any], *, workers: int = 1) -> list[int]:
        """Return which texts are right, by index: the filter of rejection sampling."""
        verdicts = self.verify(texts, golds, workers=workers)
        return [index for index, verdict in enumerate(verdicts) if verdict.correct]

    def best_of(self, texts: Sequence[str], gold: Any, *, workers: int = 1) -> int | None:
        """Return the index of the first right one of several texts for one gold, or None if none is.

        It sees gold: what it finds is the limit of what a judge without gold could.
        """
        kept = self.keep(texts, [gold] * len(texts), workers=workers)
        return kept[0] if kept else None

    def groups(self, texts: Sequence[str]) -> list[Hashable]:
        """Return a number for each text, equal where the answers are the same; None where there is none.

        This is what votes in `metrics.majority` (self-consistency): "0.5" and "1/2" vote for one answer.
        """
        seen: list[Any] = []
        found: list[Hashable] = []
        for answer in map(self.parse, texts):
            near = (index for index, other in enumerate(seen) if answer is not None and self.same(answer, other))
            index = next(near, None)
            if index is None and answer is not None:
                index = len(seen)
                seen.append(answer)
            found.append(index)
        return found


def shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the shares (0-1) of what came of verifying; `accuracy` is the share of correct ones of all."""
    found = Counter(verdict.outcome for verdict in verdicts)
    return {
        "accuracy": found[Outcome.CORRECT] / len(verdicts),
        **{outcome.value: found[outcome] / len(verdicts) for outcome in Outcome if outcome is not Outcome.CORRECT},
    }


def as_verifier(given: str | Mapping[str, Any] | Verifier) -> Verifier:
    """Return a verifier that is given by its registered name, as `{"name": ..., setting: value}`, or as an object.

    Raises:
        ConfigError: if there is none of this name, or it does not take a setting.
    """
    if isinstance(given, Verifier):
        return given
    settings = {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"verifier is {given!r:.60}. Give a name such as 'number', {{'name': 'exact', 'after': "
                          "'Answer:'}, or an object such as Number().")  # fmt: skip
    try:
        made: Verifier = resolve("verifier", name)(**settings)
    except TypeError as error:
        raise ConfigError(f"The verifier '{name}' does not take these settings: {error}.") from None
    return made


def described(verifier: Verifier) -> dict[str, Any]:
    """Return the name and the settings of a verifier, from which `as_verifier` makes it again.

    Raises:
        ConfigError: if it is not registered, or has a permission: none is written into a file that others may open.
    """
    named: Any = fields(verifier) if is_dataclass(verifier) else ()
    settings: dict[str, Any] = {item.name: getattr(verifier, item.name) for item in named}
    if settings.get("allow_execution"):
        raise ConfigError(
            f"{type(verifier).__name__}(allow_execution=True) cannot be a setting of the task: it is saved with the "
            "model, and a permission is given by the person at the keyboard, each time. Draw texts with "
            "reasoner.sample, and let the verifier score these."
        )
    return {"name": name_of("verifier", type(verifier)), **settings}


BOXED = ("\\boxed{", "\\fbox{", "\\boxed ")


def boxed(text: str) -> str | None:
    r"""Return what stands in the last `\boxed{...}` of a text, braces matched, or None."""
    start = max((text.rfind(mark) + len(mark) for mark in BOXED if mark in text), default=-1)
    if start < 0:
        return None
    if text[start - 1] != "{":
        return text[start:].split(maxsplit=1)[0].rstrip("$.") if text[start:].strip() else None
    depth = 1
    for end in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if not depth:
            return text[start:end].strip()
    return None


def _short(value: Any, length: int = 80) -> str:
    whole = repr(value) if isinstance(value, str) else str(value)
    return whole if len(whole) <= length else f"{whole[:length]}…"
