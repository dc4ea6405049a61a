"""Which small changes leave a row's label as it is: what is replaced in its texts, one function a kind of change?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from reasoner.data.edited import Mention, Replacement
from reasoner.edits import words
from reasoner.errors import ConfigError, suggestion

TYPED_WORDS = 0.1
"""Share of the words that get a typing error, and at least one of them."""
LEAST_LETTERS = 4
"""Words with fewer letters get no typing error: too many of them would be other words."""


@dataclass(frozen=True)
class Editable:
    """The texts of a row that may be changed."""

    texts: Mapping[str, str]
    """By name, such as "premise"."""
    mentions: Mapping[str, Sequence[Mention]]
    """What is gold in them: entities with their types, answers without. Most edits leave it alone."""
    others: Mapping[str, Sequence[str]]
    """By type, what entities of it are called in the other rows, each once."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Further texts, such as choices, where names are swapped in step and nothing else is done."""

    def touches(self, name: str, start: int, end: int) -> bool:
        """Return whether characters of a text are part of something gold."""
        return any(mention.start < end and start < mention.end for mention in self.mentions.get(name, ()))


Replacements = Mapping[str, Sequence[Replacement]]


@dataclass(frozen=True)
class Edit:
    """A kind of change: `make` returns what is replaced in each text of a row; nothing, where it does not apply."""

    name: str
    what: str
    """What is done, in a few words."""
    make: Callable[[Editable, Random], Replacements]


def on_each(change: Callable[[str, Editable, str, Random], Iterator[Replacement]]) -> Callable[..., Replacements]:
    """Return `make` for a change of one text at a time; of its replacements those that touch nothing gold are kept."""

    def make(row: Editable, random: Random) -> Replacements:
        return {
            name: [piece for piece in change(text, row, name, random) if not row.touches(name, piece.start, piece.end)]
            for name, text in row.texts.items()
        }

    return make


# --- how it is written -----------------------------------------------------------------------------------------------


def typing_errors(row: Editable, random: Random) -> Replacements:
    """Swap, drop or double a letter inside a tenth of the longer words, and of one at least."""
    places = [
        (name, match.start(), match.end())
        for name, text in row.texts.items()
        for match in re.finditer(r"[^\W\d_]+", text)
        if len(match[0]) >= LEAST_LETTERS and not row.touches(name, *match.span())
    ]
    found: dict[str, list[Replacement]] = {name: [] for name in row.texts}
    for name, start, end in random.sample(places, min(len(places), max(1, round(TYPED_WORDS * len(places))))):
        text, place = row.texts[name], random.randrange(start + 1, end - 2)
        pair = text[place : place + 2]
        wrong = random.choice(
            [pair[::-1], pair[0], pair[0] + pair] if pair[0] != pair[1] else [pair[0], pair[0] + pair]
        )
        found[name].append(Replacement(place, place + 2, wrong))
    return found


def _case(turn: Callable[[str], str]) -> Callable[[Editable, Random], Replacements]:
    def make(row: Editable, random: Random) -> Replacements:
        return {
            name: [Replacement(n, n + 1, turn(letter)) for n, letter in enumerate(text) if turn(letter) != letter]
            for name, text in row.texts.items()
        }

    return make


def _end_mark(text: str, row: Editable, name: str, random: Random) -> Iterator[Replacement]:
    written = text.rstrip()
    if not written:
        return
    mark = re.search(r"\s*[.!?]$", written)
    yield Replacement(mark.start(), len(written), "") if mark else Replacement(len(written), len(written), ".")


def _contractions(text: str, row: Editable, name: str, random: Random) -> Iterator[Replacement]:
    """Contract two words, or write them out; the first word stays as it is: `do|n't`, `it|'s`; "it is not": once."""
    taken: set[int] = set()  # characters of the pairs that are contracted
    for pair, short in words.CONTRACTIONS.items():
        first, second = pair.split()
        rest = short[len(first) :]
        for match in re.finditer(rf"\b{first}( {second})\b(?!\s*n['\u2019]t\b)", text, re.IGNORECASE):
            if taken.isdisjoint(range(*match.span())):
                taken.update(range(*match.span()))
                yield Replacement(*match.span(1), rest)
        if rest != "'s":  # "it's" may be "it has"
            for match in re.finditer(rf"\b{first}({rest})\b".replace("'", "['\u2019]"), text, re.IGNORECASE):
                yield Replacement(*match.span(1), f" {second}")


