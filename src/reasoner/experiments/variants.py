"""Which of several methods, models, heads or settings is best with an equal budget? One training a variant and seed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from reasoner import fingerprints
from reasoner.asking import Untrained
from reasoner.base_model import model_source
from reasoner.checks.reading import ReadingRecord
from reasoner.drawing import drawn_rows
from reasoner.errors import ConfigError
from reasoner.experiments.old_skills import OldSkills, tuned_folder
from reasoner.experiments.plan import Variant, planned, variants_of
from reasoner.experiments.records import Records
from reasoner.methods.base import Method
from reasoner.notices import collect, tell
from reasoner.preparation import (
    as_method,
    name_of_model,
    names_of_sources,
    read_examples,
    task_class_and_settings,
    versions,
)
from reasoner.registry import name_of
from reasoner.reports.leaderboard import Leaderboard, make_leaderboard
from reasoner.result import Result
from reasoner.tasks.base import Task
from reasoner.training.config import TrainingConfig
from reasoner.training.engine import choose_device
from reasoner.training.forecast import peak_memory_mib
from reasoner.training.memory import release_memory, reset_peak_memory
from reasoner.training.ranks import refuse_several
from reasoner.tuning import train_on_examples

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Shared:
    """What all runs have in common."""

    examples: Mapping[str, Sequence[Any]]
    tasks: Mapping[str, Task[Any, Any]]
    """That of each variant, with what it learned from the examples."""
    sources: Mapping[str, str]
    reading: ReadingRecord | None
    """None: data and models are not checked."""
    old: OldSkills | None
    features: str
    """A folder for what tokenising gives: the data are encoded once, not once a run."""


def compare(
    model: str | Path | PreTrainedModel | None,
    data: Any,
    *,
    task: str | Task[Any, Any],
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    methods: Sequence[str | Method] | None = None,
    models: Sequence[Any] | None = None,
    heads: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    method: str | Method | None = None,
    output_dir: str | Path | None = None,
    train_rows: int | None = None,
    old_data: Any = None,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    check: bool = True,
    config: TrainingConfig | None = None,
    **overrides: Any,
) -> Leaderboard:
    """Train methods, models, heads or settings on the same rows, with the same budget and seeds; put them in a table.

    Each run is what `fine_tune` would do. All seeds of the first round come before those of the second, so that after
    an interrupt every variant has as many. A run that fails is a row with its error, and the others go on.

    Args:
        model: as in `fine_tune`; what variants change is theirs.
        data: as in `fine_tune`; read and encoded once. A validation split that is cut off is that of the first seed.
        task: as in `fine_tune`.
        variants: name -> what is different there: "model", "method", "task" (of the same class; for heads and their
            settings), "tokenizer", "recipe", or fields of `TrainingConfig`. Or nothing is trained: "zero_shot" or
            "few_shot", with that function's settings as a mapping, beside "model", "task" and "tokenizer" alone; the
            seed is that of the run, and zero-shot is run once.
        methods: instead: methods, each a variant.
        models: instead, or with `methods`: models, each with each method.
        heads: likewise registered names of heads.
        seeds: each variant is trained once with each.
        method: of variants that name none; None: the recipe's, or "full".
        output_dir: where each run leaves a record (`runs/*.json`): a second call makes only those that are missing or
            have failed. Models are not kept. None: nothing is written.
        train_rows: each run learns from so many of the training rows, drawn with its seed; where rows have one label
            each, equally many of all (but for one). None: from all.
        old_data: rows with gold for the task that the models were tuned on before (folders that `fine_tune` wrote): how
            much of that is lost. The old head is put on the tuned layers.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        check: as in `fine_tune`.
        config: as in `fine_tune`; `evaluate_before` is off if none is given.
        overrides: fields of `TrainingConfig`, for all variants that do not say otherwise.

    Raises:
        ConfigError: if a name or setting is unknown, or there is nothing to compare.
        DataError: if the data cannot be used.

    Examples:
        >>> import reasoner
        >>> pack = reasoner.synthetic.nli_pack(train=40, validation=20, test=20)
        >>> print(reasoner.compare(None, pack, task="nli", methods=["full", "head"], max_steps=1))  # doctest: +SKIP
    """
    refuse_several("compare")
    with collect(), TemporaryDirectory(prefix="reasoner-", ignore_cleanup_errors=True) as features:
        config = TrainingConfig.from_overrides(config or TrainingConfig(evaluate_before=False), overrides)
        base = Variant("", model, task, as_method(method), tokenizer, config)
        lists = {"methods": methods, "models": models, "heads": heads}
        chosen = list(variants_of(base, variants, {name: of for name, of in lists.items() if of is not None}, method))
        plan = planned(chosen, seeds, overrides)
        shared = shared_by(plan, data, columns, old_data, check, features)
        of_seed = {seed: _with_rows(shared, plan[0], train_rows, seed) for seed in seeds}
        runs = run_all([(variant, of_seed[variant.config.seed]) for variant in plan], Records(output_dir))
        return make_leaderboard(
            runs,
            names=[variant.name for variant in chosen],
            task=name_of("task", type(shared.tasks[chosen[0].name])),
            metric=shared.tasks[chosen[0].name].primary_metric,
            split="test" if "test" in shared.examples else "validation",
        )


# --- what is shared ---------------------------------------------------------------------------------------------------


def shared_by(
    plan: Sequence[Variant], data: Any, columns: Mapping[str, Any] | None, old_data: Any, check: bool, features: str
) -> Shared:
    """Read the data, once for all runs.

    Raises:
        ConfigError: if the variants are not of one task and metric, or a model knows no old task that old data are for.
        DataError: if the data cannot be used.
    """
    tasks = [task_class_and_settings(variant.task) for variant in plan]
    classes = {task_class for task_class, _ in tasks}
    if len(classes) != 1:
        names = ", ".join(sorted(cls.__name__ for cls in classes)) or "none"
        raise ConfigError(f"Variants of one task can be compared; here they are of {names}.")
    for variant in plan if old_data is not None else ():
        if variant.asking is None:
            tuned_folder(variant.model)
    reading, config = ReadingRecord(), plan[0].config
    schemas = [task_class.schema(settings) for task_class, settings in tasks]
    schema = max(schemas, key=lambda each: len(each.__mro__))  # one that asks for more does for those that ask for less
    examples = read_examples(data, schema, config=config, columns=columns, record=reading)
    return Shared(
        examples=examples,
        tasks=_learned(plan, examples),
        sources=names_of_sources(data, list(examples)),
        reading=reading if check else None,
        old=None if old_data is None else OldSkills(old_data, choose_device(config.use_cpu)),
        features=features,
    )


def _with_rows(shared: Shared, variant: Variant, number: int | None, seed: int) -> Shared:
    """Return it with so many training rows, drawn with the seed, in their old order."""
    if number is None:
        return shared
    rows = drawn_rows(shared.tasks[variant.name], shared.examples["train"], number, seed=seed)
    return replace(shared, examples={**shared.examples, "train": rows})


def _learned(variants: Sequence[Variant], examples: Mapping[str, Sequence[Any]]) -> dict[str, Task[Any, Any]]:
    """Return each variant's task, with the labels of the examples."""
    tasks: dict[str, Task[Any, Any]] = {}
    for variant in {variant.name: variant for variant in variants}.values():
        task_class, settings = task_class_and_settings(variant.task)
        tasks[variant.name] = task_class.from_examples(examples, **settings)
    metrics = {task.primary_metric for task in tasks.values()}
    if len(metrics) != 1:
        raise ConfigError(f"The variants are scored by {' and '.join(sorted(metrics))}. Compare those with one metric.")
    return tasks


