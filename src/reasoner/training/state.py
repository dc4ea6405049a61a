"""What is all that training goes on from: how is it taken from a trainer, and put back?"""

from __future__ import annotations

import random
from dataclasses import asdict, fields
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from reasoner.errors import CheckpointError
from reasoner.notices import said, say
from reasoner.training.averaging import Checkpoint, put
from reasoner.training.checkpoint_files import State
from reasoner.training.engine import autocast, tensor_float_32

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer

COUNTERS = ("step", "epoch", "position", "_losses", "_steps_counted", "_learning_rate", "_evaluated_at")
"""Fields of the trainer that are JSON values."""
STOPPING = ("best", "reference", "waited", "broken")


def state_of(trainer: Trainer) -> State:
    """Return all that the rest of a training depends on, as JSON values and tensors.

    What the model is before training, the rows and the settings are not in it; all else is, the random states and what
    callbacks keep as well. Of several ranks each has its own of these, and its own part of a sharded model; all else
    they have in common.
    """
    optimizer = trainer.optimizer.state_dict()
    average, checkpoints, stopping = trainer._average, trainer._checkpoints, trainer.stopping
    common = {
        "schedule": trainer.schedule.state_dict(),
        "trainer": {
            **{name: getattr(trainer, name) for name in COUNTERS},
            "counted": trainer._counted,
            "history": asdict(trainer.history),
            "stopping": stopping and {name: getattr(stopping, name) for name in STOPPING},
            "notices": said(),
        },
    }
    weights = {
        "learned": trainer._learned(),
        "optimizer": {**optimizer, "state": {str(number): kept for number, kept in optimizer["state"].items()}},
        "best": trainer._best,
        "average": average and {"steps": average._steps, "values": average._values},
        "averaged": checkpoints and [kept._asdict() for kept in checkpoints.kept],
        "watch": trainer.watch.state_dict(),
    }
    own = {
        "largest": trainer._micro_batches.largest,
        "callbacks": [
            {"class": type(callback).__qualname__, "state": callback.state_dict()} for callback in trainer.callbacks
        ],
        "random": random_states(),
    }
    if trainer._shared.sharded is None:
        return {**common, **weights, "ranks": trainer.ranks.gather(own)}
    return {**common, "ranks": trainer.ranks.gather({**weights, **own})}


def put_back(trainer: Trainer, state: State) -> None:
    """Let a new trainer stand where the one stood that a state was taken from; callbacks and random states excepted.

    Raises:
        CheckpointError: if the trainer is another one.
    """
    try:
        state = {**state, **state["ranks"][trainer.ranks.index]}
        counters = state["trainer"]
        for name in COUNTERS:
            setattr(trainer, name, counters[name])
        trainer._micro_batches.largest = state["largest"]
        for field in fields(trainer.history):
            setattr(trainer.history, field.name, counters["history"][field.name])
        _fill_states(trainer)
        _same_shapes(state["learned"], trainer._learned())
        put(state["learned"], trainer._learned())
        optimizer = state["optimizer"]
        kept = {int(number): values for number, values in optimizer["state"].items()}
        trainer.optimizer.load_state_dict({**optimizer, "state": kept})
        trainer.schedule.load_state_dict(state["schedule"])
        counted = counters["counted"]
        trainer._counted = counted.to(trainer.device) if isinstance(counted, Tensor) else counted
        trainer._best = state["best"]
        if trainer.stopping is not None:
            for name in STOPPING:
                setattr(trainer.stopping, name, counters["stopping"][name])
        if trainer._average is not None:
            trainer._average._steps = state["average"]["steps"]
            trainer._average._values = [value.to(trainer.device) for value in state["average"]["values"]]
        if trainer._checkpoints is not None:
            trainer._checkpoints.kept = [Checkpoint(**kept) for kept in state["averaged"]]
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint is not one of this training ({type(error).__name__}: {error})."
        ) from error
    trainer.watch.load_state_dict(state["watch"], trainer)
    for message in counters["notices"]:
        say(message)


def put_back_rest(trainer: Trainer, state: State) -> None:
    """Give callbacks what they kept, by their order, and set the random states; this comes after `on_train_begin`.

    Raises:
        CheckpointError: if they are other ones.
    """
    own = state["ranks"][trainer.ranks.index]
    classes = [type(callback).__qualname__ for callback in trainer.callbacks]
    before = [kept["class"] for kept in own["callbacks"]]
    if classes != before:
        raise CheckpointError(f"The checkpoint has the callbacks {', '.join(before)}, and there are now "
                              f"{', '.join(classes)}. Give the same ones.")  # fmt: skip
    for callback, kept in zip(trainer.callbacks, own["callbacks"], strict=True):
        callback.load_state_dict(kept["state"])
    put_back_random_states(own["random"])


def random_states() -> State:
    """Return the random states of Python, NumPy and PyTorch, those of all CUDA devices among them."""
    state: Any = numpy.random.get_state()
    name, words, *rest = state
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(words.astype(numpy.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def put_back_random_states(states: State) -> None:
    """Set the random states to what `random_states` gave."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    name, words, *rest = states["numpy"]
    numpy.random.set_state((name, words.numpy().astype(numpy.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def _same_shapes(values: list[Tensor], into: list[Tensor]) -> None:
    """Refuse what `put` would stretch to fit."""
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (values, into)]
    if shapes[0] != shapes[1]:
        raise ValueError("the weights have other shapes")


@torch.no_grad()
def _run(trainer: Trainer, batch: Any) -> None:
    with tensor_float_32(trainer.device), autocast(trainer.device, trainer.config.bf16), trainer._lean:
        trainer.model(batch.to(trainer.device))


def _fill_states(trainer: Trainer) -> None:
    """Let a frozen part give once more what was kept of it, in the batches in which it gave it: so to the last bit."""
    states = getattr(trainer.batches, "states", None)
    if states is None:
        return
    trainer.model.train()
    for epoch in range(trainer.epoch + 1):
        steps = trainer._steps_of_epoch(epoch) if epoch < trainer.epoch else trainer.position
        for batch in islice(trainer.batches, steps * trainer.config.gradient_accumulation_steps):
            for part in () if batch is None else trainer._micro_batches.parts_of(batch):
                if states.get(part.feature_index, part.inputs["input_ids"].shape[1]) is None:
                    _run(trainer, part)
        if states.complete:
            return