def _spacing(text: str, row: Editable, name: str, random: Random) -> Iterator[Replacement]:
    gaps = [match.start() for match in re.finditer(r"(?<=\S) (?=\S)", text)]
    for place in sorted(random.sample(gaps, min(len(gaps), max(1, len(gaps) // 5)))):
        yield Replacement(place, place, random.choice([" ", "  "]))


def _numbers(text: str, row: Editable, name: str, random: Random) -> Iterator[Replacement]:
    """Write small numbers as words or digits, and put marks between thousands or take them out; years stay."""
    digits = {value: word for word, value in words.NUMBERS.items()}
    for match in re.finditer(r"(?<![\w.,:/$€£+-])(\d{1,3}(?:,\d{3})+|\d+)(?![\w%:/-]|[.,]\d)", text):
        written = match[1]
        if "," in written:
            yield Replacement(*match.span(1), written.replace(",", ""))
        elif len(written) > 4 and written[0] != "0":
            yield Replacement(*match.span(1), f"{int(written):,}")
        elif written in digits:
            yield Replacement(*match.span(1), digits[written])
    for match in re.finditer(rf"(?<![\w-])({'|'.join(words.NUMBERS)})(?![\w-])", text):
        yield Replacement(*match.span(1), words.NUMBERS[match[1]])


# --- who and where ---------------------------------------------------------------------------------------------------


def swapped(known: Sequence[str]) -> Callable[[Editable, Random], Replacements]:
    """Return `make` that puts other words for those of a list, the same one for the same one in all texts of a row.

    Answers and choices are changed in step. What has a type in the gold stays: see `entities`.
    """
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, known))})(?!\w)")

    def make(row: Editable, random: Random) -> Replacements:
        texts = {**row.texts, **row.beside}
        found = [(name, match) for name, text in texts.items() for match in pattern.finditer(text)]
        typed = {name: [mention for mention in of if mention.type] for name, of in row.mentions.items()}
        tagged = Editable(row.texts, typed, row.others)
        held = {match[1] for name, match in found if tagged.touches(name, *match.span())}
        others = _others([match[1] for _, match in found], known, random)
        pieces: dict[str, list[Replacement]] = {name: [] for name in texts}
        for name, match in found:
            if match[1] not in held and match[1] in others:
                pieces[name].append(Replacement(*match.span(), others[match[1]]))
        return pieces

    return make


def entities(row: Editable, random: Random) -> Replacements:
    """Put other entities of the same type, out of the other rows, for those of this one; nested ones stay."""
    pieces: dict[str, list[Replacement]] = {name: [] for name in row.texts}
    for name, mentions in row.mentions.items():
        text = row.texts[name]
        for type in dict.fromkeys(mention.type for mention in mentions if mention.type):
            surfaces = [text[mention.start : mention.end] for mention in mentions if mention.type == type]
            others = _others(surfaces, row.others.get(type, ()), random)
            for start, end, _ in (mention for mention in mentions if mention.type == type):
                alone = sum(other.start < end and start < other.end for other in mentions) == 1
                if alone and text[start:end] in others:
                    pieces[name].append(Replacement(start, end, others[text[start:end]]))
    return pieces


def _others(used: Sequence[str], known: Sequence[str], random: Random) -> dict[str, str]:
    """Return another word for each that is used, none of them used already; as many as there are."""
    unused = [word for word in known if word not in used]
    wanted = list(dict.fromkeys(used))
    return dict(zip(wanted, random.sample(unused, min(len(unused), len(wanted))), strict=False))


# --- what is put in --------------------------------------------------------------------------------------------------


def _distractor(row: Editable, random: Random) -> Replacements:
    longest = max(row.texts, key=lambda name: len(row.texts[name]))
    return {longest: [Replacement(0, 0, random.choice(words.DISTRACTORS) + " ")]}


def _aside(row: Editable, random: Random) -> Replacements:
    name = list(row.texts)[-1]
    written = row.texts[name].rstrip()
    if not written or written.endswith("?"):
        return {}
    mark = re.search(r"\s*[.!]?$", written)
    assert mark is not None
    place = len(written) if row.touches(name, mark.start(), len(written)) else mark.start()  # "Acme Inc.": its own mark
    return {name: [Replacement(place, place, " " + random.choice(words.ASIDES))]}


EDITS: tuple[Edit, ...] = (
    Edit("typing errors", "a letter of one longer word in ten is swapped, lost or doubled", typing_errors),
    Edit("small letters", "all letters are small", _case(str.lower)),
    Edit("capitals", "all letters are capitals", _case(str.upper)),
    Edit("end mark", "the last full stop, ! or ? goes, or a full stop comes", on_each(_end_mark)),
    Edit("contractions", "do not becomes don't, or don't do not", on_each(_contractions)),
    Edit("spacing", "some spaces become two or three", on_each(_spacing)),
    Edit("number format", "5 becomes five, or 10000 10,000, or the other way round", on_each(_numbers)),
    Edit("names", "other given names stand for those in the text", swapped(words.FIRST_NAMES)),
    Edit("places", "other cities and countries stand for those in the text", swapped(words.PLACES)),
    Edit("entities", "other entities of the same type, from other rows, stand for the labelled ones", entities),
    Edit("distractor", "a sentence that has to do with nothing stands first", _distractor),
    Edit("aside", "something is added to the last sentence that says nothing", _aside),
)
"""All that leave the label as it is."""


def chosen(edits: Sequence[str | Edit] | None) -> tuple[Edit, ...]:
    """Return the edits of these names, and those that are given themselves; None: all.

    Raises:
        ConfigError: if there is no edit of a name, or two have the same.
    """
    if edits is None:
        return EDITS
    known = {edit.name: edit for edit in EDITS}
    if unknown := [name for name in edits if isinstance(name, str) and name not in known]:
        raise ConfigError(f"edits: there is no '{unknown[0]}'. {suggestion(unknown[0], known)}")
    found = tuple(known[edit] if isinstance(edit, str) else edit for edit in edits)
    names = [edit.name for edit in found]
    if len(set(names)) < len(names) or not names:
        raise ConfigError(f"edits: give at least one, and each name once, not {', '.join(names) or 'none'}.")
    return found
