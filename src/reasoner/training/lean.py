"""Which operations of a training step on the CPU are computed in another way, of the same result in less time?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from reasoner.training.config import TrainingConfig
from reasoner.training.dropout import attention, can_attend, can_drop, dropout
from reasoner.training.row_gradients import RowGradients


class LeanStep(TorchFunctionMode):
    """While it is entered, replaces some of PyTorch's functions, in this thread, whatever model or head calls them.

    It must be entered for the forward and the backward pass in one. No module is touched, so nothing is to be restored.
    A gradient is the same as without it; with `fast_dropout` other random numbers are used.
    """

    def __init__(self, *, fast_dropout: bool = True) -> None:
        super().__init__()
        self._rows = RowGradients()
        self._replaced: dict[Any, Callable[..., Any]] = {functional.embedding: self._embedding}
        if fast_dropout:
            self._replaced[functional.dropout] = _dropout
            self._replaced[functional.scaled_dot_product_attention] = _attention

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the replacement of a function, or the function."""
        return self._replaced.get(func, func)(*args, **(kwargs or {}))

    def __exit__(self, *error: Any) -> None:
        """Leave PyTorch as it was."""
        self._rows.release()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _embedding(
        self,
        input: Any,
        weight: Any,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Any:
        if max_norm is None and not scale_grad_by_freq and not sparse and self._rows.can_keep(weight):
            return self._rows.lookup(input, weight, padding_idx)
        return functional.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)


def _dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if training and not inplace and can_drop(input, p) and not _computed_again():
        return dropout(input, p)
    return functional.dropout(input, p, training, inplace)


def _computed_again() -> bool:
    """Return whether this may be computed again in the backward pass, as gradient checkpointing does.

    No mode is on there, so the dropout would be another one. Checkpointing computes without gradient, or with hooks on
    what is saved for the backward pass.
    """
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return not torch.is_grad_enabled() or hooks is not None


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    if can_attend(query, dropout_p, attn_mask, is_causal, enable_gqa) and not _computed_again():
        return attention(query, key, value, attn_mask, dropout_p, scale)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


def lean_step(device: torch.device, config: TrainingConfig) -> AbstractContextManager[object]:
    """Return a `LeanStep`, or where there is none a context that changes nothing."""
    if device.type != "cpu" or config.torch_compile:  # what it replaces cannot be compiled
        return nullcontext()
    return LeanStep(fast_dropout=config.fast_dropout)
