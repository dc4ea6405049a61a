"""Does a model that was just written give, when it is read again, what it gave?"""

from __future__ import annotations

from pathlib import Path

import torch

from reasoner.added import UNUSED_COPIES
from reasoner.data.features import Batch
from reasoner.errors import CheckpointError
from reasoner.heads.base import Outputs
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.notices import say
from reasoner.training.engine import is_out_of_memory

ROWS, LENGTH = 2, 8
CLOSE = 1e-5
"""How near the outputs must be: the same weights in the same order of operations, but perhaps not the same kernels."""


def prove(folder: Path, predictor: Predictor) -> None:
    """Read the model of a folder, and compare its weights and its outputs for a few rows with those it was written of.

    Nothing random is moved on, so that a training that is saved on its way goes on as one that is not.

    Raises:
        CheckpointError: if they differ.
    """
    model, device = predictor.model, predictor.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        read = TaskModel.load(folder, predictor.task, base=model.base)
    problem = _differing_weight(model, read)
    if not problem:
        training = model.training
        problem = _differing_output(model.eval(), read.eval(), device)
        model.train(training)
    if problem:
        raise CheckpointError(
            f"The model was not saved: read again, {problem}. All that a head of your own learns or draws must be in "
            "its state_dict(); if yours does that, save by result.model.save_pretrained(...), and please report it."
        )


def _differing_weight(model: TaskModel, read: TaskModel) -> str:
    mine, theirs = (
        {name: tensor for name, tensor in each.state_dict().items() if UNUSED_COPIES not in name}
        for each in (model, read)
    )
    if mine.keys() != theirs.keys():
        return f"it has other weights ({min(mine.keys() ^ theirs.keys())})"
    differing = [name for name, tensor in mine.items() if not _identical(tensor.cpu(), theirs[name])]
    return f"its weight {differing[0]} is another" if differing else ""


def _identical(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether values are equal; what is no number in both is."""
    if torch.equal(one, other):  # one pass over the memory, where the other line makes six
        return True
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


@torch.inference_mode()
def _differing_output(model: TaskModel, read: TaskModel, device: torch.device) -> str:
    batch = trial_batch(model).to(device)
    try:
        expected = model(batch)
    except Exception:  # a head that wants more than ids: its weights were compared
        return ""
    try:
        found = read.to(device)(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        say("The memory did not hold the model twice: of what was saved the weights were compared, not the outputs.")
        return ""
    return "" if _same(expected, found) else "it gives other outputs"


def trial_batch(model: TaskModel) -> Batch:
    """Return rows of some tokens of the model's vocabulary, without padding."""
    vocabulary = model.network.config.vocab_size
    ids = torch.arange(ROWS * LENGTH).view(ROWS, LENGTH) % (vocabulary // 2) + vocabulary // 4
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return Batch(inputs, {}, torch.zeros(ROWS, dtype=torch.long), list(range(ROWS)), ids.numel())


def _same(one: Outputs, other: Outputs) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(value, other[name], rtol=CLOSE, atol=CLOSE, equal_nan=True) for name, value in one.items()
    )
