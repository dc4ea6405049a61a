"""Does a run say how sure its scores are, is it compared on equal rows, and do seeds differ in the seed alone?"""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES, FIVE

import reasoner
from reasoner import Callback, ConfigError, DivergedError, TrainingConfig
from reasoner.comparison import Comparison
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.metrics import bootstrap_interval, mcnemar
from reasoner.model import TaskModel

ROWS = CASES["classification"].splits
QUICK = {"max_steps": 3, "per_device_train_batch_size": 4, "use_cpu": True, "disable_tqdm": True, "learning_rate": 3e-3}
TIMES = ("seconds", "evaluation_seconds", "tokens_per_second", "peak_share", "rows_per_second")


def examples_of(result: reasoner.Result, rows: Any) -> list[Any]:
    return examples_from_rows(read_splits({"test": rows}), result.predictor.task.Example)["test"]


# --- intervals and comparison ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIVE)
def test_a_run_has_intervals_and_is_compared_with_before(lively_bert: Path, name: str, tmp_path: Path) -> None:
    case = CASES[name]
    result = reasoner.fine_tune(lively_bert, case.splits, task=case.task, output_dir=tmp_path, **QUICK)
    run, metric = result.run, result.run.primary_metric
    assert list(run.intervals) == ["before", "validation", "test"]
    for split, interval in run.intervals.items():
        assert interval["lower"] <= run.metrics[split][metric] <= interval["upper"]
        assert interval["confidence"] == 0.95
    examples, task = examples_of(result, case.splits["test"]), result.predictor.task
    again = result.predictor.evaluate_examples(examples)
    expected = bootstrap_interval(*task.primary_counts(again.predictions, examples))
    assert run.intervals["test"] == {"lower": expected.lower, "upper": expected.upper, "confidence": 0.95}

    assert run.comparison is not None
    found = Comparison(**run.comparison)
    assert (found.metric, found.rows) == (metric, len(examples))
    assert (found.before, found.after) == (run.metrics["before"][metric], run.metrics["test"][metric])
    assert found.p_value is not None and found.mcnemar_p_value is not None
    right = task.rows_right(again.predictions, examples)
    after_right = {example.where for example, hit in zip(examples, right, strict=True) if hit}
    assert set(found.fixed) <= after_right and not set(found.broken) & after_right
    assert f"{found.difference:+.4f} (95% interval" in result.report()
    loaded = reasoner.load(tmp_path, use_cpu=True)
    assert (loaded.run.comparison, loaded.run.intervals) == (run.comparison, run.intervals)
    assert "After against before" in (tmp_path / "README.md").read_text("utf-8")


def test_without_a_test_split_validation_is_compared_and_without_before_nothing_is(lively_bert: Path) -> None:
    data = {"train": ROWS["train"], "validation": ROWS["validation"]}
    result = reasoner.fine_tune(lively_bert, data, task="classification", **QUICK)
    assert list(result.run.intervals) == ["before", "validation"]
    assert result.run.comparison is not None
    assert result.run.comparison["after"] == result.metrics["validation"]["macro_f1"]
    result = reasoner.fine_tune(lively_bert, data, task="classification", evaluate_before=False, **QUICK)
    assert list(result.run.intervals) == ["validation"] and result.run.comparison is None
    assert "against before" not in result.report()


def test_entities_are_scored_by_what_training_showed_and_the_folder_does_not_hold_that(
    lively_bert: Path, tmp_path: Path
) -> None:
    def row(name: str) -> dict[str, Any]:
        return {"tokens": ["see", name, "there"], "ner_tags": ["O", "B-PER", "O"]}

    data = {"train": [row("Qwxyzanna"), row("Bob")], "validation": [row("Bob")] * 2, "test": [row("bob"), row("Eve")]}
    result = reasoner.fine_tune(lively_bert, data, task="ner", output_dir=tmp_path, **QUICK)
    for split, seen in (("before", 1), ("validation", 2), ("test", 1)):
        slices = result.metrics[split]["by_novelty"]
        assert (slices["seen"]["support"], slices["unseen"]["support"]) == (seen, 2 - seen)
    assert result.metrics["test"]["by_rule"]["conll"]["f1"] == result.metrics["test"]["f1"]
    assert "by novelty" in result.report()
    for path in tmp_path.iterdir():
        assert b"qwxyzanna" not in path.read_bytes().lower(), path.name


# --- one model against another --------------------------------------------------------------------------------------


