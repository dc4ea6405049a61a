"""Several tasks on the same row with one encoder: each part has its own gold, head, predictions and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import fsum, inf
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from reasoner.data.examples import Example, RowError
from reasoner.data.features import Feature
from reasoner.errors import ConfigError, DataError, Problem, suggestion
from reasoner.losses import IGNORED
from reasoner.metrics import greater_is_better
from reasoner.metrics.counting import Floats, RowCounts, combined
from reasoner.notices import say
from reasoner.registry import name_of, resolve
from reasoner.tasks.base import Splits, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from reasoner.heads.base import TaskHead

Predictions = dict[str, Any]
"""What each part predicts, by its name."""
THERE = "there"
"""The target that says which features are a part's; see `heads.several`."""
AVERAGE = "mean_primary"


@dataclass(frozen=True, kw_only=True)
class SeveralExample(Example):
    """What each part reads in a row."""

    schemas: ClassVar[Mapping[str, type[Any]]] = {}
    columns: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """By part: its columns by those of the row."""

    parts: Mapping[str, Any]
    """The example of each part."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; what is wrong with it is told with the name of the part."""
        parts = {}
        for name, schema in cls.schemas.items():
            named = {ours: columns[theirs] for ours, theirs in cls.columns.get(name, {}).items() if theirs in columns}
            try:
                parts[name] = schema.from_columns({**columns, **named}, where=where)
            except RowError as error:
                what, about_labels = f"{name}: {error.what}", error.about_labels
                raise type(error)(what, error.remedy, about_labels=about_labels, code=error.code) from None
        return cls(parts=parts, where=where)

    @property
    def texts(self) -> dict[str, str]:
        """The texts of all parts, each once."""
        found: dict[str, str] = {}
        for part, example in self.parts.items():
            for name, text in example.texts.items():
                if text not in found.values():
                    found[f"{part}.{name}" if name in found else name] = text
        return found

    @property
    def group(self) -> Any:
        """What the first part keeps on one side of a split."""
        return next(iter(self.parts.values())).group

    @property
    def stratum(self) -> Any:
        """What the first part keeps in proportion."""
        return next(iter(self.parts.values())).stratum


