"""What do NER packs look like that come one after the other, each with a type of entity that no other has?"""

from __future__ import annotations

from functools import partial
from random import Random

from reasoner.synthetic import entities
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Pool

TYPES = ("PER", "LOC", "ORG", "DATE", "JOB")
"""In the order of the batches."""
PLAIN = {
    "PER": ("somebody", "nobody", "they", "we"),
    "LOC": ("the village", "the valley", "the countryside", "the suburbs"),
    "ORG": ("the firm", "the club", "a company", "the team"),
    "DATE": ("that day", "those days", "the same day", "another day"),
    "JOB": ("person", "neighbour", "friend", "visitor"),
}
"""What stands in a sentence where the other batches would have an entity."""


def ner_batches(*, train: int = 100, validation: int = 30, test: int = 50, seed: int = 0) -> dict[str, Pack]:
    """Make five NER packs by name, in the order of time, for `teach`: each has one type of its own, and no other's.

    The sentences are those of `ner_pack`. The types are PER, LOC, ORG, DATE and JOB (`works as a baker`); where a
    sentence would have an entity of another batch, plain words stand (`somebody`, `the village`), so that what is no
    entity in one batch is none in any.

    Args:
        train: number of training rows of each pack.
        validation: number of validation rows of each.
        test: number of test rows of each.
        seed: the same seed gives the same rows.

    Returns:
        The packs, each as `ner_pack` gives one.

    Raises:
        ConfigError: as `ner_pack`.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    return {
        kind.lower(): build_pack(partial(_row, kind), seed=seed * len(TYPES) + place, **sizes)
        for place, kind in enumerate(TYPES)
    }


def _row(kind: str, random: Random, pool: Pool, index: int) -> Row:
    forms = [form for form in entities.SENTENCES.of(pool) if kind in form.split() or index % 5 == 0]
    tagged: entities.Tagged = []
    before = ""
    for token in random.choice(forms).split():
        tagged += _part(kind, token, before, random, pool)
        before = token
    return {
        "tokens": entities.with_articles([word for word, _ in tagged]),
        "ner_tags": [tag for _, tag in tagged],
    }


def _part(kind: str, token: str, before: str, random: Random, pool: Pool) -> entities.Tagged:
    """Return the words that stand for a token of a sentence, with their tags."""
    if token != kind:
        words = random.choice(PLAIN[token]).split() if token in PLAIN else [entities.word(token, random, pool)]
        return [(word, "O") for word in words]
    if kind == "JOB":
        return [(entities.word(token, random, pool), "B-JOB")]
    return entities.entity(kind, before, random, pool)
