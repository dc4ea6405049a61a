"""Which weights decay, is the step that of the paper, and where does the learning rate stand at each step?"""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from reasoner.training.config import TrainingConfig
from reasoner.training.optimizer import DecoupledSGD, make_optimizer, make_schedule


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, 2), (4,), (2, 2, 2))
    return [nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator)) for shape in shapes]


def give_gradients(parameters, step):
    generator = torch.Generator().manual_seed(1000 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("optim", ["adamw", "sgd"])
def test_biases_and_norms_do_not_decay(tiny_bert, optim):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    optimizer = make_optimizer(model, TrainingConfig(optim=optim, weight_decay=0.3), 1e-3)
    names = {id(weight): name for name, weight in model.named_parameters()}
    decay = {names[id(w)]: group.get("decay", group["weight_decay"]) for group in optimizer.param_groups
             for w in group["params"]}  # fmt: skip
    assert decay.keys() == set(names.values())
    spared = {name for name, value in decay.items() if value == 0}
    assert spared == {name for name in decay if name.endswith(".bias") or "LayerNorm" in name}
    assert {value for name, value in decay.items() if name not in spared} == {0.3}
    # the embeddings' norm (2), in each of 2 layers 6 biases and 2 norms (2 each), the biases of pooler and head
    assert len(spared) == 2 + 2 * (6 + 2 * 2) + 2


def test_frozen_weights_are_left_to_themselves(tiny_bert):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    model.bert.requires_grad_(False)
    optimizer = make_optimizer(model, TrainingConfig(), 1e-3)
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in model.classifier.parameters()}


def test_vectors_alone_make_one_group():
    (group,) = make_optimizer(nn.LayerNorm(4), TrainingConfig(weight_decay=0.3), 1e-3).param_groups
    assert group["weight_decay"] == 0 and len(group["params"]) == 2


def test_adamw_is_the_paper_s_step():
    """Algorithm 2 of Loshchilov and Hutter (2019), written out."""
    module = nn.ParameterList(weights())
    config = TrainingConfig(weight_decay=0.1, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6)
    optimizer = make_optimizer(module, config, 0.01)
    expected = [weight.detach().clone() for weight in module]
    first, second = [torch.zeros_like(w) for w in expected], [torch.zeros_like(w) for w in expected]
    for step in range(1, 6):
        give_gradients(module, step)
        for i, weight in enumerate(module):
            decay = 0.1 if weight.ndim > 1 else 0.0
            first[i] = 0.8 * first[i] + 0.2 * weight.grad
            second[i] = 0.95 * second[i] + 0.05 * weight.grad**2
            mean, square = first[i] / (1 - 0.8**step), second[i] / (1 - 0.95**step)
            expected[i] = expected[i] * (1 - 0.01 * decay) - 0.01 * mean / (square.sqrt() + 1e-6)
        optimizer.step()
    for weight, value in zip(module, expected, strict=True):
        torch.testing.assert_close(weight.detach(), value, rtol=1e-12, atol=1e-12)


def test_sgd_with_decay_is_the_paper_s_step():
    """Algorithm 1 of Loshchilov and Hutter (2019) with PyTorch's momentum: the buffer holds no learning rate."""
    module = nn.ParameterList(weights())
    optimizer = make_optimizer(module, TrainingConfig(optim="sgd", weight_decay=0.2, sgd_momentum=0.7), 0.05)
    expected = [weight.detach().clone() for weight in module]
    buffers = [torch.zeros_like(value) for value in expected]
    for step in range(5):
        for group in optimizer.param_groups:
            group["lr"] = rate = 0.05 / (step + 1)
        give_gradients(module, step)
        for i, weight in enumerate(module):
            buffers[i] = 0.7 * buffers[i] + weight.grad
            expected[i] = expected[i] * (1 - rate * (0.2 if weight.ndim > 1 else 0)) - rate * buffers[i]
        optimizer.step()
    for weight, value in zip(module, expected, strict=True):
        torch.testing.assert_close(weight.detach(), value, rtol=1e-12, atol=1e-12)


def test_sgd_without_decay_is_that_of_pytorch():
    ours, theirs = nn.ParameterList(weights()), nn.ParameterList(weights())
    optimizers = (
        make_optimizer(ours, TrainingConfig(optim="sgd", weight_decay=0.0, sgd_momentum=0.9), 0.05),
        torch.optim.SGD(theirs, lr=0.05, momentum=0.9),
    )
    for step in range(5):
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            give_gradients(module, step)
            optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_sgd_shrinks_no_weight_that_has_no_gradient():
    used, unused = weights()[0], weights()[0]
    optimizer = DecoupledSGD([{"params": [used, unused], "weight_decay": 0.5}], lr=0.1, momentum=0.0)
    give_gradients([used], 0)
    before = unused.detach().clone()
    optimizer.step()
    assert torch.equal(unused.detach(), before) and not torch.equal(used.detach(), before)


def test_the_optimizer_s_state_can_be_saved_and_read():
    one, other = nn.ParameterList(weights()), nn.ParameterList(weights())
    config = TrainingConfig(optim="sgd", weight_decay=0.2)
    first, second = make_optimizer(one, config, 0.05), make_optimizer(other, config, 0.7)
    give_gradients(one, 0)
    give_gradients(other, 0)
    first.step()
    second.load_state_dict(deepcopy(first.state_dict()))
    for parameter, value in zip(other, one, strict=True):
        parameter.data.copy_(value.data)
    for module, optimizer in ((one, first), (other, second)):
        give_gradients(module, 1)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def rates(total, **settings):
    """Return the learning rate of each step, and the one that would come after the last."""
    config = TrainingConfig(**settings)
    optimizer = make_optimizer(nn.ParameterList(weights()), config, 1.0)
    schedule = make_schedule(optimizer, config, total)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        assert len({group["lr"] for group in optimizer.param_groups}) == 1
        optimizer.step()
        schedule.step()
    return [*seen, optimizer.param_groups[0]["lr"]]


def test_linear():
    expected = [step / 10 for step in range(10)] + [1 - step / 90 for step in range(91)]
    assert rates(100, lr_scheduler_type="linear", warmup_steps=10) == pytest.approx(expected)


def test_cosine():
    expected = [step / 10 for step in range(10)] + [(1 + math.cos(math.pi * step / 90)) / 2 for step in range(91)]
    assert rates(100, lr_scheduler_type="cosine", warmup_steps=10) == pytest.approx(expected, abs=1e-12)


def test_constant():
    assert rates(20, lr_scheduler_type="constant", warmup_steps=4) == pytest.approx([0, 0.25, 0.5, 0.75] + [1.0] * 17)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
def test_a_share_means_as_many_steps(kind):
    assert rates(50, lr_scheduler_type=kind, warmup_steps=0.1) == rates(50, lr_scheduler_type=kind, warmup_steps=5)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
def test_without_warm_up_it_begins_at_the_top(kind):
    seen = rates(10, lr_scheduler_type=kind, warmup_steps=0)
    assert seen[0] == 1.0 and seen[-1] == pytest.approx(1.0 if kind == "constant" else 0.0, abs=1e-12)
