"""What gives a batch's gradient: one pass, two, one on attacked embeddings; a teacher, a shortcut, a penalty?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reasoner.errors import ConfigError
from reasoner.losses import LossSum
from reasoner.notices import say
from reasoner.training.config import TrainingConfig


@dataclass(frozen=True)
class Extras:
    """What objectives beyond the task's loss are made of; see `Objective`."""

    embeddings: nn.Module | None = None
    """The module that looks up the tokens, for adversarial training."""
    teacher: Callable[[Any], Any] | None = None
    """Gives the teacher's outputs for a batch on the model's device, for distillation."""
    text_loss: Callable[[Any], LossSum] | None = None
    """Gives the loss of predicting tokens of such a batch, for language modelling."""
    bias: Callable[[Any], Tensor] | None = None
    """Gives what a shortcut tells of such a batch, for training against it."""
    copies: Callable[[Any], tuple[Any, Tensor | None]] | None = None
    """Gives for such a batch one of the same rows after an edit, and (features, length): where each token stands there,
    -100 where nowhere; None where outputs are of whole features. For consistency."""
    penalty: Callable[[], Tensor] | None = None
    """Gives what the weights cost where they are, a scalar; it is added to the mean loss."""


class Objective:
    """Adds the gradient of a batch's objective; the loss that it returns is the task's own, whatever else is on.

    R-Drop (Wu et al., 2021, https://arxiv.org/abs/2106.14448): two passes with other dropout. The objective is the mean
    of their losses plus `r_drop` times half the sum of both Kullback-Leibler divergences between what they predict.

    Consistency (example consistency of Zheng et al., 2021, https://arxiv.org/abs/2106.08226): likewise, with the second
    pass over an edited copy of each row; of tokens those are compared that stand in each other's place. What the loss
    is over is the mean of what both are over.

    Adversarial training (Miyato et al., 2017, https://arxiv.org/abs/1605.07725, equations 4 to 6): the embedded tokens
    of each sequence are moved by `adversarial_epsilon` along the gradient of the objective, and the loss of one more
    pass on them is added. The embeddings are not normalised as there.

    Distillation (Hinton, Vinyals & Dean, 2015, https://arxiv.org/abs/1503.02531, section 2): in each of these passes
    the task's loss counts 1 - weight, and weight counts what `model.distillation` gives: temperature squared times the
    Kullback-Leibler divergence from the teacher's probabilities, both at that temperature.

    Debiasing (Clark et al., 2019, https://arxiv.org/abs/1909.03683, section 3.2; Karimi Mahabadi et al., 2020,
    https://arxiv.org/abs/1909.06321, section 3.2): in each of these passes the task's loss is that of the outputs that
    `model.debiased` gives, in which a shortcut has its say.

    Language modelling beside the task (Radford et al., 2018, section 3.2): the mean loss of predicting tokens of the
    batch's texts, times `language_modeling_weight` and what the task's loss counts in the batch, is added once.

    A penalty (elastic weight consolidation, say) is added once, times what the task's loss counts in the batch.

    Args:
        model: has `loss`, and for R-Drop `divergence(outputs, other, batch)`: a scalar, summed over what the loss
            counts; likewise for distillation `distillation(outputs, teacher, batch, temperature=)`; for debiasing
            `debiased(outputs, bias, form)`.
        config: `r_drop`, `consistency`, `adversarial_epsilon`, `distillation`, `debias`, `language_modeling_weight`.
        extras: what these need.
        precision: gives a context for the forward passes.

    Raises:
        ConfigError: if that is missing.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        extras: Extras | None = None,
        *,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> None:
        extras = extras or Extras()
        wanted = {
            "adversarial_epsilon": (config.adversarial_epsilon, extras.embeddings, "embeddings"),
            "teacher": (config.teacher is not None, extras.teacher, "teacher"),
            "debias": (config.debias is not None, extras.bias, "bias"),
            "consistency": (config.consistency, extras.copies, "copies"),
            "language_modeling_weight": (config.language_modeling_weight, extras.text_loss, "text_loss"),
        }
        for name, (is_on, given, what) in wanted.items():
            if is_on and given is None:
                raise ConfigError(f"{name}: the trainer lacks what it needs for that. Give Extras({what}=...).")
        self.model, self.precision, self.embeddings = model, precision, extras.embeddings
        self.teacher, self.text_loss, self.bias = extras.teacher, extras.text_loss, extras.bias
        self.penalty, self.copies = extras.penalty, extras.copies
        self.beside = config.consistency or config.r_drop  # what it weighs that two passes say the same
        self.epsilon = config.adversarial_epsilon
        self.weight, self.temperature = config.distillation
        self.form, _ = config.debiasing
        self.text_weight = config.language_modeling_weight
        self._compared = False

    def backward(self, batch: Any, seen: Callable[[Any], None], *, counts: bool = True) -> LossSum:
        """Add the gradient of the batch's total objective, and return the task's loss with its graph.

        Args:
            batch: on the model's device.
            seen: is called with the outputs of the first pass, before any gradient.
            counts: whether the batch does; if not it is run as others are, and its gradient is 0.
        """
        with self._kept() as tokens:
            with self.precision():
                outputs, loss, objective = self._run(batch)
                if self.beside:
                    copy, places = (batch, None) if self.copies is None else self.copies(batch)
                    other, second, of_second = self._run(copy)
                    loss = LossSum((loss.total + second.total) / 2, (loss.count + second.count) / 2)
                    apart = self._divergence(outputs, _placed(other, outputs, places), batch)
                    objective = (objective + of_second) / 2 + self.beside * apart
                if self.text_loss is not None:
                    text = self.text_loss(batch)
                    objective = objective + self.text_weight * loss.count * text.total / text.count
                if self.penalty is not None:
                    objective = objective + loss.count * self.penalty()
            seen(outputs)
            objective = objective if counts else objective * 0
            objective.backward()  # type: ignore[no-untyped-call]
        if self.epsilon:
            with self._moved(_attack(tokens, batch, self.epsilon)), self.precision():
                _, _, attacked = self._run(batch)
            attacked = attacked if counts else attacked * 0
            attacked.backward()  # type: ignore[no-untyped-call]
        return loss

    def _run(self, batch: Any) -> tuple[Any, LossSum, Tensor]:
        """Return the outputs, the task's loss, and what is to become small: its total, or that of the other options."""
        outputs = self.model(batch)
        loss: LossSum = self.model.loss(outputs, batch)  # type: ignore[operator]
        total = loss.total
        if self.bias is not None:
            beside = self.model.debiased(outputs, self.bias(batch), self.form)  # type: ignore[operator]
            total = self.model.loss(beside, batch).total  # type: ignore[operator]
        if self.teacher is None:
            return outputs, loss, total
        said, temperature = self.teacher(batch), self.temperature
        apart: Tensor = self.model.distillation(outputs, said, batch, temperature=temperature)  # type: ignore[operator]
        return outputs, loss, (1 - self.weight) * total + self.weight * apart

    def _divergence(self, outputs: Any, other: Any, batch: Any) -> Tensor:
        divergence: Tensor = self.model.divergence(outputs, other, batch)  # type: ignore[operator]
        if self.copies is None and not self._compared and divergence.item() == 0:
            say("r_drop: both passes over the first batch gave the same, since no dropout is active. Give dropout=0.1, "
                "or leave r_drop out: it only doubles the time.")  # fmt: skip
        self._compared = True
        return divergence

    @contextmanager
    def _kept(self) -> Iterator[list[Tensor]]:
        """Collect the embedded tokens of each pass inside the block, with their gradient, to be attacked."""
        kept: list[Tensor] = []
        if not self.epsilon or self.embeddings is None:
            yield kept
            return

        def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            output = (
                output if output.requires_grad else output.detach().requires_grad_()
            )  # frozen ones are attacked too
            output.retain_grad()
            kept.append(output)
            return output

        hook = self.embeddings.register_forward_hook(keep)
        try:
            yield kept
        finally:
            hook.remove()

    @contextmanager
    def _moved(self, by: Tensor) -> Iterator[None]:
        """Let the embedded tokens stand elsewhere inside the block."""
        assert self.embeddings is not None
        hook = self.embeddings.register_forward_hook(lambda module, inputs, output: output + by)
        try:
            yield
        finally:
            hook.remove()


