"""The model folder: what is written into it, and how it is read back."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from fnmatch import fnmatch
from math import inf
from pathlib import Path
from typing import Any

from reasoner.added import BOTTLENECK_FILE, PEFT_CONFIG, PEFT_WEIGHTS
from reasoner.base_model import model_source, name_of_base
from reasoner.errors import CheckpointError, ConfigError
from reasoner.inference import Predictor
from reasoner.model import HEAD_FILE, TaskModel
from reasoner.proof import prove
from reasoner.registry import name_of, resolve
from reasoner.reports.run import Run
from reasoner.training.checkpoint_files import flush, flush_folder
from reasoner.untrusted import problem_of

CONFIG_FILE = "reasoner_config.json"
TEMPLATES = "additional_chat_templates"
"""A folder that transformers' tokenizers write where they have several templates."""
ONNX_FILE = "model.onnx"
"""The network of a folder that `export_onnx` wrote."""
SAVING = ".saving-"
"""What the names of folders begin with that are being written."""
FINISHED = "finished"
"""The key of what a run was made of; a model that was saved before the end of its run has none."""
WEIGHT_FILES = (
    *("model*.safetensors", "model.safetensors.index.json", HEAD_FILE),
    *(PEFT_CONFIG, PEFT_WEIGHTS, BOTTLENECK_FILE),
)
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a file with other content than ours leads to."""


def save_folder(
    folder: str | Path, predictor: Predictor, run: Run, *, finished: Mapping[str, Any] | None = None
) -> None:
    """Write weights, tokenizer, config, the record of the run and the model card into `folder`.

    All is first written beside, read again to prove that it gives the same outputs, and moved in place file by file:
    what an earlier run left there is not lost to a failure. Other files in the folder are left alone.

    Args:
        folder: where; it is made if need be.
        predictor: what is saved.
        run: its record.
        finished: what a run was made of that has come to its end; then the files are flushed to the disk.

    Raises:
        CheckpointError: if the folder cannot be written, or what is read again is not what was written.
        ConfigError: if the task is not registered, so that no one could read the folder again.
    """
    record = {**record_of(predictor), **({} if finished is None else {FINISHED: dict(finished)})}
    with written(folder, flushed=finished is not None) as temporary:
        _write_model(temporary, predictor, run)
        write_record(temporary, record, run)


@contextmanager
def written(folder: str | Path, *, own: Sequence[str] = WEIGHT_FILES, flushed: bool = False) -> Iterator[Path]:
    """Give an empty folder to write into, and move its files in place when the block ends without an error.

    Args:
        folder: where the files are to be; it is made if need be.
        own: what is removed of what an earlier call left, where the block wrote no such file.
        flushed: write all to the disk itself.

    Raises:
        CheckpointError: if the folder cannot be written.
    """
    from safetensors import SafetensorError

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=SAVING, dir=folder))
    except OSError as error:
        raise CheckpointError(
            f"The folder '{folder}' cannot be written: {error}. Choose another output_dir."
        ) from error
    try:
        yield temporary
        if flushed:
            flush(temporary)
        _move_in_place(temporary, folder, own)
        if flushed:
            flush_folder(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"The model could not be saved in '{folder}': {error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def record_of(predictor: Predictor) -> dict[str, Any]:
    """Return what makes a folder ours: the task, and what its predictor was made with.

    Raises:
        CheckpointError: if nothing says where the base model is, and the folder is not to hold it.
        ConfigError: if the task is not registered, so that no one could read the folder again.
    """
    return {
        "task": name_of("task", type(predictor.task)),
        "task_settings": predictor.task.settings(),
        "max_length": predictor.max_length,
        "stride": predictor.stride,
        "temperature": predictor.model.head.temperature,
        "base_model": predictor.model.base,
    }


def write_record(folder: Path, record: Mapping[str, Any], run: Run) -> None:
    """Write what `record_of` gave, and the record of the run."""
    text = json.dumps({**record, "run": run.to_dict()}, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text, "utf-8")


def save_tokenizer(folder: Path, tokenizer: Any) -> None:
    """Write the tokenizer's files."""
    tokenizer.backend_tokenizer.no_truncation()  # or the file would hold that of the last call
    tokenizer.save_pretrained(folder)


def _write_model(folder: Path, predictor: Predictor, run: Run) -> None:
    """Write weights and tokenizer, prove that they are read again as they are, and write the model card."""
    from reasoner.reports.card import model_card

    predictor.model.save(folder)
    save_tokenizer(folder, predictor.tokenizer)
    prove(folder, predictor)
    run.bytes_on_disk = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    head = predictor.model.head
    elsewhere = [note for note in (head.elsewhere, predictor.task.elsewhere()) if note]
    kept_apart = _kept_apart(folder)
    card = model_card(run, auto_class=head.auto_class, kept_apart=kept_apart, elsewhere=elsewhere)
    (folder / "README.md").write_text(card, "utf-8")


