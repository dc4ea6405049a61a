"""Does a new trainer that takes a state end where the one would have ended that gave it?"""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from test_trainer import made, same

from reasoner.errors import CheckpointError
from reasoner.notices import collect, say
from reasoner.tasks.classification import Classification
from reasoner.training.callbacks import Callback
from reasoner.training.checkpoint_files import read, write
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.trainer import Trainer

SCORES = [0.1, 0.4, 0.2, 0.5, 0.3, 0.3, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


class Keeper(Callback):
    """Writes down the state after each step and epoch, through files; draws random numbers, and counts."""

    def __init__(self, folder=None):
        self.folder, self.states = folder, []
        self.drawn = []

    def on_step_end(self, trainer):
        self.drawn.append([random.random(), numpy.random.rand(), torch.rand(()).item()])
        if self.folder is not None:
            self.keep(trainer)

    def on_epoch_end(self, trainer):
        if self.folder is not None:
            self.keep(trainer)

    def keep(self, trainer):
        path = self.folder / f"state-{len(self.states)}"
        write(path, trainer.state_dict())
        self.states.append(path)

    def state_dict(self):
        return {"drawn": self.drawn}

    def load_state_dict(self, state):
        self.drawn = state["drawn"]


CASES = {
    "plain": {},
    "batches without a callback": {"num_train_epochs": 1},
    "accumulation": {"gradient_accumulation_steps": 3},
    "moving average": {"ema_decay": 0.9, "eval_steps": 3},
    "average": {"average_checkpoints": 3, "eval_steps": 2},
    "patience": {"patience": 2, "eval_steps": 1, "num_train_epochs": 4},
    "halve": {"on_divergence": "halve", "bad": (3, 6), "logging_steps": 4},
    "halve, the first step bad": {"on_divergence": "halve", "bad": (1,), "ema_decay": 0.5},
    "sgd": {"optim": "sgd", "lr_scheduler_type": "cosine", "warmup_steps": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_from_each_state_training_ends_the_same(case, tmp_path):
    """Random states are part of it: transformers#11323."""
    settings = {"logging_steps": 3, **CASES[case]}
    keeper = Keeper(tmp_path)
    trainer, _ = made(SCORES, callbacks=[keeper], **settings)
    history = trainer.train()
    assert history.stopped_early == (case == "patience")
    assert bool(history.rollbacks) == case.startswith("halve")
    assert len(keeper.states) > 4
    for path in keeper.states:
        state = read(path)
        done = len(state["trainer"]["history"]["evaluation_seconds"])
        other = Keeper()
        again, _ = made(SCORES[done:], callbacks=[other], **settings)
        resumed = again.train(state)
        assert same(again.model, trainer.model.state_dict()), path.name
        assert resumed.rows == history.rows and resumed.rollbacks == history.rollbacks
        assert (resumed.best_step, resumed.stopped_early) == (history.best_step, history.stopped_early)
        assert other.drawn == keeper.drawn


class Collating:
    """Batches that write down which are made."""

    def __init__(self, batches):
        self.batches, self.made = batches, []
        collate = batches.collate
        batches.collate = lambda indexes: (self.made.append((batches.epoch, tuple(indexes))), collate(indexes))[1]


@pytest.mark.parametrize("tokens", [None, 100])
def test_the_batches_left_of_a_later_epoch_are_made_and_no_others(prepare, tmp_path, tokens):
    """Order of another epoch: transformers#40691, accelerate#4071. Skipping that takes hours: transformers#11284."""
    config = TrainingConfig(learning_rate=1e-3, use_cpu=True, num_train_epochs=3)

    def trained(state=None, callbacks=()):
        predictor, data = prepare(Classification())
        batches = predictor.batches(data, batch_size=4, tokens_per_batch=tokens, shuffle=True, seed=3)
        seen = Collating(batches)
        trainer = Trainer(predictor.model, batches, config=config, callbacks=callbacks)
        trainer.train(state)
        return seen.made, trainer

    keeper = Keeper(tmp_path)
    made_before, trainer = trained(callbacks=[keeper])
    step = next(number for number, (epoch, _) in enumerate(made_before) if epoch == 1) + 3
    path = next(path for path in keeper.states if read(path)["trainer"]["step"] == step)
    made_after, again = trained(read(path), [Keeper()])
    assert made_after[1:] == made_before[step:]  # the first is the one that the loss watch keeps
    assert made_after[0] == made_before[0]
    assert same(again.model, trainer.model.state_dict())


def test_a_state_of_another_model_is_refused(tmp_path):
    keeper = Keeper(tmp_path)
    made(callbacks=[keeper])[0].train()
    state = read(keeper.states[0])
    for wrong in (
        {**state, "learned": state["learned"][1:]},
        {**state, "learned": [state["learned"][0][:, :1], *state["learned"][1:]]},
        {**state, "optimizer": {**state["optimizer"], "param_groups": state["optimizer"]["param_groups"][:1]}},
        {**state, "trainer": {}},
    ):
        with pytest.raises(CheckpointError, match="not one of this training"):
            made(callbacks=[Keeper()])[0].train(wrong)
    with pytest.raises(CheckpointError, match="callbacks Witness, Keeper, and there are now Witness"):
        made()[0].train(state)


def test_what_was_said_stays_in_the_record(tmp_path):
    class Talker(Keeper):
        def on_step_end(self, trainer):
            if trainer.step == 1:
                say("Something of step 1.")
            super().on_step_end(trainer)

    keeper = Talker(tmp_path)
    with collect():
        made(callbacks=[keeper])[0].train()
    with collect() as said:
        made(callbacks=[Talker()])[0].train(read(keeper.states[3]))
    assert said == ["Something of step 1."]


def test_early_stopping_goes_on_where_it_was():
    stopping = EarlyStopping("score", True, patience=2)
    trainer, _ = made([0.5], num_train_epochs=1)
    trainer.stopping = stopping
    trainer.train()
    assert trainer.state_dict()["trainer"]["stopping"] == {"best": 0.5, "reference": 0.5, "waited": 0, "broken": ""}
