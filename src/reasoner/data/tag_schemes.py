"""Which tag scheme are tags written in, and what are they in IOB2?

Six schemes are known, all with `O` for words outside of entities and `PREFIX-TYPE` for the others; a type may hold
hyphens itself (`B-creative-work`).

| scheme | an entity of one word | of three words | two of one type that touch |
|---|---|---|---|
| IOB2 | B | B I I | B I B I |
| IO | I | I I I | cannot be told apart: read as one |
| IOB1 | I | I I I | I I B I |
| BIOES | S | B I E | B E B E |
| BILOU | U | B I L | B L B L |
| BMES | S | B M E | B E B E |

IOB1 and IOB2: Ramshaw and Marcus, 1995 (https://arxiv.org/abs/cmp-lg/9505040) and Tjong Kim Sang and Veenstra, 1999
(https://arxiv.org/abs/cs/9907006); BILOU: Ratinov and Roth, 2009 (https://aclanthology.org/W09-1119).

Tags are read leniently, and in the same way whatever the scheme (`read_spans`), as conlleval reads them. So ill-formed
tags always have a reading, and naming the scheme wrongly among IOB1, IOB2 and IO changes no entity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reasoner.errors import ConfigError, LabelError, suggestion
from reasoner.notices import say

OUTSIDE = "O"
_TAG = re.compile(r"([BIESLUM])-(\S.*)", re.DOTALL)
_ALONE, _LAST = "SU", "EL"


class Scheme(NamedTuple):
    """The prefixes of an entity's words: of the only word, the first, those between, and the last."""

    only: str
    first: str
    inside: str
    last: str
    touching: str
    """The first word's prefix when the word before ends an entity of the same type."""


SCHEMES = {
    "IOB2": Scheme("B", "B", "I", "I", "B"),
    "IO": Scheme("I", "I", "I", "I", "I"),
    "IOB1": Scheme("I", "I", "I", "I", "B"),
    "BIOES": Scheme("S", "B", "I", "E", "B"),
    "BILOU": Scheme("U", "B", "I", "L", "B"),
    "BMES": Scheme("S", "B", "M", "E", "B"),
}
"""In the order in which they are tried."""


class Span(NamedTuple):
    """An entity over the words `start` to `end`, the end excluded."""

    start: int
    end: int
    type: str


def detect_scheme(sequences: Iterable[Sequence[str]]) -> str:
    """Return the scheme that tag sequences are written in: a key of `SCHEMES`.

    1. The first scheme in which every sequence is well-formed, tried in the order IOB2, IO, IOB1, BIOES, BILOU, BMES.
    2. If there is none, the tags are ill-formed, and the first of IOB2, BIOES, BILOU, BMES whose prefixes hold all
       prefixes that occur is returned; `ill_formed` then says which tags they are.

    So `I-X` after `O` or after another type makes the scheme IOB1 where all else fits it (each `B-X` follows a word of
    type X), and is ill-formed IOB2 where it does not. What cannot be decided does no harm: no entity at all
    (IOB2 is returned); no `B-` (IO is returned; IOB1 in which no two entities touch reads the same); neither
    an inside word nor any that tells BIOES from BMES (BIOES is returned, and reads the same).

    Raises:
        LabelError: if a tag is malformed, or the prefixes belong to no one scheme.
    """
    sequences = [tags for tags in sequences if tags]
    spans = [read_spans(tags) for tags in sequences]
    for name in SCHEMES:
        if all(write_spans(read, len(tags), name) == list(tags) for read, tags in zip(spans, sequences, strict=True)):
            return name
    prefixes = {tag[0] for tags in sequences for tag in tags} - {OUTSIDE}
    for name in ("IOB2", "BIOES", "BILOU", "BMES"):
        if prefixes <= set(SCHEMES[name]):
            return name
    raise LabelError(
        f"The tags' prefixes {', '.join(sorted(prefixes))} belong to no one scheme. "
        f"Known: {', '.join(SCHEMES)}; write all tags in one of them."
    )


def recognised_scheme(sequences: Iterable[Sequence[str | None]]) -> str:
    """Return the scheme of all tags (None: a word that is not scored), and say what is converted and repaired."""
    named = [[tag for tag in tags if tag is not None] for tags in sequences]
    scheme = detect_scheme(named)
    if scheme != "IOB2":
        say(f"The tags follow the scheme {scheme}; they were converted to IOB2.")
    repaired = sum(len(ill_formed(tags, scheme)) for tags in named)
    if repaired:
        say(f"{repaired} tags are ill-formed in {scheme} (such as I-X after O); each was read as conlleval does.")
    return scheme


def to_iob2(tags: Sequence[str], scheme: str) -> list[str]:
    """Return the tags in IOB2; ill-formed ones are repaired to what `read_spans` reads.

    Args:
        tags: one a word.
        scheme: the scheme they are written in, as `detect_scheme` gives it.

    Raises:
        LabelError: if a tag is malformed or its prefix is not one of the scheme's.
        ConfigError: if the scheme is unknown.
    """
    prefixes = _scheme(scheme)
    for tag in tags:
        if tag != OUTSIDE and _parse(tag)[0] not in prefixes:
            raise LabelError(f"The tag '{tag}' does not belong to the scheme {scheme}.")
    return write_spans(read_spans(tags), len(tags), "IOB2")


def ill_formed(tags: Sequence[str], scheme: str) -> list[int]:
    """Return the indexes of the tags that the scheme would write otherwise for the entities that are read."""
    written = write_spans(read_spans(tags), len(tags), scheme)
    return [index for index, tag in enumerate(tags) if tag != written[index]]


def legal_steps(tags: Sequence[str]) -> list[list[bool]]:
    """Return which tag may follow which in IOB2: a row a tag, one for the beginning of a text last, a column a tag.

    `I-X` follows `B-X` and `I-X` alone; all else may follow anything.
    """
    return [[tag[0] != "I" or before in (f"B{tag[1:]}", f"I{tag[1:]}") for tag in tags] for before in (*tags, OUTSIDE)]


def malformed(tags: Sequence[object]) -> str | None:
    """Say what is wrong with the first tag that is neither `O` nor PREFIX-TYPE; None when nothing is."""
    for number, tag in enumerate(tags, start=1):
        if not is_tag(tag):
            return f"tag {number} is {tag!r}, which is neither O nor a prefix and a type such as B-PER"
    return None


def is_tag(tag: object) -> bool:
    """Say whether `tag` is `O`, or a prefix (one of B I E S L U M), a hyphen and a type."""
    return isinstance(tag, str) and (tag == OUTSIDE or _TAG.fullmatch(tag) is not None)


def read_spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities that the tags mark, in order, whatever their scheme.

    An entity begins at B, S or U, and at any other prefix that cannot continue the entity before it: after O, after
    another type, after E, L, S or U. It ends before a word that does not continue it.

    Raises:
        LabelError: if a tag is malformed.
    """
    spans: list[Span] = []
    open_span = False
    for index, tag in enumerate(tags):
        if tag == OUTSIDE:
            open_span = False
            continue
        prefix, kind = _parse(tag)
        if open_span and prefix not in "BSU" and spans[-1].type == kind:
            spans[-1] = Span(spans[-1].start, index + 1, kind)
        else:
            spans.append(Span(index, index + 1, kind))
        open_span = prefix not in _ALONE + _LAST
    return spans


def write_spans(spans: Iterable[tuple[int, int, str]], length: int, scheme: str = "IOB2") -> list[str]:
    """Return the tags of a sentence.

    Args:
        spans: (start, end, type) of entities that do not overlap, in order.
        length: how many words the sentence has.
        scheme: a key of `SCHEMES`.

    Raises:
        ConfigError: if the scheme is unknown.
    """
    prefixes = _scheme(scheme)
    tags = [OUTSIDE] * length
    before: tuple[int, str] | None = None  # where the last entity ends, and its type
    for start, end, kind in spans:
        letters = [prefixes.first, *[prefixes.inside] * (end - start - 2), prefixes.last]
        if end - start == 1:
            letters = [prefixes.only]
        if before == (start, kind) and letters[0] == prefixes.first:
            letters[0] = prefixes.touching
        tags[start:end] = [f"{letter}-{kind}" for letter in letters]
        before = (end, kind)
    return tags


def _scheme(name: str) -> Scheme:
    if name not in SCHEMES:
        raise ConfigError(f"The tag scheme '{name}' is unknown. {suggestion(name, SCHEMES)}")
    return SCHEMES[name]


def _parse(tag: str) -> tuple[str, str]:
    match = _TAG.fullmatch(tag) if isinstance(tag, str) else None
    if match is None:
        raise LabelError(f"{malformed([tag])}.")
    return match.group(1), match.group(2)
