"""How does a network compute nothing for padding? All tokens of a batch stand in one row; each attends within its own.

Krell et al. (2021), "Efficient Sequence Packing without Cross-contamination"; for ModernBERT, Warner et al. (2024),
"Smarter, Better, Faster, Longer", section 2.1.2. Embeddings, linear layers, norms and dropout see the tokens alone.
Attention is told the rows by its mask: one of (rows, 1, 1, length) beside queries of one row says where they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

ATTENTION = "reasoner_packed"
"""The name of our attention in transformers' AttentionInterface; it is never written into a config.json."""
LEAST_PADDING = 0.05
"""Share of a batch's positions that must be padding: moving tokens about costs what leaving less out would save."""
LAYER_TYPES = {"full_attention", "sliding_attention"}
"""What a config may call its layers: others mix tokens in ways that a mask does not tell of."""
CLOSE, CLOSE_IN_HALF = 1e-4, 5e-2
"""How near hidden states (of the order of 1) are to those of padding, in float32 and in bfloat16."""


# --- a backbone that runs on packed tokens ---------------------------------------------------------------------------


def worth_packing(positions: int, tokens: int) -> bool:
    """Return whether so much of a batch is padding that it pays to leave it out."""
    return positions - tokens > LEAST_PADDING * positions


@contextmanager
def packed(backbone: Any, mask: Tensor, tokens: int, *, span: tuple[int, int] | None = None) -> Iterator[None]:
    """Let the backbone, inside the block, run on the tokens alone; what it gives is padded again, with zeros.

    A call with another mask, or with more than ids, mask and token types, runs as it would outside the block.

    Args:
        backbone: of a network for which `reason_to_pad` found none.
        mask: (rows, length), 1 where a token stands.
        tokens: how many do; known without asking the device.
        span: between which positions they stand, if that is known too: attention costs nothing elsewhere.
    """
    own, names = backbone.forward, list(signature(backbone.forward).parameters)

    def forward(*values: Any, **named: Any) -> Any:
        inputs = dict(zip(names, values, strict=False)) | named
        if not _is_plain(backbone.config, inputs) or not _same_memory(inputs["attention_mask"], mask):
            return own(**inputs)
        rows, length = inputs["attention_mask"].shape
        places = _places(mask, tokens)
        inputs["position_ids"] = _positions(backbone, inputs["input_ids"])
        for name in ("input_ids", "token_type_ids", "position_ids"):
            if inputs.get(name) is not None:
                inputs[name] = inputs[name].flatten()[places].unsqueeze(0)  # (1, tokens)
        inputs["attention_mask"] = mask[:, slice(*span or (None,))].bool()[:, None, None, :]
        hidden = own(**inputs).last_hidden_state  # (1, tokens, width)
        return output_of(backbone, _spread(hidden[0], places, rows * length).view(rows, length, -1))

    with standing_in(backbone, forward):
        yield


def output_of(backbone: nn.Module, hidden: Tensor) -> Any:
    """Return what the backbone gives with these last hidden states, (rows, length, width)."""
    from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions, BaseModelOutputWithPooling

    pooler = pooler_of(backbone)
    if pooler is None:  # GPT-2's output layer asks for cross-attentions too
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden)
    return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooler(hidden))


def pooler_of(backbone: nn.Module) -> nn.Module | None:
    """Return what the backbone runs on its last hidden states, if it does."""
    return getattr(backbone, "pooler", None)


