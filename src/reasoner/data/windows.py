"""Texts that are longer than the model -> overlapping windows, with every word owned by exactly one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from reasoner.data.alignment import Interval, ends_of_words, words_of_tokens
from reasoner.errors import ConfigError
from reasoner.notices import count

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, left by software that cuts text in the middle of a character: no tokenizer takes them."""


@dataclass(slots=True)
class Window:
    """One text (or pair), or one piece of it, as the model sees it."""

    inputs: dict[str, list[int]]
    """`input_ids`, `attention_mask` and perhaps `token_type_ids`, each (tokens,)."""
    offsets: list[tuple[int, int]]
    """(tokens,) character offsets in the text that the token comes from; (0, 0) for special tokens."""
    sequence: list[int | None]
    """(tokens,) 0 for the first text, 1 for the second, None for special tokens."""


class Read(NamedTuple):
    """What was tokenised, and a window of it."""

    first: str
    second: str | None
    window: Window


_reading: ContextVar[list[Read] | None] = ContextVar("reading", default=None)


@contextmanager
def reading() -> Iterator[list[Read]]:
    """Collect what `tokenize` and `tokenize_in_windows` read inside the block: which token stands for which text."""
    read: list[Read] = []
    token = _reading.set(read)
    try:
        yield read
    finally:
        _reading.reset(token)


def _note(first: Sequence[str], second: Sequence[str] | None, windows: Iterable[Sequence[Window]]) -> None:
    read = _reading.get()
    if read is not None:
        pairs = zip(first, [None] * len(first) if second is None else second, windows, strict=True)
        read += [Read(one, other, window) for one, other, of_text in pairs for window in of_text]


class Owned(NamedTuple):
    """A word that a window owns (or shows), and the token in that window where its label stands."""

    word: int
    token: int
    end: int
    """The next word with a label of its own: the words up to there begin inside this one's sub-words, go on its entity
    and have no label (`.`, `S` and `.` where the tokenizer makes one sub-word of the raw text `U.S.`)."""


def tokenize(
    tokenizer: Any,
    first: Sequence[str],
    second: Sequence[str] | None = None,
    *,
    max_length: int,
    side: str | None = None,
) -> tuple[list[Window], int]:
    """Tokenize texts or pairs, one window each; of what is too long, the longer side is cut.

    Args:
        tokenizer: a fast tokenizer (offsets are needed).
        first: the texts, or the first side of the pairs.
        second: the second side of the pairs.
        max_length: tokens a window, special tokens included.
        side: where texts are cut, "right" or "left"; None: where the tokenizer says.

    Returns:
        The windows, and how many of them were cut.

    Raises:
        ConfigError: if `max_length` leaves no room for text.
    """
    if not first:
        return [], 0
    _check_room(tokenizer, second is not None, max_length)
    encoded = _encode(tokenizer, first, second)
    whole = [_with_a_token(_window(encoded, index), tokenizer) for index in range(len(first))]
    windows = [_cut(window, max_length, side or tokenizer.truncation_side) for window in whole]
    _note(first, second, ([window] for window in windows))
    return windows, sum(one is not other for one, other in zip(whole, windows, strict=True))


def tokenize_in_windows(
    tokenizer: Any, first: Sequence[str], second: Sequence[str] | None = None, *, max_length: int, stride: int
) -> list[list[Window]]:
    """Tokenize texts or pairs, as many overlapping windows each as it takes; of a pair, the second side is windowed.

    Args:
        tokenizer: a fast tokenizer (offsets are needed).
        first: the texts, or the first side of the pairs, which must leave room for more than `stride` tokens.
        second: the second side of the pairs.
        max_length: tokens a window, special tokens included.
        stride: tokens that neighbouring windows share.

    Raises:
        ConfigError: if `stride` leaves a window no room of its own.
    """
    _check_room(tokenizer, second is not None, max_length, stride)
    if not first:
        return []
    side = "only_first" if second is None else "only_second"
    encoded = _encode(
        tokenizer, first, second, truncation=side, max_length=max_length, stride=stride, return_overflowing_tokens=True
    )
    windows: list[list[Window]] = [[] for _ in first]
    for index, text in enumerate(encoded["overflow_to_sample_mapping"]):
        windows[text].append(_with_a_token(_window(encoded, index), tokenizer))
    _note(first, second, windows)
    return windows


def whole_texts(tokenizer: Any, texts: Sequence[str]) -> list[Window]:
    """Tokenize texts in one window each, however long, without special tokens."""
    encoded = _encode(tokenizer, texts, None, add_special_tokens=False) if texts else None
    return [_window(encoded, index) for index in range(len(texts))]


def texts_in_windows(tokenizer: Any, texts: Sequence[str], *, max_length: int, stride: int) -> list[list[Window]]:
    """Tokenize texts as `tokenize_in_windows` does, and count those that take more than one window."""
    windows = tokenize_in_windows(tokenizer, texts, max_length=max_length, stride=stride)
    if several := sum(len(group) > 1 for group in windows):
        count(f"{{n}} texts are longer than max_length={max_length} tokens and were read in windows.", several)
    return windows


