"""What does a model learn of text alone: a network that predicts tokens, and batches with tokens to predict?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reasoner.data.batching import Batches
from reasoner.data.features import Batch, Feature
from reasoner.data.masking import WORDS, Masker, word_numbers
from reasoner.data.windows import Window, tokenize_in_windows
from reasoner.errors import ConfigError
from reasoner.losses import IGNORED, LossSum, cross_entropy
from reasoner.metrics.generation import TextSize, text_size
from reasoner.notices import quietly, say
from reasoner.packing import packed, reason_to_pad, standing_in, worth_packing


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


class TextFeatures(NamedTuple):
    """Texts as a language model reads them."""

    windows: list[list[Window]]
    """Those of each text: pieces that do not overlap."""
    features: list[list[Feature]]
    """One for each window."""
    size: TextSize
    """Of all texts; its tokens are those that are predicted, or may be masked."""


def text_features(
    tokenizer: Any, texts: Sequence[str], *, masked: bool, max_length: int, words: bool = False
) -> TextFeatures:
    """Tokenize texts; long ones are cut into pieces.

    Before a text (and each piece) whose next tokens are predicted stands a begin token, or the end token where there is
    none: so its first token is predicted too, and the text as a whole has a probability.

    Args:
        tokenizer: the model's.
        texts: any.
        masked: tokens are masked; else the next one is predicted.
        max_length: tokens a piece.
        words: say to which word each token belongs; see `word_numbers`.
    """
    begin = [] if masked else _begin(tokenizer)
    windows = tokenize_in_windows(tokenizer, texts, max_length=max_length - len(begin), stride=0)
    features: list[list[Feature]] = []
    tokens = 0
    for text, group in zip(texts, windows, strict=True):
        inputs = [_after(begin, window.inputs) for window in group]
        tokens += sum(len(w.sequence) - w.sequence.count(None) if masked else len(i["input_ids"]) - 1
                      for w, i in zip(group, inputs, strict=True))  # fmt: skip
        targets = [{WORDS: numbers} for numbers in word_numbers(group, text)] if words else [{} for _ in group]
        features.append([Feature(i, token_targets=t) for i, t in zip(inputs, targets, strict=True)])
    return TextFeatures(windows, features, text_size(texts, tokens))


def _begin(tokenizer: Any) -> list[int]:
    """Return the token to put before a text; none if the tokenizer does it."""
    known = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None]
    if tokenizer("a")["input_ids"][:1] in [[token] for token in known]:
        return []
    if not known:
        say("The tokenizer has no begin and no end token, so that the first token of each text is not predicted.")
    return known[:1]


def _after(begin: list[int], inputs: dict[str, list[int]]) -> dict[str, list[int]]:
    values = {"input_ids": begin, "attention_mask": [1] * len(begin), "token_type_ids": [0] * len(begin)}
    return {name: [*values[name], *ids] for name, ids in inputs.items()}


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
