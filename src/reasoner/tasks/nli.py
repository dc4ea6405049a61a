"""Natural-language inference: does the premise entail the hypothesis?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from reasoner.data.examples import Example, label_column, text_column
from reasoner.errors import DataError
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.tasks.classification import Classification


@dataclass(frozen=True, kw_only=True)
class NLIExample(Example):
    """A premise, a hypothesis, and what holds between them."""

    aliases = {
        "premise": ("sentence1", "text1"),
        "hypothesis": ("sentence2", "text2"),
        "label": ("gold_label",),
    }

    premise: str
    hypothesis: str
    label: str | int | float | None = None
    """Such as entailment, neutral, contradiction; None at prediction."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        return cls(
            premise=text_column(columns, "premise", cls),
            hypothesis=text_column(columns, "hypothesis", cls),
            label=label_column(columns, cls),
            where=where,
        )

    @property
    def texts(self) -> dict[str, str]:
        """Both texts."""
        return {"premise": self.premise, "hypothesis": self.hypothesis}

    @property
    def first(self) -> str:
        """The first text that the model reads."""
        return self.premise

    @property
    def second(self) -> str:
        """The second text that the model reads."""
        return self.hypothesis

    @property
    def group(self) -> str:
        """Corpora have several hypotheses a premise: those must not stand on both sides of a split."""
        return self.premise.casefold()

    @property
    def stratum(self) -> str | int | float | None:
        """Splits keep labels in proportion."""
        return self.label


@dataclass(frozen=True, kw_only=True)
class NLI(Classification):
    """Classification of premise and hypothesis, with any label names; two labels or three."""

    Example: ClassVar[type[Example]] = NLIExample
    customary_order = ("entailment", "neutral", "contradiction")
    kind: str | None = "single"

    @property
    def primary_metric(self) -> str:
        """Accuracy, as the field reports it."""
        return "accuracy"

    def primary_counts(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> RowCounts | None:
        """Return accuracy as a mean over rows."""
        return RowCounts(mean_from_sums, mean_counts(self.rows_right(predictions, examples) or []))

    def example_from_input(self, value: Any) -> NLIExample:
        """Accept `{"premise", "hypothesis"}` or a pair."""
        if isinstance(value, Mapping):
            value = (value.get("premise"), value.get("hypothesis"))
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(text, str) for text in value):
            return NLIExample(premise=value[0], hypothesis=value[1])
        raise DataError(f"nli predicts for {{'premise': ..., 'hypothesis': ...}} or a pair, not for {value!r:.60}.")
