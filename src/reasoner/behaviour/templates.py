"""How do templates become inputs: which slots do they have, and which values go into them?"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, permutations, product
from math import perm, prod
from random import Random
from typing import Any

Values = Mapping[str, str]
"""What goes into each slot."""


def slots_of(template: Any) -> list[str]:
    """Return the names of the slots in a text, or in all texts of a mapping or list, each once.

    Raises:
        ValueError: if a text has braces that are no slot, such as "{" or "{a.b}".
    """
    found: dict[str, None] = {}
    for text in _texts(template):
        for _, name, form, conversion in string.Formatter().parse(text):
            if name is None:
                continue
            if not name.isidentifier() or form or conversion:
                raise ValueError(f"'{{{name}}}' is no slot")
            found[name] = None
    return list(found)


def filled(template: Any, values: Values) -> Any:
    """Return the template with values in its slots."""
    if isinstance(template, str):
        return template.format(**values)
    if isinstance(template, Mapping):
        return {name: filled(part, values) for name, part in template.items()}
    return [filled(part, values) for part in template]


def list_of(slot: str, lists: Mapping[str, Sequence[str]]) -> str:
    """Return which list a slot draws from: "person2" from "person", unless there is one of that very name."""
    return slot if slot in lists else slot.rstrip(string.digits)


def fillings(slots: Sequence[str], lists: Mapping[str, Sequence[str]], *, most: int, random: Random) -> list[Values]:
    """Return ways to fill slots: all of them, or so many that are drawn. Slots of one list get different values.

    Args:
        slots: their names.
        lists: values by name; each has at least as many as there are slots that draw from it.
        most: how many ways.
        random: draws.
    """
    groups: dict[str, list[str]] = {}
    for slot in slots:
        groups.setdefault(list_of(slot, lists), []).append(slot)
    names = list(chain.from_iterable(groups.values()))
    number = prod(perm(len(lists[name]), len(group)) for name, group in groups.items())
    if number <= most:
        ways = product(*(permutations(lists[name], len(group)) for name, group in groups.items()))
        return [dict(zip(names, chain.from_iterable(way), strict=True)) for way in ways]
    drawn: dict[tuple[str, ...], None] = {}
    while len(drawn) < most:
        values = [random.sample(lists[name], len(group)) for name, group in groups.items()]
        drawn[tuple(chain.from_iterable(values))] = None
    return [dict(zip(names, way, strict=True)) for way in drawn]


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    else:
        for part in template.values() if isinstance(template, Mapping) else template:
            yield from _texts(part)
