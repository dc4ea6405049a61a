"""Does each way to name a range mean what it says, and is what makes no sense refused before any trial?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

optuna = pytest.importorskip("optuna", reason="the extra 'search' is not installed")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402

from reasoner.errors import ConfigError  # noqa: E402
from reasoner.experiments.search_space import default_space, described, draw, make_space, with_values  # noqa: E402
from reasoner.methods.freeze import Freeze  # noqa: E402
from reasoner.methods.full import Full  # noqa: E402
from reasoner.methods.head import HeadOnly  # noqa: E402
from reasoner.registry import resolve  # noqa: E402
from reasoner.training.config import TrainingConfig  # noqa: E402

PLAIN = TrainingConfig()


@pytest.mark.parametrize(
    ("name", "values", "distribution"),
    [
        ("learning_rate", (1e-5, 1e-3), FloatDistribution(1e-5, 1e-3)),
        ("learning_rate", (1e-5, 1e-3, "log"), FloatDistribution(1e-5, 1e-3, log=True)),
        ("num_train_epochs", (2, 5), IntDistribution(2, 5)),
        ("per_device_train_batch_size", (4, 64, "log"), IntDistribution(4, 64, log=True)),
        ("weight_decay", (0, 0.1), FloatDistribution(0.0, 0.1)),
        ("optim", ["adamw", "sgd"], CategoricalDistribution(["adamw", "sgd"])),
        ("dropout", [None, 0.0, 0.1], CategoricalDistribution([None, 0.0, 0.1])),
        ("method", ["full", "head"], CategoricalDistribution(["full", "head"])),
        ("warmup_steps", FloatDistribution(0.0, 0.2, step=0.05), FloatDistribution(0.0, 0.2, step=0.05)),
    ],
)
def test_a_range_is_named(name: str, values: Any, distribution: Any) -> None:
    assert make_space({name: values}, Full(), PLAIN) == {name: distribution}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "the space is empty"),
        ({"learning_rate": (1e-3,)}, "learning_rate is"),
        ({"learning_rate": (1e-3, 1e-5)}, r"Give \(low, high\), \(low, high, 'log'\), a list of plain values"),
        ({"learning_rate": (1e-5, 1e-3, "linear")}, "'linear' is not 'log'"),
        ({"learning_rate": 1e-3}, "learning_rate is 0.001"),
        ({"optim": []}, "optim is"),
        ({"optim": ["adamw", "adam"]}, "optim is 'adam'; it must be one of adamw, sgd"),
        ({"num_train_epochs": (0, 3)}, "num_train_epochs is 0"),
        ({"weight_decay": (0.0, 0.1), "learningrate": (0.0, 0.1)}, "Did you mean 'learning_rate'"),
        ({"method": ["full", "hed"]}, "There is no method named 'hed'"),
        ({"method.layer": (1, 2)}, "Full has no setting named 'layer'"),
        ({"method": ["head"], "method.layers": (1, 2)}, "Search them one after the other"),
    ],
)
def test_what_makes_no_sense_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_space(space, Full(), PLAIN)


@given(st.sampled_from([Full(), HeadOnly(), Freeze(layers=2)]), st.sampled_from([128, 384, 768, 1024]))
def test_the_default_holds_the_rule_of_the_method_in_its_middle(method: Any, width: int) -> None:
    space = make_space(default_space(method, width, PLAIN), method, PLAIN)
    rates, rule = space["learning_rate"], method.learning_rate(width)
    assert rates.log and (rates.low * rates.high) ** 0.5 == pytest.approx(rule)
    assert space.keys() == {
        "learning_rate", "per_device_train_batch_size", "num_train_epochs", "weight_decay", "warmup_steps"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["lora", "adapter", "prefix", "prompt", "full", "ia3", "top-k"])
def test_a_method_brings_settings_of_its_own(name: str) -> None:
    method = resolve("method", name)()
    own = {key.removeprefix("method."): where for key, where in default_space(method, 384, PLAIN).items() if "." in key}
    assert own == dict(method.searched)
    for setting, values in own.items():
        assert getattr(method, setting) in values  # the default is among them
        changed = replace(method, **{setting: max(values)})
        assert f"method.{setting}" not in default_space(changed, 384, PLAIN) or max(values) == getattr(method, setting)
    make_space(default_space(method, 384, PLAIN), method, PLAIN)


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"max_steps": 10}, {"num_train_epochs"}),
        ({"tokens_per_batch": 512}, {"per_device_train_batch_size"}),
        ({"learning_rate": 1e-4, "weight_decay": 0.02}, {"learning_rate", "weight_decay"}),
        ({"seed": 3, "optim": "sgd"}, set()),
    ],
)
def test_what_is_set_or_has_no_effect_is_not_searched(settings: dict[str, Any], left_out: set[str]) -> None:
    whole = default_space(Full(), 384, PLAIN)
    assert default_space(Full(), 384, TrainingConfig(**settings)).keys() == whole.keys() - left_out


def test_values_go_where_they_belong() -> None:
    method, config = with_values(Freeze(embeddings=False), PLAIN, {"method.layers": 3, "learning_rate": 1e-4})
    assert (method, config) == (Freeze(layers=3, embeddings=False), TrainingConfig(learning_rate=1e-4))
    assert with_values(Freeze(), PLAIN, {"method": "head"}) == (HeadOnly(), PLAIN)


def test_each_kind_is_drawn_from_its_range() -> None:
    space = make_space(
        {
            "learning_rate": (1e-5, 1e-3, "log"),
            "num_train_epochs": (2, 3),
            "optim": ["sgd"],
            "warmup_steps": FloatDistribution(0.0, 0.2, step=0.1),
        },
        Full(),
        PLAIN,
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [draw(study.ask(), space) for _ in range(30)]
    assert [trial.distributions for trial in study.get_trials()] == [space] * 30
    assert {values["num_train_epochs"] for values in drawn} == {2, 3}
    assert {round(values["warmup_steps"], 3) for values in drawn} == {0.0, 0.1, 0.2}
    assert sum(values["learning_rate"] < 1e-4 for values in drawn) in range(8, 23)  # linear: about 3


def test_a_space_is_described_in_the_order_of_its_names() -> None:
    one = make_space({"optim": ["sgd"], "dropout": (0.0, 0.1)}, Full(), PLAIN)
    assert list(described(one)) == ["dropout", "optim"]
    assert described(one)["dropout"]["attributes"]["high"] == 0.1
