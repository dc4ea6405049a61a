"""Label names: found over all splits, in a stable order, checked, and weighted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import fsum, inf, isfinite
from typing import Any

from reasoner.errors import ConfigError, LabelError, Problem, raise_if_any, suggestion

Label = str | int | float
Located = tuple[Label, str]
"""A label and where it stands."""

NEVER_MET = "it never occurs in the training data, nor was it given"
"""Why a label is unknown."""


def learn_labels(
    splits: Mapping[str, Iterable[Located]], *, given: Sequence[str] = (), first: Sequence[str] = (), least: int = 2
) -> tuple[str, ...]:
    """Return the label names of all splits: those in `first` first, then the others, numbers by value, names by letter.

    Args:
        splits: the labels of each split, with their places.
        given: the names, when the user says them; then their order stands.
        first: names with a customary order.
        least: how many names there must be in the training split.

    Raises:
        LabelError: if a label is not among `given`; or, when none are given, a label of another split never occurs in
            training; or there are too few, or one is given twice.
    """
    located = {split: list(labels) for split, labels in splits.items()}
    twice = [name for name, number in Counter(given).items() if number > 1]
    if twice or 0 < len(given) < least:
        wrong = f"name {', '.join(map(repr, twice))} more than once" if twice else f"are {len(given)}"
        raise LabelError(f"The given labels {wrong}. Give at least {least} names, each once.")
    if given:
        raise_if_any(problem for labels in located.values() for problem in unknown_labels(labels, given))
        return tuple(given)
    training = {str(label) for label, _ in located.get("train", [])}
    if len(training) < least:
        found = f"only '{next(iter(training))}' occurs" if training else "none occurs"
        what = f"there must be at least {least} labels, and {found}"
        raise LabelError([Problem("train", what, "Check the label column.", about_labels=True, code="too_few_labels")])
    problems = [
        problem
        for split, labels in located.items()
        if split != "train"
        for problem in unknown_labels(labels, sorted(training))
    ]
    raise_if_any(problems)
    customary = [name for name in first if name in training]
    return (*customary, *sorted(training - set(customary), key=_by_value))


def unknown_labels(labels: Iterable[Located], known: Sequence[str]) -> list[Problem]:
    """Return a problem for each label that is neither a known name nor, as a whole number, the index of one."""
    numbered = all(name.lstrip("-").isdigit() for name in known)
    problems = []
    for label, where in labels:
        if str(label) in known or (isinstance(label, int) and not numbered and 0 <= label < len(known)):
            continue
        code = "label_out_of_range" if isinstance(label, int) and not numbered else "unseen_label"
        if code == "label_out_of_range":
            what = f"label {label} is out of range: there are {len(known)} labels, numbered from 0"
        else:
            what = f"label '{label}' is unknown ({NEVER_MET})"
        remedy = f"{suggestion(label, known)} Correct it, or name all labels with labels=[...] in the task."
        problems.append(Problem(where, what, remedy, about_labels=True, code=code))
    return problems


def label_name(label: Label, known: Sequence[str]) -> str:
    """Return the name of a label that passed `unknown_labels`."""
    return str(label) if str(label) in known else known[int(label)]


def ordered_as(
    labels: Sequence[str], other: Sequence[str], *, key: Callable[[str], str] = str.casefold
) -> tuple[str, ...] | None:
    """Return `labels` in the order of `other` when both hold the same names but for what `key` ignores, else None."""
    by_key = {key(label): label for label in labels}
    keys = [key(name) for name in other]
    if len(by_key) != len(labels) or sorted(keys) != sorted(by_key):
        return None
    return tuple(by_key[key] for key in keys)


def same_names(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two lists hold the same names in the same order, case aside."""
    return [name.casefold() for name in one] == [name.casefold() for name in other]


def check_loss_settings(label_smoothing: float, focal_gamma: float) -> None:
    """Refuse a share of smoothing that leaves the target nothing or adds to it, and a focus that is none.

    Raises:
        ConfigError: if the share is not in [0, 1), or the exponent is below 0.
    """
    if not (isinstance(label_smoothing, (int, float)) and 0 <= label_smoothing < 1):
        raise ConfigError(f"label_smoothing is {label_smoothing!r}. Give a number from 0 up to, but not, 1.")
    if not (isinstance(focal_gamma, (int, float)) and 0 <= focal_gamma < inf):
        raise ConfigError(f"focal_gamma is {focal_gamma!r}. Give a number of at least 0, such as 2; 0: cross-entropy.")


