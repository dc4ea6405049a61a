"""Which triples does a text state? Entities by one model, the relation of each pair of them by another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Protocol


class Predicts(Protocol):
    """A `Result`, or anything else with its `predict`."""

    def predict(self, inputs: Any) -> Any:
        """Return one prediction an input."""


@dataclass(frozen=True, kw_only=True)
class Triple:
    """A statement, and what it rests on."""

    head: str
    relation: str
    tail: str
    evidence: str = ""
    """The text that states it; empty where a model completed the graph with it."""
    score: float = 1.0
    """How probable the model says it is, from 0 to 1."""


def extract_triples(
    texts: Sequence[str],
    *,
    ner: Predicts,
    relation: Predicts,
    none_label: str = "no relation",
    min_score: float = 0.5,
    types: Iterable[tuple[str, str]] | None = None,
) -> list[Triple]:
    """Return the triples that are found in texts, each with its text.

    Every two entities of a text are asked for in both directions, which grows with the square of their number: give
    sentences, not documents.

    Args:
        texts: sentences.
        ner: a model for `ner`.
        relation: a model for `relation`, whose names were marked as `ner` marks them.
        none_label: the label that says that there is no relation.
        min_score: less probable relations are left out.
        types: the (head type, tail type) pairs that are asked for, as `ner` names them; None: all.

    Raises:
        DataError: if a text is none.
    """
    allowed = None if types is None else set(types)
    asked: list[tuple[str, Any, Any]] = []
    for text, entities in zip(texts, ner.predict(list(texts)), strict=True):
        for head, tail in permutations(entities, 2):
            if allowed is None or (head["entity_group"], tail["entity_group"]) in allowed:
                asked.append((text, head, tail))
    pairs = [
        {"text": text, "head": [head["start"], head["end"]], "tail": [tail["start"], tail["end"]]}
        for text, head, tail in asked
    ]
    found = relation.predict(pairs) if pairs else []
    return [
        Triple(head=head["word"], relation=said["label"], tail=tail["word"], evidence=text, score=said["score"])
        for (text, head, tail), said in zip(asked, found, strict=True)
        if said["label"] != none_label and said["score"] >= min_score and head["word"] != tail["word"]
    ]
