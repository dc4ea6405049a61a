"""Does the longest batch pass, and what will the run take: time, memory and disk? Two batches tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil, isfinite
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reasoner.checks.findings import ERROR, WARNING, Finding
from reasoner.checks.subject import Subject
from reasoner.data.batching import Batches
from reasoner.data.feature_file import feature_lengths
from reasoner.data.features import Batch
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.notices import collect, muted
from reasoner.training.config import TrainingConfig
from reasoner.training.engine import autocast, is_out_of_memory, matrix_peak
from reasoner.training.parts import number_of_parts, part_limit, parts_for_cpu
from reasoner.training.ranks import current

FLOAT = 4
"""Bytes of a float32."""
MOMENTS = {"adamw": 2, "sgd": 1}
LONG = 300
"""Seconds of a run on the CPU for which it is tried whether bfloat16 is faster: that takes two more batches."""
FASTER = 1.25
"""How many times as fast it has to be to be told of."""


class Trial(NamedTuple):
    """A batch, and where its rows stand."""

    batch: Batch
    places: tuple[str, ...]


class Pass(NamedTuple):
    """One forward and backward pass over a batch."""

    forward: float
    """Seconds."""
    seconds: float
    """Seconds, backward included."""
    loss: float
    gradient_norm: float
    kept: int
    """Bytes that were kept for the backward pass."""


def try_out(subject: Subject) -> tuple[dict[str, Any], list[Finding]]:
    """Run the longest batch of training and one of middle length, and estimate the whole run from them.

    Weights, buffers, gradients, modes and random states are as before when it is done.

    Returns:
        The estimate (see `CheckReport.estimate`; empty if the longest batch failed), and what was found.
    """
    predictor, config = subject.predictor, subject.config
    if predictor is None or not subject.encoded.get("train"):
        return {}, []
    longest, middle, largest = _two_batches(predictor, subject.encoded["train"], config)
    rows, tokens = longest.batch.inputs["input_ids"].shape
    try:
        with _unchanged(predictor.model, predictor.device):
            first = _run(predictor, longest.batch, config)
            second = _run(predictor, middle.batch, config)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {}, [_too_large(rows, tokens, longest.places)]
    if not isfinite(first.loss) or not isfinite(first.gradient_norm):
        return {}, [_not_finite(first, rows, tokens, longest.places)]
    kept = round(first.kept * largest)
    run = _time(subject, second, middle.batch.tokens)
    if run["seconds"] > LONG and (gain := _gain_of_bfloat16(predictor, middle.batch, config, second)) > FASTER:
        run["bf16_seconds"] = run["seconds"] / gain
    return {
        **run,
        "memory_bytes": _memory(predictor.model, config) + kept,
        "batch_bytes": kept,
        "disk_bytes": FLOAT * sum(weight.numel() for weight in _saved(predictor.model)),
        "longest_batch": [rows, tokens],
        "device": str(predictor.device.type),
    }, []


def _gain_of_bfloat16(predictor: Predictor, batch: Batch, config: TrainingConfig, passed: Pass) -> float:
    """Return how many times as fast the pass over a batch is with `bf16=True`; 1.0 where that is no question.

    Somebody has chosen, or this processor multiplies no faster so: those of the last years do two to four times as
    fast as in float32, others much slower.
    """
    device = predictor.device
    if config.bf16 is not None or device.type != "cpu":
        return 1.0
    if matrix_peak(device, True) < FASTER * matrix_peak(device, False):
        return 1.0
    try:
        with _unchanged(predictor.model, device):  # the first of two chooses kernels
            faster = [_run(predictor, batch, replace(config, bf16=True)) for _ in range(2)][-1]
    except (RuntimeError, MemoryError):  # nobody has asked for it: what does not take it is no problem
        return 1.0
    return passed.seconds / faster.seconds if isfinite(faster.gradient_norm) else 1.0


def _batches(predictor: Predictor, data: Encoded, config: TrainingConfig, *, shuffle: bool) -> Batches:
    """Return batches as large as those of training."""
    return predictor.batches(
        data,
        batch_size=config.per_device_train_batch_size,
        tokens_per_batch=config.tokens_per_batch,
        shuffle=shuffle,
        seed=config.seed,
    )


def _two_batches(predictor: Predictor, data: Encoded, config: TrainingConfig) -> tuple[Trial, Trial, float]:
    """Return the batch of the longest sequences, and one from the middle of their order.

    The number: how many times the positions of the first one's parts the largest part of any batch has.
    """
    batches = _batches(predictor, data, config, shuffle=False)  # longest first
    plan, limit = batches.plan(), _part_limit(predictor)

    def trial(indexes: list[int]) -> Trial:
        rows = dict.fromkeys(batches.example_of[index] for index in indexes)
        return Trial(batches.collate(indexes), tuple(data.examples[row].where for row in rows))

    def positions(indexes: list[int]) -> float:
        rows, length = len(indexes), int(batches.lengths[indexes].max())
        return rows * length / number_of_parts(rows, length, limit)

    largest = max(map(positions, plan)) / positions(plan[0])
    return trial(plan[0]), trial(plan[(len(plan) - 1) // 2]), largest


def _part_limit(predictor: Predictor) -> float | None:
    return part_limit(predictor.model, predictor.device, compares_rows=predictor.task.compares_rows)


def _run(predictor: Predictor, batch: Batch, config: TrainingConfig) -> Pass:
    """Run a batch as training does, in parts where it would."""
    model, device = predictor.model, predictor.device
    parts = parts_for_cpu(batch, _part_limit(predictor), keep_together=predictor.task.keep_together)
    passes = [_run_part(model, part.to(device), config) for part in parts]
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    forward, seconds, losses, kept = zip(*passes, strict=True)
    norm = float(torch.nn.utils.get_total_norm(gradients))
    return Pass(sum(forward), sum(seconds), sum(losses), norm, max(kept))


def _run_part(model: TaskModel, batch: Batch, config: TrainingConfig) -> tuple[float, float, float, int]:
    """Return seconds forward and in all, the loss, and the bytes that were kept for the backward pass."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself, it would hold on to its own graph

    started = time.perf_counter()
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        autocast(batch.group.device, config.bf16),
    ):
        loss = model.loss(model(batch), batch)
    total = float(loss.total.detach())  # a CUDA device finishes only here
    forward = time.perf_counter() - started
    loss.total.backward()  # type: ignore[no-untyped-call]
    return forward, time.perf_counter() - started, total, sum(kept.values())


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Set training mode, and put everything back at the end: modes, buffers, gradients, random states."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            model.train()
            yield
        finally:
            model.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
            for module, training in modes:
                module.training = training


