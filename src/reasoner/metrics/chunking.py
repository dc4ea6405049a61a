"""Which spans do the tags of a sentence mark?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from reasoner.errors import ConfigError, DataError, Problem, raise_if_any, suggestion

MODES = ("default", "strict")


class Span(NamedTuple):
    """An entity: its type and the words that it covers."""

    type: str
    start: int
    """Index of the first word."""
    end: int
    """Index after the last word."""


class _Rules(NamedTuple):
    """A strict scheme as rules on two neighbouring tags.

    A rule is the previous tag's prefix, the current tag's prefix (`.`: any), and what must hold of their types:
    `=` they are equal, `!` they differ, nothing: no matter.
    """

    start: str
    """The current tag starts an entity."""
    inside: str
    """The current tag continues the entity of the previous one."""
    end: str
    """The previous tag ended its entity; an entity that does not end by such a rule is ill-formed and not counted."""
    prefixes: str
    """The prefixes that the scheme has."""


_SCHEMES = {
    "IOB1": _Rules("OI BI II! IB= BB=", "BI= II=", "BO IO IB BI! II! BB=", "IOB"),
    "IOB2": _Rules(".B", "BI= II=", "BO IO BB IB BI! II!", "IOB"),
    "IOE1": _Rules("OI EI II! EE=", "II= IE=", "IO II! IE! EI= EE=", "IOE"),
    "IOE2": _Rules("OI OE EI EE II! IE!", "II= IE=", "E.", "IOE"),
    "IOBES": _Rules(".B .S", "BI= BE= II= IE=", "E. S.", "IOBES"),
    "BILOU": _Rules(".B .U", "BI= BL= II= IL=", "L. U.", "BILOU"),
}
_ALIASES = {"BIO": "IOB2", "BIOES": "IOBES"}


def spans(tags: Sequence[str], *, mode: str = "default", scheme: str | None = None) -> list[Span]:
    """Return the entities of one sentence, in order.

    Both modes follow seqeval 1.2.2 (https://github.com/chakki-works/seqeval), ill-formed tags included.

    Args:
        tags: one tag for each word, such as `["B-PER", "I-PER", "O"]`.
        mode: `"default"`: as conlleval does, every run of tags of one type is an entity, well-formed or not;
            `"strict"`: only what the scheme allows is an entity.
        scheme: for `"strict"`: IOB1, IOB2 (BIO), IOE1, IOE2, IOBES (BIOES) or BILOU; None: found from the tags.

    Raises:
        DataError: if a tag is not a string, is empty or has a prefix that the scheme lacks; if no scheme can be found.
        ConfigError: if `mode` or `scheme` is unknown, or a scheme is given without `mode="strict"`.
    """
    check_mode(mode, scheme)
    if mode == "default":
        raise_if_any(tag_problems(tags, where="tags"))
        return default_spans(tags)
    scheme = resolve_scheme(scheme, [tags])
    raise_if_any(tag_problems(tags, where="tags", scheme=scheme))
    return strict_spans(tags, scheme)


def check_mode(mode: str, scheme: str | None) -> None:
    """Refuse an unknown mode, and a scheme that the mode would ignore."""
    if mode not in MODES:
        raise ConfigError(f"mode {mode!r} is not known. {suggestion(mode, MODES)}")
    if mode == "default" and scheme is not None:
        raise ConfigError(f"scheme={scheme!r} has no effect in mode 'default'. Leave it out, or set mode='strict'.")


def resolve_scheme(scheme: str | None, sentences: Iterable[Sequence[str]]) -> str:
    """Return the scheme's name in `_SCHEMES`; None: the one that the prefixes in `sentences` point to.

    The prefixes that point to a scheme are those of seqeval's `auto_detect`: IOB1 and IOE1 are never found.
    """
    if scheme is not None:
        name = _ALIASES.get(scheme.upper(), scheme.upper())
        if name not in _SCHEMES:
            raise ConfigError(f"scheme {scheme!r} is not known. {suggestion(scheme, [*_SCHEMES, *_ALIASES])}")
        return name
    prefixes = {tag[:1] for tags in sentences for tag in tags if isinstance(tag, str) and tag}
    for name, required, alone in (("IOB2", "B", "B"), ("IOE2", "E", "E"), ("IOBES", "BE", "S"), ("BILOU", "BL", "U")):
        if prefixes == {alone} or set(required) <= prefixes <= set(_SCHEMES[name].prefixes):
            return name
    raise DataError(
        f"the scheme cannot be told from the prefixes of the tags: {', '.join(sorted(prefixes)) or 'none'}. "
        f"Pass scheme=, one of {', '.join(_SCHEMES)}."
    )


def tag_problems(tags: Sequence[str], *, where: str, scheme: str | None = None) -> Iterator[Problem]:
    """Yield a problem for each tag that cannot be read, or that has a prefix which `scheme` lacks."""
    for position, tag in enumerate(tags, start=1):
        if not isinstance(tag, str) or not tag:
            remedy = 'Give every word a tag such as "B-PER" or "O".'
            yield Problem(where, f"tag {position} is {tag!r}", remedy, about_labels=True)
        elif scheme and tag[0] not in _SCHEMES[scheme].prefixes:
            prefixes = ", ".join(_SCHEMES[scheme].prefixes)
            remedy = f"{scheme} has the prefixes {prefixes}: give another scheme, or mode='default'."
            yield Problem(where, f"tag {position} is {tag!r}", remedy, about_labels=True)


def default_spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities as conlleval and seqeval's default mode read them; the tags must have been checked."""
    found: list[Span] = []
    start, previous, previous_type = 0, "O", ""
    for position, tag in enumerate([*tags, "O"]):
        prefix, (head, dash, tail) = tag[0], tag[1:].partition("-")
        type_ = (tail if dash else head) or "_"
        other_type = type_ != previous_type
        ended = previous in "ES" or (previous in "BI" and prefix in "BSO") or (previous not in "O." and other_type)
        started = prefix in "BS" or (previous in "ESO" and prefix in "EI") or (prefix not in "O." and other_type)
        if ended:
            found.append(Span(previous_type, start, position))
        if started:
            start = position
        previous, previous_type = prefix, type_
    return found


def strict_spans(tags: Sequence[str], scheme: str) -> list[Span]:
    """Return the well-formed entities under a scheme of `_SCHEMES`; the tags must have been checked against it."""
    rules = _SCHEMES[scheme]
    marks = [(tag[0], tag[1:].strip("-") or "_") for tag in [*tags, "O"]]
    found: list[Span] = []
    previous, position = ("O", "_"), 0
    while position < len(marks):
        start, position = position, position + 1
        if _holds(rules.start, previous, marks[start]):
            while _holds(rules.inside, marks[position - 1], marks[position]):
                position += 1
            if _holds(rules.end, marks[position - 1], marks[position]):
                found.append(Span(marks[start][1], start, position))
        previous = marks[position - 1]
    return found


def _holds(rules: str, previous: tuple[str, str], current: tuple[str, str]) -> bool:
    return _prefixes_hold(rules, previous[0], current[0], previous[1] == current[1])


@cache
def _prefixes_hold(rules: str, previous: str, current: str, same_type: bool) -> bool:
    conditions = ("", "=" if same_type else "!")
    return any(
        rule[0] in (".", previous) and rule[1] in (".", current) and rule[2:] in conditions for rule in rules.split()
    )
