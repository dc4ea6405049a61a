"""Link prediction: which entity completes (head, relation, ?) or (?, relation, tail), by the texts of all three?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from reasoner.data.candidates import best_first, check_length, tokens_of_candidates, with_answers
from reasoner.data.examples import Example, text_column
from reasoner.data.features import Feature
from reasoner.data.windows import tokenize
from reasoner.errors import ConfigError, DataError, Problem
from reasoner.metrics import filtered_rank, ranking_scores
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.notices import count, say
from reasoner.tasks.base import Splits, Task

INVERSE = "inverse of "
"""Stands before a relation whose head is asked for."""
CANDIDATES = 10
"""How many entities a prediction names."""


@dataclass(frozen=True, kw_only=True)
class LinkPredictionExample(Example):
    """A triple, each part by its text: a name, or a name with its description; a text is an entity."""

    aliases = {"head": ("subject", "source"), "relation": ("predicate",), "tail": ("object", "target")}

    inputs = {"head": "text?", "relation": "text", "tail": "text?"}

    head: str | None
    """None where it is asked for."""
    relation: str
    tail: str | None
    """None where it is asked for."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        texts = {name: text_column(columns, name, cls).strip() for name in ("head", "relation", "tail")}
        return cls(**texts, where=where)


class Query(NamedTuple):
    """What one vector is made for: an entity and a relation, and which side is asked for."""

    side: str
    """`"tail"` or `"head"`, the one that is asked for."""
    entity: str
    relation: str
    answer: str | None
    """The gold."""

    @property
    def relation_text(self) -> str:
        """The relation as the model reads it."""
        return self.relation if self.side == "tail" else INVERSE + self.relation


