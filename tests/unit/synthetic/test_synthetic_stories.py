"""Are stories told in the order of the day, and do times alone tell it?"""

from __future__ import annotations

from reasoner.data.pairs import sentence_pairs, split_sentences
from reasoner.synthetic import story_pack
from reasoner.synthetic.stories import DAY, SENTENCES


def hour(sentence):
    return next(place for place, time in enumerate(DAY) if sentence.startswith(time))


def test_four_sentences_in_the_order_of_the_day():
    for rows in story_pack(train=200, validation=50, test=50, seed=1).values():
        for row in rows:
            times = [hour(sentence) for sentence in split_sentences(row["text"])]
            assert len(times) == SENTENCES and times == sorted(set(times))


def test_both_times_together_tell_the_order_and_one_does_not():
    rows = sentence_pairs(story_pack(train=400))["train"]
    in_order = [row["label"] == "in order" for row in rows]
    assert [hour(row["text"]) < hour(row["text_pair"]) for row in rows] == in_order
    alone = sum((hour(row["text"]) < 2.5) == right for row, right in zip(rows, in_order, strict=True)) / len(rows)
    assert alone < 0.8  # the best guess from the first sentence
