"""What does a task's input look like, as JSON schema?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reasoner.tasks.base import Task
from reasoner.tasks.several import SeveralTasks

_TEXT = {"type": "string"}
_KINDS: dict[str, dict[str, Any]] = {
    "text": _TEXT,
    "texts": {"type": "array", "items": _TEXT, "minItems": 1},
    "choices": {"type": "array", "items": _TEXT, "minItems": 2},
    "words": {"type": "array", "items": _TEXT},
    "span": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2},
}
_SAID = {
    "choices": "the model runs once for each",
    "words": "in place of the text",
    "span": "the first character in `text`, and the one after the last",
}


def inputs_of(task: Task[Any, Any]) -> dict[str, str]:
    """Return what an input holds by name, and of what kind (see `Example.inputs`); empty: the task does not say."""
    inputs = dict(task.schema(task.settings()).inputs)
    if not inputs and isinstance(task, SeveralTasks):
        for part in task.tasks.values():
            inputs |= inputs_of(part)
    return inputs


def input_schema(inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the JSON schema of one input."""
    if not inputs:
        return {"description": "What `predict` of the task takes."}
    properties = {}
    for name, kind in inputs.items():
        plain = kind.removesuffix("?")
        properties[name] = {**_KINDS[plain], **({"description": _SAID[plain]} if plain in _SAID else {})}
    needed = [name for name, kind in inputs.items() if not kind.endswith("?") and kind != "words"]
    words = next((name for name, kind in inputs.items() if kind == "words"), None)
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if words is None:
        found["required"] = needed
    else:
        found["anyOf"] = [{"required": needed}, {"required": [words]}]
    return {"anyOf": [found, _TEXT]} if needed == ["text"] else found


def request_schema(inputs: Mapping[str, str], *, rows: int, coverage: bool) -> dict[str, Any]:
    """Return the JSON schema of the body of a request.

    Args:
        inputs: see `inputs_of`.
        rows: the most that a request may hold.
        coverage: whether the model can give label sets.
    """
    one = input_schema(inputs)
    properties: dict[str, Any] = {
        "inputs": {"anyOf": [one, {"type": "array", "items": one, "maxItems": rows}]},
        "min_confidence": {"type": "number", "minimum": 0, "maximum": 1},
    }
    if coverage:
        properties["coverage"] = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {"type": "object", "properties": properties, "required": ["inputs"], "additionalProperties": False}
