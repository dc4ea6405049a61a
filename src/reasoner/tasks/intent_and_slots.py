"""Intent and slots: what does a person want, and which words of the request say with what?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from reasoner.errors import ConfigError, DataError
from reasoner.tasks.several import SeveralExample, SeveralTasks

INTENT, SLOTS = "intent", "slots"


@dataclass(frozen=True, kw_only=True)
class IntentAndSlotsExample(SeveralExample):
    """A request: `tokens` with a tag each (`ner_tags` or `slots`), and its `intent`."""

    inputs = {"text": "text", "tokens": "words"}
    kept_together = "equal requests"

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; both parts read the same text."""
        tokens = columns.get("tokens", columns.get("words"))
        if isinstance(tokens, (list, tuple)):
            columns = {**columns, "text": " ".join(map(str, tokens))}
        return super().from_columns(columns, where=where)


@dataclass(frozen=True, kw_only=True)
class IntentAndSlots(SeveralTasks):
    """A label for the whole request and a tag for each of its words, by one encoder (JointBERT: Chen et al., 2019).

    https://arxiv.org/abs/1902.10909; its intent is read at the first token, here at the mean of all.
    """

    Example = IntentAndSlotsExample
    whole_row: ClassVar[str] = "frame_accuracy"

    parts: Mapping[str, Any] = field(default_factory=lambda: {INTENT: "classification", SLOTS: "ner"})
    """`intent` and `slots`: the two tasks."""
    columns: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {INTENT: {"label": "intent"}, SLOTS: {"ner_tags": "slots"}}
    )
    """See `SeveralTasks`; where a row has no such column, the part looks under its own names."""

    def __post_init__(self) -> None:
        """Refuse other parts."""
        if self.parts.keys() != {INTENT, SLOTS}:
            raise ConfigError("parts: give 'intent' and 'slots', or take SeveralTasks for parts of other names.")
        super().__post_init__()

    def example_from_input(self, value: Any) -> SeveralExample:
        """Accept a string or a list of words; or a dict with one of them as `text` or `tokens`."""
        try:
            slots = self.tasks[SLOTS].example_from_input(value)
        except DataError as error:
            raise DataError(str(error).replace("ner predicts", "intent_and_slots predicts")) from None
        intent = self.tasks[INTENT].example_from_input(slots.text)
        return SeveralExample(parts={name: {INTENT: intent, SLOTS: slots}[name] for name in self.parts})
