"""How much of a score needs no more than a part of the input, or no model at all?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reasoner.errors import ConfigError, suggestion
from reasoner.methods.base import Method
from reasoner.metrics import bootstrap_interval, greater_is_better
from reasoner.metrics.counting import Floats, RowCounts, combined
from reasoner.notices import collect, say, tell
from reasoner.preparation import as_method, name_of_model, read_examples, task_class_and_settings
from reasoner.registry import name_of
from reasoner.reports.shortcuts import WARNED_SHARE, ShortcutReport, ShortcutView
from reasoner.result import Result
from reasoner.tasks.base import PartialInput, Task
from reasoner.training.config import TrainingConfig
from reasoner.tuning import train_on_examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WHOLE = "whole input"


class _Scored(NamedTuple):
    """Predictions of one way to make them, scored."""

    name: str
    kind: str
    unseen: str
    score: float
    counts: RowCounts | None


def shortcuts(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method = "full",
    result: Result | None = None,
    views: Sequence[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> ShortcutReport:
    """Say how much of the score needs no premise, no question, no context: train on parts of the input alone.

    The model is trained as `fine_tune` would, once on the whole input and once on each of its parts, with the same
    rows, settings and seed, and scored on the same split: "62 of your 84 points need no premise". Beside them stand
    guesses without a model. A part that does well is proof of a shortcut; that none does well is no proof that there
    is none (Feng et al., 2019, https://aclanthology.org/P19-1554).

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`; scored is the test split, or validation if there is none.
        task: as in `fine_tune`; its `partial_inputs` are the parts, its `baselines` need no model.
        method: as in `fine_tune`.
        result: what `fine_tune` gave for this model, data and method: it is not trained again, and its settings hold.
        views: names of the parts to train on; None: all that the task has; empty: none.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        config: as in `fine_tune`.
        overrides: as in `fine_tune`.

    Raises:
        ConfigError: if a name or setting is unknown, or `result` is of another model, method, task or data.
        DataError: if the data cannot be used.

    Examples:
        >>> import reasoner
        >>> pack = reasoner.synthetic.nli_pack(train=40, validation=20, test=20)
        >>> print(reasoner.shortcuts(None, pack, task="nli", max_steps=1))  # doctest: +SKIP
    """
    with collect():
        config, method = _settings(config, overrides, result), as_method(method)
        task_class, settings = task_class_and_settings(task)
        examples = read_examples(data, task_class.schema(settings), config=config, columns=columns)
        learned = task_class.from_examples(examples, **settings)
        if not greater_is_better(learned.primary_metric):
            raise ConfigError(f"shortcuts needs a score that is better when greater, not {learned.primary_metric}.")
        parts = _chosen(learned.partial_inputs(), views, examples["train"])
        if result is not None:
            _check_same(result, name_of("task", task_class), name_of_model(model), method, examples)

        def train(part: Mapping[str, Sequence[Any]], settings: TrainingConfig) -> Result:
            return train_on_examples(model, part, task=task, method=method, config=settings, tokenizer=tokenizer)

        return _measured(train, examples, parts, result, config)


def _measured(
    train: Callable[[Mapping[str, Sequence[Any]], TrainingConfig], Result],
    examples: Mapping[str, Sequence[Any]],
    parts: Mapping[str, PartialInput],
    result: Result | None,
    config: TrainingConfig,
) -> ShortcutReport:
    """Train what is to be trained, score everything on one split, and compare."""
    alone = replace(config, evaluate_before=False, debias=None, debias_form=None, debias_strength=None)
    if config.debias is not None:
        say("shortcuts: the parts are trained without debias, which is against what they show.")
    trained = [*([WHOLE] if result is None else []), *parts]
    if trained:
        plural = "s" if len(trained) > 1 else ""
        tell(f"{len(trained)} training{plural} with the same settings: {', '.join(trained)}.")
    result = result or _train_named(train, WHOLE, examples, config, trained)
    split = "test" if "test" in examples else "validation"
    scored = [_evaluated(result, WHOLE, "whole", "", examples[split])]
    for name, part in parts.items():
        viewed = {split: [part.view(example) for example in rows] for split, rows in examples.items()}
        partly = _train_named(train, name, viewed, alone, trained)
        scored.append(_evaluated(partly, name, "partial", part.unseen, viewed[split]))
    task = result.predictor.task
    for name, reorder in task.reordered_inputs().items():
        random = Random(config.seed)
        scored.append(_evaluated(result, name, "reordered", "", [reorder(row, random) for row in examples[split]]))
    for name, predictions in task.baselines(examples["train"], examples[split]).items():
        scored.append(_scored(task, name, "baseline", "", predictions, examples[split]))
    views = _views(scored)
    return ShortcutReport(
        task=result.run.task,
        metric=task.primary_metric,
        split=split,
        rows=len(examples[split]),
        views=views,
        notes=_notes(scored, views, split, config.seed),
        result=result,
    )


def _train_named(
    train: Callable[[Mapping[str, Sequence[Any]], TrainingConfig], Result],
    name: str,
    examples: Mapping[str, Sequence[Any]],
    config: TrainingConfig,
    trained: Sequence[str],
) -> Result:
    tell(f"Training {trained.index(name) + 1} of {len(trained)}: {name}.")
    return train(examples, config)


def _evaluated(result: Result, name: str, kind: str, unseen: str, examples: Sequence[Any]) -> _Scored:
    predictions = result.predictor.evaluate_examples(examples, name=name).predictions
    return _scored(result.predictor.task, name, kind, unseen, predictions, examples)


def _scored(
    task: Task[Any, Any], name: str, kind: str, unseen: str, predictions: Sequence[Any], examples: Sequence[Any]
) -> _Scored:
    score = float(task.score(predictions, examples)[task.primary_metric])
    return _Scored(name, kind, unseen, score, task.primary_counts(predictions, examples))


# --- what may be compared --------------------------------------------------------------------------------------------


def _settings(config: TrainingConfig | None, overrides: dict[str, Any], result: Result | None) -> TrainingConfig:
    """Return the settings of all trainings: those of `result` where there is one."""
    if result is None:
        return TrainingConfig.from_overrides(config, overrides)
    if config is not None or overrides:
        given = ", ".join(["config"] * (config is not None) + list(overrides))
        raise ConfigError(f"With result=, its own settings hold, so that all is trained alike. Leave out: {given}.")
    if result.run.config.get("teacher"):
        raise ConfigError("result= learned from a teacher, which its record only names. Leave result out, and give "
                          "its settings and teacher= instead.")  # fmt: skip
    known = {item.name for item in fields(TrainingConfig)}
    return TrainingConfig(**{name: value for name, value in result.run.config.items() if name in known})


def _check_same(result: Result, task: str, model: str, method: Method, examples: Mapping[str, Sequence[Any]]) -> None:
    rows = {split: len(part) for split, part in examples.items()}
    run = result.run
    compared = {
        "task": (run.task, task),
        "model": (run.model, model),
        "method": (run.method, repr(method)),
        "rows": (run.rows, rows),
    }
    other = [f"its {name} is {had}, not {given}" for name, (had, given) in compared.items() if had != given]
    if other:
        raise ConfigError(f"result= is of another training: {'; '.join(other)}. Give what it was trained with.")


def _chosen(
    parts: Mapping[str, PartialInput], views: Sequence[str] | None, training: Sequence[Any]
) -> dict[str, PartialInput]:
    """Return the parts to train on: those asked for, without those that take nothing away from any row."""
    unknown = [name for name in views or () if name not in parts]
    if unknown:
        raise ConfigError(f"views: there is no '{unknown[0]}' here. {suggestion(unknown[0], parts)}")
    wanted = {name: part for name, part in parts.items() if views is None or name in views}
    whole = [name for name, part in wanted.items() if all(part.view(example) == example for example in training)]
    for name in whole if views is not None else ():
        say(f"'{name}' would be the whole input again, since no row has a {wanted[name].unseen}: it is left out.")
    return {name: part for name, part in wanted.items() if name not in whole}


# --- what it means ---------------------------------------------------------------------------------------------------


def _views(scored: Sequence[_Scored]) -> tuple[ShortcutView, ...]:
    whole, guess = scored[0], _guess(scored)
    gain = whole.score - (guess.score if guess else 0.0)
    views = []
    for item in scored:
        interval = bootstrap_interval(*item.counts) if item.counts else None
        over_guess = item.score - (guess.score if guess else 0.0)
        view = ShortcutView(
            name=item.name,
            kind=item.kind,
            score=item.score,
            lower=interval.lower if interval else None,
            upper=interval.upper if interval else None,
            share=over_guess / gain if gain > 0 else None,
            sentence=_sentence(item, whole, guess),
        )
        views.append(replace(view, warning=_warning(item, view.share, whole, guess)))
    return tuple(views)


def _guess(scored: Sequence[_Scored]) -> _Scored | None:
    return next((item for item in scored if item.kind == "baseline"), None)


def _sentence(item: _Scored, whole: _Scored, guess: _Scored | None) -> str:
    points = f"{_points(item)} of your {_points(whole)} points"
    if item.kind == "reordered":
        return f"With {item.name}, {points} remain."
    if item is guess:
        return f"{points} need no model, only a guess ({item.name})."
    if item.kind == "baseline":
        return f"{points} need no model ({item.name})."
    if item.kind == "partial":
        beyond = f": without it the score is {_points(item)}" if item.score >= whole.score else ""
        points = f"All of your {_points(whole)} points" if beyond else points
        alone = f" ({guess.name} alone: {_points(guess)})" if guess else ""
        return f"{points} need no {item.unseen}{beyond}{alone}."
    return ""


def _points(item: _Scored) -> str:
    return f"{100 * item.score:.0f}"


def _warning(item: _Scored, share: float | None, whole: _Scored, guess: _Scored | None) -> str:
    """Return what is wrong with the score, if something surely is; see `ShortcutReport.rule`."""
    if item.kind == "reordered" and _surely_positive([(1, whole), (-1, item)]):
        fall = f"the score falls from {_points(whole)} to {_points(item)}"
        return f"{item.name}: {fall}, so the model goes by the order. Shuffle it in the training rows."
    if item.kind not in ("partial", "baseline") or item is guess:
        return ""
    over_guess = [(1.0, item)] + ([(-1.0, guess)] if guess else [])
    over_share = [(1.0, item), (-WARNED_SHARE, whole)] + ([(WARNED_SHARE - 1, guess)] if guess else [])
    if not (_surely_positive(over_guess) and _surely_positive(over_share)):
        return ""
    kept = "as much as the whole input" if share is None or share >= 1 else f"{share:.0%} of the whole input's gain"
    over = f" over {guess.name}" if guess else ""
    return (
        f"{item.name}: this alone gets {kept}{over}. "
        "Report its score beside yours, and look in the data for what gives the answer away."
    )


def _surely_positive(terms: Sequence[tuple[float, _Scored]]) -> bool:
    """Return whether a weighted sum of scores on the same rows is above 0: its 95% interval, or without one itself."""
    counts = [item.counts for _, item in terms if item.counts]
    if len(counts) < len(terms):
        return sum(weight * item.score for weight, item in terms) > 0

    def weighted(scores: list[Floats]) -> Floats:
        total: Floats = np.sum([weight * score for (weight, _), score in zip(terms, scores, strict=True)], axis=0)
        return total

    return bootstrap_interval(*combined(counts, weighted)).lower > 0


def _notes(scored: Sequence[_Scored], views: Sequence[ShortcutView], split: str, seed: int) -> tuple[str, ...]:
    guess = _guess(scored)
    notes = []
    if guess and not _surely_positive([(1, scored[0]), (-1, guess)]):
        notes.append(
            f"The whole input is not surely better than {guess.name}: as long as nothing was learned, nothing can be "
            "said of shortcuts. Train longer, or on more rows."
        )
    elif not any(view.warning for view in views):
        kept = f"No part surely keeps more than {WARNED_SHARE:.0%} of the gain"
        notes.append(f"{kept}, which does not prove the data free of shortcuts (Feng et al., 2019).")
    if not all(item.counts for item in scored):
        notes.append("The task has no primary_counts, so there are no intervals: the scores are taken as they are.")
    if not guess:
        notes.append("The task has no guess to compare with (Task.baselines): the gain is counted from 0.")
    if split == "validation":
        notes.append("There is no test split: the same rows chose the best weights, so all scores are optimistic.")
    return (*notes, f"Each score is of one training (seed {seed}): the intervals are over rows, not over seeds.")
