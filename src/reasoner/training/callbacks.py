"""What is done beside training at its stages: callbacks that do nothing by default, the progress bar, the log file."""

from __future__ import annotations

import json
import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.notices import tell

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer


class Callback:
    """Override what you need; each is called with the trainer, whose attributes say all there is to know."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first step."""

    def on_batch(self, trainer: Trainer, batch: Any, outputs: Any) -> None:
        """After the loss of a training batch was computed, before its gradient: `outputs` are what the model gave.

        They still carry the graph: keep `outputs[name].detach()` and no more. A batch is seen before it is known
        whether the loss is finite.
        """

    def on_step_end(self, trainer: Trainer) -> None:
        """After each optimiser step, also one that was not made because its loss was not finite."""

    def on_log(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """After a row was added to the history."""

    def on_evaluate(self, trainer: Trainer, metrics: dict[str, Any]) -> None:
        """After an evaluation, before the best weights are kept."""

    def on_best(self, trainer: Trainer) -> None:
        """After an evaluation that was the best so far; the model holds those weights."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After the last step of an epoch, and its evaluation if there is one."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last step, when the model holds its best weights again. Called after an error as well."""


class Progress(Callback):
    """A `tqdm.auto` bar with loss, score, speed and time left; where there is no terminal, a line for each evaluation.

    Args:
        disable: show no bar.
        peak: operations a second that the machine could do; with it, the share of them that training does is shown.
    """

    def __init__(self, *, disable: bool = False, peak: float | None = None) -> None:
        # tqdm's None means "where the output is no terminal"; a notebook's is none, and shows the bar all the same.
        self.disable = True if disable else False if "ipykernel" in sys.modules else None
        self.peak = peak

    def on_train_begin(self, trainer: Trainer) -> None:
        """Open the bar."""
        from tqdm.auto import tqdm

        self.bar = tqdm(total=trainer.total_steps, desc="training", unit="step", disable=self.disable)
        self.shown: dict[str, str] = {}

    def on_step_end(self, trainer: Trainer) -> None:
        """Move the bar."""
        self.bar.update()

    def on_log(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Show the loss, or the score."""
        metric = trainer.stopping.metric if trainer.stopping else None
        for name in ("loss", metric):
            if name in row:
                shown = f"validation {name}" if row["split"] == "validation" else str(name)
                self.shown[shown] = f"{row[name]:.4f}"
        if row["split"] == "train":
            self.shown["tokens/s"] = self._speed(trainer)
        self.bar.set_postfix(self.shown, refresh=False)
        if row["split"] == "validation" and self.bar.disable:
            scores = ", ".join(f"{name} {value}" for name, value in self.shown.items())
            tell(f"step {row['step']} of {trainer.total_steps} (epoch {row['epoch']:.2f}): {scores}")

    def _speed(self, trainer: Trainer) -> str:
        """Return the speed of all steps so far."""
        from reasoner.training.engine import training_operations

        speed = trainer.history.tokens / max(trainer.history.seconds, 1e-9)
        if self.peak is None:
            return f"{speed:,.0f}"
        return f"{speed:,.0f} ({speed * training_operations(trainer.model) / self.peak:.0%} of peak)"

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        self.bar.close()


class HistoryFile(Callback):
    """Writes each row of the history as a line of JSON, at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin a new file; that of an earlier run is kept beside it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.stem}.previous{self.path.suffix}"))
        self.path.write_text("")

    def on_log(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Add a line; a score that is no number is null, since JSON has no NaN."""
        finite = {
            name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")
