"""How does a decoder write for many rows at once? Prompts are run once, and a row that has ended leaves the batch.

Transformers' own `generate` chooses the tokens. It runs every row until the last one has ended, and copies all keys and
values at each token; both are what is left out here.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteriaList
from transformers.cache_utils import DynamicCache, DynamicLayer

from reasoner.added import cache_name

ROOM = 64
"""Tokens for which keys and values get memory at a time."""
SHARE_ENDED = 8
"""One row of so many has to end before the batch is made smaller: to begin again costs about what a token does."""
KNOWN = {"do_sample", "temperature", "top_k", "top_p", "num_return_sequences", "max_new_tokens", "eos_token_id",
         "pad_token_id", "use_cache"}  # fmt: skip
"""Settings that mean the same when a text is written in several parts; of `min_new_tokens`, say, that is not true."""


class _Roomy(DynamicLayer):
    """Keys and values of a layer, which are not copied for each token that is added."""

    keys: Tensor
    values: Tensor
    _shown: tuple[Tensor | None, Tensor | None] = None, None
    """What `keys` and `values` were made of `_rooms`; they are replaced from outside when rows leave."""
    _rooms: tuple[Tensor, Tensor]
    """(rows, heads, more tokens than there are, width of a head), of which that of values may be another."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add tokens, and return all keys and values."""
        known = self.get_seq_length()
        length = known + key_states.shape[-2]
        if self.keys is not self._shown[0] or self.values is not self._shown[1] or length > self._rooms[0].shape[-2]:
            self._rooms = _room(self.keys, length), _room(self.values, length)
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[..., known:length, :] = states
        self.keys, self.values = (room[..., :length, :] for room in self._rooms)
        self._shown = self.keys, self.values
        return self.keys, self.values


def _room(states: Tensor, length: int) -> Tensor:
    """Return memory for so many tokens and some more, these standing first."""
    rows, heads, known, width = states.shape
    room = states.new_empty(rows, heads, length + ROOM, width)
    room[..., :known, :] = states
    return room


def generate(network: Any, below: Any, inputs: dict[str, Tensor], settings: dict[str, Any]) -> Tensor:
    """Return the tokens that are written behind prompts, or by an encoder-decoder.

    Args:
        network: transformers' model, with its output layer.
        below: what runs it below virtual tokens, by `generate`; None: nothing does.
        inputs: `input_ids` and `attention_mask`, (rows, length), padded on the left.
        settings: of transformers' `GenerationConfig`; what the checkpoint says of it does not count.

    Returns:
        (rows x `num_return_sequences`, new tokens); what stands behind an end token is of no account.
    """
    own = network.generation_config
    network.generation_config = GenerationConfig()  # transformers would fill in from it what is not given here
    try:
        tokens = None if below is not None else _written(network, inputs, settings)
        if tokens is None:
            shown = 1 if network.config.is_encoder_decoder else inputs["input_ids"].shape[1]
            tokens = (below or network).generate(**inputs, generation_config=GenerationConfig(**settings))[:, shown:]
    finally:
        network.generation_config = own
    return tokens


def _written(network: Any, inputs: dict[str, Tensor], settings: dict[str, Any]) -> Tensor | None:
    """Return the tokens that a decoder writes, (texts, new tokens); None where transformers has to do all of it.

    So it has for encoder-decoders, for settings that are not `KNOWN`, and for networks that keep anything but keys and
    values of all tokens.
    """
    texts, most = settings.get("num_return_sequences", 1), settings.get("max_new_tokens", 0)
    length = inputs["input_ids"].shape[1]
    if network.config.is_encoder_decoder or length < 2 or most < 1 or not settings.keys() <= KNOWN:
        return None
    begun = _begun(network, inputs)
    if begun is None:
        return None
    name, cache = begun
    cache.batch_repeat_interleave(texts)
    ids, mask = (inputs[key].repeat_interleave(texts, dim=0) for key in ("input_ids", "attention_mask"))
    ends, padding = settings.get("eos_token_id"), settings.get("pad_token_id") or 0
    ends = torch.tensor([] if ends is None else ends, dtype=torch.long, device=ids.device).flatten()
    tokens = ids.new_full((len(ids), most), padding)
    running, done = torch.arange(len(ids), device=ids.device), 0
    while len(running) and done < most:
        left = {**settings, "num_return_sequences": 1, "max_new_tokens": most - done}
        ids = _part(network, {"input_ids": ids, "attention_mask": mask, name: cache}, left, ends)
        new = ids[:, length + done :]
        tokens[running, done : done + new.shape[1]] = new
        done += new.shape[1]
        kept = (~torch.isin(new, ends).any(1)).nonzero().flatten()
        cache.batch_select_indices(kept)
        ids, mask, running = ids[kept], torch.cat([mask, torch.ones_like(new)], dim=1)[kept], running[kept]
    return tokens[:, :done]


def _begun(network: Any, inputs: dict[str, Tensor]) -> tuple[str, Any] | None:
    """Run prompts but for their last token, and return what their keys and values are called, and those."""
    name = cache_name(network.base_model)
    if name is None:
        return None
    before = {key: value[:, :-1] for key, value in inputs.items()}
    takes = signature(network.forward).parameters
    optional: dict[str, Any] = {}
    if "position_ids" in takes:
        optional["position_ids"] = (before["attention_mask"].cumsum(1) - 1).clamp(min=0)
    if "logits_to_keep" in takes:
        optional["logits_to_keep"] = 1
    cache = getattr(network(**before, **optional, use_cache=True), name, None)
    if not isinstance(cache, DynamicCache) or not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
        return None
    for layer in cache.layers:
        if type(layer) is DynamicLayer:
            layer.__class__ = _Roomy
    return name, cache


def _part(network: Any, inputs: dict[str, Any], settings: dict[str, Any], ends: Tensor) -> Tensor:
    """Let transformers generate until enough rows have ended, and return what was there with what was written."""
    rows, length = inputs["input_ids"].shape
    enough = -(-rows // SHARE_ENDED)

    def stops(ids: Tensor, _: Any, **__: Any) -> Tensor:
        ended = torch.isin(ids[:, length:], ends).any(1).sum()
        return torch.as_tensor(ended >= enough).expand(len(ids))

    tokens: Tensor = network.generate(
        **inputs,
        generation_config=GenerationConfig(**settings),
        stopping_criteria=StoppingCriteriaList([stops]),
    )
    return tokens
