"""Does a contrast set have one hypothesis, three premises, and a label for each?"""

from __future__ import annotations

from collections import Counter

import pytest

from reasoner.errors import ConfigError
from reasoner.synthetic import contrast_pack, nli_pack
from reasoner.synthetic.inference import LABELS

ROWS = contrast_pack(sets=30)["test"]


def test_a_set_has_one_hypothesis_and_each_label_once():
    sets = {}
    for row in ROWS:
        sets.setdefault(row["set"], []).append(row)
    assert len(sets) == 30
    for rows in sets.values():
        assert len({row["hypothesis"] for row in rows}) == 1
        assert [row["label"] for row in rows] == list(LABELS)
        assert len({row["premise"] for row in rows}) == 3
    changes = Counter(rows[0]["change"] for rows in sets.values())
    assert changes == {"negation": 10, "number": 10, "role swap": 10}
    swapped = [row for row in ROWS if row["change"] == "role swap"]
    assert all(row["premise"] != row["hypothesis"] for row in swapped)


def test_the_hypothesis_alone_tells_nothing_and_a_seed_gives_the_same_sets():
    assert len(ROWS) == 90 and Counter(row["label"] for row in ROWS) == dict.fromkeys(LABELS, 30)
    assert contrast_pack(sets=3) == contrast_pack(sets=3) != contrast_pack(sets=3, seed=1)
    trained = {row["premise"] for row in nli_pack(train=200, validation=0, test=0)["train"]}
    assert not trained & {row["premise"] for row in ROWS}


@pytest.mark.parametrize("wrong", [0, 2.0, True])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(ConfigError, match="sets"):
        contrast_pack(sets=wrong)
