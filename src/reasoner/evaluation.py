"""The one evaluation loop: batches -> head.infer -> records -> task.decode -> predictions -> task.score."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from reasoner.data.batching import Batches
from reasoner.data.feature_file import group_sizes
from reasoner.data.features import Batch, Feature
from reasoner.data.states import PartOfStates, States
from reasoner.heads.base import Outputs
from reasoner.losses import LossSum
from reasoner.metrics.generation import TextSize
from reasoner.model import TaskModel
from reasoner.tasks.base import Task
from reasoner.training.engine import autocast
from reasoner.training.ranks import Ranks, current

PART = 1_000
"""How many examples evaluation and prediction work on at a time. Only predictions outlive a part, so that memory does
not grow with the data; and inside a part sequences are in order of length, so that little is padding."""

ItemT = TypeVar("ItemT")


class Encoded(NamedTuple):
    """Examples and their features, one list of features an example."""

    examples: Sequence[Any]
    features: Sequence[Sequence[Feature]]
    states: States | PartOfStates | None = None
    """Of a frozen part of the network, one entry a feature."""
    teacher: Callable[[Batch], Outputs] | None = None
    """Gives what a teacher says of a batch of the features; see `distillation`."""
    bias: Callable[[Batch], Tensor] | None = None
    """Gives what a shortcut tells of a batch of the features; see `debiasing`."""
    copies: Callable[[Batch], tuple[Batch, Tensor | None]] | None = None
    """Gives edited copies of the rows of a batch; see `edits.copies`."""

    def parts(self) -> Iterator[Encoded]:
        """Return the same in parts of `PART` examples."""
        first = 0
        for start in range(0, len(self.examples), PART):
            features = self.features[start : start + PART]
            states = None if self.states is None else self.states.part(first)
            yield Encoded(self.examples[start : start + PART], features, states)
            first += int(group_sizes(features).sum())


class Evaluation(NamedTuple):
    """Scores, and the predictions they were computed from, one an example."""

    metrics: dict[str, Any]
    predictions: list[Any]


class _Remembering:
    """The model as the head's `infer` sees it; remembers its outputs so that the loss costs no second pass."""

    def __init__(self, model: TaskModel) -> None:
        self.model = model
        self.outputs: Outputs | None = None

    def __call__(self, batch: Batch) -> Outputs:
        self.outputs = self.model(batch)
        return self.outputs

    def generate(self, inputs: dict[str, Tensor], **settings: Any) -> Tensor:
        return self.model.generate(inputs, **settings)

    def run(self, inputs: dict[str, Any]) -> Any:
        return self.model.run(inputs)

    @property
    def network(self) -> Any:
        return self.model.network

    @property
    def virtual_tokens(self) -> int:
        return self.model.virtual_tokens


@torch.inference_mode()
def infer(
    model: TaskModel, batches: Batches, *, device: torch.device, bf16: bool | None = None
) -> tuple[list[Any], LossSum | None]:
    """Run the model over batches; one batch of outputs is held at a time. Several ranks have every n-th batch each.

    Returns:
        The head's records in the order of the features, and the summed loss if the features have targets.
    """
    model.eval()
    ranks = current()
    records: list[Any] = [None] * len(batches.lengths)
    totals: list[LossSum | None] = []
    plan = batches.plan()[ranks.index :: ranks.number]
    for indexes in plan:
        placed = batches.collate(indexes).to(device)
        remembering = _Remembering(model)
        with autocast(device, bf16):
            found = model.head.infer(remembering, placed)
            if not _has_gold(batches.read(indexes[0])):  # a batch has the targets of its first feature
                totals.append(None)
            elif remembering.outputs is not None:
                totals.append(model.loss(remembering.outputs, placed))
        for index, record in zip(indexes, found, strict=True):
            records[index] = record
    return _of_all(ranks, plan, records, totals)


def _of_all(
    ranks: Ranks, plan: list[list[int]], records: list[Any], losses: list[LossSum | None]
) -> tuple[list[Any], LossSum | None]:
    """Return the records and the summed loss of all ranks: those of `plan` are this one's."""
    if ranks.number == 1:
        return records, _summed(losses)
    own = {index: records[index] for indexes in plan for index in indexes}
    numbers = [None if loss is None else [part.double().cpu() for part in loss] for loss in losses]
    every: list[LossSum | None] = []
    for found, told in ranks.gather((own, numbers)):
        for index, record in found.items():
            records[index] = record
        every += [None if parts is None else LossSum(*parts) for parts in told]
    return records, _summed(every)


