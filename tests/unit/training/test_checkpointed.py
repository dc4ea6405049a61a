"""Are gradients the same when activations are computed again, and is less kept?"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from reasoner.errors import ConfigError
from reasoner.tasks.ner import NER
from reasoner.training.config import TrainingConfig
from reasoner.training.trainer import Trainer
from tiny import ARCHITECTURES


def step(predictor, data):
    """Return the gradients of a step, and the bytes that were kept for it."""
    (batch, *_) = batches = list(predictor.batches(data, batch_size=16))

    class Fixed(list):
        epoch = 0

    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    config = TrainingConfig(use_cpu=True, bf16=False, learning_rate=1e-9, optim="sgd", max_grad_norm=0)
    trainer = Trainer(predictor.model, Fixed(batches), config=config)
    torch.manual_seed(7)
    predictor.model.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        trainer.train_step([batch])
    return {name: weight.grad for name, weight in predictor.model.named_parameters()}, sum(kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_the_same(prepare, architecture, dropout):
    settings = {"architecture": architecture, "dropout": dropout}
    plain, data = prepare(NER(), **settings)
    again, _ = prepare(NER(), gradient_checkpointing=True, **settings)
    expected, kept = step(plain, data)
    ours, kept_again = step(again, data)
    assert any(value is not None and value.abs().max() > 0 for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-6, atol=1e-7, msg=name)
    assert kept_again < 0.8 * kept


def test_what_is_saved_and_copied_is_as_before(prepare, tmp_path):
    plain, _ = prepare(NER())
    again, _ = prepare(NER(), gradient_checkpointing=True)
    assert again.model.state_dict().keys() == plain.model.state_dict().keys()
    assert deepcopy(again.model).state_dict().keys() == plain.model.state_dict().keys()
    for name, predictor in (("plain", plain), ("again", again)):
        predictor.model.save(tmp_path / name)
    texts = [(tmp_path / name / "config.json").read_text() for name in ("plain", "again")]
    assert texts[0] == texts[1]


def test_an_architecture_without_it_is_refused(prepare, monkeypatch):
    monkeypatch.setattr("transformers.BertPreTrainedModel.supports_gradient_checkpointing", False)
    with pytest.raises(ConfigError, match="has no gradient_checkpointing"):
        prepare(NER(), gradient_checkpointing=True)
