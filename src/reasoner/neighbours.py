"""Which training rows does a model see near an input, and what are their labels?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, raise_if_any
from reasoner.notices import collect, say
from reasoner.reports.evidence import Evidence, Evidences, Neighbour
from reasoner.result import Result, load_result
from reasoner.tasks.base import Task
from reasoner.training.ranks import refuse_several
from reasoner.vectors import Vectors, head_vectors

AT_ONCE = 1_000
"""Inputs compared with all training rows at a time."""


def evidence(
    model: Result | str | Path,
    inputs: Any,
    training: Any = None,
    *,
    number: int = 5,
    columns: Mapping[str, Any] | None = None,
) -> Evidences:
    """Show for each input the training rows that the model sees nearest to it, with their gold.

    Case-based explanation (Caruana et al., 1999, https://pmc.ncbi.nlm.nih.gov/articles/PMC2232607/; Papernot &
    McDaniel, 2018, https://arxiv.org/abs/1803.04765): near is what has a high cosine in what the last layer of the
    tuned model's head reads (see `vectors.head_vectors`). Neighbours of another label are a reason to doubt a
    prediction; that they agree is no proof that they are why it was made.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model; of an encoder or a decoder.
        inputs: one input, or a list of them, as `predict` takes them.
        training: rows with gold, as `Result.evaluate` takes them (of several splits train); None: those that
            `fine_tune` gave the model, if it still knows them.
        number: of neighbours.
        columns: as in `fine_tune`, for `training`.

    Raises:
        ConfigError: if `number` is below 1, or the training rows are not known.
        DataError: if an input has another form, or a row cannot be used.

    Example:
        >>> print(reasoner.evidence("output/model", "It never worked.", "train.jsonl"))  # doctest: +SKIP
    """
    if type(number) is not int or number < 1:
        raise ConfigError(f"number is {number!r}. Give how many neighbours are wanted, at least 1.")
    refuse_several("evidence")
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        predictor, task = result.predictor, result.predictor.task
        rows = _training_rows(result, training, columns)
        if number > len(rows):
            say(f"evidence: {number} neighbours were asked for, and there are {len(rows)} rows.")
        given = inputs if isinstance(inputs, list) else [inputs]
        predictions = predictor.predict(given)
        examples = [task.example_from_input(one) for one in given]
        if not examples:
            return Evidences()
        known, own = _unit(head_vectors(predictor, rows)), _unit(head_vectors(predictor, examples))
        found = Evidences()
        for start in range(0, len(own), AT_ONCE):
            for place, cosines in enumerate(own[start : start + AT_ONCE] @ known.T, start=start):
                said = _said(task, examples[place], predictions[place])
                order = np.argsort(-cosines, kind="stable")[:number].tolist()
                neighbours = tuple(_neighbour(task, rows[row], float(cosines[row]), said) for row in order)
                found.append(Evidence(texts=dict(examples[place].texts), said=said or (), neighbours=neighbours))
        return found


def _training_rows(result: Result, training: Any, columns: Mapping[str, Any] | None) -> Sequence[Any]:
    if training is None:
        if result.label_record is None:
            raise ConfigError("The rows that this model was trained on are not known: it was loaded, or trained on a "
                              "stream. Give them: evidence(model, inputs, training).")  # fmt: skip
        return result.label_record.examples
    task = result.predictor.task
    splits = examples_from_rows(read_splits(training, columns=columns), task.schema(task.settings()))
    rows = splits.get("train") or next(iter(splits.values()))
    raise_if_any(task.problems(rows))
    return rows


def _said(task: Task[Any, Any], example: Any, prediction: Any) -> tuple[str, ...] | None:
    """Return what is predicted, by names as the gold has them; None: such names cannot be compared."""
    labelled = None if task.keep_together else task.labelled(example, prediction)  # the place of a choice says nothing
    return None if labelled is None else task.gold_names(labelled)


def _neighbour(task: Task[Any, Any], row: Any, similarity: float, said: tuple[str, ...] | None) -> Neighbour:
    gold = task.gold_names(row)
    return Neighbour(
        where=row.where,
        texts=dict(row.texts),
        gold=gold,
        similarity=similarity,
        agrees=None if said is None else sorted(set(gold)) == sorted(set(said)),
    )


def _unit(vectors: Vectors) -> Vectors:
    """Return the vectors at length 1, (rows, size)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
