"""Have inputs, predictions or scores changed since a model was taught, so that teaching it again is worth it?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reasoner.comparison import counted_together
from reasoner.errors import ConfigError, raise_if_any
from reasoner.evaluation import in_parts
from reasoner.inference import Predictor
from reasoner.metrics.shift import LEAST_ROWS, ShiftTest, classifier_test, holm, name_test, number_test, score_change
from reasoner.notices import collect, say
from reasoner.reports.drift import Change, DriftReport
from reasoner.result import Result, load_result
from reasoner.scored_rows import chosen_rows, scored_rows
from reasoner.tasks.base import Task
from reasoner.training.engine import autocast

INPUTS, CONFIDENCE, PREDICTIONS = "inputs", "confidence", "predictions"
WHAT = {
    INPUTS: "told apart by a classifier (0.5: not)",
    CONFIDENCE: "mean change",
    PREDICTIONS: "share that is said otherwise",
}


@dataclass(frozen=True)
class Seen:
    """What a model makes of some rows."""

    vectors: NDArray[np.float32]
    """(rows, width): the mean of the backbone's last hidden states."""
    predictions: list[Any]
    confidences: list[float]
    """Of the predictions that have one: in NER of sentences with an entity."""
    names: list[str]
    """What is said of each row: its label, or the types of what is found in it."""


