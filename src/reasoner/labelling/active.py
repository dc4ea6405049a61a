"""Which rows should a person label next?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, suggestion
from reasoner.inference import Predictor
from reasoner.labelling.chosen import Chosen, ToLabel
from reasoner.labelling.doubt import MEASURES, doubts, judged
from reasoner.labelling.rows import gold_name, gold_of, read_unlabelled, schema_of, without_known
from reasoner.labelling.strategies import (
    STRATEGIES,
    Pick,
    at_random,
    doubtful_and_different,
    farthest_first,
    most_doubtful,
)
from reasoner.notices import collect, say
from reasoner.result import Result, load_result
from reasoner.training.ranks import refuse_several
from reasoner.vectors import mean_vectors


def to_label(
    model: Result | str | Path,
    rows: Any,
    *,
    number: int = 100,
    by: str = "both",
    doubt: str = "least confidence",
    training: Any = None,
    columns: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> ToLabel:
    """Choose which unlabelled rows to label next; `write` them to a file, and `read_labels` reads it back.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        rows: without gold, as `fine_tune` takes one source (gold that is there plays no part). Rows with the texts of a
            training row, or of an earlier row, are left out and counted.
        number: how many.
        by: "both": of the most doubtful rows some that differ (Zhdanov, 2019); "uncertainty": the most doubtful;
            "diversity": those farthest from what is labelled (k-center, Sener & Savarese, 2018), by the mean of the
            model's last states; "random".
        doubt: "least confidence" (of NER the normalised log-probability of a sentence, Shen et al., 2017), "margin" or
            "entropy"; the last two where one label is chosen of several.
        training: the rows that the model was trained on; None: those that `fine_tune` gave it, if it still knows them.
        columns: as in `fine_tune`, for `rows`.
        seed: of "random" and of the clusters of "both".

    Raises:
        ConfigError: if an argument makes no sense, or the task gives no such doubt.
        DataError: if a row cannot be used, or none is left.

    Example:
        >>> reasoner.to_label("output/model", "pool.jsonl", number=50).write("to_label.jsonl")  # doctest: +SKIP
    """
    _check(number, by, doubt)
    refuse_several("to_label")
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        predictor = result.predictor
        known = known_examples(result, training)
        pool = without_known(read_unlabelled(predictor.task, rows, columns=columns), known)
        examples = [row.example for row in pool]
        if number > len(pool):
            say(f"{number} rows were asked for, and {len(pool)} are left: all of them are chosen.")
        said = judged(predictor, examples)
        doubtful = doubts(predictor, said, doubt) if by in STRATEGIES[:2] else None
        picks = _picks(predictor, examples, known, by, number, doubtful, seed)
        task = predictor.task
        chosen = []
        for pick in picks:
            name = gold_name(pool[pick.row].columns, schema_of(task))
            labelled = task.labelled(examples[pick.row], said[pick.row].prediction)
            chosen.append(
                Chosen(
                    columns=pool[pick.row].columns,
                    where=examples[pick.row].where,
                    gold=name,
                    suggested=None if labelled is None else gold_of(labelled, name, task),
                    doubt=None if doubtful is None else doubtful[pick.row],
                    why=pick.why,
                )
            )
        return ToLabel(tuple(chosen), task=task, by=by, doubt=doubt if doubtful else None, pool=len(pool))


def known_examples(result: Result, training: Any) -> Sequence[Any] | None:
    """Return the rows that a model was trained on: those that are given, or those that it still knows; else None."""
    if training is not None:
        task = result.predictor.task
        splits = examples_from_rows(read_splits(training), task.schema(task.settings()))
        rows: Sequence[Any] = splits.get("train", next(iter(splits.values())))
        return rows
    return None if result.label_record is None else result.label_record.examples


def _picks(
    predictor: Predictor,
    examples: Sequence[Any],
    known: Sequence[Any] | None,
    by: str,
    number: int,
    doubtful: Sequence[float] | None,
    seed: int,
) -> list[Pick]:
    if by == "random":
        return at_random(len(examples), number, seed=seed)
    if by == "diversity":
        labelled = None if not known else mean_vectors(predictor, known)
        return farthest_first(mean_vectors(predictor, examples), number, known=labelled)
    assert doubtful is not None
    if by == "uncertainty":
        return most_doubtful(doubtful, number)
    return doubtful_and_different(mean_vectors(predictor, examples), doubtful, number, seed=seed)


def _check(number: int, by: str, doubt: str) -> None:
    if type(number) is not int or number < 1:
        raise ConfigError(f"number is {number!r}. Give how many rows are to be labelled, at least 1.")
    for name, value, known in (("by", by, STRATEGIES), ("doubt", doubt, MEASURES)):
        if value not in known:
            raise ConfigError(f"{name} is {value!r}. {suggestion(str(value), known)}")