@dataclass(frozen=True, kw_only=True)
class LinkPrediction(Task[LinkPredictionExample, dict[str, Any]]):
    """Each triple asks for its tail and for its head; all known entities are candidates (SimKGC: Wang et al., 2022)."""

    Example = LinkPredictionExample
    default_head = "bi_encoder"
    keep_together = True
    compares_rows = True
    needs_all_rows = "its candidates are the entities of all rows"
    primary_metric = "mrr"

    entities: Sequence[str] = ()
    """The candidates: those of the data, and those that are given here beside them."""
    relations: Sequence[str] = ()
    """Learned from the data."""
    triples: Sequence[Sequence[int]] = ()
    """The known triples as (head, relation, tail), indexes: what a rank leaves out. Learned from all splits."""
    training_triples: int = 0
    """How many of `triples`, the first, are of training."""
    entity_tokens: Sequence[Sequence[int]] = ()
    """Each entity's text as the model reads it. Learned from the tokenizer."""
    entity_length: int = 64
    """Tokens of an entity's text that are read where it is a candidate, special tokens included."""
    similarity_temperature: float = 0.05
    """What the similarity of vectors is divided by at first, above 0; it is learned from there."""

    @classmethod
    def from_examples(cls, splits: Splits[LinkPredictionExample], **settings: Any) -> Self:
        """Learn entities, relations and the known triples; see `Task.from_examples`."""
        task = cls(**settings)
        if not task.similarity_temperature > 0:
            raise ConfigError(f"similarity_temperature is {task.similarity_temperature}. Give a number above 0.")
        given = {split: [(e.head, e.relation, e.tail) for e in examples] for split, examples in splits.items()}
        every = [triple for triples in given.values() for triple in triples]
        training = dict.fromkeys(given.get("train", []))
        known = [*training, *(triple for triple in dict.fromkeys(every) if triple not in training)]
        untrained = sorted({relation for _, relation, _ in known} - {relation for _, relation, _ in training})
        if untrained:
            say(f"{len(untrained)} relations do not occur in training: {', '.join(untrained[:5])}.")
        entities = sorted({*task.entities, *(str(entity) for head, _, tail in known for entity in (head, tail))})
        relations = sorted({relation for _, relation, _ in known})
        number = {name: place for place, name in enumerate(entities)}
        place = {name: index for index, name in enumerate(relations)}
        triples = tuple((number[str(head)], place[relation], number[str(tail)]) for head, relation, tail in known)
        return replace(task, entities=tuple(entities), relations=tuple(relations), triples=triples,
                       training_triples=len(training), entity_tokens=())  # fmt: skip

    def fitted_to(self, config: Any, tokenizer: Any) -> Self:
        """Return the task with the entities' tokens."""
        limits: dict[str, Any] = {"limit": self.entity_length, "setting": "entity_length"}
        return replace(self, entity_tokens=tokens_of_candidates(self.entities, tokenizer, what="entities", **limits))

    def example_from_input(self, value: Any) -> LinkPredictionExample:
        """Accept `{"head", "relation"}`, which asks for the tail, or `{"relation", "tail"}`; texts may be new ones."""
        if isinstance(value, Mapping):
            head, relation, tail = (value.get(name) or None for name in ("head", "relation", "tail"))
            texts = [text for text in (head, relation, tail) if isinstance(text, str) and text.strip()]
            if len(texts) == 2 and isinstance(relation, str) and (head is None or tail is None):
                return LinkPredictionExample(head=head, relation=relation, tail=tail)
        raise DataError(
            "link_prediction predicts for {'head': ..., 'relation': ...} or {'relation': ..., 'tail': ...}, "
            f"not for {value!r:.60}."
        )

    def problems(self, examples: Sequence[LinkPredictionExample]) -> list[Problem]:
        """Return the entities of further data that are no candidates: their rank would be a made-up one."""
        found = []
        for example in examples:
            if unknown := [text for text in (example.head, example.tail) if text not in self._entity_ids]:
                what = f"{unknown[0]!r:.60} is none of the {len(self.entities)} entities that were known at training"
                found.append(Problem(example.where, what, "Name it in LinkPrediction(entities=[...]) and train again."))
        return found

    def encode(
        self, examples: Sequence[LinkPredictionExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return for each query one feature, and after it, where there is gold, one of the entity that answers it."""
        check_length(self.entity_tokens, max_length, what="an entity's text", setting="LinkPrediction(entity_length")
        queries = [queries_of(example) for example in examples]
        flat = [query for group in queries for query in group]
        windows, cut = tokenize(
            tokenizer, [query.entity for query in flat], [query.relation_text for query in flat], max_length=max_length
        )
        if cut:
            count(f"{{n}} queries are longer than max_length={max_length} tokens; the longer side was cut.", cut)
        remaining = iter(windows)
        return [[feature for query in group for feature in self._features(query, next(remaining))] for group in queries]

    def decode(
        self,
        records: Sequence[Any],
        features: Sequence[Sequence[Feature]],
        examples: Sequence[LinkPredictionExample],
    ) -> list[dict[str, Any]]:
        """Return the best entity and its probability for what was asked for, and the candidates or the gold's rank.

        `{"tail", "score", "tails"}` or `{"head", "score", "heads"}`; with gold `{"tail", "head", "tail_rank",
        "head_rank"}`. Candidates are `{"entity", "score", "known"}`, known if the triple is one of the data.
        """
        predictions, first = [], 0
        for example, group in zip(examples, features, strict=True):
            queries = queries_of(example)
            prediction: dict[str, Any] = {}
            for number, query in enumerate(queries):
                vector, entities = records[first + number * len(group) // len(queries)]
                prediction |= self._answer(query, entities @ vector)
            predictions.append(prediction)
            first += len(group)
        return predictions

    def score(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> dict[str, Any]:
        """Return filtered MRR, Hits@k and mean rank of both sides together, and by side; ties get their mean rank."""
        tails, heads = ([p[f"{side}_rank"] for p in predictions] for side in ("tail", "head"))
        by_side = {"tail": ranking_scores(tails), "head": ranking_scores(heads)}
        return {**ranking_scores(tails + heads), "by_side": by_side}

    def primary_counts(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> RowCounts | None:
        """Return MRR as a mean over rows."""
        return RowCounts(
            mean_from_sums, mean_counts([(1 / p["tail_rank"] + 1 / p["head_rank"]) / 2 for p in predictions])
        )

    def baselines(
        self, training: Sequence[LinkPredictionExample], examples: Sequence[LinkPredictionExample]
    ) -> dict[str, Sequence[dict[str, Any]]]:
        """Return the ranks by how often an entity was the tail, or the head, of the relation in training."""
        counts: dict[tuple[str, str], Counter[int]] = {}
        for example in training:
            for query in queries_of(example):
                answers = counts.setdefault((query.side, query.relation), Counter())
                answers[self._entity_ids[str(query.answer)]] += 1
        return {"frequency": [self._by_frequency(example, counts) for example in examples]}

    def head_arguments(self) -> dict[str, Any]:
        """Return the entities' tokens, and the answers that are known in training."""
        keys = sorted({
            self._query_id(side, entity, relation) * len(self.entities) + answer
            for head, relation, tail in self.triples[: self.training_triples]
            for side, entity, answer in (("tail", head, tail), ("head", tail, head))
        })  # fmt: skip
        return {
            "candidate_tokens": self.entity_tokens,
            "known_answers": keys,
            "similarity_temperature": self.similarity_temperature,
        }

    @cached_property
    def _entity_ids(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.entities)}

    @cached_property
    def _relation_ids(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.relations)}

    @cached_property
    def _answers(self) -> dict[tuple[str, int, int], set[int]]:
        """The known answers by (side, entity, relation)."""
        found: dict[tuple[str, int, int], set[int]] = {}
        for head, relation, tail in self.triples:
            found.setdefault(("tail", head, relation), set()).add(tail)
            found.setdefault(("head", tail, relation), set()).add(head)
        return found

    def _known(self, query: Query) -> set[int]:
        key = self._entity_ids.get(query.entity, -1), self._relation_ids.get(query.relation, -1)
        return self._answers.get((query.side, *key), set())

    def _query_id(self, side: str, entity: int, relation: int) -> int:
        """Return a number for a query; that of a relation that training never saw is no other's."""
        return (entity * (len(self.relations) + 1) + relation) * 2 + (side == "head")

    def _features(self, query: Query, window: Any) -> list[Feature]:
        if query.answer is None:
            return [Feature(window.inputs)]
        answer, entity = self._entity_ids[query.answer], self._entity_ids[query.entity]
        number = self._query_id(query.side, entity, self._relation_ids.get(query.relation, len(self.relations)))
        return with_answers(window, number, [answer], self.entity_tokens)

    def _answer(self, query: Query, logits: Any) -> dict[str, Any]:
        """Return what is predicted for a query; logits are (entities,)."""
        if query.answer is not None:
            return {query.side: self.entities[int(logits.argmax())], f"{query.side}_rank": self._rank(query, logits)}
        known, best = self._known(query), best_first(logits, CANDIDATES)
        named = [{"entity": self.entities[n], "score": score, "known": n in known} for n, score in best]
        return {query.side: named[0]["entity"], "score": named[0]["score"], f"{query.side}s": named}

    def _rank(self, query: Query, scores: Any) -> float:
        gold = self._entity_ids[str(query.answer)]
        return filtered_rank(scores, gold, self._known(query) - {gold})

    def _by_frequency(self, example: LinkPredictionExample, counts: Mapping[Any, Counter[int]]) -> dict[str, Any]:
        prediction: dict[str, Any] = {}
        for query in queries_of(example):
            scores = np.zeros(len(self.entities))
            for entity, number in counts.get((query.side, query.relation), Counter()).items():
                scores[entity] = number
            prediction |= self._answer(query, scores)
        return prediction


def queries_of(example: LinkPredictionExample) -> list[Query]:
    """Return what an example asks: its tail, if it has a head; its head, if it has a tail."""
    queries = []
    if example.head is not None:
        queries.append(Query("tail", example.head, example.relation, example.tail))
    if example.tail is not None:
        queries.append(Query("head", example.tail, example.relation, example.head))
    return queries
