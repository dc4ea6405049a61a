"""What does a model that is taught more still score on the old rows?"""

from __future__ import annotations

from typing import Any

from reasoner.comparison import compare
from reasoner.evaluation import Encoded, Evaluation
from reasoner.inference import Predictor
from reasoner.metrics import greater_is_better
from reasoner.previous.known import Previous

FORGETTING = "forgetting"
"""The largest fall of an old score so far, 0 or below where none fell."""


class OldScores:
    """The primary metric on the validation rows of each old data set, before and while a model is taught more.

    Args:
        previous: the old model; it is scored at once.
        predictor: the model that is taught.
    """

    def __init__(self, previous: Previous, predictor: Predictor) -> None:
        self.metric = predictor.task.primary_metric
        self.data: list[Encoded] = []
        self.before: list[Evaluation] = []
        for number, old in enumerate(previous.protected, start=1):
            name, rows = f"old data {number}", old["validation"]
            self.before.append(previous.predictor.evaluate_examples(rows, name=name))
            self.data.append(predictor.encode(rows, name=name))

    def now(self, predictor: Predictor) -> dict[str, float]:
        """Return the mean of the scores, each of them if there are several, and `forgetting`."""
        scores = [float(predictor.evaluate(part).metrics[self.metric]) for part in self.data]
        falls = [self._fall(before, score) for before, score in zip(self.before, scores, strict=True)]
        named = {f"old_{self.metric}": sum(scores) / len(scores), FORGETTING: max(falls)}
        several = {f"old_{number}_{self.metric}": score for number, score in enumerate(scores, start=1)}
        return {**named, **(several if len(scores) > 1 else {})}

    def compared(self, predictor: Predictor) -> list[dict[str, Any]]:
        """Return for each old data set the fields of a `Comparison`: the old model before, the new one after."""
        return [
            compare(predictor.task, before, predictor.evaluate(part), part.examples).to_dict()
            for before, part in zip(self.before, self.data, strict=True)
        ]

    def _fall(self, before: Evaluation, now: float) -> float:
        lost = float(before.metrics[self.metric]) - now
        return lost if greater_is_better(self.metric) else -lost
