"""Only the biases and the head learn (BitFit)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasoner.errors import ConfigError
from reasoner.methods.base import Method
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly


@dataclass(frozen=True)
class BitFit(Method):
    """Train the biases of the backbone, those of its norms among them, and the head with the pooler that feeds it.

    Ben Zaken et al. (2022), "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
    Language-models", https://arxiv.org/abs/2106.10199. About 0.1% of BERT's weights.

    Without dropout, unless `dropout` is given: so few weights hardly learn rows by heart, and learn slowly beside the
    noise (benchmarks/RESULTS.md, "Every way to tune").
    """

    model_dropout = 0.0

    def apply(self, model: Any) -> None:
        """Freeze all of the backbone but its biases and its pooler.

        Raises:
            ConfigError: if the backbone has no biases, as Llama and ModernBERT have none.
        """
        HeadOnly().apply(model)
        biases = [bias for name, bias in model.backbone.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not any(not bias.requires_grad for bias in biases):  # those of a pooler alone are no biases of layers
            raise ConfigError(
                f"BitFit trains biases, and {type(model.backbone).__name__} has none. "
                "Take method='lora' or 'adapter', which need none, or method='top-k'."
            )
        for bias in biases:
            bias.requires_grad_(True)

    def learning_rate(self, width: int) -> float:
        """Return 20 times the rate of `Full`, at most 5e-3: 6e-4 for a width of 768.

        Ben Zaken et al. (2022, appendix A) search from 1e-4 to 1e-3 for BERT, and from 1e-5 to 5e-5 for full tuning.
        """
        return min(20 * Full().learning_rate(width), 5e-3)
