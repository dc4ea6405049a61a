"""How are dropout, and attention with dropout, computed on the CPU in less time than PyTorch takes?

PyTorch draws one number of the Mersenne Twister, and compares it in double precision, for each value that may be
dropped. Here one draw of 64 bits decides over four values. The probability is p to within 2**-17, and the values that
are kept are divided by what was really kept, so that the expectation is exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_STATES = 2**16
"""Of the 16 bits that decide over one value."""
_FLOATS = (torch.float32, torch.float64)
"""In shorter types the factor for the values that are kept would be rounded too much."""


def dropped_states(p: float) -> int:
    """Return how many of the 65,536 states of 16 bits mean that a value is dropped."""
    return round(p * _STATES)


def can_drop(values: Any, p: float) -> bool:
    """Return whether `dropout` can be used; no for p = 0 and p = 1, and next to them."""
    return (
        isinstance(values, Tensor)
        and values.device.type == "cpu"
        and values.dtype in _FLOATS
        and 0 < dropped_states(p) < _STATES
    )


def dropout(values: Tensor, p: float) -> Tensor:
    """Return the values, each 0 with probability p and multiplied by 1 / (1 - p) otherwise (Srivastava et al., 2014).

    Args:
        values: float32 or float64 on the CPU, of any shape; see `can_drop`.
        p: rounded to a multiple of 2**-16, and used so in both places.
    """
    dropped = dropped_states(p)
    bits = torch.empty((values.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: values.numel()] >= dropped - _STATES // 2
    return values * kept.view(values.shape).to(values.dtype).mul_(_STATES / (_STATES - dropped))


def can_attend(query: Any, p: float, mask: Any, is_causal: bool, enable_gqa: bool) -> bool:
    """Return whether `attention` can be used; only with dropout: without it PyTorch has a better way."""
    plain = not is_causal and not enable_gqa and (mask is None or mask.dtype == torch.bool)
    return plain and can_drop(query, p) and not torch.is_autocast_enabled("cpu")


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, scale: float | None) -> Tensor:
    """Return softmax(query key^T scale) value, with dropout of the probabilities (Vaswani et al., 2017).

    As `torch.nn.functional.scaled_dot_product_attention`: a query that may look nowhere gets 0.

    Args:
        query: (..., queries, width).
        key: (..., keys, width).
        value: (..., keys, width of values).
        mask: True where a query may look, of a shape that broadcasts to (..., queries, keys); None: everywhere.
        p: probability that a query does not get to see a key.
        scale: of the products; None: 1 / sqrt(width).
    """
    scores = torch.matmul(query * (query.size(-1) ** -0.5 if scale is None else scale), key.transpose(-1, -2))
    if mask is None:
        return torch.matmul(dropout(torch.softmax(scores, -1), p), value)
    looks = mask.any(-1, keepdim=True)
    # where a query may look nowhere, all its scores stay: a softmax over nothing would be no number
    away = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill_(looks & ~mask, -torch.inf)
    outputs = torch.matmul(dropout(torch.softmax(scores + away, -1), p), value)
    return outputs if looks.all() else outputs.masked_fill(~looks, 0.0)
