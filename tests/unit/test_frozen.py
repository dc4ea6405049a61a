"""Do kept states of a frozen backbone give the weights that recomputing gives, at one pass a feature?"""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import pytest
import torch
from torch import nn

from own_head import OwnLayers
from reasoner.data.states import States
from reasoner.errors import DivergedError
from reasoner.frozen import keep_states
from reasoner.methods.freeze import Freeze, layers_of
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly
from reasoner.notices import collect
from reasoner.tasks.classification import Classification
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.trainer import Trainer
from reasoner.tuning import train_on_examples
from tiny import ARCHITECTURES

TASKS = {
    "ner": {"max_length": 12},  # windows
    "classification": {},
    "nli": {},
    "qa": {"max_length": 40, "stride": 8},  # windows
    "multiple_choice": {},  # a question's choices are kept together
}
PAIRS = [("bert", task) for task in TASKS] + [
    (architecture, task)
    for number, architecture in enumerate(name for name in ARCHITECTURES if name != "bert")
    for task in ("ner", list(TASKS)[1 + number % 4])
]
"""Each task, and each architecture with words and with one other task: all pairs take three times as long."""
EPOCHS = 3
METRIC = "loss"


class Trained:
    """A head trained on a task's rows, with what it cost.

    With SGD in another order each epoch, so that paddings differ and states differ by rounding. AdamW would make steps
    of full size of rounding where the gradient is 0 (a bias that is added to all choices): with it, the order is fixed.
    """

    def __init__(
        self,
        prepare,
        task,
        *,
        architecture="bert",
        method=None,
        cache=2048,
        disk=0,
        optim="sgd",
        bf16=False,
        callbacks=(),
        **config,
    ):
        # Padded, so that a row is a row of what the first layer gets; the states of packed rows: test_packing.py.
        self.predictor, data = prepare(task, architecture=architecture, sharp=True, packing=False, **config)
        self.predictor = replace(self.predictor, bf16=bf16)
        self.features = sum(map(len, data.features))
        model = self.predictor.model
        (method or HeadOnly()).apply(model)
        settings = TrainingConfig(
            use_cpu=True,
            num_train_epochs=EPOCHS,
            learning_rate=1e-2,
            optim=optim,
            bf16=bf16,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            frozen_cache_mb=cache,
            frozen_cache_disk_mb=disk,
        )
        with collect() as said:
            self.splits = keep_states(self.predictor, {"train": data, "validation": data}, settings)
        self.said = "\n".join(said)
        self.rows = {True: 0, False: 0}  # that ran through the first layer, by whether the model was in training
        layer = next(layers_of(model.backbone)[0].children())  # the layer itself is called to give what it gave
        layer.register_forward_hook(lambda _, inputs, __: self._count(len(inputs[0])))
        batches = self.predictor.batches(self.splits["train"], batch_size=8, shuffle=optim == "sgd", seed=1)
        trainer = Trainer(
            model,
            batches,
            config=settings,
            evaluate=lambda: self.predictor.evaluate(self.splits["validation"]).metrics,
            stopping=EarlyStopping(METRIC, False, None, 0.0),
            callbacks=callbacks,
        )
        self.start = {name: value.clone() for name, value in model.state_dict().items()}
        self.history = trainer.train()
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        self.predictions = self.predictor.evaluate(self.splits["validation"]).predictions

    def _count(self, rows):
        self.rows[self.predictor.model.training] += rows

    @property
    def kept(self):
        return self.splits["train"].states is not None

    def assert_like(self, other, tolerance=1e-6):
        for name, value in self.weights.items():
            torch.testing.assert_close(value, other.weights[name], rtol=tolerance, atol=tolerance, msg=name)
        for one, two in zip(self.history.rows, other.history.rows, strict=True):
            times = {"rows_per_second"}
            assert one.keys() - times == two.keys() - times
            for name in one.keys() - times - {"split"}:
                assert one[name] == pytest.approx(two[name], abs=1e-5, rel=1e-5), name
        assert (self.history.best_step, self.history.steps) == (other.history.best_step, other.history.steps)


@pytest.mark.parametrize(("architecture", "task"), PAIRS)
def test_kept_states_give_the_weights_of_recomputing_at_one_pass(prepare, architecture, task):
    kept = Trained(prepare, task, architecture=architecture, **TASKS[task])
    anew = Trained(prepare, task, architecture=architecture, cache=0, **TASKS[task])
    assert kept.kept and "computed once" in kept.said
    assert not anew.kept and not anew.said
    assert kept.rows == {True: kept.features, False: kept.features}  # training rows, validation rows: once each
    assert anew.rows == {True: EPOCHS * anew.features, False: (EPOCHS + 1) * anew.features}
    if TASKS[task]:
        assert kept.features > len(kept.splits["train"].examples)
    assert any(not torch.equal(kept.weights[name], value) for name, value in kept.start.items())
    kept.assert_like(anew)


