"""Are long texts cut so that nothing is lost, and is every word owned once, where the model sees most around it?"""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.alignment import join_words, words_of_tokens
from reasoner.data.windows import owners, tokenize, tokenize_in_windows
from reasoner.errors import ConfigError
from reasoner.notices import collect
from tiny import CORPUS

EMOJI = "\U0001f469\u200d\U0001f467"
WORDS = ["the", "harbour", "Lisbon", "x" * 40, "\u200b", EMOJI, "e\u0301", "日本", "", " ", "#!", "Zürich", "\u0301"]
texts = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


@pytest.fixture(scope="module", params=("bert", "roberta", "modernbert", "deberta-v2", "xlm-roberta"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


@st.composite
def rooms(draw):
    """Tokens of text a window, and how many of them it shares with the next."""
    room = draw(st.integers(1, 12))
    return room, draw(st.integers(0, room - 1))


def global_positions(window, number, room, stride, side=0):
    """Return for each token of the windowed text its position in that text as a whole."""
    inside = [position for position, sequence in enumerate(window.sequence) if sequence == side]
    return {position: number * (room - stride) + index for index, position in enumerate(inside)}


@settings(max_examples=30)
@given(text=texts, room=rooms())
def test_windows_hold_every_token_in_order_and_share_as_many_as_asked(tokenizer, text, room):
    room, stride = room
    max_length = room + tokenizer.num_special_tokens_to_add(pair=False)
    (windows,) = tokenize_in_windows(tokenizer, [text], max_length=max_length, stride=stride)
    plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    seen = set()
    for number, window in enumerate(windows):
        assert len(window.inputs["input_ids"]) <= max_length
        assert {len(values) for values in window.inputs.values()} == {len(window.offsets)} == {len(window.sequence)}
        for position, place in global_positions(window, number, room, stride).items():
            assert window.inputs["input_ids"][position] == plain["input_ids"][place]
            assert window.offsets[position] == plain["offset_mapping"][place]
            seen.add(place)
        assert all(window.offsets[p] == (0, 0) for p, sequence in enumerate(window.sequence) if sequence is None)
    assert seen == set(range(len(plain["input_ids"])))


@settings(max_examples=30)
@given(first=st.sampled_from(["a dog", "Who?", ""]), second=texts, room=rooms())
def test_of_a_pair_the_second_side_is_windowed_beside_the_whole_first(tokenizer, first, second, room):
    room, stride = room
    asked = tokenizer(first, add_special_tokens=False)["input_ids"]
    max_length = room + tokenizer.num_special_tokens_to_add(pair=True) + len(asked)
    (windows,) = tokenize_in_windows(tokenizer, [first], [second], max_length=max_length, stride=stride)
    plain = tokenizer(second, add_special_tokens=False)["input_ids"]
    seen = set()
    for number, window in enumerate(windows):
        ids = window.inputs["input_ids"]
        assert len(ids) <= max_length
        assert [token for token, sequence in zip(ids, window.sequence, strict=True) if sequence == 0] == asked
        places = global_positions(window, number, room, stride, side=1)
        assert all(ids[position] == plain[place] for position, place in places.items())
        seen |= set(places.values())
    assert seen == set(range(len(plain)))


@settings(max_examples=30)
@given(pairs=st.lists(st.tuples(texts, texts), max_size=4), room=st.integers(1, 20))
def test_of_a_pair_that_is_too_long_the_longer_side_is_cut(tokenizer, pairs, room):
    firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
    max_length = room + tokenizer.num_special_tokens_to_add(pair=True)
    windows, cut = tokenize(tokenizer, firsts, seconds, max_length=max_length)
    too_long = 0
    for (first, second), window in zip(pairs, windows, strict=True):
        lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (first, second)]
        kept = [window.sequence.count(side) for side in (0, 1)]
        too_long += sum(lengths) > room
        assert sum(kept) == min(room, sum(lengths))
        assert all(left <= length for left, length in zip(kept, lengths, strict=True))
        if sum(lengths) > room:  # no side is cut below the other's length while it could give
            shorter, longer = sorted(zip(lengths, kept, strict=True))
            assert shorter[1] == shorter[0] or abs(longer[1] - shorter[1]) <= 1
    assert cut == too_long


def test_nothing_gives_nothing(tokenizer):
    assert tokenize(tokenizer, [], max_length=8) == ([], 0)
    assert tokenize_in_windows(tokenizer, [], max_length=8, stride=2) == []


@pytest.mark.parametrize(("extra", "stride"), [(0, 0), (-1, 0), (4, 4), (4, 9), (4, -1)])
def test_settings_that_leave_no_room_are_refused(tokenizer, extra, stride):
    max_length = tokenizer.num_special_tokens_to_add(pair=False) + extra
    message = f"max_length={max_length} with stride={stride} leaves no room for text"
    with pytest.raises(ConfigError, match=message):
        tokenize_in_windows(tokenizer, ["a"], max_length=max_length, stride=stride)
    if extra < 1:
        with pytest.raises(ConfigError, match=f"max_length={max_length} .*no room for text"):
            tokenize(tokenizer, ["a"], max_length=max_length)


def test_half_a_character_is_replaced_where_it_stands_and_counted(tokenizer):
    with collect() as said:
        (window,), _ = tokenize(tokenizer, ["a \ud83d bank"], max_length=20)
        ((same,),) = tokenize_in_windows(tokenizer, ["a \ud83d bank"], max_length=20, stride=0)
    (clean,), _ = tokenize(tokenizer, ["a \ufffd bank"], max_length=20)
    assert window == clean == same
    assert said == ["1 texts hold half a character (a lone surrogate); it was read as U+FFFD."]


def reference_owners(word_of_token, number_of_words):
    """The definition, word by word: of the windows that hold it, the one with most text on the poorer side."""
    chosen = []
    for word in range(number_of_words):
        best, best_context = -1, -1
        for number, word_of in enumerate(word_of_token):
            text = [position for position, held in enumerate(word_of) if held >= 0]
            here = [position for position in text if word_of[position] == word]
            if here:
                left = inf if number == 0 else here[0] - text[0]
                right = inf if number == len(word_of_token) - 1 else text[-1] - here[0]
                if min(left, right) > best_context:
                    best, best_context = number, min(left, right)
        chosen.append(best)
    return chosen


@st.composite
def cut_words(draw):
    """Words of random numbers of sub-words, cut into windows with special tokens around them."""
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=10))
    tokens = [word for word, size in enumerate(sizes) for _ in range(size)]
    room, stride = draw(rooms())
    windows, start = [], 0
    while True:
        windows.append((start, [-1, *tokens[start : start + room], -1]))
        if start + room >= len(tokens):
            return sizes, tokens, windows
        start += room - stride


