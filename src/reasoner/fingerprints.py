"""Is this the same model, data or task as last time? A name for each, made of its content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reasoner.methods.base import Method
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig

WITHOUT_EFFECT = ("disable_tqdm", "feature_cache", "checkpoint_steps", "keep_checkpoints")
"""Settings that change no result."""
_FILES_OF_A_MODEL = (".safetensors", ".bin", ".json", ".txt", ".model")


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return a name of 16 hexadecimal digits for JSON values."""
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def of_model(model: str | Path | nn.Module) -> str:
    """Return a name for a model: of a folder or a loaded model by its content, of a Hub id the id itself."""
    digest = sha256()
    if isinstance(model, nn.Module):
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    elif Path(model).is_dir():
        for path in sorted(Path(model).rglob("*")):
            if path.suffix in _FILES_OF_A_MODEL:
                digest.update(path.relative_to(model).as_posix().encode())
                with path.open("rb") as file:
                    while part := file.read(1 << 20):
                        digest.update(part)
    else:
        return str(model)
    return digest.hexdigest()[:16]


def of_examples(splits: Mapping[str, Sequence[Any]]) -> str:
    """Return a name for the examples of all splits; where they were read does not count."""
    digest = sha256()
    for split, examples in splits.items():
        digest.update(f"{split} {len(examples)}\n".encode())
        for example in examples:
            digest.update(f"{example!r}\n".encode())
    return digest.hexdigest()[:16]


def of_task(task: Task[Any, Any]) -> str:
    """Return a name for a task: its class, its settings and what it learned from the data."""
    return fingerprint({"class": _path(task), "settings": task.settings()})


def of_method(method: Method) -> str:
    """Return a readable name for a method: its class and its settings."""
    return f"{_path(method)} {method!r}"


def of_tokenizer(tokenizer: Any) -> str:
    """Return a name for a tokenizer that was given; "" for none."""
    return "" if tokenizer is None else sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()[:16]


def of_config(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings that have an effect on the result; a teacher by its content."""
    values = {name: value for name, value in config.to_dict().items() if name not in WITHOUT_EFFECT}
    if isinstance(config.teacher, (str, Path)):
        values["teacher"] = of_model(config.teacher)
    elif config.teacher is not None:
        given = config.teacher.predictor
        parts = [of_model(given.model), of_task(given.task), given.max_length, given.stride]
        values["teacher"] = fingerprint({"teacher": parts})
    return values


def _path(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
