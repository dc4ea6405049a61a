"""What does a tuned model, the teacher, say of the training rows? Computed once, for a student to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reasoner.base_model import checksum
from reasoner.data.feature_file import feature_lengths, group_sizes
from reasoner.data.features import Batch, Feature
from reasoner.data.states import States
from reasoner.data.windows import Owned
from reasoner.errors import CheckpointError, ConfigError
from reasoner.evaluation import Encoded
from reasoner.frozen import MEGABYTE, goes_to_file
from reasoner.heads.base import Outputs, TaskHead
from reasoner.inference import Predictor
from reasoner.model import length_limit
from reasoner.notices import say
from reasoner.reports.run import Run
from reasoner.storage import load_folder
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.engine import autocast, choose_device

WHOLE, WORDS, TOKENS = "whole", "words", "tokens"
"""How features of two models correspond: one for one; by the words that their tokens begin; token for token."""


class TeacherOutputs:
    """The teacher's logits for each of the student's training features, in the form of the student's own outputs.

    Args:
        features: the student's.
        by: `WHOLE`: a feature has one row of logits; else one for each of its tokens, of which none is known yet.
        shapes: what follows features (and tokens) in the shape of each output, by name.
        config: says how much memory and disk it may take.

    Raises:
        ConfigError: if that is too little.
    """

    def __init__(
        self, features: Sequence[Sequence[Feature]], by: str, shapes: dict[str, tuple[int, ...]], config: TrainingConfig
    ) -> None:
        lengths = feature_lengths(features).tolist()
        rows = [1] * len(lengths) if by == WHOLE else lengths
        self.by, self.shapes = by, shapes
        self.widths = [torch.Size(shape).numel() for shape in shapes.values()]
        self.megabytes = 4 * sum(rows) * sum(self.widths) / MEGABYTE
        in_file = goes_to_file(self.megabytes, config)
        if in_file is None:
            raise ConfigError(f"teacher: what it says takes {self.megabytes:,.1f} MB, more than frozen_cache_mb and "
                              "frozen_cache_disk_mb (or half of the free disk) allow. Raise them.")  # fmt: skip
        self.in_file = in_file
        self.kept = States(rows, sum(self.widths), in_file=in_file)
        for index in range(len(rows)):
            self.kept.of(index).fill_(torch.nan)

    def __call__(self, batch: Batch) -> Outputs:
        """Return the teacher's outputs for a batch of the student's, on its device; NaN where it says nothing."""
        values = torch.cat([self.kept.of(index) for index in batch.feature_index]).to(batch.group.device)
        if self.by != WHOLE:
            mask = batch.inputs["attention_mask"].bool()  # (features, length)
            padded = values.new_full((*mask.shape, values.shape[1]), torch.nan)
            padded[mask] = values
            values = padded
        parts = zip(self.shapes.items(), torch.split(values, self.widths, dim=-1), strict=True)
        return {name: part.reshape(*part.shape[:-1], *shape) for (name, shape), part in parts}


def taught(
    student: Predictor, data: Encoded, config: TrainingConfig, *, fewer_labels: bool = False
) -> tuple[Encoded, dict[str, Any]]:
    """Return the training rows with what the teacher says of them, and what the record of the run tells of it.

    The teacher reads each row once, as it would for a prediction: by its own tokenizer and task, and without dropout.
    What it says of a text, a choice or a word is of use to any tokenizer; of other tokens, to one that makes the same.
    With `fewer_labels` it may know the first of the student's labels alone, and says nothing of the rows' own gold.

    Raises:
        ConfigError: if it cannot be loaded, or its task, labels, head or tokens are not the student's.
    """
    teacher, run, name = _opened(config)
    order = _checked(teacher, student, fewer_labels)
    teacher = replace(teacher, task=_with_labels_of(student, teacher)) if fewer_labels else teacher
    if problems := teacher.task.problems(data.examples):
        raise ConfigError(f"teacher: its task reads these rows otherwise. {problems[0]}")
    by = _correspondence(data.features[0][0])
    if by == TOKENS:
        teacher = _in_windows_of(student, teacher)
    read = teacher.encode(data.examples, name="teacher", cache=config.feature_cache)
    if by != WORDS:
        _check_same_features(read, data, by)
    outputs = _kept(_said(teacher, read, order, whole=by == WHOLE), _places(read, data, by), data, by, config)
    name = f"{name}, weights {checksum(teacher.model):08x}"
    parameters = sum(parameter.numel() for parameter in teacher.model.parameters())
    weight, temperature = config.distillation
    where = "a temporary file" if outputs.in_file else "memory"
    say(f"The teacher is {name} ({run.model} tuned by {run.method}, {parameters:,} parameters). Its share of the loss "
        f"is {weight:g}, at temperature {temperature:g}. What it says of the training rows is kept "
        f"({outputs.megabytes:,.1f} MB in {where}).")  # fmt: skip
    told = {"teacher": name, "distillation_weight": weight, "distillation_temperature": temperature}
    return data._replace(teacher=outputs), told


def _opened(config: TrainingConfig) -> tuple[Predictor, Run, str]:
    """Return the teacher, the record of its training, and its name."""
    given = config.teacher
    if isinstance(given, (str, Path)):
        try:
            predictor, run = load_folder(given)
        except CheckpointError as error:
            raise ConfigError(f"teacher: {error}") from error
        predictor.model.to(choose_device(config.use_cpu))
        predictor.model.pack(config.packing, padding_side=predictor.tokenizer.padding_side)
        name = Path(given).resolve().name
    else:
        predictor, run, name = given.predictor, given.run, "a result in memory"
    size, tokens = config.per_device_eval_batch_size, config.tokens_per_batch
    return replace(predictor, batch_size=size, tokens_per_batch=tokens, bf16=config.bf16), run, name


def _with_labels_of(student: Predictor, teacher: Predictor) -> Task[Any, Any]:
    """Return the teacher's task with the student's labels: it reads the gold, and its own outputs are the first."""
    if "labels" not in {item.name for item in fields(teacher.task)}:
        return teacher.task
    changes: dict[str, Any] = {"labels": getattr(student.task, "labels", ())}
    return replace(teacher.task, **changes)


def _checked(teacher: Predictor, student: Predictor, fewer_labels: bool = False) -> list[int] | None:
    """Return which of the teacher's labels is each of the student's; None: they are in the same order."""
    tasks: list[Task[Any, Any]] = [teacher.task, student.task]
    kinds = [" ".join(filter(None, (type(task).__name__, getattr(task, "kind", "")))) for task in tasks]
    if type(tasks[0]) is not type(tasks[1]) or kinds[0] != kinds[1]:
        raise ConfigError(f"teacher: its task is {kinds[0]}, and this one {kinds[1]}. Give one for this task.")
    theirs, ours = ([str(label) for label in getattr(task, "labels", ())] for task in tasks)
    begins = fewer_labels and ours[: len(theirs)] == theirs
    if set(theirs) != set(ours) and not begins:
        alone = [", ".join(sorted({*one} - {*other})) or "none" for one, other in ((theirs, ours), (ours, theirs))]
        raise ConfigError(f"teacher: it has other labels. Only the teacher has: {alone[0]}; only the data: {alone[1]}. "
                          "Give one that was tuned on the same labels.")  # fmt: skip
    heads = teacher.model.head, student.model.head
    if type(heads[0]) is not type(heads[1]):
        names = [type(head).__name__ for head in heads]
        raise ConfigError(f"teacher: its head is {names[0]}, and this one {names[1]}. Give one with the same head.")
    if type(heads[1]).distillation is TaskHead.distillation:
        heads[1].distillation({}, {}, None)  # type: ignore[arg-type]  # refuses
    return None if begins or theirs == ours else [theirs.index(label) for label in ours]


def _correspondence(feature: Feature) -> str:
    if not feature.token_targets:
        return WHOLE
    told = isinstance(feature.info, list) and all(isinstance(item, Owned) for item in feature.info)
    return WORDS if told else TOKENS


def _in_windows_of(student: Predictor, teacher: Predictor) -> Predictor:
    room = length_limit(teacher.model.network, teacher.tokenizer) - teacher.model.virtual_tokens
    if student.max_length > room:
        raise ConfigError(f"teacher: it takes {room} tokens, and windows here have more. Give max_length={room}.")
    return replace(teacher, max_length=student.max_length, stride=student.stride)


def _check_same_features(read: Encoded, data: Encoded, by: str) -> None:
    """Refuse features of the teacher that do not correspond, one for one, to those of the student."""
    for example, theirs, ours in zip(data.examples, read.features, data.features, strict=True):
        if len(theirs) != len(ours) or (by == TOKENS and list(map(_ids, theirs)) != list(map(_ids, ours))):
            raise ConfigError(f"teacher: its tokenizer cuts {example.where} into other pieces than this model's, and "
                              "what it says is said of pieces. Give one with the same tokenizer.")  # fmt: skip


def _ids(feature: Feature) -> list[int]:
    return list(feature.inputs["input_ids"])


@torch.no_grad()
def _said(
    teacher: Predictor, read: Encoded, order: list[int] | None, *, whole: bool
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the number of each feature, the longest first, and its logits by name: (1, ...) if `whole`, (tokens, ...).

    Raises:
        ConfigError: if they are not finite.
    """
    teacher.model.eval()
    for batch in teacher.batches(read):
        with autocast(teacher.device, teacher.bf16):
            outputs = teacher.model(batch.to(teacher.device))
        logits = {n: value.float().cpu() for n, value in outputs.items() if n == "logits" or n.endswith("_logits")}
        if not all(value.isfinite().all() for value in logits.values()):
            raise ConfigError("teacher: its outputs are not finite. Give one that predicts.")
        if order is not None:
            logits = {name: value[..., order] for name, value in logits.items()}
        mask = batch.inputs["attention_mask"].bool()
        for place, index in enumerate(batch.feature_index):
            yield index, {n: value[place : place + 1] if whole else value[place, mask[place]]
                          for n, value in logits.items()}  # fmt: skip


