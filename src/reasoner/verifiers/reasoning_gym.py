"""Is the answer to a procedural problem right? reasoning-gym's own scorer says, which knows all right answers."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from reasoner.errors import ConfigError, DataError, suggestion
from reasoner.verifiers.base import Outcome, Verdict, Verifier

EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify)\(")
"""In the source of a scorer: it may run what the model wrote as Python code (sympy's `parse_expr` does too)."""


@dataclass(frozen=True)
class ReasoningGym(Verifier):
    """Scores an answer by the data set of reasoning-gym that its problem is from (Stojanovski et al., 2025).

    Gold is the problem as reasoning-gym gives it: `question`, `answer`, and `metadata` with `source_dataset`; the rows
    of `synthetic.reasoning_gym_pack` hold it. An answer is right where the score is 1; the score itself, which many
    data sets give in parts, is the reward.

    Raises:
        ConfigError: if reasoning-gym is not installed.
    """

    tag: str | None = None
    """The answer stands between `<tag>` and `</tag>`, the last of them ("answer"); None: it is the whole text."""
    allow_execution: bool = False
    """Some scorers (of "countdown", say) run the answer as Python code, without walls: whether they may."""

    def __post_init__(self) -> None:
        require_reasoning_gym()
        if self.tag is not None and not re.fullmatch(r"\w+", self.tag):
            raise ConfigError(f"ReasoningGym: tag is {self.tag!r}. Give a word, such as 'answer', or None.")

    def parse(self, text: str) -> str | None:
        """Return the answer, or None if it is empty or its tag is missing."""
        if self.tag is not None:
            *_, text = ["", *re.findall(rf"<{self.tag}>(.*?)</{self.tag}>", text, re.DOTALL)]
        return text.strip() or None

    def parse_gold(self, gold: Any) -> Mapping[str, Any]:
        """Return the problem; ask now whether its answers can be scored.

        Raises:
            ConfigError: if the scorer of its data set runs answers as code, without the permission.
        """
        known = gold.get("metadata") if isinstance(gold, Mapping) else None
        if not isinstance(known, Mapping) or not {"question", "answer"} <= gold.keys():
            raise DataError(f"ReasoningGym: gold is {gold!r:.60}. Give a problem: question, answer and "
                            "metadata.")  # fmt: skip
        _scorer(str(known.get("source_dataset")), self.allow_execution)
        return gold  # type: ignore[no-any-return]

    def gold_in(self, solution: str) -> Any:
        """Refuse: an answer is scored with its problem.

        Raises:
            DataError: always.
        """
        raise DataError("ReasoningGym: an answer is scored with its problem. Give that as gold.")

    def __call__(self, text: str, gold: Any) -> Verdict:
        """Score one answer; one on which the scorer fails is wrong."""
        problem, answer = self.parse_gold(gold), self.parse(text)
        if answer is None:
            return Verdict(Outcome.UNPARSABLE, None, f"no answer is found in {text!r:.80}")
        try:
            score = float(_scorer(str(problem["metadata"]["source_dataset"]), self.allow_execution)(answer, problem))
        except Exception as error:
            return Verdict(Outcome.WRONG, answer, f"the scorer fails: {type(error).__name__}: {error}", 0.0)
        if score >= 1:
            return Verdict(Outcome.CORRECT, answer, score=score)
        return Verdict(Outcome.WRONG, answer, f"{answer!r:.80} scores {score:.2f}", score)


def require_reasoning_gym() -> None:
    """Say what to install.

    Raises:
        ConfigError: if reasoning-gym is not installed.
    """
    if not find_spec("reasoning_gym"):
        raise ConfigError("This needs reasoning-gym. Install it: pip install 'reasoner-ft[reasoning-gym]'.")


@lru_cache
def _scorer(name: str, allow_execution: bool) -> Callable[[str, Mapping[str, Any]], float]:
    """Return the scorer of a data set.

    Raises:
        DataError: if there is no such data set.
        ConfigError: if it runs answers as code and may not.
    """
    from reasoning_gym.factory import DATASETS, get_score_answer_fn

    if name not in DATASETS or name == "composite":
        raise DataError(f"ReasoningGym: there is no data set {name!r}. {suggestion(name, DATASETS)}")
    if not allow_execution and EVALUATES.search(inspect.getsource(sys.modules[DATASETS[name][0].__module__])):
        raise ConfigError(f"The scorer of reasoning-gym's '{name}' runs answers as Python code, without walls. Give "
                          "ReasoningGym(allow_execution=True) where you trust them, or another data set.")  # fmt: skip
    scorer: Callable[[str, Mapping[str, Any]], float] = get_score_answer_fn(name)
    return scorer
