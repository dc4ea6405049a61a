"""Several processes train one model together: which of them is this, and how do they speak with each other?"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from reasoner.errors import ConfigError, RankError
from reasoner.losses import LossSum
from reasoner.notices import muted

BUCKET = 25_000_000
"""Numbers that are sent at once: so much more memory than the gradients it takes to add them up."""

T = TypeVar("T")


class Ranks:
    """The processes of a training, one of which is this. Alone, the default, each method gives back what it is given.

    All methods but `main` must be called by all ranks, in the same order.

    Args:
        index: the number of this one; 0 is the main one, which alone writes.
        number: how many there are.
        group: what values that lie in the CPU's memory are sent through.
    """

    def __init__(self, index: int = 0, number: int = 1, group: Any = None) -> None:
        self.index, self.number, self.group = index, number, group

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes."""
        return self.index == 0

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order.

        Raises:
            RankError: if another rank is gone, as all methods do.
        """
        if self.number == 1:
            return [value]
        values: list[Any] = [None] * self.number
        with _told():
            distributed.all_gather_object(values, value, group=self.group)
        return values

    def on(self, index: int, action: Callable[[], T]) -> T:
        """Let one rank do something, as if it were alone, while the others wait; return to all what that gave.

        Raises:
            RankError: on the others, if the action raised an error, which is raised on its own rank.
        """
        if self.number == 1:
            return action()
        said: list[Any] = [None, "the process ended"]
        try:
            if self.index == index:
                token = _current.set(ALONE)
                try:
                    said = [action(), None]
                except BaseException as error:
                    said[1] = f"{type(error).__name__}: {error}"
                    raise
                finally:
                    _current.reset(token)
        finally:
            with _told():
                distributed.broadcast_object_list(said, src=index, group=self.group)
        value, problem = said
        if problem is not None:
            raise RankError(f"Rank {index} of {self.number} stopped, and so does this one ({self.index}). {problem}")
        return value  # type: ignore[no-any-return]

    def on_main(self, action: Callable[[], T]) -> T:
        """Let the main rank do something; see `on`."""
        return self.on(0, action)

    def total(self, *values: float) -> list[float]:
        """Return the sum of each number over the ranks."""
        return [sum(each) for each in zip(*self.gather(values), strict=True)]

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Give tensors the values that they have on the main rank."""
        if self.number > 1:
            with _told(), torch.no_grad():
                for tensor in tensors:
                    distributed.broadcast(tensor, src=0)

    def add(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return new tensors, the sum of each over the ranks, the same on all to the last bit."""
        if self.number == 1:
            return list(tensors)
        sums: list[Tensor] = []
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _told():
                distributed.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            sums += [part.view_as(tensor) for tensor, part in zip(bucket, parts, strict=True)]
        return sums

    def add_gradients(self, weights: Sequence[Tensor]) -> None:
        """Replace gradients by their sums over the ranks; a weight that no rank has one for keeps none."""
        if self.number == 1:
            return
        missing = torch.tensor([weight.grad is None for weight in weights], dtype=torch.int32)
        with _told():
            distributed.all_reduce(missing, group=self.group)
        learning = [weight for weight, absent in zip(weights, missing.tolist(), strict=True) if absent < self.number]
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in learning]
        for weight, gradient in zip(learning, self.add(gradients), strict=True):
            weight.grad = gradient  # another array: `row_gradients` keeps the one before, and knows what it wrote there

    def add_losses(self, losses: Sequence[LossSum]) -> list[LossSum]:
        """Return the sum of each loss over the ranks: of totals and of counts, never of means."""
        if self.number == 1:
            return list(losses)
        (sums,) = self.add([torch.stack([part.double() for loss in losses for part in loss])])
        numbers = sums.to(losses[0].total.dtype).view(-1, 2)
        return [LossSum(total, count) for total, count in numbers.unbind()]


ALONE = Ranks()
_current: ContextVar[Ranks] = ContextVar("ranks", default=ALONE)
_joined: list[Ranks] = []
"""What this process has joined; it does so once."""


def current() -> Ranks:
    """Return the ranks that work on what is done now; outside of `together` this process is alone."""
    return _current.get()


def several() -> bool:
    """Return whether a launcher (`torchrun`, `accelerate launch`) has started this process as one of several."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size() > 1
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def refuse_several(what: str) -> None:
    """Refuse what ranks cannot share.

    Raises:
        ConfigError: if there are several.
    """
    if several():
        raise ConfigError(f"{what} runs in one process, and this is one of several. Start it without a launcher; "
                          "fine_tune is what ranks share.")  # fmt: skip


@contextmanager
def together(*, use_cpu: bool = False) -> Iterator[Ranks]:
    """Let all processes that a launcher has started work on one thing inside the block; the main one alone speaks.

    After an error this process leaves the others, so that none waits for it.

    Args:
        use_cpu: send through the CPU's memory, though there are CUDA devices.
    """
    if current() is not ALONE or not several():
        yield current()
        return
    if not _joined:
        _joined.append(_join(use_cpu))
    (ranks,) = _joined
    token = _current.set(ranks)
    try:
        with nullcontext() if ranks.main else muted():
            yield ranks
    except BaseException:
        _leave()
        raise
    finally:
        _current.reset(token)


def _join(use_cpu: bool) -> Ranks:
    from accelerate import PartialState

    state = PartialState(cpu=use_cpu or not torch.cuda.is_available())
    if not distributed.is_initialized():
        raise RankError("This process has left the other ranks after an error. Start all of them again.")
    with _told():
        group = distributed.new_group(backend="gloo")
    atexit.register(_leave)
    return Ranks(state.process_index, state.num_processes, group)


def _leave() -> None:
    """Close what connects this process with the others, which then know that it is gone."""
    while _joined:
        _joined.pop().group = None  # its threads end with the last that holds it
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def _told() -> Iterator[None]:
    """Say it in our words if others are gone."""
    try:
        yield
    except RuntimeError as error:
        reason = next(iter(str(error).split("\n")), type(error).__name__)
        raise RankError(
            f"Another rank does not answer: it was stopped, or the connection is lost ({reason:.200}). "
            "Look at its messages; where there are checkpoints, start all again with resume=True."
        ) from error


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors of one type in groups of up to `BUCKET` numbers; a larger one comes alone."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        held = sum(other.numel() for other in bucket)
        if bucket and (tensor.dtype != bucket[0].dtype or held + tensor.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
