"""How do the weights of a model go into one with more labels, bit for bit, each label's where that label now is?"""

from __future__ import annotations

import torch
from torch import Tensor

from reasoner.errors import ConfigError
from reasoner.model import TaskModel


@torch.no_grad()
def take_over(model: TaskModel, old: TaskModel) -> None:
    """Give a model all weights of an old one; what new labels need beside them stays as it was made.

    Args:
        model: has the old labels first, in their order.
        old: a plain network.

    Raises:
        ConfigError: if the layers are others.
    """
    into, values = model.state_dict(), old.state_dict()
    if into.keys() != values.keys():
        other = ", ".join(sorted(into.keys() ^ values.keys())[:3])
        raise ConfigError(f"after: the old model has other layers than this task makes ({other}). Give the same head "
                          "and settings as before.")  # fmt: skip
    for name, value in values.items():
        put_grown(model, name, value, into[name])


def put_grown(model: TaskModel, name: str, value: Tensor, into: Tensor) -> None:
    """Put a weight, or a number for each of its parts, where a head with more labels has them.

    Raises:
        ConfigError: if it has no room for it.
    """
    room = value.ndim == into.ndim and all(has >= needs for has, needs in zip(into.shape, value.shape, strict=True))
    if not room:
        raise ConfigError(f"after: {name} has the shape {tuple(value.shape)} in the old model and {tuple(into.shape)} "
                          "here. Give the same head and settings as before.")  # fmt: skip
    if value.shape == into.shape:
        into.copy_(value)
    else:
        model.head.take_over(name.rpartition(".")[2], value.to(into), into)
