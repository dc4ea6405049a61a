"""The contract of a task: rows and people's units on one side, features and records on the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import Parameter, signature
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from reasoner.data.edited import Edited, Mention
from reasoner.data.examples import Example
from reasoner.data.features import EncodedRow, Feature
from reasoner.data.labels import summed_weights
from reasoner.errors import ConfigError, Problem
from reasoner.registry import resolve

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from reasoner.heads.base import TaskHead
    from reasoner.metrics.counting import RowCounts
    from reasoner.metrics.generation import TextSize

ExampleT = TypeVar("ExampleT", bound=Example)
PredictionT = TypeVar("PredictionT")
Splits = Mapping[str, Sequence[ExampleT]]

RECIPES: dict[str, dict[str, Any]] = {
    "fast": {"method": "top-k", "evaluate_before": False},
    "best": {"refit": True},
}


class PartialInput(NamedTuple):
    """A part of the input, on which a model of its own is trained to see how far it gets without the rest."""

    unseen: str
    """What it goes without, as it follows "62 of your 84 points need no ..."."""
    view: Callable[[Any], Any]
    """The example without it: emptied texts, the gold as it was."""


class Said(NamedTuple):
    """A thing that a prediction says: a label, or what is named or answers by some characters of a text."""

    name: str
    field: str = ""
    """The text."""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, kw_only=True)
class Task(ABC, Generic[ExampleT, PredictionT]):
    """What is asked of the model, from a row of data to a score. It knows no optimiser and no device.

    A task is a frozen dataclass. Its fields are its settings and what it learned from the data (label names, say);
    they are JSON values, are saved with the model, and rebuild the task when the model is loaded.
    """

    Example: ClassVar[type[Example]]
    """The schema of a row."""
    default_head: ClassVar[str]
    """The registered name of the head that `build_head` makes."""
    offered: ClassVar[frozenset[str]] = frozenset()
    """Which of the `head_arguments` are passed only to heads that take them: what nobody set, a head may do without."""
    needs_all_rows: ClassVar[str] = ""
    """Why its training rows cannot be a stream; empty: they can."""
    compares_rows: ClassVar[bool] = False
    """Whether the rows of a training batch are wrong answers for each other: it is then drawn without regard to length.
    """
    answer_keys: ClassVar[tuple[str, ...]] = ()
    """Where a prediction is a dict: what in it is None when the model is not sure enough to answer."""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = RECIPES
    """By name, what goes well together: fields of `TrainingConfig`, "method", and settings of the task. Measured."""

    head: str | None = None
    """The registered name of another head; None: the task's own."""
    head_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for the head's constructor, JSON values."""

    @property
    def keep_together(self) -> bool:
        """Whether the features of an example must share a batch; a plain class attribute will do."""
        return False

    @property
    def padding_side(self) -> str | None:
        """Where batches are padded: "right" or "left"; None: where the tokenizer says. A class attribute will do."""
        return None

    @property
    @abstractmethod
    def primary_metric(self) -> str:
        """The score that early stopping and the report go by; its direction is known to `metrics.direction`.

        A plain class attribute will do: `primary_metric = "f1"`.
        """

    @classmethod
    def schema(cls, settings: Mapping[str, Any]) -> type[Any]:
        """Return the schema that rows are read by under these settings of the task: `Example`, or a class under it."""
        return cls.Example

    @classmethod
    def from_examples(cls, splits: Splits[ExampleT], **settings: Any) -> Self:
        """Make the task, with what must be learned from the examples of all splits.

        Raises:
            LabelError: if the labels cannot be used.
        """
        return cls(**settings)

    @classmethod
    def labels_named(cls, names: Sequence[str]) -> Sequence[str]:
        """Return `labels` for the names that a data set declares for its classes; as a rule these. Empty: none can be.

        Asked where the training rows are a stream, so that labels must be known before all rows are read.
        """
        return tuple(names)

    @abstractmethod
    def example_from_input(self, value: Any) -> ExampleT:
        """Make an example, without gold, of what a person gives to `predict`.

        Raises:
            DataError: if the value has another form.
        """

    def in_context(self, examples: Iterable[ExampleT], *, whole: bool) -> Iterable[ExampleT]:
        """Return the examples, in the same order, with what `encode` needs of others; as a rule, as they are.

        Args:
            examples: a split, or the inputs of a prediction.
            whole: all of them are here; else they come one by one, perhaps without end.
        """
        return examples

    @abstractmethod
    def encode(
        self, examples: Sequence[ExampleT], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return one or more features an example, unpadded; with targets where the example has gold.

        It is called with a part of the examples at a time: a feature depends on its own example alone, and on what
        `in_context` put into it. What is cut or dropped is told to `notices.count`, which adds it up.
        """

    def read_records(self, records: Sequence[Any], tokenizer: Any) -> Sequence[Any]:
        """Return the records as `decode` takes them, where that needs the tokenizer: generated tokens become text."""
        return records

    @abstractmethod
    def decode(
        self, records: Sequence[Any], features: Sequence[Sequence[Feature]], examples: Sequence[ExampleT]
    ) -> list[PredictionT]:
        """Return one prediction an example, in people's units. Windows are merged here and only here.

        Args:
            records: what the head's `predict` gave, one a feature, in the features' order; see `read_records`.
            features: what `encode` gave, one list an example.
            examples: the examples.
        """

    @abstractmethod
    def score(self, predictions: Sequence[PredictionT], examples: Sequence[ExampleT]) -> dict[str, Any]:
        """Return the metrics, `primary_metric` among them: numbers, and tables as nested dicts."""

    def text_size(self, example: ExampleT, features: Sequence[Feature]) -> TextSize | None:
        """Return how much text the loss of an example is over, for `loss_scores`; None: it is not over text."""
        return None

    def loss_scores(self, loss: float, size: TextSize | None) -> dict[str, float]:
        """Return what the mean loss of an evaluation is in other units, such as perplexity; it stands beside it.

        Args:
            loss: the mean.
            size: the sum of `text_size` over the examples; None: it is None of one of them.
        """
        return {}

    def problems(self, examples: Sequence[ExampleT]) -> list[Problem]:
        """Return what is wrong with further data, such as labels that this task does not know."""
        return []

    # What follows lets the library doubt a score. A task that leaves one out goes without what is built on it.

    def gold_names(self, example: ExampleT) -> tuple[str, ...]:
        """Return what is gold in a row, by name: its label or labels, the types of its entities; empty: nothing is."""
        return ()

    def primary_counts(self, predictions: Sequence[PredictionT], examples: Sequence[ExampleT]) -> RowCounts | None:
        """Return the primary metric as a function of sums over rows, for its interval; None: it has none."""
        return None

    def rows_right(self, predictions: Sequence[PredictionT], examples: Sequence[ExampleT]) -> list[bool] | None:
        """Return for each row whether all of it is right; None: rows are not right or wrong."""
        return None

    def confidence(self, prediction: PredictionT) -> float | None:
        """Return the probability that the model gives to a prediction as a whole; None: it gives none."""
        return None

    def judged(self, predictions: Sequence[PredictionT], examples: Sequence[ExampleT]) -> list[tuple[float, bool]]:
        """Return how sure the model was of each thing that it said (here: of each row), and whether it was right.

        Empty: nothing is right or wrong.
        """
        right = self.rows_right(predictions, examples)
        if right is None:
            return []
        confidences = [self.confidence(prediction) for prediction in predictions]
        return [(sure, hit) for sure, hit in zip(confidences, right, strict=True) if sure is not None]

    def withheld(self, prediction: PredictionT, min_confidence: float) -> PredictionT:
        """Return the prediction with its answer left out, if the model is less sure of it than `min_confidence`.

        Raises:
            ConfigError: if the task gives no confidence.
        """
        confidence = self.confidence(prediction)
        if confidence is None or not self.answer_keys or not isinstance(prediction, dict):
            raise ConfigError(f"min_confidence: {type(self).__name__} gives no confidence for this. Leave it out.")
        abstained = confidence < min_confidence
        answer = {key: None for key in self.answer_keys if key in prediction and abstained}
        return {**prediction, **answer, "abstained": abstained}  # type: ignore[return-value]

    def label_probabilities(self, prediction: PredictionT) -> Mapping[Any, float] | None:
        """Return the probabilities of the labels that one was chosen from, for conformal sets; None: not so chosen."""
        return None

    def right_label(self, example: ExampleT) -> Any:
        """Return which of the `label_probabilities` is that of the gold."""
        raise NotImplementedError(f"{type(self).__name__} has label_probabilities and no right_label.")

    def loss_count(self, example: ExampleT) -> float:
        """Return how many labels of the example the loss is over, each as often as it weighs; see `SeveralTasks`.

        By default one for each of the `gold_names`, and one where there is none.
        """
        return summed_weights(self.gold_names(example) or ("",), getattr(self, "class_weights", None))

    def gold_lost(self, example: ExampleT, features: Sequence[Feature]) -> int:
        """Return how many entities or answers of the gold no prediction can give, since no feature holds them whole.

        They count as missed in every score; this says how many of the misses are not the model's.
        """
        return 0

    def slices(
        self, predictions: Sequence[PredictionT], examples: Sequence[ExampleT], training: Sequence[ExampleT]
    ) -> dict[str, Any]:
        """Return further tables of metrics that need the training examples: what was seen in training, and what not."""
        return {}

    def partial_inputs(self) -> dict[str, PartialInput]:
        """Return the parts of the input that should not do alone, by name, such as "hypothesis only"."""
        return {}

    def shallow_features(self) -> dict[str, Callable[[ExampleT], Sequence[float]]]:
        """Return, by name, numbers of a row that should not tell its label, such as word overlap; see `debias`."""
        return {}

    def reordered_inputs(self) -> dict[str, Callable[[ExampleT, Random], ExampleT]]:
        """Return, by name, what may be done to an example without a change of what is right, gold included."""
        return {}

    def mentions(self, example: ExampleT) -> Mapping[str, Sequence[Mention]]:
        """Return what is gold in the texts of an example, by their names: what edits must take along."""
        return {}

    def with_texts(self, example: ExampleT, edited: Mapping[str, Edited]) -> ExampleT:
        """Return the example with edited texts, its gold moved along; `edited` has names of `Example.named_texts`."""
        return replace(example, **{name: text.text for name, text in edited.items()})

    def counterparts(self, row: EncodedRow, copy: EncodedRow, edited: Mapping[str, Edited]) -> list[list[int]] | None:
        """Return for each token of each feature where it stands in that of an edited copy; -100: nowhere.

        Asked where the head's outputs stand at tokens (`TaskHead.outputs_at`). None: nobody knows.
        """
        return None

    def said(self, prediction: PredictionT) -> frozenset[Said] | None:
        """Return what a prediction says, so that those for a row before and after an edit can be compared.

        None: predictions are not equal or different, such as numbers.
        """
        return None

    def as_gold(self, example: ExampleT, prediction: PredictionT) -> dict[str, ExampleT]:
        """Return for each thing that a prediction says, in words, the example with that as its gold, and no more.

        `explain` asks for each why the model thinks it so likely. Empty: nothing is said, or it cannot be explained.
        """
        return {}

    def labelled(self, example: ExampleT, prediction: PredictionT) -> ExampleT | None:
        """Return the example with all that a prediction says as its gold; None: it cannot be gold."""
        told = list(self.as_gold(example, prediction).values())
        return told[0] if len(told) == 1 else None

    def open_names(self) -> Sequence[str]:
        """Return the labels that a row may hold though nobody marked them in it; none: rows are marked in whole."""
        return ()

    def completed(
        self, example: ExampleT, prediction: PredictionT, names: Collection[str], *, scored: bool
    ) -> tuple[ExampleT, int]:
        """Return the example with what a prediction says beside its own gold, and how much that is.

        Args:
            example: with gold.
            prediction: of the model that knows the names.
            names: those of `open_names` that were not marked.
            scored: False: what it says is neither right nor wrong there.
        """
        return example, 0

    def baselines(
        self, training: Sequence[ExampleT], examples: Sequence[ExampleT]
    ) -> Mapping[str, Sequence[PredictionT]]:
        """Return predictions for the examples that need no model, by name; the first is the plainest guess.

        They need hold no more than `score` and `primary_counts` read.
        """
        return {}

    @property
    def num_outputs(self) -> int:
        """How many outputs the head has for a text, a token or a choice."""
        return 1

    def head_arguments(self) -> dict[str, Any]:
        """Return what the task's settings mean for the head, such as class weights."""
        return {}

    def model_config(self) -> dict[str, Any]:
        """Return what is written into the model's `config.json`, such as `id2label`."""
        return {}

    def matched_to(self, config: PreTrainedConfig) -> Self:
        """Return the task with its labels in the order that the model's own head has, if it has the same labels."""
        return self

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with what only the model and its tokenizer can settle; before the first `encode`."""
        return self

    @property
    def token_types(self) -> int:
        """How many kinds of `token_type_ids` its features hold; 0: no more than the model was pretrained with."""
        return 0

    def elsewhere(self) -> str:
        """Return what whoever uses the folder without this library must do, for the model card; empty: nothing."""
        return ""

    def tuned(self, predictions: Sequence[PredictionT], examples: Sequence[ExampleT]) -> Self:
        """Return the task with decision thresholds fitted on validation predictions; by default there are none."""
        return self

    def with_temperature(self, temperature: float) -> Self:
        """Return the task with its thresholds on probabilities moved as the temperature moves these.

        So no decision changes. By default there are no thresholds.
        """
        return self

    def build_head(self, config: PreTrainedConfig) -> TaskHead:
        """Make the head for a model with this config.

        Raises:
            ConfigError: if the head is not registered, or does not know a setting.
        """
        name = self.head or self.default_head
        head_class = resolve("head", name)
        arguments = {**self.head_arguments(), **self.head_settings}
        parameters = signature(head_class).parameters
        if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
            offered = self.offered - set(self.head_settings) - set(parameters)
            arguments = {key: value for key, value in arguments.items() if key not in offered}
            unknown = sorted(set(arguments) - set(parameters))
            if unknown:
                raise ConfigError(f"The head '{name}' does not take: {', '.join(unknown)}. Leave that setting out.")
        head: TaskHead = head_class(config, num_outputs=self.num_outputs, **arguments)
        return head

    def settings(self) -> dict[str, Any]:
        """Return the fields as JSON values: `type(task)(**task.settings())` is an equal task."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
