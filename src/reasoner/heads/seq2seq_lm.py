"""The next token of a text that an encoder-decoder writes while it reads another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from reasoner.data.features import Batch
from reasoner.heads.causal_lm import CausalLMHead
from reasoner.losses import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Seq2SeqLMHead(CausalLMHead):
    """The architecture's own output layer over the vocabulary, of T5, BART and their kin.

    Outputs: `logits` (batch, written, vocabulary). Targets: `labels` (batch, written), the tokens of a completion, its
    end token too, `-100` behind them: the decoder sees each row's labels one place later, after its start token
    (Sutskever et al., 2014, https://arxiv.org/abs/1409.3215; Raffel et al., 2020, https://arxiv.org/abs/1910.10683,
    section 3.1.1). Arguments and records are those of `CausalLMHead`.
    """

    auto_class = "AutoModelForSeq2SeqLM"

    def __init__(self, config: PreTrainedConfig, *, num_outputs: int, **settings: Any) -> None:
        super().__init__(config, num_outputs=num_outputs, **settings)
        self.start = int(config.decoder_start_token_id)

    def model_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the encoder reads, and what the decoder has written before each label."""
        rows = batch.inputs["input_ids"]
        start = rows.new_full((len(rows), 1), self.start)
        if "labels" not in batch.targets:
            return {**batch.inputs, "decoder_input_ids": start}
        written = batch.targets["labels"][:, :-1]
        written = written.masked_fill(written == IGNORED, self.start)  # behind the last label: nobody looks there
        return {**batch.inputs, "decoder_input_ids": torch.cat([start, written], dim=1)}

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "decoder_start_token_id": self.start}

    def _prompts(self, batch: Batch) -> dict[str, Tensor]:
        return {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}

    def _labels(self, batch: Batch) -> Tensor:
        labels: Tensor = batch.targets["labels"]
        return labels
