"""An edited copy beside each row of a batch, another one each time: so that both are told the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reasoner.data.feature_file import group_sizes
from reasoner.data.features import Batch, EncodedRow, Feature
from reasoner.data.streams import StreamedRows
from reasoner.edits.catalog import chosen
from reasoner.edits.rows import edited_row, entity_names, read_otherwise, refuse_rows
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.losses import IGNORED
from reasoner.notices import say
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig


def with_copies(predictor: Predictor, rows: Encoded, config: TrainingConfig) -> Encoded:
    """Return the training rows with what makes edited copies of a batch of them, for `consistency`.

    Raises:
        ConfigError: if an edit is unknown, the rows are a stream, none has a text that can be edited, or outputs for a
            row and for its copy cannot be compared.
    """
    task, head = predictor.task, predictor.model.head
    if isinstance(rows.examples, StreamedRows):
        raise ConfigError("consistency takes rows of memory, and train is a stream. Leave it out.")
    refuse_rows("consistency", task, rows.examples)
    nowhere = head.outputs_at == "tokens" and type(task).counterparts is Task.counterparts
    if nowhere or head.outputs_at is None:
        raise ConfigError(
            f"consistency: of what {type(head).__name__} gives for a row of {type(task).__name__} and for an edited "
            "copy, nobody knows what to compare. Leave it out, or take augmentation=1, which asks for no comparison."
        )
    copies = _Copies(predictor, rows, config)
    copies.tell()
    return rows._replace(copies=copies)


class _Copy(NamedTuple):
    """A row after an edit; of one that no edit changes, the row."""

    features: Sequence[Feature]
    places: Sequence[Sequence[int]] | None
    """For each feature of the row, see `Task.counterparts`."""


class _Copies:
    """Makes a batch of edited copies of a batch's rows.

    For each row edits are tried in an order drawn at random, until one changes what the model reads: capitals change
    nothing for a tokenizer that knows none. Where none does, or the copy has another number of windows, it is read as
    it is. What is drawn depends on PyTorch's random numbers, as dropout does, and so is the same after `resume`.
    """

    def __init__(self, predictor: Predictor, rows: Encoded, config: TrainingConfig) -> None:
        self.predictor, self.features = predictor, rows.features
        self.examples = list(predictor.task.in_context(rows.examples, whole=True))
        self.edits, self.names = chosen(config.augmentation_edits), entity_names(predictor.task, rows.examples)
        sizes = group_sizes(rows.features)
        self.example_of = np.repeat(np.arange(len(sizes)), sizes)  # (features,)
        self.first = sizes.cumsum() - sizes  # (examples,)

    def tell(self) -> None:
        """Say what is read, and how many rows no edit changes."""
        random, task = Random(0), self.predictor.task
        whole = sum(all(edited_row(task, row, edit, self.names, random) is None for edit in self.edits)
                    for row in self.examples)  # fmt: skip
        unchanged = f" {whole} of them no edit changes; they are read twice as they are." if whole else ""
        say(f"consistency: each of the {len(self.examples):,} training rows is read beside an edited copy, "
            f"drawn anew each time.{unchanged}")  # fmt: skip

    def __call__(self, batch: Batch) -> tuple[Batch, Tensor | None]:
        """Return the copies, in the order of the batch, and the places; see `training.objective.Extras`."""
        random = Random(int(torch.randint(2**62, ())))
        examples = self.example_of[batch.feature_index].tolist()
        copies = {example: self._copy(example, random) for example in dict.fromkeys(examples)}
        numbers = [
            int(index - self.first[example]) for example, index in zip(examples, batch.feature_index, strict=True)
        ]
        features = [copies[example].features[number] for example, number in zip(examples, numbers, strict=True)]
        batches = self.predictor.batches(Encoded(features, [[feature] for feature in features]))
        device = batch.group.device
        made = replace(batches.collate(list(range(len(features)))).to(device), group=batch.group)
        if self.predictor.model.head.outputs_at == "features":
            return made, None
        rows = [(copies[example].places or ())[number] for example, number in zip(examples, numbers, strict=True)]
        own, other = batch.inputs["input_ids"].shape[1], made.inputs["input_ids"].shape[1]
        places = torch.full((len(rows), own), IGNORED)
        for number, (row, feature) in enumerate(zip(rows, features, strict=True)):
            left = batches.padding_side == "left"
            start, shift = (own - len(row), other - len(feature)) if left else (0, 0)
            places[number, start : start + len(row)] = torch.tensor([n + shift if n >= 0 else n for n in row])
        return made, places.to(device)

    def _copy(self, example: int, random: Random) -> _Copy:
        row, features, task = self.examples[example], self.features[example], self.predictor.task
        read = EncodedRow(row, features)
        for example, texts, copied in read_otherwise(self.predictor, read, self.edits, self.names, random):
            if len(copied) == len(features):
                return _Copy(copied, task.counterparts(read, EncodedRow(example, copied), texts))
        return _Copy(features, task.counterparts(read, read, {}))
