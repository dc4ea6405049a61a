"""Which tests does a file declare: what is asked, what is changed, and what is expected?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from reasoner.behaviour.located_yaml import Located, Place
from reasoner.behaviour.templates import filled, fillings, list_of, slots_of
from reasoner.edits.catalog import EDITS
from reasoner.errors import Problem, near_name, raise_if_any, suggestion

FUNCTIONALITY, INVARIANCE, DIRECTION = "minimum functionality", "invariance", "direction"
KINDS = {"mft": FUNCTIONALITY, "inv": INVARIANCE, "dir": DIRECTION}
KINDS |= {kind: kind for kind in KINDS.values()}
"""What a test may be called, and what it is: the three of CheckList, by name or by the paper's letters."""
KEYS = ("name", "type", "capability", "input", "changed", "edits", "expect", "samples")
PROBABILITIES = ("lower", "higher", "not lower", "not higher")
SAMPLES = 100
"""Cases of a test that names no number."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a direction test expects of the probability of a label after the change."""

    label: str
    probability: str
    """One of `PROBABILITIES`."""
    by: float = 0.0
    """It must fall or rise by more than this; or may fall or rise by no more."""

    def holds(self, before: float, after: float) -> bool:
        """Return whether two probabilities are as expected."""
        rise = after - before
        return {
            "lower": -rise > self.by,
            "higher": rise > self.by,
            "not lower": -rise <= self.by,
            "not higher": rise <= self.by,
        }[self.probability]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A test, its slots filled."""

    name: str
    kind: str
    capability: str
    where: str
    """File and line."""
    inputs: tuple[Any, ...]
    """As `predict` takes them."""
    changed: tuple[Any, ...] = ()
    """What each becomes; empty: edits change it."""
    edits: tuple[str, ...] = ()
    said: tuple[tuple[str, ...], ...] = ()
    """What is expected of each input, in a test of minimum functionality."""
    expected: Expected | None = None
    """In a direction test."""


def read_tests(path: str | Path, *, seed: int = 0) -> list[Declared]:
    """Read a file of tests.

    Args:
        path: of the YAML file.
        seed: of the cases that are drawn where a test has more than its `samples`.

    Raises:
        ConfigError: if it cannot be read.
        DataError: with all that is wrong, each with its line.
    """
    file = Located(path)
    reader = _Reader(file)
    tests = reader.tests(seed)
    raise_if_any(reader.problems)
    return tests


class _Reader:
    """Reads values, and collects what is wrong with them."""

    def __init__(self, file: Located) -> None:
        self.file, self.problems = file, list[Problem]()
        self.lists: dict[str, list[str]] = {}

    def wrong(self, place: Place, what: str, remedy: str) -> None:
        self.problems.append(Problem(self.file.where(*place), what, remedy))

    def tests(self, seed: int) -> list[Declared]:
        values = self.file.values
        if not isinstance(values, Mapping) or not isinstance(values.get("tests"), list) or not values["tests"]:
            self.wrong(("tests",), "there is no list of tests", "Give tests: a list, each with name, type and input.")
            return []
        for name in values:
            if name not in ("slots", "tests"):
                self.wrong((str(name),), f"'{name}' is unknown", suggestion(name, ("slots", "tests")))
        self._read_lists(values.get("slots") or {})
        found = [test for number, one in enumerate(values["tests"]) if (test := self._test(one, number, seed))]
        names = [test.name for test in found]
        for number, name in enumerate(names):
            if name in names[:number]:
                self.problems.append(Problem(found[number].where, f"'{name}' is the name of two tests", "Rename one."))
        return found

    def _read_lists(self, slots: Any) -> None:
        if not isinstance(slots, Mapping):
            self.wrong(("slots",), "slots are no names with lists", "Give a list of words for each name.")
            return
        for name, given in slots.items():
            place = ("slots", str(name))
            if not str(name).isidentifier():
                self.wrong(place, f"'{name}' cannot be a slot's name", "Use letters, digits and _.")
            if not isinstance(given, list) or not given:
                self.wrong(place, f"the slot '{name}' has no list of words", "Give at least one.")
                continue
            words = [self._text(word, (*place, number)) for number, word in enumerate(given)]
            self.lists[str(name)] = list(dict.fromkeys(words))

    def _text(self, value: Any, place: Place) -> str:
        """Return a text, or a number as one; what YAML takes for something else is said."""
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        self.wrong(place, f"{value!r:.40} is no text", "Put it in quotes.")
        return ""

    def _test(self, values: Any, number: int, seed: int) -> Declared | None:
        place, before = ("tests", number), len(self.problems)
        if not isinstance(values, Mapping):
            self.wrong(place, "a test is no mapping", "Give it name, type and input.")
            return None
        for key in values:
            if key not in KEYS:
                self.wrong((*place, str(key)), f"'{key}' is unknown", suggestion(key, KEYS))
        for key in ("name", "type", "input"):
            if values.get(key) in (None, "", []):
                self.wrong(place, f"the test has no {key}", f"Give it {key}:.")
        kind = KINDS.get(str(values.get("type")).casefold(), "")
        if values.get("type") and not kind:
            self.wrong((*place, "type"), f"the type '{values['type']}' is unknown", suggestion(values["type"], KINDS))
        samples = values.get("samples", SAMPLES)
        if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
            self.wrong((*place, "samples"), f"samples is {samples!r}", "Give a whole number of at least 1.")
        self._check_parts(values, kind, place)
        if len(self.problems) > before:
            return None
        return self._made(values, kind, place, int(samples), Random(f"{seed} {values['name']}"))

    def _check_parts(self, values: Mapping[str, Any], kind: str, place: Place) -> None:
        """Refuse what a test of this kind cannot have, or must have and has not."""
        has = {key: values.get(key) is not None for key in ("changed", "edits", "expect")}
        if kind == FUNCTIONALITY:
            for key in ("changed", "edits"):
                if has[key]:
                    self.wrong((*place, key), f"a test of minimum functionality has no {key}", "Leave it out.")
            if not has["expect"]:
                self.wrong(place, "the test has no expect", "Say what the model must say: expect: a label, or a list.")
        elif kind == INVARIANCE:
            if has["changed"] == has["edits"]:
                self.wrong(place, "an invariance test needs changed or edits, one of them", "Say what is changed.")
            if has["expect"]:
                self.wrong((*place, "expect"), "an invariance test expects that nothing changes", "Leave expect out.")
        elif kind == DIRECTION:
            if has["edits"]:
                self.wrong((*place, "edits"), "a direction test has no edits", "Give changed: instead.")
            if not has["changed"]:
                self.wrong(place, "a direction test needs changed", "Say what the input becomes.")
            self._check_expected(values.get("expect"), place)
        for name in self._listed(values.get("edits")):
            known = [edit.name for edit in EDITS]
            if name not in known:
                self.wrong((*place, "edits"), f"there is no edit '{name}'", suggestion(name, known))

    def _check_expected(self, expected: Any, place: Place) -> None:
        where, remedy = (*place, "expect"), "Give expect: {label: ..., probability: lower}."
        if not isinstance(expected, Mapping) or not isinstance(expected.get("label"), str):
            self.wrong(where, "a direction test expects something of a label's probability", remedy)
            return
        for key in expected:
            if key not in ("label", "probability", "by"):
                self.wrong((*where, str(key)), f"'{key}' is unknown", near_name(key, ("label", "probability", "by")))
        if expected.get("probability") not in PROBABILITIES:
            self.wrong(where, f"probability is {expected.get('probability')!r}", suggestion("", PROBABILITIES))
        by = expected.get("by", 0.0)
        if not isinstance(by, (int, float)) or isinstance(by, bool) or not 0 <= by < 1:
            self.wrong((*where, "by"), f"by is {by!r}", "Give a number from 0 up to, but not, 1.")

    @staticmethod
    def _listed(value: Any) -> list[Any]:
        return [] if value is None else value if isinstance(value, list) else [value]

    def _made(
        self, values: Mapping[str, Any], kind: str, place: Place, samples: int, random: Random
    ) -> Declared | None:
        """Fill the slots of a test."""
        before = len(self.problems)
        inputs = [self._template(one, (*place, "input")) for one in self._listed(values["input"])]
        changed = [self._template(one, (*place, "changed")) for one in self._listed(values.get("changed"))]
        said = [self._text(one, (*place, "expect")) for one in self._listed(values["expect"])] \
            if kind == FUNCTIONALITY else []  # fmt: skip
        if changed and len(changed) != len(inputs):
            self.wrong(
                (*place, "changed"), f"there are {len(inputs)} inputs, and {len(changed)} changed", "Give as many."
            )
        if len(self.problems) > before:
            return None
        cases: list[tuple[Any, Any, tuple[str, ...]]] = []
        for number, template in enumerate(inputs):
            other = changed[number] if changed else None
            whole = [template, *([] if other is None else [other]), *said]
            slots = self._slots(whole, place)
            if slots is None:
                return None
            share = samples // len(inputs) + (number < samples % len(inputs))
            for filling in fillings(slots, self.lists, most=max(1, share), random=random):
                after = None if other is None else filled(other, filling)
                cases.append((filled(template, filling), after, tuple(filled(text, filling) for text in said)))
        expected = Expected(**values["expect"]) if kind == DIRECTION else None
        return Declared(
            name=str(values["name"]),
            kind=kind,
            capability=str(values.get("capability") or ""),
            where=self.file.where(*place),
            inputs=tuple(case[0] for case in cases),
            changed=tuple(case[1] for case in cases) if changed else (),
            edits=tuple(self._listed(values.get("edits"))),
            said=tuple(case[2] for case in cases) if kind == FUNCTIONALITY else (),
            expected=expected,
        )

    def _template(self, value: Any, place: Place) -> Any:
        """Return a text, or texts by name, one of which may be a list."""
        if isinstance(value, Mapping):
            return {
                str(name): [self._text(one, (*place, str(name))) for one in part]
                if isinstance(part, list)
                else self._text(part, (*place, str(name)))
                for name, part in value.items()
            }
        return self._text(value, place)

    def _slots(self, templates: Sequence[Any], place: Place) -> list[str] | None:
        """Return the slots of a case's texts; None: they cannot be filled, which is a problem."""
        try:
            slots = slots_of(templates)
        except ValueError as error:
            self.wrong(place, f"braces hold no slot ({error})", "Write {name}; {{ and }} are braces.")
            return None
        unknown = [slot for slot in slots if list_of(slot, self.lists) not in self.lists]
        for slot in unknown:
            self.wrong(place, f"there is no slot '{slot}'", suggestion(slot, self.lists))
        few = [name for name, words in self.lists.items()
               if sum(list_of(slot, self.lists) == name for slot in slots) > len(words)]  # fmt: skip
        for name in few:
            self.wrong(place, f"more slots draw from '{name}' than it has different words", "Add words.")
        return None if unknown or few else slots