@pytest.mark.parametrize(("architecture", "task"), PAIRS)
def test_where_the_batches_are_the_same_so_is_every_bit(prepare, architecture, task):
    kept, anew = (
        Trained(prepare, task, architecture=architecture, optim="adamw", cache=cache, **TASKS[task])
        for cache in (2048, 0)
    )
    assert kept.kept and not anew.kept
    kept.assert_like(anew, tolerance=0)
    assert str(kept.predictions) == str(anew.predictions)


def test_the_states_may_be_in_a_file_that_goes_with_them(prepare):
    def folders():
        return set(Path(gettempdir()).glob("reasoner-*"))

    before = folders()
    in_file = Trained(prepare, "ner", cache=0, disk=100)
    assert in_file.kept and "temporary file" in in_file.said and len(folders() - before) == 2
    assert in_file.rows[True] == in_file.features
    in_file.assert_like(Trained(prepare, "ner", cache=0))
    del in_file.splits
    gc.collect()
    assert folders() <= before


def test_what_takes_too_much_room_is_computed_anew_and_said(prepare, monkeypatch):
    monkeypatch.setattr("reasoner.frozen.MEGABYTE", 1_000)
    trained = Trained(prepare, "ner", cache=3, disk=4)
    assert not trained.kept and "runs anew in each epoch" in trained.said and "MB" in trained.said
    assert trained.rows[True] == EPOCHS * trained.features


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        (Full(), False),
        (Freeze(layers=0), False),
        (Freeze(layers=1, embeddings=False), False),
        (Freeze(layers=1), True),
        (Freeze(layers=2), True),
    ],
)
def test_states_are_kept_where_the_lowest_layer_does_not_learn(prepare, method, kept):
    trained = Trained(prepare, "ner", method=method)
    assert trained.kept is kept and bool(trained.said) is kept
    trained.assert_like(Trained(prepare, "ner", method=method, cache=0))


@pytest.mark.parametrize(("architecture", "task"), PAIRS)
def test_with_a_frozen_layer_the_weights_are_those_of_recomputing(prepare, architecture, task):
    runs = [
        Trained(prepare, task, architecture=architecture, method=Freeze(layers=1), cache=cache, **TASKS[task])
        for cache in (2048, 0)
    ]
    kept, anew = runs
    if architecture == "deberta-v2":  # each of its layers reads positions that went through a norm that learns
        assert not kept.kept and "weights that learn" in kept.said
    else:
        assert kept.kept and "lowest 1 layers are frozen" in kept.said
        assert kept.rows == {True: kept.features, False: kept.features}
    assert anew.rows == {True: EPOCHS * anew.features, False: (EPOCHS + 1) * anew.features}
    kept.assert_like(anew)


def test_dropout_between_the_frozen_layers_is_seen(prepare):
    """GPT-2's embeddings are followed by a dropout that stands beside them."""
    trained = Trained(prepare, "ner", architecture="gpt2", method=Freeze(layers=1), dropout=0.1)
    assert not trained.kept and "changes from pass to pass" in trained.said
    without = Trained(prepare, "ner", architecture="gpt2", method=Freeze(layers=1), dropout=0.0)
    assert without.kept


def test_one_epoch_keeps_nothing_of_training(prepare):
    predictor, data = prepare("ner")
    HeadOnly().apply(predictor.model)
    splits = {"train": data, "validation": data, "test": data}
    found = keep_states(predictor, splits, TrainingConfig(num_train_epochs=1, use_cpu=True))
    assert {name for name, part in found.items() if part.states is not None} == {"validation"}
    assert all(part.states is None for part in splits.values())


class Thaw(Callback):
    """Lets the whole model learn after the first epoch."""

    def on_epoch_end(self, trainer):
        if trainer.epoch == 1:
            for weight in trainer.model.parameters():
                weight.requires_grad_(True)


def test_a_backbone_that_is_thawed_is_run_again(prepare):
    trained = Trained(prepare, "ner", callbacks=[Thaw()])
    assert trained.kept
    assert trained.rows[True] > trained.features
    trained.assert_like(Trained(prepare, "ner", cache=0, callbacks=[Thaw()]))


class ReadsPadding(OwnLayers):
    """Averages over all positions, padding too."""

    def forward(self, hidden, batch):
        return {"logits": self.layer(hidden.mean(1))}


class ChangesInputs(OwnLayers):
    """Hides a word in training."""

    def model_inputs(self, batch):
        return {**batch.inputs}


