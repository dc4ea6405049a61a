"""Does an NLI checkpoint's head mean what its label names say? A few sure pairs tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import permutations

from reasoner.checks.checkpoints import head_of_checkpoint
from reasoner.checks.findings import ERROR, NOTE, Finding
from reasoner.checks.subject import Subject
from reasoner.data.labels import meaning
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.notices import collect, logger
from reasoner.tasks.nli import NLI

SURE, CLEARLY = 0.8, 0.3
"""A head has another order than its names say when that order explains at least `SURE` of the answers (the mean over
the labels), and `CLEARLY` more than the named one. Answers drawn at random never do so with three labels, and in one
of 300 draws with two."""

PAIRS = {
    "entailment": (
        ("A man is playing a guitar on the stage.", "A man is playing an instrument."),
        ("Two dogs are running across the field.", "Some animals are outside."),
        ("A woman in a red coat is riding a bicycle.", "A woman is riding a bicycle."),
        ("The children are eating apples in the kitchen.", "Children are eating fruit."),
        ("Five people are sitting around a table.", "People are sitting."),
        ("The train left the station at noon.", "The train left the station."),
        ("An old man is sleeping on a bench.", "A man is asleep."),
        ("She bought a new car last week.", "She bought a car."),
    ),
    "neutral": (
        ("A man is playing a guitar on the stage.", "The man has three sisters."),
        ("Two dogs are running across the field.", "The dogs belong to a farmer."),
        ("A woman in a red coat is riding a bicycle.", "The woman is on her way to work."),
        ("The children are eating apples in the kitchen.", "The apples were bought yesterday."),
        ("Five people are sitting around a table.", "The people are discussing politics."),
        ("The train left the station at noon.", "The train was going to Paris."),
        ("An old man is sleeping on a bench.", "The man used to be a teacher."),
        ("She bought a new car last week.", "Her brother gave her the money."),
    ),
    "contradiction": (
        ("A man is playing a guitar on the stage.", "Nobody is playing any instrument."),
        ("Two dogs are running across the field.", "The dogs are lying still."),
        ("A woman in a red coat is riding a bicycle.", "The woman is not riding anything."),
        ("The children are eating apples in the kitchen.", "No child is eating."),
        ("Five people are sitting around a table.", "The table is empty and nobody is there."),
        ("The train left the station at noon.", "The train never left the station."),
        ("An old man is sleeping on a bench.", "The man is wide awake."),
        ("She bought a new car last week.", "She has never bought a car."),
    ),
}
"""Premise and hypothesis: pairs whose label nobody would doubt."""


def check_nli_labels(subject: Subject) -> Iterator[Finding]:
    """Find a checkpoint's NLI head whose outputs stand in another order than its label names say.

    A head whose labels have no names is asked for its order too: it is not kept, but could be.
    """
    head = head_of_checkpoint(subject)
    if subject.predictor is None or head is None or not isinstance(subject.predictor.task, NLI):
        return
    if head.kept:
        named = [meaning(name) for name in head.names]
        gold = gold_meanings(named)
        if gold:
            yield from _disagreement(head.names, named, gold, _answers(subject.predictor))
    elif head.nameless and len(head.names) in (2, 3):
        ours = [meaning(label) for label in subject.predictor.task.labels]
        gold = gold_meanings(ours)
        if gold and len(ours) == len(head.names):
            yield from _order_of_nameless(ours, gold, _answers(_with_own_head(subject, head.names)))


def gold_meanings(labels: Sequence[str]) -> list[str]:
    """Return what each of the `PAIRS` is among labels of these meanings; nothing where they are no NLI labels."""
    rest = {"neutral": "not_entailment", "contradiction": "not_entailment"}
    known = [name if name in labels else rest.get(name, "") for name, pairs in PAIRS.items() for _ in pairs]
    return known if set(known) == set(labels) else []


def best_order(meanings: Sequence[str], gold: Sequence[str], answers: Sequence[int]) -> tuple[list[str], float]:
    """Return the order of the outputs' meanings that explains the answers best, and how much of them."""
    orders = [list(order) for order in permutations(meanings)]
    best = max(orders, key=lambda order: explained(order, gold, answers))
    return best, explained(best, gold, answers)


def explained(order: Sequence[str], gold: Sequence[str], answers: Sequence[int]) -> float:
    """Return the share of right answers, as the mean over the labels, if the outputs mean `order`."""
    shares = []
    for label in order:
        given = [order[answer] for answer, right in zip(answers, gold, strict=True) if right == label]
        shares.append(given.count(label) / len(given))
    return sum(shares) / len(shares)


def _disagreement(
    names: Sequence[str], named: Sequence[str], gold: Sequence[str], answers: Sequence[int]
) -> Iterator[Finding]:
    order, share = best_order(named, gold, answers)
    as_named = explained(named, gold, answers)
    if share >= SURE and share - as_named >= CLEARLY:
        right = [names[named.index(label)] for label in order]
        yield Finding(
            code="label_order",
            what=f"the checkpoint's head does not mean what its names say: of {len(answers)} sure pairs it gets "
            f"{as_named:.0%} right as {', '.join(names)}, and {share:.0%} as {', '.join(right)}",
            remedy=f"Correct id2label in its config.json, or in model.config of a loaded model: {_id2label(right)}.",
            severity=ERROR,
            count=len(answers),
        )


def _order_of_nameless(ours: Sequence[str], gold: Sequence[str], answers: Sequence[int]) -> Iterator[Finding]:
    order, share = best_order(ours, gold, answers)
    if share >= SURE:
        yield Finding(
            code="label_order",
            what=f"the checkpoint has an NLI head whose labels have no names; by {len(answers)} sure pairs, "
            f"{share:.0%} of them right, they are {', '.join(order)}. A new head is made",
            remedy=f"To keep it, write its names into id2label of its config.json: {_id2label(order)}.",
            count=len(answers),
            severity=NOTE,
        )


def _answers(predictor: Predictor) -> list[int]:
    """Return the number of the output that is highest, for each of the `PAIRS`."""
    labels = list(predictor.task.labels)  # type: ignore[attr-defined]
    predictions = predictor.predict([pair for pairs in PAIRS.values() for pair in pairs])
    return [labels.index(prediction["label"]) for prediction in predictions]


def _with_own_head(subject: Subject, names: Sequence[str]) -> Predictor:
    """Return a predictor with the head that the checkpoint came with."""
    assert subject.predictor is not None
    task = replace(subject.predictor.task, labels=tuple(names), label_names=(), class_weights=None, model_labels=())  # type: ignore[call-arg]
    with _unsaid():  # the head is kept for the question alone
        model = TaskModel.from_pretrained(subject.source, task)
    return replace(subject.predictor, model=model.to(subject.predictor.device), task=task)


@contextmanager
def _unsaid() -> Iterator[None]:
    """Neither log nor collect what is said inside."""
    with collect() as said:
        before, logger.disabled = len(said), True
        try:
            yield
        finally:
            logger.disabled = False
            del said[before:]


def _id2label(names: Sequence[str]) -> str:
    return "{" + ", ".join(f'"{number}": "{name}"' for number, name in enumerate(names)) + "}"
