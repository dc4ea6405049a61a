"""Is the truth of the nested pack true: right characters, names in names, held-out words?"""

from __future__ import annotations

from collections import Counter

from reasoner.synthetic import nested_ner_pack, words

PACK = nested_ner_pack(train=800, validation=200, test=200)


def surfaces(split, label):
    return {row["text"][e["start"] : e["end"]] for row in PACK[split] for e in row["entities"] if e["label"] == label}


def test_entities_are_whole_words_of_the_text():
    for row in (row for rows in PACK.values() for row in rows):
        for entity in row["entities"]:
            before, after = row["text"][: entity["start"]], row["text"][entity["end"] :]
            assert before[-1:] in ("", " ") and after[:1] in ("", " ")
            assert row["text"][entity["start"] : entity["end"]].strip() and entity["start"] < entity["end"]
        places = [(e["start"], e["end"], e["label"]) for e in row["entities"]]
        assert len(places) == len(set(places))


def test_every_place_and_organisation_is_marked_wherever_it_stands():
    for split, rows in PACK.items():
        pool = "train" if split == "train" else "held_out"
        for row in rows:
            marked = {(e["start"], e["label"]) for e in row["entities"]}
            for place in words.PLACES.of(pool):
                at = f" {row['text']} ".find(f" {place} ")
                assert at < 0 or (at, "LOC") in marked, (place, row)
            at = row["text"].find("University of ")
            assert at < 0 or (at, "ORG") in marked


def test_many_entities_hold_others_of_both_kinds():
    depth = Counter()
    same_type = 0
    for row in PACK["train"]:
        for entity in row["entities"]:
            outer = [e for e in row["entities"]
                     if e is not entity and e["start"] <= entity["start"] and entity["end"] <= e["end"]]  # fmt: skip
            depth[len(outer)] += 1
            same_type += any(e["label"] == entity["label"] for e in outer)
    assert depth[1] > 0.2 * depth[0] and depth[2] > 50 and same_type > 50


def test_names_are_held_out():
    for label in ("PER", "LOC"):
        known = surfaces("train", label)
        assert len(surfaces("test", label) & known) == 0
