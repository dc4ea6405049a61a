"""With which training labels did training itself disagree, and what does a person see of those rows?"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reasoner.data.feature_file import group_sizes
from reasoner.data.features import Feature
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.losses import IGNORED
from reasoner.reports.layout import clean, clipped
from reasoner.training.callbacks import Callback
from reasoner.training.ranks import current
from reasoner.training.trainer import Trainer

CONTEXT_WORDS = 8
"""Words shown on each side of a word in question."""
SHOWN_LINES = 2
"""Of each text, in the list."""

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


class Seen(NamedTuple):
    """What one epoch said of each label that it met, in the order of `key`."""

    key: Ints
    """Which label: the feature's number, and which of the feature's labels it is."""
    gold: Ints
    probability: Floats
    other: Ints
    other_probability: Floats


@dataclass(frozen=True)
class LabelRecord:
    """What training said of each row's label; where a row has several (NER), of the one it disagreed with most.

    Arrays are (epochs, rows); NaN and -1 where a row was not seen in an epoch.
    """

    examples: Sequence[Any]
    labels: Sequence[str]
    """Names by number."""
    head: str
    """Name of the head's class."""
    gold: Ints  # (rows,)
    word: Ints  # (rows,) the word that has the label, -1: the row as a whole
    probability: Floats
    """Of the gold."""
    other: Ints
    """The most probable other label."""
    other_probability: Floats

    @property
    def margin(self) -> Floats:  # (rows,)
        """The area under the margin: the mean over epochs of log(gold probability / highest other probability).

        The lowest are reviewed first (Pleiss et al., 2020, https://arxiv.org/abs/2001.10528). A row that was met before
        the model knew anything has a margin near 0, and so is not suspected for that. NaN: never seen.
        """
        return _mean_margin(self.probability, self.other_probability)

    def review(self, n: int = 50) -> Review:
        """Return the `n` rows whose labels training disagreed with most, the worst first.

        Raises:
            ConfigError: if `n` is below 1, or nothing was recorded.
        """
        if n < 1:
            raise ConfigError(f"n is {n}; a review needs at least 1 row.")
        if not len(self.probability):
            raise ConfigError(f"There are no labels to doubt: the head {self.head} gives no gold_probabilities "
                              "(one label a text, or one a word, has them).")  # fmt: skip
        margin = self.margin
        seen = int(np.isfinite(margin).sum())
        worst = np.argsort(margin, kind="stable")[: min(n, seen)]  # NaN comes last
        return Review([self._entry(row, float(margin[row])) for row in worst.tolist()], rows=len(margin), seen=seen)

    def _entry(self, row: int, margin: float) -> dict[str, Any]:
        example, probability = self.examples[row], self.probability[:, row]
        other, other_probability = self._favourite(row)
        entry: dict[str, Any] = {"where": example.where, "row": row, "texts": dict(example.texts)}
        if (word := int(self.word[row])) >= 0:
            first = max(0, word - CONTEXT_WORDS)
            entry |= {"word": example.tokens[word], "word_index": word,
                      "context": " ".join(example.tokens[first : word + CONTEXT_WORDS + 1])}  # fmt: skip
        return entry | {
            "label": self.labels[int(self.gold[row])],
            "other_label": self.labels[other],
            "other_probability": other_probability,
            "confidence": float(np.nanmean(probability)),
            "variability": float(np.nanstd(probability)),
            "margin": margin,
        }

    def _favourite(self, row: int) -> tuple[int, float]:
        """Return the label that the epochs together held most probable beside the gold, and its mean probability."""
        seen = self.other[:, row] >= 0
        others, probabilities = self.other[seen, row], self.other_probability[seen, row]
        sums = {int(label): float(probabilities[others == label].sum()) for label in others.tolist()}
        best = max(sums, key=sums.__getitem__)
        return best, sums[best] / len(others)


