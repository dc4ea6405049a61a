"""What is a row of generation: a prompt or the messages of a chat, what comes after, and what that is judged by?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from reasoner.data.chat import ASSISTANT, Message, read_messages
from reasoner.data.examples import Example, MissingColumnError, RowError, column, text_column
from reasoner.errors import DataError
from reasoner.notices import count


@dataclass(frozen=True, kw_only=True)
class GenerationExample(Example):
    """A prompt, or the messages of a chat, and what comes after it."""

    aliases = {
        "prompt": ("question", "source", "query"),
        "completion": ("answer", "target", "response", "output"),
        "messages": ("conversations",),
    }
    inputs = {"prompt": "text"}
    kept_together = "rows of equal prompts"

    prompt: str = ""
    """Text to go on with; empty where there are messages."""
    messages: tuple[Message, ...] = ()
    """The chat before the answer; in files the answer is its last message, or stands in `completion`."""
    completion: str | None = None
    """What is learned: how the text goes on, or the assistant's answer; None at prediction."""
    references: tuple[str, ...] = ()
    """Other completions that are as right, for scoring; in files a list of texts in `completion`, the first of which is
    learned."""
    gold: Any = field(default=None, hash=False)
    """What a verifier compares with, where that is not read in the completion: an answer, or tests."""

    asks_for_completion: ClassVar[bool] = True

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row: `prompt` and `completion`, texts or messages; or `messages`; perhaps `gold`."""
        several = column(columns, "completion", cls, default=None)
        references: tuple[str, ...] = ()
        if isinstance(several, (list, tuple)) and several and all(isinstance(text, str) for text in several):
            first, *others = (text_column({"completion": text}, "completion", cls) for text in several)
            columns, references = {**columns, "completion": first}, tuple(others)
            if references:
                count("{n} rows have several completions: the first is learned, and scores compare with all.")
        prompt, messages, completion = cls._read(columns)
        return cls(prompt=prompt, messages=messages, completion=completion, references=references, where=where,
                   gold=column(columns, "gold", cls, default=None))  # fmt: skip

    @classmethod
    def _read(cls, columns: Mapping[str, Any]) -> tuple[str, tuple[Message, ...], str | None]:
        """Return the prompt or else the messages before the answer, and what is learned."""
        given = column(columns, "messages", cls, default=None)
        if given is not None:
            return "", *cls._turns(read_messages(given))
        try:
            prompt = column(columns, "prompt", cls)
        except MissingColumnError as error:
            raise MissingColumnError(error.what + ", and there are no messages", error.remedy) from None
        if isinstance(prompt, (list, tuple)):
            return "", read_messages(prompt), cls._answer(columns)
        return text_column(columns, "prompt", cls), (), cls._answer(columns)

    @classmethod
    def _turns(cls, messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], str | None]:
        """Return the messages of a chat before the assistant's answer, and that."""
        *before, last = messages
        if last.role != ASSISTANT:
            if not cls.asks_for_completion:
                return messages, None
            raise RowError(f"the last message is the {last.role}'s, so that there is no answer to learn",
                           'Let messages end with {"role": "assistant", ...}, or leave the row out.')  # fmt: skip
        if not before:
            raise RowError("the answer is the only message", "Give the message that it answers before it.")
        return tuple(before), last.content

    @classmethod
    def _answer(cls, columns: Mapping[str, Any]) -> str | None:
        """Return the completion, a text or messages of which the last is taken."""
        answer = column(columns, "completion", cls, default=None)
        if answer is None and not cls.asks_for_completion:
            return None
        if isinstance(answer, (list, tuple)):
            columns = {"completion": read_messages(answer)[-1].content}
        completion: str = text_column(columns, "completion", cls)
        return completion

    @classmethod
    def from_input(cls, value: Any) -> Self:
        """Make an example of what a person gives to `predict`: a string, `{"prompt"}` or `{"messages"}`.

        Raises:
            DataError: if it is something else.
        """
        if isinstance(value, str):
            value = {"prompt": value}
        given = next((value[name] for name in ("messages", "prompt") if name in value), None) if isinstance(
            value, Mapping) else None  # fmt: skip
        try:
            if isinstance(given, str):
                return cls(prompt=text_column({"prompt": given}, "prompt", cls))
            if isinstance(given, (list, tuple)):
                messages = read_messages(given)
                if messages[-1].role == ASSISTANT:
                    raise RowError("the last message is the assistant's", "End with what it is to answer.")
                return cls(messages=messages)
        except RowError as error:
            raise DataError(f"{error.what}. {error.remedy}") from None
        raise DataError(f"generation predicts for a string, {{'prompt': ...}} or {{'messages': [{{'role': ..., "
                        f"'content': ...}}, ...]}}, not for {value!r:.60}.")  # fmt: skip

    @property
    def answers(self) -> tuple[str, ...]:
        """The completion and its references; empty where there is no gold."""
        return () if self.completion is None else (self.completion, *self.references)

    @property
    def texts(self) -> dict[str, str]:
        """The prompt; of a chat its messages, each after its role."""
        chat = "\n".join(f"{message.role}: {message.content}" for message in self.messages)
        return {"prompt": chat or self.prompt}

    @property
    def label(self) -> str | None:
        """The completion: checks look for rows of one prompt that differ in it."""
        return self.completion

    @property
    def group(self) -> str:
        """The same prompt must not stand on both sides of a split."""
        return self.texts["prompt"].casefold()


@dataclass(frozen=True, kw_only=True)
class QuestionExample(GenerationExample):
    """A row whose answer is still to be found: its completion may be missing."""

    asks_for_completion = False


@dataclass(frozen=True, kw_only=True)
class PreferenceExample(GenerationExample):
    """A row with two answers, of which one is preferred: columns `chosen`, which is the completion, and `rejected`."""

    aliases = {**GenerationExample.aliases, "completion": ("chosen",)}

    rejected: str = ""
    """The other answer."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row: `prompt`, `chosen` and `rejected`, each a text, or messages as a whole."""
        rejected = column(columns, "rejected", cls)
        if isinstance(rejected, (list, tuple)):
            rejected = read_messages(rejected)[-1].content
        rejected = text_column({"rejected": rejected}, "rejected", cls)
        example = super().from_columns(columns, where=where)
        if rejected == example.completion:
            raise RowError("chosen and rejected are the same", "Leave the row out.")
        return replace(example, rejected=rejected)


def by_prompt(texts: Sequence[str], examples: Sequence[GenerationExample]) -> tuple[list[list[str]], list[str]]:
    """Return for each prompt that has gold the answers of all its rows, and the text of the first of them.

    Args:
        texts: one an example.
        examples: rows of equal prompts may be several.
    """
    answers: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for text, example in zip(texts, examples, strict=True):
        if example.answers:
            prompt = example.texts["prompt"]
            answers.setdefault(prompt, []).extend(example.answers)
            first.setdefault(prompt, text)
    return list(answers.values()), list(first.values())
