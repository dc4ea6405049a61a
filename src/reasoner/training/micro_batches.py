"""What is done when a batch does not fit into the memory? It is run in parts, and the step is that of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any

import torch

from reasoner.errors import NotEnoughMemoryError
from reasoner.losses import LossSum, sum_of
from reasoner.notices import say
from reasoner.training.engine import is_out_of_memory
from reasoner.training.parts import can_cut, cut, parts_for_cpu, rows_of


class MicroBatches:
    """Runs the batches of a step; from the first that did not fit on, larger ones are halved until they fit.

    Losses are sums and counts, so the gradients of the parts add up to that of the batch, and each batch has one loss
    whatever it was cut into. A pass that fails may have added to some of the gradients and not to others: nothing is
    mended, the whole step starts anew.

    Args:
        keep_together: never part the features of one example.
        limit: also run in parts what is slow or large in one piece on a CPU; see `part_limit`.
        whole: cut nothing: other ranks run what this one runs, and know of no parts.
    """

    def __init__(self, *, keep_together: bool = True, limit: float | None = None, whole: bool = False) -> None:
        self.keep_together, self.limit, self.whole = keep_together, limit, whole
        self.largest: float = inf
        """Positions (rows x length) of a batch that is run whole."""
        self._running: Any = None  # the part that is run
        self._begun = 0  # features of this step whose pass was begun, in the order in which they are run
        self._seen = 0  # how many of them callbacks have seen, in an attempt that failed as well

    def run(
        self, group: Sequence[Any], backward: Callable[[Any], LossSum], forget: Callable[[], None]
    ) -> list[LossSum]:
        """Run the batches of a step, and return the loss of each.

        Args:
            group: the batches.
            backward: runs a batch, or a part of one, and adds its gradient.
            forget: undoes what the step has done to gradients and buffers.

        Raises:
            NotEnoughMemoryError: if a single row does not fit, or the batches cannot be cut.
        """
        before, self._seen = self.largest, 0
        while (losses := self._attempt(group, backward)) is None:
            self._lower()
            forget()
        self._running = None
        if self.largest < before:
            say(f"A batch did not fit into the memory. Batches of more than {self.largest:,} positions (rows x length) "
                "are now run in parts; steps, gradients and the learning rate are those of whole batches.")  # fmt: skip
        return losses

    def once(self, callbacks: Iterable[Callable[..., None]]) -> Iterable[Callable[..., None]]:
        """Return the callbacks, or none if they have seen the running part in an attempt that failed.

        Parts are halves of earlier parts, so that a part was seen whole or not at all.
        """
        if self._running is None:
            return callbacks
        seen_before, self._seen = self._begun <= self._seen, max(self._seen, self._begun)
        return () if seen_before else callbacks

    def _attempt(self, group: Sequence[Any], backward: Callable[[Any], LossSum]) -> list[LossSum] | None:
        """Return the losses, or None if the memory was too small. The error goes, and with it what its frames hold."""
        self._begun = 0
        try:
            return [_sum([self._run(part, backward) for part in self.parts_of(batch)]) for batch in group]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _run(self, part: Any, backward: Callable[[Any], LossSum]) -> LossSum:
        self._running, self._begun = part, self._begun + len(getattr(part, "feature_index", " "))
        return backward(part)

    def parts_of(self, batch: Any) -> Iterator[Any]:
        """Yield the parts in which a batch is run."""
        for piece in parts_for_cpu(batch, self.limit, keep_together=self.keep_together):
            yield from self._parts(piece)

    def _parts(self, batch: Any) -> Iterator[Any]:
        halves = self._halves(batch) if getattr(batch, "positions", 0) > self.largest else None
        if halves is None:
            yield batch
        else:
            for half in halves:
                yield from self._parts(cut(batch, half))

    def _halves(self, batch: Any) -> tuple[list[int], list[int]] | None:
        """Return the features of both halves; None if there is nothing to halve."""
        if not can_cut(batch):
            return None
        rows = rows_of(batch) if self.keep_together else [[position] for position in range(len(batch.feature_index))]
        middle = (len(rows) + 1) // 2
        first, second = ([position for row in half for position in row] for half in (rows[:middle], rows[middle:]))
        return (first, second) if second else None

    def _lower(self) -> None:
        """Make the larger half of the part that failed the largest that is run whole.

        Raises:
            NotEnoughMemoryError: if it cannot be halved.
        """
        batch, halves = self._running, None if self.whole else self._halves(self._running)
        if halves is None:
            what = "A batch does not fit into the memory, and cannot be cut: it lacks the fields of `Batch`."
            if self.whole:
                what = "A batch does not fit into the memory, and is not cut with fsdp. Give fewer rows a batch, or:"
            elif can_cut(batch):
                shape = " x ".join(str(size) for size in batch.inputs["input_ids"].shape)
                what = f"A single training row does not fit into the memory ({shape} tokens)."
            raise NotEnoughMemoryError(
                f"{what} Give a shorter max_length, gradient_checkpointing=True, or a smaller model."
            )
        self.largest = batch.positions * max(map(len, halves)) // len(batch.feature_index)
        torch.cuda.empty_cache()  # pieces that are too small for the next attempt; without CUDA it does nothing


def _sum(losses: Sequence[LossSum]) -> LossSum:
    totals, counts = zip(*losses, strict=True)
    return LossSum(sum_of(totals), sum_of(counts))
