"""What happens when a step's loss or gradient is no finite number, and how is it seen again?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from reasoner.errors import CheckpointError, DivergedError
from reasoner.losses import LossSum
from reasoner.notices import say
from reasoner.training.diagnosis import INCOMPLETE, Finding, diagnose, run
from reasoner.training.parts import PARTS

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer

MOST_ROLLBACKS = 5
"""How often a run goes back before it stops all the same."""


class LossWatch:
    """Looks into each step whose loss or gradient is not finite, writes a reproduction, and stops or goes back.

    Such a step is never made, so the weights that are looked at are those that gave the loss. Rows are found by running
    each row of the batch alone, without dropout. To tell bad rows from exploded weights, the first batch of the run is
    run again.

    Args:
        output_dir: the run's folder; the reproduction goes into `diverged` in it (`diverged-2`, ... if that is there).
            None: none is written.
        describe: batch -> the place of each of its features, such as "train.jsonl, line 812"; None: their numbers.
    """

    def __init__(
        self, output_dir: Path | None = None, *, describe: Callable[[Any], Sequence[str]] | None = None
    ) -> None:
        self.output_dir = output_dir
        self.describe = describe or (lambda batch: [f"feature {index}" for index in batch.feature_index])
        self._first: tuple[Any, float] | None = None  # the first batch that was in order, and its mean loss then
        self._first_at = (0, 0)  # its epoch, and how many batches of that came before
        self._good: tuple[int, list[Tensor]] | None = None

    def passed(self, trainer: Trainer, group: Sequence[Any], totals: list[float], counts: list[float]) -> None:
        """Take note of a step whose loss and gradient are finite, before it moves the weights."""
        if self._first is None and group[0] is not None:
            self._first = (group[0], totals[0] / max(counts[0], 1e-12))
            self._first_at = (trainer.epoch, trainer.position * trainer.config.gradient_accumulation_steps)
        due = self._good is None or trainer.step % trainer.config.logging_steps == 0
        if due and trainer.config.on_divergence == "halve":
            self._good = (trainer.step, trainer.snapshot())

    def state_dict(self) -> dict[str, Any]:
        """Return what it knows, as JSON values and tensors; of the first batch where it was."""
        first = None if self._first is None else {"at": self._first_at, "loss": self._first[1]}
        return {"first": first, "good": self._good}

    def load_state_dict(self, state: dict[str, Any], trainer: Trainer) -> None:
        """Take back what `state_dict` gave; the first batch is made again."""
        self._good = None if state["good"] is None else tuple(state["good"])
        if state["first"] is not None:
            epoch, number = self._first_at = tuple(state["first"]["at"])
            trainer.batches.epoch = epoch
            batch = next(trainer.batches_after(number))
            self._first = None if batch is None else (batch, state["first"]["loss"])

    def failed(
        self, trainer: Trainer, group: Sequence[Any], totals: list[float], counts: list[float], norm: float
    ) -> None:
        """Say why a step's loss or gradient is not finite; then stop, or go back to the last good weights.

        Args:
            trainer: its weights are those before the step, its gradients those of the step, not yet divided.
            group: the step's batches; None for one that this rank has no share of.
            totals: the total loss of each batch.
            counts: what they are over.
            norm: of the gradient.

        Raises:
            DivergedError: if the run shall stop, has gone back `MOST_ROLLBACKS` times, or ends without a single step.
        """
        if trainer._shared.sharded is not None:  # to run rows alone, all ranks would have to
            raise DivergedError(
                f"The loss or the gradient of step {trainer.step + 1} is not finite. With fsdp its rows are not looked "
                "for: train without it, on a smaller model of the same kind if need be, to see which they are.",
                step=trainer.step + 1,
            )
        rank, finding = self._found(trainer, group, totals, counts, norm)
        text = finding.sentences()
        folder, said = trainer.ranks.on(rank, lambda: self._write(trainer, group[finding.batches[0] - 1], finding))
        history = trainer.history
        nothing_learned = self._first is None and trainer.step + 1 >= trainer.total_steps
        if trainer.config.on_divergence == "stop" or len(history.rollbacks) >= MOST_ROLLBACKS or nothing_learned:
            again = f" Training went back {len(history.rollbacks)} times before." if history.rollbacks else ""
            best = "" if history.best_step is None else f" The best weights, of step {history.best_step}, are kept."
            raise DivergedError(
                f"{text}{again}{best} {said}".strip(),
                step=finding.step, rows=finding.rows, parameter=next(iter(finding.parameters), None), folder=folder,
            )  # fmt: skip
        to_step, weights = self._good or (0, None)  # before the first step the weights are still as they were
        rate = trainer.go_back(weights)
        history.rollbacks.append(
            {"step": finding.step, "to_step": to_step, "learning_rate": rate, "rows": list(finding.rows)}
        )
        say(f"{text} Back to the weights after step {to_step} and on at half the learning rate ({rate:g}); "
            f"this was time {len(history.rollbacks)} of at most {MOST_ROLLBACKS}. {said}".strip())  # fmt: skip

    def _found(
        self, trainer: Trainer, group: Sequence[Any], totals: list[float], counts: list[float], norm: float
    ) -> tuple[int, Finding]:
        """Return what is told of the step, and which rank has found it out: one that names rows, if one does."""
        own = None
        if any(batch is not None for batch in group):
            own = diagnose(
                trainer, group, totals=totals, counts=counts, norm=norm, first=self._first, describe=self.describe
            )
        found = [(rank, finding) for rank, finding in enumerate(trainer.ranks.gather(own)) if finding is not None]
        return min(found, key=lambda each: each[1].reason != "rows")

    def _write(self, trainer: Trainer, batch: Any, finding: Finding) -> tuple[Path | None, str]:
        """Write the reproduction; return its folder, if there is one, and a sentence about it."""
        if self.output_dir is None:
            return None, ""
        if not hasattr(batch, "feature_index"):
            return None, "A reproduction could not be written: the batches have not the fields of data.features.Batch."
        from safetensors import SafetensorError

        try:
            folder = _new_folder(self.output_dir)
            _write_reproduction(folder, trainer.model, batch, finding)
        except (OSError, SafetensorError, *INCOMPLETE) as error:  # a full disk must not hide that the loss is NaN
            return None, f"A reproduction could not be written in '{self.output_dir}': {error}."
        return folder, f"To see it again: reasoner.training.guard.replay('{folder}', model)."


def replay(folder: str | Path, model: nn.Module) -> LossSum:
    """Load the weights of a reproduction into `model`, run its batch once more, and return the loss with its graph.

    Dropout is off. `loss.total.backward()` then gives the gradient, where it was the gradient that was not finite.

    Args:
        folder: what `LossWatch` wrote: `weights.safetensors`, `batch.safetensors` and `report.json`.
        model: one of the same kind, such as `reasoner.load(output_dir).predictor.model`; its weights are replaced.

    Raises:
        CheckpointError: if the folder cannot be read, or the model is of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, load_model

    folder = Path(folder)
    try:
        report = json.loads((folder / "report.json").read_text("utf-8"))
        tensors = load_file(folder / "batch.safetensors")
        load_model(model, folder / "weights.safetensors")
        bf16, in_batch = report["bf16"], report["in_batch"]
    except (OSError, SafetensorError, RuntimeError, ValueError, RecursionError, KeyError) as error:
        raise CheckpointError(f"'{folder}' cannot be run again with this model: {error}") from error
    device = next(model.parameters()).device
    parts = {part: {name.partition(".")[2]: tensor.to(device) for name, tensor in tensors.items()
                    if name.startswith(f"{part}.")} for part in PARTS}  # fmt: skip
    model.eval()
    return run(model, SimpleNamespace(**parts, group=tensors["group"].to(device), states=None, **in_batch), bf16)


def _new_folder(output_dir: Path) -> Path:
    """Make the folder of the next reproduction; one that is there is left alone."""
    names = ("diverged", *(f"diverged-{number}" for number in range(2, 10_000)))
    folder = next(output_dir / name for name in names if not (output_dir / name).exists())
    folder.mkdir(parents=True)
    return folder


def _write_reproduction(folder: Path, model: nn.Module, batch: Any, finding: Finding) -> None:
    """Write the weights, the batch, and last, so that it is there only when all is, the report."""
    from safetensors.torch import save_file, save_model

    tensors = {f"{part}.{name}": tensor for part in PARTS for name, tensor in getattr(batch, part).items()}
    tensors["group"] = batch.group
    save_file({name: tensor.cpu().clone() for name, tensor in tensors.items()}, folder / "batch.safetensors")
    save_model(model, str(folder / "weights.safetensors"))
    report = _json({**asdict(finding), "in_batch": {"feature_index": batch.feature_index, "tokens": batch.tokens}})
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text, encoding="utf-8")


def _json(value: Any) -> Any:
    """Return JSON values: a number that is none is the string "nan", "inf" or "-inf"."""
    if isinstance(value, Mapping):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
