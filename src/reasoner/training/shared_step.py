"""A step of several ranks: what does this one run of it, and how does it become the step of all?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reasoner.losses import LossSum
from reasoner.training.history import History
from reasoner.training.micro_batches import MicroBatches
from reasoner.training.parts import cut, part_limit, rows_of
from reasoner.training.ranks import Ranks
from reasoner.training.sharding import ShardedModel


class SharedStep:
    """Puts together what the ranks have computed; for one process it changes nothing.

    Args:
        model: what is trained.
        weights: those of its weights that learn.
        ranks: those that train it.
    """

    def __init__(self, model: nn.Module, weights: Sequence[Tensor], ranks: Ranks) -> None:
        self.model, self.weights, self.ranks = model, weights, ranks
        self.sharded = model if isinstance(model, ShardedModel) else None
        self.spare: Any = None
        """A row that a sharded model runs where this rank has none: all must run it as often. It counts nothing."""

    def micro_batches(self, batches: Any, device: torch.device) -> MicroBatches:
        """Return what runs the batches; a sharded model runs them whole, since all ranks must run the same."""
        whole = self.sharded is not None
        compares_rows = getattr(batches, "compares_rows", False)
        limit = None if whole else part_limit(self.model, device, compares_rows=compares_rows)
        return MicroBatches(keep_together=getattr(batches, "keep_together", True), limit=limit, whole=whole)

    def own(self, group: Sequence[Any], batches: Iterable[Any]) -> list[Any]:
        """Return the batches of a step that this rank runs; `batches` are those of the epoch."""
        if self.sharded is None:
            return [batch for batch in group if batch is not None]
        if self.spare is None and None in group:
            batch = next(batch for batch in batches if batch is not None)
            self.spare = cut(batch, rows_of(batch)[0])
        return [self.spare if batch is None else batch for batch in group]

    def summed(self, group: Sequence[Any], losses: Sequence[LossSum], history: History) -> list[LossSum]:
        """Add up over the ranks the gradients, the losses of the batches of `group`, tokens and positions."""
        own = [batch for batch in group if batch is not None]
        tokens = sum(batch.tokens for batch in own), sum(getattr(batch, "positions", 0) for batch in own)
        all_tokens, all_positions = self.ranks.total(*tokens)
        history.tokens += int(all_tokens)
        history.positions += int(all_positions)
        if self.sharded is not None:
            self.sharded.take_gradients()
            return self.ranks.add_losses(losses)
        found, nothing = iter(losses), self.weights[0].new_zeros(())
        self.ranks.add_gradients(self.weights)
        return self.ranks.add_losses([LossSum(nothing, nothing) if batch is None else next(found) for batch in group])

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the norm of the whole gradient."""
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.sharded is None:
            return norm
        (squares,) = self.ranks.add([norm.square()])
        return squares.sqrt()
