"""Does a run in an output folder go on from a checkpoint, begin anew, or is there nothing left to do?"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from reasoner import fingerprints
from reasoner.data.streams import StreamedRows
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.notices import say, tell
from reasoner.reports.run import Run
from reasoner.storage import made_of_finished
from reasoner.training.callbacks import Callback
from reasoner.training.checkpoint_files import State, read
from reasoner.training.checkpoints import Checkpoints, CheckpointWriter
from reasoner.training.config import TrainingConfig
from reasoner.training.history import History
from reasoner.training.interrupts import Interrupts
from reasoner.training.ranks import current
from reasoner.training.trainer import Trainer

CHECKPOINTS = "checkpoints"
"""The folder in the output folder."""
MACHINE = "machine"
"""The part of what a run is made of in which a difference is said and not refused."""


class Resumption:
    """What a run goes on from, and what it leaves for another to go on from.

    Args:
        folder: the output folder.
        made_of: see `made_of`.
        config: says when checkpoints are written, and how many are kept.
    """

    def __init__(self, folder: Path, made_of: Mapping[str, Any], config: TrainingConfig) -> None:
        self.folder, self.made_of, self.steps = folder, made_of, config.checkpoint_steps
        self.checkpoints = Checkpoints(folder / CHECKPOINTS, config.keep_checkpoints)
        self._state: State | None = None

    def begin(self, resume: bool) -> bool:
        """Look for what to go on from, and say what was found; return whether anything is left to do.

        Args:
            resume: whether to go on; if not, checkpoints that are there are set aside.

        Raises:
            ConfigError: if the run in the folder is made of something else, with all differences.
            CheckpointError: if there are checkpoints, and none is whole.
        """
        if not resume:
            current().on_main(self.checkpoints.set_aside)
            return True
        name = self.folder.name
        newest = current().on_main(self.checkpoints.newest)
        if newest is not None:
            self._state = read(newest)
            self._compare(self._state["made_of"])
            step = self._state["trainer"]["step"]
            say(f"Training goes on after step {step}: step-{step:06} is the newest whole checkpoint in '{name}'.")
            return True
        finished = made_of_finished(self.folder)
        if finished is None:
            say(f"There is no checkpoint in '{name}': training starts from the beginning.")
            return True
        self._compare(finished)
        say(f"The run in '{name}' has ended: nothing is trained, and what it wrote is loaded.")
        return False

    def train(self, trainer: Trainer) -> History:
        """Train, from the state that was found if there is one, with checkpoints.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when the step is finished and saved.
            SystemExit: after SIGTERM, likewise.
        """
        with Interrupts() as interrupts:
            writer = CheckpointWriter(self.checkpoints, steps=self.steps, made_of=self.made_of, interrupts=interrupts)
            trainer.callbacks = [*trainer.callbacks, writer]
            state, self._state = [self._state], None  # in a list, so that the trainer alone holds it, and lets it go
            history = trainer.train(state.pop())
        asked = trainer.ranks.gather(interrupts.asked)
        if any(signal is not None for signal in asked):  # after the last step
            interrupts.asked = next(signal for signal in asked if signal is not None)
            self._stop(interrupts)
        return history

    def _stop(self, interrupts: Interrupts) -> None:
        """End after training, if what it gave is in a checkpoint; else it is better to score and save the model."""
        if self.checkpoints.all():
            raise interrupts.end("Training is over, and saved. resume=True scores the model, and saves it.")
        tell("Training was over when the signal came; the model is scored and saved. Once more ends it at once.")

    def end(self) -> None:
        """Remove the checkpoints: the model was saved."""
        current().on_main(self.checkpoints.clear)

    def _compare(self, before: Mapping[str, Any]) -> None:
        lines = list(_differences(before, self.made_of))
        if machine := [line for line in lines if line.startswith(MACHINE)]:
            say(f"The run began elsewhere, so that numbers may differ in the last digits: {'; '.join(machine)}.")
        if others := [line for line in lines if not line.startswith(MACHINE)]:
            raise ConfigError(
                f"The run in '{self.folder}' cannot go on, it is made of something else: {'; '.join(others)}. "
                "Give what it was begun with, or another output_dir; to begin anew in this one, leave resume out."
            )


def resumption_of(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    folder: Path | None,
    callbacks: Sequence[Callback],
    previous: Mapping[str, Any] | None = None,
) -> Resumption | None:
    """Return what checkpoints are read and written by; None: there are none, which is said if they were asked for."""
    if folder is not None:
        parts = made_of(predictor, encoded, run, config, callbacks)
        return Resumption(folder, parts | ({} if previous is None else {"previous": dict(previous)}), config)
    if config.checkpoint_steps is not None:
        say("checkpoint_steps: no checkpoints are written without output_dir, nor with several seeds.")
    return None


def made_of(
    predictor: Predictor,
    encoded: Mapping[str, Encoded],
    run: Run,
    config: TrainingConfig,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """Return what decides how a training goes, by name, as JSON values; of what is large a fingerprint."""
    device, training = predictor.device, encoded["train"].examples
    return {
        "task": {"name": run.task, **predictor.task.settings()},
        "method": run.method,
        "tokenizer": fingerprints.of_tokenizer(predictor.tokenizer),
        "data": {split: fingerprints.of_examples({split: part.examples}) for split, part in encoded.items()},
        **({"stream": training.stream.made_of()} if isinstance(training, StreamedRows) else {}),
        "rows": dict(run.rows),
        "ranks": current().number,
        "settings": {
            **fingerprints.of_config(config),
            "max_length": predictor.max_length,
            "stride": predictor.stride,
        },
        "callbacks": [f"{type(callback).__module__}.{type(callback).__qualname__}" for callback in callbacks],
        "model": fingerprints.of_model(predictor.model),  # before training: the weights that the seed made among them
        MACHINE: {
            **run.versions,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
        },
    }


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield each value that differs, such as "settings.seed was 1 and is 2"."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in [*before, *(name for name in now if name not in before)]:
            yield from _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif _plain(before) != _plain(now):
        if path.partition(".")[0] in ("model", "tokenizer", "data"):
            yield f"{path} is another" + " (in its weights before training)" * (path == "model")
        else:
            yield f"{path} was {before!r:.80} and is {now!r:.80}"


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
