"""Learning from rewards or preferences instead of completions: trl trains, rows and results are ours."""

from __future__ import annotations

from reasoner.reinforcement.functions import dpo, grpo

__all__ = ["dpo", "grpo"]
