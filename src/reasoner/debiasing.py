"""What does a model say of the training rows that sees no more than a shortcut? Another one is trained against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from reasoner.data.feature_file import group_sizes
from reasoner.data.features import Batch
from reasoner.data.splits import cut_validation
from reasoner.errors import ConfigError, DataError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.notices import collect, muted, say, tell
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.state import put_back_random_states, random_states

LEAST = 1e-6
"""No label is less probable to the bias model than this: the logarithm of 0 would leave the others no say."""
PLAIN: dict[str, Any] = {"complete_labels": False} | dict.fromkeys(
    ("debias", "debias_form", "debias_strength", "teacher", "distillation_weight", "distillation_temperature",
     "checkpoint_steps", "max_forgetting")
)  # fmt: skip
"""Settings that a bias model does not have."""

Train = Callable[..., Any]
"""`tuning.train_on_examples` for the model that is debiased: it gets rows by split and `config`, and gives a result."""
Said = list[Mapping[Any, float]]
"""The probabilities of the labels, one mapping a row."""


class BiasOutputs:
    """What the bias model says of each training feature, as `TaskModel.debiased` takes it.

    Args:
        values: (features, outputs) for a product, (features, 1) for the focal loss.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __call__(self, batch: Batch) -> Tensor:
        """Return it for the features of a batch, on its device."""
        return self.values[batch.feature_index].to(batch.group.device)


def biased(
    predictor: Predictor, encoded: Mapping[str, Encoded], config: TrainingConfig, train: Train
) -> tuple[Encoded, dict[str, Any]]:
    """Return the training rows with what a bias model says of them, and what the record of the run tells of it.

    The bias model sees a part of the input (`Task.partial_inputs`) or a few numbers (`Task.shallow_features`). The rows
    are cut in two, and each half is judged by the model of the other: of rows that it was trained on, a model
    knows more than the shortcut tells. Random states are left as they were.

    Args:
        predictor: of the model that is to be debiased.
        encoded: its splits.
        config: says which shortcut, and how.
        train: for a part of the input.

    Raises:
        ConfigError: if no row has what the bias model is to do without, or the rows cannot be cut in two.
    """
    task, rows = predictor.task, encoded["train"].examples
    name, (form, strength) = str(config.debias), config.debiasing
    halves = _halves(rows, config.seed)
    before = random_states()
    if name in task.partial_inputs():
        said = _said_of_parts(task, encoded, halves, config, train)
    else:
        said = _said_of_numbers(task, rows, halves, name)
    put_back_random_states(before)
    right = [task.right_label(row) for row in rows]
    accuracy = sum(max(found, key=found.__getitem__) == label for found, label in zip(said, right, strict=True))
    values = _focal(said, right, strength, encoded["train"]) if form == "focal" else _product(said, task, strength)
    say(f"debias: '{name}' alone is right in {accuracy / len(rows):.1%} of the {len(rows):,} training rows, each "
        f"judged by a model of the other half. The model is trained against it ({form}, {strength:g}), and predicts "
        "without it.")  # fmt: skip
    told = {"debias_form": form, "debias_strength": strength, "debias_accuracy": accuracy / len(rows)}
    return encoded["train"]._replace(bias=BiasOutputs(values)), told


def _halves(rows: Sequence[Any], seed: int) -> tuple[list[int], list[int]]:
    """Cut the rows in two; those of one premise, or of equal texts, are on one side."""
    try:
        return cut_validation([row.group for row in rows], [row.stratum for row in rows], share=0.5, seed=seed)
    except DataError as error:
        raise ConfigError(f"debias: the {len(rows)} training rows cannot be cut in two, since {rows[0].kept_together} "
                          "stay together. Give more, or leave it out.") from error  # fmt: skip


def _said_of_parts(
    task: Task[Any, Any],
    encoded: Mapping[str, Encoded],
    halves: tuple[list[int], list[int]],
    config: TrainingConfig,
    train: Train,
) -> Said:
    """Return what models that are trained on a part of the input say of the rows of the other half."""
    part = task.partial_inputs()[str(config.debias)]
    rows, validation = ([part.view(row) for row in encoded[split].examples] for split in ("train", "validation"))
    if rows == list(encoded["train"].examples):
        raise ConfigError(f"debias: no row has a {part.unseen}, so that '{config.debias}' is the whole input.")
    settings = replace(config, evaluate_before=False, counterfactuals=False, **PLAIN)
    said: list[Any] = [None] * len(rows)
    for number, (own, other) in enumerate((halves, halves[::-1]), 1):
        tell(f"Bias model {number} of 2: {config.debias}, {len(own):,} rows.")
        with collect(apart=True), muted():
            learned = {"train": [rows[index] for index in own], "validation": validation}
            model: Predictor = train(learned, config=settings).predictor
            found = model.evaluate_examples([rows[index] for index in other]).predictions
        for index, prediction in zip(other, found, strict=True):
            said[index] = model.task.label_probabilities(prediction)
    return said


def _said_of_numbers(task: Task[Any, Any], rows: Sequence[Any], halves: tuple[list[int], list[int]], name: str) -> Said:
    """Return what logistic regressions on a few numbers a row say of the rows of the other half."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = [list(map(float, task.shallow_features()[name](row))) for row in rows]
    labels = [task.right_label(row) for row in rows]
    said: list[Any] = [None] * len(rows)
    for own, other in (halves, halves[::-1]):
        known = [labels[index] for index in own]
        if len(set(known)) == 1:  # nothing to choose
            for index in other:
                said[index] = {known[0]: 1.0}
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit([numbers[index] for index in own], known)
        found = model.predict_proba([numbers[index] for index in other])  # (rows, labels)
        for index, row in zip(other, found, strict=True):
            said[index] = dict(zip(model.classes_.tolist(), row.tolist(), strict=True))
    return said


def _product(said: Said, task: Task[Any, Any], strength: float) -> Tensor:
    """Return the log-probabilities, times the strength: a row for each text, or one for each choice of a text."""
    labels = [str(label) for label in getattr(task, "labels", ())]
    if labels:
        rows = [[found.get(label, 0.0) for label in labels] for found in said]
    else:
        rows = [[probability] for found in said for probability in found.values()]
    return strength * torch.tensor(rows).clamp(min=LEAST).log()


def _focal(said: Said, right: Sequence[Any], strength: float, data: Encoded) -> Tensor:
    """Return (1 - the probability of the right label) to the power of the strength, for each feature."""
    weights = [(1 - found.get(label, 0.0)) ** strength for found, label in zip(said, right, strict=True)]
    sizes = torch.from_numpy(group_sizes(data.features))
    return torch.tensor(weights).repeat_interleave(sizes).unsqueeze(-1)
