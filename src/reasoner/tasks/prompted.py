"""Tasks whose rows may also be put before a model by a prompt, which chooses among labels or choices untrained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reasoner.data.features import Feature
from reasoner.data.prompts import LIKELIHOOD, Asked, Prompt, choice_features, tokens_before
from reasoner.errors import ConfigError, suggestion
from reasoner.networks import check_decoder
from reasoner.tasks.base import ExampleT, PredictionT, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, kw_only=True)
class Prompted(Task[ExampleT, PredictionT]):
    """A task whose rows may also be put before a decoder: `head="likelihood"` scores what is to follow a prompt."""

    prompt_names: ClassVar[tuple[str, ...]]
    """The fields that a template may have."""

    prompt: Mapping[str, Any] = field(default_factory=dict)
    """How a decoder is asked: what of the fields of `data.prompts.Prompt` is not as usual."""

    @abstractmethod
    def usual_prompt(self) -> tuple[str, dict[str, str]]:
        """Return the template, and the word for each label, that hold where `prompt` says nothing."""

    @abstractmethod
    def asked(self, example: ExampleT) -> Asked:
        """Return a row as a decoder is asked."""

    @property
    def asks(self) -> bool:
        """Whether the head is the one for decoders."""
        return self.head == LIKELIHOOD

    @cached_property
    def reading(self) -> Prompt:
        """The prompt, with what is usual."""
        template, words = self.usual_prompt()
        return Prompt.of(self.prompt, template=template, words=words, names=self.prompt_names)

    @property
    def padding_side(self) -> str | None:
        """For decoders on the right, so that positions count from 0 in every architecture."""
        return "right" if self.asks else None

    def with_checked_prompt(self, labels: Sequence[str]) -> Self:
        """Return the task.

        Args:
            labels: those that may have words.

        Raises:
            ConfigError: if the prompt cannot be used.
        """
        if self.prompt and not self.asks:
            raise ConfigError(f"prompt is for decoders: give head='{LIKELIHOOD}' too, or leave it out.")
        unknown = sorted(set(self.prompt.get("words") or ()) - set(labels))
        if unknown and not labels:
            raise ConfigError("words are for labels, and here the choices are texts of the row. Leave them out.")
        if unknown:
            raise ConfigError(f"words: '{unknown[0]}' is no label. {suggestion(unknown[0], list(labels))}")
        _ = self.reading
        return self

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with what stands before an answer where nothing is asked, as tokens; for decoders alone.

        Raises:
            ConfigError: if the head is for decoders, and the model is none.
        """
        if not self.asks:
            return self
        check_decoder(config, LIKELIHOOD)
        return replace(self, prompt={**self.prompt, "domain_tokens": tokens_before(self.reading.domain, tokenizer)})

    def prompt_features(self, examples: Sequence[ExampleT], tokenizer: Any, max_length: int) -> list[list[Feature]]:
        """Return for each example a feature a choice; see `choice_features`."""
        return choice_features(self.reading, list(map(self.asked, examples)), tokenizer, max_length=max_length)

    def prompt_arguments(self) -> dict[str, Any]:
        """Return what a head for decoders needs."""
        return {"domain_tokens": list(self.reading.domain_tokens)}


def softmax(scores: Sequence[float]) -> list[float]:
    """Return the probabilities of which these are the logits."""
    exponentials = [exp(score - max(scores)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]
