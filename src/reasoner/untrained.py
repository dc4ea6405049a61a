"""What does a model know of a task before any training: asked as it is, or with a few solved examples before it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from reasoner.base_model import model_source
from reasoner.comparison import write_scores
from reasoner.contrastive import SETFIT, tuned_by_setfit
from reasoner.data.examples import examples_from_rows
from reasoner.data.prompts import LIKELIHOOD, NEAREST, WAYS, Shot, with_shots
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, raise_if_any, suggestion
from reasoner.inference import Predictor
from reasoner.model import length_limit, read_config
from reasoner.notices import collect, say
from reasoner.options import LOSS_SETTINGS
from reasoner.preparation import build_predictor, names_of_sources, task_class_and_settings
from reasoner.recording import record_of
from reasoner.reports.run import Run
from reasoner.result import Result
from reasoner.tasks.base import Task
from reasoner.tasks.classification import Classification
from reasoner.tasks.prompted import SENTENCE, Prompted, usual_way
from reasoner.training.config import TrainingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS_PER_BATCH = 2_048
LONGEST_PROMPT = 2_048
"""Tokens, for models that take more, unless `max_length` says otherwise."""
SELECTIONS = ("random", "balanced", NEAREST)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What both functions have in common."""

    by: str | None
    template: str | None
    words: Mapping[str, str] | None
    correction: str | None
    domain: str | None
    share_prefix: bool
    max_length: int | None
    tokens_per_batch: int
    use_cpu: bool

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

    def config(self, seed: int = 0) -> TrainingConfig:
        """Return what the predictor is made with."""
        return TrainingConfig(
            max_length=self.max_length, tokens_per_batch=self.tokens_per_batch, use_cpu=self.use_cpu, seed=seed
        )


def zero_shot(
    model: str | Path | PreTrainedModel,
    data: Any,
    *,
    task: str | Task[Any, Any],
    by: str | None = None,
    template: str | None = None,
    words: Mapping[str, str] | None = None,
    correction: str | None = None,
    domain: str | None = None,
    share_prefix: bool = True,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    use_cpu: bool = False,
) -> Result:
    """Let a model choose among choices or labels, without training.

    Args:
        model: as in `fine_tune`; None: the embedded MiniLM, a sentence encoder.
        data: rows with gold: splits as in `fine_tune` (those of training are not scored, unless there are no others),
            or one source, which is called "test".
        task: a name ("multiple_choice", "nli", "classification", "relation") or a `Task`.
        by: "likelihood" (a decoder: which choice, or which label's word, follows the prompt?), "entailment" (a model
            that was tuned for inference: does the text entail what is said of it?), "similarity" (a sentence encoder:
            what is nearest to the text?) or "cloze" (a masked language model: what fills the gap?). None: what the
            model is for, which is said.
        template: the text that asks, or by entailment and similarity what is said of a row, with fields in braces; see
            `data.prompts.Prompt`. None: the task's own.
        words: what stands for each label; for those that are not named, and with None, the task's own.
        correction: by likelihood "sum", "token", "byte" or "prior"; see `heads.likelihood.LikelihoodHead`. By cloze
            "sum" or "token". None: "byte", and "token".
        domain: for "prior", what stands before an answer where nothing is asked. None: the template's last line, if
            that has no field.
        share_prefix: False: by likelihood run each choice whole. The scores are the same, and it takes longer.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        max_length: tokens of a sequence, its choice included. None: what the model takes, at most 2,048.
        tokens_per_batch: as in `TrainingConfig`; a row with its choices that is larger is a batch of its own.
        use_cpu: also where there is a GPU.

    Returns:
        A `Result`: scores under the names of the splits, `predict`, `evaluate`, `compare`, `report`, `save`.

    Raises:
        ConfigError: if the model cannot be asked so, the task chooses nothing, or a setting cannot be used.
        DataError: if the data cannot be used.

    Examples:
        >>> import reasoner
        >>> rows = reasoner.synthetic.multiple_choice_pack(train=4, validation=2, test=2)["test"]
        >>> result = reasoner.zero_shot("model.gguf", rows, task="multiple_choice")  # doctest: +SKIP
    """
    settings = _Settings(by=by, template=template, words=words, correction=correction, domain=domain,
                         share_prefix=share_prefix, max_length=max_length, tokens_per_batch=tokens_per_batch,
                         use_cpu=use_cpu)  # fmt: skip
    with collect() as notices:
        source = model_source(model)
        way = _way(source, by)
        made, examples = _read(task, lambda given: settings.task(given, way), data, columns)
        scored = _scored(examples)
        predictor = _predictor(source, made, settings, tokenizer)
        asked, config = _asked(predictor)
        run = record_of(model, predictor, scored, method=f"zero-shot, {asked}",
                        sources=names_of_sources(data, list(scored)), config=_settings(config, predictor))  # fmt: skip
        return _result(predictor, run, scored, notices)