class LabelRecorder(Callback):
    """Keeps, of each training batch, how probable the gold was: the forward pass of training itself, so it is free.

    Args:
        data: the training split.
        labels: label names by number.
    """

    def __init__(self, data: Encoded, labels: Sequence[str]) -> None:
        self.data, self.labels, self.head = data, labels, ""
        self._epochs: list[Seen] = []
        self._waiting: list[tuple[list[int], Tensor]] = []  # on the model's device: reading it would make it wait
        self._parts: list[Seen] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        """Forget an earlier training."""
        self.head = type(trainer.model.head).__name__
        self._epochs, self._waiting, self._parts = [], [], []

    def on_batch(self, trainer: Trainer, batch: Any, outputs: Any) -> None:
        """Keep four numbers a label."""
        found = trainer.model.head.gold_probabilities(outputs, batch)  # type: ignore[operator,union-attr]
        if found is not None:
            self._waiting.append((batch.feature_index, torch.stack([part.detach().float() for part in found])))

    def on_log(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Bring to the CPU what has waited."""
        self._read()

    def _read(self) -> None:
        self._parts += [_seen(indexes, numbers.cpu().numpy()) for indexes, numbers in self._waiting]
        self._waiting = []

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Close the epoch."""
        self._read()
        if self._parts:
            self._epochs.append(_joined(self._parts))
        self._parts = []

    def on_train_end(self, trainer: Trainer) -> None:
        """Close an epoch that was broken off."""
        self.on_epoch_end(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept, those of the epoch that runs apart."""
        self._read()
        return {"epochs": [_tensors(epoch) for epoch in self._epochs], "parts": [_tensors(_joined(self._parts))]
                if self._parts else []}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self._epochs, self._parts = ([Seen(*(column.numpy() for column in part)) for part in state[name]]
                                     for name in ("epochs", "parts"))  # fmt: skip

    def record(self) -> LabelRecord:
        """Return what was kept, each row's windows and words reduced to the label that was disagreed with most."""
        epochs = [_joined(epoch) for epoch in zip(*current().gather(self._epochs), strict=True)]
        keys = np.unique(np.concatenate([epoch.key for epoch in epochs] or [np.zeros(0, np.int64)]))
        whole = [epoch for epoch in epochs if len(epoch.key) == len(keys)]
        # An epoch that was broken off would favour the rows that it met: it counts only where there is no whole one.
        gold, probability, other, other_probability = _aligned(whole or epochs, keys)
        sizes = group_sizes(self.data.features)
        example_of, first = np.repeat(np.arange(len(sizes)), sizes), sizes.cumsum() - sizes
        row_of = example_of[keys >> 32]  # (labels,)
        margin = _mean_margin(probability, other_probability)  # (labels,)
        worst_first = np.lexsort((margin, row_of))
        rows, places = np.unique(row_of[worst_first], return_index=True)
        worst = worst_first[places]  # (rows that were seen,): where their worst label stands in `keys`
        words = [
            _word(self.data.features[row][(key >> 32) - first[row]], key & 0xFFFFFFFF)
            for row, key in zip(rows.tolist(), keys[worst].tolist(), strict=True)
        ]

        def by_row(values: NDArray[Any], missing: float) -> NDArray[Any]:  # (..., rows)
            spread = np.full((*values.shape[:-1], len(self.data.examples)), missing, values.dtype)
            spread[..., rows] = values
            return spread

        return LabelRecord(
            examples=self.data.examples,
            labels=tuple(self.labels),
            head=self.head,
            gold=by_row(gold.max(0)[worst] if len(gold) else np.zeros(0, int), -1),
            word=by_row(np.array(words, int), -1),
            probability=by_row(probability[:, worst], np.nan),
            other=by_row(other[:, worst], -1),
            other_probability=by_row(other_probability[:, worst], np.nan),
        )


class Review(Sequence[dict[str, Any]]):
    """A list of rows for a person to look at, the most doubtful first. Printing it, or a notebook, shows them.

    Each is a dict: `where`, `row` (its number in training, from 0) and `texts`; `label` (the gold) and `other_label`
    (what training would rather have said) with its `other_probability`; `confidence` and `variability`, mean and
    standard deviation over epochs of the gold's probability (Swayamdipta et al., 2020,
    https://aclanthology.org/2020.emnlp-main.746); and `margin`, what they are ranked by. Where each word has a label
    also `word`, `word_index` and `context`.
    """

    def __init__(self, entries: Sequence[dict[str, Any]], *, rows: int, seen: int) -> None:
        self.entries, self.rows, self.seen = list(entries), rows, seen

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return an entry, or a list of them."""
        return self.entries[index]

    def to_jsonl(self, path: str | Path) -> None:
        """Write each entry as a line of JSON."""
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.entries]
        Path(path).write_text("".join(lines), encoding="utf-8")

    def __repr__(self) -> str:
        width = len(str(len(self)))
        blocks = ["\n".join([self._title(), "=" * len(self._title())])]
        for number, entry in enumerate(self.entries, start=1):
            lines = [f"{entry['where']}: {_verdict(entry)}", _figures(entry), *_shown_texts(entry)]
            indent = " " * (width + 2)
            block = "\n".join(line for text in lines for line in _wrapped(text, 80 - len(indent)))
            blocks.append(f"{number:>{width}}. " + textwrap.indent(block, indent)[len(indent) :])
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        style = "text-align: left; vertical-align: top; padding: 2px 12px 2px 0"
        head = ("", "where", "label", "training says", "confidence", "variability", "text")
        rows = []
        for number, entry in enumerate(self.entries, start=1):
            says = f"{entry['other_label']} ({entry['other_probability']:.2f})"
            label = f"{entry['word']}: {entry['label']}" if "word" in entry else entry["label"]
            figures = (f"{entry['confidence']:.2f}", f"{entry['variability']:.2f}")
            rows.append((str(number), entry["where"], label, says, *figures, "\n".join(_shown_texts(entry))))
        lines = ("".join(f'<td style="{style}">{escape(cell)}</td>' for cell in row) for row in (head, *rows))
        table = "".join(f"<tr>{line}</tr>" for line in lines).replace("\n", "<br>")
        return f"<div><b>{escape(self._title())}</b><table>{table}</table></div>"

    def _title(self) -> str:
        never = self.rows - self.seen
        return (f"Labels to review: {len(self):,} of {self.rows:,} training rows, the most doubtful first"
                + (f" ({never:,} rows were never seen)" if never else ""))  # fmt: skip


def _verdict(entry: dict[str, Any]) -> str:
    word = f"'{clean(entry['word'])}' " if "word" in entry else ""
    says = f"training says {entry['other_label']} ({entry['other_probability']:.2f})"
    return f"{word}is labelled {entry['label']}; {says}"


def _figures(entry: dict[str, Any]) -> str:
    return f"confidence {entry['confidence']:.2f}, variability {entry['variability']:.2f}"


def _shown_texts(entry: dict[str, Any]) -> list[str]:
    texts = {"text": entry["context"]} if "context" in entry else entry["texts"]
    return [f"{name}: {clean(text)}" for name, text in texts.items()]


def _wrapped(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, subsequent_indent="  ", max_lines=SHOWN_LINES, placeholder=" …")
    return [clipped(line, width) for line in lines]


def _seen(indexes: list[int], numbers: NDArray[np.float32]) -> Seen:
    """Flatten a batch's numbers, (4, features) or (4, features, length), to its labels."""
    numbers = numbers.reshape(4, len(indexes), -1)
    given = numbers[0] != IGNORED  # (features, length)
    ordinal = given.cumsum(1) - 1  # not the position, which padding on the left would move
    key = (np.array(indexes, np.int64)[:, None] << 32) + ordinal
    gold, probability, other, other_probability = numbers[:, given]
    return Seen(key[given], gold.astype(np.int32), probability, other.astype(np.int32), other_probability)


def _joined(parts: Sequence[Seen]) -> Seen:
    return Seen(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _tensors(seen: Seen) -> list[Tensor]:
    return [torch.from_numpy(column) for column in seen]


def _aligned(epochs: Sequence[Seen], keys: Ints) -> tuple[Ints, Floats, Ints, Floats]:
    """Return gold, probability, other label and its probability of the labels in `keys`, each (epochs, labels)."""
    shape = (len(epochs), len(keys))
    gold, other = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    probability, other_probability = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    for number, epoch in enumerate(epochs):
        finite = np.isfinite(epoch.probability)  # a step whose loss was NaN says nothing
        places = np.searchsorted(keys, epoch.key)
        gold[number, places] = epoch.gold
        places = places[finite]
        probability[number, places], other[number, places] = epoch.probability[finite], epoch.other[finite]
        other_probability[number, places] = epoch.other_probability[finite]
    return gold, probability, other, other_probability


def _mean_margin(probability: Floats, other: Floats) -> Floats:
    """Return the mean over epochs of the log ratio, NaN where there is none; (epochs, labels) -> (labels,).

    An epoch weighs as much as its number: what the first says is hardly about the row. In NER it finds every entity
    doubtful. Of wrong labels planted in WNUT-17 two epochs then have 55% and not 52% within the first 5% of the list,
    four have 66% and not 65%; on SNLI it makes no difference.
    """
    smallest = np.finfo(np.float32).tiny  # float32 rounds what is less likely to 0
    margin = np.log(np.maximum(probability, smallest)) - np.log(np.maximum(other, smallest))
    weight = np.arange(1, len(margin) + 1)[:, None] * np.isfinite(margin)
    total = weight.sum(0)
    summed = (weight * np.nan_to_num(margin)).sum(0)
    result: Floats = np.where(total > 0, summed / np.maximum(total, 1), np.nan)
    return result


def _word(feature: Feature, ordinal: int) -> int:
    """Return which word a feature's label number `ordinal` belongs to; -1 where the label is the whole row's."""
    if "labels" not in feature.token_targets:
        return -1
    tokens = [token for token, label in enumerate(feature.token_targets["labels"]) if label != IGNORED]
    return next((owned.word for owned in feature.info or () if owned.token == tokens[ordinal]), -1)
