"""How good are the predictions: pure functions of Python values, in people's units, scores as fractions 0-1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reasoner.metrics.answers import answer_scores, best_no_answer_threshold
from reasoner.metrics.chunking import Span, spans
from reasoner.metrics.classification import classification_scores, multilabel_scores, regression_scores
from reasoner.metrics.direction import greater_is_better, register_direction
from reasoner.metrics.entities import entity_scores, span_scores, token_scores, well_formed_spans
from reasoner.metrics.partial import (
    entity_errors,
    entity_surfaces,
    match_entities,
    overlap_scores,
    scores_by_rule,
    seen_unseen,
    tag_scores,
)
from reasoner.metrics.references import reference_scores
from reasoner.metrics.sampling import MajorityScore, Vote, maj_at_k, majority, pass_at_k, sampling_scores

if TYPE_CHECKING:
    from reasoner.metrics.calibration import (
        brier_score,
        calibration_error,
        conformal_sets,
        conformal_threshold,
        fit_temperature,
        risk_coverage,
    )
    from reasoner.metrics.intervals import (
        bootstrap_interval,
        changed_rows,
        mcnemar,
        mean_and_deviation,
        paired_bootstrap,
        share_interval,
    )
    from reasoner.metrics.ranking import filtered_rank, ranking_scores

__all__ = [
    "MajorityScore",
    "Span",
    "Vote",
    "answer_scores",
    "best_no_answer_threshold",
    "bootstrap_interval",
    "brier_score",
    "calibration_error",
    "changed_rows",
    "classification_scores",
    "conformal_sets",
    "conformal_threshold",
    "entity_errors",
    "entity_scores",
    "entity_surfaces",
    "filtered_rank",
    "fit_temperature",
    "greater_is_better",
    "maj_at_k",
    "majority",
    "match_entities",
    "mcnemar",
    "mean_and_deviation",
    "multilabel_scores",
    "overlap_scores",
    "paired_bootstrap",
    "pass_at_k",
    "ranking_scores",
    "register_direction",
    "reference_scores",
    "regression_scores",
    "risk_coverage",
    "sampling_scores",
    "scores_by_rule",
    "seen_unseen",
    "share_interval",
    "span_scores",
    "spans",
    "tag_scores",
    "token_scores",
    "well_formed_spans",
]


def __getattr__(name: str) -> Any:
    """Load what needs NumPy when it is first asked for: the plain scores start without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import reasoner.metrics.calibration as calibration
    import reasoner.metrics.intervals as intervals
    import reasoner.metrics.ranking as ranking

    return getattr(next(module for module in (intervals, calibration, ranking) if hasattr(module, name)), name)