def owners(word_of_token: Sequence[Sequence[int]], number_of_words: int) -> list[int]:
    """Return for each word the window that owns it, or -1 when it has no sub-word in any.

    The windows that hold a word overlap; the one owns it that shows the model the most text on the poorer side of
    it, the earlier one on a tie (so a window never owns a word that began before it). Each word is thus trained,
    predicted and scored exactly once.

    Args:
        word_of_token: for each window (tokens,), the word of each sub-word or -1 (see `alignment.words_of_tokens`).
        number_of_words: how many words the text has.
    """
    owner, most_context = [-1] * number_of_words, [-1] * number_of_words
    for window, word_of in enumerate(word_of_token):
        text_positions = [position for position, word in enumerate(word_of) if word >= 0]
        previous = -1
        for position in text_positions:
            word = word_of[position]
            if word != previous:
                at_start, at_end = window == 0, window == len(word_of_token) - 1
                left = len(word_of) if at_start else position - text_positions[0]
                right = len(word_of) if at_end else text_positions[-1] - position
                if min(left, right) > most_context[word]:
                    owner[word], most_context[word] = window, min(left, right)
            previous = word
    return owner


def owned_words(windows: Sequence[Window], words: Sequence[Interval], text: str) -> list[list[Owned]]:
    """Return for each window the words that it owns, each at its first sub-word there; see `shown_words`."""
    return [[place for place, own in shown if own] for shown in shown_words(windows, words, text)]


def shown_words(windows: Sequence[Window], words: Sequence[Interval], text: str) -> list[list[tuple[Owned, bool]]]:
    """Return for each window the words that it shows, each at its first sub-word there, and whether it owns them.

    Args:
        windows: those of one text.
        words: where each word stands in it.
        text: the text that windows and words count in.
    """
    word_of_token = [words_of_tokens(window.offsets, words, text) for window in windows]
    owner = owners(word_of_token, len(words))
    ends = ends_of_words([window.offsets for window in windows], word_of_token, words)
    shown = []
    for index, word_of in enumerate(word_of_token):
        first_token = {word: token for token, word in reversed(list(enumerate(word_of))) if word >= 0}
        places = sorted(first_token.items())
        shown.append([(Owned(word, token, ends[word]), owner[word] == index) for word, token in places])
    return shown


def whole_characters(texts: Sequence[str]) -> list[str]:
    """Return the texts with every half of a surrogate pair replaced (U+FFFD), and say how many texts had one."""
    replaced = [_HALF_CHARACTER.sub("\ufffd", text) for text in texts]
    broken = sum(one != other for one, other in zip(texts, replaced, strict=True))
    if broken:
        count("{n} texts hold half a character (a lone surrogate); it was read as U+FFFD.", broken)
    return replaced


def _check_room(tokenizer: Any, pair: bool, max_length: int, stride: int = 0) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=pair)
    if not 0 <= stride < max_length - special:
        raise ConfigError(
            f"max_length={max_length} with stride={stride} leaves no room for text ({special} tokens are "
            "special ones). Raise max_length or lower stride."
        )


def _encode(tokenizer: Any, first: Sequence[str], second: Sequence[str] | None, **settings: Any) -> Any:
    return tokenizer(
        whole_characters(first),
        whole_characters(second) if second is not None else None,
        return_offsets_mapping=True,
        return_attention_mask=True,
        padding=False,
        verbose=False,
        **settings,
    )


def _window(encoded: Any, index: int) -> Window:
    inputs = {name: encoded[name][index] for name in MODEL_INPUTS if name in encoded}
    return Window(inputs, encoded["offset_mapping"][index], encoded.sequence_ids(index))


def _cut(window: Window, max_length: int, side: str) -> Window:
    """Return a window of at most `max_length` tokens, the special ones kept: of a pair, the longer side loses first.

    The tokens that stay are those that the tokenizer's own `longest_first` keeps; that one takes time with the square
    of the length (20,000 tokens: 3.6 s, and here 7 ms).
    """
    too_many = len(window.sequence) - max_length
    if too_many <= 0:
        return window
    first, second = (window.sequence.count(number) for number in (0, 1))
    keep = _shares(first, second, first + second - too_many)
    places: list[int] = []
    for number in (0, 1):
        own = [place for place, sequence in enumerate(window.sequence) if sequence == number]
        places += own[: keep[number]] if side == "right" else own[len(own) - keep[number] :]
    kept = sorted({*places, *(place for place, sequence in enumerate(window.sequence) if sequence is None)})

    def at_kept(values: list[Any]) -> list[Any]:
        return [values[place] for place in kept]

    inputs = {name: at_kept(values) for name, values in window.inputs.items()}
    return Window(inputs, at_kept(window.offsets), at_kept(window.sequence))


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts fit into the room, if the longer one is cut first."""
    shorter = min(first, second)
    shorter = shorter if 2 * shorter <= room else room // 2
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def _with_a_token(window: Window, tokenizer: Any) -> Window:
    """Return a window that has one token at least, for a model to run on.

    Tokenizers that add no special tokens, such as those of many decoders, give none for an empty text: there the end
    token stands for it.
    """
    if window.sequence:
        return window
    known = (tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
    token = next(number for number in known if number is not None)
    values = {"input_ids": token, "attention_mask": 1}
    return Window({name: [values.get(name, 0)] for name in window.inputs}, [(0, 0)], [None])
