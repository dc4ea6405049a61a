"""From examples to features: tokenised once and in parts, held in a file where they are many or to be used again."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reasoner.data import feature_file
from reasoner.data.examples import Example
from reasoner.data.feature_file import CannotHoldError, FeatureFile, write_features
from reasoner.data.features import Feature
from reasoner.errors import ConfigError
from reasoner.notices import adding_to, counting, say, say_totals
from reasoner.tasks.base import Task

PART = 1_000
"""How many examples are tokenised at a time, where the features go into a file. No more than these stay in memory."""

Features = Sequence[Sequence[Feature]]


def encode(
    task: Task[Any, Any],
    examples: Sequence[Any],
    tokenizer: Any,
    *,
    max_length: int,
    stride: int,
    name: str = "",
    cache: str | Path | None = None,
) -> Features:
    """Return the features of each example; what was cut is said, with the split's `name` before it.

    More than `PART` examples are tokenised part by part into a temporary file, which goes when the features go.

    Args:
        task: makes the features.
        examples: a split.
        tokenizer: a fast one.
        max_length: tokens a feature.
        stride: tokens that windows share.
        name: of the split.
        cache: a folder where the file is kept and found again by its content: what was encoded so before is read, and
            nothing is tokenised.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    make = partial(task.encode, tokenizer=tokenizer, max_length=max_length, stride=stride)
    prefix = f"{name}: " if name else ""
    if not examples or (cache is None and len(examples) <= PART):
        with counting(prefix):
            return make(examples)
    total: Counter[str] = Counter()
    try:
        with adding_to(total):
            if cache is not None and (key := _key(task, examples, tokenizer, [max_length, stride])):
                return _cached(Path(cache) / f"{key}.arrow", make, examples, total, prefix)
            if cache is not None:
                say(f"{prefix}feature_cache is not used: the class of the task is in no file, or rows or settings hold "
                    "what is no JSON value, so that nobody can tell whether they are the same again.")  # fmt: skip
            folder = TemporaryDirectory(prefix="reasoner-", ignore_cleanup_errors=True)
            path = Path(folder.name) / "features.arrow"
            write_features(path, _parts(make, examples))
            return FeatureFile(path, keeper=folder)
    except CannotHoldError as reason:
        say(f"{prefix}the features stay in memory, since a file cannot hold them: {reason}.")
        total.clear()
        with adding_to(total):
            return make(examples)
    finally:
        say_totals(total, prefix)


def _parts(make: Any, examples: Sequence[Any]) -> Iterator[Features]:
    return (make(examples[start : start + PART]) for start in range(0, len(examples), PART))


def _cached(path: Path, make: Any, examples: Sequence[Any], total: Counter[str], prefix: str) -> FeatureFile:
    """Return the features from a file of the cache, which is written if it is not there or is broken."""
    found = _read(path, len(examples), prefix)
    if found is not None:
        features, notices = found
        for notice in notices:
            say(prefix + notice)
        say(f"{prefix}features were read from feature_cache; nothing was tokenised.")
        return features
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_features(beside, _parts(make, examples), key=path.stem)
        notices = [message.format(n=number) for message, number in total.items()]
        about = json.dumps({"sha256": _digest(beside), "rows": len(examples), "notices": notices}, indent=1)
        beside.replace(path)
        beside.write_text(about, encoding="utf-8")
        beside.replace(path.with_suffix(".json"))  # last: a file without it does not count
        return FeatureFile(path)
    except OSError as error:
        raise ConfigError(f"feature_cache: {path.parent} cannot be written ({error}). Name another folder.") from error
    finally:
        if beside.exists():  # something went wrong
            beside.unlink()


def _read(path: Path, number: int, prefix: str) -> tuple[FeatureFile, list[str]] | None:
    """Return what is kept for `number` examples, and what was said when it was made; None: nothing that can be used."""
    if not path.exists():
        return None
    try:
        about = json.loads(path.with_suffix(".json").read_text("utf-8"))
        if about["sha256"] != _digest(path):
            raise ValueError("it is not as it was written")
        features = FeatureFile(path)
        if features.key != path.stem or len(features) != number:
            raise ValueError("it is of other rows")
        return features, [str(notice) for notice in about["notices"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        say(f"{prefix}the file in feature_cache is broken and is made anew ({type(error).__name__}: {error}).")
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _key(task: Task[Any, Any], examples: Sequence[Any], tokenizer: Any, limits: list[int]) -> str | None:
    """Return a name for everything that features are made of: rows, tokenizer, task, limits, and the code itself.

    None: a class comes from no file (a notebook, say), or a value is no JSON value.
    """
    classes = {cls for one in {type(task), *map(type, examples)} for cls in one.__mro__}
    modules = {cls.__module__ for cls in classes if issubclass(cls, (Task, Example))}
    code = [getattr(sys.modules.get(module), "__file__", None) for module in sorted(modules)]
    if None in code:
        return None
    own = sorted(Path(feature_file.__file__).parent.glob("*.py"))
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # left there by an earlier call; each call sets its own
    backend.no_padding()
    tokenizing = [_name(tokenizer), tokenizer.model_input_names, tokenizer.truncation_side,
                  getattr(tokenizer, "split_special_tokens", False), backend.to_str()]  # fmt: skip
    packages = [version(package) for package in ("tokenizers", "transformers")]
    digest = sha256()
    try:
        for part in (limits, packages, tokenizing, [_name(task), task.settings()], *map(_content, examples)):
            digest.update(json.dumps(part, default=_plain).encode() + b"\n")
    except (TypeError, ValueError):
        return None
    for path in (*map(Path, code), *own):  # type: ignore[arg-type]
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _content(example: Any) -> list[Any]:
    """Return what an example holds, but for where it was read."""
    fields: Mapping[str, Any] = example.__dataclass_fields__
    return [_name(example), *(getattr(example, name) for name in fields if name != "where")]


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _plain(value: Any) -> Any:
    """Return a number or an array of NumPy as JSON has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError
