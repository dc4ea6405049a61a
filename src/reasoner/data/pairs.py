"""How do unlabelled texts become pairs of sentences with a label: in order or swapped, next or from elsewhere?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from reasoner.data.texts import read_texts
from reasoner.errors import ConfigError, DataError, Problem, suggestion
from reasoner.notices import count

OBJECTIVES = {"sentence_order": ("in order", "swapped"), "next_sentence": ("next", "other")}
"""By name, the label of a pair as it stands in the text, and of one that was changed."""
_END = re.compile(r"""(?<=[.!?…。！？])(["'”’)\]]*)\s+""")
_NO_END = re.compile(r"(?:^|[\s(])(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|vs|etc|e\.g|i\.e|cf|Jr|Sr)\.$")


def sentence_pairs(
    texts: Any,
    objective: str = "sentence_order",
    *,
    column: str = "text",
    validation_share: float = 0.1,
    seed: int = 0,
) -> dict[str, list[dict[str, str]]]:
    """Make rows for `task="classification"` of unlabelled texts: does one sentence follow the other?

    Every two sentences of a text that follow each other are a row, and half of the rows are changed:

    - "sentence_order": both are swapped (Lan et al., 2020, ALBERT, https://arxiv.org/abs/1909.11942).
    - "next_sentence": the second is another text's (Devlin et al., 2019, https://arxiv.org/abs/1810.04805). This is
      the easier one: two texts often differ in what they are about.

    Those papers take runs of sentences up to the length limit; here it is a sentence each. Split sentences share no
    text: texts, and not pairs, are held out.

    Args:
        texts: as for `pretrain`, each a paragraph or a document; or such texts by split.
        objective: one of `OBJECTIVES`.
        column: which column holds the texts, where there are columns.
        validation_share: of the texts; has no meaning where splits are given.
        seed: of what is held out and what is changed.

    Returns:
        The rows of each split: `text`, `text_pair` and `label` ("in order", "swapped"; or "next", "other").

    Raises:
        ConfigError: if the objective is unknown, or the share is not between 0 and 1.
        DataError: if the texts cannot be read, or give no pair.

    Examples:
        >>> sentence_pairs(["It rained. We left.", "He sang. All slept."])["validation"]  # doctest: +SKIP
        [{'text': 'All slept.', 'text_pair': 'He sang.', 'label': 'swapped'}]
    """
    if objective not in OBJECTIVES:
        raise ConfigError(f"There is no objective '{objective}'. {suggestion(objective, OBJECTIVES)}")
    if not 0 < validation_share < 1:
        raise ConfigError(f"validation_share={validation_share!r}: give a share above 0 and below 1.")
    if isinstance(texts, Mapping):
        splits = {name: read_texts(part, column, fewest=1) for name, part in texts.items()}
    else:
        everything = read_texts(texts, column)
        Random(f"held out {seed}").shuffle(everything)
        number = min(max(1, round(validation_share * len(everything))), len(everything) - 1)
        splits = {"train": everything[number:], "validation": everything[:number]}
    return {name: _rows(name, part, objective, Random(f"{name} {seed}")) for name, part in splits.items()}


def split_sentences(text: str) -> list[str]:
    """Split a text after `.`, `!`, `?` and their like with white space behind, but not after titles and initials."""
    sentences, start = [], 0
    for end in _END.finditer(text):
        sentence, following = text[start : end.end(1)], text[end.end() : end.end() + 1]
        if not _NO_END.search(sentence) and not following.islower():
            sentences.append(sentence)
            start = end.end()
    return [*sentences, *([text[start:]] if text[start:] else [])]


def _rows(split: str, texts: Sequence[str], objective: str, random: Random) -> list[dict[str, str]]:
    documents = [split_sentences(text) for text in texts]
    if alone := sum(len(sentences) == 1 for sentences in documents):
        count("{n} texts have one sentence, and give no pair.", alone)
    pairs = [
        (number, first, second)
        for number, sentences in enumerate(documents)
        for first, second in pairwise(sentences)
        if first != second
    ]
    if not pairs or (objective == "next_sentence" and len(documents) < 2):
        what = "holds no text of two sentences" if not pairs else "holds one text, and so no sentence of another"
        raise DataError([Problem(split, what, "Give paragraphs, or more of them.")])
    labels = [index % 2 for index in range(len(pairs))]
    random.shuffle(labels)
    rows = []
    for (number, first, second), changed in zip(pairs, labels, strict=True):
        if changed and objective == "sentence_order":
            first, second = second, first
        elif changed:
            elsewhere = random.randrange(len(documents) - 1)
            second = random.choice(documents[elsewhere + (elsewhere >= number)])
        rows.append({"text": first, "text_pair": second, "label": OBJECTIVES[objective][changed]})
    return rows
