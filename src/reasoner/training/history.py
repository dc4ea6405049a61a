"""What is kept of a training: its rows, steps, seconds and tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """What happened, as rows, and how training ended."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Each with `step`, `epoch`, `split`; of "train" the mean `loss` since the row before and the `learning_rate`, of
    "validation" the scores; of "average" those of the mean of several evaluations' weights."""
    steps: int = 0
    """Those that were not made (see `rollbacks`) among them."""
    seconds: float = 0.0
    """Inside the training steps alone."""
    evaluation_seconds: list[float] = field(default_factory=list)
    """Of each evaluation during training."""
    tokens: int = 0
    """Seen in training, padding not counted."""
    positions: int = 0
    """Seen in training, padding counted; 0 where batches do not say it."""
    epochs: float = 0.0
    """Passes over the data, with the part of the last one that was made."""
    stopped_early: bool = False
    best_step: int | None = None
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    """Steps whose loss or gradient was not finite, with `on_divergence="halve"`: `step`, the step whose weights were
    taken back (`to_step`), the highest `learning_rate` from there on, and the `rows`."""
