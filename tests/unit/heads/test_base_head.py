"""What does a head get without writing it, and what is said when it wrote too little?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from reasoner.data.features import Batch
from reasoner.heads.base import TaskHead
from reasoner.losses import squared_error

CONFIG = SimpleNamespace(hidden_size=8)
BATCH = Batch({"input_ids": torch.ones(2, 3)}, {"labels": torch.zeros(2)}, torch.arange(2), [0, 1], 6)


class Least(TaskHead):
    def loss(self, outputs, batch):
        return squared_error(outputs["value"], batch.targets["labels"])

    def predict(self, outputs, batch):
        return outputs["value"].tolist()


def test_a_head_knows_its_width_and_outputs():
    head = Least(CONFIG, num_outputs=5)
    assert (head.width, head.num_outputs, head.auto_class) == (8, 5, None)
    assert head.model_inputs(BATCH) is BATCH.inputs


def test_infer_predicts_from_the_model_s_outputs():
    assert Least(CONFIG, num_outputs=1).infer(lambda batch: {"value": torch.tensor([1.0, 2.0])}, BATCH) == [1.0, 2.0]


def test_a_head_without_layers_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match=r"Least has neither an auto_class nor a forward"):
        Least(CONFIG, num_outputs=1)(torch.ones(2, 3, 8), BATCH)


def test_loss_and_predict_must_be_written():
    class Nothing(TaskHead):
        pass

    with pytest.raises(TypeError, match=r"abstract"):
        Nothing(CONFIG, num_outputs=1)