def test_a_result_is_compared_with_another(lively_bert: Path) -> None:
    short = reasoner.fine_tune(lively_bert, ROWS, task="classification", **QUICK)
    long = reasoner.fine_tune(lively_bert, ROWS, task="classification", **{**QUICK, "max_steps": 40})
    rows, metric = [*ROWS["train"], *ROWS["test"]], short.run.primary_metric
    found = long.compare(short, rows)
    assert (found.before, found.after) == tuple(result.evaluate(rows)[metric] for result in (short, long))
    examples = examples_of(long, rows)
    rights = [
        result.predictor.task.rows_right(result.predict([row["text"] for row in rows]), examples)
        for result in (short, long)
    ]
    changes = list(zip(*rights, strict=True))
    assert (found.fixed_count, found.broken_count) == (changes.count((False, True)), changes.count((True, False)))
    assert found.mcnemar_p_value == mcnemar(*rights).p_value
    assert found.fixed_count or found.broken_count  # or nothing was compared
    back = short.compare(long, {"test": rows})
    assert (back.difference, back.fixed_count) == (pytest.approx(-found.difference), found.broken_count)
    same = long.compare(long, rows)
    assert (same.difference, same.p_value, same.mcnemar_p_value, same.fixed_count) == (0, 1, 1, 0)
    assert f"{metric} on 18 rows" in str(found)


def test_results_that_cannot_be_compared_are_refused(lively_bert: Path) -> None:
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", **QUICK)
    other = reasoner.fine_tune(lively_bert, CASES["nli"].splits, task="nli", **QUICK)
    fewer = [{**row, "label": row["label"].replace("green", "blue")} for row in ROWS["train"]]
    less = reasoner.fine_tune(lively_bert, {"train": fewer, "validation": fewer}, task="classification", **QUICK)
    with pytest.raises(ConfigError, match="different tasks"):
        result.compare(other, ROWS["test"])
    with pytest.raises(ConfigError, match="only one of them has green"):
        result.compare(less, ROWS["test"])
    with pytest.raises(ConfigError, match="takes one split, and the data has train, validation, test"):
        result.compare(result, ROWS)


# --- seeds ----------------------------------------------------------------------------------------------------------


