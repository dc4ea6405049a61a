"""Does each batch have a type of its own, and is what is no entity in one none in any?"""

from __future__ import annotations

import reasoner
from reasoner.synthetic.batches import TYPES


def test_types_are_disjoint_and_the_rows_are_those_of_the_seed():
    packs = reasoner.synthetic.ner_batches(train=60, validation=20, test=20)
    assert list(packs) == [kind.lower() for kind in TYPES]
    words: dict[str, set[str]] = {}
    for name, pack in packs.items():
        rows = [row for part in pack.values() for row in part]
        assert {len(pack[split]) for split in ("validation", "test")} == {20} and len(pack["train"]) == 60
        assert {tag[2:] for row in rows for tag in row["ner_tags"]} - {""} == {name.upper()}
        assert sum(any(tag != "O" for tag in row["ner_tags"]) for row in rows) > 60
        words[name] = {
            word for row in rows for word, tag in zip(row["tokens"], row["ner_tags"], strict=True) if tag != "O"
        }
    plain = {word for pack in packs.values() for row in pack["train"]
             for word, tag in zip(row["tokens"], row["ner_tags"], strict=True) if tag == "O"}  # fmt: skip
    assert not words["job"] & plain
    assert {word for word in words["per"] & plain if word[1:].isalpha()} <= {"May"}  # a name, and "May I ..."
    assert reasoner.synthetic.ner_batches(train=60, validation=20, test=20) == packs
    assert reasoner.synthetic.ner_batches(train=60, validation=20, test=20, seed=1) != packs