def resolve_weights(
    weights: str | Mapping[str, float] | None, labels: Sequence[str], training: Iterable[str]
) -> dict[str, float] | None:
    """Return a weight for each label.

    Args:
        weights: None; "balanced": total / (labels x count), as scikit-learn has it, a label that never occurs
            weighs 1; or weights by name, the others weigh 1.
        labels: all names.
        training: the training labels.

    Raises:
        ConfigError: if a name is unknown, or a weight is no positive number.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        if weights != "balanced":
            raise ConfigError(f"class_weights is '{weights}'. Give 'balanced' or a dict of label names and weights.")
        counts = Counter(training)
        return {label: counts.total() / (len(labels) * counts[label]) if counts[label] else 1.0 for label in labels}
    for name, weight in weights.items():
        if name not in labels:
            raise ConfigError(f"class_weights names the label '{name}'. {suggestion(name, labels)}")
        if not (isinstance(weight, (int, float)) and 0 < weight < inf):
            raise ConfigError(f"class_weights gives '{name}' the weight {weight!r}. Give a number above 0.")
    return {label: float(weights.get(label, 1.0)) for label in labels}


def summed_weights(names: Iterable[str | None], weights: str | Mapping[str, float] | None) -> float:
    """Return the sum of the weights of labels, 1 each where none are set; None is no label."""
    by_name = weights if isinstance(weights, Mapping) else {}
    return fsum(by_name.get(name, 1.0) for name in names if name is not None)


def loss_arguments(
    labels: Sequence[str],
    class_weights: str | Mapping[str, float] | None,
    label_smoothing: float,
    focal_gamma: float,
) -> dict[str, Any]:
    """Return a head's arguments where they are set: weights (resolved, in the labels' order), smoothing, focus."""
    arguments: dict[str, Any] = {}
    if isinstance(class_weights, Mapping):
        arguments["class_weights"] = [class_weights[label] for label in labels]
    if label_smoothing:
        arguments["label_smoothing"] = label_smoothing
    if focal_gamma:
        arguments["focal_gamma"] = focal_gamma
    return arguments


def label_config(labels: Sequence[str]) -> dict[str, Any]:
    """Return the label names as `config.json` has them, both ways."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def _by_value(name: str) -> tuple[int, float, str, str]:
    try:
        value = float(name)
    except ValueError:
        value = float("nan")
    # A label may be called "nan" or "infinity": those are names, and NaN has no place in an order.
    return (0, value, "", name) if isfinite(value) else (1, 0.0, name.casefold(), name)


def as_number(label: Any) -> float | None:
    """Return the number that a label is, or is the text of (CSV files hold nothing but text); None if it is none."""
    try:
        number = float(label)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def as_tuple(label: Any) -> tuple[Any, ...]:
    """Return several labels, or one, or none, as a tuple."""
    return label if isinstance(label, tuple) else (label,)


# --- inference -------------------------------------------------------------------------------------------------------

SYNONYMS = {
    "entailment": ("entail", "entails", "entailed", "e", "support", "supports", "supported"),
    "neutral": ("n", "unknown", "undetermined", "not_enough_info", "nei"),
    "contradiction": (
        "contradict",
        "contradicts",
        "contradicted",
        "contradictory",
        "c",
        "refute",
        "refutes",
        "refuted",
    ),
    "not_entailment": ("non_entailment", "nonentailment", "notentailment", "not_entailed", "no_entailment"),
}
"""Other names of the labels in public data sets and checkpoints."""
_MEANINGS = {name: label for label, names in SYNONYMS.items() for name in (label, *names)}


def meaning(name: str) -> str:
    """Return what an NLI label's name means, whatever its case, spaces and hyphens; an unknown name means itself."""
    plain = re.sub(r"[^\w]+|_+", "_", name.strip().casefold())
    return _MEANINGS.get(plain, plain)


def entailing_output(id2label: Mapping[int, str] | None) -> int | None:
    """Return which of a model's outputs says that a text entails another, by their names; None: none says it."""
    return next((number for number, name in (id2label or {}).items() if meaning(str(name)) == "entailment"), None)
