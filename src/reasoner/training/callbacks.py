"""What is done beside training at its stages: callbacks that do nothing by default, the progress bar, the log file."""

from __future__ import annotations

import json
import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.notices import say, tell
from reasoner.training.forecast import Forecast, evaluations_left, peak_memory_mib

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer


BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
"""Without tqdm's own time left, which knows of no evaluation."""


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

    def state_dict(self) -> dict[str, Any]:
        """Return what must not be lost when training is interrupted and goes on: JSON values and tensors.

        Called after a step and its `on_step_end`, or after `on_epoch_end`.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, after `on_train_begin`, before the first step that is made again."""


def overrides_on_batch(callback: Callback) -> bool:
    """Return whether a callback does anything there, in its class or in itself."""
    return getattr(callback.on_batch, "__func__", None) is not Callback.on_batch


class Progress(Callback):
    """A `tqdm.auto` bar with time left, loss, score, speed and memory.

    Where there is no terminal, a line after the first timed steps and one for each evaluation.

    Args:
        disable: show no bar.
        forecast: what says how long training will take; None: one that knows no peak and no evaluation.
    """

    def __init__(self, *, disable: bool = False, forecast: Forecast | None = None) -> None:
        # tqdm's None means "where the output is no terminal"; a notebook's is none, and shows the bar all the same.
        self.disable = True if disable else False if "ipykernel" in sys.modules else None
        self.forecast = forecast or Forecast()

    def on_train_begin(self, trainer: Trainer) -> None:
        """Open the bar."""
        from tqdm.auto import tqdm

        self.bar = tqdm(
            desc="training",
            total=trainer.total_steps,
            initial=trainer.step,
            unit="step",
            disable=self.disable,
            bar_format=BAR_FORMAT,
        )
        self.shown: dict[str, str] = {}
        self.said = False
        self.forecast.begin(trainer)

    def on_step_end(self, trainer: Trainer) -> None:
        """Move the bar, and say the forecast once it can be made."""
        self.forecast.note_step(trainer)
        if self.forecast.ready:
            if not self.said and self.bar.disable and trainer.step < trainer.total_steps:
                number = evaluations_left(trainer)
                tell(f"step {trainer.step} of {trainer.total_steps}: {self.forecast.left(trainer)} left, with "
                     f"{number} evaluation{'s' if number != 1 else ''}; tokens/s {self.forecast.speed(trainer)}"
                     + "".join(f"; memory {memory}" for memory in _memory(trainer)))  # fmt: skip
            self.said = True
        self._show(trainer)
        self.bar.update()

    def on_log(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Show the loss, or the score."""
        metric = trainer.stopping.metric if trainer.stopping else None
        for name in ("loss", metric):
            if name in row:
                shown = str(name) if row["split"] == "train" else f"{row['split']} {name}"
                self.shown[shown] = f"{row[name]:.4f}"
        if row["split"] == "train":
            self.shown["tokens/s"] = self.forecast.speed(trainer)
            self.shown.update(("memory", memory) for memory in _memory(trainer))
        self._show(trainer)
        if row["split"] == "validation" and self.bar.disable:
            scores = ", ".join(f"{name} {value}" for name, value in self.shown.items())
            tell(f"step {row['step']} of {trainer.total_steps} (epoch {row['epoch']:.2f}): {scores}")

    def on_train_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        self.bar.close()

    def _show(self, trainer: Trainer) -> None:
        if self.forecast.ready:
            self.shown["left"] = self.forecast.left(trainer)
        self.bar.set_postfix(self.shown, refresh=False)


def _memory(trainer: Trainer) -> list[str]:
    """Return the peak of the memory as text, or nothing where the system does not say it."""
    mib = peak_memory_mib(trainer.device)
    return [] if mib is None else [f"{mib:,.0f} MiB"]


class HistoryFile(Callback):
    """Writes each row of the history as a line of JSON, at once."""

    def __init__(self, path: Path) -> None:
        self.path, self._behind = path, False

    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin a new file, and keep that of an earlier run beside it; or go on with the rows of the checkpoint."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not trainer.step and self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.stem}.previous{self.path.suffix}"))
        self._write_anew(trainer)

    def on_log(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Add a line; on a full disk say so, and write all of them with the next."""
        try:
            if self._behind:
                self._write_anew(trainer)
            else:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(_line(row))
        except OSError as error:
            self._behind = True
            say(f"{self.path.name} could not be written ({error}). Training goes on.")

    def _write_anew(self, trainer: Trainer) -> None:
        beside = self.path.with_name(f".{self.path.name}")
        beside.write_text("".join(map(_line, trainer.history.rows)), "utf-8")
        beside.replace(self.path)
        self._behind = False


def _line(row: dict[str, Any]) -> str:
    """Return a row as JSON; a score that is no number is null, since JSON has no NaN."""
    finite = {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}
    return json.dumps(finite) + "\n"
