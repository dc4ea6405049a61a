"""May the folder of a model be read, though somebody else wrote it? What a look at its files can tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LARGEST_JSON = 64 * 2**20
"""Bytes. The tokenizers of 250,000 tokens that are on the Hub have 15 to 35 million."""
DEEPEST_JSON = 200
"""Brackets inside of brackets; a parser that calls itself for each has a limit of about a thousand."""


def problem_of(folder: Path) -> str | None:
    """Return what is wrong with a model folder, and what to do; None: nothing that can be seen from outside.

    Looked for are links and names that lead out of the folder (but for those with which the Hub's cache is made), and
    JSON that is too large or nested too deep to be read. Weights are read as safetensors, or without running code; and
    code in a folder is never run: for these nothing must be looked for.
    """
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not _leads_inside(path, folder):
            return f"'{path}' is a link out of the folder. Copy the file to its place, if you trust it"
        if path.suffix == ".json" and path.is_file():
            if path.stat().st_size > LARGEST_JSON:
                return f"'{path}' has more than {LARGEST_JSON // 2**20} MiB, and no settings are so large"
            content = path.read_bytes()
            if _is_deep(content):
                return f"'{path}' is nested more than {DEEPEST_JSON} deep, and no settings are"
            if path.name.endswith(".index.json") and (names := _outside(content)):
                return f"'{path}' names files outside of the folder, such as '{names[0]}'"
    return None


def _leads_inside(path: Path, folder: Path) -> bool:
    target, folder = path.resolve(), folder.resolve()
    allowed = [folder]
    if folder.parent.name == "snapshots":  # in the Hub's cache
        allowed.append(folder.parent.parent / "blobs")
    return any(target.is_relative_to(place) for place in allowed)


def _is_deep(content: bytes) -> bool:
    characters = np.frombuffer(content, np.uint8)
    steps = np.isin(characters, [*b"[{"]).astype(np.int8) - np.isin(characters, [*b"]}"]).astype(np.int8)
    if not len(steps) or np.cumsum(steps, dtype=np.int64).max() <= DEEPEST_JSON:
        return False
    try:  # the brackets may stand inside of strings
        value = json.loads(content)
    except RecursionError:
        return True
    except ValueError:  # no JSON: whoever reads it says so
        return False
    level, depth = [value], 0
    while level and depth <= DEEPEST_JSON:
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        level, depth = [item for values in inner for item in values], depth + bool(inner)
    return depth > DEEPEST_JSON


def _outside(content: bytes) -> list[str]:
    """Return the names in an index of weight files that are no plain names."""
    try:
        names = {str(name) for name in json.loads(content)["weight_map"].values()}
    except (ValueError, LookupError, TypeError, AttributeError):  # whoever reads it says so
        return []
    return sorted(name for name in names if Path(name).name != name or name == ".." or "\\" in name)
