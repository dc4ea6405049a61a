"""Are BLEU and ROUGE what their papers say, with any number of references?"""

from __future__ import annotations

import math
from collections import Counter

import pytest

from reasoner.errors import DataError
from reasoner.metrics.references import reference_scores

REFERENCES = [
    ["the red bridge over the river is closed today", "today the bridge is closed"],
    ["a quiet harbour in the north of the lake"],
    ["nobody came to the last meeting of the year", "no one came", "nobody was at the last meeting of the year"],
]
TEXTS = ["the red bridge is closed today", "a quiet harbour in the lake", "nobody was at the last meeting of a year"]


def grams(text, size):
    words = text.split()
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def bleu(references, texts):
    """Papineni et al. (2002): clipped counts of the corpus, the nearest length, the shorter of two as near."""
    right, total, length, wanted = [0] * 4, [0] * 4, 0, 0
    for those, text in zip(references, texts, strict=True):
        words = len(text.split())
        length += words
        wanted += min((len(one.split()) for one in those), key=lambda other: (abs(other - words), other))
        for size in range(4):
            most = Counter()
            for one in those:
                most |= grams(one, size + 1)
            found = grams(text, size + 1)
            right[size] += (found & most).total()
            total[size] += found.total()
    precision = math.exp(sum(math.log(one / all_) for one, all_ in zip(right, total, strict=True)) / 4)
    return precision * min(1.0, math.exp(1 - wanted / length))


def test_bleu_of_any_number_of_references():
    pytest.importorskip("sacrebleu")
    assert reference_scores(REFERENCES, TEXTS, ["bleu"])["bleu"] == pytest.approx(bleu(REFERENCES, TEXTS))
    one = [those[:1] for those in REFERENCES]
    assert reference_scores(one, TEXTS, ["bleu"])["bleu"] == pytest.approx(bleu(one, TEXTS))
    assert bleu(one, TEXTS) < bleu(REFERENCES, TEXTS)


def test_rouge_is_that_of_the_nearest_reference():
    pytest.importorskip("rouge_score")
    for size, name in ((1, "rouge1"), (2, "rouge2")):
        best = []
        for those, text in zip(REFERENCES, TEXTS, strict=True):
            found = grams(text, size)
            best.append(max(2 * (found & grams(one, size)).total() / (found.total() + grams(one, size).total())
                            for one in those))  # fmt: skip
        assert reference_scores(REFERENCES, TEXTS, [name]) == {name: pytest.approx(sum(best) / 3)}
    assert reference_scores([["a b c d"]], ["a x c d"], ["rougeL"]) == {"rougeL": pytest.approx(0.75)}


def test_lengths_that_differ_are_refused():
    pytest.importorskip("sacrebleu")
    with pytest.raises(DataError):
        reference_scores(REFERENCES, TEXTS[:2], ["bleu"])