def few_shot(
    model: str | Path | PreTrainedModel,
    data: Any,
    *,
    task: str | Task[Any, Any],
    by: str = LIKELIHOOD,
    shots: int = 8,
    choose: str = "random",
    seed: int = 0,
    template: str | None = None,
    words: Mapping[str, str] | None = None,
    correction: str | None = None,
    domain: str | None = None,
    share_prefix: bool = True,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    use_cpu: bool = False,
) -> Result:
    """Let a model choose as `zero_shot` does, with a few solved examples out of the training rows.

    By likelihood a decoder sees them in each prompt, and nothing is trained. Where a prompt is too long, whole examples
    are left out, and their number is said.

    Args:
        model: as in `zero_shot`.
        data: splits, with "train" among them and at least one other.
        task: as in `zero_shot`.
        by: "likelihood", or "setfit": a sentence encoder is tuned on the solved examples by the library of this name
            (the extra `setfit`); see `contrastive`. For classification with one label, nli and relation; of what
            follows it takes `shots`, "random" and "balanced", `seed`, `columns`, `max_length`, `tokens_per_batch` and
            `use_cpu`.
        shots: how many solved examples.
        choose: "random": drawn once, the same for all rows; "balanced": drawn so that all labels are shown as often
            (but for one); "nearest": for each row those whose words are most like its own (cosine of TF-IDF), the
            nearest last, next to what is asked.
        seed: of the draw, and of the order.
        template: as in `zero_shot`, like all that follows.
        words: see there.
        correction: see there.
        domain: see there.
        share_prefix: see there.
        columns: see there.
        tokenizer: see there.
        max_length: see there.
        tokens_per_batch: see there.
        use_cpu: see there.

    Raises:
        ConfigError: as `zero_shot` does, or if there are not as many training rows, or no labels to balance.
        DataError: if the data cannot be used.
    """
    settings = _Settings(by=by, template=template, words=words, correction=correction, domain=domain,
                         share_prefix=share_prefix, max_length=max_length, tokens_per_batch=tokens_per_batch,
                         use_cpu=use_cpu)  # fmt: skip
    with collect() as notices:
        source = model_source(model)
        _check_few_shot(by, choose, tokenizer)
        prepared = settings.for_setfit if by == SETFIT else lambda given: settings.task(given, by)
        made, examples = _read(task, prepared, data, columns)
        chosen, scored = _chosen(made, examples, shots, choose, seed), _scored(examples)
        if by == SETFIT:
            predictor, config = tuned_by_setfit(source, made, chosen, config=settings.config(seed))
            asked = f"by {SETFIT}"
        else:
            predictor = _predictor(source, _shown(made, chosen, shots, choose), settings, tokenizer)
            asked, config = _asked(predictor)
        method = f"few-shot: {shots} {choose} examples" + ("" if choose == NEAREST else f", seed {seed}")
        run = record_of(model, predictor, scored, method=f"{method}, {asked}",
                        sources=names_of_sources(data, list(scored)), config=_settings(config, predictor))  # fmt: skip
        return _result(predictor, run, scored, notices)


def _check_few_shot(by: str, choose: str, tokenizer: Any) -> None:
    if by not in (LIKELIHOOD, SETFIT):
        raise ConfigError(f"few_shot is by '{LIKELIHOOD}' or '{SETFIT}', not by {by!r}.")
    if choose not in SELECTIONS:
        raise ConfigError(f"choose is {choose!r}. {suggestion(str(choose), SELECTIONS)}")
    if by == SETFIT and (choose == NEAREST or tokenizer is not None):
        what = "tokenizer" if tokenizer is not None else "choose='nearest'"
        raise ConfigError(f"by='{SETFIT}' does not take: {what}. Leave that out.")


def _read(
    task: str | Task[Any, Any],
    prepared: Callable[[Task[Any, Any]], Task[Any, Any]],
    data: Any,
    columns: Mapping[str, Any] | None,
) -> tuple[Task[Any, Any], dict[str, list[Any]]]:
    """Return the task, with the labels of all rows, and the examples by split."""
    task_class, values = task_class_and_settings(task)
    asking = prepared(task_class(**values))
    splits = examples_from_rows(read_splits(data, columns=columns), task_class.schema(values))
    if not any(splits.values()):
        raise ConfigError("There are no rows to score. Give some.")
    every = {"train": [example for rows in splits.values() for example in rows]}  # nothing is learned of them but names
    made = task_class.from_examples(every, **asking.settings())
    raise_if_any(made.problems(every["train"]))
    return made, splits


