"""How are exactly so many trials finished, by one process or by several, killed and started again or not?"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.errors import ConfigError, DataError
from reasoner.notices import tell
from reasoner.training.memory import release_memory

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STUDY_FILE = "study.db"
HEARTBEAT = 10
"""Seconds between the signs of life of a running trial; without one for three times as long it counts as failed."""
SAME_ERRORS = 3
"""If so many first trials of a call fail with one error, it is no matter of their settings: the search ends."""
ERROR, WITHDRAWN, MADE_OF = "error", "withdrawn", "made_of"
"""Attributes of a trial and of a study."""
_OPENED_AGAIN = 5


class _WithdrawnError(Exception):
    """Another process was quicker: this trial would be one too many."""


@contextmanager
def optuna_quiet() -> Iterator[None]:
    """Silence optuna inside the block: what matters is said by this library.

    Raises:
        ConfigError: if optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("search needs optuna. Install it: pip install 'reasoner-ft[search]'") from None
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of heartbeats
            yield
    finally:
        optuna.logging.set_verbosity(level)


def open_study(
    storage: str | BaseStorage | None,
    folder: Path | None,
    *,
    name: str,
    greater: bool,
    pruner: BasePruner | None,
    made_of: Mapping[str, Any],
) -> tuple[Study, bool]:
    """Return the study, new or as it was left, and whether its storage hears the heartbeat of running trials.

    Args:
        storage: a URL, or a storage of optuna; None: SQLite in the folder, or without one the memory.
        folder: for the file of the study.
        name: of the study.
        greater: whether a greater value is a better one.
        pruner: None: the median.
        made_of: JSON values; a study that is found must be made of the same.

    Raises:
        ConfigError: if the storage cannot be opened, or holds a study of this name that is made of something else.
    """
    import optuna

    if storage is None and folder is not None:
        storage = f"sqlite:///{(folder / STUDY_FILE).resolve().as_posix()}"
    if isinstance(storage, str):
        storage = _database(storage)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize" if greater else "minimize",
        pruner=pruner or optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        load_if_exists=True,
    )
    had = study.user_attrs.get(MADE_OF)
    if had is None:
        study.set_user_attr(MADE_OF, dict(made_of))
    elif other := sorted(part for part in made_of if had.get(part) != made_of[part]):
        raise ConfigError(
            f"The study '{name}' is there already, and was made with another {' and another '.join(other)}. "
            "Give another output_dir or study_name, or the same arguments to go on with it."
        )
    return study, getattr(storage, "heartbeat_interval", None) is not None


def run_trials(
    study: Study,
    objective: Callable[[Trial], float],
    *,
    n_trials: int,
    heartbeats: bool,
    after: Callable[[FrozenTrial], None],
) -> None:
    """Run trials until `n_trials` are finished, complete or pruned, counting those that were there before.

    Where there are heartbeats, running trials of other processes count too, so that no one makes one too many; those
    that a dead process left are marked as failed. At the end all wait for the last one.

    Args:
        study: of optuna.
        objective: makes a trial and returns its value.
        n_trials: how many there are to be in the study.
        heartbeats: what `open_study` gave.
        after: is called with each trial of this process that is over.

    Raises:
        DataError: of a trial: other settings would not help.
        Exception: of the last trial, if the first three fail with the same error, or as many as `n_trials` fail.
    """
    errors: list[str] = []
    numbers: list[int] = []

    def admitted(trial: Trial) -> float:
        if _claimed(study, heartbeats, before=trial.number) >= n_trials:
            trial.set_user_attr(WITHDRAWN, True)
            raise _WithdrawnError
        numbers.append(trial.number)
        return objective(trial)

    while _wait_for_turn(study, n_trials, heartbeats):
        try:
            study.optimize(admitted, n_trials=1)
        except _WithdrawnError:
            continue
        except DataError:
            raise
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
            same = len(numbers) == SAME_ERRORS == len(errors) and len(set(errors)) == 1
            if same or len(errors) >= max(n_trials, SAME_ERRORS):
                error.add_note(f"{len(errors)} trials failed{' with this error' if same else ', this is the last'}.")
                raise
        release_memory()
        after(study.get_trials(deepcopy=False)[numbers[-1]])


def _wait_for_turn(study: Study, n_trials: int, heartbeats: bool) -> bool:
    """Return True when a trial is to be made, False when enough are finished; wait while others may still fail."""
    import optuna

    said = False
    while True:
        if heartbeats:
            optuna.storages.fail_stale_trials(study)
        if _claimed(study, heartbeats=False) >= n_trials:
            return False
        if _claimed(study, heartbeats) < n_trials:
            return True
        if not said:
            tell(f"The last trials are running elsewhere, or were left by a process that died: then {3 * HEARTBEAT} s "
                 "after its last sign of life they are made here.")  # fmt: skip
            said = True
        time.sleep(0.5)


def _claimed(study: Study, heartbeats: bool, *, before: int | None = None) -> int:
    """Return how many trials are finished, with `heartbeats` those that run too; of those with a lower number."""
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED, *([TrialState.RUNNING] if heartbeats else []))
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(before is None or trial.number < before for trial in trials)


def _database(url: str) -> BaseStorage:
    """Return the storage behind a URL; other processes may be making its tables at this moment."""
    from optuna.storages import RDBStorage

    arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    for attempt in range(_OPENED_AGAIN):
        try:
            return RDBStorage(url, engine_kwargs=arguments, heartbeat_interval=HEARTBEAT, grace_period=3 * HEARTBEAT)
        except Exception as error:  # of SQLAlchemy, of the driver, or of optuna
            if attempt == _OPENED_AGAIN - 1:
                raise ConfigError(f"The storage '{url}' cannot be opened: {error}") from error
        time.sleep(0.3)
    raise AssertionError
