"""When is a checkpoint written, which are kept, and from which does a run go on?"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import say, tell
from reasoner.training.callbacks import Callback
from reasoner.training.checkpoint_files import UNFINISHED, State, fault, remove, write
from reasoner.training.interrupts import Interrupts

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer

EVERY = 600.0
"""Seconds between checkpoints where `checkpoint_steps` says nothing: a run that is shorter writes none."""
DAMAGED = "damaged-"
_NAME = re.compile(r"step-\d{6,}")


class Checkpoints:
    """The checkpoints of a run, in a folder of their own.

    Args:
        folder: where they are; it is made with the first one.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self.folder, self.keep = folder, keep

    def all(self) -> list[Path]:
        """Return the folders of all checkpoints, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=_step, reverse=True)

    def newest(self) -> Path | None:
        """Return the folder of the newest whole checkpoint, and say why others were passed over; None: there is none.

        Those that are damaged get another name, so that they count no longer.

        Raises:
            CheckpointError: if there are some, and none is whole.
        """
        self._remove_unfinished()
        damaged = []
        for path in self.all():
            if reason := fault(path):
                damaged.append(f"{path.name}: {reason}")
                continue
            for line in damaged:
                say(f"A checkpoint was passed over, {line}.")
                name = line.partition(":")[0]
                shutil.rmtree(self.folder / f"{DAMAGED}{name}", ignore_errors=True)
                (self.folder / name).rename(self.folder / f"{DAMAGED}{name}")
            return path
        if damaged:
            raise CheckpointError(
                f"No checkpoint in '{self.folder}' is whole. {'; '.join(damaged)}. To begin anew, leave resume out."
            )
        return None

    def write(self, step: int, state: State) -> None:
        """Write the checkpoint of a step, if it is not there; remove those that are too many.

        Raises:
            CheckpointError: if it cannot be written; those that were there are as before.
        """
        folder = self.folder / f"step-{step:06}"
        if not folder.exists():
            write(folder, state)
        for old in self.all()[self.keep :]:
            with suppress(OSError):  # it is tried again with the next one
                remove(old)

    def set_aside(self) -> None:
        """Give the folder a name that is free if there are checkpoints in it, and say so: a new run begins."""
        self._remove_unfinished()
        if found := self.all():
            name = f"{self.folder.name}.previous"
            names = chain([name], (f"{name}-{number}" for number in count(2)))
            aside = next(path for path in map(self.folder.with_name, names) if not path.exists())
            self.folder.rename(aside)
            say(f"'{self.folder.parent.name}' has checkpoints of a run that did not end (the last: {found[0].name}). "
                f"This is a new run; they are now in '{aside.name}'. To go on from them instead, stop, rename that to "
                f"'{self.folder.name}' (in place of the one there) and give resume=True.")  # fmt: skip

    def clear(self) -> None:
        """Remove all checkpoints: the run has ended well."""
        try:
            if self.folder.is_dir():
                remove(self.folder)
        except OSError as error:
            say(f"The checkpoints in '{self.folder}' are needed no longer, but could not be removed: {error}.")

    def _remove_unfinished(self) -> None:
        """Remove what a killed process was writing or removing."""
        for path in sorted(self.folder.glob(f"{UNFINISHED}step-*")):
            say(f"{path.name[1:]} was being written or removed when its process ended: it is no checkpoint.")
            shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.folder.with_name(f"{UNFINISHED}{self.folder.name}"), ignore_errors=True)


class CheckpointWriter(Callback):
    """Writes checkpoints, and ends training after a signal; it must be the last of the callbacks.

    Of several ranks all take part, at the same steps; the main one writes. A signal to one ends all.

    Args:
        checkpoints: where they go.
        steps: how many steps lie between them; None: as many as take ten minutes.
        made_of: goes into each, beside the state of the trainer: what a run must be made of to go on from it.
        interrupts: what hears the signals.
    """

    def __init__(
        self, checkpoints: Checkpoints, *, steps: int | None, made_of: Mapping[str, Any], interrupts: Interrupts
    ) -> None:
        self.checkpoints, self.steps, self.made_of, self.interrupts = checkpoints, steps, dict(made_of), interrupts
        self._time, self._wrote = 0.0, False

    def on_train_begin(self, trainer: Trainer) -> None:
        """Start the clock."""
        self._time, self._wrote = time.monotonic(), trainer.step > 0

    def on_step_end(self, trainer: Trainer) -> None:
        """Write one if it is time; after a signal in any case, and end."""
        due = time.monotonic() - self._time >= EVERY if self.steps is None else trainer.step % self.steps == 0
        asked, dues = zip(*trainer.ranks.gather((self.interrupts.asked, due)), strict=True)
        self._heed(trainer, asked)
        if any(dues):
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """End after a signal; where others were written, write one at the end of training: scores are still to come."""
        self._heed(trainer, trainer.ranks.gather(self.interrupts.asked))
        if trainer.done and self._wrote:
            self._write(trainer)

    def _heed(self, trainer: Trainer, asked: Sequence[Signals | None]) -> None:
        """End training if a rank was asked to."""
        self.interrupts.asked = next((signal for signal in asked if signal is not None), None)
        if self.interrupts.asked is not None:
            self._end(trainer)

    def _write(self, trainer: Trainer) -> bool:
        """Write one; if it cannot be, say so, and let training go on."""
        self._time = time.monotonic()
        try:
            state = {"made_of": self.made_of, **trainer.state_dict()}
            written = trainer.ranks.on_main(lambda: self._written(trainer.step, state))
        except TypeError as error:
            raise ConfigError(f"A checkpoint can hold JSON values and tensors alone: {error}. "
                              "Look at state_dict of your callbacks.") from error  # fmt: skip
        self._wrote |= written
        return written

    def _written(self, step: int, state: State) -> bool:
        try:
            self.checkpoints.write(step, state)
        except CheckpointError as error:
            kept = self.checkpoints.all()
            say(f"{error} " + (f"{kept[0].name} is the last one." if kept else "There is none so far."))
            return False
        return True

    def _end(self, trainer: Trainer) -> None:
        folder = self.checkpoints.folder.parent
        if self._write(trainer):
            message = (f"Training was interrupted after step {trainer.step} of {trainer.total_steps}, and is saved. "
                       f"To go on: the same call, with output_dir='{folder}' and resume=True.")  # fmt: skip
        else:
            message = f"Training was interrupted after step {trainer.step} of {trainer.total_steps}."
        tell(message)
        raise self.interrupts.end(message)


def _step(path: Path) -> int:
    return int(path.name.partition("-")[2])