def _scored(examples: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the splits that are scored: all but train; train alone is called test."""
    others = {split: rows for split, rows in examples.items() if split != "train" and rows}
    return others or {"test": examples["train"]}


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


def _predictor(source: Any, task: Task[Any, Any], settings: _Settings, tokenizer: Any) -> Predictor:
    predictor = build_predictor(source, task, config=settings.config(), tokenizer=tokenizer)
    predictor.model.eval().requires_grad_(False)
    if settings.max_length is not None:
        return predictor
    limit = length_limit(predictor.model.network, predictor.tokenizer)
    return replace(predictor, max_length=min(limit, LONGEST_PROMPT))


def _asked(predictor: Predictor) -> tuple[str, dict[str, Any]]:
    """Return how the model is asked: in a word, and its settings for the record."""
    task, correction = predictor.task, getattr(predictor.model.head, "correction", None)
    assert isinstance(task, Prompted)
    config = {"by": task.head, "template": task.reading.template, "words": dict(task.reading.words)}
    config |= {"domain": task.reading.domain} if task.head == LIKELIHOOD else {}
    config |= {"correction": correction} if correction else {}
    return f"by {task.head}" + (f" ({correction})" if correction else ""), config


def _settings(config: Mapping[str, Any], predictor: Predictor) -> dict[str, Any]:
    return {**config, "max_length": predictor.max_length, "tokens_per_batch": predictor.tokens_per_batch}


def _result(predictor: Predictor, run: Run, scored: Mapping[str, list[Any]], notices: list[str]) -> Result:
    """Score, and return it with the record."""
    for split, examples in scored.items():
        evaluation = predictor.evaluate_examples(examples, name=split)
        write_scores(run, split, predictor.task, evaluation, examples)
    run.notices = list(notices)
    return Result(predictor, run)


# --- solved examples -------------------------------------------------------------------------------------------------


def _chosen(task: Task[Any, Any], examples: Mapping[str, list[Any]], shots: int, choose: str, seed: int) -> list[Any]:
    """Return the training rows that are shown; for the nearest all of them, since those differ by row."""
    if set(examples) <= {"train"} or "train" not in examples:
        raise ConfigError("few_shot takes solved examples from train, and scores others. Give {'train': ..., "
                          "'test': ...}.")  # fmt: skip
    rows = examples["train"]
    if not isinstance(shots, int) or isinstance(shots, bool) or not 1 <= shots <= len(rows):
        raise ConfigError(f"shots is {shots!r}, and there are {len(rows)} training rows. Give 1 to {len(rows)}; "
                          "for none there is zero_shot.")  # fmt: skip
    random = Random(seed)
    if choose == "balanced":
        return _balanced(task, rows, shots, random)
    return random.sample(list(rows), len(rows) if choose == NEAREST else shots)


def _shown(task: Task[Any, Any], chosen: Sequence[Any], shots: int, choose: str) -> Task[Any, Any]:
    """Return the task with solved examples in its prompt."""
    assert isinstance(task, Prompted)
    found: list[Shot] = [task.reading.solved(task.asked(row)) for row in chosen]
    order, number = (NEAREST, shots) if choose == NEAREST else ("", 0)
    return replace(task, prompt=with_shots(task.prompt, found, order=order, number=number))


def _balanced(task: Task[Any, Any], rows: Sequence[Any], shots: int, random: Random) -> list[Any]:
    """Return rows of all labels in turn, in a random order.

    Raises:
        ConfigError: if the task has no labels, or one has too few rows.
    """
    labels = list(getattr(task, "labels", ()))
    if not labels:
        raise ConfigError('choose="balanced" is for labels: of a solved multiple choice the right one alone is shown. '
                          'Take "random" or "nearest".')  # fmt: skip
    of_label: dict[str, list[Any]] = {label: [] for label in random.sample(labels, len(labels))}
    for row in random.sample(list(rows), len(rows)):
        of_label[task.gold_names(row)[0]].append(row)
    wanted = {label: shots // len(labels) + (place < shots % len(labels)) for place, label in enumerate(of_label)}
    for label, number in wanted.items():
        if len(of_label[label]) < number:
            raise ConfigError(f"choose='balanced': label '{label}' has {len(of_label[label])} training rows, and "
                              f"{number} are needed. Give fewer shots, or take 'random'.")  # fmt: skip
    chosen = [row for label, number in wanted.items() for row in of_label[label][:number]]
    return random.sample(chosen, len(chosen))
