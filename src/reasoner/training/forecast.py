"""How long will training still take, how fast is it, and how much memory does it need?"""

from __future__ import annotations

import sys
from collections import deque
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from reasoner.training.engine import training_operations

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer

TIMED = 4
"""Steps that are timed before anything is said; the first of all is not one of them, it is slower than others."""
RECENT = 100
"""The last steps, by which the next ones are judged."""
MIB = 2**20


class Forecast:
    """Follows training step by step.

    Args:
        peak: operations a second that the machine could do; None: no share of them is told.
        evaluation_tokens: of one evaluation. Before the first is timed it is taken to cost a third of as many tokens
            in training: the forward pass has a third of the products (see `engine.training_operations`).
    """

    def __init__(self, *, peak: float | None = None, evaluation_tokens: int = 0) -> None:
        self.peak, self.evaluation_tokens = peak, evaluation_tokens
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._read, self._first = 0.0, 1
        self._operations = 0

    def begin(self, trainer: Trainer) -> None:
        """Start a training."""
        self._steps.clear()
        self._read, self._first = trainer.history.seconds, trainer.step + 1
        self._operations = training_operations(trainer.model) if self.peak else 0
        if trainer.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(trainer.device)

    def note_step(self, trainer: Trainer) -> None:
        """Time a step."""
        seconds, self._read = trainer.history.seconds - self._read, trainer.history.seconds
        if trainer.step > self._first:
            self._steps.append(seconds)

    @property
    def ready(self) -> bool:
        """Whether enough steps were timed."""
        return len(self._steps) >= TIMED

    def seconds_left(self, trainer: Trainer) -> float:
        """Return how long the steps and evaluations that are left will take; 0.0 before the first timed step."""
        if not self._steps:
            return 0.0
        a_step = sum(self._steps) / len(self._steps)
        done = trainer.history.evaluation_seconds
        an_evaluation = done[-1] if done else self.evaluation_tokens / 3 / max(self.tokens_per_second(trainer), 1e-9)
        return a_step * (trainer.total_steps - trainer.step) + an_evaluation * evaluations_left(trainer)

    def left(self, trainer: Trainer) -> str:
        """Return the same as `4:05`, or `1:02:03`."""
        minutes, seconds = divmod(round(self.seconds_left(trainer)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

    def tokens_per_second(self, trainer: Trainer) -> float:
        """Return the mean speed of all steps so far."""
        return trainer.history.tokens / max(trainer.history.seconds, 1e-9)

    def speed(self, trainer: Trainer) -> str:
        """Return the speed as text, with the share of the peak."""
        speed = self.tokens_per_second(trainer)
        share = f" ({speed * self._operations / self.peak:.0%} of peak)" if self.peak else ""
        return f"{speed:,.0f}{share}"


def evaluations_left(trainer: Trainer) -> int:
    """Return how many evaluations there will be, if training is not stopped early."""
    if trainer.evaluate is None:
        return 0
    config, total = trainer.config, trainer.total_steps
    epochs = ceil(total / trainer.steps_per_epoch) if config.max_steps else config.num_train_epochs
    planned = ceil(total / config.eval_steps) if config.eval_steps else epochs
    return max(0, planned - len(trainer.history.evaluation_seconds))


def peak_memory_mib(device: torch.device) -> float | None:
    """Return the most memory that was in use at once, in MiB; None on a system that does not say.

    On CUDA what tensors took on the device since training began; else the resident set of the whole process since it
    began, program and libraries included.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    if sys.platform.startswith("linux"):  # not from getrusage, where a process starts with the peak of its parent
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB  # bytes on macOS
