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


def test_the_temperature_divides_logits_and_nothing_else():
    head = Least(CONFIG, num_outputs=1)
    logits = torch.tensor([[1.0, 2.0]])
    outputs = {"logits": logits, "start_logits": 2 * logits, "value": logits, "hidden_logits_mask": logits}
    scaled = head.scaled(outputs, 4.0)
    assert scaled["logits"].tolist() == [[0.25, 0.5]] and scaled["start_logits"].tolist() == [[0.5, 1.0]]
    assert scaled["value"] is logits and scaled["hidden_logits_mask"] is logits
    assert outputs["logits"] is logits and logits.tolist() == [[1.0, 2.0]]
    assert head.scaled(outputs, 1.0) is outputs


@pytest.mark.parametrize(("given", "found"), [("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")])
def test_half_precision_is_left_before_the_division(given, found):
    scaled = Least(CONFIG, num_outputs=1).scaled({"logits": torch.ones(2, dtype=getattr(torch, given))}, 3.0)
    assert scaled["logits"].dtype == getattr(torch, found)


def test_infer_predicts_at_the_head_s_temperature_and_keeps_it_out_of_the_weights():
    class Sure(Least):
        def predict(self, outputs, batch):
            return outputs["logits"].tolist()

    head = Sure(CONFIG, num_outputs=1)
    assert head.temperature == 1 and head.infer(lambda batch: {"logits": torch.tensor([1.0, 2.0])}, BATCH) == [1, 2]
    head.temperature = 2.0
    assert head.infer(lambda batch: {"logits": torch.tensor([1.0, 2.0])}, BATCH) == [0.5, 1.0]
    assert head.state_dict() == {} and Sure(CONFIG, num_outputs=1).temperature == 1


def test_a_head_has_no_likelihood_unless_it_says_so():
    assert Least(CONFIG, num_outputs=1).negative_log_likelihood({"value": torch.zeros(2)}, BATCH) is None
