"""Can the tokenizer's offsets be trusted, and does it know the words of this data?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from reasoner.checks.findings import ERROR, Finding
from reasoner.checks.subject import Subject
from reasoner.data.windows import whole_characters
from reasoner.notices import counting
from reasoner.tasks.ner import NER
from reasoner.tasks.nested_ner import NestedNER
from reasoner.tasks.qa import QuestionAnswering

SAMPLE = 200
"""Rows of each split that are looked at, evenly spaced."""
UNKNOWN = 0.02
"""Share of unknown tokens above which it is said."""


def check_tokenizer(subject: Subject) -> Iterator[Finding]:
    """Find offsets that do not point at the text of their token (where tasks need them), and many unknown tokens."""
    if subject.tokenizer is None:
        return
    needs_offsets = issubclass(subject.task_class, (NER, NestedNER, QuestionAnswering))
    wrong, not_known = [], []
    looked_at = tokens = unknown = 0
    for examples in subject.examples.values():
        for example in examples[:: max(1, len(examples) // SAMPLE)]:
            with counting() as counted:
                texts = whole_characters(list(example.texts.values()))
                counted.clear()
            if not texts:
                continue
            looked_at += 1
            encoded = subject.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            if not all(_trustworthy(*pair) for pair in zip(encoded["offset_mapping"], texts, strict=True)):
                wrong.append(example.where)
            ids = [token for row in encoded["input_ids"] for token in row]
            here = ids.count(subject.tokenizer.unk_token_id) if subject.tokenizer.unk_token_id is not None else 0
            tokens, unknown = tokens + len(ids), unknown + here
            not_known += [example.where] if here else []
    if wrong and needs_offsets:
        yield Finding(
            code="offsets",
            what=f"the tokenizer's character offsets are out of order, or leave out letters, in {len(wrong):,} of "
            f"{looked_at:,} rows that were looked at",
            remedy="Entities and answers would be placed wrongly: take another tokenizer, or another model.",
            severity=ERROR,
            count=len(wrong),
            places=tuple(wrong),
        )
    if unknown > UNKNOWN * tokens:
        yield Finding(
            code="unknown_tokens",
            what=f"{unknown / tokens:.0%} of the tokens are unknown to the tokenizer (looked at: {looked_at:,} rows)",
            remedy="The model was trained on other text: choose one for this language, alphabet or kind of text.",
            count=unknown,
            places=tuple(not_known),
        )


def _trustworthy(offsets: Sequence[tuple[int, int]], text: str) -> bool:
    """Say whether offsets lie in the text, in order, and every letter and digit lies in a token.

    A tokenizer may drop marks and invisible characters.
    """
    if not all(0 <= start <= end <= len(text) for start, end in offsets):
        return False
    if not all(one[0] <= other[0] for one, other in pairwise(offsets)):
        return False
    covered = bytearray(len(text))
    for start, end in offsets:
        covered[start:end] = b"\x01" * (end - start)
    return all(covered[index] or unicodedata.category(letter)[0] not in "LN" for index, letter in enumerate(text))
