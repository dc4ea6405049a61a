"""Do steps, schedule and epochs come out right when each epoch has another number of batches?"""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reasoner.data.batching import Batches
from reasoner.data.features import Feature
from reasoner.losses import squared_error
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.trainer import Trainer

SETTINGS = {"use_cpu": True, "bf16": False, "learning_rate": 0.01, "warmup_steps": 0}


class Bag(nn.Module):
    """A mean of word vectors, one number."""

    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(5, 3), nn.Linear(3, 1)

    def forward(self, batch):
        mask = batch.inputs["attention_mask"].unsqueeze(-1)
        return self.out((self.words(batch.inputs["input_ids"]) * mask).sum(1) / mask.sum(1)).squeeze(-1)

    def loss(self, outputs, batch):
        return squared_error(outputs, batch.targets["labels"].float())


def by_tokens(rows=400, tokens=100):
    draw = random.Random(0)
    features = [
        [Feature({"input_ids": [1 + n % 4] * n, "attention_mask": [1] * n}, {"labels": n % 2})]
        for n in (draw.choice([draw.randint(2, 12), draw.randint(20, 60)]) for _ in range(rows))
    ]
    return Batches(features, 1, tokens_per_batch=tokens, padding={"input_ids": 0, "attention_mask": 0}, shuffle=True)


def numbers(epochs):
    batches = by_tokens()
    found = []
    for batches.epoch in range(epochs):
        found.append(len(batches))
    assert len(set(found)) > 1  # or this shows nothing
    return found


def made(batches, **settings):
    torch.manual_seed(0)
    return Trainer(
        Bag(),
        batches,
        config=TrainingConfig(**{**SETTINGS, **settings}),
        evaluate=lambda: {"score": 0.0},
        stopping=EarlyStopping("score", True),
    )


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_schedule_ends_at_zero_at_the_last_batch_of_the_last_epoch(accumulation):
    of_epoch = [math.ceil(number / accumulation) for number in numbers(5)]
    trainer = made(by_tokens(), num_train_epochs=5, gradient_accumulation_steps=accumulation)
    assert trainer.total_steps == sum(of_epoch)
    history = trainer.train()
    assert history.steps == sum(of_epoch) and history.epochs == 5
    assert trainer.schedule.get_last_lr() == pytest.approx([0.0] * 2)
    rates = [row["learning_rate"] for row in history.rows if row["split"] == "train"]
    assert rates == sorted(rates, reverse=True) and rates[-1] > 0
    scored = [(row["step"], row["epoch"]) for row in history.rows if row["split"] == "validation"]
    assert scored == [(sum(of_epoch[:epoch]), epoch) for epoch in range(1, 6)]


def test_every_row_is_trained_on_once_an_epoch():
    batches = by_tokens()
    trainer = made(batches, num_train_epochs=3)
    seen = []
    step = trainer.train_step
    trainer.train_step = lambda group: (seen.extend(i for batch in group for i in batch.feature_index), step(group))
    history = trainer.train()
    assert sorted(seen) == sorted(list(range(400)) * 3)
    assert history.tokens == 3 * sum(batches.lengths)
    assert history.positions > history.tokens


def test_max_steps_rules_and_epochs_are_counted_into_the_last():
    first, second = numbers(2)
    trainer = made(by_tokens(), max_steps=first + 3, num_train_epochs=1)
    history = trainer.train()
    assert trainer.total_steps == history.steps == first + 3
    assert history.epochs == pytest.approx(1 + 3 / second) == history.rows[-1]["epoch"]


def test_batches_that_say_no_positions_are_not_taken_to_have_no_padding():
    class Toys:
        epoch = 0

        def __len__(self):
            return 2

        def __iter__(self):
            for _ in range(2):
                ids = torch.ones(2, 3, dtype=torch.long)
                batch = SimpleNamespace(
                    inputs={"input_ids": ids, "attention_mask": ids}, targets={"labels": torch.zeros(2)}, tokens=6
                )
                batch.to = lambda device, batch=batch: batch
                yield batch

    history = made(Toys(), num_train_epochs=1).train()
    assert (history.tokens, history.positions, history.epochs) == (12, 0, 1.0)