def load_folder(
    folder: str | Path,
    *,
    base_model: str | Path | None = None,
    read_model: Callable[[Path, Any], TaskModel] | None = None,
    **settings: Any,
) -> tuple[Predictor, Run]:
    """Read what `save_folder` wrote.

    Args:
        folder: a folder on disk.
        base_model: where the base model is, if the folder holds what was added to one, and it is not where it was.
        read_model: makes the model of the folder and the task; None: of the weights that `save_folder` wrote.
        settings: further fields of `Predictor`, such as `batch_size`.

    Raises:
        CheckpointError: if a file is missing, is no valid JSON, or names a task or head that nobody registered; or the
            base model is not there, or has other weights.
        ConfigError: if `base_model` is given and the folder needs none.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer

    folder = Path(folder)
    if folder.is_dir() and (problem := problem_of(folder)):
        raise CheckpointError(f"'{folder}' is not read: {problem}.")
    if read_model is None and (folder / ONNX_FILE).is_file():
        raise CheckpointError(f"'{folder}' holds an ONNX model. Read it with reasoner.load_onnx(folder).")
    task, run, temperature, limits, base = _read_record(folder)
    if base_model is not None:
        if base is None:
            raise ConfigError(f"'{folder}' holds all weights of its model. Leave base_model out.")
        base = {**base, "name": name_of_base(model_source(base_model))}
    try:
        model = TaskModel.load(folder, task, base=base) if read_model is None else read_model(folder, task)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except ConfigError as error:
        raise CheckpointError(f"'{folder}' needs a part that is not here. {error}") from error
    except (OSError, RuntimeError, SafetensorError, *DAMAGED) as error:
        raise CheckpointError(f"The model in '{folder}' cannot be read: {error}") from error
    named = task.model_config().get("id2label")
    if named and named != model.network.config.id2label:
        raise CheckpointError(
            f"'{folder}' mixes two models: config.json and {CONFIG_FILE} differ in their labels. Save the model again."
        )
    model.eval()
    model.head.temperature = temperature
    return Predictor(model=model, tokenizer=tokenizer, task=task, **limits, **settings), run


def remove_unfinished(folder: Path) -> None:
    """Remove what a process left that was killed while it saved; no other may be at work in the folder."""
    for left in folder.glob(f"{SAVING}*"):
        shutil.rmtree(left, ignore_errors=True)


def made_of_finished(folder: Path) -> dict[str, Any] | None:
    """Return what the run was made of that came to its end in a folder; None if none did, or that cannot be read."""
    try:
        made_of = json.loads((folder / CONFIG_FILE).read_text("utf-8")).get(FINISHED)
    except (OSError, *DAMAGED):
        return None
    return dict(made_of) if isinstance(made_of, dict) else None


def _read_record(folder: Path) -> tuple[Any, Run, float, dict[str, Any], dict[str, Any] | None]:
    """Return the task, the run, the head's temperature, what else the predictor was made with, and the base model."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"'{folder}' holds no {CONFIG_FILE}: it was not written by this library, or is elsewhere."
        )
    try:
        record = json.loads(path.read_text("utf-8"))
        run = Run.from_dict(record["run"])
        limits = {
            "max_length": int(record["max_length"]),
            "stride": int(record["stride"]),
            "conformal_scores": tuple(map(float, run.calibration.get("conformal_scores", ()))),
        }
        temperature = _temperature(record.get("temperature", 1.0))  # older folders have none
        base = record.get("base_model")
        return _task(record["task"], record["task_settings"]), run, temperature, limits, base and dict(base)
    except ConfigError as error:
        raise CheckpointError(f"'{folder}' needs a part that is not here. {error}") from error
    except DAMAGED as error:
        raise CheckpointError(
            f"'{path}' is damaged ({type(error).__name__}: {error}). Save the model again."
        ) from error


def _kept_apart(folder: Path) -> str | None:
    return next((name for name in (PEFT_CONFIG, BOTTLENECK_FILE) if (folder / name).is_file()), None)


def _temperature(value: Any) -> float:
    temperature = float(value)
    if not 0 < temperature < inf:
        raise ValueError(f"the temperature is {value!r}")
    return temperature


def _task(name: str, settings: dict[str, Any]) -> Any:
    task_class = resolve("task", name)
    known = {item.name for item in fields(task_class)}
    return task_class(**{key: value for key, value in settings.items() if key in known})


def _move_in_place(source: Path, folder: Path, own: Sequence[str]) -> None:
    """Move the files, the one that makes a folder ours last, and remove what is our own and was not written now."""
    names = sorted((path.name for path in source.iterdir()), key=lambda name: name == CONFIG_FILE)
    mode = (source / CONFIG_FILE).stat().st_mode  # safetensors lets only the owner read its files
    for name in names:
        if (source / name).is_dir():  # further chat templates: a folder is put in the place of none
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (source / name).chmod(mode)
        (source / name).replace(folder / name)
    for old in folder.iterdir():
        if old.name not in names and any(fnmatch(old.name, pattern) for pattern in own):
            old.unlink()
    if TEMPLATES not in names:
        shutil.rmtree(folder / TEMPLATES, ignore_errors=True)
