"""Does a sentence that gets more entities keep its own, and does nothing overlap?"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reasoner.data.sentences import NERExample, with_more
from reasoner.data.tag_schemes import SCHEMES, read_spans, to_iob2, write_spans
from reasoner.losses import IGNORED

LENGTH = 9


@st.composite
def spans(draw: st.DrawFn, kinds: str) -> list[tuple[int, int, str]]:
    """Entities of a sentence, without overlap, in order."""
    found, position = [], 0
    while (start := position + draw(st.integers(0, 3))) < LENGTH:
        position = min(LENGTH, start + draw(st.integers(1, 3)))
        found.append((start, position, draw(st.sampled_from(kinds))))
    return found


def predicted(entities: list[tuple[int, int, str]]) -> list[dict[str, object]]:
    return [{"start_word": start, "end_word": end, "entity_group": kind} for start, end, kind in entities]


def sentence() -> NERExample:
    return NERExample.from_words([f"word{number}" for number in range(LENGTH)])


def read(row: NERExample, scheme: str) -> tuple[set[tuple[int, int, str]], set[int]]:
    """Return the entities as the task reads them, words that are not scored left out, and which words these are."""
    tags = list(row.ner_tags or ())
    places = [word for word, tag in enumerate(tags) if tag != IGNORED]
    readable = to_iob2([str(tags[word]) for word in places], scheme)
    found = {(places[start], places[end - 1] + 1, kind) for start, end, kind in read_spans(readable)}
    return found, set(range(len(tags))) - set(places)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "IO"])
@given(own=spans("AB"), others=spans("CD"), unscored=st.sets(st.integers(0, LENGTH - 1), max_size=2))
@example(own=[(0, 1, "A"), (2, 3, "A")], others=[(3, 6, "C")], unscored={1})
@example(own=[(0, 1, "A"), (2, 3, "A")], others=[(1, 2, "C")], unscored=set())
def test_own_entities_stay_and_others_take_free_words(
    scheme: str, own: list[tuple[int, int, str]], others: list[tuple[int, int, str]], unscored: set[int]
) -> None:
    own = [span for span in own if not unscored.intersection(range(*span[:2]))]
    gold: list[str | None] = list(write_spans(own, LENGTH))
    for word in unscored:
        gold[word] = None
    taken = {word for start, end, _ in own for word in range(start, end)} | unscored
    free = [span for span in others if not taken.intersection(range(*span[:2]))]
    given_ = sentence()
    made, number = with_more(given_, gold, predicted(others), scheme, scored=True)
    assert number == len(free)
    if not free:
        assert made is given_
        return
    assert read(made, scheme) == ({*own, *free}, unscored)
    left_out, same = with_more(given_, gold, predicted(others), scheme, scored=False)
    assert same == number
    hidden = {word for start, end, _ in free for word in range(start, end)} | unscored
    assert read(left_out, scheme) == (set(own), hidden)


def test_words_of_entities_that_nobody_marked_are_not_scored() -> None:
    gold: list[str | None] = ["O"] * LENGTH
    made, number = with_more(sentence(), gold, predicted([(1, 3, "PER"), (5, 6, "LOC")]), "IOB2", scored=False)
    assert number == 2
    assert made.ner_tags == ("O", IGNORED, IGNORED, "O", "O", IGNORED, "O", "O", "O")
