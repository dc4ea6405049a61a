"""Natural-language inference: does the premise entail the hypothesis?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reasoner.data.examples import Example, label_column, text_column
from reasoner.data.labels import label_config, meaning, ordered_as
from reasoner.data.overlap import overlap
from reasoner.data.prompts import CLOZE, plain_word
from reasoner.errors import DataError
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.notices import say
from reasoner.tasks.base import PartialInput
from reasoner.tasks.classification import Classification

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DECODED = {"entailment": "True", "neutral": "Neither", "contradiction": "False", "not_entailment": "False"}
"""What a decoder is to answer, as GPT-3 was (Brown et al., 2020, https://arxiv.org/abs/2005.14165)."""
FILLED = {"entailment": "Yes", "neutral": "Maybe", "contradiction": "No", "not_entailment": "No"}
"""What is to fill the gap (Schick & Schütze, 2021, https://arxiv.org/abs/2001.07676)."""


@dataclass(frozen=True, kw_only=True)
class NLIExample(Example):
    """A premise, a hypothesis, and what holds between them."""

    aliases = {
        "premise": ("sentence1", "text1"),
        "hypothesis": ("sentence2", "text2"),
        "label": ("gold_label",),
    }

    inputs = {"premise": "text", "hypothesis": "text"}

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
    prompt_names = ("premise", "hypothesis")
    usual_templates: ClassVar[Mapping[str, str]] = {
        "likelihood": "{premise}\nQuestion: {hypothesis} True, False or Neither?\nAnswer:",
        "cloze": '"{premise}"? {mask}, "{hypothesis}"',
    }
    """Not by entailment, which a model for this task says itself, nor by similarity: like texts may contradict."""
    kind: str | None = "single"
    model_labels: Sequence[str] = ()
    """The checkpoint's names for `labels` where they are others that mean the same, such as "ENTAILMENT" or "e": they
    stay in `config.json`, so that the checkpoint's head is kept. Learned from the checkpoint."""

    @property
    def primary_metric(self) -> str:
        """Accuracy, as the field reports it."""
        return "accuracy"

    def usual_template(self) -> str:
        """Return the template; where no label means neutral, it does not ask for it."""
        template = super().usual_template()
        known = map(meaning, self.labels)
        return template if "neutral" in known else template.replace("True, False or Neither?", "True or False?")

    def usual_words(self) -> dict[str, str]:
        """Return what a decoder answers, or what fills the gap."""
        known = FILLED if self.head == CLOZE else DECODED
        return {label: known.get(meaning(label), plain_word(label)) for label in self.labels}

    def model_config(self) -> dict[str, Any]:
        """Return the label names, the checkpoint's own if it has other names for them."""
        return {**super().model_config(), **(label_config(self.model_labels) if self.model_labels else {})}

    def matched_to(self, config: PreTrainedConfig) -> Self:
        """Return the task with its labels in the model's order, when the model has labels that mean the same."""
        names = [str(name) for name in (config.id2label or {}).values()]
        order = ordered_as(self.labels, names, key=meaning)
        if order is None or sorted(names) == sorted(self.labels):
            return super().matched_to(config)
        say(f"The model calls these labels {', '.join(names)}: its order is kept ({', '.join(order)}).")
        return replace(self, labels=order, label_names=self.label_names or self.labels, model_labels=tuple(names))

    def primary_counts(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> RowCounts | None:
        """Return accuracy as a mean over rows."""
        return RowCounts(mean_from_sums, mean_counts(self.rows_right(predictions, examples) or []))

    def partial_inputs(self) -> dict[str, PartialInput]:
        """Return each side alone (hypothesis only: Poliak et al., 2018, https://aclanthology.org/S18-2023)."""
        return {
            "hypothesis only": PartialInput("premise", lambda example: replace(example, premise="")),
            "premise only": PartialInput("hypothesis", lambda example: replace(example, hypothesis="")),
        }

    def shallow_features(self) -> dict[str, Callable[[Any], Sequence[float]]]:
        """Return how the words of both sides overlap, in the manner of Clark et al. (2019); and negations beside it."""
        return {
            "word overlap": lambda example: overlap(example.premise, example.hypothesis)[:4],
            "word overlap and negation": lambda example: overlap(example.premise, example.hypothesis),
        }

    def example_from_input(self, value: Any) -> NLIExample:
        """Accept `{"premise", "hypothesis"}` or a pair."""
        if isinstance(value, Mapping):
            value = (value.get("premise"), value.get("hypothesis"))
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(text, str) for text in value):
            return NLIExample(premise=value[0], hypothesis=value[1])
        raise DataError(f"nli predicts for {{'premise': ..., 'hypothesis': ...}} or a pair, not for {value!r:.60}.")