def drift(
    model: Result | str | Path,
    new_data: Any,
    *,
    old_data: Any,
    gold: bool = True,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> DriftReport:
    """Say what has changed between old and new rows, for a model, and whether teaching it again is worth it.

    Three tests, corrected for being three: whether a classifier tells the rows apart by the model's own vectors of them
    (Lopez-Paz & Oquab, 2017), whether it is otherwise sure (Kolmogorov-Smirnov), and whether it says other things
    (chi-squared); after Rabanser et al. (2019, https://arxiv.org/abs/1810.11953). With gold, the scores are compared.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        new_data: rows with gold, as `Result.evaluate` takes them; with `gold=False` a list of inputs, as for `predict`.
        old_data: rows with gold from when it was taught, which it was not trained on: the old test or validation rows.
            (Of rows that it has learned it is surer than of any others.)
        gold: whether the new rows have gold.
        split: which of several splits, of either; None: test, else validation, else train.
        columns: as in `fine_tune`.
        alpha: how often something may be called changed where nothing has.
        seed: of which rows the classifier is trained on.

    Raises:
        ConfigError: if alpha is no such share, or predictions of the task cannot be compared.
        DataError: if a row cannot be used, or there are fewer than 20 on a side.

    Example:
        >>> report = reasoner.drift("output/model", "june.jsonl", old_data="test.jsonl")  # doctest: +SKIP
        >>> report.worth_teaching  # doctest: +SKIP
        True
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"alpha is {alpha!r}. Give a share between 0 and 1, such as 0.05.")
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        predictor = result.predictor
        task = predictor.task
        _, old = scored_rows(task, old_data, split=split, columns=columns)
        new, unknown = _new_rows(task, new_data, gold, split, columns)
        known = [example for example, labels in zip(new, unknown, strict=True) if not labels]
        sides = None
        if len(known) == len(new) or len(known) >= LEAST_ROWS:
            sides = seen(predictor, old), seen(predictor, known)
        scored = None
        if gold and sides is not None:
            scored = (sides[0].predictions, old), (sides[1].predictions, known)
        return DriftReport(
            task=result.run.task,
            metric=task.primary_metric,
            old_rows=len(old),
            new_rows=len(new),
            alpha=alpha,
            changes=() if sides is None else changes(*sides, alpha=alpha, seed=seed),
            score=None if scored is None else _score(task, *scored, alpha=alpha),
            scores=None if scored is None else _scores(task, *scored),
            unknown_labels=dict(Counter(label for labels in unknown for label in labels)),
            confidence_change=None if sides is None else _surer(*sides),
        )


def _new_rows(
    task: Task[Any, Any], data: Any, gold: bool, split: str | None, columns: Mapping[str, Any] | None
) -> tuple[list[Any], list[tuple[str, ...]]]:
    """Return the new examples, and of each what of its gold the model cannot say.

    Raises:
        DataError: if a row cannot be used for another reason.
    """
    if not gold:
        if not isinstance(data, list):
            raise ConfigError("gold=False: give new_data as a list of inputs, as predict takes them.")
        return [task.example_from_input(value) for value in data], [() for _ in data]
    _, examples = chosen_rows(task, data, split=split, columns=columns)
    unknown = []
    for example in examples:
        problems = task.problems([example])
        raise_if_any(problem for problem in problems if problem.code != "unseen_label")
        unknown.append(tuple(dict.fromkeys(_label(problem.what) for problem in problems)))
    return examples, unknown


def _label(what: str) -> str:
    """Return the label that a problem names."""
    found = re.search(r"'(.*)' is unknown", what)
    return found[1] if found else what


# --- what the model makes of rows ------------------------------------------------------------------------------------


@torch.no_grad()
def seen(predictor: Predictor, examples: Sequence[Any]) -> Seen:
    """Return what a model makes of examples, with or without gold."""
    task, model = predictor.task, predictor.model.eval()
    vectors: list[NDArray[np.float32]] = []
    predictions: list[Any] = []
    for part in in_parts(task.in_context(examples, whole=True)):
        data = predictor.encode(part)
        of_features = np.zeros((sum(map(len, data.features)), model.head.width), np.float32)
        records: list[Any] = [None] * len(of_features)
        for batch in predictor.batches(data):
            placed = batch.to(predictor.device)
            found: list[torch.Tensor] = []
            keep = partial(_keep, found)
            hook = model.backbone.register_forward_hook(keep)
            try:
                with autocast(predictor.device, predictor.bf16):
                    outputs = model.head.infer(model, placed)
            finally:
                hook.remove()
            mask = placed.inputs["attention_mask"].unsqueeze(-1)  # (features, length, 1)
            hidden = found[0][:, -mask.shape[1] :].float()  # without virtual tokens
            means = (hidden * mask).sum(1) / mask.sum(1)  # (features, width)
            for place, index in enumerate(batch.feature_index):
                of_features[index], records[index] = means[place].cpu().numpy(), outputs[place]
        predictions += task.decode(task.read_records(records, predictor.tokenizer), data.features, data.examples)
        first = 0
        for group in data.features:
            vectors.append(of_features[first : first + len(group)].mean(0))
            first += len(group)
    sure = [task.confidence(prediction) for prediction in predictions]
    names = ["+".join(sorted({item.name for item in task.said(one) or ()})) or "nothing" for one in predictions]
    return Seen(np.stack(vectors), predictions, [value for value in sure if value is not None], names)


def _keep(found: list[torch.Tensor], _: Any, __: Any, output: Any) -> None:
    found.append(output.last_hidden_state)


# --- what has changed ------------------------------------------------------------------------------------------------


def changes(old: Seen, new: Seen, *, alpha: float, seed: int) -> tuple[Change, ...]:
    """Return the tests of inputs and predictions, corrected for their number."""
    tests: dict[str, ShiftTest | None] = {INPUTS: classifier_test(old.vectors, new.vectors, seed=seed)}
    if min(len(old.confidences), len(new.confidences)) >= LEAST_ROWS:
        tests[CONFIDENCE] = number_test(old.confidences, new.confidences)
    else:
        say("drift: too few rows have a confidence to compare it.")
    tests[PREDICTIONS] = name_test(old.names, new.names)
    made = {name: test for name, test in tests.items() if test is not None}
    p_values = holm([test.p_value for test in made.values()])
    return tuple(
        _change(name, WHAT[name], test._replace(p_value=p_value), alpha)
        for (name, test), p_value in zip(made.items(), p_values, strict=True)
    )


def _change(name: str, what: str, test: ShiftTest, alpha: float) -> Change:
    return Change(name=name, what=what, **test._asdict(), sure=test.p_value < alpha)


def _scores(task: Task[Any, Any], old: tuple[Any, Any], new: tuple[Any, Any]) -> tuple[float, float]:
    first, second = (float(task.score(*side)[task.primary_metric]) for side in (old, new))
    return first, second


def _score(task: Task[Any, Any], old: tuple[Any, Any], new: tuple[Any, Any], *, alpha: float) -> Change | None:
    """Return the change of the primary metric; None: the task has no counts, or too few rows can be scored."""
    sides = counted_together(task, [old, new])
    if sides is None or min(len(side.counts) for side in sides) < LEAST_ROWS:
        say("drift: the change of the score has no interval (no counts, or too few rows).")
        return None
    first, second = sides
    return _change(
        task.primary_metric, "new less old", score_change(first.statistic, first.counts, second.counts), alpha
    )


def _surer(old: Seen, new: Seen) -> float | None:
    if not old.confidences or not new.confidences:
        return None
    return float(np.mean(new.confidences) - np.mean(old.confidences))
