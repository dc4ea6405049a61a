"""How do rows become sequences where no text is gone on with: entailment, similarity and cloze?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reasoner.data.features import Feature
from reasoner.data.prompts import Asked, Prompt, plain_text
from reasoner.data.windows import Window, tokenize
from reasoner.errors import DataError
from reasoner.losses import IGNORED
from reasoner.notices import count

NO_LIMIT = 10**9


def entailment_features(
    prompt: Prompt, rows: Sequence[Asked], tokenizer: Any, *, max_length: int
) -> list[list[Feature]]:
    """Return for each row a feature a choice: the row's text, and what is said of it.

    Of what is too long the longer side is cut, and counted. Target: `labels`, 1 for the right choice, else 0.
    """
    firsts = [plain_text(row.texts) for row in rows for _ in row.choices]
    seconds = [prompt.said(choice) for row in rows for choice in row.choices]
    windows, cut = tokenize(tokenizer, firsts, seconds, max_length=max_length)
    _say_cut(cut, max_length)
    remaining = iter(windows)
    return [[Feature(next(remaining).inputs, _target(row, place)) for place in range(len(row.choices))] for row in rows]


def similarity_features(
    prompt: Prompt, rows: Sequence[Asked], tokenizer: Any, *, max_length: int
) -> list[list[Feature]]:
    """Return for each row a feature for its text, and then one a choice.

    What is too long is cut, and counted. Target: `labels`, 1 for the right choice, 0 for the others and for the text.
    """
    texts = [text for row in rows for text in (plain_text(row.texts), *map(prompt.said, row.choices))]
    windows, cut = tokenize(tokenizer, texts, max_length=max_length)
    _say_cut(cut, max_length)
    remaining = iter(windows)
    return [
        [Feature(next(remaining).inputs, _target(row, place)) for place in range(-1, len(row.choices))] for row in rows
    ]


def cloze_features(prompt: Prompt, rows: Sequence[Asked], tokenizer: Any, *, max_length: int) -> list[list[Feature]]:
    """Return for each row a feature a choice: the template with it, and each of its tokens masked.

    The choice is tokenised where it stands. Of what is too long the side of the masks that has more text is cut, and
    counted. Target: `labels`, 1 for the right choice, else 0. Token target: `words`, the masked tokens, -100 elsewhere.

    Raises:
        DataError: if the tokenizer has no token for a choice, or more of them than fit.
    """
    around = [prompt.around(row.texts) for row in rows]
    texts = [
        before + choice.strip() + after
        for row, (before, after) in zip(rows, around, strict=True)
        for choice in row.choices
    ]
    remaining = iter(tokenize(tokenizer, texts, max_length=NO_LIMIT)[0])
    found, cut = [], 0
    for row, (before, _) in zip(rows, around, strict=True):
        group = []
        for place, choice in enumerate(row.choices):
            window = next(remaining)
            masked = _tokens_in(window, len(before), len(before) + len(choice.strip()))
            kept = _kept(window, masked, max_length)
            if not masked or not set(masked) <= set(kept):
                what = f"choice {place + 1}, {choice!r:.40}, has {len(masked)} tokens"
                raise DataError(f"{row.where or 'An input'}: {what}, and it takes one at least, and no more than fit "
                                f"into max_length={max_length}. Give it another text.")  # fmt: skip
            cut += len(kept) < len(window.sequence)
            group.append(_masked(window, set(masked), kept, tokenizer.mask_token_id, _target(row, place)))
        found.append(group)
    _say_cut(cut, max_length)
    return found


def _target(row: Asked, place: int) -> dict[str, float]:
    return {} if row.right is None else {"labels": float(place == row.right)}


def _say_cut(cut: int, max_length: int) -> None:
    if cut:
        count(f"{{n}} sequences are longer than max_length={max_length} tokens, and were cut.", cut)


def _tokens_in(window: Window, start: int, end: int) -> list[int]:
    """Return the places of the tokens that hold characters of a part of the text."""
    return [
        place
        for place, (first, last) in enumerate(window.offsets)
        if window.sequence[place] is not None and first < end and last > start
    ]


def _kept(window: Window, masked: list[int], max_length: int) -> list[int]:
    """Return the places that fit: special tokens, masks, and the text next to them."""
    text = [place for place, sequence in enumerate(window.sequence) if sequence is not None]
    excess = len(window.sequence) - max_length
    if excess <= 0 or not masked:
        return list(range(len(window.sequence)))
    before, after = text.index(masked[0]), len(text) - 1 - text.index(masked[-1])
    first = min(before, excess) if before >= after else max(0, excess - after)
    dropped = {*text[:first], *text[len(text) - (excess - first) :]}
    return [place for place in range(len(window.sequence)) if place not in dropped]


def _masked(window: Window, masked: set[int], kept: list[int], mask: int, targets: dict[str, float]) -> Feature:
    ids = window.inputs["input_ids"]
    inputs = {name: [values[place] for place in kept] for name, values in window.inputs.items()}
    inputs["input_ids"] = [mask if place in masked else ids[place] for place in kept]
    return Feature(inputs, targets, {"words": [ids[place] if place in masked else IGNORED for place in kept]})
