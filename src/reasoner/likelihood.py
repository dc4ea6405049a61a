"""How likely are texts to a language model: of a token, a word and a byte?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from reasoner.base_model import model_source
from reasoner.data.batching import Batches, padding_of
from reasoner.data.features import Feature
from reasoner.data.texts import read_texts
from reasoner.errors import ConfigError
from reasoner.language_model import LanguageModel, TextFeatures, language_network, text_features, with_next
from reasoner.losses import IGNORED
from reasoner.metrics.generation import perplexities
from reasoner.model import LONGEST_DEFAULT, length_limit, read_config
from reasoner.networks import check_max_length
from reasoner.preparation import load_tokenizer
from reasoner.training.engine import choose_device

AT_ONCE = 10_000
"""Of texts with one token masked: how many are made at a time."""


def perplexity(
    model: str | Path | None,
    texts: Any,
    *,
    column: str = "text",
    max_length: int | None = None,
    batch_size: int = 32,
    use_cpu: bool = False,
) -> dict[str, float]:
    """Return how likely texts are to a model, in units that compare models of different tokenizers.

    A decoder gives the perplexity of the texts, each token predicted from those before it, the first from the begin (or
    else the end) token. An encoder gives no probability of a text, but the *pseudo-perplexity* of Salazar et al. (2020,
    "Masked Language Model Scoring", https://aclanthology.org/2020.acl-main.240): each token predicted from all others,
    itself alone masked; it takes a pass for each token, and is smaller than a perplexity: compare it with its own kind.

    Args:
        model: a Hub id or a folder; None: the embedded default.
        texts: as for `pretrain`. Longer ones are cut into pieces of `max_length` tokens, each read by itself.
        column: which column holds the texts, where there are columns.
        max_length: at most what the model takes; None: that, or 512.
        batch_size: sequences at a time.
        use_cpu: leave a GPU alone.

    Returns:
        `perplexity` (of a token), `perplexity_per_word` (what stands between white space) and `perplexity_per_byte`
        (UTF-8); of an encoder `pseudo_perplexity`, and so on. And `loss`, the mean nats of a token. End tokens that the
        tokenizer puts behind a text are predicted too.

    Raises:
        ConfigError: if the model is no language model, or has no output layer over the vocabulary.
        DataError: if the texts cannot be read.
    """
    source = model_source(model)
    tokenizer = load_tokenizer(source)
    network, masked, is_new = language_network(source, read_config(source), tokenizer)
    if is_new:
        raise ConfigError(f"perplexity: '{source}' has no output layer over the vocabulary, and predicts no tokens. "
                          "Take another model, or what pretrain wrote.")  # fmt: skip
    limit = length_limit(network, tokenizer)
    check_max_length(max_length, limit)
    longest = max_length or min(limit, LONGEST_DEFAULT)
    read = text_features(tokenizer, read_texts(texts, column, fewest=1, as_is=True), masked=masked, max_length=longest)
    language_model = LanguageModel(network).eval().to(choose_device(use_cpu))
    language_model.pack(None, padding_side=tokenizer.padding_side)
    parts = _one_masked(read, tokenizer.mask_token_id) if masked else iter([read.features])
    nats = sum(_nats(language_model, part, tokenizer, batch_size, masked) for part in parts)
    loss = nats / read.size.tokens
    return {"loss": loss, **perplexities(loss, read.size, "pseudo_perplexity" if masked else "perplexity")}


@torch.inference_mode()
def _nats(model: LanguageModel, features: list[list[Feature]], tokenizer: Any, batch_size: int, masked: bool) -> float:
    """Return the negative log-likelihood of the tokens to predict, summed."""
    device = next(model.parameters()).device
    total = 0.0
    made = Batches(features, batch_size, padding=padding_of(tokenizer), padding_side=tokenizer.padding_side)
    for batch in made:
        placed = (batch if masked else with_next(batch)).to(device)
        total += float(model.loss(model(placed), placed).total.double())
    return total


def _one_masked(read: TextFeatures, mask: int) -> Iterator[list[list[Feature]]]:
    """Yield in parts each window as often as it has tokens of text, another one masked each time."""
    part: list[list[Feature]] = []
    for group in read.windows:
        for window in group:
            ids = window.inputs["input_ids"]
            for place, sequence in enumerate(window.sequence):
                if sequence is not None:
                    shown = [*ids[:place], mask, *ids[place + 1 :]]
                    labels = [IGNORED] * len(ids)
                    labels[place] = ids[place]
                    part.append([Feature({**window.inputs, "input_ids": shown}, token_targets={"labels": labels})])
        if len(part) >= AT_ONCE:
            yield part
            part = []
    if part:
        yield part
