"""Which small changes of a row change what is right in a way that is certain: to what, and where do they apply?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from reasoner.data.edited import Edited, Replacement
from reasoner.data.labels import meaning
from reasoner.data.streams import StreamedRows
from reasoner.edits import words
from reasoner.errors import ConfigError, suggestion
from reasoner.notices import say
from reasoner.tasks.base import Task
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering

if TYPE_CHECKING:
    from reasoner.training.config import TrainingConfig

_AUXILIARIES = """am is are was were isn't aren't wasn't weren't has have had does do did can could will would may might
    must shall should"""
FINITE = frozenset(_AUXILIARIES.split())
"""A sentence with one of these can be denied as a whole; one without may be no sentence ("a man outside")."""
_DETERMINERS = """the a an some all every each no many most several two three four there it this that these those he she
    they we you his her their its our your my"""
FIRST_WORDS = frozenset(_DETERMINERS.split())
"""Words that lose their capital behind others; any other may be a name."""
OPPOSITE = {"entailment": "contradiction", "contradiction": "entailment", "neutral": "neutral"}
"""What holds between a premise and the denial of a hypothesis."""


@dataclass(frozen=True)
class ContrastEdit:
    """A small change after which something else is right, and it is certain what.

    `make` gets the task, an example with gold and a source of random numbers; it returns the example as it is after
    the change, with its new gold, or None where it does not apply or the new gold is not certain.
    """

    name: str
    what: str
    """What is done, in a few words."""
    make: Callable[[Any, Any, Random], Any]


def denied(task: NLI, example: Any, random: Random) -> Any:
    """Put "It is not true that" before the hypothesis: what was entailed is contradicted, and the other way round.

    What is neutral stays so, and is left out; of two labels only "entailment" has an opposite that is certain.
    """
    text = example.hypothesis.strip()
    sentence = text.endswith((".", "!")) or text[-1:].isalnum()
    if not sentence or not FINITE.intersection(re.findall(r"[\w']+", text.casefold())) or "?" in text:
        return None
    gold = meaning(task.gold_names(example)[0])
    known = {meaning(label): label for label in task.labels}
    label = known.get(
        "not_entailment" if gold == "entailment" and "not_entailment" in known else OPPOSITE.get(gold, "")
    )
    if label is None or meaning(label) == gold:
        return None
    first = text.split()[0]
    rest = text[0].lower() + text[1:] if first.casefold() in FIRST_WORDS else text
    return replace(example, hypothesis=f"It is not true that {rest}", label=label)


def another_answer(other: Callable[[str, Random], str | None]) -> Callable[[Any, Any, Random], Any]:
    """Return `make` that puts another answer into the context of a question: that is then right.

    It applies where the gold has one form, which stands once in the context and not in the question.

    Args:
        other: gives something else of the same kind for an answer, or None if the answer is of no such kind.
    """

    def make(task: QuestionAnswering, example: Any, random: Random) -> Any:
        texts = {text for text, _ in example.answers or ()}
        if len(texts) != 1:
            return None
        (text,) = texts
        found = [
            match.start() for match in re.finditer(rf"(?<![\w.,]){re.escape(text)}(?![\w]|[.,]\d)", example.context)
        ]
        new = other(text, random)
        if new is None or len(found) != 1 or example.context.count(text) != 1 or text in example.question:
            return None
        if new in example.context or new in example.question:
            return None
        edited = Edited.of(example.context, [Replacement(found[0], found[0] + len(text), new)])
        return task.with_texts(example, {"context": edited})

    return make


def _another_number(text: str, random: Random) -> str | None:
    """Return another number with as many digits."""
    if not re.fullmatch(r"\d{1,6}", text):
        return None
    least = 10 ** (len(text) - 1) if len(text) > 1 else 2
    if len(text) == 4:  # a year stays one
        return str(random.choice([year for year in range(int(text) - 30, int(text)) if year >= 1000] or [1000]))
    return str(random.choice([number for number in range(least, least * 10 if len(text) > 1 else 10)
                              if number != int(text)]))  # fmt: skip


def _another_of(known: Sequence[str]) -> Callable[[str, Random], str | None]:
    def other(text: str, random: Random) -> str | None:
        return random.choice([name for name in known if name != text]) if text in known else None

    return other


CONTRASTS: dict[type[Any], tuple[ContrastEdit, ...]] = {
    NLI: (ContrastEdit("negation", 'the hypothesis is denied: "It is not true that ..."', denied),),
    QuestionAnswering: (
        ContrastEdit("number", "another number stands where the answer stood", another_answer(_another_number)),
        ContrastEdit(
            "name", "another given name stands where it stood", another_answer(_another_of(words.FIRST_NAMES))
        ),
        ContrastEdit("place", "another place stands where it stood", another_answer(_another_of(words.PLACES))),
    ),
}
"""By task. For others nobody can say what is right after a change but who knows the labels: give your own."""


def contrasts_of(task: Task[Any, Any], edits: Iterable[str | ContrastEdit] | None) -> tuple[ContrastEdit, ...]:
    """Return the edits that a person named or made; None: all that the task has.

    Raises:
        ConfigError: if the task has none, or a name is unknown or there twice.
    """
    own = next((found for kind, found in CONTRASTS.items() if isinstance(task, kind)), ())
    known = {edit.name: edit for edit in own}
    if edits is None and not own:
        raise ConfigError(f"contrast: for {type(task).__name__} no change is known after which it is certain what is "
                          "right. Give edits of your own (ContrastEdit), or rows in sets.")  # fmt: skip
    found = []
    for edit in own if edits is None else edits:
        if isinstance(edit, str) and edit not in known:
            raise ConfigError(f"contrast: there is no edit '{edit}' here. {suggestion(edit, known)}")
        found.append(known[edit] if isinstance(edit, str) else edit)
    names = [edit.name for edit in found]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"contrast: give at least one edit, and each name once, not {', '.join(names) or 'none'}.")
    return tuple(found)


def with_counterfactuals(
    task: Task[Any, Any], examples: Mapping[str, Sequence[Any]], config: TrainingConfig
) -> Mapping[str, Sequence[Any]]:
    """Return the splits, the training rows followed by what the task's changes make of them, with its new gold.

    So a row and its counterpart, which differ in little, are learned with different labels (Kaushik et al., 2020,
    https://arxiv.org/abs/1909.12434). Of each row each change that applies is made once.

    Raises:
        ConfigError: if the task has no such change, or the training rows are a stream.
    """
    if not config.counterfactuals:
        return examples
    rows = examples["train"]
    own = next((found for kind, found in CONTRASTS.items() if isinstance(task, kind)), ())
    if not own or isinstance(rows, StreamedRows):
        why = "train is a stream" if own else f"for {type(task).__name__} no change is known with a certain new label"
        raise ConfigError(f"counterfactuals: {why}. Leave it out, or give such rows in train.")
    made = [
        changed
        for edit in own
        for number, row in enumerate(rows)
        if (changed := edit.make(task, row, Random(f"{config.seed} {edit.name} {number}"))) is not None
    ]
    say(f"counterfactuals: {len(made)} changed rows with their new labels are learned beside the {len(rows)} given.")
    return {**examples, "train": [*rows, *made]}
