"""A model as ONNX: written with all that decoding needs, proven equal, and read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasoner.comparison import compare
from reasoner.data.features import Batch
from reasoner.errors import CheckpointError, ConfigError
from reasoner.evaluation import Evaluation
from reasoner.inference import Predictor
from reasoner.model import TaskModel, read_config
from reasoner.notices import collect, muted, say
from reasoner.onnx_models.graph import check_installed, quantize, write_graph
from reasoner.onnx_models.network import OnnxNetwork
from reasoner.onnx_models.parity import largest_difference, trial_batches
from reasoner.reports.card import onnx_card
from reasoner.reports.onnx import OnnxExport, OnnxVersion
from reasoner.reports.run import Run
from reasoner.result import Result, load_result
from reasoner.scored_rows import rows_with_gold
from reasoner.storage import (
    ONNX_FILE,
    WEIGHT_FILES,
    load_folder,
    record_of,
    save_tokenizer,
    write_record,
    written,
)

INT8_FILE = "model_int8.onnx"
OWN_FILES = (f"{ONNX_FILE}*", f"{INT8_FILE}*", "head.safetensors")
TOLERANCE = 1e-4


def export_onnx(
    model: Result | str | Path,
    folder: str | Path,
    data: Any,
    *,
    quantized: bool = False,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> OnnxExport:
    """Write a model as ONNX into a folder, with its tokenizer, task and calibration; prove that it gives the same.

    `load_onnx(folder)` predicts as the model does, by the same encoding and decoding. The network is compared with the
    file on rows of several lengths, in batches of several sizes; where an output differs by more than `tolerance`,
    nothing is kept. Then the rows are scored with each. What LoRA or IA3 learned is folded in.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model. It is left as it is.
        folder: where; another one than the model's.
        data: rows with gold, as `Result.evaluate` takes them.
        quantized: write a second file with weights of 8 bits, and score it as well.
        split: which of several splits; None: test, else validation, else train.
        columns: as in `fine_tune`.
        tolerance: the largest difference of an output that is let pass.

    Returns:
        Sizes, differences and scores. Printing it shows them.

    Raises:
        ConfigError: if the extra `onnx` is not installed, the model cannot be written as ONNX (generation, say), or the
            folder holds weights of a model.
        CheckpointError: if the outputs differ, or the folder cannot be written.
        DataError: if a row cannot be used.

    Example:
        >>> print(reasoner.export_onnx("output/model", "output/onnx", "test.jsonl"))  # doctest: +SKIP
    """
    check_installed()
    with collect():
        result = model if isinstance(model, Result) else load_result(model, use_cpu=True)
        folder = _checked_folder(folder)
        plain = _plain(result.predictor)
        name, examples = rows_with_gold(plain.task, data, split=split, columns=columns)
        batches = trial_batches(plain, examples)
        with written(folder, own=OWN_FILES) as temporary:
            write_graph(plain.model, batches[-1], temporary / ONNX_FILE)
            _write_rest(temporary, plain, result.run)
            predictors = {ONNX_FILE: _with_file(plain, temporary / ONNX_FILE)}
            _prove(plain.model, predictors[ONNX_FILE].model, batches, tolerance)
            if quantized:
                quantize(temporary / ONNX_FILE, temporary / INT8_FILE)
                predictors[INT8_FILE] = _with_file(plain, temporary / INT8_FILE)
            versions = _versions(plain, predictors, examples, batches, temporary)
    return OnnxExport(
        task=result.run.task,
        metric=plain.task.primary_metric,
        split=name,
        rows=len(examples),
        folder=str(folder),
        versions=tuple(versions),
    )


def load_onnx(
    folder: str | Path, *, quantized: bool = False, threads: int | None = None, batch_size: int = 64
) -> Result:
    """Return the model that `export_onnx` wrote: it predicts, evaluates and is judged as any other, and learns nothing.

    Args:
        folder: where it is.
        quantized: take the file with weights of 8 bits.
        threads: of ONNX Runtime for one run; None: as many as PyTorch has.
        batch_size: sequences a batch.

    Raises:
        CheckpointError: if the folder cannot be read, or needs a task or head that nobody registered.
        ConfigError: if onnxruntime is not installed (the extra `onnx`).
    """
    file = INT8_FILE if quantized else ONNX_FILE

    def read(folder: Path, task: Any) -> TaskModel:
        config = read_config(folder)
        model = TaskModel(OnnxNetwork(folder / file, config, threads=threads), task.build_head(config))
        model.read_head(folder)
        return model

    return Result(*load_folder(folder, read_model=read, batch_size=batch_size))


def _checked_folder(folder: str | Path) -> Path:
    """Return the folder; refuse one with weights of a model, whose settings would be overwritten."""
    folder = Path(folder)
    if not (folder / ONNX_FILE).exists() and any(path for name in WEIGHT_FILES for path in folder.glob(name)):
        raise ConfigError(f"'{folder}' holds the weights of a model. Choose another folder for the ONNX files.")
    return folder


def _plain(predictor: Predictor) -> Predictor:
    """Return a copy on the CPU, in float32, with what was learned beside the network folded into it where that goes.

    Raises:
        ConfigError: if no ONNX file could do what its head asks for.
    """
    model, head = predictor.model, predictor.model.head
    if isinstance(model.network, OnnxNetwork):
        raise ConfigError("The model is read from an ONNX file already. Copy its folder.")
    if not head.one_pass:
        raise ConfigError(
            f"{type(head).__name__} cannot be exported: it runs the network once for each token, or goes on from what "
            "an earlier run left, and an ONNX file holds a single run. Serve the model as it is."
        )
    try:
        copy = model.merged() if model.added is not None else deepcopy(model)
        if model.added is not None:
            say("What the method added was folded into the weights.")
    except ConfigError:  # adapters, prefixes and prompts stay layers and tokens of their own
        copy = deepcopy(model)
    copy.packs = False
    return replace(predictor, model=copy.to("cpu").eval(), bf16=False)


def _write_rest(folder: Path, predictor: Predictor, run: Run) -> None:
    """Write what decoding needs beside the network."""
    model = predictor.model
    model.network.config.save_pretrained(folder)
    model.save_head(folder)
    save_tokenizer(folder, predictor.tokenizer)
    write_record(folder, {**record_of(predictor), "base_model": None}, run)
    (folder / "README.md").write_text(onnx_card(run, own_layers=model.head.auto_class is None), "utf-8")


def _with_file(predictor: Predictor, file: Path) -> Predictor:
    """Return the same predictor with the network of a file."""
    model = predictor.model
    return replace(predictor, model=TaskModel(OnnxNetwork(file, model.network.config), model.head).eval())


def _prove(model: TaskModel, other: TaskModel, batches: Sequence[Batch], tolerance: float) -> None:
    difference = largest_difference(model, other, batches)
    if not difference <= tolerance:
        raise CheckpointError(
            f"The ONNX file was not kept: an output differs by {difference:.2g} from the model's, and {tolerance:g} is "
            "let pass. Use the model as it is, or let more pass with tolerance, if its outputs are large numbers."
        )


def _versions(
    plain: Predictor, predictors: Mapping[str, Predictor], examples: Sequence[Any], batches: Sequence[Batch], at: Path
) -> list[OnnxVersion]:
    """Return size, difference and score of the model and of each file."""
    metric = plain.task.primary_metric
    before = _scored(plain, examples)
    size = sum(weight.numel() * weight.element_size() for weight in plain.model.parameters())
    versions = [OnnxVersion(name="PyTorch", bytes=size, score=float(before.metrics[metric]))]
    for name, predictor in predictors.items():
        after = _scored(predictor, examples)
        found = compare(plain.task, before, after, examples)
        versions.append(
            OnnxVersion(
                name=name,
                bytes=sum(path.stat().st_size for path in at.glob(f"{name}*")),
                difference=largest_difference(plain.model, predictor.model, batches),
                score=found.after,
                lower=found.lower,
                upper=found.upper,
            )
        )
    return versions


def _scored(predictor: Predictor, examples: Sequence[Any]) -> Evaluation:
    with muted():
        return predictor.evaluate_examples(examples)
