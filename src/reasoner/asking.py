"""How is a model asked that is not trained: by which head, with which prompt and which solved examples?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any, Self

from reasoner.base_model import model_source
from reasoner.comparison import write_scores
from reasoner.contrastive import SETFIT, tuned_by_setfit
from reasoner.data.prompts import LIKELIHOOD, NEAREST, WAYS, Shot, tokens_of_shots, with_shots
from reasoner.drawing import balanced_rows
from reasoner.errors import ConfigError, raise_if_any, suggestion
from reasoner.inference import Predictor
from reasoner.model import length_limit, read_config
from reasoner.notices import say
from reasoner.options import LOSS_SETTINGS
from reasoner.preparation import build_predictor, task_class_and_settings
from reasoner.recording import record_of
from reasoner.result import Result
from reasoner.tasks.base import Task
from reasoner.tasks.classification import Classification
from reasoner.tasks.prompted import SENTENCE, Prompted, usual_way
from reasoner.training.config import TrainingConfig

TOKENS_PER_BATCH = 2_048
SHOTS_A_ROW = 32
"""Tokens of solved examples for which a batch is once more as large: what all its rows begin with is run once."""
LONGEST_PROMPT = 2_048
"""Tokens, for models that take more, unless `max_length` says otherwise."""
SHOTS = 8
SELECTIONS = ("random", "balanced", NEAREST)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """The settings of `zero_shot` and `few_shot`; what they mean is said there."""

    by: str | None = None
    few: bool = False
    """Are solved examples shown?"""
    shots: int = SHOTS
    choose: str = "random"
    seed: int = 0
    template: str | None = None
    words: Mapping[str, str] | None = None
    correction: str | None = None
    domain: str | None = None
    share_prefix: bool = True
    max_length: int | None = None
    tokens_per_batch: int | None = None
    use_cpu: bool = False

    def task(self, task: Task[Any, Any], way: str) -> Task[Any, Any]:
        """Return the task as a model is asked; what is None here stays as the task has it.

        Raises:
            ConfigError: if the task chooses nothing, or has another head.
        """
        if not isinstance(task, Prompted):
            raise ConfigError(f"{type(task).__name__} cannot be asked of a model without training. Tasks that choose "
                              "can: multiple_choice, nli, classification, relation.")  # fmt: skip
        if task.head not in (None, way):
            raise ConfigError(f"The task has the head '{task.head}', and the model is asked by {way}. Leave it out.")
        given = {"template": self.template, "words": self.words, "domain": self.domain}
        prompt = {**task.prompt, **{name: value for name, value in given.items() if value is not None}}
        own: dict[str, Any] = {} if self.correction is None else {"correction": self.correction}
        own |= {} if self.share_prefix else {"share_prefix": False}
        return replace(task, head=way, head_settings={**task.head_settings, **own}, prompt=prompt)

    def for_setfit(self, task: Task[Any, Any]) -> Task[Any, Any]:
        """Return the task as SetFit learns it.

        Raises:
            ConfigError: if the task has no labels, or a setting is for prompts.
        """
        if not isinstance(task, Classification):
            raise ConfigError(f"by='{SETFIT}' learns labels, and {type(task).__name__} has none. Tasks that have: "
                              "classification, nli, relation.")  # fmt: skip
        prompts = {"template": self.template, "words": self.words, "correction": self.correction,
                   "domain": self.domain, "share_prefix": None if self.share_prefix else False}  # fmt: skip
        given = [name for name, value in prompts.items() if value is not None]
        given += [name for name in ("head", "head_settings", "prompt", *LOSS_SETTINGS) if getattr(task, name)]
        if given:
            raise ConfigError(f"by='{SETFIT}' does not take: {', '.join(given)}. Leave that out.")
        return replace(task, head=SENTENCE, kind=task.kind or "single")

    def config(self) -> TrainingConfig:
        """Return what the predictor is made with."""
        tokens = self.tokens_per_batch or TOKENS_PER_BATCH
        return TrainingConfig(max_length=self.max_length, tokens_per_batch=tokens, use_cpu=self.use_cpu, seed=self.seed)

    def in_words(self) -> str:
        """Return how much the model is shown."""
        if not self.few:
            return "zero-shot"
        return f"few-shot: {self.shots} {self.choose} examples" + (
            "" if self.choose == NEAREST else f", seed {self.seed}"
        )


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """A model, the task as it is asked, and how: what is known before any row is read."""

    model: Any
    source: Any
    task: Task[Any, Any]
    settings: Asking
    tokenizer: Any

    @classmethod
    def of(cls, model: Any, task: str | Task[Any, Any], settings: Asking, tokenizer: Any = None) -> Self:
        """Check what is asked; how the model is asked is said where it was not told.

        Raises:
            ConfigError: if the model cannot be asked so, or the task chooses nothing.
        """
        source = model_source(model)
        if settings.few:
            _check_few_shot(settings, tokenizer)
        way = settings.by or LIKELIHOOD if settings.few else _way(source, settings.by)
        task_class, values = task_class_and_settings(task)
        given = task_class(**values)
        asked = settings.for_setfit(given) if way == SETFIT else settings.task(given, way)
        return cls(model=model, source=source, task=asked, settings=settings, tokenizer=tokenizer)

    def result(
        self, examples: Mapping[str, Sequence[Any]], sources: Mapping[str, str], notices: Sequence[str]
    ) -> Result:
        """Let the model choose, and score it.

        Args:
            examples: by split; those of train alone are scored where there are no others.
            sources: where each split came from.
            notices: what was said and will be, for the record.

        Raises:
            ConfigError: if there is no row to score, or the solved examples cannot be drawn.
            DataError: if the data cannot be used.
        """
        if not any(examples.values()):
            raise ConfigError("There are no rows to score. Give some.")
        every = {"train": [example for rows in examples.values() for example in rows]}  # names are learned, no more
        task = type(self.task).from_examples(every, **self.task.settings())
        raise_if_any(task.problems(every["train"]))
        scored = scored_splits(examples)
        predictor, config, asked = self._made(task, examples)
        run = record_of(
            self.model,
            predictor,
            scored,
            method=f"{self.settings.in_words()}, {asked}",
            sources={split: sources[split] for split in scored},
            config={**config, "max_length": predictor.max_length, "tokens_per_batch": predictor.tokens_per_batch},
        )
        for split, rows in scored.items():
            evaluation = predictor.evaluate_examples(rows, name=split)
            write_scores(run, split, predictor.task, evaluation, rows)
        run.notices = list(notices)
        return Result(predictor, run)

    def _made(
        self, task: Task[Any, Any], examples: Mapping[str, Sequence[Any]]
    ) -> tuple[Predictor, dict[str, Any], str]:
        """Return the predictor, its settings for the record, and how it is asked in a word."""
        shown = _chosen(task, examples, self.settings) if self.settings.few else []
        if self.settings.by == SETFIT:
            return *tuned_by_setfit(self.source, task, shown, config=self.settings.config()), f"by {SETFIT}"
        predictor = self._predictor(_shown(task, shown, self.settings) if shown else task)
        asked, config = _asked(predictor)
        return predictor, config, asked

    def _predictor(self, task: Task[Any, Any]) -> Predictor:
        settings = self.settings
        assert isinstance(task, Prompted)
        predictor = build_predictor(self.source, task, config=settings.config(), tokenizer=self.tokenizer)
        predictor.model.eval().requires_grad_(False)
        if settings.max_length is None:
            limit = length_limit(predictor.model.network, predictor.tokenizer)
            predictor = replace(predictor, max_length=min(limit, LONGEST_PROMPT))
        if settings.tokens_per_batch is None:
            begun = 0 if settings.choose == NEAREST else tokens_of_shots(task.prompt, predictor.tokenizer)
            begun = min(begun, predictor.max_length)  # those that do not fit are not shown
            tokens = TOKENS_PER_BATCH * (1 + settings.share_prefix * begun // SHOTS_A_ROW)
            predictor = replace(predictor, tokens_per_batch=tokens)
        return predictor


def asking(kind: str, given: Mapping[str, Any], **others: Any) -> Asking:
    """Return the settings of "zero_shot" or "few_shot" by their names.

    Raises:
        ConfigError: if one is unknown.
    """
    few = kind == "few_shot"
    hidden = {"few", *others, *(() if few else ("shots", "choose", "seed"))}
    known = [item.name for item in fields(Asking) if item.name not in hidden]
    if unknown := [name for name in given if name not in known]:
        raise ConfigError(f"{kind} has no setting named '{unknown[0]}' here. {suggestion(unknown[0], known)}")
    return Asking(few=few, **given, **others)


def scored_splits(examples: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return the splits that are scored: all but train; train alone is called test."""
    others = {split: rows for split, rows in examples.items() if split != "train" and rows}
    return others or {"test": examples["train"]}