def _time(subject: Subject, passed: Pass, tokens: int) -> dict[str, Any]:
    """Return seconds, steps and evaluations of the whole run; time grows with the number of tokens."""
    config, lengths = subject.config, {name: _tokens(data) for name, data in subject.encoded.items()}
    assert subject.predictor is not None
    batches, ranks = _batches(subject.predictor, subject.encoded["train"], config, shuffle=True), current().number
    steps_of_epochs = []
    for batches.epoch in range(config.num_train_epochs):
        steps_of_epochs.append(ceil(len(batches) / (config.gradient_accumulation_steps * ranks)))
    steps = config.max_steps or sum(steps_of_epochs)
    epochs = steps / mean(steps_of_epochs)
    evaluations = ceil(steps / config.eval_steps if config.eval_steps else epochs)
    scored = (evaluations + 1) * lengths.get("validation", 0) + lengths.get("test", 0)
    if config.evaluate_before:
        evaluations, scored = evaluations + 1, scored + lengths.get("test", lengths.get("validation", 0))
    learned = lengths["train"]
    if config.refit:
        learned += lengths["train"] + lengths["validation"]
    part, scored_part = _tokens_of_bias_models(subject)
    learned, scored = learned + part, scored + evaluations * scored_part
    seconds = (passed.seconds * epochs * learned + passed.forward * scored) / (tokens * ranks)
    return {"seconds": seconds, "steps": steps, "evaluations": evaluations + 1}


def _tokens_of_bias_models(subject: Subject) -> tuple[int, int]:
    """Return what the two models of `debias` read in an epoch and in an evaluation, 0 if none is trained."""
    predictor = subject.predictor
    assert predictor is not None
    part = predictor.task.partial_inputs().get(str(subject.config.debias))
    if part is None:
        return 0, 0
    with collect(apart=True), muted():
        seen = [predictor.encode([part.view(row) for row in subject.encoded[split].examples])
                for split in ("train", "validation")]  # fmt: skip
    return _tokens(seen[0]), 2 * _tokens(seen[1])


def _tokens(data: Encoded) -> int:
    return int(feature_lengths(data.features).sum())


def _memory(model: nn.Module, config: TrainingConfig) -> int:
    """Return the bytes of the weights, and for those that learn of gradient, the optimiser's moments and the best."""
    weights = list(model.parameters())
    learning = sum(weight.numel() for weight in weights if weight.requires_grad)
    return FLOAT * (sum(weight.numel() for weight in weights) + learning * (2 + MOMENTS[config.optim]))


def _saved(model: TaskModel) -> Iterator[nn.Parameter]:
    """Give the weights that a model folder holds."""
    return (weight for weight in model.parameters() if model.added is None or weight.requires_grad)


def _not_finite(found: Pass, rows: int, tokens: int, places: tuple[str, ...]) -> Finding:
    which, value = ("loss", found.loss) if not isfinite(found.loss) else ("gradient", found.gradient_norm)
    return Finding(
        code="not_finite",
        what=f"the {which} of the longest batch ({rows} x {tokens} tokens) is {value}, before any training",
        remedy="Look whether the checkpoint's weights are finite, and at these rows: nothing can be learned so.",
        severity=ERROR,
        count=rows,
        places=places,
    )


def _too_large(rows: int, tokens: int, places: tuple[str, ...]) -> Finding:
    alone = len(places) == 1
    return Finding(
        code="out_of_memory",
        what=f"the longest batch ({rows} x {tokens} tokens) does not fit into the memory",
        remedy="Lower max_length, give gradient_checkpointing=True, or take a smaller model."
        if alone
        else "Training will run such batches in parts, as if they were whole. Less memory is needed with a lower "
        "max_length or gradient_checkpointing=True.",
        severity=ERROR if alone else WARNING,
        count=rows,
        places=places,
    )
