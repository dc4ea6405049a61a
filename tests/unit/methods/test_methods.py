"""Do the weights that a method names learn, and no others, in every architecture?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reasoner.errors import ConfigError
from reasoner.methods.freeze import Freeze
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly
from reasoner.tasks.classification import Classification
from reasoner.tasks.ner import NER
from reasoner.training.config import TrainingConfig
from reasoner.training.trainer import Trainer
from tiny import ARCHITECTURES

HEADS = {
    "bert": ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"],
    "distilbert": ["pre_classifier.weight", "pre_classifier.bias", "classifier.weight", "classifier.bias"],
    "deberta-v2": ["pooler.dense.weight", "pooler.dense.bias", "classifier.weight", "classifier.bias"],
    "modernbert": ["head.dense.weight", "head.norm.weight", "classifier.weight", "classifier.bias"],
    **{
        name: [f"classifier.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")]
        for name in ("roberta", "electra", "xlm-roberta")
    },
}
"""Of the classifier of texts, with the pooler that feeds it."""
BELOW = {
    "bert": ("bert.embeddings.", "bert.encoder.layer.0."),
    "roberta": ("roberta.embeddings.", "roberta.encoder.layer.0."),
    "xlm-roberta": ("roberta.embeddings.", "roberta.encoder.layer.0."),
    "distilbert": ("distilbert.embeddings.", "distilbert.transformer.layer.0."),
    "electra": ("electra.embeddings.", "electra.embeddings_project.", "electra.encoder.layer.0."),
    "deberta-v2": ("deberta.embeddings.", "deberta.encoder.rel_embeddings.", "deberta.encoder.layer.0."),
    "modernbert": ("model.embeddings.", "model.layers.0."),
}
"""The embeddings, then the first layer."""


def changed(prepare, architecture, method, task=None):
    """Return the names of the network's weights, and of those that three steps changed."""
    predictor, data = prepare(task or Classification(), architecture=architecture)
    network = predictor.model.network
    method.apply(predictor.model)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    config = TrainingConfig(use_cpu=True, learning_rate=1e-3, warmup_steps=0, max_steps=3)
    Trainer(predictor.model, predictor.batches(data, batch_size=8, shuffle=True), config=config).train()
    names = {name for name, _ in network.named_parameters()}
    after = network.state_dict()
    assert names <= set(after)
    return names, {name for name in after if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_full_trains_everything(prepare, architecture):
    names, moved = changed(prepare, architecture, Full())
    assert len(names) > 15 and moved == names


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_head_only_trains_the_head_and_its_pooler(prepare, architecture):
    _, moved = changed(prepare, architecture, HeadOnly())
    assert moved == set(HEADS[architecture])


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_freeze_trains_what_is_above(prepare, architecture, layers):
    names, moved = changed(prepare, architecture, Freeze(layers=layers))
    frozen = BELOW[architecture] if layers else BELOW[architecture][:-1]
    assert all(any(name.startswith(prefix) for name in names) for prefix in frozen)
    assert moved == {name for name in names if not name.startswith(frozen)}


def test_the_embeddings_may_learn_below_frozen_layers(prepare):
    names, moved = changed(prepare, "bert", Freeze(layers=2, embeddings=False))
    assert moved == {name for name in names if not name.startswith("bert.encoder.layer.")}


def test_a_token_classifier_has_no_pooler(prepare):
    assert changed(prepare, "bert", HeadOnly(), NER())[1] == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layers", [3, -1])
def test_more_layers_than_there_are(prepare, architecture, layers):
    model = prepare(Classification(), architecture=architecture).predictor.model
    with pytest.raises(ConfigError, match=rf"Freeze\(layers={layers}\): the model has 2 layers. Give 0 to 2."):
        Freeze(layers=layers).apply(model)
    Freeze(layers=2).apply(model)


def test_a_model_without_a_stack_of_layers_is_refused():
    class Odd(nn.Module):
        config = type("Config", (), {"num_hidden_layers": 4, "is_encoder_decoder": False})

    model = nn.Module()
    model.backbone = Odd()
    with pytest.raises(ConfigError, match=r"No stack of 4 layers was found in Odd"):
        Freeze(layers=1).apply(model)


def test_methods_can_be_changed_for_one_another(prepare):
    model = prepare(Classification()).predictor.model
    learning = []
    for method in (HeadOnly(), Freeze(layers=1), Full(), HeadOnly()):
        method.apply(model)
        learning.append({name for name, weight in model.named_parameters() if weight.requires_grad})
    assert learning[0] == learning[3] < learning[1] < learning[2] == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(("width", "rate"), [(768, 3e-5), (384, 1.2e-4), (1024, 1.6875e-5), (32, 1e-3)])
def test_the_rule_for_the_learning_rate(width, rate):
    assert Full().learning_rate(width) == Freeze(layers=2).learning_rate(width) == pytest.approx(rate)
    assert HeadOnly().learning_rate(width) == 1e-3


def test_a_method_shows_its_settings():
    assert repr(Freeze(layers=4)) == "Freeze(layers=4, embeddings=True)" and repr(Full()) == "Full()"
    assert Freeze(layers=4) == Freeze(layers=4) != Freeze()
