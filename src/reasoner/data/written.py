"""What an encoder-decoder reads of a row of generation, and what it is to write: how are both cut, and counted?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reasoner.data.features import Feature
from reasoner.data.windows import whole_characters
from reasoner.notices import count


class Lost(NamedTuple):
    """What a length limit takes from a row, in tokens."""

    prompt: int
    """Cut off: its beginning for a decoder, its end for an encoder-decoder."""
    completion: int
    """Cut off its end, the end token among them."""
    not_generated: int
    """Of the completion, more than are ever generated."""


def read_and_written(
    prompts: Sequence[str], completions: Sequence[str | None], tokenizer: Any, *, end: int, longest: int, written: int
) -> list[list[Feature]]:
    """Return one feature a row: its prompt, and if it has gold its completion and the end token as labels.

    Both have the special tokens that the tokenizer gives a text that is read, and one that is written.

    Args:
        prompts: the texts that are read.
        completions: the texts that are written; None: not known.
        tokenizer: the model's.
        end: the token that ends a completion.
        longest: tokens of a prompt, the special ones included; the end of longer ones is cut, and counted.
        written: likewise of a completion.
    """
    texts = whole_characters(list(prompts))
    read = tokenizer(texts, verbose=False)["input_ids"]
    shown = tokenizer(texts, truncation=True, max_length=longest)
    gold = tokenizer(text_target=whole_characters([text or "" for text in completions]), verbose=False)["input_ids"]
    features = []
    for row, (whole, ids, mask) in enumerate(zip(read, shown["input_ids"], shown["attention_mask"], strict=True)):
        labels = [] if completions[row] is None else [*gold[row], *([] if gold[row][-1:] == [end] else [end])]
        over = max(0, len(labels) - written)
        lost = Lost(len(whole) - len(ids), over, over)
        if lost.prompt:
            count(f"{{n}} prompts are longer than max_length={longest} tokens; their end was cut.")
        if lost.completion:
            count(f"{{n}} completions are longer than max_new_tokens={written}; their end was cut, and no end token is "
                  "learned from them.")  # fmt: skip
        targets = {"labels": labels[:written]} if labels else {}
        features.append([Feature({"input_ids": ids, "attention_mask": mask}, {}, targets, list(lost))])
    return features
