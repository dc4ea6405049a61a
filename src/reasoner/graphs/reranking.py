"""A second model that reads question and candidate together: does it rank the best candidates of the first better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import ONE_SOURCE, read_splits
from reasoner.errors import ConfigError
from reasoner.methods.base import Method
from reasoner.metrics import ranking_scores
from reasoner.notices import collect, say
from reasoner.preparation import as_method, read_examples
from reasoner.result import Result
from reasoner.tasks.link_prediction import LinkPrediction, LinkPredictionExample, Query, queries_of
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.training.config import TrainingConfig
from reasoner.tuning import train_on_examples


@dataclass(frozen=True)
class Asked:
    """A question to the graph, and the best candidates of the first model."""

    query: Query
    shortlist: tuple[int, ...]
    """Numbers of entities, the best first; other known answers are left out where the gold is known."""
    gold: int | None
    """The number of the right entity, where it is known."""
    rank: float
    """Where the first model has the gold among all entities (filtered); 0 where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Shortlists(LinkPrediction):
    """Link prediction that answers with `Asked`."""

    candidates: int = 10

    def _answer(self, query: Query, logits: Any) -> dict[str, Any]:
        scores = np.array(logits, np.float64)
        rank, gold = 0.0, None
        if query.answer is not None:
            gold = self._entity_ids[query.answer]
            rank = self._rank(query, scores)
            scores[list(self._known(query) - {gold})] = -np.inf
        order = np.argsort(-scores, kind="stable")[: self.candidates]
        return {query.side: Asked(query, tuple(int(n) for n in order if scores[n] > -np.inf), gold, rank)}

    def score(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> dict[str, Any]:
        """Return nothing: these are no answers yet."""
        return {}


@dataclass(frozen=True)
class Reranker:
    """Two models: the first finds candidates among all entities, the second reads each of them with the question.

    The bi-encoder is fast, since an entity's vector is made once, and never sees question and candidate together; the
    cross-encoder does, for a few (Nogueira & Cho, 2019, https://arxiv.org/abs/1901.04085).
    """

    first: Result = field(repr=False)
    """Tuned for `link_prediction`."""
    second: Result = field(repr=False)
    """Tuned for `multiple_choice` on the first one's candidates."""
    candidates: int
    """How many are read anew for each question."""

    def evaluate(self, data: Any, *, columns: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        """Return filtered MRR and Hits@k of triples with gold: by the "first" model, and "reranked".

        A gold entity among the candidates has the place that the second model gives it; one that is not keeps that of
        the first. `shortlisted` is the share of questions whose gold is among them: no second model does better.

        Raises:
            DataError: if a row cannot be used.
            ConfigError: if the data has several splits.
        """
        asked = _asked(self.first, _examples(data, columns), self.candidates)
        ranks = []
        for item, ranked in zip(asked, self._ranked(asked), strict=True):
            order = [number for _, number in ranked]
            ranks.append(order.index(item.gold) + 1.0 if item.gold in order else item.rank)
        within = sum(item.gold in item.shortlist for item in asked) / len(asked)
        return {"first": ranking_scores([item.rank for item in asked]),
                "reranked": {**ranking_scores(ranks), "shortlisted": within}}  # fmt: skip

    def predict(self, inputs: Mapping[str, Any] | list[Mapping[str, Any]]) -> Any:
        """Return for `{"head", "relation"}` the tail, for `{"relation", "tail"}` the head, as the second ranks them.

        `{"tail", "score", "tails"}`: the score is the share of a softmax over the candidates.
        """
        one = isinstance(inputs, Mapping)
        task = self.first.predictor.task
        examples = [task.example_from_input(value) for value in ([inputs] if one else inputs)]
        asked = _asked(self.first, examples, self.candidates)
        predictions = []
        for item, ranked in zip(asked, self._ranked(asked), strict=True):
            named = [{"entity": self._entities[number], "score": score} for score, number in ranked]
            side = item.query.side
            predictions.append({side: named[0]["entity"], "score": named[0]["score"], f"{side}s": named})
        return predictions[0] if one else predictions

    def save(self, folder: str | Path) -> None:
        """Write both models into folders in a folder; `reasoner.load` reads each."""
        self.first.save(Path(folder) / "first")
        self.second.save(Path(folder) / "second")

    @property
    def _entities(self) -> Sequence[str]:
        entities: Sequence[str] = self.first.predictor.task.entities  # type: ignore[attr-defined]
        return entities

    def _ranked(self, asked: Sequence[Asked]) -> list[list[tuple[float, int]]]:
        """Return score and number of each question's candidates, the best by the second model first."""
        said = self.second.predict([_question(item, self._entities) for item in asked])
        return [
            sorted(zip(one["scores"], item.shortlist, strict=True), key=lambda pair: -pair[0])
            for one, item in zip(said, asked, strict=True)
        ]


def rerank(
    first: Result,
    data: Any,
    *,
    model: Any = None,
    candidates: int = 10,
    questions: int | None = None,
    method: str | Method = "full",
    columns: Mapping[str, Any] | None = None,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> Reranker:
    """Train a cross-encoder on the candidates that a bi-encoder finds for the training triples.

    Each triple asks two questions, of its tail and of its head. The choices are the first model's best candidates,
    without other known answers; where the gold is not among them it takes the place of the last.

    Args:
        first: tuned for `link_prediction`.
        data: triples, `{"train": ..., "validation": ...}`; without validation some are cut off.
        model: what the second model starts from; as in `fine_tune`.
        candidates: how many are read anew; the time of training and use grows with it.
        questions: so many of the training questions, drawn at random; None: all.
        method: as in `fine_tune`.
        columns: as in `fine_tune`.
        config: as in `fine_tune`; its seed is that of the draw too.
        overrides: as in `fine_tune`.

    Raises:
        ConfigError: if the first model is for another task, or a number is too small.
        DataError: if a row cannot be used.

    Examples:
        >>> better = reasoner.rerank(result, {"train": "train.tsv", "validation": "dev.tsv"})  # doctest: +SKIP
        >>> better.evaluate("test.tsv")  # doctest: +SKIP
    """
    if not isinstance(first.predictor.task, LinkPrediction):
        raise ConfigError(f"rerank needs a model for link_prediction, not for {first.run.task}. Tune one first.")
    for name, number, least in (("candidates", candidates, 2), ("questions", questions, 2)):
        if number is not None and (type(number) is not int or number < least):
            raise ConfigError(f"{name} is {number!r}. Give a whole number of at least {least}.")
    with collect():
        settings, entities = TrainingConfig.from_overrides(config, overrides), first.predictor.task.entities
        rows = {}
        for split, examples in read_examples(data, LinkPredictionExample, config=settings, columns=columns).items():
            drawn = _asked(first, examples, candidates)
            if split == "train" and questions is not None:
                drawn = Random(settings.seed).sample(drawn, min(questions, len(drawn)))
            rows[split] = [_with_gold(_question(item, entities), str(item.query.answer)) for item in drawn]
        lacking = sum(row.pop("put_in") for part in rows.values() for row in part)
        say(f"rerank: {sum(map(len, rows.values())):,} questions with {candidates} candidates each; in {lacking:,} the "
            "right one was not among them, and was put in.")  # fmt: skip
        task = MultipleChoice()
        made = read_examples(rows, task.schema(task.settings()), config=settings)
        second = train_on_examples(model, made, task=task, method=as_method(method), config=settings)
        return Reranker(first, second, candidates)


def _examples(data: Any, columns: Mapping[str, Any] | None) -> list[LinkPredictionExample]:
    splits = examples_from_rows(read_splits(data, columns=columns, alone=ONE_SOURCE), LinkPredictionExample)
    if len(splits) != 1:
        raise ConfigError(f"evaluate takes one split, and the data has {', '.join(splits)}. Give one of them.")
    ((_, examples),) = splits.items()
    return list(examples)


def _asked(first: Result, examples: Sequence[LinkPredictionExample], candidates: int) -> list[Asked]:
    """Return the questions of triples, or of what lacks a side, with the first model's candidates."""
    task = first.predictor.task
    same = {item.name: getattr(task, item.name) for item in fields(task)}
    predictor = first.predictor.with_task(Shortlists(**same, candidates=candidates))
    if all(example.head is not None and example.tail is not None for example in examples):
        predictions = predictor.evaluate_examples(examples).predictions
    else:
        predictions = predictor.predict([_input(example) for example in examples])
    return [
        answers[query.side]
        for example, answers in zip(examples, predictions, strict=True)
        for query in queries_of(example)
    ]


def _input(example: LinkPredictionExample) -> dict[str, Any]:
    values = {"head": example.head, "relation": example.relation, "tail": example.tail}
    return {name: value for name, value in values.items() if value is not None}


def _question(asked: Asked, entities: Sequence[str]) -> dict[str, Any]:
    """Return what the second model reads: the entity, the relation, and the candidates to choose from."""
    choices = [entities[number] for number in asked.shortlist]
    return {"context": asked.query.entity, "question": asked.query.relation_text, "choices": choices}


def _with_gold(row: dict[str, Any], gold: str) -> dict[str, Any]:
    """Return the row with its gold, which takes the last place where it is not among the choices."""
    put_in = gold not in row["choices"]
    choices = [*row["choices"][:-1], gold] if put_in else row["choices"]
    return {**row, "choices": choices, "label": choices.index(gold), "put_in": put_in}
