"""What does each further row give: a training with each of several numbers of rows and each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from reasoner.errors import ConfigError
from reasoner.experiments.plan import Variant, planned
from reasoner.experiments.records import Records
from reasoner.experiments.variants import run_all, shared_by
from reasoner.methods.base import Method
from reasoner.notices import collect
from reasoner.preparation import as_method
from reasoner.registry import name_of
from reasoner.reports.data_curve import DataCurve, make_data_curve
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import refuse_several

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HALVINGS = 5
"""How often the rows are halved where no sizes are given."""
LEAST_ROWS = 8
"""Of the smallest of those sizes."""


def learning_curve(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    method: str | Method = "full",
    output_dir: str | Path | None = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    check: bool = True,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> DataCurve:
    """Train with more and more of the rows, and say what further rows would give.

    Each run is what `fine_tune` would do with these rows; as in `compare`, a second call with `output_dir` makes only
    the runs that are missing. A seed draws an order of the rows, and a smaller set is the beginning of a larger one; it
    begins with a row for each label. Validation and test are the same for all.

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`; read once.
        task: as in `fine_tune`.
        sizes: numbers of training rows; None: all of them, a half, a quarter and so on down to a 32nd (or 8 rows).
        seeds: one training each with each size.
        method: as in `fine_tune`.
        output_dir: where each run leaves a record; None: nothing is written.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        check: as in `fine_tune`; with all rows alone.
        config: as in `fine_tune`; `evaluate_before` is off if none is given. With `num_train_epochs` few rows get few
            steps, with `max_steps` all get as many.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if a setting makes no sense, or the sizes are not numbers of rows that there are.
        DataError: if the data cannot be used.

    Example:
        >>> import reasoner
        >>> pack = reasoner.synthetic.nli_pack(train=64, validation=20, test=20)
        >>> curve = reasoner.learning_curve(None, pack, task="nli", output_dir="curve")  # doctest: +SKIP
        >>> print(curve, curve.forecast(2000))  # doctest: +SKIP
    """
    refuse_several("learning_curve")
    with collect(), TemporaryDirectory(prefix="reasoner-", ignore_cleanup_errors=True) as features:
        config = TrainingConfig.from_overrides(config or TrainingConfig(evaluate_before=False), overrides)
        base = Variant("all rows", model, task, as_method(method), tokenizer, config)
        plan = planned([base], seeds, overrides)
        shared = shared_by(plan, data, columns, None, check, features)
        learned, rows = shared.tasks[base.name], shared.examples["train"]
        orders = {variant.config.seed: _order(learned, rows, variant.config.seed) for variant in plan}
        chosen = _sizes(sizes, len(rows), least=max(covered for _, covered in orders.values()))
        runs = []
        for variant in plan:
            order, _ = orders[variant.config.seed]
            for size in chosen:
                part = {**shared.examples, "train": [rows[row] for row in sorted(order[:size])]}
                reading = shared.reading if size == len(rows) else None
                of_size = replace(shared, examples=part, tasks={str(size): learned}, reading=reading)
                runs.append((variant._replace(name=str(size)), of_size))
        return make_data_curve(
            run_all(runs, Records(output_dir)),
            task=name_of("task", type(learned)),
            metric=learned.primary_metric,
            split="test" if "test" in shared.examples else "validation",
        )


def _order(task: Task[Any, Any], rows: Sequence[Any], seed: int) -> tuple[list[int], int]:
    """Return the rows in the order in which they are added, and how many come first so that each label is there."""
    order = list(range(len(rows)))
    Random(f"rows {seed}").shuffle(order)
    first: list[int] = []
    met: set[str] = set()
    for row in order:
        names = set(task.gold_names(rows[row]))
        if names - met:
            first.append(row)
            met |= names
    taken = set(first)
    return [*first, *(row for row in order if row not in taken)], len(first)


def _sizes(sizes: Sequence[int] | None, rows: int, *, least: int) -> list[int]:
    if sizes is None:
        halved = [rows >> times for times in range(HALVINGS, -1, -1)]
        return sorted({size for size in halved if size >= max(least, LEAST_ROWS)} | {rows})
    wrong = [size for size in sizes if type(size) is not int or not least <= size <= rows]
    if wrong or len(set(sizes)) < len(sizes) or not sizes:
        raise ConfigError(f"sizes is {list(sizes)!r:.60}. Give different whole numbers from {least} (a row for each "
                          f"label) to {rows} (all training rows).")  # fmt: skip
    return sorted(sizes)
