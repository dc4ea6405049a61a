"""Are the labels fit to learn from: each seen often enough, none drowned, all of them scored, tags well-formed?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from reasoner.checks.findings import Finding, listed
from reasoner.checks.subject import Subject
from reasoner.data.tag_schemes import ill_formed
from reasoner.tasks.ner import NER

RARE = 5
"""Training examples below which a label can hardly be learned."""
IMBALANCE = 20
"""How many times the commonest label may outnumber another before it is said."""


def check_labels(subject: Subject) -> Iterator[Finding]:
    """Find labels that are rare in training, far outnumbered there, or absent from a split that scores them."""
    counts = {split: Counter(name for names in gold for name in names) for split, gold in subject.gold.items()}
    training = counts.get("train", Counter())
    if not training:
        return
    by_name = bool(getattr(subject.task, "labels", ()))  # else the names are places of choices, or "answer"
    rare = sorted(name for name, number in training.items() if number < RARE) if by_name else []
    if rare:
        yield Finding(
            code="rare_label",
            what=f"train: {_some(len(rare), 'label')} fewer than {RARE} times: "
            + listed([f"{name} ({training[name]})" for name in rare]),
            remedy="Label more rows of them, or join them with another label.",
            count=len(rare),
            places=_places(subject, "train", set(rare)),
        )
    if by_name:
        yield from _imbalance(subject, training, set(rare))
    for split in ("validation", "test"):
        absent = sorted(set(training) - set(counts[split])) if by_name and counts.get(split) else []
        if absent:
            yield Finding(
                code="label_not_scored",
                what=f"{split}: {_some(len(absent), 'label')} not at all, though in training: {listed(absent)}",
                remedy="How well they are learned cannot be seen there: split the rows anew, each label in proportion.",
                count=len(absent),
            )
    yield from _only_one(subject, counts)


def check_tags(subject: Subject) -> Iterator[Finding]:
    """Find tags that break their scheme, such as `I-X` after `O` or after another type in IOB2."""
    task = subject.task
    if not isinstance(task, NER):
        return
    for split, examples in subject.examples.items():
        number, places = 0, []
        for example in examples:
            tags = [tag for tag in task.raw_tags(example) if tag is not None]
            wrong = len(ill_formed(tags, task.scheme or "IOB2"))
            number += wrong
            places += [example.where] if wrong else []
        if places:
            yield Finding(
                code="ill_formed_tags",
                what=f"{split}: {number:,} tags in {len(places):,} rows break the scheme {task.scheme} (such as I-X "
                "after O or after another type)",
                remedy="Each begins an entity, as conlleval and seqeval read it; correct those that should not.",
                count=number,
                places=tuple(places),
            )


def _imbalance(subject: Subject, training: Counter[str], rare: set[str]) -> Iterator[Finding]:
    (common, most), *others = training.most_common()
    drowned = [(name, number) for name, number in others if name not in rare and most > IMBALANCE * number]
    if drowned:
        few = listed([f"'{name}' {number:,} times" for name, number in drowned])
        yield Finding(
            code="imbalance",
            what=f"train: '{common}' occurs {most:,} times; {few}",
            remedy="Go by the macro-averaged scores; class_weights='balanced' in the task may help.",
            count=len(drowned),
            places=_places(subject, "train", {name for name, _ in drowned}),
        )  # fmt: skip


def _only_one(subject: Subject, counts: dict[str, Counter[str]]) -> Iterator[Finding]:
    """Find gold that training never shows, where it shows one kind alone (where labels have names, that is refused)."""
    if len(counts["train"]) > 1:
        return
    (only,) = counts["train"]
    for split, found in counts.items():
        unseen = sorted(set(found) - {only})
        if unseen:
            places = _places(subject, split, set(unseen))
            yield Finding(
                code="unseen_gold",
                what=f"{split}: {len(places):,} rows have '{listed(unseen)}', and training has nothing but '{only}'",
                remedy="They can hardly be answered: give training rows of that kind, or leave them out here.",
                count=len(places),
                places=places,
            )


def _places(subject: Subject, split: str, names: set[str]) -> tuple[str, ...]:
    pairs = zip(subject.examples[split], subject.gold[split], strict=True)
    return tuple(example.where for example, gold in pairs if names.intersection(gold))


def _some(number: int, name: str) -> str:
    return f"{number} {name}{'s occur' if number > 1 else ' occurs'}"
