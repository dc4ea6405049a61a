"""Does one input alone predict the label, so that nothing needs to be understood?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any

from reasoner.checks.findings import Finding, listed
from reasoner.checks.subject import Subject

LEAST_TRAINING, LEAST_HELD_OUT = 200, 100
"""Rows below which such a measurement says nothing."""
MOST_ROWS = 20_000
TOLERATED = 0.1
"""By how much one input alone may beat the commonest label before it is said."""

Labelled = Sequence[tuple[Any, str]]
"""Examples with one label each."""


def check_shortcuts(subject: Subject) -> Iterator[Finding]:
    """Find inputs whose words alone predict the labels of the validation rows, where an example has several inputs.

    Words and pairs of words with logistic regression, as a partial-input baseline (Gururangan et al., 2018,
    https://aclanthology.org/N18-2017; Poliak et al., 2018, https://aclanthology.org/S18-2023). Choices are left out:
    their labels are places, which no word knows.
    """
    if subject.task is None or subject.task.keep_together:
        return
    train, held_out = _labelled(subject, "train"), _labelled(subject, "validation")
    labels = sorted({label for _, label in train})
    if len(train) < LEAST_TRAINING or len(held_out) < LEAST_HELD_OUT or len(labels) < 2:
        return
    common = Counter(label for _, label in train).most_common(1)[0][0]
    majority = sum(label == common for _, label in held_out) / len(held_out)
    names = set.intersection(*(set(example.texts) for example, _ in [*train, *held_out]))
    for name in [name for name in train[0][0].texts if name in names and len(names) > 1]:
        accuracy = _accuracy_from(name, train, held_out)
        if accuracy - majority > max(TOLERATED, 3 * sqrt(0.25 / len(held_out))):
            yield Finding(
                code="shortcut",
                what=f"the words of the {name} alone predict {accuracy:.0%} of the validation labels "
                f"({listed(labels)}), always the commonest {majority:.0%}",
                remedy=f"A score says something about the whole only where it is well above {accuracy:.0%}.",
                count=round(accuracy * len(held_out)),
            )


def _labelled(subject: Subject, split: str) -> Labelled:
    pairs = zip(subject.examples.get(split, ()), subject.gold.get(split, ()), strict=True)
    return [(example, gold[0]) for example, gold in pairs if len(gold) == 1][:MOST_ROWS]


def _accuracy_from(name: str, train: Labelled, held_out: Labelled) -> float:
    """Return the accuracy on held-out rows of a linear classifier that sees one input."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    vectorizer = HashingVectorizer(ngram_range=(1, 2), n_features=2**18, alternate_sign=False)
    classifier = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=10, tol=None, random_state=0)
    seen, unseen = ([example.texts[name] for example, _ in rows] for rows in (train, held_out))
    classifier.fit(vectorizer.transform(seen), [label for _, label in train])
    return float(classifier.score(vectorizer.transform(unseen), [label for _, label in held_out]))
