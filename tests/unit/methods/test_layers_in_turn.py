"""Do the highest layers learn alone, and with gradual unfreezing one more each epoch?"""

from __future__ import annotations

import pytest
import torch

import reasoner
from reasoner.errors import ConfigError
from reasoner.methods.freeze import Freeze
from reasoner.methods.full import Full
from reasoner.methods.gradual import GradualUnfreezing
from reasoner.methods.top_k import TopK
from reasoner.tasks.ner import NER
from tiny import ARCHITECTURES, DECODERS


def learning(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *DECODERS])
def test_top_k_is_freeze_from_above(prepare, architecture):
    model = prepare(NER(), architecture=architecture).predictor.model
    for k in (0, 1, 2):
        TopK(k=k).apply(model)
        found = learning(model)
        Freeze(layers=2 - k).apply(model)
        assert found == learning(model)
    with pytest.raises(ConfigError, match=r"TopK\(k=3\): the model has 2 layers. Give 0 to 2."):
        TopK(k=3).apply(model)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *DECODERS])
def test_each_epoch_a_layer_more(prepare, architecture):
    model = prepare(NER(), architecture=architecture).predictor.model
    method = GradualUnfreezing()
    method.apply(model)
    everything = learning(model)
    assert everything == {name for name, _ in model.named_parameters()}
    opened = []
    for epoch in range(5):
        method.begin_epoch(model, epoch)
        opened.append(learning(model))
    assert opened[0] < opened[1] < opened[2] < opened[3] == opened[4] == everything
    GradualUnfreezing(layers_per_epoch=2).begin_epoch(model, 1)
    assert learning(model) == opened[2]


class Moved(reasoner.Callback):
    """Keeps which weights each epoch changed."""

    def __init__(self):
        self.epochs = []

    def on_train_begin(self, trainer):
        self.before = self._weights(trainer)

    def on_epoch_end(self, trainer):
        after = self._weights(trainer)
        self.epochs.append({name for name in after if not torch.equal(after[name], self.before[name])})
        self.before = after

    def _weights(self, trainer):
        return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


def test_training_opens_the_layers(tiny_bert):
    pack = reasoner.synthetic.nli_pack(train=32, validation=8, test=8)
    moved = Moved()
    reasoner.fine_tune(
        tiny_bert, pack, task="nli", method="gradual", num_train_epochs=4, learning_rate=1e-2, warmup_steps=0,
        use_cpu=True, callbacks=[moved], check=False,
    )  # fmt: skip
    first, second, third, fourth = moved.epochs
    assert all("classifier" in name or "pooler" in name for name in first) and len(first) == 4
    assert second - first and all(".layer.1." in name for name in second - first)
    assert all(".layer.0." in name for name in third - second)
    assert all("embeddings" in name for name in fourth - third) and fourth - third


def test_rates_and_settings():
    assert TopK().learning_rate(384) == GradualUnfreezing().learning_rate(384) == Full().learning_rate(384)
    with pytest.raises(ConfigError, match="give an integer of at least 1"):
        GradualUnfreezing(layers_per_epoch=0)