def _check_few_shot(settings: Asking, tokenizer: Any) -> None:
    by, choose = settings.by, settings.choose
    if by not in (None, LIKELIHOOD, SETFIT):
        raise ConfigError(f"few_shot is by '{LIKELIHOOD}' or '{SETFIT}', not by {by!r}.")
    if choose not in SELECTIONS:
        raise ConfigError(f"choose is {choose!r}. {suggestion(str(choose), SELECTIONS)}")
    if by == SETFIT and (choose == NEAREST or tokenizer is not None):
        what = "tokenizer" if tokenizer is not None else "choose='nearest'"
        raise ConfigError(f"by='{SETFIT}' does not take: {what}. Leave that out.")


def _way(source: Any, by: str | None) -> str:
    """Return how the model is asked: as was said, or as it is made for, which is said.

    Raises:
        ConfigError: if there is no such way, or the model is for none.
    """
    if by is None:
        way, reason = usual_way(read_config(source))
        say(f"The model is asked by {way}: {reason}.")
        return way
    if by not in WAYS:
        raise ConfigError(f"by is {by!r}. {suggestion(str(by), WAYS)}")
    return by


def _asked(predictor: Predictor) -> tuple[str, dict[str, Any]]:
    """Return how the model is asked: in a word, and its settings for the record."""
    task, correction = predictor.task, getattr(predictor.model.head, "correction", None)
    assert isinstance(task, Prompted)
    config = {"by": task.head, "template": task.reading.template, "words": dict(task.reading.words)}
    config |= {"domain": task.reading.domain} if task.head == LIKELIHOOD else {}
    config |= {"correction": correction} if correction else {}
    return f"by {task.head}" + (f" ({correction})" if correction else ""), config


