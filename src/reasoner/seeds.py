"""One training with each of several seeds: which model is kept, and what is recorded of the others?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.errors import ConfigError, ReasonerError
from reasoner.metrics import greater_is_better
from reasoner.notices import collect, tell
from reasoner.reports.run import Run
from reasoner.storage import save_folder
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import current

if TYPE_CHECKING:
    from reasoner.result import Result


def configs_of_seeds(
    config: TrainingConfig, seeds: Sequence[int] | None, overrides: Mapping[str, Any]
) -> list[TrainingConfig]:
    """Return the config with each seed; as it is when none are given.

    Raises:
        ConfigError: if `seed` is overridden too, or `seeds` is no list of different whole numbers.
    """
    if seeds is None:
        return [config]
    if "seed" in overrides:
        raise ConfigError("Both seed and seeds are given. Leave one out.")
    if isinstance(seeds, str) or not isinstance(seeds, Sequence) or not seeds:
        raise ConfigError(f"seeds is {seeds!r:.60}. Give a list of whole numbers, such as [0, 1, 2].")
    configs = [replace(config, seed=seed) for seed in seeds]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds is {list(seeds)!r:.60}. Give each one once: the same seed gives the same model.")
    return configs


def best_of(train: Callable[..., Result], configs: Sequence[TrainingConfig], folder: Path | None) -> Result:
    """Train with each config and return the result that is best on validation, the earlier one on a tie.

    Its model alone is held, on the CPU while others train. Each training works in a new folder inside `folder`, which
    is removed when it is done, and stays when it breaks off; `folder` itself holds the best of those that are done.

    Args:
        train: called with a config and a folder.
        configs: one a seed.
        folder: where the kept model is written; None: nowhere.

    Raises:
        ReasonerError: what `train` raises, with the seed named.
    """
    kept: Result | None = None
    rows: list[dict[str, Any]] = []
    for config in configs:
        tell(f"Seed {config.seed}, {len(rows) + 1} of {len(configs)}.")
        own = current().on_main(partial(_folder_in, folder, f"seed-{config.seed}-"))
        result = _named(train, config, own)
        rows.append(_row(result.run))
        device = result.predictor.device
        better = kept is None or _rank(result.run) > _rank(kept.run)
        if kept is None or better:
            kept = result
            kept.predictor.model.to("cpu")
        del result  # or its weights would still be held when the next model is loaded
        kept.run.seeds = list(rows)
        if folder is not None and own is not None:
            current().on_main(partial(_keep, folder, own, kept, better=better))
    assert kept is not None
    kept.predictor.model.to(device)
    return kept


def _keep(folder: Path, own: Path, kept: Result, *, better: bool) -> None:
    """Write the best so far, with its history if that is in its own folder, which goes."""
    if better:
        (own / "history.jsonl").replace(folder / "history.jsonl")
    save_folder(folder, kept.predictor, kept.run)
    shutil.rmtree(own)


def _folder_in(folder: Path | None, prefix: str) -> Path | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))


def _named(train: Callable[..., Result], config: TrainingConfig, folder: Path | None) -> Result:
    """Train, collecting what is said for this run alone; an error says which seed it was."""
    try:
        with collect(apart=True):
            return train(config, folder)
    except ReasonerError as error:
        error.args = (f"Seed {config.seed}: {error}", *error.args[1:])
        raise
    except Exception as error:
        error.add_note(f"This was seed {config.seed}.")
        raise


def _row(run: Run) -> dict[str, Any]:
    metric = run.primary_metric
    row: dict[str, Any] = {"seed": run.config["seed"], "seconds": run.metrics["train"]["seconds"]}
    for split in ("validation", "test"):
        if split in run.metrics:
            row[split] = {metric: run.metrics[split][metric]}
    return row


def _rank(run: Run) -> float:
    """Return the validation score, turned so that more is better; one that is no number is the worst."""
    score = float(run.metrics["validation"][run.primary_metric])
    return -inf if isnan(score) else score if greater_is_better(run.primary_metric) else -score