# --- the runs --------------------------------------------------------------------------------------------------------


def run_all(plan: Sequence[tuple[Variant, Shared]], records: Records) -> list[dict[str, Any]]:
    """Return the record of each run; those that are not there yet are made."""
    keys = _keys(plan)
    found = [records.find(key) for key in keys]
    missing = sum(record is None for record in found)
    if missing < len(plan):
        tell(f"{len(plan) - missing} of {len(plan)} runs are there already.")
    checked: set[str] = set()
    made = []
    for number, ((variant, shared), key, record) in enumerate(zip(plan, keys, found, strict=True), start=1):
        if record is None:
            tell(f"Run {number} of {len(plan)}: {variant.name}, seed {variant.config.seed}.")
            if shared.old and not variant.asking:
                shared.old.before(tuned_folder(variant.model))  # what is wrong with the old rows is no run's failure
            record = records.keep(key, _tried(variant, shared, check=variant.name not in checked))
        if record["error"] is None:
            checked.add(variant.name)
        made.append({**record, "variant": variant.name})  # a renamed variant is the same run
    return made


def _keys(plan: Sequence[tuple[Variant, Shared]]) -> list[str]:
    """Return a name for each run, made of all that its result is made of."""
    examples: dict[int, str] = {}
    models: dict[int, str] = {}
    keys = []
    for variant, shared in plan:
        if id(shared) not in examples:
            examples[id(shared)] = fingerprints.of_examples(shared.examples)
        source = model_source(variant.model)
        if id(variant.model) not in models:
            models[id(variant.model)] = fingerprints.of_model(source)
        asking = variant.asking
        parts = {
            "model": models[id(variant.model)],
            "task": fingerprints.of_task(shared.tasks[variant.name]),
            "method": repr(asking) if asking else fingerprints.of_method(variant.method),
            "tokenizer": fingerprints.of_tokenizer(variant.tokenizer),
            "config": "" if asking else fingerprints.of_config(variant.config),
            "examples": examples[id(shared)],
            "old": "" if shared.old is None else repr([row.columns for row in shared.old.rows]),
        }
        keys.append(f"seed-{variant.config.seed}-{fingerprints.fingerprint(parts)}")
    return keys


