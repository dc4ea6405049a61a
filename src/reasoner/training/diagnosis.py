"""What made a step's loss or gradient no finite number: which rows, which parameter, which part of the model?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reasoner.losses import LossSum
from reasoner.notices import say
from reasoner.training.engine import autocast
from reasoner.training.parts import cut, rows_of

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer

EXPLODED = 1000.0
"""How many times its loss at the first step the first batch must have now for the weights to have exploded."""
SHOWN = 10
"""Rows that a message names; the error, the report and the history have them all."""
INCOMPLETE = (RuntimeError, ValueError, IndexError, TypeError)
"""What a model may raise when it is given one row alone."""


@dataclass(kw_only=True)
class Finding:
    """What was found out about a step that was not made. Numbers are as in training unless `alone` is in the name."""

    step: int
    """Counted from 1."""
    epoch: float
    what: str
    """What is not finite: "loss" or "gradient"."""
    reason: str = "together"
    """Who is to blame: "rows" (these and no others), "weights" (they have exploded), "model" (as it was given: no row
    gives anything finite, and no step was made before), or "together" (no row alone)."""
    batches: list[int] = field(default_factory=list)
    """Which of the step's batches have the fault, counted from 1."""
    losses: list[float]
    """The total loss of each batch of the step."""
    gradient_norm: float
    rows: tuple[str, ...] = ()
    """Where the rows stand that give it alone; all rows of these batches if none does."""
    feature_index: list[int] = field(default_factory=list)
    """The features of these rows, as the batches number them."""
    alone: list[float] = field(default_factory=list)
    """Total loss, or norm of the gradient, of each row of these batches alone and without dropout."""
    fault: str
    """Of the parameters, "value" if the value of one is not finite, else "gradient"."""
    parameters: list[str] = field(default_factory=list)
    """Those whose value, or gradient, is not finite, in the model's order."""
    largest_weight: tuple[str, float]
    """The parameter with the largest absolute value, and that value."""
    module: str | None = None
    """The first part of the model that gives something not finite for the guilty rows; None: all outputs are finite."""
    module_output: str | None = None
    """Such as "inf (float16)"."""
    learning_rate: float
    """The highest of the schedule."""
    seed: int
    bf16: bool | None

    def sentences(self) -> str:
        """Say what, where, and what to do."""
        return " ".join(filter(None, [self._what(), self._who(), self._where(), self._remedy()]))

    def _what(self) -> str:
        when = f" (epoch {self.epoch:.2f})"
        if len(self.losses) > 1:
            when = f", in batch {' and '.join(map(str, self.batches))} of its {len(self.losses)}{when}"
        if self.what == "loss":
            return f"The loss of step {self.step} is {self.losses[self.batches[0] - 1]}{when}."
        norm = f"Its norm is {self.gradient_norm}."
        return f"The gradient of step {self.step} is not finite, though its loss is{when}. {norm}"

    def _who(self) -> str:
        if self.reason == "weights":
            return "It is no row in particular: the weights have exploded."
        if not self.rows:
            return ""
        named = "; ".join(self.rows[:SHOWN]) + (f"; and {len(self.rows) - SHOWN} more" if self.rows[SHOWN:] else "")
        if self.reason == "model":
            return (
                "Each of its rows gives it alone, and no step was made before: it is the model as it was given, or all "
                f"of these rows: {named}."
            )
        if self.reason == "together":
            return f"No row gives it alone and without dropout. The rows are: {named}."
        number = sum(not isfinite(value) for value in self.alone)
        return f"Run one by one, {number} of {len(self.alone)} rows give it: {named}."

    def _where(self) -> str:
        parts = []
        if self.module is not None:
            parts.append(f"The first output that is not finite is that of '{self.module}': {self.module_output}.")
        elif self.what == "loss" and self.reason == "rows":
            parts.append("All outputs of the model are finite: it is the labels of these rows, or the loss function.")
        if self.parameters:
            last = f" (the last of {len(self.parameters)}: '{self.parameters[-1]}')" if self.parameters[1:] else ""
            parts.append(f"The first {self.fault} that is not finite is that of '{self.parameters[0]}'{last}.")
        if self.reason in ("weights", "together"):
            name, value = self.largest_weight
            parts.append(f"The largest weight is {value:.3g}, in '{name}'.")
        return " ".join(parts)

    def _remedy(self) -> str:
        lower = f"ower the learning rate ({self.learning_rate:g})"
        if self.reason == "weights":
            return f"L{lower}."
        if self.module_output is not None and self.module_output.startswith("inf"):
            return f"It is an overflow: compute that part in float32 or bfloat16, leave the rows out, or l{lower}."
        if self.fault == "value" and self.parameters:
            return "It was so before the step: take a sound checkpoint, or leave the rows out."
        return "Look at these rows, or leave them out." if self.reason == "rows" else f"L{lower} or look at the data."


