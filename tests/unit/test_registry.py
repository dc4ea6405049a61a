"""Does a name find its class, from the table, a registration or another library's entry point?"""

from __future__ import annotations

import sys

import pytest

from reasoner.errors import ConfigError
from reasoner.heads.base import TaskHead
from reasoner.methods.base import Method
from reasoner.registry import TABLES, name_of, register_head, register_method, register_task, resolve
from reasoner.tasks.base import Task
from reasoner.verifiers.base import Verifier

BASES = {"task": Task, "head": TaskHead, "method": Method, "verifier": Verifier}
NAMES = [(kind, name) for kind, table in TABLES.items() for name in table]


class Other:
    """Something to register."""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Another library, installed, with entry points."""
    (tmp_path / "other_library.py").write_text("class Sonnets:\n    pass\n\n\nclass Rhymes:\n    pass\n")
    info = tmp_path / "other_library-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-library\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[reasoner.tasks]\nsonnets = other_library:Sonnets\nbroken = other_library:Missing\n"
        "[reasoner.heads]\nrhymes = other_library:Rhymes\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("other_library", None)


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_in_the_table_is_a_class_of_its_kind(kind, name):
    cls = resolve(kind, name)
    assert issubclass(cls, BASES[kind]) and name_of(kind, cls) == name


@pytest.mark.parametrize(
    ("kind", "register"), [("task", register_task), ("head", register_head), ("method", register_method)]
)
def test_a_registered_class_is_found_by_its_name(kind, register, registry):
    register("other", Other)
    assert resolve(kind, "other") is Other and name_of(kind, Other) == "other"
    register("by_path", f"{__name__}:Other")
    assert resolve(kind, "by_path").__name__ == "Other"


def test_a_name_that_is_taken_is_refused(registry):
    with pytest.raises(
        ConfigError, match=r"The task name 'ner' is taken by reasoner.tasks.ner:NER. Choose another name"
    ):
        register_task("ner", Other)
    assert resolve("task", "ner").__name__ == "NER"


def test_the_same_class_may_be_registered_again(registry):
    register_task("other", Other)
    again = type("Other", (), {"__module__": Other.__module__, "__qualname__": Other.__qualname__})  # a cell run twice
    register_task("other", again)
    assert resolve("task", "other") is again


@pytest.mark.parametrize(("kind", "wrong", "near"), [("task", "nre", "ner"), ("method", "frezee", "freeze")])
def test_the_nearest_name_is_suggested(kind, wrong, near):
    with pytest.raises(ConfigError, match=f"There is no {kind} named '{wrong}'. Did you mean '{near}'?"):
        resolve(kind, wrong)


def test_entry_points_are_found_and_suggested(library):
    assert resolve("task", "sonnets").__name__ == "Sonnets"
    assert resolve("head", "rhymes").__name__ == "Rhymes"
    assert name_of("task", resolve("task", "sonnets")) == "sonnets"
    with pytest.raises(ConfigError, match=r"Did you mean 'sonnets'?"):
        resolve("task", "sonets")
    with pytest.raises(ConfigError, match=r"no head named 'sonnets'"):
        resolve("head", "sonnets")


def test_a_name_taken_by_an_entry_point_is_refused(library, registry):
    with pytest.raises(ConfigError, match=r"'sonnets' is taken by other_library:Sonnets"):
        register_task("sonnets", Other)


def test_a_name_that_leads_nowhere_says_where_it_should_lead(library, registry):
    with pytest.raises(ConfigError, match=r"'broken'.*other_library:Missing"):
        resolve("task", "broken")
    register_task("gone", "no_such_module:Task")
    with pytest.raises(ConfigError, match=r"'gone'.*no_such_module"):
        resolve("task", "gone")


def test_an_unregistered_class_has_no_name():
    with pytest.raises(ConfigError, match=r"Other is not registered. Call reasoner.register_head\('a-name', Other\)"):
        name_of("head", Other)
