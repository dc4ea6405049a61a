"""Does each weight learn at the rate that its place in the network says, and are top layers really new?"""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import reasoner
from reasoner.errors import ConfigError
from reasoner.layerwise import check_reinitialized, rate_factors, reinitialize
from reasoner.methods.freeze import Freeze
from reasoner.notices import collect
from reasoner.tasks.nli import NLI
from reasoner.training.config import TrainingConfig
from reasoner.training.optimizer import make_optimizer
from reasoner.training.trainer import Trainer
from tiny import ARCHITECTURES

# What the names of the weights say, read from the models' listings by hand: two layers, decay 0.5, head 3.
PLACES = (
    (r"network\.\w+\.(encoder\.layer|transformer\.layer|layers)\.0\.", 0.25),
    (r"network\.\w+\.(encoder\.layer|transformer\.layer|layers)\.1\.", 0.5),
    (r"network\.\w+\.(embeddings\.|embeddings_project\.|encoder\.rel_embeddings\.)", 0.125),
    (r"network\.bert\.pooler\.", 3.0),
    (r"network\.model\.final_norm\.|network\.deberta\.encoder\.LayerNorm\.", 1.0),
    (r"network\.(classifier|pre_classifier|pooler|head)\.", 3.0),
)


def by_hand(name: str) -> float:
    (factor,) = [factor for pattern, factor in PLACES if re.match(pattern, name)]
    return factor


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_factors_are_those_of_the_table(prepare, architecture):
    model = prepare(NLI(), architecture=architecture).predictor.model
    factors = rate_factors(model, layer_decay=0.5, head_factor=3.0)
    assert factors == {name: by_hand(name) for name, _ in model.named_parameters()}
    assert set(factors.values()) >= {0.125, 0.25, 0.5, 3.0}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_optimizer_has_these_rates_and_the_same_decay_as_before(prepare, architecture):
    model = prepare(NLI(), architecture=architecture).predictor.model
    config = TrainingConfig(weight_decay=0.3)
    optimizer = make_optimizer(model, config, 2e-3, rate_factors(model, layer_decay=0.5, head_factor=3.0))
    names = {id(weight): name for name, weight in model.named_parameters()}
    held = [(names[id(weight)], group) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(name for name, _ in held) == sorted(names.values())
    weights = dict(model.named_parameters())
    for name, group in held:
        assert group["lr"] == pytest.approx(2e-3 * by_hand(name))
        assert group["weight_decay"] == (0.3 if weights[name].ndim >= 2 else 0.0)


def test_without_either_setting_nothing_is_multiplied(prepare):
    assert rate_factors(prepare(NLI()).predictor.model) == {}


def test_each_setting_alone(prepare):
    model = prepare(NLI()).predictor.model
    decayed = rate_factors(model, layer_decay=0.5)
    assert decayed["network.classifier.weight"] == decayed["network.bert.pooler.dense.weight"] == 1.0
    assert decayed["network.bert.encoder.layer.1.output.dense.weight"] == 0.5
    head = rate_factors(model, head_factor=3.0)
    assert set(head.values()) == {1.0, 3.0}
    assert {name for name, factor in head.items() if factor == 3.0} == {
        f"network.{part}.{kind}" for part in ("classifier", "bert.pooler.dense") for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("method", [reasoner.Prompt(virtual_tokens=4), reasoner.Prefix(virtual_tokens=4)])
def test_virtual_tokens_are_not_of_the_head(prepare, method):
    pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    model = prepare(NLI()).predictor.model
    method.apply(model)
    factors = rate_factors(model, head_factor=3.0)
    learn = {name: factors[name] for name, weight in model.named_parameters() if weight.requires_grad}
    assert {factor for name, factor in learn.items() if "prompt_encoder" in name} == {1.0}
    assert {factor for name, factor in learn.items() if "prompt_encoder" not in name} == {3.0}


def test_a_step_moves_each_weight_as_far_as_its_rate(prepare):
    """Plain SGD: the move is rate times gradient, so that rates can be read from the weights themselves."""
    predictor, data = prepare(NLI(), dropout=0.0, sharp=True)
    model = predictor.model
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    gradients: dict[str, torch.Tensor] = {}
    for name, weight in model.named_parameters():
        weight.register_post_accumulate_grad_hook(
            lambda weight, name=name: gradients.__setitem__(name, weight.grad.clone())
        )
    batches = predictor.batches(data, batch_size=32)
    config = TrainingConfig(use_cpu=True, bf16=False, learning_rate=0.5, warmup_steps=0, optim="sgd", sgd_momentum=0.0,
                            weight_decay=0.0, max_grad_norm=0, max_steps=1, logging_steps=1,
                            lr_scheduler_type="constant")  # fmt: skip
    factors = rate_factors(model, layer_decay=0.5, head_factor=3.0)
    trainer = Trainer(model, batches, config=config, rate_factors=factors)
    assert len(batches) == 1
    history = trainer.train()
    for name, weight in model.named_parameters():
        moved = before[name] - by_hand(name) * 0.5 * gradients[name] / 32
        torch.testing.assert_close(weight.detach(), moved, rtol=1e-5, atol=1e-7)
    assert max(float((weight.detach() - before[name]).abs().max()) for name, weight in model.named_parameters()) > 1e-3
    assert history.rows[-1]["learning_rate"] == 0.5  # that of the setting, whatever the groups have


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_top_layers_are_drawn_anew_and_no_others(prepare, architecture):
    model = prepare(NLI(), architecture=architecture).predictor.model
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(7.0)
    torch.manual_seed(3)
    with collect() as said:
        reinitialize(model.network, 1)
    in_backbone_pooler = architecture == "bert"
    for name, weight in model.named_parameters():
        anew = by_hand(name) == 0.5 or (in_backbone_pooler and ".pooler." in name)
        assert bool((weight != 7.0).all()) == anew, name
        if anew and weight.ndim > 1:
            assert 0.002 < weight.detach().std().item() < 0.05 and abs(weight.detach().mean().item()) < 0.01
        elif anew:
            assert set(weight.tolist()) <= {0.0, 1.0}  # biases, and the weights of norms
    assert ("and the pooler" in said[0]) == in_backbone_pooler


def test_more_layers_than_there_are_is_an_error(prepare):
    with pytest.raises(ConfigError, match="the model has 2 layers"):
        prepare(NLI(), reinitialize_layers=3)


def test_the_setting_reaches_the_model_and_the_same_seed_draws_the_same(prepare):
    plain, one, other = (prepare(NLI(), reinitialize_layers=n).predictor.model.state_dict() for n in (0, 1, 1))
    changed = {name for name in plain if not torch.equal(plain[name], one[name])}
    assert any(".layer.1." in name for name in changed) and not any(".layer.0." in name for name in changed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_random_layers_that_would_stay_random_are_refused(prepare):
    model = prepare(NLI(), reinitialize_layers=1).predictor.model
    Freeze(layers=1).apply(model)
    check_reinitialized(model, 1)
    Freeze(layers=2).apply(model)
    with pytest.raises(ConfigError, match="would stay random"):
        check_reinitialized(model, 1)


def test_a_network_whose_layers_are_not_found_is_refused_only_where_they_matter(prepare):
    model = prepare(NLI()).predictor.model
    model.network.bert.encoder.layer = nn.Sequential(*model.network.bert.encoder.layer)
    assert set(rate_factors(model, head_factor=2.0).values()) == {1.0, 2.0}
    with pytest.raises(ConfigError, match="No stack of 2 layers"):
        rate_factors(model, layer_decay=0.9)
