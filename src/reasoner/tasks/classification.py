"""Text classification: one label, several labels, or a number, for a text or a pair of texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reasoner.data.examples import Example, column, label_column, several_labels, text_column
from reasoner.data.features import Feature
from reasoner.data.labels import (
    Label,
    as_number,
    as_tuple,
    check_loss_settings,
    label_config,
    label_name,
    learn_labels,
    loss_arguments,
    ordered_as,
    resolve_weights,
    summed_weights,
    unknown_labels,
)
from reasoner.data.prompts import Asked, plain_word
from reasoner.data.windows import tokenize
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any, suggestion
from reasoner.metrics import classification_scores, multilabel_scores, regression_scores
from reasoner.metrics.calibration import threshold_at
from reasoner.metrics.counting import (
    RowCounts,
    f1_from_sums,
    label_counts,
    macro_f1_from_sums,
    pearson_counts,
    pearson_from_sums,
    set_counts,
)
from reasoner.notices import count, say
from reasoner.tasks.base import PartialInput, Said, Splits
from reasoner.tasks.prompted import SENTENCE, Prompted, as_one_text, scores_by_row, softmax

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

KINDS = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "number": "regression",
}
Gold = Label | tuple[Label, ...] | None


@dataclass(frozen=True, kw_only=True)
class ClassificationExample(Example):
    """A text, or a pair, and its label."""

    aliases = {
        "text": ("sentence", "content", "sentence1"),
        "text_pair": ("sentence2",),
        "label": ("labels", "intent", "category"),
    }
    inputs = {"text": "text", "text_pair": "text?"}

    text: str
    text_pair: str | None = None
    """A second text, when the label is about both."""
    label: Gold = None
    """A name or number; a list of them when several may hold; None at prediction."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        pair = text_column(columns, "text_pair", cls, default=None)
        raw = column(columns, "label", cls)
        if not isinstance(raw, (list, tuple)):
            label: Gold = label_column(columns, cls)
        else:
            label = several_labels(raw)
        return cls(text=text_column(columns, "text", cls), text_pair=pair, label=label, where=where)

    @property
    def texts(self) -> dict[str, str]:
        """The text, or both texts."""
        return {"text": self.text} | ({} if self.text_pair is None else {"text_pair": self.text_pair})

    @property
    def first(self) -> str:
        """The first text that the model reads."""
        return self.text

    @property
    def second(self) -> str | None:
        """The second text that the model reads."""
        return self.text_pair

    @property
    def group(self) -> tuple[str, str]:
        """Equal texts must not stand on both sides of a split, whatever their labels."""
        return self.first.casefold(), (self.second or "").casefold()

    @property
    def stratum(self) -> Gold:
        """Splits keep labels in proportion."""
        return None if isinstance(self.label, float) else self.label


