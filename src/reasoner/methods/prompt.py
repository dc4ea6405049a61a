"""Embeddings of virtual tokens before every row learn, and the head (prompt tuning)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.added import add_with_peft
from reasoner.methods.base import Method, is_whole, require


@dataclass(frozen=True)
class Prompt(Method):
    """Put learned embeddings of some virtual tokens before every text, by peft; the head and its pooler learn in full.

    Lester et al. (2021), "The Power of Scale for Parameter-Efficient Prompt Tuning", https://arxiv.org/abs/2104.08691.
    An encoder that classifies texts reads the first position, as it always does: here that of a virtual token.
    """

    searched = {"virtual_tokens": [5, 10, 20, 50]}
    virtual_tokens: int = 20
    """How many; so many tokens less are left for a text."""

    def __post_init__(self) -> None:
        require(
            is_whole(self.virtual_tokens, 1),
            f"Prompt(virtual_tokens={self.virtual_tokens!r}): give an integer of at least 1.",
        )

    @property
    def reserved_positions(self) -> int:
        """The virtual tokens."""
        return self.virtual_tokens

    def apply(self, model: Any) -> None:
        """Freeze the backbone, and make the embeddings.

        Raises:
            ConfigError: if peft is not installed.
        """
        config = model.network.config
        add_with_peft(
            model,
            "PromptTuningConfig",
            num_virtual_tokens=self.virtual_tokens,
            token_dim=model.network.get_input_embeddings().embedding_dim,  # ELECTRA's is not the hidden width
            num_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
        )

    def learning_rate(self, width: int) -> float:
        """Return 5e-3 whatever the width.

        Lester et al. (2021) take 0.3 with Adafactor, for the embeddings alone. A head that learns beside them needs
        less: this is the lower end of what Liu et al. (2022, https://arxiv.org/abs/2110.07602) search for AdamW.
        """
        return 5e-3