@dataclass(frozen=True, kw_only=True)
class SeveralTasks(Task[SeveralExample, Predictions]):
    """Part tasks, named by you, that learn together: `SeveralTasks(parts={"topic": Classification(), "names": NER()})`.

    The loss is the weighted mean of the parts' mean losses over the training rows. Scores have the part's name before
    them (`names.f1`); the mean of the parts' primary metrics counts.
    """

    Example = SeveralExample
    default_head = "several"
    needs_all_rows = "how many labels a row has for each part is counted over all of them"
    primary_metric = AVERAGE
    whole_row: ClassVar[str] = "all_right"
    """What the share of rows is called of which every part is right."""

    parts: Mapping[str, Any] = field(default_factory=dict)
    """The tasks by name: Task objects, or registered names. The names are words without full stops."""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Where parts would read the same column: `{"tone": {"label": "tone_label"}}`, a part's column by the row's."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How much the mean loss of each part counts, above 0; a part that is not named: 1."""
    labels_a_row: Mapping[str, float] = field(default_factory=dict)
    """How many labels of each part a training row has on average; learned from the data."""

    def __post_init__(self) -> None:
        """Write the parts as JSON values, and refuse what cannot be a part."""
        if not self.parts:
            raise ConfigError(
                f"{type(self).__name__} has no parts. Name them: parts={{'topic': Classification(), ...}}."
            )
        object.__setattr__(self, "parts", {name: _specified(name, part) for name, part in self.parts.items()})
        for setting in ("columns", "weights"):
            for name in getattr(self, setting):
                if name not in self.parts:
                    raise ConfigError(f"{setting} names the part '{name}'. {suggestion(name, self.parts)}")
        for name, weight in self.weights.items():
            if not (isinstance(weight, (int, float)) and 0 < weight < inf):
                raise ConfigError(f"weights gives '{name}' the weight {weight!r}. Give a number above 0.")
        for name, task in self.tasks.items():
            _check_part(name, task)

    @cached_property
    def tasks(self) -> dict[str, Task[Any, Any]]:
        """The parts as tasks."""
        return {name: resolve("task", part["task"])(**part["settings"]) for name, part in self.parts.items()}

    @classmethod
    def schema(cls, settings: Mapping[str, Any]) -> type[SeveralExample]:
        """Return a schema that reads a row once for each part."""
        task = cls(**settings)
        schemas = {name: part.schema(part.settings()) for name, part in task.tasks.items()}
        return type(cls.Example.__name__, (cls.Example,), {"schemas": schemas, "columns": task.columns})

    @classmethod
    def from_examples(cls, splits: Splits[SeveralExample], **settings: Any) -> Self:
        """Let each part learn from its own gold; see `Task.from_examples`."""
        task = cls(**settings)
        learned = {}
        for name, part in task.tasks.items():
            own = {split: _of(name, examples) for split, examples in splits.items()}
            learned[name] = type(part).from_examples(own, **part.settings())
            if not greater_is_better(learned[name].primary_metric):
                raise ConfigError(f"{name}: {learned[name].primary_metric} is better when it is smaller, and makes no "
                                  "mean with others. Train this part by itself.")  # fmt: skip
        named = [f"{name}.{part.primary_metric}" for name, part in learned.items()]
        say(f"{AVERAGE} is the mean of {' and '.join(named)}; it decides which weights are the best.")
        rows = splits.get("train", ())
        counts = {
            name: fsum(part.loss_count(example) for example in _of(name, rows)) / max(1, len(rows))
            for name, part in learned.items()
        }
        return replace(task, parts=learned, labels_a_row={name: count or 1.0 for name, count in counts.items()})

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with its parts fitted."""
        fitted = {name: part.fitted_to(config, tokenizer) for name, part in self.tasks.items()}
        for name, part in fitted.items():
            if part.token_types:
                raise ConfigError(f"{name}: case_features change what the encoder reads, for all parts. Leave it out.")
        return replace(self, parts=fitted)

    def problems(self, examples: Sequence[SeveralExample]) -> list[Problem]:
        """Return what is wrong with further data, for any part."""
        return [problem for name, part in self.tasks.items() for problem in part.problems(_of(name, examples))]

    def example_from_input(self, value: Any) -> SeveralExample:
        """Accept what every part accepts."""
        parts = {}
        for name, part in self.tasks.items():
            try:
                parts[name] = part.example_from_input(value)
            except DataError as error:
                raise DataError(f"{name}: {error}") from None
        return SeveralExample(parts=parts)

    def encode(
        self, examples: Sequence[SeveralExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return the features of all parts; those whose inputs are equal are one, and are run once."""
        limits = {"max_length": max_length, "stride": stride}
        every = {name: part.encode(_of(name, examples), tokenizer, **limits) for name, part in self.tasks.items()}
        told = [name for name, groups in every.items() if any(f.info is not None for group in groups for f in group)]
        return [
            _merged({name: groups[place] for name, groups in every.items()}, told) for place in range(len(examples))
        ]

    def decode(
        self,
        records: Sequence[Any],
        features: Sequence[Sequence[Feature]],
        examples: Sequence[SeveralExample],
    ) -> list[Predictions]:
        """Return `{part: what the part predicts}`."""
        found = [
            part.decode(
                [record[name] for record in records if name in record],
                [_own(name, group) for group in features],
                _of(name, examples),
            )
            for name, part in self.tasks.items()
        ]
        return [dict(zip(self.tasks, row, strict=True)) for row in zip(*found, strict=True)]

    def score(self, predictions: Sequence[Predictions], examples: Sequence[SeveralExample]) -> dict[str, Any]:
        """Return each part's scores under its name, the mean of the primary ones, and the share of rows all right."""
        scores = {
            name: part.score([p[name] for p in predictions], _of(name, examples)) for name, part in self.tasks.items()
        }
        primary = [float(scores[name][part.primary_metric]) for name, part in self.tasks.items()]
        right = self.rows_right(predictions, examples)
        whole = {} if right is None else {self.whole_row: sum(right) / max(1, len(right))}
        named = {f"{name}.{metric}": value for name, found in scores.items() for metric, value in found.items()}
        return {AVERAGE: fsum(primary) / len(primary), **whole, **named}

    def primary_counts(
        self, predictions: Sequence[Predictions], examples: Sequence[SeveralExample]
    ) -> RowCounts | None:
        """Return the mean as a function of the parts' sums side by side; None if a part has none."""
        found = [part.primary_counts(*pairs) for part, pairs in self._by_part(predictions, examples)]
        counts = [item for item in found if item is not None]
        if len(counts) < len(found):
            return None

        def mean(scores: list[Floats]) -> Floats:
            result: Floats = np.mean(scores, axis=0)
            return result

        return combined(counts, mean)

    def rows_right(self, predictions: Sequence[Predictions], examples: Sequence[SeveralExample]) -> list[bool] | None:
        """Return whether every part is right."""
        found = [part.rows_right(*pairs) for part, pairs in self._by_part(predictions, examples)]
        known = [right for right in found if right is not None]
        return [all(row) for row in zip(*known, strict=True)] if len(known) == len(found) else None

    def withheld(self, prediction: Predictions, min_confidence: float) -> Predictions:
        """Return what each part leaves of its own prediction."""
        return {name: part.withheld(prediction[name], min_confidence) for name, part in self.tasks.items()}

    def gold_names(self, example: SeveralExample) -> tuple[str, ...]:
        """Return the gold of all parts, each with the part's name."""
        found = ((name, part.gold_names(example.parts[name])) for name, part in self.tasks.items())
        return tuple(f"{name}: {gold}" for name, names in found for gold in names)

    def gold_lost(self, example: SeveralExample, features: Sequence[Feature]) -> int:
        """Return how much gold no part can give."""
        return sum(part.gold_lost(example.parts[name], _own(name, features)) for name, part in self.tasks.items())

    def loss_count(self, example: SeveralExample) -> float:
        """Return the sum of the weights of all labels."""
        return fsum(
            weight * self.tasks[name].loss_count(example.parts[name]) for name, weight in self._label_weights.items()
        )

    def slices(
        self,
        predictions: Sequence[Predictions],
        examples: Sequence[SeveralExample],
        training: Sequence[SeveralExample],
    ) -> dict[str, Any]:
        """Return the parts' tables under their names."""
        return {
            f"{name}.{table}": value
            for name, part in self.tasks.items()
            for table, value in part.slices(
                [p[name] for p in predictions], _of(name, examples), _of(name, training)
            ).items()
        }

    def baselines(
        self, training: Sequence[SeveralExample], examples: Sequence[SeveralExample]
    ) -> dict[str, Sequence[Predictions]]:
        """Return the plainest guess of each part, together; none if a part has none."""
        found = {name: part.baselines(_of(name, training), _of(name, examples)) for name, part in self.tasks.items()}
        if not all(found.values()):
            return {}
        first = {name: next(iter(guesses.items())) for name, guesses in found.items()}
        rows = zip(*(guesses for _, guesses in first.values()), strict=True)
        label = ", ".join(guess for guess, _ in first.values())
        return {label: [dict(zip(first, row, strict=True)) for row in rows]}

    def tuned(self, predictions: Sequence[Predictions], examples: Sequence[SeveralExample]) -> Self:
        """Return the task with its parts' thresholds fitted."""
        tuned = {
            name: part.tuned([p[name] for p in predictions], _of(name, examples)) for name, part in self.tasks.items()
        }
        same = all(tuned[name] is part for name, part in self.tasks.items())
        return self if same else replace(self, parts=tuned)

    def elsewhere(self) -> str:
        """Return what the parts ask for."""
        return " ".join(filter(None, (part.elsewhere() for part in self.tasks.values())))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all parts, each with the part's name."""
        return tuple(f"{name}: {label}" for name, part in self.tasks.items() for label in getattr(part, "labels", ()))

    def build_head(self, config: PreTrainedConfig) -> TaskHead:
        """Make the heads of the parts, and the one that holds them; see `Task.build_head`."""
        heads = {name: part.build_head(config) for name, part in self.tasks.items()}
        head_class = resolve("head", self.head or self.default_head)
        head: TaskHead = head_class(config, heads=heads, weights=self._label_weights, **self.head_settings)
        return head

    @property
    def _label_weights(self) -> dict[str, float]:
        """What a label of each part weighs: the parts' weights add up to 1."""
        weights = {name: self.weights.get(name, 1.0) for name in self.parts}
        whole = fsum(weights.values())
        return {name: weight / whole / self.labels_a_row.get(name, 1.0) for name, weight in weights.items()}

    def _by_part(
        self, predictions: Sequence[Predictions], examples: Sequence[SeveralExample]
    ) -> list[tuple[Task[Any, Any], tuple[list[Any], list[Any]]]]:
        return [(part, ([p[name] for p in predictions], _of(name, examples))) for name, part in self.tasks.items()]