def _tried(variant: Variant, shared: Shared, *, check: bool) -> dict[str, Any]:
    """Run, and return the record: that of a failure if it is one. An interrupt by the keyboard is none."""
    release_memory()
    own_peak = reset_peak_memory()
    record: dict[str, Any] = {
        "variant": variant.name,
        "seed": variant.config.seed,
        "model": name_of_model(variant.model),
        "method": repr(variant.asking or variant.method),
        "config": {} if variant.asking else {**fingerprints.of_config(variant.config)},
        "versions": versions(),
        "error": None,
    }
    try:
        with collect(apart=True) as notices:
            if variant.asking:
                asked = Untrained.of(variant.model, variant.task, variant.asking, variant.tokenizer)
                result = asked.result(shared.examples, shared.sources, notices)
            else:
                result = _trained(variant, shared, check=check)
            record |= _measured(result, own_peak=own_peak)
            if shared.old and not variant.asking:
                record["old"] = shared.old.after(tuned_folder(variant.model), result.predictor)
    except Exception as error:
        record["error"] = f"{type(error).__name__}: {error}"
        record["traceback"] = traceback.format_exc()
        tell(f"{variant.name}, seed {variant.config.seed} failed, the others go on. {record['error']}")
    return record


def _trained(variant: Variant, shared: Shared, *, check: bool) -> Result:
    cache = variant.config.feature_cache or shared.features
    return train_on_examples(
        variant.model,
        shared.examples,
        task=variant.task,
        method=variant.method,
        config=replace(variant.config, feature_cache=cache),
        tokenizer=variant.tokenizer,
        sources=shared.sources,
        record=shared.reading if check else None,
    )


def _measured(result: Result, *, own_peak: bool) -> dict[str, Any]:
    """Return the scores of a run and what it cost; of one without training steps, what there is."""
    run, metric = result.run, result.run.primary_metric
    device = result.predictor.device
    train = run.metrics.get("train") or {
        "seconds": run.config.get("seconds"),
        "peak_memory_mib": peak_memory_mib(device),
    }
    peak = train.get("peak_memory_mib") if own_peak or device.type == "cuda" else None
    splits = [split for split in ("validation", "test") if split in run.metrics]
    return {
        "learning_rate": run.config.get("learning_rate"),
        "scores": {split: run.metrics[split][metric] for split in splits},
        "intervals": {split: run.intervals[split] for split in splits if split in run.intervals},
        "parameters": run.parameters,
        "trainable_parameters": run.trainable_parameters,
        **{name: train.get(name) for name in ("seconds", "steps", "epochs", "tokens_per_second")},
        "stopped_early": run.stopped_early,
        "peak_memory_mib": peak,
        "disk_bytes": _bytes_on_disk(result),
        "device": device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "notices": run.notices,
    }


def _bytes_on_disk(result: Result) -> int:
    """Return what the weights take when they are saved; the tokenizer is the same for all."""
    with TemporaryDirectory(prefix="reasoner-", ignore_cleanup_errors=True) as folder:
        result.save(folder)
    return result.run.bytes_on_disk
