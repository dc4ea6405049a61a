"""Low-rank changes of the layers' linear maps learn, and the head (LoRA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from reasoner.added import add_with_peft, linear_maps
from reasoner.methods.base import Method, is_whole, require
from reasoner.methods.freeze import layers_of
from reasoner.methods.full import Full


@dataclass(frozen=True)
class LoRA(Method):
    """Add to each linear map a product of two narrow matrices, by peft; the head and its pooler learn in full.

    Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685.
    """

    searched = {"rank": [2, 4, 8, 16, 32]}
    rank: int = 8
    """Columns of the one matrix and rows of the other."""
    alpha: float = 16.0
    """The product is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Probability with which an input of the product is dropped."""
    dora: bool = False
    """Learn length and direction of a weight apart (Liu et al., 2024, https://arxiv.org/abs/2402.09353)."""
    rank_stabilized: bool = False
    """Multiply by alpha / sqrt(rank) instead (Kalajdzievski, 2023, https://arxiv.org/abs/2312.03732)."""
    target_modules: tuple[str, ...] | None = None
    """Which maps, by the ends of their names, such as ("query", "value"); None: every one in the layers, which
    Dettmers et al. (2023, https://arxiv.org/abs/2305.14314, figure 2) found to be needed to match full tuning."""

    def __post_init__(self) -> None:
        require(is_whole(self.rank, 1), f"LoRA(rank={self.rank!r}): give an integer of at least 1.")
        require(self.alpha > 0, f"LoRA(alpha={self.alpha!r}): give a number above 0.")
        require(0 <= self.dropout < 1, f"LoRA(dropout={self.dropout!r}): give a number from 0 to below 1.")

    def apply(self, model: Any) -> None:
        """Freeze the backbone, and put the matrices in.

        Raises:
            ConfigError: if peft is not installed, or no such maps are found.
        """
        names = linear_names(model.backbone) if self.target_modules is None else list(self.target_modules)
        add_with_peft(
            model,
            "LoraConfig",
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_dora=self.dora,
            use_rslora=self.rank_stabilized,
            target_modules=names,
        )

    def learning_rate(self, width: int) -> float:
        """Return 10 times the rate of `Full`, at most 2e-3: 3e-4 for a width of 768.

        Biderman et al. (2024, https://arxiv.org/abs/2405.09673, section 6) find the best rates an order of magnitude
        above those of full tuning.
        """
        return min(10 * Full().learning_rate(width), 2e-3)


def linear_names(backbone: nn.Module) -> list[str]:
    """Return the names of the linear maps in a backbone's layers, as they are called in each of them."""
    return sorted({name for layer in layers_of(backbone) for name in linear_maps(layer)})
