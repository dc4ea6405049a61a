"""Is what stood in a text found again after pieces of it were replaced?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.data.alignment import Interval, split_words
from reasoner.data.edited import Edited, Replacement, entities_after, words_after

TEXT = "Ada does not live in New York."


@st.composite
def edits(draw) -> Edited:
    text = draw(st.text("ab .", max_size=30))
    edges = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = zip(edges[::2], edges[1::2], strict=False)
    return Edited.of(text, [Replacement(start, end, draw(st.text("xy ", max_size=4))) for start, end in pieces])


@pytest.mark.parametrize(
    ("replacements", "text", "word", "now"),
    [
        ([(0, 3, "Grace")], "Grace does not live in New York.", "does", "does"),
        ([(0, 3, "Grace")], "Grace does not live in New York.", "Ada", "Grace"),
        ([(0, 0, "Today ")], "Today Ada does not live in New York.", "Ada", "Ada"),
        ([(3, 3, "m")], "Adam does not live in New York.", "Ada", "Ada"),
        ([(2, 2, "d")], "Adda does not live in New York.", "Ada", "Adda"),
        ([(8, 12, "n't")], "Ada doesn't live in New York.", "not", "n't"),
        ([(8, 12, "n't")], "Ada doesn't live in New York.", "does", "does"),
        ([(21, 29, "Los Angeles")], "Ada does not live in Los Angeles.", "York", "Los Angeles"),
        ([(8, 12, "")], "Ada does live in New York.", "not", ""),
        ([(29, 30, ""), (0, 4, "")], "does not live in New York", "York", "York"),
    ],
)
def test_where_a_word_stands_after_an_edit(replacements, text, word, now):
    edited = Edited.of(TEXT, [Replacement(*piece) for piece in replacements])
    start = TEXT.index(word)
    first, last = edited.moved(start, start + len(word))
    assert (edited.text, edited.text[first:last]) == (text, now)


@given(edits(), st.data())
def test_what_no_replacement_touches_is_the_same_text_elsewhere(edited, data):
    start = data.draw(st.integers(0, len(edited.before)))
    end = data.draw(st.integers(start, len(edited.before)))
    first, last = edited.moved(start, end)
    assert 0 <= first <= last <= len(edited.text)
    if not any(piece.start < end and start < piece.end for piece in edited.replacements) and start < end:
        assert edited.text[first:last] == edited.before[start:end]
        assert edited.inverse.moved(first, last) == (start, end)


@given(edits())
def test_the_way_back_gives_the_text_before(edited):
    assert Edited.of(edited.text, edited.inverse.replacements).text == edited.before


@pytest.mark.parametrize("pieces", [[(0, 4, ""), (3, 5, "")], [(0, 40, "")], [(5, 4, "")]])
def test_replacements_over_each_other_or_outside_are_refused(pieces):
    with pytest.raises(ValueError, match="lies over another, or outside"):
        Edited.of(TEXT, [Replacement(*piece) for piece in pieces])


@pytest.mark.parametrize(
    ("replacements", "words"),
    [
        ([], ["Ada", "does", "not", "live", "in", "New", "York", "."]),
        ([(8, 12, "n't")], ["Ada", "does", "n't", "live", "in", "New", "York", "."]),
        ([(21, 29, "Los Angeles County")], ["Ada", "does", "not", "live", "in", "Los", "Angeles", "County", "."]),
        ([(0, 0, "Well, yes. ")], ["Well", ",", "yes", ".", "Ada", "does", "not", "live", "in", "New", "York", "."]),
        ([(29, 30, "")], ["Ada", "does", "not", "live", "in", "New", "York"]),
        ([(30, 30, "!")], ["Ada", "does", "not", "live", "in", "New", "York", ".", "!"]),
        ([(12, 12, "  ")], ["Ada", "does", "not", "live", "in", "New", "York", "."]),
    ],
)
def test_words_after_an_edit(replacements, words):
    edited = Edited.of(TEXT, [Replacement(*piece) for piece in replacements])
    assert [edited.text[start:end] for start, end in words_after(edited, split_words(TEXT))] == words


def test_a_word_with_a_space_in_it_stays_one_where_nothing_changed():
    edited = Edited.of("in New York .", [Replacement(0, 2, "to")])
    words = words_after(edited, [Interval(0, 2), Interval(3, 11), Interval(12, 13)])
    assert [edited.text[start:end] for start, end in words] == ["to", "New York", "."]
    old = [Interval(0, 2), Interval(3, 11), Interval(12, 13)]
    assert entities_after(edited, old, [(1, 2, "LOC"), (0, 3, "ALL")]) == (words, [(0, 3, "ALL"), (1, 2, "LOC")])
    gone = Edited.of("in New York .", [Replacement(2, 11, "")])
    assert entities_after(gone, old, [(1, 2, "LOC")])[1] == []


@given(edits())
def test_words_after_an_edit_hold_every_character_that_is_no_space(edited):
    words = words_after(edited, split_words(edited.before))
    assert "".join(edited.text[start:end] for start, end in words) == "".join(edited.text.split())
    assert all(before.end <= after.start for before, after in pairwise(words))