@contextmanager
def standing_in(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let `forward` stand before the one of the module's class inside the block."""
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        del vars(module)["forward"]


def _is_plain(config: Any, inputs: dict[str, Any]) -> bool:
    """Whether a call has ids and mask of rows and asks for the last hidden states alone."""
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if ids is None or mask is None or mask.ndim != 2 or ids.shape != mask.shape or len(ids) == 1:
        return False
    if config.output_hidden_states or config.output_attentions:
        return False
    others = inputs.keys() - {"input_ids", "attention_mask", "token_type_ids", "return_dict"}
    return inputs.get("return_dict") is not False and not any(inputs[name] is not None for name in others)


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and one.data_ptr() == other.data_ptr()


def _positions(backbone: nn.Module, ids: Tensor) -> Tensor:
    """Return each token's position, (rows, length), as the backbone itself counts it: padding on the left counts.

    RoBERTa and its kin count tokens from the padding index on, which their table of positions knows.
    """
    for name, module in backbone.named_modules():
        index = getattr(module, "padding_idx", None) if name.endswith("position_embeddings") else None
        if index is not None:
            real = (ids != index).long()
            counted: Tensor = real.cumsum(1) * real + index
            return counted
    return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)


def _places(mask: Tensor, tokens: int) -> Tensor:
    """Return where the tokens stand among all positions, (tokens,), without waiting for the device."""
    places: Tensor = mask.flatten().nonzero_static(size=tokens).squeeze(1)
    return places


def _spread(values: Tensor, places: Tensor, number: int) -> Tensor:
    """Return (number, ...), the values at their places and zeros between."""
    return values.new_zeros(number, *values.shape[1:]).index_copy(0, places, values)


# --- attention within rows -------------------------------------------------------------------------------------------


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attend within rows where the tokens are packed, and as transformers' "sdpa" does everywhere else.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, width of a head); key and value may have fewer heads.
        key: see there.
        value: see there.
        attention_mask: (rows, 1, 1, length), true where a token stands.
        settings: `dropout`, `scaling`, `sliding_window` and others of the interface.

    Returns:
        (1, tokens, heads, width of a head), and no attention weights.
    """
    if attention_mask is None or not len(query) == 1 < len(attention_mask):
        return _sdpa()(module, query, key, value, attention_mask, **settings)
    causal = settings.pop("is_causal", None)
    causal = getattr(module, "is_causal", True) if causal is None else causal
    parts = [part[0].transpose(0, 1) for part in (query, key, value)]  # (tokens, heads, width of a head)
    if _has_kernel(query, settings):
        return _attend_at_any_length(parts, attention_mask, causal, settings).unsqueeze(0), None
    return _attend_padded(module, parts, attention_mask, causal, settings).unsqueeze(0), None


def _attend_padded(
    module: nn.Module, parts: list[Tensor], mask: Tensor, causal: bool, settings: dict[str, Any]
) -> Tensor:
    """Attend with the padding put back and taken out again: what remains where no kernel takes rows of any length."""
    rows, length = len(mask), mask.shape[-1]
    places = _places(mask, len(parts[0]))
    padded = (_spread(part, places, rows * length).view(rows, length, *part.shape[1:]) for part in parts)
    query, key, value = (part.transpose(1, 2) for part in padded)  # (rows, heads, length, width of a head)
    seen = _seen(mask, causal, settings.get("sliding_window"))
    output, _ = _sdpa()(module, query, key, value, seen, **settings)  # (rows, length, heads, width of a head)
    return output.flatten(0, 1).index_select(0, places)


def _has_kernel(query: Tensor, settings: dict[str, Any]) -> bool:
    """Whether PyTorch (2.13) has attention over rows of any length: on CUDA, in half precision, without dropout."""
    return query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and not settings.get("dropout")


def _attend_at_any_length(parts: list[Tensor], mask: Tensor, causal: bool, settings: dict[str, Any]) -> Tensor:
    """Attend without padding, by flash attention over rows of any length (Dao, 2023, "FlashAttention-2")."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = parts  # each (tokens, heads, width of a head)
    window = (settings.get("sliding_window") or 0) - 1  # transformers counts the token itself; -1: no limit
    ends = pad(mask.flatten(1).sum(1).cumsum(0, dtype=torch.int32), (1, 0))  # (rows + 1,)
    longest = mask.shape[-1]
    return varlen_attn(  # type: ignore[return-value]  # without return_aux it is one tensor
        *(query, key, value, ends, ends, longest, longest),
        scale=settings.get("scaling"),
        window_size=(window, 0 if causal else window),
        enable_gqa=key.shape[1] != query.shape[1],
    )


