"""Is a metric better when it is greater, or when it is smaller?"""

from __future__ import annotations

import re

from reasoner.errors import ConfigError, suggestion

_GREATER = """
accuracy f1 precision recall exact_match matthews pearson spearman roc_auc average_precision
bleu chrf meteor rouge1 rouge2 rougel rougelsum reward win_rate tokens_per_second samples_per_second steps_per_second
mrr hits_at_1 hits_at_3 hits_at_10 mean_primary all_right frame_accuracy dialogue_accuracy
"""
_SMALLER = """
loss log_loss mse rmse mae perplexity bits_per_byte error_rate calibration_error brier_score ece mce
wrong unparsable timed_out perplexity_per_word perplexity_per_byte word_error_rate character_error_rate
seconds runtime memory peak_memory mean_rank
"""
_directions: dict[str, bool] = dict.fromkeys(_GREATER.split(), True) | dict.fromkeys(_SMALLER.split(), False)

# Only words that cannot turn a metric round may be cut off: "neg_loss" must not be read as "loss".
_QUALIFIERS = "train|validation|eval|dev|test|micro|macro|weighted|has_answer|no_answer|entity|token|strict|mean"
_QUALIFIER = re.compile(rf"^(?:{_QUALIFIERS})_")


def greater_is_better(metric: str) -> bool:
    """Return whether a greater value of `metric` is a better one.

    A path or a qualifier before the name changes nothing: `person.f1`, `test/f1`, `eval_macro_f1` are all `f1`.

    Raises:
        ConfigError: if the metric is not known. Early stopping that guesses a direction may keep the worst weights,
            so nothing is guessed; `register_direction` makes a metric known.
    """
    whole = _spelling(metric)
    name = whole if whole in _directions else re.split(r"[./]", whole)[-1]
    while name not in _directions and _QUALIFIER.match(name):
        name = _QUALIFIER.sub("", name)
    if name not in _directions:
        raise ConfigError(
            f"metric {metric!r} is not known, so it is not known whether greater is better. "
            f"{suggestion(name, _directions)} For a metric of your own call register_direction(name, ...)."
        )
    return _directions[name]


def register_direction(name: str, greater_is_better: bool) -> None:
    """Make a metric's direction known, for a task or a metric of your own.

    Raises:
        ConfigError: if the metric is known with the opposite direction.
    """
    known = _directions.setdefault(_spelling(name), greater_is_better)
    if known != greater_is_better:
        better = "greater" if known else "smaller"
        raise ConfigError(f"metric {name!r} is already known as better when it is {better}. Choose another name.")


def _spelling(metric: str) -> str:
    return re.sub(r"[\s-]+", "_", metric.strip().lower())
