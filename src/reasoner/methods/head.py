"""Only the head learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.methods.base import Method, set_trainable


@dataclass(frozen=True)
class HeadOnly(Method):
    """Train the head, and the pooler that feeds it where the architecture has one; the backbone is frozen."""

    def apply(self, model: Any) -> None:
        """Freeze the backbone but its pooler."""
        set_trainable(model, True)
        set_trainable(model.backbone, False)
        pooler = getattr(model.backbone, "pooler", None)
        if pooler is not None:
            set_trainable(pooler, True)

    def learning_rate(self, width: int) -> float:
        """Return 1e-3 whatever the width: little is trained, and from random weights."""
        return 1e-3