def test_the_best_seed_is_kept_and_is_what_that_seed_alone_gives(lively_bert: Path, tmp_path: Path) -> None:
    seeds, settings = [5, 3, 8], {**QUICK, "max_steps": 6}
    alone = {
        seed: reasoner.fine_tune(lively_bert, ROWS, task="classification", seed=seed, **settings) for seed in seeds
    }
    result = reasoner.fine_tune(
        lively_bert, ROWS, task="classification", seeds=seeds, output_dir=tmp_path / "out", **settings
    )
    scores = {seed: one.metrics["validation"]["macro_f1"] for seed, one in alone.items()}
    assert len(set(scores.values())) > 1  # or which is kept would not matter
    best = max(seeds, key=scores.__getitem__)  # the first of equals
    assert [(row["seed"], row["validation"], row["test"]) for row in result.run.seeds] == [
        (s, {"macro_f1": scores[s]}, {"macro_f1": alone[s].metrics["test"]["macro_f1"]}) for s in seeds
    ]
    assert all(row["seconds"] > 0 for row in result.run.seeds)
    assert result.run.config["seed"] == best
    texts = [row["text"] for row in ROWS["test"]]
    assert result.predict(texts) == alone[best].predict(texts)
    kept, single = result.run.to_dict(), alone[best].run.to_dict()
    for record in (kept, single):  # times, and what a clock has a part in
        for scores_of_split in [*record["metrics"].values(), *record["history"]]:
            for name in (*TIMES, "peak_memory_mib"):
                scores_of_split.pop(name, None)
        record.pop("seeds")
        record.pop("checks")
        record.pop("notices")
        record.pop("bytes_on_disk")  # one of them was not saved
    assert kept == single

    folder = tmp_path / "out"
    assert not [path for path in folder.iterdir() if path.is_dir()]  # those of the seeds are gone
    loaded = reasoner.load(folder, use_cpu=True)
    assert loaded.run.to_dict() == json.loads(json.dumps(result.run.to_dict()))
    assert loaded.predict(texts) == result.predict(texts)
    lines = (folder / "history.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == result.history
    report = result.report()
    assert f"3 seeds; seed {best} is kept" in report and "\nmean " in report and "\ndeviation " in report


def test_notices_are_those_of_the_kept_run_and_each_is_logged_once(lively_bert: Path, caplog: Any) -> None:
    settings = {**QUICK, "learning_rate": None}
    with caplog.at_level("INFO", logger="reasoner"):
        result = reasoner.fine_tune(
            lively_bert, {"train": ROWS["train"]}, task="classification", seeds=[1, 2, 3], check=False, **settings
        )
    for said in ("Learning rate", "No validation split was given"):
        assert sum(notice.startswith(said) for notice in result.run.notices) == 1
        assert sum(record.message.startswith(said) for record in caplog.records) == 1
    assert sum("calibrat" in notice.lower() for notice in result.run.notices) <= 1
    assert [f"Seed {seed}, {seed} of 3." for seed in (1, 2, 3)] == [
        record.message for record in caplog.records if record.message.startswith("Seed ")
    ]


def test_a_cut_validation_split_is_the_same_for_all_seeds(lively_bert: Path) -> None:
    seen = []

    class Watch(Callback):
        def on_train_begin(self, trainer: Any) -> None:
            features = map(trainer.batches.read, range(len(trainer.batches.lengths)))
            seen.append((trainer.config.seed, sorted(tuple(f.inputs["input_ids"]) for f in features)))

    data = {"train": [row for rows in ROWS.values() for row in rows]}
    result = reasoner.fine_tune(lively_bert, data, task="classification", seeds=[4, 9], callbacks=[Watch()], **QUICK)
    assert [seed for seed, _ in seen] == [4, 9] and seen[0][1] == seen[1][1]
    assert "(seed 4, " in " ".join(result.run.notices)
    reasoner.fine_tune(lively_bert, data, task="classification", seed=9, callbacks=[Watch()], **QUICK)
    assert seen[2][1] != seen[0][1]  # another seed would have cut others off


def test_of_the_other_models_only_the_best_is_held(lively_bert: Path) -> None:
    gc.collect()
    earlier = {id(thing) for thing in gc.get_objects() if type(thing) is TaskModel}
    alive = []

    class Count(Callback):
        def on_train_begin(self, trainer: Any) -> None:
            alive.append(sum(type(o) is TaskModel and id(o) not in earlier for o in gc.get_objects()))

    reasoner.fine_tune(lively_bert, ROWS, task="classification", seeds=[1, 2, 3, 4], callbacks=[Count()], **QUICK)
    assert alive == [1, 2, 2, 2]


def test_an_error_names_its_seed_and_leaves_what_is_done(lively_bert: Path, tmp_path: Path) -> None:
    class Fail(Callback):
        def __init__(self, error: Exception) -> None:
            self.error = error

        def on_train_begin(self, trainer: Any) -> None:
            if trainer.config.seed == 7:
                raise self.error

    with pytest.raises(DivergedError, match=r"^Seed 7: The loss is NaN") as caught:
        reasoner.fine_tune(
            lively_bert, ROWS, task="classification", seeds=[6, 7, 8], output_dir=tmp_path / "out",
            callbacks=[Fail(DivergedError("The loss is NaN", step=3))], **QUICK,
        )  # fmt: skip
    assert caught.value.step == 3
    loaded = reasoner.load(tmp_path / "out", use_cpu=True)
    assert loaded.run.config["seed"] == 6 and [row["seed"] for row in loaded.run.seeds] == [6]
    with pytest.raises(RuntimeError, match="out of memory") as other:
        reasoner.fine_tune(
            lively_bert,
            ROWS,
            task="classification",
            seeds=[7],
            callbacks=[Fail(RuntimeError("out of memory"))],
            **QUICK,
        )
    assert other.value.__notes__ == ["This was seed 7."]


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds is \\[\\]. Give a list of whole numbers"),
        ("012", "seeds is '012'. Give a list"),
        (3, "seeds is 3. Give a list"),
        ([1, 2, 1], "Give each one once"),
        ([0, -1], "seed is -1; it must be an integer of at least 0"),
        ([True], "seed is True"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(refused, seeds: Any, message: str) -> None:
    files = {f"{split}.jsonl": "\n".join(map(json.dumps, rows)) for split, rows in ROWS.items()}
    error = refused(files, "classification", seeds=seeds)
    assert isinstance(error, ConfigError)
    with pytest.raises(ConfigError, match=message):
        raise error


def test_one_seed_or_several_but_not_both(lively_bert: Path) -> None:
    with pytest.raises(ConfigError, match="Both seed and seeds are given"):
        reasoner.fine_tune(lively_bert, ROWS, task="classification", seeds=[0, 1], seed=3, **QUICK)
    result = reasoner.fine_tune(
        lively_bert, ROWS, task="classification", seeds=(4,), config=TrainingConfig(seed=3), **QUICK
    )
    assert result.run.config["seed"] == 4 and len(result.run.seeds) == 1
    assert "seeds;" not in result.report()