def diagnose(
    trainer: Trainer,
    group: Sequence[Any],
    *,
    totals: list[float],
    counts: list[float],
    norm: float,
    first: tuple[Any, float] | None,
    describe: Callable[[Any], Sequence[str]],
) -> Finding:
    """Find out why a step's loss or gradient is not finite, by running its rows again, without dropout.

    Args:
        trainer: its weights are those before the step, its gradients those of the step, not yet divided.
        group: the step's batches, one at least; None for others that this rank has no share of.
        totals: the total loss of each batch, of all ranks.
        counts: what they are over.
        norm: of the gradient.
        first: the first batch of the run that was in order and its mean loss then; None: no step was made yet.
        describe: batch -> the place of each of its features.
    """
    fault, names = _not_finite(trainer.model)  # now: what follows runs the model again, and its gradients are lost
    losses = [total if isfinite(count) else nan for total, count in zip(totals, counts, strict=True)]
    finding = Finding(
        step=trainer.step + 1,
        epoch=trainer.history.epochs + 1 / trainer.steps_per_epoch,
        what="gradient" if all(map(isfinite, losses)) else "loss",
        losses=losses,
        gradient_norm=norm,
        fault=fault,
        parameters=names,
        largest_weight=_largest(trainer.model),
        learning_rate=float(max(trainer.schedule.base_lrs)),
        seed=trainer.config.seed,
        bf16=trainer.config.bf16,
    )
    trainer.model.eval()
    own = [number for number, batch in enumerate(group) if batch is not None]
    bad = [number for number in own if not isfinite(losses[number])] or own
    finding.batches = [number + 1 for number in bad]
    if hasattr(group[own[0]], "feature_index"):
        _find_rows(trainer, [group[number] for number in bad], finding, describe)
    if finding.reason == "rows" and first is None and len(finding.alone) > 1 and not any(map(isfinite, finding.alone)):
        finding.reason = "model"
    if first is not None and _exploded(trainer, *first):
        finding.reason = "weights"
    trainer.optimizer.zero_grad(set_to_none=True)
    return finding


def _find_rows(
    trainer: Trainer, batches: Sequence[Any], finding: Finding, describe: Callable[[Any], Sequence[str]]
) -> None:
    """Run each row of some batches alone; write who has the fault, and where in the model, into `finding`."""
    measure = _loss if finding.what == "loss" else _gradient_norm
    batches = [_without_states(batch) for batch in batches]
    rows = [(number, cut(batch, positions)) for number, batch in zip(finding.batches, batches, strict=True)
            for positions in rows_of(batch)]  # fmt: skip
    try:
        finding.alone = [measure(trainer, row) for _, row in rows]
    except INCOMPLETE as error:  # whatever a model cannot do with one row must not hide that the loss is NaN
        say(f"The rows of step {finding.step} could not be run one by one ({type(error).__name__}: {error}).")
    guilty = [row for row, value in zip(rows, finding.alone, strict=False) if not isfinite(value)]
    if guilty:
        finding.reason, finding.batches = "rows", sorted({number for number, _ in guilty})
    finding.rows = tuple(dict.fromkeys(place for _, row in guilty or rows for place in describe(row)))
    finding.feature_index = [index for _, row in guilty or rows for index in row.feature_index]
    finding.module, finding.module_output = _first_bad_module(trainer, guilty[0][1] if guilty else batches[0])


