"""Are settings checked all at once, before anything is loaded?"""

from __future__ import annotations

import ast
import inspect
import json
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise

import pytest

from reasoner.errors import ConfigError
from reasoner.training import config as module
from reasoner.training.config import TrainingConfig


def test_the_defaults_are_valid_and_json():
    assert TrainingConfig(**json.loads(json.dumps(TrainingConfig().to_dict()))) == TrainingConfig()


def test_a_config_is_frozen_and_takes_names_alone():
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().seed = 1
    with pytest.raises(TypeError):
        TrainingConfig(3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_train_epochs", 0),
        ("num_train_epochs", 1.5),
        ("num_train_epochs", True),
        ("max_steps", 0),
        ("max_steps", -1),
        ("per_device_train_batch_size", 0),
        ("per_device_eval_batch_size", 2.0),
        ("tokens_per_batch", 0),
        ("tokens_per_batch", 512.0),
        ("gradient_accumulation_steps", 0),
        ("learning_rate", 0),
        ("learning_rate", -1e-4),
        ("learning_rate", "1e-4"),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("optim", "adam"),
        ("sgd_momentum", 1.0),
        ("sgd_momentum", -0.1),
        ("adam_beta1", 1.0),
        ("adam_beta2", -0.1),
        ("adam_epsilon", 0),
        ("weight_decay", -0.1),
        ("weight_decay", float("nan")),
        ("lr_scheduler_type", "polynomial"),
        ("warmup_steps", -1),
        ("max_grad_norm", -1.0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("eval_steps", 0),
        ("patience", 0),
        ("min_delta", -0.1),
        ("evaluate_before", "no"),
        ("validation_share", 0.0),
        ("validation_share", 1.0),
        ("max_length", 0),
        ("stride", -1),
        ("stride", 16.0),
        ("seed", -1),
        ("seed", 0.5),
        ("seed", None),
        ("bf16", "yes"),
        ("full_determinism", None),
        ("use_cpu", 1),
        ("logging_steps", 0),
        ("on_divergence", "skip"),
        ("on_divergence", None),
        ("disable_tqdm", None),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(**{name: value})
    assert str(caught.value).startswith(f"{name} is {value!r}; it must be ")


def test_every_setting_is_checked():
    """There is no field that takes anything."""

    class Nonsense:
        pass

    for item in fields(TrainingConfig):
        with pytest.raises(ConfigError, match=f"^{item.name} is "):
            TrainingConfig(**{item.name: Nonsense()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("warmup_steps", 0),
        ("warmup_steps", 100),
        ("max_grad_norm", 0),
        ("dropout", 0),
        ("stride", 0),
        ("sgd_momentum", 0),
        ("adam_beta1", 0.0),
        ("weight_decay", 0),
        ("seed", 0),
        ("bf16", True),
        ("bf16", False),
        ("patience", 1),
    ],
)
def test_values_at_the_border_are_taken(name, value):
    assert getattr(TrainingConfig(**{name: value}), name) == value


def test_all_problems_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(num_train_epochs=0, learning_rate=-1.0, optim="lion")
    text = str(caught.value)
    assert "num_train_epochs is 0" in text and "learning_rate is -1.0" in text
    assert "optim is 'lion'; it must be one of adamw, sgd." in text


def test_an_unknown_override_suggests_the_near_name():
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_overrides(None, {"lerning_rate": 1e-4, "epochs": 3, "seed": 1})
    text = str(caught.value)
    assert "There is no setting named 'lerning_rate'. Did you mean 'learning_rate'?" in text
    assert "There is no setting named 'epochs'." in text and "'seed'" not in text.replace("Known", "")


def test_overrides_change_a_copy():
    first = TrainingConfig(seed=3, max_steps=7)
    second = TrainingConfig.from_overrides(first, {"max_steps": None, "dropout": 0.0})
    assert (first.seed, first.max_steps, first.dropout) == (3, 7, None)
    assert (second.seed, second.max_steps, second.dropout) == (3, None, 0.0)
    assert TrainingConfig.from_overrides(None, {}) == TrainingConfig()
    with pytest.raises(ConfigError, match=r"^seed is -1"):
        TrainingConfig.from_overrides(first, {"seed": -1})


def test_every_field_has_a_docstring_under_it():
    (definition,) = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    body = definition.body
    documented = {
        node.target.id
        for node, after in pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and len(after.value.value) > 10
    }
    assert documented == {item.name for item in fields(TrainingConfig)}