@dataclass(frozen=True, kw_only=True)
class Classification(Prompted[Any, dict[str, Any]]):
    """One label (cross-entropy), several labels (binary cross-entropy) or a number (squared error).

    With the heads of `Prompted` a model is asked by a prompt, and what scores is the word of each label.
    """

    Example: ClassVar[type[Example]] = ClassificationExample
    default_head = "sequence_classification"
    offered = frozenset({"problem_type"})
    answer_keys = ("label", "labels")
    customary_order: ClassVar[tuple[str, ...]] = ()
    """Label names that come first, in this order."""
    prompt_names = ("text", "text_pair")
    usual_templates: ClassVar[Mapping[str, str]] = {
        "likelihood": "Text: {text}\nSecond text: {text_pair}\nLabel:",
        "entailment": "This text is about {label}.",
        "similarity": "{label}",
        "cloze": "{text}\n{text_pair}\nThis is about {mask}.",
    }

    kind: str | None = None
    """"single", "multi" or "number"; None: seen from the labels (lists; numbers with fractions), and said."""
    labels: Sequence[str] = ()
    """Label names, in the order of the model's outputs; empty: found in the data."""
    label_names: Sequence[str] = ()
    """What whole numbers in the data mean, where that is not the place in `labels`."""
    class_weights: str | Mapping[str, float] | None = None
    """"balanced", or weights by label name."""
    label_smoothing: float = 0.0
    """In [0, 1): how much of the target is spread over all labels."""
    focal_gamma: float = 0.0
    """At least 0, such as 2: how much less labels count that are learned already; 0: cross-entropy."""
    threshold: float = 0.5
    """With several labels: those hold whose probability is above it."""

    @property
    def primary_metric(self) -> str:
        """The score that early stopping goes by; it depends on the kind."""
        return {"multi": "micro_f1", "number": "pearson"}.get(self.kind or "single", "macro_f1")

    @classmethod
    def from_examples(cls, splits: Splits[Any], **settings: Any) -> Self:
        """Learn the kind and the label names; see `Task.from_examples`."""
        task = cls(**settings)
        check_loss_settings(task.label_smoothing, task.focal_gamma)
        kind = task.kind or _kind_of(splits)
        if kind not in KINDS:
            raise ConfigError(f"kind '{kind}' is unknown. {suggestion(kind, KINDS)}")
        task = replace(task, kind=kind)
        if kind == "number" and (task.labels or task.class_weights or task.label_smoothing or task.focal_gamma):
            names = "labels, class_weights, label_smoothing and focal_gamma"
            raise ConfigError(f"{names} mean nothing for a number. Leave them out.")
        raise_if_any(problem for examples in splits.values() for problem in task._form_problems(examples))
        if kind == "number":
            return task.with_checked_prompt((), kind=kind)
        located = {split: task._located(examples) for split, examples in splits.items()}
        labels = learn_labels(located, given=task.labels, first=cls.customary_order)
        training = [label_name(label, task.label_names or labels) for label, _ in located.get("train", [])]
        weights = resolve_weights(task.class_weights, labels, training)
        return replace(task, labels=labels, class_weights=weights).with_checked_prompt(labels, kind=kind)

    def usual_words(self) -> dict[str, str]:
        """Return the labels' own names as words."""
        return {name: plain_word(name) for name in self.labels}

    def asked(self, example: Any) -> Asked:
        """Return the row as the model is asked."""
        texts = dict(zip(self.prompt_names, (example.first, example.second or ""), strict=True))
        right = None if example.label is None else list(self.labels).index(self._name(example.label))
        words = self.reading.words
        return Asked(texts, [words[label] for label in self.labels], right, example.where)

    def problems(self, examples: Sequence[Any]) -> list[Problem]:
        """Return what is wrong with the labels of further data."""
        problems = self._form_problems(examples)
        if problems or self.kind == "number":
            return problems
        return unknown_labels(self._located(examples), self.label_names or self.labels)

    def example_from_input(self, value: Any) -> Any:
        """Accept a string, a pair, or a dict with `text` and perhaps `text_pair`."""
        if isinstance(value, str):
            return ClassificationExample(text=value)
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(text, str) for text in value):
            return ClassificationExample(text=value[0], text_pair=value[1])
        if isinstance(value, Mapping) and isinstance(value.get("text"), str):
            pair = value.get("text_pair")
            if pair is None or isinstance(pair, str):
                return ClassificationExample(text=value["text"], text_pair=pair or None)
        raise DataError(f"classification predicts for a string or a pair of strings, not for {value!r:.60}.")

    def encode(self, examples: Sequence[Any], tokenizer: Any, *, max_length: int, stride: int) -> list[list[Feature]]:
        """Return one feature an example; of what is too long, the longer side is cut, and the number said."""
        if self.asks:
            return self.prompt_features(examples, tokenizer, max_length)
        features: list[list[Feature]] = [[] for _ in examples]
        sides = [(as_one_text(e), None) if self.head == SENTENCE else (e.first, e.second) for e in examples]
        for paired in (False, True):  # apart: a text alone is not a pair whose second side is empty
            places = [place for place, (_, second) in enumerate(sides) if (second is not None) == paired]
            firsts = [sides[place][0] for place in places]
            seconds = [sides[place][1] or "" for place in places] if paired else None
            windows, cut = tokenize(tokenizer, firsts, seconds, max_length=max_length)
            if cut:
                count(f"{{n}} texts are longer than max_length={max_length} tokens; the longer side was cut.", cut)
            for place, window in zip(places, windows, strict=True):
                features[place].append(Feature(window.inputs, self._targets(examples[place])))
        return features

    def decode(
        self, records: Sequence[Any], features: Sequence[Sequence[Feature]], examples: Sequence[Any]
    ) -> list[dict[str, Any]]:
        """Return `{"label", "score", "scores"}`; `{"labels", "scores"}` for several; `{"value"}` for a number."""
        if self.asks:  # a record is the score of one label
            records = list(map(softmax, scores_by_row(records, features)))
        return [self._prediction([float(value) for value in record]) for record in records]

    def score(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> dict[str, Any]:
        """Return accuracy, F1 and Matthews; for several labels F1s and exact sets; for a number correlations."""
        if self.kind == "number":
            return dict(regression_scores([float(e.label) for e in examples], [p["value"] for p in predictions]))
        if self.kind == "multi":
            gold = [{self._name(label) for label in as_tuple(example.label)} for example in examples]
            return dict(multilabel_scores(gold, [set(p["labels"]) for p in predictions], labels=list(self.labels)))
        names = [self._name(example.label) for example in examples]
        return dict(classification_scores(names, [p["label"] for p in predictions], labels=list(self.labels)))

    def gold_names(self, example: Any) -> tuple[str, ...]:
        """Return the label, or the labels; a number has no name."""
        if self.kind == "number" or example.label is None:
            return ()
        return tuple(self._name(label) for label in as_tuple(example.label))

    def primary_counts(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> RowCounts | None:
        """Return macro F1, micro F1 or Pearson's correlation as a function of sums."""
        if self.kind == "number":
            gold = [float(example.label) for example in examples]
            return RowCounts(pearson_from_sums, pearson_counts(gold, [p["value"] for p in predictions]))
        names = [self.gold_names(example) for example in examples]
        if self.kind == "multi":
            return RowCounts(f1_from_sums, set_counts(names, [p["labels"] for p in predictions]))
        return RowCounts(macro_f1_from_sums, label_counts([n for (n,) in names], [p["label"] for p in predictions]))

    def rows_right(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> list[bool] | None:
        """Return whether the label, or the whole set of labels, is right."""
        if self.kind == "number":
            return None
        found = [set(p["labels"]) if self.kind == "multi" else {p["label"]} for p in predictions]
        return [set(self.gold_names(e)) == labels for e, labels in zip(examples, found, strict=True)]

    def loss_count(self, example: Any) -> float:
        """Return the weight of its label; where several may hold, those of all labels."""
        return summed_weights(self.labels, self.class_weights) if self.kind == "multi" else super().loss_count(example)

    def said(self, prediction: dict[str, Any]) -> frozenset[Said] | None:
        """Return the label, or the labels; numbers are not compared."""
        if self.kind == "number":
            return None
        return frozenset(map(Said, prediction["labels"] if self.kind == "multi" else [prediction["label"]]))

    def as_gold(self, example: Any, prediction: dict[str, Any]) -> dict[str, Any]:
        """Return the example with the predicted label, or labels."""
        if self.kind == "number":
            return {}
        if self.kind == "multi":
            return {", ".join(prediction["labels"]): replace(example, label=tuple(prediction["labels"]))}
        return {prediction["label"]: replace(example, label=prediction["label"])}

    def confidence(self, prediction: dict[str, Any]) -> float | None:
        """Return the probability of the label; of several that of all yes and no together; a number has none."""
        if self.kind == "number":
            return None
        if self.kind == "multi":
            held = set(prediction["labels"])
            return float(math.prod(p if name in held else 1 - p for name, p in prediction["scores"].items()))
        return float(prediction["score"])

    def label_probabilities(self, prediction: dict[str, Any]) -> Mapping[Any, float] | None:
        """Return the probability of each label, when there is one to choose."""
        return None if self.kind in ("multi", "number") else dict(prediction["scores"])

    def right_label(self, example: Any) -> Any:
        """Return the label's name."""
        return self._name(example.label)

    def with_temperature(self, temperature: float) -> Self:
        """Return the task with the threshold of several labels moved along."""
        return replace(self, threshold=threshold_at(self.threshold, temperature)) if self.kind == "multi" else self

    def partial_inputs(self) -> dict[str, PartialInput]:
        """Return each side of a pair alone; a text that is no pair stays as it is."""
        return {
            "text_pair only": PartialInput("text", lambda e: e if e.text_pair is None else replace(e, text="")),
            "text only": PartialInput("text_pair", lambda e: e if e.text_pair is None else replace(e, text_pair="")),
        }

    def baselines(self, training: Sequence[Any], examples: Sequence[Any]) -> dict[str, Sequence[dict[str, Any]]]:
        """Return the label, or set of labels, that is commonest in training; of numbers their mean."""
        if self.kind == "number":
            mean = math.fsum(float(example.label) for example in training) / len(training)
            return {"mean": [{"value": mean}] * len(examples)}
        names = Counter(frozenset(self.gold_names(example)) for example in training).most_common(1)[0][0]
        guess = {"labels": sorted(names)} if self.kind == "multi" else {"label": next(iter(names))}
        return {"majority": [guess] * len(examples)}

    @property
    def num_outputs(self) -> int:
        """As many as there are labels; one for a number."""
        return 1 if self.kind == "number" else len(self.labels)

    def head_arguments(self) -> dict[str, Any]:
        """Return the problem type, and weights and smoothing where they are set."""
        if self.asks and not (self.class_weights or self.label_smoothing or self.focal_gamma):
            return self.prompt_arguments()
        weights_and_smoothing = loss_arguments(self.labels, self.class_weights, self.label_smoothing, self.focal_gamma)
        return {"problem_type": KINDS[self.kind or "single"], **weights_and_smoothing}

    def model_config(self) -> dict[str, Any]:
        """Return the label names, or that there is one output without a name."""
        if self.asks:  # the checkpoint's own output layer stays as it is
            return {}
        problem_type = KINDS[self.kind or "single"]
        if self.kind == "number":
            return {"problem_type": problem_type, "num_labels": 1}
        return {"problem_type": problem_type, **label_config(self.labels)}

    def matched_to(self, config: PreTrainedConfig) -> Self:
        """Return the task with its labels in the model's order, when the model has the same labels."""
        order = ordered_as(self.labels, list((config.id2label or {}).values()))
        if order is None or order == tuple(self.labels):
            return self
        say(f"The model has these labels already, in another order; its order is kept: {', '.join(order)}.")
        return replace(self, labels=order, label_names=self.label_names or self.labels)

    def _name(self, label: Label) -> str:
        return label_name(label, self.label_names or self.labels)

    def _form_problems(self, examples: Sequence[Any]) -> list[Problem]:
        """Return the labels that are lists or names where the kind wants something else."""
        problems = []
        for example in examples:
            if self.kind == "number" and as_number(example.label) is None:
                what, remedy = f"label {example.label!r:.60} is no number", "Give a number."
            elif self.kind == "single" and isinstance(example.label, tuple):
                what = f"label {list(example.label)!r:.60} is a list"
                remedy = "Give one label, or set kind='multi' in the task if several may hold."
            else:
                continue
            problems.append(Problem(example.where, what, remedy, about_labels=True))
        return problems

    def _located(self, examples: Sequence[Any]) -> list[tuple[Label, str]]:
        """Return every label with its place."""
        return [(label, example.where) for example in examples for label in as_tuple(example.label)]

    def _targets(self, example: Any) -> dict[str, Any]:
        if example.label is None:
            return {}
        if self.kind == "number":
            return {"labels": float(example.label)}
        if self.kind == "multi":
            held = {self._name(label) for label in as_tuple(example.label)}
            return {"labels": [float(name in held) for name in self.labels]}
        return {"labels": list(self.labels).index(self._name(example.label))}

    def _prediction(self, values: list[float]) -> dict[str, Any]:
        if self.kind == "number":
            return {"value": values[0]}
        scores = dict(zip(self.labels, values, strict=True))
        if self.kind == "multi":
            return {"labels": [name for name, score in scores.items() if score > self.threshold], "scores": scores}
        best = max(scores, key=scores.__getitem__)
        return {"label": best, "score": scores[best], "scores": scores}


def _kind_of(splits: Splits[Any]) -> str:
    """See from the labels what is asked, and say so when it is not the usual one label."""
    labels = [example.label for examples in splits.values() for example in examples]
    if any(isinstance(label, tuple) for label in labels):
        say("The labels are lists: several labels may hold for a text (binary cross-entropy).")
        return "multi"
    numbers = [number for label in labels if (number := as_number(label)) is not None]
    typed = any(isinstance(label, float) for label in labels)
    if (typed or len(numbers) == len(labels)) and not all(map(float.is_integer, numbers)):
        say("The labels are numbers with fractions: a number is predicted (squared error).")
        return "number"
    return "single"
