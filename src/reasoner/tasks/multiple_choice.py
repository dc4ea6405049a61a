"""Multiple choice: which of the choices, any number of them, answers the question?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from string import ascii_uppercase
from typing import Any, ClassVar, Self

from reasoner.data.edited import Edited
from reasoner.data.examples import Example, RowError, column, label_column, text_column
from reasoner.data.features import Feature
from reasoner.data.prompts import Asked
from reasoner.data.windows import tokenize
from reasoner.errors import DataError, Problem, raise_if_any
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.notices import count
from reasoner.tasks.base import PartialInput, Said, Splits
from reasoner.tasks.prompted import Prompted, scores_by_row, softmax


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceExample(Example):
    """A question, its choices, and the index of the right one."""

    aliases = {
        "question": ("query", "startphrase"),
        "choices": ("endings", "options"),
        "context": ("passage", "article"),
        "label": ("answerKey", "answer", "gold"),
    }

    inputs = {"question": "text", "choices": "choices", "context": "text?"}

    question: str
    choices: tuple[str, ...]
    context: str | None = None
    """What the question is about; read before it."""
    label: int | None = None
    """0-based index of the right choice; in files also its letter or its text. None at prediction."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; the nested forms of CommonsenseQA and ARC are understood."""
        nested = columns.get("question")
        if isinstance(nested, Mapping):
            columns = {**columns, **nested, "question": nested.get("stem")}
        choices, names = _choices(column(columns, "choices", cls))
        return cls(
            question=text_column(columns, "question", cls),
            choices=choices,
            context=text_column(columns, "context", cls, default=None),
            label=_index(label_column(columns, cls), choices, names),
            where=where,
        )

    @property
    def texts(self) -> dict[str, str]:
        """Context, question, and the choices, one a line."""
        context = {} if self.context is None else {"context": self.context}
        return {**context, "question": self.question, "choices": "\n".join(self.choices)}

    @property
    def named_texts(self) -> dict[str, str]:
        """Context and question, and each choice: who is called otherwise there is so in the choices too."""
        return {**self.open_texts, **{_choice(number): text for number, text in enumerate(self.choices)}}

    @property
    def group(self) -> tuple[str, str]:
        """The same question must not stand on both sides of a split."""
        return (self.context or "").casefold(), self.question.casefold()

    @property
    def stratum(self) -> int | None:
        """Splits keep the positions of the right choice in proportion."""
        return self.label


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(Prompted[MultipleChoiceExample, dict[str, Any]]):
    """A softmax over the choices of each question; rows may differ in their number of choices.

    With the heads of `Prompted` a model is asked by a prompt, and what scores is the text of each choice.
    """

    Example = MultipleChoiceExample
    default_head = "multiple_choice"
    keep_together = True
    answer_keys = ("choice", "answer")
    prompt_names = ("context", "question")
    answer_name = "choice"
    usual_templates: ClassVar[Mapping[str, str]] = {
        "likelihood": "{context}\nQuestion: {question}\nAnswer:",
        "entailment": "{choice}",
        "similarity": "{choice}",
        "cloze": "{context}\n{question}\n{mask}",
    }

    @classmethod
    def from_examples(cls, splits: Splits[MultipleChoiceExample], **settings: Any) -> Self:
        """Make the task.

        Raises:
            ConfigError: if the prompt cannot be used.
            DataError: if it is there, and a choice is empty.
        """
        task = cls(**settings).with_checked_prompt(())
        raise_if_any(problem for examples in splits.values() for problem in task.problems(examples))
        return task

    def problems(self, examples: Sequence[MultipleChoiceExample]) -> list[Problem]:
        """Return the empty choices, where what they say is scored."""
        return [
            Problem(example.where, f"choice {number} is empty", "Give it a text.")
            for example in examples
            for number, choice in enumerate(example.choices, start=1)
            if self.asks and not choice.strip()
        ]

    def usual_words(self) -> dict[str, str]:
        """Return none: choices are texts."""
        return {}

    def asked(self, example: MultipleChoiceExample) -> Asked:
        """Return the row as the model is asked."""
        texts = {"context": example.context or "", "question": example.question}
        return Asked(texts, example.choices, example.label, example.where)

    def head_arguments(self) -> dict[str, Any]:
        """Return what a head needs of the prompt."""
        return self.prompt_arguments() if self.asks else {}

    @property
    def primary_metric(self) -> str:
        """Accuracy, as the field reports it."""
        return "accuracy"

    def example_from_input(self, value: Any) -> MultipleChoiceExample:
        """Accept `{"question", "choices"}` with or without `"context"`."""
        if isinstance(value, Mapping) and isinstance(value.get("question"), str):
            try:
                choices, _ = _choices(value.get("choices"))
                context = text_column(value, "context", MultipleChoiceExample, default=None)
            except RowError as error:
                raise DataError(f"{error.what}. {error.remedy}") from None
            return MultipleChoiceExample(question=value["question"], choices=choices, context=context)
        raise DataError(f"multiple_choice predicts for {{'question': ..., 'choices': [...]}}, not for {value!r:.60}.")

    def encode(
        self, examples: Sequence[MultipleChoiceExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return one feature a choice; of what is too long, the longer side is cut, and the number said."""
        if self.asks:
            return self.prompt_features(examples, tokenizer, max_length)
        firsts = [" ".join(filter(None, (e.context, e.question))) for e in examples for _ in e.choices]
        seconds = [choice for example in examples for choice in example.choices]
        windows, cut = tokenize(tokenizer, firsts, seconds, max_length=max_length)
        if cut:
            count(f"{{n}} choices are longer than max_length={max_length} tokens; the longer side was cut.", cut)
        remaining = iter(windows)
        features = []
        for example in examples:
            group = []
            for index in range(len(example.choices)):
                targets = {} if example.label is None else {"labels": float(index == example.label)}
                group.append(Feature(next(remaining).inputs, targets))
            features.append(group)
        return features

    def decode(
        self,
        records: Sequence[float],
        features: Sequence[Sequence[Feature]],
        examples: Sequence[MultipleChoiceExample],
    ) -> list[dict[str, Any]]:
        """Return `{"choice", "answer", "scores"}`: index, text, and a probability for each choice."""
        predictions = []
        for example, logits in zip(examples, scores_by_row(records, features), strict=True):
            scores = softmax(logits)
            choice = max(range(len(logits)), key=logits.__getitem__)
            predictions.append({"choice": choice, "answer": example.choices[choice], "scores": scores})
        return predictions

    def score(self, predictions: Sequence[dict[str, Any]], examples: Sequence[MultipleChoiceExample]) -> dict[str, Any]:
        """Return the accuracy, and what choosing at random would give."""
        right = sum(p["choice"] == example.label for p, example in zip(predictions, examples, strict=True))
        chance = sum(1 / len(example.choices) for example in examples)
        return {"accuracy": right / len(examples), "chance_accuracy": chance / len(examples)}

    def gold_names(self, example: MultipleChoiceExample) -> tuple[str, ...]:
        """Return the position of the right choice, counted from 1."""
        return () if example.label is None else (f"choice {example.label + 1}",)

    def primary_counts(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[MultipleChoiceExample]
    ) -> RowCounts | None:
        """Return accuracy as a mean over questions."""
        return RowCounts(mean_from_sums, mean_counts(self.rows_right(predictions, examples) or []))

    def rows_right(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[MultipleChoiceExample]
    ) -> list[bool] | None:
        """Return whether the right choice was taken."""
        return [p["choice"] == example.label for p, example in zip(predictions, examples, strict=True)]

    def with_texts(self, example: MultipleChoiceExample, edited: Mapping[str, Edited]) -> MultipleChoiceExample:
        """Return the example with edited texts; choices are edited by their names in `named_texts`."""
        choices = [_choice(number) for number in range(len(example.choices))]
        changed = {number: edited[name].text for number, name in enumerate(choices) if name in edited}
        texts = {name: text for name, text in edited.items() if name not in choices}
        after = tuple(changed.get(number, text) for number, text in enumerate(example.choices))
        return replace(super().with_texts(example, texts), choices=after)

    def said(self, prediction: dict[str, Any]) -> frozenset[Said]:
        """Return the choice."""
        return frozenset([Said(str(prediction["choice"]))])

    def as_gold(self, example: MultipleChoiceExample, prediction: dict[str, Any]) -> dict[str, MultipleChoiceExample]:
        """Return the example with the predicted choice."""
        return {prediction["answer"]: replace(example, label=prediction["choice"])}

    def confidence(self, prediction: dict[str, Any]) -> float | None:
        """Return the probability of the choice that was taken."""
        return float(prediction["scores"][prediction["choice"]])

    def label_probabilities(self, prediction: dict[str, Any]) -> Mapping[Any, float] | None:
        """Return the probability of each choice by its index."""
        return dict(enumerate(prediction["scores"]))

    def right_label(self, example: MultipleChoiceExample) -> Any:
        """Return the right choice's index."""
        return example.label

    def partial_inputs(self) -> dict[str, PartialInput]:
        """Return the choices alone, and with the question but without the context where there is one."""
        return {
            "choices only": PartialInput("question", lambda example: replace(example, question="", context=None)),
            "no context": PartialInput("context", lambda example: replace(example, context=None)),
        }

    def reordered_inputs(self) -> dict[str, Callable[[MultipleChoiceExample, Random], MultipleChoiceExample]]:
        """Return the choices in another order. A head that scores each choice by itself, as ours, scores the same."""
        return {"shuffled choices": _shuffled}

    def baselines(
        self, training: Sequence[MultipleChoiceExample], examples: Sequence[MultipleChoiceExample]
    ) -> dict[str, Sequence[dict[str, Any]]]:
        """Return the position that is right most often in training; the last one where there are fewer choices."""
        place = Counter(example.label for example in training).most_common(1)[0][0] or 0
        return {"majority": [{"choice": min(place, len(example.choices) - 1)} for example in examples]}


def _shuffled(example: MultipleChoiceExample, random: Random) -> MultipleChoiceExample:
    order = random.sample(range(len(example.choices)), len(example.choices))
    label = None if example.label is None else order.index(example.label)
    return replace(example, choices=tuple(example.choices[index] for index in order), label=label)


def _choice(number: int) -> str:
    """Return the name of a choice among the texts of a row."""
    return f"choice {number + 1}"


def _choices(value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the choices' texts, and their names such as A, B, C where the source has them."""
    names: Sequence[Any] = ()
    if isinstance(value, Mapping):
        value, names = value.get("text"), value.get("label") or ()
    if isinstance(value, (list, tuple)) and value and all(isinstance(choice, Mapping) for choice in value):
        names, value = [choice.get("label") for choice in value], [choice.get("text") for choice in value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(choice, str) for choice in value):
        raise RowError("choices is not a list of texts", "Give each choice as a string.")
    if len(value) < 2:
        raise RowError(f"choices has {len(value)} items", "Give at least two choices.")
    named = all(name is not None for name in names)
    return tuple(value), tuple(str(name) for name in names) if named else ()


def _index(label: str | int | float, choices: Sequence[str], names: Sequence[str]) -> int:
    """Return the 0-based index that a label means: a choice's name, or else a number, a letter or the choice's text.

    Raises:
        RowError: if it means no choice, or several.
    """
    if str(label) in names:
        return list(names).index(str(label))
    meant = _meant_by_position(label, len(choices), names)
    if isinstance(label, str):
        meant |= {index for index, choice in enumerate(choices) if choice.strip() == label}
    if len(meant) == 1:
        return meant.pop()
    if meant:
        several = ", ".join(f"{index} ({choices[index]!r:.40})" for index in sorted(meant))
        what, remedy = f"label {label!r} could mean the choices {several}", "Give the index as a number, not as text."
    else:
        what = f"label {label!r} is out of range: there are {len(choices)} choices"
        remedy = f"Give {'one of ' + ', '.join(names) if names else f'an index from 0 to {len(choices) - 1}'}."
    raise RowError(what, remedy, about_labels=True, code="" if meant else "label_out_of_range")


def _meant_by_position(label: str | int | float, number: int, names: Sequence[str]) -> set[int]:
    """Return the index that a label means as a number or a letter; where choices have such names those count alone."""
    text = str(label)
    place = -1
    if text.isdecimal() and not any(name.isdecimal() for name in names):
        place = int(text)
    elif len(text) == 1 and not names:
        place = ascii_uppercase.find(text.upper())
    return {place} if 0 <= place < number else set()
