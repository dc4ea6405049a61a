"""How good are the predictions: pure functions of Python values, in people's units, scores as fractions 0-1."""

from __future__ import annotations

from reasoner.metrics.answers import answer_scores, best_no_answer_threshold
from reasoner.metrics.chunking import Span, spans
from reasoner.metrics.classification import classification_scores, multilabel_scores, regression_scores
from reasoner.metrics.direction import greater_is_better, register_direction
from reasoner.metrics.entities import entity_scores, span_scores, token_scores

__all__ = [
    "Span",
    "answer_scores",
    "best_no_answer_threshold",
    "classification_scores",
    "entity_scores",
    "greater_is_better",
    "multilabel_scores",
    "register_direction",
    "regression_scores",
    "span_scores",
    "spans",
    "token_scores",
]
