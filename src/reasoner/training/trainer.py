"""The loop: steps, evaluation, early stopping, the best weights. It knows no task, head, data or metric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reasoner.errors import ConfigError, DivergedError
from reasoner.losses import LossSum
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.engine import autocast, choose_device, seed_everything
from reasoner.training.optimizer import make_optimizer, make_schedule


class EpochBatches(Protocol):
    """What the trainer asks of its batches: a length, another order each epoch, and batches with `to(device)`."""

    epoch: int

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass
class History:
    """What happened, as rows, and how training ended."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Each with `step`, `epoch`, `split`; of "train" the mean `loss` since the row before and the `learning_rate`, of
    "validation" the scores."""
    steps: int = 0
    seconds: float = 0.0
    """Inside the training steps alone."""
    tokens: int = 0
    """Seen in training, padding not counted."""
    stopped_early: bool = False
    best_step: int | None = None


class Trainer:
    """Trains a model on batches.

    Args:
        model: `model(batch)` gives outputs, `model.loss(outputs, batch)` a `LossSum`.
        batches: see `EpochBatches`.
        config: the settings; `learning_rate` must be a number here.
        evaluate: returns scores by name; called at the end of each epoch, or every `eval_steps`.
        stopping: which of the scores counts, and when to stop; needed with `evaluate`.
        callbacks: see `Callback`.

    Raises:
        ConfigError: if there is nothing to train, or a part is missing.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: EpochBatches,
        *,
        config: TrainingConfig,
        evaluate: Callable[[], dict[str, Any]] | None = None,
        stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if len(batches) == 0:
            raise ConfigError("There are no batches to train on.")
        if config.learning_rate is None:
            raise ConfigError("The trainer needs a learning rate: TrainingConfig(learning_rate=...).")
        if evaluate is not None and stopping is None:
            raise ConfigError("evaluate needs stopping=EarlyStopping(metric, greater_is_better) beside it.")
        self.model, self.batches, self.config = model, batches, config
        self.evaluate, self.stopping, self.callbacks = evaluate, stopping, callbacks
        self.device = choose_device(config.use_cpu)
        self.model.to(self.device)
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not self.weights:
            raise ConfigError("No weight is trainable: the method froze them all.")
        self.steps_per_epoch = math.ceil(len(batches) / config.gradient_accumulation_steps)
        self.total_steps = config.max_steps or config.num_train_epochs * self.steps_per_epoch
        self.optimizer = make_optimizer(model, config, config.learning_rate)
        self.schedule = make_schedule(self.optimizer, config, self.total_steps)
        self.history = History()
        self.step, self.epoch = 0, 0
        self._losses: list[LossSum] = []
        self._counted: Tensor | None = None
        self._learning_rate = 0.0
        self._best: list[Tensor] | None = None
        self._evaluated_at = -1

    def train(self) -> History:
        """Train to the end, or until patience runs out, and leave the best weights in the model.

        Raises:
            DivergedError: if the loss is not a finite number.
        """
        seed_everything(self.config.seed)
        self._call("on_train_begin")
        try:
            self.fit()
        finally:  # after an error or an interrupt too, the best weights so far are worth more than the last
            self._restore_best()
            self.model.eval()
            self._call("on_train_end")
        return self.history

    def fit(self) -> None:
        """Run epochs until the steps are done or patience runs out."""
        while not self.done:
            self.batches.epoch = self.epoch
            self.train_epoch()
            if self.config.eval_steps is None or self.step >= self.total_steps:
                self.evaluate_now()
            self.epoch += 1
            self._call("on_epoch_end")

    @property
    def done(self) -> bool:
        """Whether all steps are made, or patience has run out."""
        return self.step >= self.total_steps or self.history.stopped_early

    def train_epoch(self) -> None:
        """Run the steps of one epoch."""
        self.model.train()
        iterator = iter(self.batches)
        while not self.done and (group := list(islice(iterator, self.config.gradient_accumulation_steps))):
            started = time.perf_counter()
            self.train_step(group)
            self.history.seconds += time.perf_counter() - started
            self._call("on_step_end")
            if self.step % self.config.logging_steps == 0 or self.step == self.total_steps:
                self.log_training()
            if self.config.eval_steps and self.step % self.config.eval_steps == 0:
                self.evaluate_now()

    def train_step(self, group: Sequence[Any]) -> None:
        """Make one optimiser step on the batches of `group`, as if they were one batch."""
        if not self.model.training:  # since the last step, an evaluation or a callback turned dropout off
            self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self.backward(batch.to(self.device)) for batch in group]
        loss = LossSum(sum_of([item.total for item in losses]), sum_of([item.count for item in losses]))
        self._counted = loss.count if self._counted is None else self._counted + loss.count
        self.scale_gradients(self._counted / (self.step + 1))
        self._learning_rate = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self.history.steps = self.step
        self._losses.append(loss)

    def backward(self, batch: Any) -> LossSum:
        """Add the gradient of the batch's total loss, and return the loss without its graph."""
        with autocast(self.device, self.config.bf16):
            loss: LossSum = self.model.loss(self.model(batch), batch)  # type: ignore[operator]
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.history.tokens += batch.tokens
        total = loss.total.detach()
        return LossSum(total, loss.count.detach().to(total))  # a head may count in integers

    def scale_gradients(self, count: Tensor) -> None:
        """Divide the summed gradients by what they are over, and clip their norm, in one pass.

        `count` is the mean of the steps so far, not the step's own: batches hold sequences of like length, and a mean
        over a step's tokens would weigh a token of a short sentence more (WNUT-17, 16 rows a batch: 2.7 times in
        sentences of less than 8 words). So each token counts the same, as it does when batches are drawn at random.
        """
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        factor = 1 / count.clamp(min=torch.finfo(count.dtype).tiny)
        if self.config.max_grad_norm:
            norm = torch.nn.utils.get_total_norm(gradients) * factor
            factor = factor * (self.config.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, factor)

    def log_training(self) -> None:
        """Add a row with the mean loss since the last one; here the losses are read from the device.

        Raises:
            DivergedError: if one of them is not finite, with the step at which the first of them was.
        """
        if not self._losses:
            return
        started = time.perf_counter()
        totals = torch.stack([loss.total for loss in self._losses]).tolist()
        counts = torch.stack([loss.count for loss in self._losses]).tolist()
        self.history.seconds += time.perf_counter() - started  # a CUDA device finishes the steps only here
        first_step = self.step - len(totals) + 1
        self._losses = []
        for offset, total in enumerate(totals):
            if not math.isfinite(total):
                raise DivergedError(
                    f"The loss of step {first_step + offset} is {total}. Lower the learning rate "
                    f"({self.config.learning_rate:g}) or look at the data; the best weights so far are kept."
                )
        self._log("train", {"loss": sum(totals) / max(sum(counts), 1e-12), "learning_rate": self._learning_rate})

    def evaluate_now(self) -> None:
        """Score the model, keep its weights if they are the best, and see whether to stop."""
        self.log_training()
        if self.evaluate is None or self.stopping is None or self._evaluated_at == self.step:
            return
        self._evaluated_at = self.step
        self.model.eval()
        metrics = self.evaluate()
        if self.stopping.metric not in metrics:
            raise ConfigError(f"The evaluation gave no '{self.stopping.metric}', only {', '.join(metrics)}.")
        better = self.stopping.update(metrics[self.stopping.metric])
        self._log("validation", {name: value for name, value in metrics.items() if isinstance(value, (int, float))})
        self._call("on_evaluate", metrics)
        if better:
            self.history.best_step = self.step
            self._best = [tensor.detach().to("cpu", copy=True) for tensor in self._learned()]
            self._call("on_best")
        self.history.stopped_early = self.stopping.should_stop and self.step < self.total_steps

    def _restore_best(self) -> None:
        if self._best is not None:
            with torch.no_grad():
                for tensor, best in zip(self._learned(), self._best, strict=True):
                    tensor.copy_(best)
        self._best = None

    def _learned(self) -> list[Tensor]:
        """Return all that training changes: the trainable weights, and buffers such as a batch norm's statistics."""
        return [*self.weights, *self.model.buffers()]

    def _log(self, split: str, values: dict[str, Any]) -> None:
        row = {"step": self.step, "epoch": self.step / self.steps_per_epoch, "split": split, **values}
        self.history.rows.append(row)
        self._call("on_log", row)

    def _call(self, stage: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, stage)(self, *arguments)


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars of one device."""
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).sum()