@given(cut_words())
def test_each_word_is_owned_by_one_window_that_holds_its_beginning_and_most_around_it(case):
    sizes, tokens, windows = case
    word_of_token = [word_of for _, word_of in windows]
    owner = owners(word_of_token, len(sizes))
    assert owner == reference_owners(word_of_token, len(sizes))
    for word, size in enumerate(sizes):
        if size == 0:
            assert owner[word] == -1
        else:
            start, word_of = windows[owner[word]]
            assert start + word_of.index(word) - 1 == tokens.index(word)


@settings(max_examples=30)
@given(words=st.lists(st.sampled_from(WORDS), max_size=14), room=rooms())
def test_the_owner_holds_the_first_sub_word_of_real_tokens(tokenizer, words, room):
    room, stride = room
    text, offsets = join_words(words)
    max_length = room + tokenizer.num_special_tokens_to_add(pair=False)
    (windows,) = tokenize_in_windows(tokenizer, [text], max_length=max_length, stride=stride)
    word_of_token = [words_of_tokens(window.offsets, offsets, text) for window in windows]
    plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    whole = words_of_tokens(plain, offsets, text)
    owner = owners(word_of_token, len(words))
    assert owner == reference_owners(word_of_token, len(words))
    for word, window in enumerate(owner):
        assert (window >= 0) == (word in whole)
        if window >= 0:
            places = global_positions(windows[window], window, room, stride)
            assert places[word_of_token[window].index(word)] == whole.index(word)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "llama", "deberta-v2"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_cut_is_what_the_tokenizer_would_cut(tiny_models, architecture, side, data):
    tokenizer = AutoTokenizer.from_pretrained(tiny_models(architecture))
    tokenizer.truncation_side = side
    words = st.lists(st.sampled_from(" ".join(CORPUS).split()), max_size=12).map(" ".join)
    first, second, length = data.draw(words), data.draw(st.none() | words), data.draw(st.integers(5, 20))
    (found,), cut = tokenize(tokenizer, [first], None if second is None else [second], max_length=length)
    theirs = tokenizer(
        [first], None if second is None else [second], truncation="longest_first", max_length=length,
        return_offsets_mapping=True, verbose=False,
    )  # fmt: skip
    if theirs["input_ids"][0]:  # a decoder has no token for an empty text
        assert found.inputs == {name: theirs[name][0] for name in found.inputs}
        assert found.offsets == theirs["offset_mapping"][0] and found.sequence == theirs.sequence_ids(0)
    assert cut == bool(theirs.encodings[0].overflowing)
