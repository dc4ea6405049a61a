"""Tasks that choose: their rows may be put before a model by a prompt, which knows something before any training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reasoner.data.features import Feature
from reasoner.data.labels import entailing_output
from reasoner.data.prompts import (
    CLOZE,
    ENTAILMENT,
    LIKELIHOOD,
    SIMILARITY,
    WAYS,
    Asked,
    Prompt,
    choice_features,
    tokens_before,
)
from reasoner.data.statements import cloze_features, entailment_features, similarity_features
from reasoner.errors import ConfigError, suggestion
from reasoner.networks import check_decoder, check_filler, usual_pooling
from reasoner.tasks.base import ExampleT, PredictionT, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SENTENCE = "sentence"
"""The head that reads a pair as one text."""
FEATURES = {
    LIKELIHOOD: choice_features,
    ENTAILMENT: entailment_features,
    SIMILARITY: similarity_features,
    CLOZE: cloze_features,
}


@dataclass(frozen=True, kw_only=True)
class Prompted(Task[ExampleT, PredictionT]):
    """A task whose rows may also be put before a model by a prompt, with a head that reads what the choices say.

    The heads are "likelihood" (a decoder: what follows the prompt?), "entailment" (an NLI model: does the text entail
    what the choice says of it?), "similarity" (a sentence encoder: which is nearest?), and "cloze" (a masked language
    model: what fills the gap?).
    """

    prompt_names: ClassVar[tuple[str, ...]]
    """The fields of a row that a template may have."""
    answer_name: ClassVar[str] = "label"
    """The field that an answer is, in the templates of entailment and similarity."""
    usual_templates: ClassVar[Mapping[str, str]]
    """What holds where `prompt` says nothing, by head; a head that is not there cannot be taken."""

    prompt: Mapping[str, Any] = field(default_factory=dict)
    """How the model is asked: what of the fields of `data.prompts.Prompt` is not as usual."""

    def usual_template(self) -> str:
        """Return the template that holds where `prompt` says nothing."""
        return self.usual_templates[self.head or ""]

    @abstractmethod
    def usual_words(self) -> dict[str, str]:
        """Return the word for each label that holds where `prompt` says nothing; empty: choices are texts."""

    @abstractmethod
    def asked(self, example: ExampleT) -> Asked:
        """Return a row as the model is asked."""

    @property
    def asks(self) -> bool:
        """Whether the head reads rows by the prompt."""
        return self.head in WAYS

    @property
    def keep_together(self) -> bool:
        """Each choice is a feature, where the head reads rows by the prompt."""
        return self.asks

    @cached_property
    def reading(self) -> Prompt:
        """The prompt, with what is usual.

        Raises:
            ConfigError: if it cannot be used, or the task cannot be asked so.
        """
        way = self.head or ""
        if way not in self.usual_templates:
            known = ", ".join(self.usual_templates)
            raise ConfigError(f"{type(self).__name__} cannot be asked by {way}. Take one of: {known}.")
        return Prompt.of(
            self.prompt,
            way=way,
            template=self.usual_template(),
            words=self.usual_words(),
            names=self.prompt_names,
            answer=self.answer_name,
        )

    @property
    def padding_side(self) -> str | None:
        """With a prompt on the right, so that positions count from 0 in every architecture."""
        return "right" if self.asks else None

    def with_checked_prompt(self, labels: Sequence[str], *, kind: str = "single") -> Self:
        """Return the task.

        Args:
            labels: those that may have words.
            kind: what holds of them: a prompt is for a "single" one.

        Raises:
            ConfigError: if the prompt cannot be used.
        """
        if not self.asks:
            if self.prompt:
                raise ConfigError(f"prompt is for the heads {', '.join(WAYS)}: give head='{LIKELIHOOD}', or another of "
                                  "them, too, or leave it out.")  # fmt: skip
            return self
        if kind != "single":
            raise ConfigError(f"head='{self.head}' chooses one of the labels, and here the kind is '{kind}'.")
        unknown = sorted(set(self.prompt.get("words") or ()) - set(labels))
        if unknown and not labels:
            raise ConfigError("words are for labels, and here the choices are texts of the row. Leave them out.")
        if unknown:
            raise ConfigError(f"words: '{unknown[0]}' is no label. {suggestion(unknown[0], list(labels))}")
        _ = self.reading
        return self

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with what of the prompt depends on the model.

        Raises:
            ConfigError: if the model is not one that the head needs.
        """
        if self.head == LIKELIHOOD:
            check_decoder(config, LIKELIHOOD)
            return self._with(domain_tokens=tokens_before(self.reading.domain, tokenizer))
        if self.head == ENTAILMENT:
            output = entailing_output(config.id2label)
            if output is None:
                names = ", ".join(map(str, (config.id2label or {}).values()))
                raise ConfigError(f"entailment: none of the model's labels ({names:.80}) means entailment. Take a "
                                  "model that was tuned for inference.")  # fmt: skip
            return self._with(entailing=output)
        if self.head == CLOZE:
            check_filler(config, tokenizer)
        if self.head == SIMILARITY and "pooling" not in self.head_settings:
            return replace(self, head_settings={**self.head_settings, "pooling": usual_pooling(config._name_or_path)})
        return self

    def _with(self, **learned: Any) -> Self:
        return replace(self, prompt={**self.prompt, **learned})

    def prompt_features(self, examples: Sequence[ExampleT], tokenizer: Any, max_length: int) -> list[list[Feature]]:
        """Return for each example a feature a choice (and for similarity one for the text before them)."""
        rows = list(map(self.asked, examples))
        return FEATURES[self.head or ""](self.reading, rows, tokenizer, max_length=max_length)

    def prompt_arguments(self) -> dict[str, Any]:
        """Return what the head needs of the prompt."""
        if self.head == LIKELIHOOD:
            return {"domain_tokens": list(self.reading.domain_tokens)}
        return {"entailing": self.reading.entailing} if self.head == ENTAILMENT else {}


def usual_way(config: PreTrainedConfig) -> tuple[str, str]:
    """Return the head by which a model is asked that nobody named, and why.

    Raises:
        ConfigError: if the model is made for something else.
    """
    kind = " ".join(config.architectures or ())
    if "ForSequenceClassification" in kind and entailing_output(config.id2label) is not None:
        return ENTAILMENT, "it was tuned for inference"
    if "ForMaskedLM" in kind:
        return CLOZE, "it fills in masked words"
    if kind and not kind.endswith("Model") and "CausalLM" not in kind and "LMHead" not in kind:
        raise ConfigError(
            f"{kind} is made for none of {', '.join(WAYS)}. Take another model, or name one of them (by=)."
        )
    try:
        check_decoder(config, LIKELIHOOD)
    except ConfigError:
        if config.is_encoder_decoder:
            raise
        return SIMILARITY, "it is an encoder, and has no head"
    return LIKELIHOOD, "it is a decoder"


def as_one_text(example: Any) -> str:
    """Return the text that a label is about, or both texts with a space between them."""
    return " ".join(filter(None, (example.first, example.second)))


def scores_by_row(records: Iterable[Any], features: Sequence[Sequence[Feature]]) -> list[list[float]]:
    """Return the scores of each row's choices: a record that is None is no choice's."""
    remaining = iter(records)
    rows = [[next(remaining) for _ in group] for group in features]
    return [[score for score in row if score is not None] for row in rows]


def softmax(scores: Sequence[float]) -> list[float]:
    """Return the probabilities of which these are the logits."""
    highest = max(scores)
    exponentials = [exp(score - highest) for score in scores]
    total = sum(exponentials)
    return [value / total for value in exponentials]