def _exploded(trainer: Trainer, batch: Any, before: float) -> bool:
    """Return whether a batch that was in order before gives no finite loss now, or an absurd one."""
    with torch.no_grad():
        loss = float(run(trainer.model, batch.to(trainer.device), trainer.config.bf16).mean)
    return not loss < EXPLODED * max(before, 1.0)


def run(model: nn.Module, batch: Any, bf16: bool | None) -> LossSum:
    """Return the loss of a batch, with its graph."""
    with autocast(next(model.parameters()).device, bf16):
        loss: LossSum = model.loss(model(batch), batch)  # type: ignore[operator]
    return loss


@torch.no_grad()
def _loss(trainer: Trainer, batch: Any) -> float:
    """Return the batch's total loss; NaN if what it is over is not finite."""
    loss = run(trainer.model, batch.to(trainer.device), trainer.config.bf16)
    return float(loss.total) if isfinite(float(loss.count)) else nan


def _gradient_norm(trainer: Trainer, batch: Any) -> float:
    """Return the norm of the gradient of the batch's total loss."""
    trainer.optimizer.zero_grad(set_to_none=True)
    run(trainer.model, batch.to(trainer.device), trainer.config.bf16).total.backward()  # type: ignore[no-untyped-call]
    return float(torch.nn.utils.get_total_norm([w.grad for w in trainer.weights if w.grad is not None]))


def _not_finite(model: nn.Module) -> tuple[str, list[str]]:
    """Return "value" and the parameters whose value is not finite; if there is none, "gradient" and those of that."""
    named = list(model.named_parameters())
    values = [name for name, weight in named if not weight.isfinite().all()]
    if values:
        return "value", values
    # The norm, not each number: it overflows first, and is what gradients are clipped by.
    return "gradient", [name for name, w in named if w.grad is not None and not w.grad.norm().isfinite()]


def _largest(model: nn.Module) -> tuple[str, float]:
    sizes = {name: float(weight.detach().abs().max()) for name, weight in model.named_parameters() if weight.numel()}
    name = max(sizes, key=lambda name: sizes[name] if isfinite(sizes[name]) else inf)
    return name, sizes[name]


def _without_states(batch: Any) -> Any:
    """Return the batch for the whole network to run: the fault may lie in what a frozen part gave for it."""
    whole = copy(batch)
    whole.states = None
    return whole


def _first_bad_module(trainer: Trainer, batch: Any) -> tuple[str | None, str | None]:
    """Return the name of the first module whose output is not finite, and what is in it, such as "inf (float16)"."""
    found: list[tuple[str, str]] = []

    def hook_for(name: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: Any, outputs: Any) -> None:
            found.extend((name or "the model", fault) for tensor in _tensors(outputs) if (fault := _fault(tensor)))

        return look

    hooks = [module.register_forward_hook(hook_for(name)) for name, module in trainer.model.named_modules()]
    try:
        _loss(trainer, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else (None, None)


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, (Mapping, list, tuple)):
        for item in outputs.values() if isinstance(outputs, Mapping) else outputs:
            yield from _tensors(item)


def _fault(tensor: Tensor) -> str | None:
    """Return what is not finite; minus infinity in single precision is how positions are masked, and no fault."""
    if not tensor.is_floating_point():
        return None
    overflows = tensor.isinf() if tensor.dtype == torch.float16 else tensor.isposinf()
    what = "inf" if overflows.any() else "nan" if tensor.isnan().any() else None
    return what and f"{what} ({str(tensor.dtype).removeprefix('torch.')})"
