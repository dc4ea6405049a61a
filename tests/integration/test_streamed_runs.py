"""Does fine_tune train on a stream of rows: every task, in little memory, with the labels that there are, or a word?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from task_cases import CASES

import reasoner
from reasoner import NER, Classification, ConfigError, DataError, LabelError, TrainingConfig
from reasoner.data.streams import FIRST
from reasoner.notices import collect
from tiny import CORPUS

QUICK: dict[str, Any] = {"use_cpu": True, "disable_tqdm": True, "learning_rate": 1e-3, "per_device_train_batch_size": 4}
ROWS = CASES["classification"].splits
SEQUENCE = [{"text": text, "label": "long" if len(text.split()) > 8 else "short"} for text in CORPUS[:30]]


class Lines(torch.utils.data.IterableDataset):
    """A stream that counts what it gave; `items` is called for each pass."""

    def __init__(self, items: Any) -> None:
        self.items, self.given = items, 0

    def __iter__(self) -> Any:
        for item in self.items():
            self.given += 1
            yield item


def streamed(rows: list[dict[str, Any]], features: Any = None) -> datasets.IterableDataset:
    return datasets.Dataset.from_list(rows, features=features).to_iterable_dataset(num_shards=2)


def tune(model: Path, train: Any, **settings: Any) -> Any:
    data = {"train": train, "validation": ROWS["validation"]}
    return reasoner.fine_tune(model, data, **{"task": "classification", "max_steps": 4, **QUICK, **settings})


@pytest.mark.parametrize("name", CASES)
def test_each_task_trains_on_shards_of_json_lines(name: str, lively_bert: Path, tmp_path: Path) -> None:
    case = CASES[name]
    for shard in range(3):
        lines = [json.dumps(row) for row in case.splits["train"][shard::3]]
        (tmp_path / f"train-{shard}.jsonl").write_text("\n".join(lines))
    files = sorted(map(str, tmp_path.glob("train-*.jsonl")))
    train = datasets.load_dataset("json", data_files=files, streaming=True, cache_dir=tmp_path)["train"]
    with collect() as said:
        result = reasoner.fine_tune(
            lively_bert,
            {**case.splits, "train": train},
            task=case.task,
            output_dir=tmp_path / "run",
            max_steps=7,
            **QUICK,
        )
    assert result.run.labels == list(case.labels)
    assert result.run.rows == {"train": 12, "validation": 6, "test": 6}
    assert result.run.metrics["train"]["steps"] == 7 and result.run.config["eval_steps"] == 1
    passed = 2 + 1 / 3 if name != "qa" else 1 + 2 / 5  # three batches a pass; five, since contexts have windows
    assert result.run.metrics["train"]["epochs"] == pytest.approx(passed)
    scored = [row for row in result.history if row["split"] == "validation"]
    assert [row["step"] for row in scored] == [1, 2, 3, 4, 5, 6, 7]
    assert len({row["loss"] for row in scored}) == 7  # each step moves the weights
    assert "by_novelty" not in result.metrics["test"]
    for sentence in (
        "train is a stream: its first 12 rows were read",
        "The stream ended after 12 rows, before max_steps: it is read again, as another epoch.",
        "eval_steps=1: a tenth of max_steps",
    ):
        assert sum(notice.startswith(sentence) for notice in said) == 1
    loaded = reasoner.load(tmp_path / "run", use_cpu=True)
    assert loaded.run.rows == result.run.rows
    assert len(loaded.predict(case.inputs)) == len(case.inputs)
    with pytest.raises(ConfigError, match="trained on a stream, whose rows are not kept"):
        result.review()


def test_a_stream_of_all_rows_in_one_buffer_trains_as_the_rows_do(lively_bert: Path) -> None:
    # Passes are numbered as epochs are, but buffers draw from other random numbers after the first pass.
    settings = {"max_steps": 3, "eval_steps": 3, "dropout": 0.0}
    result = tune(lively_bert, streamed(ROWS["train"]), **settings)
    other = tune(lively_bert, ROWS["train"], **settings)
    ours, theirs = (run.predictor.model.state_dict() for run in (result, other))
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert (
        result.metrics["test" if "test" in result.metrics else "validation"]["loss"]
        == other.metrics["validation"]["loss"]
    )


def test_of_two_hundred_thousand_rows_those_are_read_that_are_needed(lively_bert: Path) -> None:
    source = Lines(lambda: (SEQUENCE[number % 30] for number in range(200_000)))
    data = {"train": source, "validation": SEQUENCE}
    with collect() as said:
        result = reasoner.fine_tune(lively_bert, data, task="classification", max_steps=5, check=False, **QUICK)
    assert source.given == FIRST + 1_000  # looked at, and one buffer
    assert result.run.rows["train"] == 1_000
    assert result.metrics["train"]["epochs"] == 1  # the whole training, since no pass ended
    assert not any("read again" in notice for notice in said)


def test_validation_and_test_may_be_streams_and_are_read_whole(lively_bert: Path) -> None:
    streams = datasets.IterableDatasetDict({name: streamed(rows) for name, rows in ROWS.items()})
    result = reasoner.fine_tune(lively_bert, streams, task="classification", max_steps=3, eval_steps=3, **QUICK)
    other = reasoner.fine_tune(
        lively_bert, {**streams, "validation": ROWS["validation"], "test": ROWS["test"]}, task="classification",
        max_steps=3, eval_steps=3, **QUICK,
    )  # fmt: skip
    for split in ("validation", "test"):
        for name in ("loss", "macro_f1"):
            assert result.metrics[split][name] == other.metrics[split][name]
    assert result.evaluate(streamed(ROWS["test"]))["macro_f1"] == result.metrics["test"]["macro_f1"]


@pytest.mark.parametrize("method", ["head", "lora", "bitfit"])
def test_methods_train_on_a_stream(method: str, lively_bert: Path) -> None:
    result = tune(lively_bert, streamed(ROWS["train"]), method=method, max_steps=5)
    kept = [notice for notice in result.run.notices if "is computed once and kept" in notice]
    assert len(kept) == (method == "head")  # of validation; the training rows run anew
    assert len([row for row in result.history if row["split"] == "validation"]) == 5


def test_several_seeds_read_the_stream_several_times(lively_bert: Path) -> None:
    result = tune(lively_bert, streamed(ROWS["train"]), seeds=[0, 1])
    assert [row["seed"] for row in result.run.seeds] == [0, 1]


# --- labels ---------------------------------------------------------------------------------------------------------


def test_labels_that_the_task_names_come_first(lively_bert: Path) -> None:
    task = Classification(labels=["violet", "red", "green", "blue"])
    assert tune(lively_bert, streamed(ROWS["train"]), task=task).run.labels == ["violet", "red", "green", "blue"]


def test_labels_that_the_features_name_are_known_before_they_occur(lively_bert: Path) -> None:
    names = ["violet", "green", "blue", "red"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = [{**row, "label": names.index(row["label"])} for row in ROWS["train"]]
    result = tune(lively_bert, streamed(rows, features))
    assert result.run.labels == names
    assert "The labels are those that the stream's features name: violet, green, blue, red." in result.run.notices


def test_tags_that_the_features_name(lively_bert: Path) -> None:
    names = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-DATE", "I-DATE", "B-X", "I-X"]
    tags = datasets.List(datasets.ClassLabel(names=names))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": tags})
    splits = CASES["ner"].splits
    rows = [{"tokens": r["tokens"], "ner_tags": [names.index(tag) for tag in r["ner_tags"]]} for r in splits["train"]]
    data = {**splits, "train": streamed(rows, features)}
    result = reasoner.fine_tune(lively_bert, data, task="ner", max_steps=2, **QUICK)
    assert result.run.labels == ["O", *(f"{p}-{kind}" for kind in ("DATE", "LOC", "ORG", "PER", "X") for p in "BI")]


def test_else_labels_are_those_of_the_first_rows_and_of_the_other_splits(lively_bert: Path) -> None:
    train = [row for row in ROWS["train"] if row["label"] != "green"]
    result = tune(lively_bert, streamed(train))
    assert result.run.labels == ["blue", "green", "red"]
    said = "The labels are those of the first 8 rows of train and all of validation: blue, green, red."
    assert any(notice.startswith(said) for notice in result.run.notices)


def test_a_label_that_comes_too_late_stops_and_leaves_what_was_learned(lively_bert: Path, tmp_path: Path) -> None:
    def rows() -> Any:
        yield from (SEQUENCE[number % 30] for number in range(1_500))
        yield {"text": "Late.", "label": "lang"}

    data = {"train": Lines(rows), "validation": SEQUENCE}
    settings: dict[str, Any] = {**QUICK, "task": "classification", "max_steps": 600, "eval_steps": 100, "check": False}
    with pytest.raises(
        LabelError, match=r"^train, row 1501: label 'lang' is unknown .* Did you mean 'long'\? .* Training"
    ):
        reasoner.fine_tune(lively_bert, data, output_dir=tmp_path / "run", checkpoint_steps=50, **settings)
    assert reasoner.load(tmp_path / "run", use_cpu=True).predict("Early.")["label"] in ("long", "short")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000250"]
    data["train"] = Lines(lambda: ({**row, "label": row["label"].replace("lang", "long")} for row in rows()))
    result = reasoner.fine_tune(lively_bert, data, output_dir=tmp_path / "run", resume=True, **settings)
    assert result.run.rows["train"] == 1_501 and result.metrics["train"]["steps"] == 600


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": None}, "train is a stream, and nobody knows how many rows it has: give max_steps."),
        ({"balanced_sampling": True}, "balanced_sampling does not go with a stream of training rows: labels are drawn"),
        ({"teacher": "a/folder"}, "teacher does not go with a stream of training rows: what it says is computed for"),
        (
            {"task": Classification(class_weights="balanced")},
            "class_weights='balanced' counts the labels of all training",
        ),
        (
            {"task": NER(case_features=None)},
            "case_features=None looks at all training words, and train is a stream. Give",
        ),
        (
            {"task": NER(document_context=32)},
            "document_context needs all sentences of a document, and train is a stream.",
        ),
        (
            {"method": "gradual"},
            "GradualUnfreezing lets more weights learn with each epoch, and a stream may never end",
        ),
    ],
)
def test_what_needs_all_training_rows_is_refused(settings: dict[str, Any], message: str, lively_bert: Path) -> None:
    task = settings.get("task", "classification")
    rows = ROWS
    if isinstance(task, NER):
        rows = {name: [{**row, "document": 1} for row in part] for name, part in CASES["ner"].splits.items()}
    source = Lines(lambda: iter(rows["train"]))
    data = {"train": source, "validation": rows["validation"]}
    with pytest.raises(ConfigError) as refused:
        reasoner.fine_tune(lively_bert, data, **{"task": task, "max_steps": 3, **QUICK, **settings})
    assert str(refused.value).startswith(message)
    if "task" not in settings and "method" not in settings:
        assert source.given == 0


def test_a_stream_without_validation_is_refused(lively_bert: Path) -> None:
    stream = streamed(ROWS["train"])
    for data in (stream, {"train": stream}, {"train": stream, "test": ROWS["test"]}):
        with pytest.raises(ConfigError, match="from which no validation split can be cut off: give one beside it"):
            reasoner.fine_tune(lively_bert, data, task="classification", max_steps=3, **QUICK)


def test_first_rows_that_cannot_be_used_are_told_with_all_others(lively_bert: Path) -> None:
    data = {"train": streamed([{**ROWS["train"][0], "text": ""}, *ROWS["train"]]), "validation": [{"text": "x"}] * 2}
    with pytest.raises(
        DataError, match=r"(?s)train, row 1: text is empty.*validation, row 1: column 'label' is missing"
    ):
        reasoner.fine_tune(lively_bert, data, task="classification", max_steps=3, **QUICK)


def test_what_reads_rows_alone_refuses_a_stream(lively_bert: Path) -> None:
    data = {"train": streamed(ROWS["train"]), "validation": ROWS["validation"]}
    said = r"train is a stream, which fine_tune and check alone can read\. .*list\(stream.take\(10_000\)\)"
    with pytest.raises(ConfigError, match=said):
        reasoner.compare(lively_bert, data, methods=["full", "head"], task="classification", max_steps=1, **QUICK)
    with pytest.raises(ConfigError, match=said):
        reasoner.shortcuts(lively_bert, data, task="classification", max_steps=1, **QUICK)
    with pytest.raises(ConfigError, match=said):
        reasoner.search(
            lively_bert, data, task="classification", n_trials=1, config=TrainingConfig(max_steps=1, **QUICK)
        )


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_looks_at_the_first_rows(lively_bert: Path) -> None:
    source = Lines(lambda: (SEQUENCE[number % 30] for number in range(10**9)))
    data = {"train": source, "validation": SEQUENCE[:5]}
    with collect() as said:
        report = reasoner.check(lively_bert, data, task="classification", max_steps=100, use_cpu=True)
    assert source.given == report.rows["train"] == FIRST
    (leak,) = [finding for finding in report.findings if finding.code == "leakage"]
    assert leak.count == 5
    assert report.estimate["steps"] == 100 and report.estimate["evaluations"] == 12
    assert np.isfinite(report.estimate["seconds"])
    assert any("its first 1,000 rows were read" in notice for notice in said)
    with pytest.raises(ConfigError, match="give max_steps"):
        reasoner.check(lively_bert, data, task="classification", use_cpu=True)


# --- a loss that is no number ---------------------------------------------------------------------------------------


def test_a_row_whose_loss_is_no_number_is_named(lively_bert: Path) -> None:
    rows = [{"text": text, "label": number / 7} for number, text in enumerate(CORPUS[:30])]
    rows[17]["label"] = 1e39  # more than float32 holds
    data = {"train": streamed(rows), "validation": rows[:5]}
    with pytest.raises(reasoner.DivergedError) as stopped:
        reasoner.fine_tune(lively_bert, data, task="classification", max_steps=8, check=False, **QUICK)
    assert stopped.value.rows == ("train, row 18",)
