"""Are the public names and their signatures those that tests/public_api.txt holds?

When a change is meant: REASONER_UPDATE_API=1 python -m pytest tests/test_public_api.py, and say it in CHANGELOG.md.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from types import ModuleType
from typing import Any

import reasoner

HERE = Path(__file__).resolve().parent
FROZEN = HERE / "public_api.txt"
UPDATE = "REASONER_UPDATE_API"
ADVICE = f"""
The public API is not what tests/public_api.txt says (- frozen, + now). If the change is meant, say it in CHANGELOG.md,
then freeze it: {UPDATE}=1 python -m pytest tests/test_public_api.py
"""


def public_api() -> list[str]:
    """Return a line for each public name, class attribute and method, with signatures and defaults."""
    lines = []
    for name in sorted(reasoner.__all__):
        value = getattr(reasoner, name)
        if isinstance(value, ModuleType):
            lines.append(f"reasoner.{name}: module")
            for part in _names_of(value):
                lines += _described(f"reasoner.{name}.{part}", getattr(value, part))
        else:
            lines += _described(f"reasoner.{name}", value)
    return lines


def _names_of(module: ModuleType) -> list[str]:
    """Return what a module exports: its `__all__`, or else what it defines in public."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return sorted(name for name in getattr(module, "__all__", own) if not name.startswith("_"))


def _described(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class(path, value)
    elif callable(value):
        yield from _callable(path, value)
    else:
        yield f"{path}: {type(value).__name__}"


def _class(path: str, cls: type) -> Iterator[str]:
    """Give its bases, how it is made, then what it defines and no other exported class above it does."""
    ours = [base for base in cls.__mro__ if base.__module__.startswith("reasoner.")]
    yield f"class {path}({', '.join(base.__name__ for base in cls.__bases__ if base is not object)})"
    if any({"__init__", "__new__"} & vars(base).keys() for base in ours):
        yield from _callable(path, cls)
    fields = {item.name for item in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    fields |= set(getattr(cls, "_fields", ()))
    described = [base for base in ours if base is cls or base.__name__ not in reasoner.__all__]
    members: dict[str, Any] = {}
    types: dict[str, str] = {}
    for base in reversed(described):
        annotations = vars(base).get("__annotations__", {})
        members |= dict.fromkeys(annotations) | vars(base)
        types |= annotations
    for name in sorted(members):
        if not name.startswith("_") and name not in fields:
            yield from _member(f"{path}.{name}", members[name], types.get(name))


def _member(path: str, value: Any, annotation: str | None) -> Iterator[str]:
    kinds = {classmethod: "classmethod ", staticmethod: "staticmethod "}
    abstract = "abstract " if getattr(value, "__isabstractmethod__", False) else ""
    if isinstance(value, property):
        yield f"{abstract}property {path} -> {inspect.signature(value.fget).return_annotation}"
    elif isinstance(value, classmethod | staticmethod):
        yield from _callable(path, value.__func__, kinds[type(value)])
    elif inspect.isfunction(value):
        yield from _callable(path, value, abstract)
    else:
        yield f"{path}: {annotation or type(value).__name__}"


def _callable(path: str, value: Any, kind: str = "") -> Iterator[str]:
    """Give the signature in one line, or with a line for each parameter where it is long."""
    signature = inspect.signature(value)
    parameters: list[str] = []
    keywords = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            parameters.append("*")
            keywords = True
        parameters.append(_plain(parameter))
    made = signature.return_annotation is inspect.Signature.empty or inspect.isclass(value)
    result = "" if made else f" -> {signature.return_annotation}"
    line = f"{kind}{path}({', '.join(parameters)}){result}"
    if len(line) <= 100:
        yield line
    else:
        yield f"{kind}{path}(...){result}"
        yield from (f"    {text}" for text in parameters)


def _plain(parameter: inspect.Parameter) -> str:
    """Return a parameter as it stands in the source; a default that is made anew, or an object, is `...`."""
    text = re.sub(r"ForwardRef\('(.*?)'\)", r"\1", str(parameter))
    text = text.replace(f"'{parameter.annotation}'", str(parameter.annotation))
    return re.sub(r"<factory>|<[^>]* at 0x[0-9a-f]+>", "...", text)


def test_public_api_is_as_frozen():
    now = public_api()
    if os.environ.get(UPDATE):
        FROZEN.write_text("\n".join(now) + "\n", "utf-8")
    frozen = FROZEN.read_text("utf-8").splitlines()
    difference = "\n".join(unified_diff(frozen, now, "public_api.txt", "now", lineterm="", n=1))
    assert not difference, f"{ADVICE}\n{difference}"


def test_the_frozen_file_says_what_matters():
    text = FROZEN.read_text("utf-8")
    for line in (
        "reasoner.fine_tune(...) -> Result",
        "    task: str | Task[Any, Any]",
        "    learning_rate: float | None = None",
        "abstract reasoner.TaskHead.loss(self, outputs: Outputs, batch: Batch) -> LossSum",
        "reasoner.Trainer.train(self, state: dict[str, Any] | None = None) -> History",
        "reasoner.TaskHead.auto_class: ClassVar[str | None]",
        "reasoner.synthetic.ner_pack(...) -> Pack",
    ):
        assert f"\n{line}\n" in f"\n{text}\n"
    assert "0x" not in text and str(Path.home()) not in text


def test_every_public_name_stands_in_the_changelog():
    changelog = (HERE.parent / "CHANGELOG.md").read_text("utf-8")
    missing = [name for name in reasoner.__all__ if not re.search(rf"`(reasoner\.)?{name}\b", changelog)]
    assert missing == [], "name them in CHANGELOG.md, in backticks"


def test_the_version_has_its_heading():
    changelog = (HERE.parent / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## \[{re.escape(reasoner.__version__)}\]", changelog, re.MULTILINE)
