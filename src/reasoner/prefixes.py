"""How likely are many continuations for a decoder, when what they share is run once?

Sequences are put into a tree whose nodes are tokens: what several begin with is there once. A tree is one row for the
network. A token sees its ancestors and itself alone, and its position is its depth, so that it gets the hidden state
that it has in each of its sequences (tree attention, as in SpecInfer: Miao et al., 2023,
https://arxiv.org/abs/2305.09781).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from reasoner.losses import IGNORED, at_least_float32

ROW = 256
"""Tokens that a row of trees holds at least: enough for fast products, and few enough for attention to cost little."""
LONGER = 2
"""A row holds as many times the longest sequence: so the solved examples that all begin with are run for several."""
AT_ONCE = 256
"""Places whose logits are normalised at a time."""


class Runs(Protocol):
    """A decoder; see `heads.base.Runs`."""

    @property
    def network(self) -> Any:
        """Transformers' own model."""

    def run(self, inputs: dict[str, Any]) -> Any:
        """Return what the network gives for these arguments."""


class Continuation(NamedTuple):
    """A prompt with what goes on with it."""

    ids: list[int]
    sizes: list[int]
    """-100 in the prompt, and else how many bytes a token adds."""

    @property
    def start(self) -> int:
        """The first token that is scored; at least 1."""
        return next(place for place, size in enumerate(self.sizes) if size != IGNORED)


class Tree:
    """Sequences by what they begin with."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        """Of each node, an earlier one; -1: it has none."""
        self._children: dict[tuple[int, int], int] = {}
        """By parent and token."""

    def add(self, ids: Sequence[int]) -> list[int]:
        """Add a sequence, and return its nodes."""
        path, parent = [], -1
        for token in ids:
            node = self._children.setdefault((parent, token), len(self.tokens))
            if node == len(self.tokens):
                self.tokens.append(token)
                self.parents.append(parent)
            path.append(node)
            parent = node
        return path

    def more(self, sequences: Sequence[Sequence[int]]) -> int:
        """Return how many nodes these sequences would add."""
        new: dict[tuple[int, int], int] = {}
        for ids in sequences:
            parent = -1
            for token in ids:
                known = self._children.get((parent, token))
                parent = new.setdefault((parent, token), -2 - len(new)) if known is None else known
        return len(new)


def shared_sums(model: Runs, rows: Sequence[Continuation], *, device: torch.device) -> Tensor:
    """Return the log-probability of the scored tokens of each sequence, (rows,), on the CPU.

    The last token of a sequence is never run: nothing is read after it.

    Args:
        model: the decoder.
        rows: the sequences.
        device: where it is.
    """
    trees, places = _planted(rows)
    length = max(len(tree.tokens) for tree in trees)
    wanted: dict[int, int] = {}
    pairs: list[tuple[int, int, int]] = []  # of a sequence, its place among the wanted nodes, and what is to follow
    for number, row in enumerate(rows):
        tree, path = places[number]
        for token in range(row.start, len(row.ids)):
            node = tree * length + path[token - 1]
            pairs.append((number, wanted.setdefault(node, len(wanted)), row.ids[token]))
    inputs = {name: value.to(device) for name, value in _inputs(trees, length).items()}
    if model.network.config._attn_implementation == "eager":  # adds the mask to its scores
        seen = inputs["attention_mask"]
        inputs["attention_mask"] = torch.zeros(seen.shape, device=device).masked_fill(~seen, torch.finfo().min)
    nodes = torch.tensor(list(wanted), device=device)
    with _logits_at(model.network, nodes):
        logits = model.run({**inputs, "use_cache": False}).logits[0]  # (nodes, vocabulary)
    sequence, place, following = torch.tensor(pairs, device=device).T
    norms = torch.cat([at_least_float32(part).logsumexp(-1) for part in logits.split(AT_ONCE)])  # (nodes,)
    found = at_least_float32(logits[place, following]) - norms[place]  # (scored tokens,)
    return torch.zeros(len(rows), device=device).index_add(0, sequence, found.float()).cpu()


def log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the log-probability of each token, (places,), by logits of (places, vocabulary)."""
    logits = at_least_float32(logits)
    return logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


def _planted(rows: Sequence[Continuation]) -> tuple[list[Tree], list[tuple[int, list[int]]]]:
    """Return trees of about one size, and for each sequence its tree and its nodes.

    Neighbours that begin alike stay together. They are put where they fit, the largest first.
    """
    groups: list[list[int]] = []
    for number, row in enumerate(rows):
        alike = bool(groups) and rows[groups[-1][0]].ids[: row.start] == row.ids[: row.start]
        groups[-1].append(number) if alike else groups.append([number])
    capacity = max(ROW, LONGER * max(len(row.ids) for row in rows))
    sequences = {group[0]: [rows[number].ids[:-1] for number in group] for group in groups}
    sizes = {group[0]: Tree().more(sequences[group[0]]) for group in groups}
    trees: list[Tree] = []
    places: dict[int, tuple[int, list[int]]] = {}
    for group in sorted(groups, key=lambda group: -sizes[group[0]]):
        own = sequences[group[0]]
        fits = (n for n, tree in enumerate(trees) if len(tree.tokens) + tree.more(own) <= capacity)
        chosen = next(fits, len(trees))
        if chosen == len(trees):
            trees.append(Tree())
        for number in group:
            places[number] = chosen, trees[chosen].add(rows[number].ids[:-1])
    return trees, [places[number] for number in range(len(rows))]


def _inputs(trees: Sequence[Tree], length: int) -> dict[str, Tensor]:
    """Return ids and positions, (trees, length), and what each token sees, (trees, 1, length, length)."""
    ids, depths = np.zeros((2, len(trees), length), np.int64)
    seen = np.tile(np.eye(length, dtype=np.bool_), (len(trees), 1, 1, 1))  # padding sees itself: no row is empty
    for number, tree in enumerate(trees):
        ids[number, : len(tree.tokens)] = tree.tokens
        for node, parent in enumerate(tree.parents):
            if parent >= 0:
                depths[number, node] = depths[number, parent] + 1
                seen[number, 0, node, :node] = seen[number, 0, parent, :node]
    inputs = {"input_ids": ids, "position_ids": depths, "attention_mask": seen}
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


@contextmanager
def _logits_at(network: Any, places: Tensor) -> Iterator[None]:
    """Let the output layer see these places alone, counted over all rows: its logits are (1, places, vocabulary)."""

    def chosen(_: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = arguments[0]  # (rows, length, width)
        return (hidden.flatten(0, 1)[places].unsqueeze(0), *arguments[1:])

    handle = network.get_output_embeddings().register_forward_pre_hook(chosen)
    try:
        yield
    finally:
        handle.remove()