class Pools(OwnLayers):
    """Has layers enough to go wrong: a mean over real tokens, a normalisation, dropout."""

    def __init__(self, config, *, num_outputs, problem_type=None):
        super().__init__(config, num_outputs=num_outputs)
        self.before = nn.Sequential(nn.BatchNorm1d(self.width), nn.Dropout(0.3))

    def forward(self, hidden, batch):
        mask = batch.inputs["attention_mask"].unsqueeze(-1)
        return {"logits": self.layer(self.before((hidden * mask).sum(1) / mask.sum(1)))}


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert"])
@pytest.mark.parametrize(
    ("head", "reason"),
    [(OwnLayers, ""), (Pools, ""), (ReadsPadding, "more than the hidden states"), (ChangesInputs, "own model_inputs")],
)
def test_own_heads_train_alike_either_way(prepare, registry, architecture, head, reason):
    registry["head"]["own"] = head
    task = Classification(head="own")
    kept = Trained(prepare, task, architecture=architecture)
    assert kept.kept is not bool(reason) and reason in kept.said
    kept.assert_like(Trained(prepare, task, architecture=architecture, cache=0))


def test_positions_that_depend_on_padding_are_computed_anew(prepare):
    predictor, data = prepare("ner", architecture="gpt2")
    HeadOnly().apply(predictor.model)
    for side, kept in (("left", False), ("right", True)):
        predictor.tokenizer.padding_side = side
        with collect() as said:
            found = keep_states(predictor, {"train": data}, TrainingConfig(use_cpu=True))
        assert (found["train"].states is not None) is kept
        assert any("padding of its batch" in text for text in said) is not kept


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_no_dropout_is_active_below_the_head(prepare, architecture):
    predictor, _ = prepare("classification", architecture=architecture)
    HeadOnly().apply(predictor.model)
    model = predictor.model.train()
    pooler = getattr(model.backbone, "pooler", None)
    own = set() if pooler is None else set(pooler.modules())
    assert not any(module.training for module in model.backbone.modules() if module not in own)
    assert all(module.training for module in own) and model.training and model.network.training


def test_states_come_back_by_feature_with_the_padding_that_is_asked_for():
    states = States([2, 3, 1], 4)
    hidden = torch.randn(2, 5, 4)  # padded further than need be
    assert states.get([2, 0], 5) is None
    states.put([2, 0], hidden)
    assert states.get([0, 1], 3) is None  # feature 1 was not met
    found = states.get([0, 2], 7)
    assert found.shape == (2, 7, 4)
    assert torch.equal(found[0, :2], hidden[1, :2]) and torch.equal(found[1, :1], hidden[0, :1])
    assert not found[0, 2:].any() and not found[1, 1:].any()


@pytest.mark.parametrize("task", ["ner", "multiple_choice"])
def test_a_row_whose_states_are_not_finite_is_found_as_it_is_without_them(prepare, task):
    def message(cache):
        predictor, data = prepare(task)
        HeadOnly().apply(predictor.model)
        with torch.no_grad():
            longest = max((feature for group in data.features for feature in group), key=len)
            predictor.model.backbone.embeddings.word_embeddings.weight[longest.inputs["input_ids"][3]] = math.nan
        config = TrainingConfig(use_cpu=True, learning_rate=1e-3, frozen_cache_mb=cache, frozen_cache_disk_mb=0)
        lengths = [len(feature) for group in data.features for feature in group]
        states = States(lengths, 32) if cache else None  # as `keep_states` makes them of sound weights
        batches = predictor.batches(data._replace(states=states), batch_size=8, shuffle=True)
        with pytest.raises(DivergedError) as caught:
            Trainer(predictor.model, batches, config=config).train()
        return str(caught.value), caught.value.rows

    assert message(2048) == message(0)
    assert "embeddings" in message(2048)[0]


def test_bfloat16_gives_the_same_either_way(prepare):
    kept, anew = (Trained(prepare, "classification", optim="adamw", cache=cache, bf16=True) for cache in (2048, 0))
    assert kept.kept
    kept.assert_like(anew, tolerance=0)


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_run_gives_the_same_result_either_way(prepare, tiny_bert, task):
    rows = prepare(task).data.examples
    data = {"train": rows, "validation": rows[:12], "test": rows[12:]}
    settings = {"num_train_epochs": 2, "optim": "sgd", "learning_rate": 0.05, "use_cpu": True, "disable_tqdm": True}
    results = [
        train_on_examples(
            tiny_bert,
            data,
            task=task,
            method=HeadOnly(),
            config=TrainingConfig(**settings, frozen_cache_mb=cache, frozen_cache_disk_mb=0),
        )
        for cache in (2048, 0)
    ]
    kept, anew = (result.run for result in results)
    assert any("computed once" in text for text in kept.notices)
    assert [text for text in kept.notices if "computed once" not in text] == anew.notices
    assert "rows_per_second" in kept.metrics["test"]
    for split in ("before", "validation", "test"):
        for name, value in anew.metrics[split].items():
            if isinstance(value, float) and name != "rows_per_second":
                assert kept.metrics[split][name] == pytest.approx(value, abs=1e-5), (split, name)
    one, other = (result.predictor.model.state_dict() for result in results)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-6, atol=1e-6, msg=name)
