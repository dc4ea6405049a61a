"""Does a recipe set what it says, and leave what the user has set?"""

from __future__ import annotations

import pytest

import reasoner
from reasoner import LoRA
from reasoner.notices import collect
from reasoner.recipes import resolve_recipe
from reasoner.registry import TABLES, resolve
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig


def resolved(recipe="best", task="ner", method=None, config=None, **overrides):
    return resolve_recipe(recipe, task=task, method=method, config=config, overrides=overrides)


@pytest.mark.parametrize(
    "task", [name for name in TABLES["task"] if resolve("task", name).__module__.startswith("reasoner.")]
)
def test_every_recipe_of_every_task_can_be_made(task):
    recipes = resolve("task", task).recipes
    assert {"fast", "best"} <= set(recipes)
    for name, settings in recipes.items():
        made = resolved(name, task)
        of_task = made.task.settings() if isinstance(made.task, Task) else {}
        for key, value in settings.items():
            found = type(made.method) if key == "method" else {**made.config.to_dict(), **of_task}[key]
            assert found == (type(resolved(None, task, method=value).method) if key == "method" else value)


def test_what_the_user_has_set_stays_and_both_are_said(monkeypatch):
    class Own(reasoner.NER):
        recipes = {
            "best": {"method": "lora", "num_train_epochs": 7, "ema_decay": 0.9, "head": "crf", "label_smoothing": 0.2}
        }

    monkeypatch.setitem(TABLES["task"], "own", Own)
    with collect() as said:
        made = resolved(
            "best", Own(head="span"), method="head", config=TrainingConfig(ema_decay=0.5), num_train_epochs=3
        )
    assert (made.config.num_train_epochs, made.config.ema_decay) == (3, 0.5)
    assert type(made.method).__name__ == "HeadOnly"
    assert (made.task.head, made.task.label_smoothing) == ("span", 0.2)
    assert said == [
        "recipe='best' for own sets label_smoothing=0.2. Kept as you set it: ema_decay, head, method, num_train_epochs."
    ]
    made = resolved("best", Own())
    assert (made.method, made.task.head, made.config.num_train_epochs) == (LoRA(), "crf", 7)


def test_without_a_recipe_nothing_changes():
    made = resolved(None, "nli", num_train_epochs=2)
    assert made == ("nli", resolve("method", "full")(), TrainingConfig(num_train_epochs=2))


def test_an_unknown_recipe_is_refused():
    with pytest.raises(
        reasoner.ConfigError, match=r"recipe is 'bset', which 'ner' does not have\. Did you mean 'best'\?"
    ):
        resolved("bset")
