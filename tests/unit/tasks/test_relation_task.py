"""Are head and tail marked where they stand, and is the relation between them told?"""

from __future__ import annotations

from itertools import permutations

import pytest

import reasoner
from reasoner.data.examples import RowError
from reasoner.errors import ConfigError, DataError
from reasoner.synthetic import relation_pack, told_world
from reasoner.tasks.relation import Relation, RelationExample
from reasoner.testing import check_head, check_task

TEXT = "Maria Silva works for Norvex Ltd in Oslo."
MARIA, NORVEX = (0, 11), (22, 32)


def example(**columns):
    return RelationExample.from_columns({"text": TEXT, "label": "works for", **columns}, where="here")


def test_both_sides_are_marked():
    assert example(head=MARIA, tail=NORVEX).first == "@ Maria Silva @ works for # Norvex Ltd # in Oslo."
    assert example(head=NORVEX, tail=MARIA).first == "# Maria Silva # works for @ Norvex Ltd @ in Oslo."
    spans = {"head": {"start": 36, "end": 40}, "tail": [0, 11]}
    assert example(**spans).first == "# Maria Silva # works for Norvex Ltd in @ Oslo @."


def test_words_are_joined_and_spans_counted_in_them():
    columns = {"tokens": TEXT.split(), "head": [0, 2], "tail": [4, 6], "relation": "works for"}
    made = RelationExample.from_columns(columns, where="here")
    assert (made.text, made.head, made.tail, made.label) == (TEXT, MARIA, NORVEX, "works for")


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"head": MARIA, "tail": (6, 20)}, "head and tail overlap"),
        ({"head": MARIA, "tail": (30, 99)}, r"tail is \(30, 99\), no span of the 41 characters"),
        ({"head": (3, 3), "tail": NORVEX}, r"head is \(3, 3\), no span"),
        ({"head": "Maria", "tail": NORVEX}, "head is 'Maria', no span"),
        ({"head": (0, True), "tail": NORVEX}, "head is"),
        ({"head": MARIA}, "column 'tail' is missing"),
    ],
)
def test_what_is_no_pair_is_refused(columns, what, prepare):
    with pytest.raises(RowError, match=what):
        example(**columns)
    task = Relation(labels=("a", "b"), kind="single")
    with pytest.raises(DataError, match=what):
        task.example_from_input({"text": TEXT, **columns})
    with pytest.raises(DataError, match="relation predicts for"):
        task.example_from_input("text")


def test_the_names_alone_are_the_part_to_compare_with():
    view = Relation().partial_inputs()["names only"].view
    assert view(example(head=NORVEX, tail=MARIA)).first == "@ Norvex Ltd @ # Maria Silva #"


def test_the_contract_is_kept(tiny_bert):
    rows = relation_pack(train=24, validation=0, test=0)["train"]
    inputs = [{"text": TEXT, "head": MARIA, "tail": NORVEX}, {"tokens": TEXT.split(), "head": [4, 6], "tail": [7, 8]}]
    check_task("relation", rows, model=tiny_bert, inputs=inputs, perfect=lambda made: {"label": made.label})
    check_head(None, task="relation", rows=rows, model=tiny_bert)


def test_direction_is_learned_from_the_marks_alone(tiny_bert):
    rows = []
    for first, second in permutations(["Peter", "Laura", "Tom", "Amina", "Emily", "Maria", "Peru", "Oslo"], 2):
        text = f"{first} wrote to {second}."
        spans = [0, len(first)], [len(text) - 1 - len(second), len(text) - 1]
        rows += [{"text": text, "head": head, "tail": tail, "label": label}
                 for (head, tail), label in ((spans, "wrote to"), (spans[::-1], "heard from"))]  # fmt: skip
    data = {"train": rows[:80], "validation": rows[80:96], "test": rows[96:]}
    result = reasoner.fine_tune(
        tiny_bert, data, task="relation", num_train_epochs=12, learning_rate=3e-3, evaluate_before=False, use_cpu=True
    )
    assert result.metrics["test"]["accuracy"] == 1  # the text alone would give a half: it stands there twice
    there, back = result.predict([{key: row[key] for key in ("text", "head", "tail")} for row in rows[-2:]])
    assert (there["label"], back["label"]) == ("wrote to", "heard from")


def test_the_pack_says_what_its_forms_say():
    for split, rows in relation_pack(train=200, validation=40, test=40).items():
        for row in rows:
            types = {(e["start"], e["end"]): e["label"] for e in row["entities"]}
            pair = types[tuple(row["head"])], types[tuple(row["tail"])]
            wanted = {
                "works for": ("PER", "ORG"),
                "based in": ("ORG", "LOC"),
                "born in": ("PER", "LOC"),
                "works in": ("PER", "LOC"),
            }
            assert row["label"] == "no relation" or pair == wanted[row["label"]], (split, row)


def test_the_world_is_told_but_for_what_follows():
    world = told_world(people=9, companies=3, untold=2)
    facts = [(row["head"], row["relation"], row["tail"]) for row in world["told"]]
    assert len(facts) == 3 + 9 + 7 and len(world["untold"]) == 2
    for row in world["told"]:
        assert row["head"] in row["text"] and row["tail"] in row["text"]
    place = {head: tail for head, relation, tail in facts if relation == "based in"}
    firm = {head: tail for head, relation, tail in facts if relation == "works for"}
    for head, relation, tail in [*facts, *((row["head"], row["relation"], row["tail"]) for row in world["untold"])]:
        assert relation != "works in" or place[firm[head]] == tail
    with pytest.raises(ConfigError, match="at most"):
        told_world(people=2, untold=3)
