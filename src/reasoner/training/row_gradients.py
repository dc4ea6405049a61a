"""How does the gradient of a large embedding table get by without a new array of zeros at every step?

A step looks up some hundred rows of a table of some ten thousand. PyTorch makes a gradient for all of them: memory that
is fetched, filled with zeros, and given back each time (4% of a step of MiniLM). Here the array stays, and only
the rows that had a gradient before are set to zero again. What is in `weight.grad` is the same, number for number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LARGE = 2**20
"""Numbers in a table from which on its gradient is kept."""


class RowGradients:
    """Keeps the gradient arrays of embedding tables from step to step.

    `lookup` asks for a sparse gradient. A hook on the weight gives it a dense `.grad` of zeros to be added to, if it
    has none. Whoever wants a gradient to stay must copy it: after `.grad = None` the array is used again.
    """

    def __init__(self) -> None:
        self._kept: dict[Tensor, _Array] = {}
        self._hooks: dict[Tensor, Any] = {}

    def can_keep(self, weight: Any) -> bool:
        """Return whether the weight is a large table on the CPU that is trained."""
        return (
            isinstance(weight, Tensor)
            and weight.requires_grad
            and weight.is_leaf
            and weight.device.type == "cpu"
            and weight.numel() >= LARGE
            and torch.is_grad_enabled()
        )

    def lookup(self, ids: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
        """Return the rows `ids` of `weight`; until `release`, its gradient goes into the array that is kept."""
        if weight not in self._hooks:
            array = self._kept.setdefault(weight, _Array())
            hook = weight.register_hook(lambda gradient: array.receive(weight, gradient))  # type: ignore[no-untyped-call]
            self._hooks[weight] = hook
        return functional.embedding(ids, weight, padding_idx, sparse=True)

    def release(self) -> None:
        """Take the hooks off the weights, after the backward pass."""
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()


class _Array:
    """The gradient of one table, and which of its rows are not zero."""

    def __init__(self) -> None:
        self._values: Tensor | None = None
        self._rows: list[Tensor] = []
        self._all_rows = False

    def receive(self, weight: Tensor, gradient: Tensor) -> None:
        """Look at a gradient right before it is added to `weight.grad`."""
        if weight.grad is None and gradient.is_sparse:
            weight.grad = self._zeros(weight)
        if weight.grad is not None and weight.grad is self._values:
            if gradient.is_sparse:
                self._rows.append(gradient._indices()[0])
            else:  # the table has another use, such as an output layer of the same weights
                self._all_rows = True

    def _zeros(self, weight: Tensor) -> Tensor:
        if self._values is None:
            self._values = torch.zeros_like(weight)
        elif self._all_rows:
            self._values.zero_()
        elif self._rows:
            self._values.index_fill_(0, torch.cat(self._rows), 0.0)
        self._rows, self._all_rows = [], False
        return self._values
