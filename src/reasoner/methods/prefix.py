"""Keys and values before every row learn, in each layer, and the head (prefix tuning)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.added import add_with_peft, cache_name
from reasoner.methods.base import Method, is_whole, require


@dataclass(frozen=True)
class Prefix(Method):
    """Let every layer attend to learned keys and values of some virtual tokens, by peft, without a reparametrisation.

    Li and Liang (2021), "Prefix-Tuning", https://arxiv.org/abs/2101.00190; for classification and tagging Liu et al.
    (2022), "P-Tuning v2", https://arxiv.org/abs/2110.07602. Only for architectures that take past keys and values:
    BERT, RoBERTa, XLM-R, ELECTRA and decoders.
    """

    searched = {"virtual_tokens": [5, 10, 20, 50]}
    virtual_tokens: int = 20
    """How many; so many tokens less are left for a text."""

    def __post_init__(self) -> None:
        require(
            is_whole(self.virtual_tokens, 1),
            f"Prefix(virtual_tokens={self.virtual_tokens!r}): give an integer of at least 1.",
        )

    @property
    def reserved_positions(self) -> int:
        """The virtual tokens."""
        return self.virtual_tokens

    def apply(self, model: Any) -> None:
        """Freeze the backbone, and make keys and values.

        Raises:
            ConfigError: if peft is not installed, or the architecture takes no past keys and values.
        """
        config = model.network.config
        require(
            cache_name(model.backbone) is not None,
            f"Prefix needs an architecture that takes past keys and values, and {type(model.backbone).__name__} does "
            "not. Take method='prompt' or 'lora'.",
        )
        add_with_peft(
            model,
            "PrefixTuningConfig",
            num_virtual_tokens=self.virtual_tokens,
            token_dim=config.hidden_size,
            num_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
        )

    def learning_rate(self, width: int) -> float:
        """Return 5e-3 whatever the width: Liu et al. (2022, appendix B) choose from 5e-3 to 1e-2 for most tasks."""
        return 5e-3
