"""A state of training in a folder: how is it written so that it is there whole or not at all, and how is that seen?"""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reasoner.errors import CheckpointError

State = dict[str, Any]
"""JSON values and tensors, in dicts and lists; keys are strings. Tuples come back as lists."""

FORMAT = 1
MANIFEST, VALUES = "manifest.json", "values.json"
TENSOR = "__tensor__"
"""The key of what stands in `VALUES` for a tensor."""
UNFINISHED = "."
"""What the name of a folder begins with that is being written or removed."""


def write(folder: Path, state: State) -> None:
    """Write a state to a new folder: beside it first, each file flushed to the disk, the manifest last, then renamed.

    Tensors are in the safetensors format, a file for each key of the state; all else is JSON. The manifest has the size
    and the SHA-256 of each file.

    Raises:
        CheckpointError: if it cannot be written; nothing is left of it then.
        TypeError: if the state holds what is neither a tensor nor a JSON value.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    beside = folder.with_name(f"{UNFINISHED}{folder.name}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        values = {}
        for key, part in state.items():
            tensors: dict[str, Tensor] = {}
            values[key] = _without_tensors(part, tensors)
            if tensors:
                save_file(tensors, beside / f"{key}.safetensors")
        (beside / VALUES).write_bytes(_json(values))
        files = {path.name: _described(path) for path in sorted(beside.iterdir())}
        (beside / MANIFEST).write_bytes(_json({"format": FORMAT, "files": files}))
        flush(beside)
        beside.rename(folder)
        flush_folder(folder.parent)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"The checkpoint '{folder}' could not be written: {error}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def fault(folder: Path) -> str:
    """Return what is wrong with a checkpoint, as the end of a sentence; nothing if every byte is as it was written."""
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = json.loads(text)
        if _json(manifest) != text or manifest.keys() != {"format", "files"}:
            return f"{MANIFEST} is damaged"
        if manifest["format"] != FORMAT:
            return f"it has format {manifest['format']!r}, and this version reads {FORMAT}"
        for name, wanted in manifest["files"].items():
            if Path(name).name != name:
                return f"{MANIFEST} names '{name}', which is outside of it"
            found = _described(folder / name)
            if found["bytes"] != wanted["bytes"]:
                return f"{name} has {found['bytes']:,} bytes instead of {wanted['bytes']:,}"
            if found != wanted:
                return f"the content of {name} has changed"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except OSError as error:
        return f"it cannot be read ({error})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{MANIFEST} is damaged ({type(error).__name__}: {error})"
    return ""


def read(folder: Path) -> State:
    """Return the state that a checkpoint holds; the tensors are on the CPU. See `fault` first.

    Raises:
        CheckpointError: if it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        values = json.loads((folder / VALUES).read_bytes())
        files = {key: folder / f"{key}.safetensors" for key in values}
        tensors = {key: load_file(path) if path.exists() else {} for key, path in files.items()}
        return {key: _with_tensors(part, tensors[key]) for key, part in values.items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"The checkpoint '{folder}' cannot be read: {error}.") from error


def remove(folder: Path) -> None:
    """Remove a folder; one whose removal was broken off has no longer the name of one that is whole."""
    going = folder.with_name(f"{UNFINISHED}{folder.name}")
    shutil.rmtree(going, ignore_errors=True)
    folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def flush(folder: Path) -> None:
    """Wait until the files that are in a folder, and in folders in it, are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where a system lets a folder be opened (not Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _json(values: Any) -> bytes:
    """Return JSON on one line, the same for the same values; NaN and infinity are written as Python reads them."""
    return json.dumps(values).encode()


def _described(path: Path) -> dict[str, Any]:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return JSON values in which a number stands for each tensor, and put the tensors under these numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # a copy: the format allows no two tensors on the same memory, as tied buffers may be
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {TENSOR: name}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"the keys {list(value)!r:.60} are no strings")
        return {key: _without_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(item, tensors) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{value!r:.60} is neither a tensor nor a JSON value")


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {TENSOR}:
            return tensors[value[TENSOR]].clone()  # the file may be removed, and memory be mapped to it
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    return [_with_tensors(item, tensors) for item in value] if isinstance(value, list) else value
