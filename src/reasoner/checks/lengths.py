"""What does the length limit cost: rows that are cut, entities and answers that no window shows whole?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reasoner.checks.findings import Finding
from reasoner.checks.subject import Subject
from reasoner.data.feature_file import feature_lengths, group_sizes
from reasoner.data.prompts import CLOZE, LIKELIHOOD
from reasoner.data.written import Lost
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.model import length_limit
from reasoner.notices import counting
from reasoner.tasks.generation import BY_ENCODER_DECODER, Generation

LOST = {LIKELIHOOD: "the beginning of their prompt", CLOZE: "what is far from the gap"}
"""What a cut row loses, by head; with all others it is the end."""
NO_LIMIT = 10**6
"""Tokens: more than any row has."""


def check_lengths(subject: Subject) -> Iterator[Finding]:
    """Find what is lost at the length limit. Texts that are read in windows lose nothing, and are no finding."""
    predictor = subject.predictor
    if predictor is None:
        return
    if isinstance(predictor.task, Generation):
        yield from _of_generation(subject, predictor.task, predictor.max_length)
        return
    for split, data in subject.encoded.items():
        cut = _cut_rows(predictor, data)
        if cut:
            lost = LOST.get(predictor.task.head or "", "their end")
            limit = length_limit(predictor.model.network, predictor.tokenizer)
            more = "Take a model that reads more"
            if limit > predictor.max_length:
                more = f"Raise max_length (the model takes {limit:,})"
            yield Finding(
                code="cut_rows",
                what=f"{split}: {len(cut):,} of {len(data.examples):,} rows are longer than max_length="
                f"{predictor.max_length} tokens and lose {lost} (the longest has {max(cut.values()):,})",
                remedy=f"{more}, or shorten the texts.",
                count=len(cut),
                places=tuple(cut),
            )
        missed = [
            (example.where, number)
            for example, group in zip(data.examples, data.features, strict=True)
            if (number := predictor.task.gold_lost(example, group))
        ]
        if missed:
            number = sum(missed_here for _, missed_here in missed)
            yield Finding(
                code="gold_lost",
                what=f"{split}: {number:,} entities or answers in {len(missed):,} rows stand whole in no window, or "
                "begin or end inside a token",
                remedy="No model can give them, and they count as missed: raise max_length or stride, or see whether "
                "the texts hold characters that the tokenizer drops.",
                count=number,
                places=tuple(place for place, _ in missed),
            )


def _of_generation(subject: Subject, task: Generation, max_length: int) -> Iterator[Finding]:
    """Find prompts and completions that are cut, and completions that are longer than what is generated."""
    limit = f"max_new_tokens={task.max_new_tokens}"
    kinds = {
        "cut_prompts": (
            f"prompts are longer than max_length={max_length} less {limit} tokens, and lose their beginning",
            "Raise max_length, lower max_new_tokens, or shorten the prompts.",
        ),
        "cut_completions": (
            f"completions do not fit into max_length={max_length} tokens behind their prompts, and lose their end",
            "Raise max_length, or leave these rows out: of them the model does not learn where to stop.",
        ),
        "long_completions": (
            f"completions are longer than {limit}, and cannot be generated whole: they count as missed",
            "Give Generation(max_new_tokens=...) a greater number.",
        ),
    }
    if task.head == BY_ENCODER_DECODER:
        kinds = {
            "cut_prompts": (
                f"prompts are longer than max_length={max_length}, and lose their end",
                "Raise max_length, or shorten the prompts.",
            ),
            "cut_completions": (
                f"completions are longer than max_new_tokens={limit}, and lose their end",
                "Give Generation(max_new_tokens=...) a greater number.",
            ),
        }
    for split, data in subject.encoded.items():
        lost = [Lost(*group[0].info) for group in data.features]
        for place, (code, (what, remedy)) in enumerate(kinds.items()):
            rows = [item.where for item, tokens in zip(data.examples, lost, strict=True) if tokens[place]]
            if rows:
                what = f"{split}: {len(rows):,} of {len(lost):,} {what}"
                yield Finding(code=code, what=what, remedy=remedy, count=len(rows), places=tuple(rows))


def _cut_rows(predictor: Predictor, data: Encoded) -> dict[str, int]:
    """Return the places of the rows that were cut, and how many tokens they have.

    Only a feature that is as long as the limit can be cut. Such rows are encoded once more without one: a row that was
    cut is longer then, and has as many features (a row that was read in windows has fewer).
    """
    together = predictor.task.keep_together
    sizes = group_sizes(data.features)
    long = np.repeat(np.arange(len(sizes)), sizes)[feature_lengths(data.features) >= predictor.max_length]
    full = [index for index in np.unique(long).tolist() if together or sizes[index] == 1]
    if not full:
        return {}
    with counting() as counted:
        whole = predictor.task.encode(
            [data.examples[index] for index in full], predictor.tokenizer, max_length=NO_LIMIT, stride=0
        )
        counted.clear()  # what there is to say was said when the data was encoded for training
    lengths = {data.examples[index].where: max(map(len, group)) for index, group in zip(full, whole, strict=True)}
    return {where: length for where, length in lengths.items() if length > predictor.max_length}