# --- solved examples -------------------------------------------------------------------------------------------------


def _chosen(task: Task[Any, Any], examples: Mapping[str, Sequence[Any]], settings: Asking) -> list[Any]:
    """Return the training rows that are shown; for the nearest all of them, since those differ by row."""
    if set(examples) <= {"train"} or "train" not in examples:
        raise ConfigError("few_shot takes solved examples from train, and scores others. Give {'train': ..., "
                          "'test': ...}.")  # fmt: skip
    rows, shots = examples["train"], settings.shots
    if type(shots) is not int or not 1 <= shots <= len(rows):
        raise ConfigError(f"shots is {shots!r}, and there are {len(rows)} training rows. Give 1 to {len(rows)}; "
                          "for none there is zero_shot.")  # fmt: skip
    random = Random(settings.seed)
    if settings.choose == "balanced":
        if not getattr(task, "labels", ()):
            raise ConfigError('choose="balanced" is for labels: of a solved multiple choice the right one alone is '
                              'shown. Take "random" or "nearest".')  # fmt: skip
        return balanced_rows(task, rows, shots, random)
    return random.sample(list(rows), len(rows) if settings.choose == NEAREST else shots)


def _shown(task: Task[Any, Any], chosen: Sequence[Any], settings: Asking) -> Task[Any, Any]:
    """Return the task with solved examples in its prompt."""
    assert isinstance(task, Prompted)
    found: list[Shot] = [task.reading.solved(task.asked(row)) for row in chosen]
    order, number = (NEAREST, settings.shots) if settings.choose == NEAREST else ("", 0)
    return replace(task, prompt=with_shots(task.prompt, found, order=order, number=number))