def _specified(name: Any, part: Any) -> dict[str, Any]:
    """Return a part as JSON values: the registered name of its task, and its settings."""
    if not isinstance(name, str) or not name or "." in name:
        raise ConfigError(f"parts: {name!r} cannot name a part. Give a text without full stops, such as 'topic'.")
    if isinstance(part, str):
        part = resolve("task", part)()
    if isinstance(part, Task):
        return {"task": name_of("task", type(part)), "settings": part.settings()}
    if isinstance(part, Mapping) and part.keys() == {"task", "settings"}:
        return dict(part)
    raise ConfigError(f"parts: {name} is {part!r:.60}. Give a task's name such as 'ner', or a Task object.")


def _check_part(name: str, task: Task[Any, Any]) -> None:
    """Refuse tasks that ask for batches, or a text, of their own."""
    reason = None
    if isinstance(task, SeveralTasks):
        reason = "has parts itself; name them all beside each other"
    elif task.keep_together or task.padding_side or task.needs_all_rows:
        reason = "needs batches of its own; train it by itself"
    elif getattr(task, "document_context", 0):
        reason = "has document_context, which the other parts would not read; leave it out"
    if reason:
        raise ConfigError(f"parts: {name} ({type(task).__name__}) {reason}.")


def _of(name: str, examples: Sequence[SeveralExample]) -> list[Any]:
    return [example.parts[name] for example in examples]


