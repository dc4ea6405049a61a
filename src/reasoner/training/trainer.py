"""The loop: steps, evaluation, early stopping, the best weights. It knows no task, head, data or metric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reasoner.errors import ConfigError
from reasoner.losses import LossSum, sum_of
from reasoner.notices import say
from reasoner.training.averaging import Checkpoint, MovingAverage, best_checkpoints, put
from reasoner.training.callbacks import Callback, overrides_on_batch
from reasoner.training.config import TrainingConfig
from reasoner.training.determinism import deterministic
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.engine import autocast, choose_device, seed_everything, tensor_float_32
from reasoner.training.guard import LossWatch
from reasoner.training.history import History
from reasoner.training.lean import lean_step
from reasoner.training.objective import Extras, Objective
from reasoner.training.optimizer import make_optimizer, make_schedule
from reasoner.training.prefetch import made_ahead, pinned
from reasoner.training.ranks import current
from reasoner.training.shared_step import SharedStep
from reasoner.training.state import put_back, put_back_rest, state_of


class EpochBatches(Protocol):
    """What the trainer asks of its batches: another order each epoch, a length, and batches with `to(device)`.

    The length is that of the epoch that `epoch` says; it may differ from epoch to epoch. Batches say how many `tokens`
    they hold, and may say how many `positions`, those of padding among them. The loss watch can name rows where batches
    have the fields of `data.features.Batch`. With `after(number)` a training that goes on skips batches unmade. Where
    several ranks train, each gives its share of each batch: all as many, and None where there is nothing for a rank.
    """

    epoch: int

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Trainer:
    """Trains a model on batches.

    Args:
        model: `model(batch)` gives outputs, `model.loss(outputs, batch)` a `LossSum`.
        batches: see `EpochBatches`.
        config: the settings; `learning_rate` must be a number here.
        evaluate: returns scores by name; called at the end of each epoch, or every `eval_steps`.
        stopping: which of the scores counts, and when to stop; needed with `evaluate`.
        callbacks: see `Callback`.
        watch: what to do about a step whose loss or gradient is not finite; None: a `LossWatch` that writes no files.
        rate_factors: what the learning rate is multiplied by for a weight, by name; see `make_optimizer`.
        extras: what some objectives need; see `training.objective`.

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
        watch: LossWatch | None = None,
        rate_factors: Mapping[str, float] | None = None,
        extras: Extras | None = None,
    ) -> None:
        rate = _checked_rate(batches, config, evaluate, stopping)
        self.model, self.batches, self.config = model, batches, config
        self.evaluate, self.stopping, self.callbacks = evaluate, stopping, callbacks
        self._on_batch = [callback.on_batch for callback in callbacks if overrides_on_batch(callback)]
        self.watch, self.ranks = watch or LossWatch(), current()
        self.device = choose_device(config.use_cpu)
        self.model.to(self.device)
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not self.weights:
            raise ConfigError("No weight is trainable: the method froze them all.")
        self.total_steps = config.max_steps or sum(map(self._steps_of_epoch, range(config.num_train_epochs)))
        self.steps_per_epoch = self._steps_of_epoch(0)  # from then on that of the epoch that runs
        self.optimizer = make_optimizer(model, config, rate, rate_factors)
        self.schedule = make_schedule(self.optimizer, config, self.total_steps)
        self._lean, self._checkpoints = lean_step(self.device, config), best_checkpoints(config, stopping)
        self._shared = SharedStep(model, self.weights, self.ranks)
        self._micro_batches = self._shared.micro_batches(batches, self.device)
        precision = partial(autocast, self.device, config.bf16)
        self._objective = Objective(model, config, extras, precision=precision)
        self._average = None if config.ema_decay is None else MovingAverage(self.weights, config.ema_decay)
        self.history = History()
        self.step, self.epoch, self.position = 0, 0, 0  # the last: steps of this epoch that were made
        self._losses: list[tuple[float, float]] = []  # total and count of each step since the last row of the history
        self._counted: Tensor | float = 0.0  # labels in all steps that were made, and how many these are
        self._steps_counted = 0
        self._best: list[Tensor] | None = None
        self._learning_rate, self._evaluated_at = 0.0, -1

    def train(self, state: dict[str, Any] | None = None) -> History:
        """Train to the end, or until patience runs out, and leave the best weights in the model.

        Args:
            state: what `state_dict` gave of an equal trainer, which this one goes on from as if it were that one.

        Raises:
            DivergedError: if a loss or gradient is not finite; see `LossWatch`.
            CheckpointError: if the state is that of another training.
        """
        seed_everything(self.config.seed + self.ranks.index)  # each rank draws its own dropout
        if self._shared.sharded is None:
            self.ranks.same(self._learned())
        if state is not None:
            put_back(self, state)
        self._call("on_train_begin")
        try:
            if state is not None:
                put_back_rest(self, state)
                state = None  # it is as large as several models
            with deterministic(self.config.full_determinism), tensor_float_32(self.device):
                self.fit()
                self.try_mean()
        finally:  # after an error or an interrupt too, the best weights so far are worth more than the last
            self._restore_best()
            self.model.eval()
            self._call("on_train_end")
        return self.history

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on, as JSON values and tensors; after a step or an epoch."""
        return state_of(self)

    def fit(self) -> None:
        """Run epochs until the steps are done or patience runs out."""
        if not self.step and self.stopping is not None and self.stopping.limits:
            self.evaluate_now()  # if the first steps pass a limit, the weights before them are the best
        while not self.done or self.position:  # going on after the last step, there may be an evaluation left to do
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
        """Run the steps of one epoch, or those that are left of it."""
        self.model.train()
        self.steps_per_epoch, before = self._steps_of_epoch(self.epoch), self.step - self.position
        with closing(self.prepared_batches()) as batches:
            if self.position:
                self._look()
            while not self.done and (group := list(islice(batches, self.config.gradient_accumulation_steps))):
                started = time.perf_counter()
                self.train_step(group)
                self.history.seconds += time.perf_counter() - started
                self.position = self.step - before
                self.history.epochs = self.epoch + self.position / self.steps_per_epoch
                self._call("on_step_end")
                self._look()
        self.position = 0

    def _look(self) -> None:
        """Log and evaluate if it is time; twice after one step does nothing more."""
        if self.step % self.config.logging_steps == 0 or self.step == self.total_steps:
            self.log_training()
        if self.config.eval_steps and self.step % self.config.eval_steps == 0:
            self.evaluate_now()

    def prepared_batches(self) -> Generator[Any]:
        """Yield the batches left of the epoch; for a CUDA device they are made ahead by a thread, in pinned memory."""
        batches = self.batches_after(self.position * self.config.gradient_accumulation_steps)
        if self.device.type == "cuda":
            return made_ahead(map(pinned, batches))
        return (batch for batch in batches)

    def batches_after(self, number: int) -> Iterator[Any]:
        """Return the batches of the epoch but the first `number`, which are not made if the batches have `after`."""
        after = getattr(self.batches, "after", None)
        return islice(self.batches, number, None) if after is None else after(number)

    def _steps_of_epoch(self, epoch: int) -> int:
        """Return how many steps an epoch takes, and set the batches to it: not each has as many batches."""
        self.batches.epoch = epoch
        return math.ceil(len(self.batches) / self.config.gradient_accumulation_steps)

    def train_step(self, group: Sequence[Any]) -> None:
        """Make one optimiser step on the batches of `group`, as if they were one batch.

        A step whose loss or gradient is not finite is not made: the watch raises, or older weights are taken back. It
        uses up its number all the same, so that evaluations and the learning rate come when they would have come.
        """
        if not self.model.training:  # since the last step, an evaluation or a callback turned dropout off
            self.model.train()
        buffers = [buffer.clone() for buffer in self.model.buffers()]  # a batch norm's move before the loss is known

        def forget() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            put(buffers, self.model.buffers())

        forget()
        losses = self._micro_batches.run(self._shared.own(group, self.batches), self.backward, forget)
        losses = self._shared.summed(group, losses, self.history)
        counted = self._counted + sum_of([loss.count for loss in losses])
        factor = self._share(counted)
        norm = self._shared.norm(self._gradients()) * factor
        first = self.optimizer.param_groups[0]
        self._learning_rate = float(first["lr"] / first["factor"])
        totals, counts, norm_read = _read(losses, norm)
        if all(map(math.isfinite, (*totals, *counts, norm_read))):
            self.watch.passed(self, group, totals, counts)
            self._counted, self._steps_counted = counted, self._steps_counted + 1
            self._losses.append((sum(totals), sum(counts)))
            self._scale_gradients(factor, norm)
        else:
            put(buffers, self.model.buffers())
            self.watch.failed(self, group, totals, counts, norm_read)
        self.optimizer.step()  # after going back there is no gradient, and it does nothing
        if self._average is not None and self._gradients():
            self._average.update()
        self.schedule.step()
        self.step += 1
        self.history.steps = self.step

    def backward(self, batch: Any) -> LossSum:
        """Add the gradient of the batch's total loss (see `Objective`), and return the loss without its graph."""
        counts, placed = batch is not self._shared.spare, batch.to(self.device)

        def seen(outputs: Any) -> None:
            for on_batch in self._micro_batches.once(self._on_batch) if counts else ():
                on_batch(self, placed, outputs)

        with self._lean:
            loss = self._objective.backward(placed, seen, counts=counts)
        total = loss.total.detach() * counts
        return LossSum(total, loss.count.detach().to(total) * counts)  # a head may count in integers

    def _share(self, counted: Tensor) -> Tensor:
        """Return what the summed gradients are multiplied by: one over the mean count of the steps so far.

        Not over the step's own count: batches hold sequences of like length, and a mean over a step's tokens would
        weigh a token of a short sentence more (WNUT-17, 16 rows a batch: 2.7 times in sentences of less than 8 words).
        So each token counts the same, as it does when batches are drawn at random.
        """
        return 1 / (counted / (self._steps_counted + 1)).clamp(min=torch.finfo(counted.dtype).tiny)

    def _gradients(self) -> list[Tensor]:
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def _scale_gradients(self, factor: Tensor, norm: Tensor) -> None:
        """Multiply the gradients by `factor`, and clip `norm`, which theirs will then be, in one pass."""
        if self.config.max_grad_norm:
            factor = factor * (self.config.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(self._gradients(), factor)

    def snapshot(self) -> list[Tensor]:
        """Return copies on the CPU of all that training changes: trainable weights, and buffers (batch statistics)."""
        return [tensor.detach().to("cpu", copy=True) for tensor in self._learned()]

    def go_back(self, snapshot: Sequence[Tensor] | None) -> float:
        """Take weights back (None: keep them), forget gradients and moments, and halve the learning rate.

        Returns:
            The highest learning rate that the schedule can reach from here on.
        """
        if snapshot is not None:
            put(snapshot, self._learned())
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        if self._average is not None:
            self._average.restart()
        self.schedule.base_lrs = [rate / 2 for rate in self.schedule.base_lrs]
        return float(max(self.schedule.base_lrs))

    def log_training(self) -> None:
        """Add a row with the mean loss since the last one."""
        if not self._losses:
            return
        total, count = (sum(parts) for parts in zip(*self._losses, strict=True))
        self._losses = []
        self._log("train", {"loss": total / max(count, 1e-12), "learning_rate": self._learning_rate})

    def evaluate_now(self) -> None:
        """Score the model, keep its weights if they are the best, and see whether to stop."""
        self.log_training()
        if self.evaluate is None or self.stopping is None or self._evaluated_at == self.step:
            return
        self._evaluated_at = self.step
        with nullcontext() if self._average is None else self._average.in_place():
            metrics, score = self._scored()
            if self.stopping.broken:
                say(f"Training stops at step {self.step}: {self.stopping.broken}. The best model before is kept.")
            better = self.stopping.update(score)
            self._log("validation", {name: value for name, value in metrics.items() if isinstance(value, (int, float))})
            self._call("on_evaluate", metrics)
            if self._checkpoints is not None and self._checkpoints.wants(score):
                self._checkpoints.add(Checkpoint(score, self.step, self.snapshot()))
            if better:
                self.history.best_step = self.step
                self._best = self.snapshot()
                self._call("on_best")
        self.history.stopped_early = self.stopping.should_stop and self.step < self.total_steps

    def _scored(self) -> tuple[dict[str, Any], float]:
        """Return the scores of the model as it is, and the one that counts: NaN if the loss is not finite."""
        assert self.evaluate is not None and self.stopping is not None
        self.model.eval()
        started = time.perf_counter()
        metrics = self.evaluate()
        self.history.evaluation_seconds.append(time.perf_counter() - started)
        if self.stopping.metric not in metrics:
            raise ConfigError(f"The evaluation gave no '{self.stopping.metric}', only {', '.join(metrics)}.")
        score, loss = metrics[self.stopping.metric], metrics.get("loss", 0.0)
        if not math.isfinite(loss):  # a model that gives NaN has scores too: those of its first label
            say(f"The loss of the evaluation at step {self.step} is {loss}: its scores do not count. "
                "Lower the learning rate, or look for rows that cannot be right.")  # fmt: skip
            score = math.nan
        return metrics, score if self.stopping.within_limits(metrics) else math.nan

    def try_mean(self) -> None:
        """With `average_checkpoints`: score the mean of the best weights, and keep it if it is no worse."""
        if self._checkpoints is None or self.stopping is None:
            return
        steps = self._checkpoints.steps
        if len(steps) < 2:
            say(f"average_checkpoints: there is nothing to average (evaluations with a score: {len(steps)}).")
            return
        put(self._checkpoints.mean(), self._learned())
        metrics, score = self._scored()
        self._log("average", {name: value for name, value in metrics.items() if isinstance(value, (int, float))})
        best, kept = self.stopping.best, self.stopping.no_worse(score)
        say(f"The mean of the weights of the evaluations at steps {', '.join(map(str, steps))} has a "
            f"{self.stopping.metric} of {score:.4f} on validation, the best of them {best:.4f}: "
            f"{'the mean' if kept else 'the best'} is kept.")  # fmt: skip
        if kept:
            self._best = self.snapshot()
            self._call("on_best")

    def _restore_best(self) -> None:
        if self._best is not None:
            put(self._best, self._learned())
        elif self._average is not None:
            self._average.put()
        self._best = None

    def _learned(self) -> list[Tensor]:
        return [*self.weights, *self.model.buffers()]

    def _log(self, split: str, values: dict[str, Any]) -> None:
        row = {"step": self.step, "epoch": self.history.epochs, "split": split, **values}
        self.history.rows.append(row)
        self._call("on_log", row)

    def _call(self, stage: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, stage)(self, *arguments)


def _checked_rate(batches: EpochBatches, config: TrainingConfig, evaluate: Any, stopping: Any) -> float:
    """Return the learning rate, if nothing is missing that training needs."""
    if len(batches) == 0:
        raise ConfigError("There are no batches to train on.")
    if config.learning_rate is None:
        raise ConfigError("The trainer needs a learning rate: TrainingConfig(learning_rate=...).")
    if evaluate is not None and stopping is None:
        raise ConfigError("evaluate needs stopping=EarlyStopping(metric, greater_is_better) beside it.")
    if config.average_checkpoints is not None and evaluate is None:
        raise ConfigError("average_checkpoints needs evaluations, which say what to average: give evaluate.")
    return config.learning_rate


def _read(losses: Sequence[LossSum], norm: Tensor) -> tuple[list[float], list[float], float]:
    """Return totals, counts and the norm as Python's numbers, in the one read from the device that a step makes.

    On CUDA it waits for the step's arithmetic: the price of no loss that is not finite ever coming near the weights.
    """
    *parts, last = torch.stack([*(part for loss in losses for part in loss), norm]).tolist()
    return parts[0::2], parts[1::2], last
