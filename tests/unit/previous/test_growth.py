"""Do old weights come into a larger head bit for bit, each label's where it now is?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reasoner.errors import ConfigError
from reasoner.model import TaskModel
from reasoner.previous.growth import take_over
from reasoner.tasks.ner import NER
from reasoner.tasks.nested_ner import NestedNER

OLD = ("O", "B-PER", "I-PER")
NEW = (*OLD, "B-LOC", "I-LOC")


@pytest.mark.parametrize("head", [None, "crf"])
def test_old_labels_keep_their_weights_and_new_ones_their_own(head, tiny_bert):
    task = NER(labels=OLD, scheme="IOB2", head=head)
    torch.manual_seed(0)
    old = TaskModel.from_pretrained(tiny_bert, task)
    with torch.no_grad():
        for weight in old.parameters():
            weight.add_(torch.randn_like(weight))
    new = TaskModel.from_pretrained(tiny_bert, replace(task, labels=NEW))
    fresh = {name: value.clone() for name, value in new.state_dict().items()}
    take_over(new, old)
    before, after = old.state_dict(), new.state_dict()
    for name, value in after.items():
        if name == "head.weight":  # transitions: the last row is the beginning of a text
            assert torch.equal(value[[0, 1, 2, 5], :3], before[name]) and torch.equal(value[:, 3:], fresh[name][:, 3:])
            assert torch.equal(value[3:5], fresh[name][3:5])
        elif value.shape != before[name].shape:
            assert torch.equal(value[:3], before[name]) and torch.equal(value[3:], fresh[name][3:])
        else:
            assert torch.equal(value, before[name])


def test_a_span_head_grows_by_its_layers(tiny_bert):
    task = NestedNER(labels=("PER",))
    old, new = (TaskModel.from_pretrained(tiny_bert, replace(task, labels=names)) for names in (("PER",), ("PER", "X")))
    take_over(new, old)
    assert torch.equal(new.head.first.weight[:1], old.head.first.weight)
    assert torch.equal(new.head.query.weight, old.head.query.weight)


def test_other_layers_are_refused(tiny_bert):
    task = NER(labels=OLD, scheme="IOB2")
    one, other = (
        TaskModel.from_pretrained(tiny_bert, task),
        TaskModel.from_pretrained(tiny_bert, replace(task, head="crf")),
    )
    with pytest.raises(ConfigError, match=r"other layers than this task makes \(head.weight\)"):
        take_over(one, other)
    fewer = TaskModel.from_pretrained(tiny_bert, replace(task, labels=OLD[:2]))
    with pytest.raises(ConfigError, match=r"has the shape \(3, 32\) in the old model and \(2, 32\)"):
        take_over(fewer, one)
