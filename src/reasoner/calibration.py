"""Do the probabilities mean what they say: a temperature is fitted on validation, and what it is worth is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, exp, isfinite
from random import Random
from typing import Any, NamedTuple

import torch

from reasoner.data.features import Batch
from reasoner.evaluation import Encoded, Evaluation
from reasoner.heads.base import Outputs
from reasoner.inference import Predictor
from reasoner.metrics import calibration_error, risk_coverage
from reasoner.notices import say
from reasoner.tasks.base import Task
from reasoner.training.ranks import current

STEP, STEPS = 0.05, 60
TEMPERATURES = tuple(exp(STEP * number) for number in range(-STEPS, STEPS + 1))
"""What is tried: 0.05 to 20, each 5% above the one before; the middle one is 1."""
SURE_GAIN = 1.92
"""In nats: half the 95% quantile of chi-square with one degree of freedom (the likelihood-ratio test)."""
LEAST = 1e-30
"""No choice is less probable than this where a temperature is fitted: its logarithm has to be a number."""
MOST_POINTS, MOST_SCORES = 50, 5_000

Judged = list[tuple[float, bool]]
"""How sure the model was, and whether it was right."""


class Calibrated(NamedTuple):
    """A predictor whose head has its temperature, and how it does on the validation split."""

    predictor: Predictor
    validation: Evaluation
    record: dict[str, Any]
    """What goes into `Run.calibration`; empty where the task has no confidences."""


def calibrate(predictor: Predictor, data: Encoded) -> Calibrated:
    """Fit the head's temperature on validation examples (Guo et al., 2017, https://arxiv.org/abs/1706.04599).

    The likelihood of the gold at every one of `TEMPERATURES` is added up while the examples are scored as usual, so
    that no logits are kept and the fit costs no pass of its own; a parabola through the best three gives the
    temperature. It stays at 1 when the gain in likelihood may be chance, when the expected calibration error (ECE)
    becomes worse by it, or when it would change what is predicted. Which of these it was is said.

    What is judged right or wrong is a row; in NER an entity, since the score that `predict` gives is an entity's.
    """
    head = predictor.model.head
    head.temperature = 1.0
    plain, curve = _evaluated(predictor, data)
    judged = _judged(predictor.task, plain, data)
    if not judged:
        return Calibrated(predictor, plain, {})
    head.temperature = _best_temperature(curve, all_right=all(right for _, right in judged))
    found = predictor, plain, judged
    if head.temperature != 1:
        moved = predictor.with_task(predictor.task.with_temperature(head.temperature))
        scaled = moved.evaluate(data)
        rejudged = _judged(moved.task, scaled, data)
        if _is_better(rejudged, judged, head.temperature):
            found = moved, scaled, rejudged
        else:
            head.temperature = 1.0
    predictor, validation, final = found
    scores = conformal_scores(predictor.task, validation.predictions, data.examples)
    record = {
        "temperature": head.temperature,
        "validation_ece_before": _ece(judged),
        "validation_ece_after": _ece(final),
        "conformal_scores": scores,
    }
    return Calibrated(replace(predictor, conformal_scores=tuple(scores)), validation, record)


def reliability(task: Task[Any, Any], evaluation: Evaluation, data: Encoded) -> dict[str, Any]:
    """Return what the confidences were worth on some examples, as plain values; empty where the task has none.

    Returns:
        `count` of what was judged, `ece` and `mce` with their `bins` (see `metrics.calibration_error`), and
        `risk_coverage` (at most 50 points) with the area below it (see `metrics.risk_coverage`).
    """
    judged = _judged(task, evaluation, data)
    if not judged:
        return {}
    error, curve = calibration_error(*_columns(judged)), risk_coverage(*_columns(judged))
    return {
        "count": len(judged),
        **error,
        "risk_coverage": _thinned(curve["points"]),
        "risk_coverage_area": curve["area"],
    }


def conformal_scores(task: Task[Any, Any], predictions: Sequence[Any], examples: Sequence[Any]) -> list[float]:
    """Return 1 - the probability of the right label of each row, sorted; empty for a task that chooses no label.

    They are rounded up to 6 digits, so that a threshold among them is never too low. Of more than 5,000 rows a random
    sample (of fixed seed) is kept.
    """
    scores = []
    for prediction, example in zip(predictions, examples, strict=True):
        probabilities = task.label_probabilities(prediction)
        if probabilities is None:
            return []
        scores.append(min(1.0, ceil((1 - probabilities[task.right_label(example)]) * 1e6) / 1e6))
    if len(scores) > MOST_SCORES:
        say(f"Of {len(scores)} validation rows a random {MOST_SCORES} are kept for label sets (predict's coverage).")
        scores = Random(0).sample(scores, MOST_SCORES)
    return sorted(scores)


def _evaluated(predictor: Predictor, data: Encoded) -> tuple[Evaluation, list[float]]:
    """Score the examples, and return the negative log-likelihood at each temperature; empty if the head has none."""
    head = predictor.model.head
    if head.scores_choices:
        evaluation = predictor.evaluate(data)
        return evaluation, _curve_of_choices(predictor.task, evaluation, data)
    curve = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
    counted = 0

    def add(_: Any, arguments: tuple[Batch], outputs: Outputs) -> None:
        nonlocal counted
        if head.negative_log_likelihood(outputs, arguments[0]) is None:
            return
        losses = [head.negative_log_likelihood(head.scaled(outputs, each), arguments[0]) for each in TEMPERATURES]
        curve.add_(torch.stack([loss.total for loss in losses if loss is not None]).double().cpu())
        counted += 1

    handle = predictor.model.register_forward_hook(add)
    try:
        evaluation = predictor.evaluate(data)
    finally:
        handle.remove()
    *likelihoods, batches = current().total(*curve.tolist(), counted)
    return evaluation, likelihoods if batches else []


def _curve_of_choices(task: Task[Any, Any], evaluation: Evaluation, data: Encoded) -> list[float]:
    """Return the same where predictions tell it: at a temperature probabilities are powers of those at 1."""
    curve = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
    sharpness = 1 / torch.tensor(TEMPERATURES, dtype=torch.float64)
    for prediction, example in zip(evaluation.predictions, data.examples, strict=True):
        found = task.label_probabilities(prediction)
        if found is None:
            return []
        logits = torch.tensor(list(found.values()), dtype=torch.float64).clamp(min=LEAST).log()  # (choices,)
        scaled = sharpness[:, None] * logits  # (temperatures, choices)
        curve += scaled.logsumexp(1) - scaled[:, list(found).index(task.right_label(example))]
    return curve.tolist()


def _best_temperature(curve: list[float], *, all_right: bool) -> float:
    """Return the temperature of the highest likelihood, or 1 when nothing else is surely better; say which."""
    if not curve or not all(map(isfinite, curve)):
        say("The head gives no likelihood to fit a temperature to: its probabilities are not calibrated.")
        return 1.0
    best = min(range(len(curve)), key=curve.__getitem__)
    if best == 0 and all_right:
        say("All of validation is predicted right, which cannot say how sure to be: the temperature stays at 1.")
        return 1.0
    at_edge = best in (0, len(curve) - 1)
    temperature = (
        TEMPERATURES[best] if at_edge else TEMPERATURES[best] * exp(STEP * _vertex(curve[best - 1 : best + 2]))
    )
    if curve[STEPS] - curve[best] < SURE_GAIN:
        say(f"The temperature stays at 1: {temperature:.3f} fits validation best, but its gain may be chance.")
        return 1.0
    if at_edge:
        say(f"The best temperature is the last that is tried, {temperature:.3g}: be wary of the probabilities.")
    return temperature


def _vertex(values: list[float]) -> float:
    """Return where, between -1 and 1, the parabola through the values at -1, 0 and 1 is lowest."""
    left, middle, right = values
    bend = left - 2 * middle + right
    return (left - right) / (2 * bend) if bend > 0 else 0.0


def _is_better(after: Judged, before: Judged, temperature: float) -> bool:
    """Say what the temperature does on validation, and return whether it is kept."""
    if [right for _, right in after] != [right for _, right in before]:
        say(f"The temperature stays at 1: {temperature:.3f} would change what is predicted.")
        return False
    change = f"the calibration error (ECE) on validation from {_ece(before):.4f} to {_ece(after):.4f}"
    if _ece(after) > _ece(before):
        say(f"The temperature stays at 1: {temperature:.3f} would raise {change}.")
        return False
    say(f"Probabilities are calibrated with the temperature {temperature:.3f}, which takes {change}.")
    return True


def _judged(task: Task[Any, Any], evaluation: Evaluation, data: Encoded) -> Judged:
    judged = task.judged(evaluation.predictions, data.examples)
    if not all(0 <= sure <= 1 + 1e-6 for sure, _ in judged):  # NaN too; sums of float32 may be a little above 1
        say("Some confidences are not in 0-1, so that they are not calibrated.")
        return []
    return judged


def _columns(judged: Judged) -> tuple[list[float], list[bool]]:
    return [sure for sure, _ in judged], [right for _, right in judged]


def _ece(judged: Judged) -> float:
    return calibration_error(*_columns(judged))["ece"]


def _thinned(points: Sequence[Any]) -> list[Any]:
    """Return at most `MOST_POINTS` of them, evenly, the first and the last among them."""
    last, kept = len(points) - 1, min(len(points), MOST_POINTS)
    return [points[round(number * last / max(kept - 1, 1))] for number in range(kept)]
