"""Are requests well-formed, and unseen outside of training?"""

from __future__ import annotations

from reasoner.synthetic import intent_and_slots_pack
from reasoner.synthetic.requests import REQUESTS, SLOTS


def test_rows_have_a_tag_a_word_and_an_intent():
    pack = intent_and_slots_pack(train=90, validation=30, test=30, seed=3)
    assert pack == intent_and_slots_pack(train=90, validation=30, test=30, seed=3)
    for split, number in (("train", 90), ("validation", 30), ("test", 30)):
        assert len(pack[split]) == number
        for intent in REQUESTS:
            assert sum(row["intent"] == intent for row in pack[split]) == number // 3
    for row in (row for rows in pack.values() for row in rows):
        assert len(row["tokens"]) == len(row["slots"]) and row["tokens"] == [word.lower() for word in row["tokens"]]
        for before, tag in zip(["O", *row["slots"]], row["slots"], strict=False):
            assert tag == "O" or tag[2:] in SLOTS.values()
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_names_outside_of_training_are_new():
    pack = intent_and_slots_pack(train=300, validation=60, test=60)

    def names(rows, kind):
        return {
            word
            for row in rows
            for word, tag in zip(row["tokens"], row["slots"], strict=True)
            if tag.endswith(f"-{kind}")
        }

    for kind in ("artist", "dish", "instrument"):
        assert names(pack["train"], kind) and not names(pack["train"], kind) & names(pack["test"], kind)
    assert names(pack["train"], "day") == names(pack["test"], "day")
