"""Are requests well-formed, and unseen outside of training?"""

from __future__ import annotations

from reasoner.synthetic import dialogue_pack, intent_and_slots_pack
from reasoner.synthetic.requests import ASKED, REQUESTS, SLOTS


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


def test_a_dialogue_asks_for_what_was_not_said_and_ends_with_an_order():
    pack = dialogue_pack(train=30, validation=10, test=10, seed=1)
    assert pack == dialogue_pack(train=30, validation=10, test=10, seed=1)
    for split, number in (("train", 30), ("validation", 10), ("test", 10)):
        assert sorted({row["dialogue"] for row in pack[split]}) == list(range(1, number + 1))
        for row in pack[split]:
            assert len(row["turns"]) % 2 == 1
            said = " ".join(row["turns"][2::2])
            if row["response"].startswith("search "):
                *words, last = row["response"].removeprefix("search ").split()
                assert all(word in said.split() for word in (*words, last))
            elif len(row["turns"]) > 1:
                name = next(name for name, (_, question) in ASKED.items() if question == row["response"])
                order = next(
                    r["response"] for r in pack[split][pack[split].index(row) :] if r["response"][:7] == "search "
                )
                value = {"DISH": order.split()[1], "NUMBER": order.split()[-1]}.get(name, " ".join(order.split()[2:-1]))
                assert value not in said
    assert {len(row["turns"]) for row in pack["train"]} == {1, 3, 5, 7}
