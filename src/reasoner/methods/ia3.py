"""Factors of keys, values and feed-forward activations learn, and the head (IA3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from reasoner.added import add_with_peft, linear_maps
from reasoner.errors import ConfigError
from reasoner.methods.base import Method
from reasoner.methods.freeze import layers_of

_KEYS_AND_VALUES = re.compile(r"(key|value|key_proj|value_proj|[kv]_(proj|lin)|qkv_proj|Wqkv|query_key_value|c_attn)$")


@dataclass(frozen=True)
class IA3(Method):
    """Multiply keys, values and what goes into the last feed-forward map by learned vectors, by peft.

    Liu et al. (2022), "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
    https://arxiv.org/abs/2205.05638. Where one map gives queries, keys and values (GPT-2, ModernBERT), all three are
    multiplied, as peft does. The head and its pooler learn in full.
    """

    def apply(self, model: Any) -> None:
        """Freeze the backbone, and put the vectors in.

        Raises:
            ConfigError: if peft is not installed, or the maps are not found.
        """
        layer = layers_of(model.backbone)[0]
        maps = linear_maps(layer)
        attention = [name for name in maps if _KEYS_AND_VALUES.search(name)]
        others = [name for name in maps if "att" not in name.lower()]
        if not attention or not others:
            raise ConfigError(
                f"IA3 finds no keys and values, or no feed-forward, in {type(layer).__name__}. Take method='lora'."
            )
        feed_forward = others[-1:]
        add_with_peft(model, "IA3Config", target_modules=[*attention, *feed_forward], feedforward_modules=feed_forward)
        for name, weight in model.network.named_parameters():
            if "ia3_l" in name:
                weight.no_decay = True  # to 0, that is: a factor that does nothing is 1

    def learning_rate(self, width: int) -> float:
        """Return 3e-3 whatever the width, the rate of Liu et al. (2022, section 3.5)."""
        return 3e-3