@dataclass(frozen=True)
class _Infos:
    """The info of a feature for each part, where several have any."""

    by_part: Mapping[str, Any]


def _merged(groups: Mapping[str, list[Feature]], told: Sequence[str]) -> list[Feature]:
    """Return the features of one row: one for all parts with the same inputs, which says whose it is."""
    own = {name: {tuple(map(tuple, f.inputs.values())): f for f in group} for name, group in groups.items()}
    merged = {key: Feature(feature.inputs) for features in own.values() for key, feature in features.items()}
    for name, features in own.items():
        for key, whole in merged.items():
            mine = features.get(key)
            like = groups[name][0] if mine is None else mine  # a batch needs targets of one form; these are not read
            whole.targets |= {f"{name}.{target}": value for target, value in like.targets.items()}
            for target, values in like.token_targets.items():
                whole.token_targets[f"{name}.{target}"] = [IGNORED] * len(whole) if mine is None else values
            whole.token_targets[f"{name}.{THERE}"] = [int(mine is not None)] * len(whole)
    for key, whole in merged.items():
        infos = {name: own[name][key].info for name in told if key in own[name]}
        whole.info = infos.get(told[0]) if len(told) == 1 else _Infos(infos) if told else None
    return list(merged.values())


def _own(name: str, group: Sequence[Feature]) -> list[Feature]:
    """Return the features of a row that are a part's, with its info (of one part alone: for all)."""
    start, found = f"{name}.", []
    for feature in group:
        targets, token_targets = (
            {key.removeprefix(start): value for key, value in given.items() if key.startswith(start)}
            for given in (feature.targets, feature.token_targets)
        )
        if token_targets.pop(THERE)[0] == 1:
            info = feature.info.by_part.get(name) if isinstance(feature.info, _Infos) else feature.info
            found.append(Feature(feature.inputs, targets, token_targets, info))
    return found