def predictions_of(
    model: TaskModel,
    task: Task[Any, Any],
    part: Encoded,
    batches: Batches,
    *,
    device: torch.device,
    bf16: bool | None,
    tokenizer: Any = None,
) -> tuple[list[Any], LossSum | None]:
    """Return one prediction an example, and the summed loss if the features have targets."""
    records, loss = infer(model, batches, device=device, bf16=bf16)
    return task.decode(task.read_records(records, tokenizer), part.features, part.examples), loss


def evaluate(
    model: TaskModel,
    task: Task[Any, Any],
    parts: Iterable[Encoded],
    batches: Callable[[Encoded], Batches],
    *,
    device: torch.device,
    bf16: bool | None,
    tokenizer: Any = None,
) -> Evaluation:
    """Score the model on examples with gold.

    Args:
        model: the model.
        task: decodes each part, and scores all predictions together.
        parts: the examples; of each part only the predictions are kept.
        batches: makes the batches of a part.
        device: where the model is.
        bf16: see `TrainingConfig`.
        tokenizer: for tasks whose records are tokens.

    Returns:
        The task's scores with the mean `loss` (and what `Task.loss_scores` makes of it) and `rows_per_second` beside
        them (not where the states of a frozen backbone are kept: it would be no speed of the model), and the
        predictions. Where there are any, also `gold_lost`: entities or answers of the gold that no prediction can give;
        they count as missed.
    """
    examples: list[Any] = []
    predictions: list[Any] = []
    losses: list[LossSum | None] = []
    sizes: list[TextSize | None] = []
    lost, seconds, kept = 0, 0.0, False
    for part in parts:
        started = time.perf_counter()
        found, loss = predictions_of(model, task, part, batches(part), device=device, bf16=bf16, tokenizer=tokenizer)
        examples += part.examples
        predictions += found
        losses.append(loss)
        lost += sum(task.gold_lost(example, group) for example, group in zip(part.examples, part.features, strict=True))
        sizes.append(_size(task, part))
        kept |= part.states is not None
        seconds += time.perf_counter() - started
        del part  # before the next one is made
    started = time.perf_counter()
    metrics: dict[str, Any] = plain(task.score(predictions, examples))
    seconds += time.perf_counter() - started
    whole = _summed(losses)
    return Evaluation(
        metrics
        | ({"gold_lost": lost} if lost else {})
        | ({} if whole is None else {"loss": float(whole.mean), **task.loss_scores(float(whole.mean), _sum(sizes))})
        | ({} if kept else {"rows_per_second": len(examples) / seconds}),
        predictions,
    )


def _size(task: Task[Any, Any], part: Encoded) -> TextSize | None:
    """Return how much text the loss of a part is over."""
    return _sum([task.text_size(example, group) for example, group in zip(part.examples, part.features, strict=True)])


def _sum(sizes: Sequence[TextSize | None]) -> TextSize | None:
    """Return the sum; None if there are none, or one of them is missing."""
    known = [size for size in sizes if size is not None]
    return TextSize(*map(sum, zip(*known, strict=True))) if known and len(known) == len(sizes) else None


def in_parts(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """Return the items in lists of `PART`; none is drawn before its part is asked for."""
    remaining = iter(items)
    while part := list(islice(remaining, PART)):
        yield part


def plain(value: Any) -> Any:
    """Return scores as JSON values: NumPy's and PyTorch's numbers and arrays become Python's."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _summed(losses: Sequence[LossSum | None]) -> LossSum | None:
    """Return the sum; None if there are none, or one of them is missing."""
    known = [loss for loss in losses if loss is not None]
    if not known or len(known) < len(losses):
        return None
    return LossSum(torch.stack([loss.total for loss in known]).sum(), torch.stack([loss.count for loss in known]).sum())


def _has_gold(feature: Feature) -> bool:
    return bool(feature.targets) or any(name.endswith("labels") for name in feature.token_targets)
