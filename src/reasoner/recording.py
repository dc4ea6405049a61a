"""The record of a training: what stands in it as it begins, and how long and how fast it then was?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from reasoner import options
from reasoner.added import UNUSED_COPIES
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.preparation import name_of_model, versions
from reasoner.registry import name_of
from reasoner.reports.run import Run
from reasoner.training.config import TrainingConfig
from reasoner.training.engine import training_operations
from reasoner.training.forecast import peak_memory_mib
from reasoner.training.history import History
from reasoner.training.ranks import current


def record_of(
    model: Any,
    predictor: Predictor,
    examples: Mapping[str, Sequence[Any]],
    *,
    method: str,
    sources: Mapping[str, str],
    config: Mapping[str, Any],
) -> Run:
    """Return the record of a run as it begins: what, by which method, on which rows, with which settings.

    Args:
        model: as in `fine_tune`.
        predictor: made of it; its weights are marked.
        examples: by split.
        method: in words.
        sources: where each split came from.
        config: all settings, JSON values.
    """
    task = predictor.task
    weights = [weight for name, weight in predictor.model.named_parameters() if UNUSED_COPIES not in name]
    return Run(
        task=name_of("task", type(task)),
        model=name_of_model(model),
        method=method,
        primary_metric=task.primary_metric,
        compared_split="test" if "test" in examples else "validation",
        labels=list(getattr(task, "labels", ())),
        rows={split: len(part) for split, part in examples.items()},
        sources=dict(sources),
        parameters=sum(weight.numel() for weight in weights),
        trainable_parameters=sum(weight.numel() for weight in weights if weight.requires_grad),
        config=dict(config),
        versions=versions(),
    )


def settings_of(config: TrainingConfig, predictor: Predictor) -> dict[str, Any]:
    """Return all settings for the record."""
    return {
        **config.to_dict(),
        "feature_cache": config.feature_cache and Path(config.feature_cache).name,  # no folders of this machine
        "max_length": predictor.max_length,
        "stride": predictor.stride,
        **options.loss_settings(predictor.task),
    }


def training_metrics(history: History, predictor: Predictor, validation: Encoded, peak: float | None) -> dict[str, Any]:
    """Return how training went: how long it took, how fast it was, and how much of it was padding."""
    tokens_per_second = history.tokens / max(history.seconds, 1e-9)
    operations = tokens_per_second / current().number * training_operations(predictor.model)
    share = (
        {}
        if peak is None
        else {
            "peak_share": operations / peak,
            "peak_operations_per_second": peak,
        }
    )
    return {
        "loss": [row["loss"] for row in history.rows if row["split"] == "train"][-1],
        "seconds": history.seconds,
        "tokens_per_second": tokens_per_second,
        **share,
        "steps": history.steps,
        "epochs": history.epochs,
        "evaluation_seconds": sum(history.evaluation_seconds),
        "evaluations": len(history.evaluation_seconds),
        **_machine(predictor.device),
        "positions": history.positions,
        "padding_share": 1 - history.tokens / history.positions,
        "evaluation_padding_share": predictor.padding_share(validation),
    }


def _machine(device: torch.device) -> dict[str, Any]:
    """Return how much of the machine training used."""
    memory = peak_memory_mib(device)
    return ({} if memory is None else {"peak_memory_mib": memory}) | (
        {"threads": torch.get_num_threads()} if device.type == "cpu" else {}
    )
