"""Which settings score best on validation? A search on optuna that resumes, and that several processes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import TYPE_CHECKING, Any

from reasoner import fingerprints
from reasoner.base_model import model_source
from reasoner.checks.reading import ReadingRecord
from reasoner.errors import ConfigError
from reasoner.experiments.search_space import Space, default_space, described, draw, make_space, with_values
from reasoner.experiments.settings import write_settings
from reasoner.experiments.study import ERROR, WITHDRAWN, open_study, optuna_quiet, run_trials
from reasoner.methods.base import Method
from reasoner.metrics import greater_is_better
from reasoner.model import read_config
from reasoner.notices import collect, tell
from reasoner.preparation import as_method, read_examples, task_class_and_settings
from reasoner.registry import name_of
from reasoner.reports.trials import SearchResult, trial_values
from reasoner.result import Result
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import refuse_several
from reasoner.training.trainer import Trainer
from reasoner.tuning import train_on_examples

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from transformers import PreTrainedModel

SETTINGS_FILE = "best_settings.json"


@dataclass(frozen=True)
class _Given:
    """What all trials have in common."""

    model: Any
    task: str | Task[Any, Any]
    learned: Task[Any, Any]
    method: Method
    config: TrainingConfig
    space: Space
    examples: Mapping[str, Sequence[Any]]
    tokenizer: Any
    callbacks: tuple[Callback, ...]
    reading: ReadingRecord | None
    """None: data and model are not checked."""
    features: str
    """A folder for what tokenising gives: the data are encoded once, not once a trial."""

    @property
    def metric(self) -> str:
        """What trials are scored by."""
        return self.learned.primary_metric


def search(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    method: str | Method = "full",
    space: Mapping[str, Any] | None = None,
    n_trials: int = 20,
    output_dir: str | Path | None = None,
    storage: str | BaseStorage | None = None,
    study_name: str = "search",
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    train_best: bool = False,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    callbacks: Sequence[Callback] = (),
    check: bool = True,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> SearchResult:
    """Search for the settings that score best on validation; needs optuna (the extra `search`).

    Each trial is one training on the same rows with the same seed. It reports to the pruner at each evaluation, and is
    ended there if others did better by then. Called again with the same arguments, a search goes on where it was, even
    if it was killed; several processes may work on it at once. Test rows are not looked at.

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`; read and encoded once.
        task: as in `fine_tune`.
        method: as in `fine_tune`; it must be registered.
        space: where to look: name -> `(low, high)`, `(low, high, "log")`, a list, or a distribution of optuna. Names
            are fields of `TrainingConfig`, "method" (a list of registered names), or the method's own settings, such
            as "method.layers". None: the learning rate around the method's rule, batch size, epochs, weight decay and
            warm-up, without those that `config` or `overrides` set.
        n_trials: how many trials there are to be in all, complete or pruned: those of earlier calls and of other
            processes count, failed ones do not.
        output_dir: where the study (`study.db`, SQLite) and the best setting (`best_settings.json`) are kept; None:
            nowhere.
        storage: of the study instead: a URL as SQLAlchemy has it, or a storage of optuna. (With a storage object that
            has no heartbeats, running trials do not count: several processes may make some too many.)
        study_name: of the study in its storage.
        sampler: of optuna; None: TPE, seeded by `seed` and the number of the trial.
        pruner: of optuna; None: the median, from the second evaluation of the sixth trial on.
        train_best: train once more with the best setting, score it on test, and keep it in `output_dir/best_model`.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        callbacks: as in `fine_tune`, for each training.
        check: as in `fine_tune`; at the first trial.
        config: as in `fine_tune`: what is not searched.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if optuna is not installed, a name or setting is unknown, or the study in the storage is of other
            data, another model or other settings.
        DataError: if the data cannot be used.
        Exception: that of the trials, if the first three of this call fail with the same, or as many as `n_trials`.

    Examples:
        >>> import reasoner
        >>> pack = reasoner.synthetic.nli_pack(train=40, validation=20, test=20)
        >>> found = reasoner.search(None, pack, task="nli", n_trials=5, output_dir="found")  # doctest: +SKIP
        >>> best = reasoner.read_settings("found/best_settings.json")  # doctest: +SKIP
        >>> result = reasoner.fine_tune(None, pack, task="nli", **best)  # doctest: +SKIP
    """
    refuse_several("search")
    with collect(), optuna_quiet(), TemporaryDirectory(prefix="reasoner-", ignore_cleanup_errors=True) as features:
        _check(n_trials, space, overrides)
        folder = _made(output_dir)
        method, config = as_method(method), _settings(config, overrides)
        name_of("method", type(method))  # or the best setting could not be written
        ranges = make_space(space or default_space(method, _width(model), config), method, config)
        (task_class, settings), reading = task_class_and_settings(task), ReadingRecord()
        examples = read_examples(data, task_class.schema(settings), config=config, columns=columns, record=reading)
        learned = task_class.from_examples(examples, **settings)
        shared = (ranges, examples, tokenizer, tuple(callbacks), reading if check else None, features)
        given = _Given(model, task, learned, method, config, *shared)
        greater = greater_is_better(given.metric)
        study, heartbeats = open_study(
            storage, folder, name=study_name, greater=greater, pruner=pruner, made_of=_made_of(given)
        )
        trials = _Trials(given, study, n_trials, sampler, folder and folder / SETTINGS_FILE)
        run_trials(study, trials.objective, n_trials=n_trials, heartbeats=heartbeats, after=trials.after)
        return trials.found(train_best=train_best)


class _Trials:
    """Makes trials of a study, and keeps the best setting."""

    def __init__(
        self, given: _Given, study: Study, n_trials: int, sampler: BaseSampler | None, path: Path | None
    ) -> None:
        self.given, self.study, self.n_trials, self.sampler, self.path = given, study, n_trials, sampler, path
        self.checked = False

    def objective(self, trial: Trial) -> float:
        """Train once, and return the score on validation."""
        from optuna import TrialPruned
        from optuna.samplers import TPESampler

        given = self.given
        # Seeded anew for each trial: a search that goes on does not draw its first trials again, and no two processes
        # draw the same.
        seed, startup = given.config.seed + trial.number, min(10, max(5, self.n_trials // 4))
        self.study.sampler = self.sampler or TPESampler(seed=seed, n_startup_trials=startup)
        values = draw(trial, given.space)
        tell(f"Trial {trial.number}: " + ", ".join(f"{name} {_short(value)}" for name, value in values.items()))
        try:
            method, config = with_values(given.method, given.config, values)
            with collect(apart=True):
                result = _trained(
                    given,
                    method,
                    replace(config, evaluate_before=False, feature_cache=config.feature_cache or given.features),
                    {split: rows for split, rows in given.examples.items() if split != "test"},
                    callbacks=(*given.callbacks, _Report(trial, given.metric)),
                    record=None if self.checked else given.reading,
                )
        except TrialPruned:
            self.checked = True
            raise
        except Exception as error:
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
            raise
        self.checked = True
        return float(result.metrics["validation"][given.metric])

    def after(self, trial: FrozenTrial) -> None:
        """Say what came of a trial, and write the best setting when it is that."""
        best, row = self.best(), trial_values(trial)
        value = "" if row["value"] is None else f", {self.given.metric} {row['value']:.4f}"
        so_far = f"; the best is {best.value:.4f} of trial {best.number}" if best else ""
        tell(f"Trial {trial.number} {row['state']}{value or ', ' + str(row['error'])}{so_far}.")
        if best is not None and self.path is not None:
            method, config = with_values(self.given.method, self.given.config, best.params)
            found = {"metric": self.given.metric, "value": best.value, "trial": best.number}
            write_settings(self.path, method, config, found=found)

    def best(self) -> FrozenTrial | None:
        """Return the best of the trials that are complete."""
        try:
            return self.study.best_trial
        except ValueError:  # none is
            return None

    def found(self, *, train_best: bool) -> SearchResult:
        """Return what was found; if asked, train once more with the best setting, and score it on test."""
        best = self.best()
        method, config = with_values(self.given.method, self.given.config, best.params if best else {})
        result = None
        if train_best and best is not None:
            tell(f"Training once more with the setting of trial {best.number}.")
            folder = self.path and self.path.with_name("best_model")
            result = _trained(self.given, method, config, self.given.examples, folder=folder)
        trials = (trial for trial in self.study.get_trials() if WITHDRAWN not in trial.user_attrs)
        return SearchResult(
            task=name_of("task", type(self.given.learned)),
            metric=self.given.metric,
            trials=tuple(map(trial_values, trials)),
            best=trial_values(best) if best else None,
            method=method,
            config=config,
            path=self.path if self.path and self.path.exists() else None,
            study=self.study,
            result=result,
        )


class _Report(Callback):
    """Tells the trial each score on validation, and ends the training when the pruner says so."""

    def __init__(self, trial: Trial, metric: str) -> None:
        self.trial, self.metric, self.evaluations = trial, metric, 0

    def on_evaluate(self, trainer: Trainer, metrics: dict[str, Any]) -> None:
        """Report; at the last evaluation there is nothing left to save."""
        from optuna import TrialPruned

        self.evaluations += 1
        self.trial.report(float(metrics[self.metric]), self.evaluations)
        if trainer.step < trainer.total_steps and self.trial.should_prune():
            raise TrialPruned(f"after {self.evaluations} evaluations")


def _trained(
    given: _Given, method: Method, config: TrainingConfig, examples: Mapping[str, Sequence[Any]], **more: Any
) -> Result:
    return train_on_examples(
        given.model, examples, task=given.task, method=method, config=config, tokenizer=given.tokenizer, **more
    )


def _check(n_trials: int, space: Mapping[str, Any] | None, overrides: Mapping[str, Any]) -> None:
    if not isinstance(n_trials, int) or n_trials < 1:
        raise ConfigError(f"n_trials is {n_trials!r}. Give a whole number from 1 up.")
    if both := sorted({*(space or {})} & {*overrides}):
        raise ConfigError(f"{' and '.join(both)} cannot be searched and set at once. Leave it out of one.")


def _settings(config: TrainingConfig | None, overrides: dict[str, Any]) -> TrainingConfig:
    config = TrainingConfig.from_overrides(config, overrides)
    if not isinstance(config.teacher, (str, Path, NoneType)):
        raise ConfigError("search writes the best setting into a file: save the teacher, and give its folder.")
    return config


def _width(model: Any) -> int:
    return int(read_config(model_source(model)).hidden_size)


def _made(output_dir: str | Path | None) -> Path | None:
    if output_dir is None:
        return None
    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"output_dir '{folder}' cannot be written: {error}. Give another.") from error
    return folder


def _made_of(given: _Given) -> dict[str, Any]:
    """Return what must be the same for a study to go on."""
    return {
        "model": fingerprints.of_model(model_source(given.model)),
        "data": fingerprints.of_examples(given.examples),
        "task": fingerprints.of_task(given.learned),
        "method": fingerprints.of_method(given.method),
        "tokenizer": fingerprints.of_tokenizer(given.tokenizer),
        "config": fingerprints.of_config(given.config),
        "space": described(given.space),
    }


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
