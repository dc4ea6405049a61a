"""Where does a model see its inputs: one vector for each, of the states that its last layer gives or its head reads?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reasoner.data.feature_file import group_sizes
from reasoner.data.features import Batch
from reasoner.heads.base import Outputs
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.training.engine import autocast

Vectors = NDArray[np.float32]


def mean_vectors(predictor: Predictor, examples: Sequence[Any]) -> Vectors:
    """Return the mean of the last hidden states over each example's tokens, (examples, width).

    Args:
        predictor: whose encoder, or decoder, is asked.
        examples: of its task, with gold or without. Of several windows or choices the mean counts.
    """
    return _vectors(predictor, examples, _mean_of)


def head_vectors(predictor: Predictor, examples: Sequence[Any]) -> Vectors:
    """Return what the head's last linear layer reads of each example, (examples, size).

    Where it reads a vector a text, it is that one (the pooled state of most classifiers). Where it reads every token,
    it is that of the last token, if the model says one thing of the whole text, as decoders that classify do; and the
    mean over tokens, if it says something of every token. A head without a linear layer: the mean of the hidden states.

    Args:
        predictor: whose model is asked.
        examples: see `mean_vectors`.
    """
    return _vectors(predictor, examples, _read_by_head)


class _Pass:
    """What was seen in one pass over a batch."""

    def __init__(self) -> None:
        self.hidden: Tensor | None = None
        """(features, length, width), of the backbone."""
        self.read: Tensor | None = None
        """What the last linear layer above the backbone was given."""


def _mean_of(seen: _Pass, batch: Batch, outputs: Outputs) -> Tensor:
    assert seen.hidden is not None
    return _mean(seen.hidden, batch)


def _read_by_head(seen: _Pass, batch: Batch, outputs: Outputs) -> Tensor:
    rows = len(batch.group)
    if seen.read is None or seen.read.shape[0] != rows or seen.read.ndim not in (2, 3):
        return _mean_of(seen, batch, outputs)
    if seen.read.ndim == 2:
        return seen.read
    length = batch.inputs["attention_mask"].shape[1]
    if seen.read.shape[1] < length:  # of words, say
        return seen.read.float().mean(1)
    logits = outputs.get("logits")
    if logits is None or logits.ndim > 2:
        return _mean(seen.read, batch)
    mask = batch.inputs["attention_mask"]
    last = (torch.arange(length, device=mask.device) * mask).argmax(1)  # (features,)
    return seen.read[:, -length:][torch.arange(rows, device=mask.device), last]


def _mean(states: Tensor, batch: Batch) -> Tensor:
    """Return the mean over tokens, (features, width); virtual tokens before a row are no part of it."""
    mask = batch.inputs["attention_mask"].unsqueeze(-1)
    states = states[:, -mask.shape[1] :].float()
    return (states * mask).sum(1) / mask.sum(1)


@torch.inference_mode()
def _vectors(predictor: Predictor, examples: Sequence[Any], reduce: Any) -> Vectors:
    encoded, rows = predictor.encode(examples), []
    predictor.model.eval()
    for part in encoded.parts():
        batches = predictor.batches(part)
        of_feature: list[Any] = [None] * len(batches.lengths)
        for indexes in batches.plan():
            batch = batches.collate(indexes).to(predictor.device)
            with autocast(predictor.device, predictor.bf16), _watched(predictor.model) as seen:
                outputs = predictor.model(batch)
            for index, vector in zip(indexes, reduce(seen, batch, outputs).float().cpu().numpy(), strict=True):
                of_feature[index] = vector
        ends = np.cumsum(group_sizes(part.features))
        rows += [np.mean(of_feature[end - size : end], axis=0)
                 for end, size in zip(ends, group_sizes(part.features), strict=True)]  # fmt: skip
    return np.stack(rows).astype(np.float32)


@contextmanager
def _watched(model: TaskModel) -> Iterator[_Pass]:
    """Note what the backbone gives, and what linear layers above it are given, inside the block."""
    seen, backbone = _Pass(), model.backbone
    inside = {id(module) for module in backbone.modules()}

    def gave(_: nn.Module, __: Any, output: Any) -> None:
        seen.hidden = output.last_hidden_state

    def was_given(_: nn.Module, values: tuple[Any, ...]) -> None:
        seen.read = values[0]

    with ExitStack() as stack:
        stack.callback(backbone.register_forward_hook(gave).remove)
        for module in (*model.network.modules(), *model.head.modules()):
            if isinstance(module, nn.Linear) and id(module) not in inside:
                stack.callback(module.register_forward_pre_hook(was_given).remove)
        yield seen
