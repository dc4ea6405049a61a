"""What do the options of a training mean for a task and a model: what fits, which rows come, how fast weights learn?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from reasoner.data.batching import Batches, ShareOfBatches
from reasoner.data.feature_file import Ints
from reasoner.data.sampling import strata_of
from reasoner.data.streams import StreamedRows
from reasoner.errors import ConfigError, suggestion
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.layerwise import rate_factors
from reasoner.losses import LossSum
from reasoner.model import TaskModel
from reasoner.notices import say
from reasoner.streaming import StreamBatches
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras
from reasoner.training.ranks import current

LOSS_SETTINGS = ("class_weights", "label_smoothing", "focal_gamma")
"""Fields of tasks that change the loss."""


def check_options(task: Task[Any, Any], config: TrainingConfig) -> None:
    """Refuse, before anything is scored or trained, what the task cannot do, and settings that exclude each other.

    Raises:
        ConfigError: with what to do instead.
    """
    if config.balanced_sampling and not getattr(task, "labels", ()):
        raise ConfigError(
            f"balanced_sampling: {type(task).__name__} has no labels that rows could be drawn by. Leave it out."
        )
    for name in ("distillation_weight", "distillation_temperature"):
        if config.teacher is None and getattr(config, name) is not None:
            raise ConfigError(f"{name} means nothing without a teacher. Give teacher=, or leave it out.")
    _check_debias(task, config)
    if config.augmentation_edits is not None and not (config.augmentation or config.consistency):
        raise ConfigError(
            "augmentation_edits means nothing without augmentation or consistency. Give one of them, or leave it out."
        )
    _check_consistency(config)
    if config.full_determinism and config.torch_compile:
        raise ConfigError(
            "full_determinism does not go with torch_compile=True: of compiled kernels PyTorch does not say which are "
            "not deterministic. Leave one of them out."
        )


def _check_consistency(config: TrainingConfig) -> None:
    """Refuse beside edited copies what knows the rows alone, or is the same again."""
    beside = {
        "r_drop": (config.r_drop, "Both compare two passes"),
        "adversarial_epsilon": (config.adversarial_epsilon, "The attack is on the tokens of the rows"),
        "teacher": (config.teacher is not None, "The teacher was asked about the rows"),
        "debias": (config.debias is not None, "The shortcut was asked about the rows"),
    }
    if config.consistency:
        for name, (is_on, why) in beside.items():
            if is_on:
                raise ConfigError(f"consistency does not go with {name}. {why}. Leave one of them out.")


def _check_debias(task: Task[Any, Any], config: TrainingConfig) -> None:
    if config.debias is None:
        for name in ("debias_form", "debias_strength"):
            if getattr(config, name) is not None:
                raise ConfigError(f"{name} means nothing without debias. Give debias=, or leave it out.")
        return
    known = [*task.partial_inputs(), *task.shallow_features()]
    if not known:
        raise ConfigError(f"debias: {type(task).__name__} has no shortcut to train against. Leave it out.")
    if config.debias not in known:
        raise ConfigError(f"debias: there is no '{config.debias}' here. {suggestion(config.debias, known)}")
    if config.augmentation:
        raise ConfigError("debias does not go with augmentation: a row and its copy would stand in both halves of the "
                          "rows that the shortcut is learned from. Leave one of them out.")  # fmt: skip


@torch.no_grad()
def check_head(predictor: Predictor, data: Encoded, config: TrainingConfig) -> None:
    """Refuse R-Drop, consistency and debiasing where the head cannot do what they need: one row is run to see it.

    Raises:
        ConfigError: if it cannot.
    """
    if not (config.r_drop or config.consistency) and config.debias is None:
        return
    model = predictor.model.eval()
    for batch in predictor.batches(Encoded(data.examples[:1], data.features[:1])):
        placed = batch.to(predictor.device)
        outputs = model(placed)
        if config.r_drop or config.consistency:
            model.divergence(outputs, outputs, placed)
        if config.debias is not None:
            model.debiased(outputs, torch.zeros((), device=predictor.device), "product")


def extras(model: Any, config: TrainingConfig, rows: Encoded, text_loss: Callable[[Any], LossSum] | None) -> Extras:
    """Return what the objectives that are on need: adversarial training attacks the table that looks up tokens."""
    network = model.network  # of an encoder-decoder: the table by which the text is read
    reading = network.get_encoder() if network.config.is_encoder_decoder else network
    attacked = reading.get_input_embeddings() if config.adversarial_epsilon else None
    return Extras(attacked, rows.teacher, text_loss, rows.bias, rows.copies)


def training_batches(
    predictor: Predictor, rows: Encoded, config: TrainingConfig, replay: tuple[int, int] | None = None
) -> tuple[Batches | ShareOfBatches | StreamBatches, Callable[[Any], list[str]]]:
    """Return the training batches, or of several ranks this one's share of them.

    Beside them comes a function that says where the row of each feature of a batch stands. With `replay` the rows from
    that number on are old ones, of which so many are in an epoch.
    """
    if isinstance(rows.examples, StreamedRows):
        streamed = StreamBatches(rows.examples.stream, predictor, config)
        return streamed, streamed.where
    ranks = current()
    batches = predictor.batches(
        rows,
        batch_size=config.per_device_train_batch_size * ranks.number,
        tokens_per_batch=config.tokens_per_batch and config.tokens_per_batch * ranks.number,
        shuffle=True,
        seed=config.seed,
        strata=strata(predictor.task, rows.examples, config),
        replay=replay,
    )
    return (
        batches if ranks.number == 1 else ShareOfBatches(batches, ranks.index, ranks.number),
        lambda batch: [rows.examples[batches.example_of[i]].where for i in batch.feature_index],
    )


def strata(task: Task[Any, Any], examples: Sequence[Any], config: TrainingConfig) -> Ints | None:
    """Return the number of the label that each training row is drawn by, and say what that does; None: rows are equal.

    Args:
        task: has labels, see `check_options`.
        examples: the training rows.
        config: says whether.
    """
    if not config.balanced_sampling:
        return None
    labels = strata_of([task.gold_names(example) for example in examples])
    names, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    share = len(labels) / len(names)
    seen = ", ".join(f"{name or 'no label'} {share / count:.3g}" for name, count in zip(names, counts, strict=True))
    say(f"Rows are drawn so that each label is seen alike; how often in an epoch, on average: {seen}.")
    return numbers


def factors(model: TaskModel, config: TrainingConfig) -> dict[str, float]:
    """Return how much faster or slower than `learning_rate`, which must be a number, each weight learns, by name."""
    rate, head = config.learning_rate or 1.0, config.head_learning_rate
    return rate_factors(model, layer_decay=config.layer_decay, head_factor=None if head is None else head / rate)


def loss_settings(task: Task[Any, Any]) -> dict[str, Any]:
    """Return the task's settings of the loss that are on, for the record."""
    return {name: value for name in LOSS_SETTINGS if (value := getattr(task, name, None))}