def _placed(other: dict[str, Tensor], outputs: dict[str, Tensor], places: Tensor | None) -> dict[str, Tensor]:
    """Return the outputs of a copy where those of a row stand; where no token of it does, the row's own.

    Args:
        other: of the copy; each (features, its length, ...).
        outputs: of the row; each (features, length, ...).
        places: (features, length), see `Extras.copies`; None: outputs are of whole features, and stay.
    """
    if places is None:
        return other
    rows, there = torch.arange(len(places), device=places.device).unsqueeze(1), places >= 0
    return {
        name: torch.where(there.view(*there.shape, *[1] * (own.ndim - 2)), other[name][rows, places.clamp(min=0)], own)
        for name, own in outputs.items()
    }


@torch.no_grad()
def _attack(tokens: list[Tensor], batch: Any, epsilon: float) -> Tensor:
    """Return the step along the gradient of each sequence's embedded tokens, of length `epsilon` over all of them.

    Args:
        tokens: of each pass, (..., width): for all positions of the batch, or, where it was packed, for its tokens.
        batch: says by `inputs["attention_mask"]`, (features, length), which positions hold tokens.
        epsilon: the length.
    """
    gradient = sum((kept.grad for kept in tokens if kept.grad is not None), torch.zeros_like(tokens[0]))
    mask = batch.inputs["attention_mask"]
    rows = torch.arange(len(mask), device=mask.device).repeat_interleave(mask.shape[1])  # (positions,)
    flat = gradient.flatten(0, -2)
    if len(flat) == len(rows):
        flat = flat * mask.flatten().unsqueeze(-1)
    else:  # packed: the tokens alone, in their order
        rows = rows[mask.flatten().nonzero_static(size=batch.tokens).squeeze(1)]
    squares = flat.new_zeros(len(mask)).index_add(0, rows, flat.square().sum(-1))  # (features,)
    norms = squares.sqrt().clamp(min=torch.finfo(flat.dtype).tiny)
    return (epsilon * flat / norms[rows].unsqueeze(-1)).view_as(gradient)
