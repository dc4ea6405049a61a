"""What does a model learn of text alone: a network that predicts tokens, and batches with tokens to predict?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reasoner.data.batching import Batches
from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.losses import IGNORED, LossSum, cross_entropy
from reasoner.notices import quietly
from reasoner.packing import packed, reason_to_pad, standing_in, worth_packing

MASKED_SHARE = 0.15
"""Of the tokens: those to predict. 80% are masked, 10% replaced by any token, 10% left (Devlin et al., 2019)."""


class LanguageModel(nn.Module):
    """A transformers network with its output layer over the vocabulary, run at the places that are predicted alone.

    The output layer costs as much as a small backbone; of a masked language model it would run for seven places of
    eight in vain.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.packs = network, False

    def pack(self, wanted: bool | None, *, padding_side: str) -> None:
        """Let batches with much padding run without it, where that gives the same; see `TaskModel.pack`."""
        self.packs = wanted is not False and not reason_to_pad(self.eval().network, padding_side=padding_side)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `logits` (places, vocabulary) of the places whose label is not ignored, in their order."""
        from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

        backbone, mask = self.network.base_model, batch.inputs["attention_mask"]
        packs = self.packs and worth_packing(mask.numel(), batch.tokens)
        with packed(backbone, mask, batch.tokens) if packs else nullcontext():
            hidden = backbone(**batch.inputs).last_hidden_state  # (features, length, width)
        seen = hidden[batch.targets["labels"] != IGNORED].unsqueeze(0)  # (1, places, width)
        output = BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=seen)
        with standing_in(backbone, lambda *_, **__: output):
            logits = self.network(input_ids=batch.inputs["input_ids"][:1]).logits
        return {"logits": logits[0]}

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> LossSum:
        """Return the cross-entropy of the tokens to predict, summed, and their number."""
        labels = batch.targets["labels"]
        return cross_entropy(outputs["logits"], labels[labels != IGNORED])


class Masker:
    """Makes a batch of texts one with tokens to predict, drawn anew each time: 80% of them are masked, 10% replaced."""

    def __init__(self, tokenizer: Any) -> None:
        self._mask, self._vocabulary = tokenizer.mask_token_id, len(tokenizer)
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        self._special = torch.tensor(sorted(special))

    def __call__(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Return the batch with `labels` (features, length), ignored where nothing is predicted."""
        ids = batch.inputs["input_ids"]  # (features, length)
        candidates = (batch.inputs["attention_mask"] == 1) & ~torch.isin(ids, self._special.to(ids.device))
        drawn = torch.rand(ids.shape, generator=generator, device=ids.device).masked_fill(~candidates, 2.0)
        chosen = (drawn < MASKED_SHARE) | (drawn == drawn.min())  # one at least
        labels = ids.masked_fill(~(chosen & candidates), IGNORED)
        kind = torch.rand(ids.shape, generator=generator, device=ids.device)
        other = torch.randint(self._vocabulary, ids.shape, generator=generator, device=ids.device)
        shown = torch.where(kind < 0.8, torch.full_like(ids, self._mask), torch.where(kind < 0.9, other, ids))
        inputs = {**batch.inputs, "input_ids": torch.where(labels == IGNORED, ids, shown)}
        return replace(batch, inputs=inputs, targets={"labels": labels})


def with_next(batch: Batch) -> Batch:
    """Return the batch with each token's next one as its label, (features, length)."""
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"] == 1
    labels = torch.full_like(ids, IGNORED)
    labels[:, :-1] = ids[:, 1:].masked_fill(~(mask[:, 1:] & mask[:, :-1]), IGNORED)
    return replace(batch, targets={"labels": labels})


class TokenBatches:
    """Batches of texts with the tokens to predict: masked ones, others in each epoch; or each one's next.

    Args:
        batches: of features without targets.
        masker: None: the next token is predicted.
        seed: of what is masked.
    """

    def __init__(self, batches: Batches, masker: Masker | None, *, seed: int) -> None:
        self.batches, self.masker, self.seed = batches, masker, seed
        self.keep_together = False

    @property
    def epoch(self) -> int:
        """Which epoch comes next."""
        return self.batches.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.batches.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        for batch in self.batches:
            yield with_next(batch) if self.masker is None else self.masker(batch, generator)


class LanguageNetwork(NamedTuple):
    """A checkpoint as a language model."""

    network: Any
    masked: bool
    """Whether it predicts masked tokens; else the next one."""
    is_new: bool
    """Whether its output layer over the vocabulary was made anew: the checkpoint has none."""


def language_network(source: str | Path, config: Any, tokenizer: Any) -> LanguageNetwork:
    """Load a checkpoint with its output layer over the vocabulary, as float32.

    Args:
        source: folder or Hub id.
        config: its own.
        tokenizer: its own.

    Raises:
        ConfigError: if it cannot be loaded so.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForCausalLM, AutoModelForMaskedLM

    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING and tokenizer.mask_token_id is not None
    kind = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    try:
        with quietly():
            network, report = kind.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
    except (OSError, ValueError) as error:
        raise ConfigError(f"The model '{source}' cannot be loaded as a language model: {error}") from error
    prefix = f"{network.base_model_prefix}."
    lost = sorted(name for name in report["missing_keys"] if name.startswith(prefix) and "pooler" not in name)
    if lost:
        raise ConfigError(f"The model '{source}' lacks weights of its backbone, such as {lost[0]}. Choose another.")
    return LanguageNetwork(network, masked, any(not name.startswith(prefix) for name in report["missing_keys"]))
