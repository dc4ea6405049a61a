"""Are pairs of sentences what their labels say, and is no text on both sides of a split?"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from reasoner.data.pairs import OBJECTIVES, sentence_pairs, split_sentences
from reasoner.errors import ConfigError, DataError
from reasoner.notices import counting
from reasoner.synthetic import story_pack

PACK = story_pack(train=40, validation=10, test=10)
STORIES = [split_sentences(row["text"]) for rows in PACK.values() for row in rows]
NEXT = {pair for sentences in STORIES for pair in pairwise(sentences)}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It rained. We left!", ["It rained.", "We left!"]),
        ("Dr. Berg met J. Carter at 4.5 p.m. today. Why? Nobody knows", ["Dr. Berg met J. Carter at 4.5 p.m. today.",
                                                                        "Why?", "Nobody knows"]),
        ('She said "no." He left (at last.) All slept', ['She said "no."', "He left (at last.)", "All slept"]),
        ("One", ["One"]),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_half_of_the_pairs_are_changed_and_the_label_says_which(objective):
    rows = sentence_pairs(PACK, objective)
    assert {name: len(part) for name, part in rows.items()} == {"train": 120, "validation": 30, "test": 30}
    as_is, changed = OBJECTIVES[objective]
    for name, part in rows.items():
        assert Counter(row["label"] for row in part) == {as_is: len(part) // 2, changed: len(part) // 2}
        texts = [row["text"] for row in PACK[name]]
        for row in part:
            pair = row["text"], row["text_pair"]
            assert (pair in NEXT) == (row["label"] == as_is)
            if row["label"] == "swapped":
                assert pair[::-1] in NEXT
            if row["label"] == "other":
                (own,) = [text for text in texts if pair[0] in text]
                assert pair[1] not in own and any(pair[1] in text for text in texts)


def test_texts_and_not_pairs_are_held_out():
    texts = [row["text"] for row in PACK["train"]]
    rows = sentence_pairs(texts, validation_share=0.2)
    seen = {name: {row[side] for row in part for side in ("text", "text_pair")} for name, part in rows.items()}
    assert len(rows["validation"]) == 8 * 3 and not seen["train"] & seen["validation"]
    assert rows == sentence_pairs(texts, validation_share=0.2) != sentence_pairs(texts, validation_share=0.2, seed=1)


def test_texts_without_a_pair_are_counted_and_nothing_is_refused():
    with counting() as counted:
        assert len(sentence_pairs({"train": ["One.", "A. B!", "It rained. We left."]})["train"]) == 1
        assert counted["{n} texts have one sentence, and give no pair."] == 2
        counted.clear()
    with counting() as counted:
        with pytest.raises(DataError, match="train: holds no text of two sentences"):
            sentence_pairs({"train": ["One.", "Two."]})
        counted.clear()
    with pytest.raises(DataError, match="holds one text, and so no sentence of another"):
        sentence_pairs({"train": ["It rained. We left."]}, "next_sentence")


def test_settings_without_sense_are_refused():
    with pytest.raises(ConfigError, match=r"no objective 'sentence_ordr'. Did you mean 'sentence_order'"):
        sentence_pairs(PACK, "sentence_ordr")
    with pytest.raises(ConfigError, match=r"validation_share=1\.0"):
        sentence_pairs(PACK, validation_share=1.0)
