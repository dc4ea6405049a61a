"""A sentence encoder tuned on a few labelled texts, by the library setfit: pairs first, then a linear layer.

SetFit (Tunstall et al., 2022, https://arxiv.org/abs/2209.11055): of the texts pairs are made, of one label or of two;
the encoder learns to bring the first together and the others apart. Then a logistic regression learns the labels of
their vectors. It becomes a linear head here, so that the model is saved, loaded and asked like any other, without
setfit.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.notices import quietly
from reasoner.preparation import build_predictor
from reasoner.tasks.base import Task
from reasoner.tasks.prompted import SENTENCE, as_one_text
from reasoner.training.config import TrainingConfig

SETFIT = "setfit"
EPOCHS, BATCH, RATE = 1, 16, 2e-5
"""Of the pairs; the defaults of setfit."""


def tuned_by_setfit(
    source: Any, task: Task[Any, Any], rows: Sequence[Any], *, config: TrainingConfig
) -> tuple[Predictor, dict[str, Any]]:
    """Return a predictor that learned from these rows, and the settings for the record.

    Args:
        source: a folder or Hub id of a sentence encoder.
        task: classification with one label.
        rows: labelled examples, at least one of each label.
        config: for device, seed, length and batches of prediction.

    Raises:
        ConfigError: if setfit is not installed, a label has no example, or the encoder's vectors are made in a way that
            the head cannot repeat.
    """
    try:
        from setfit import SetFitModel
    except ImportError as error:
        raise ConfigError("by='setfit' needs setfit: pip install 'reasoner-ft[setfit]'.") from error
    if not isinstance(source, (str, Path)):
        raise ConfigError("by='setfit' takes a folder or a Hub id, not a loaded model.")
    labels: list[str] = list(getattr(task, "labels", ()))
    numbers = [labels.index(task.gold_names(row)[0]) for row in rows]
    if missing := [label for number, label in enumerate(labels) if number not in numbers]:
        raise ConfigError(f"by='setfit': label '{missing[0]}' has no example. Give more shots, or choose='balanced'.")
    with _silence():
        model = SetFitModel.from_pretrained(str(source), device="cpu" if config.use_cpu else None)
        pooling, normalized = _pooling(model.model_body)
        task = replace(task, head=SENTENCE, head_settings={"pooling": pooling, "normalized": normalized})
        predictor = build_predictor(source, task, config=config)
        model.model_body.max_seq_length = predictor.max_length
        started = time.perf_counter()
        _train(model, [as_one_text(row) for row in rows], numbers, config)
    _take_over(predictor, model)
    seconds = time.perf_counter() - started
    settings = {
        "by": SETFIT,
        "seconds": round(seconds, 3),
        "num_train_epochs": EPOCHS,
        "batch_size": BATCH,
        "learning_rate": RATE,
    }
    return predictor, {**settings, "setfit_version": version(SETFIT)}


@contextmanager
def _silence() -> Iterator[None]:
    """Silence what setfit and the libraries below it print of each step: what matters is in the record."""
    log = logging.getLogger(SETFIT)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quietly(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        log.setLevel(level)


def _pooling(body: Any) -> tuple[str, bool]:
    """Return how the encoder makes a vector: "mean" or "first", and whether it has length 1."""
    kinds = [type(module).__name__ for module in body]
    mode = str(getattr(body[1], "pooling_mode", "")) if kinds[1:2] == ["Pooling"] else ""
    if mode not in ("mean", "cls") or kinds[2:] not in ([], ["Normalize"]):
        raise ConfigError(
            f"by='setfit': the encoder's vectors are made by {', '.join(kinds)} ({mode or 'no pooling'}). Take one "
            "with the mean or the first token, and nothing behind that but a length of 1."
        )
    return {"mean": "mean", "cls": "first"}[mode], kinds[2:] == ["Normalize"]


def _train(model: Any, texts: list[str], numbers: list[int], config: TrainingConfig) -> None:
    from datasets import Dataset
    from setfit import Trainer, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_epochs=EPOCHS,
            batch_size=BATCH,
            body_learning_rate=RATE,
            seed=config.seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            show_progress_bar=False,
        )
        rows = Dataset.from_dict({"text": texts, "label": numbers})
        Trainer(model=model, args=arguments, train_dataset=rows).train()


@torch.no_grad()
def _take_over(predictor: Predictor, model: Any) -> None:
    """Copy what was learned: the encoder's weights, and the regression's as those of a linear layer."""
    learned = model.model_body[0].auto_model.state_dict()
    report = predictor.model.network.load_state_dict(learned, strict=False)
    if lost := [name for name in report.missing_keys if "pooler" not in name]:
        raise ConfigError(f"by='setfit': the encoder's weights have other names here, such as {lost[0]}.")
    weight, bias = (torch.from_numpy(part).float() for part in (model.model_head.coef_, model.model_head.intercept_))
    if len(weight) == 1:  # two labels: the sigmoid of x is the softmax of 0 and x
        weight, bias = (torch.cat([torch.zeros_like(part), part]) for part in (weight, bias))
    predictor.model.head.load_state_dict({"classifier.weight": weight, "classifier.bias": bias})
