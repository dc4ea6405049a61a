"""Do the biases learn, those of every layer and norm, and nothing else but the head?"""

from __future__ import annotations

import pytest

from reasoner.errors import ConfigError
from reasoner.methods.bitfit import BitFit
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI

WITHOUT = {"modernbert", "llama"}
WITH = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "xlm-roberta", "gpt2")


def heads(prepare, task, architecture):
    model = prepare(task, architecture=architecture).predictor.model
    HeadOnly().apply(model)
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("task", [NER(), NLI()], ids=["ner", "nli"])
@pytest.mark.parametrize("architecture", WITH)
def test_biases_and_the_head_learn_and_nothing_else(prepare, learned, architecture, task):
    predictor, names, moved = learned(BitFit(), task, architecture)
    head = heads(prepare, task, architecture)
    biases = {name for name in names if name.endswith(".bias")}
    marked = {name for name, weight in predictor.model.named_parameters() if weight.requires_grad}
    assert marked == biases | head
    without_effect = {name for name in marked - moved if name.endswith(("key.bias", "k_lin.bias", "key_proj.bias"))}
    assert marked - moved == without_effect  # softmax does not see what is added to all keys
    assert len(biases - head) >= 13


@pytest.mark.parametrize("architecture", sorted(WITHOUT))
def test_a_model_without_biases_is_refused(prepare, architecture):
    model = prepare(NER(), architecture=architecture).predictor.model
    with pytest.raises(ConfigError, match=r"BitFit trains biases, and \w+ has none. Take method='lora' or 'adapter'"):
        BitFit().apply(model)


def test_its_rate_is_in_the_range_of_the_paper():
    assert 1e-4 <= BitFit().learning_rate(768) == 20 * Full().learning_rate(768) <= 1e-3
    assert BitFit().learning_rate(32) == 5e-3