def _places(read: Encoded, data: Encoded, by: str) -> Callable[[int], Iterable[tuple[int, Any, Any]]]:
    """Return a function that tells where a feature of the teacher is learned.

    It gives for the feature's number those of the student's features, and in each its rows and the teacher's.
    """
    if by != WORDS:
        return lambda index: [(index, slice(None), slice(None))]
    windows = [(row, place) for row, size in enumerate(group_sizes(read.features)) for place in range(size)]
    starts = [0, *accumulate(group_sizes(data.features).tolist())]

    def shared_words(index: int) -> Iterator[tuple[int, Any, Any]]:
        row, place = windows[index]
        tokens = {item.word: item.token for item in read.features[row][place].info}
        for number, feature in enumerate(data.features[row], starts[row]):
            both = [(item.token, tokens[item.word]) for item in feature.info if item.word in tokens]
            yield number, [own for own, _ in both], [their for _, their in both]

    return shared_words


def _kept(
    said: Iterable[tuple[int, dict[str, Tensor]]],
    places: Callable[[int], Iterable[tuple[int, Any, Any]]],
    data: Encoded,
    by: str,
    config: TrainingConfig,
) -> TeacherOutputs:
    """Put what was said where the student looks for it; of words that the teacher does not see, say how many."""
    outputs: TeacherOutputs | None = None
    for index, logits in said:
        if outputs is None:
            shapes = {name: tuple(value.shape[1:]) for name, value in logits.items()}
            outputs = TeacherOutputs(data.features, by, shapes, config)
        values = torch.cat([value.reshape(len(value), -1) for value in logits.values()], dim=-1)  # (rows, width)
        for number, own, their in places(index):
            outputs.kept.of(number)[own] = values[their]
    assert outputs is not None
    if by == WORDS:
        features = (feature for group in data.features for feature in group)
        words = [outputs.kept.of(number)[[item.token for item in feature.info], 0].isnan()
                 for number, feature in enumerate(features)]  # fmt: skip
        if unseen := sum(int(row.sum()) for row in words):
            say(f"teacher: {unseen} of {sum(map(len, words))} words are none to its tokenizer, and learned from the "
                "gold labels alone.")  # fmt: skip
    return outputs
