"""Does every row of the heuristics pack look as its heuristic says, and is every case as large as the others?"""

from __future__ import annotations

from collections import Counter

import pytest

from reasoner.data.overlap import overlap
from reasoner.errors import ConfigError
from reasoner.synthetic import heuristics_pack
from reasoner.synthetic.heuristics import CASES, ENTAILED, NOT_ENTAILED

ROWS = heuristics_pack(per_case=12)["test"]


def test_words_of_the_hypothesis_stand_in_the_premise_as_the_heuristic_says():
    for row in ROWS:
        share, every, _, beside, *_ = overlap(row["premise"], row["hypothesis"])
        assert (share, every) == (1.0, 1.0), row
        assert beside or row["heuristic"] == "lexical_overlap", row
        assert row["premise"] != row["hypothesis"]


def test_halves_and_cases_are_of_one_size_and_rows_are_unique():
    assert set(Counter(row["case"] for row in ROWS).values()) == {12}
    assert len({(row["premise"], row["hypothesis"]) for row in ROWS}) == len(ROWS) == 12 * len(CASES)
    halves = Counter((row["heuristic"], row["label"]) for row in ROWS)
    for heuristic in ("lexical_overlap", "subsequence", "constituent"):
        assert halves[heuristic, ENTAILED] == halves[heuristic, NOT_ENTAILED]


def test_a_seed_gives_the_same_rows():
    assert heuristics_pack(per_case=3) == heuristics_pack(per_case=3) != heuristics_pack(per_case=3, seed=1)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, 10**6])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match="per_case"):
        heuristics_pack(per_case=wrong)
