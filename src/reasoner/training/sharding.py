"""How is a model trained whose weights, gradients and optimiser do not fit into one device? In parts, one a rank."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from reasoner.training.averaging import put
from reasoner.training.ranks import Ranks


class ShardedModel(nn.Module):
    """A copy of a model of which each rank holds its part of every weight: fully sharded data parallel (FSDP).

    Rajbhandari et al. (2020, https://arxiv.org/abs/1910.02054, stage 3), by PyTorch's `fully_shard`. A layer's weights
    are brought together when it runs, and given up again. To whoever trains it, it is a model with smaller weights: its
    parameters are this rank's parts, plain tensors. All ranks must run it as often, in the same order.

    Args:
        whole: the model, the same on all ranks; it is not changed.
        layers: gives the layers of the copy, each of which is brought together by itself.
        ranks: those that hold it.
    """

    def __init__(self, whole: nn.Module, layers: Callable[[Any], Iterable[nn.Module]], ranks: Ranks) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        super().__init__()
        ranks.same([*whole.parameters(), *whole.buffers()])
        copy = deepcopy(whole)
        mesh = init_device_mesh(next(whole.parameters()).device.type, (ranks.number,))
        for layer in layers(copy):
            fully_shard(layer, mesh=mesh)
        fully_shard(copy, mesh=mesh)
        self._ranks = ranks
        self._sharded: dict[str, Any] = {"copy": copy}  # in a dict: its modules are not this one's
        self._parts = {name: _part(weight) for name, weight in copy.named_parameters()}

    @property
    def copy(self) -> Any:
        """The sharded model itself."""
        return self._sharded["copy"]

    def named_parameters(self, *arguments: Any, **settings: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield this rank's parts of the weights, by the names of these."""
        yield from self._parts.items()

    def named_buffers(self, *arguments: Any, **settings: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers, which each rank has whole."""
        yield from self.copy.named_buffers()

    def to(self, *arguments: Any, **settings: Any) -> ShardedModel:
        """Return itself: it is where it shall be."""
        return self

    def train(self, mode: bool = True) -> ShardedModel:
        """Set training mode."""
        self.copy.train(mode)
        return super().train(mode)

    def forward(self, *arguments: Any) -> Any:
        """Run it."""
        with _quiet():
            return self.copy(*arguments)

    def __getattr__(self, name: str) -> Any:
        """Give what the model has beside its weights: its head, its loss and the like."""
        if name.startswith("_"):
            return super().__getattr__(name)
        return getattr(self.copy, name)

    def take_gradients(self) -> None:
        """Give each part its gradient, summed over the ranks; after the backward passes of a step."""
        for name, weight in self.copy.named_parameters():
            if weight.grad is not None:
                self._parts[name].grad = weight.grad.to_local() * self._ranks.number  # it was a mean
                weight.grad = None

    @torch.no_grad()
    def put_into(self, whole: nn.Module) -> None:
        """Give a model that has all weights, on each rank, the values of this one."""
        for weight, parameter in zip(self.copy.parameters(), whole.parameters(), strict=True):
            parameter.copy_(weight.full_tensor())
        put(self.copy.buffers(), whole.buffers())


def _part(weight: Any) -> nn.Parameter:
    """Return this rank's part of a sharded weight, in the memory where it lies."""
    return nn.Parameter(weight.detach().to_local(), requires_grad=weight.requires_grad)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back PyTorch's warning of what would go wrong if a network changed in place what a layer gives."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
        yield