def _seen(mask: Tensor, causal: bool, window: int | None) -> Tensor:
    """Return which keys each query sees: (rows, 1, 1 or length, length)."""
    place = torch.arange(mask.shape[-1], device=mask.device)
    back = place[:, None] - place  # (length, length): how far before the query a key stands
    if causal:
        mask = mask & (back >= 0)
    if window:
        mask = mask & (back.abs() < window)
    return mask


def _sdpa() -> Callable[..., tuple[Tensor, None]]:
    from transformers import AttentionInterface

    function: Callable[..., tuple[Tensor, None]] = AttentionInterface()["sdpa"]
    return function


# --- which networks can be packed ------------------------------------------------------------------------------------


def reason_to_pad(network: Any, *, padding_side: str = "right") -> str:
    """Give a network in eval mode the attention that packing needs, or return why it has to run padded.

    Whatever its kind promises, two rows are run both ways: only equal hidden states count.

    Args:
        network: the backbone, or a model that has one.
        padding_side: where its tokenizer pads: "right" or "left".
    """
    config = network.config
    reason = _reason_by_kind(network.base_model, padding_side)
    if reason:
        return reason
    _register()
    try:
        for half in (False, True) if network.device.type == "cuda" else (False,):
            network.set_attn_implementation("sdpa")
            padded = _trial(network, half, False)
            network.set_attn_implementation(ATTENTION)
            if config._attn_implementation != ATTENTION:
                return "its attention cannot be replaced"
            tolerance = CLOSE_IN_HALF if half else CLOSE
            if not torch.allclose(padded, _trial(network, half, True), rtol=tolerance, atol=tolerance):
                reason = "packed rows give it other hidden states than padded ones"
    except Exception as error:  # whatever an unknown network does with tokens of several rows
        reason = f"it does not run on packed rows ({type(error).__name__}: {error})"
    if reason:
        network.set_attn_implementation("sdpa")
    return reason


def _reason_by_kind(backbone: Any, padding_side: str) -> str:
    config = backbone.config
    causal = any(getattr(module, "is_causal", False) for module in backbone.modules())
    if padding_side == "left" and not causal:
        return "rows are padded on the left, and heads read the first position even where it is padding"
    if config.is_encoder_decoder:
        return "it has an encoder and a decoder"
    if config._attn_implementation not in ("sdpa", ATTENTION):
        return f"its attention is '{config._attn_implementation}', and packing takes the place of 'sdpa'"
    if "position_ids" not in signature(backbone.forward).parameters:
        return "it takes no position_ids"
    unknown = set(getattr(config, "layer_types", None) or ()) - LAYER_TYPES
    return f"it has layers of the type '{min(unknown)}'" if unknown else ""


def _register() -> None:
    """Tell transformers of our attention by name; nothing changes for models that do not ask for it."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, AttentionMaskInterface()["sdpa"])


@torch.no_grad()
def _trial(network: Any, half: bool, pack: bool) -> Tensor:
    """Return the hidden states, (tokens, width), of two rows: three tokens, and more than an attention window holds."""
    config, backbone, device = network.config, network.base_model, network.device
    window, limit = (getattr(config, name, None) for name in ("sliding_window", "max_position_embeddings"))
    length = min(2 * (window or 4) + 3, (limit or 512) - 2)
    ids = torch.arange(2 * length, device=device).view(2, length) % (config.vocab_size // 2) + config.vocab_size // 4
    mask = torch.ones_like(ids)
    mask[0, 3:] = 0
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        inputs = {"input_ids": ids, "attention_mask": mask}
        if pack:
            with packed(backbone, mask, 3 + length):
                states = backbone(**inputs).last_hidden_state
        else:
            states = backbone(**inputs).last_hidden_state
    kept: Tensor = states[mask.bool()].float()
    return kept
