"""Does every form of the same data train the same model, and is long text read to its end?"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Sequence as ListOf
from task_cases import CASES, Rows

import reasoner
from reasoner import ConfigError, TrainingConfig
from reasoner.preparation import read_examples
from reasoner.tasks.classification import ClassificationExample
from reasoner.tasks.nli import NLIExample

QUICK = {"max_steps": 2, "evaluate_before": False, "use_cpu": True}
TEXTS, TAGGED = CASES["classification"].splits, CASES["ner"].splits
Splits = dict[str, Rows]


def _json_lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _compressed(path: Path, rows: Rows) -> Path:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def _delimited(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _folder(folder: Path, rows: Splits) -> Path:
    for split, part in rows.items():
        _json_lines(folder / f"{split}.jsonl", part)
    (folder / "README.md").write_text("About the data.")
    return folder


def _with_class_labels(rows: Rows) -> Dataset:
    numbered = [{"text": row["text"], "label": ("blue", "green", "red").index(row["label"])} for row in rows]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["blue", "green", "red"])})
    return Dataset.from_list(numbered, features=features)


def _each(make: Callable[[Path, Rows], Any], suffix: str = "") -> Callable[[Path, Splits], Any]:
    return lambda folder, rows: {split: make(folder / f"{split}{suffix}", part) for split, part in rows.items()}


FORMS: dict[str, Callable[[Path, Splits], Any]] = {
    "JSON lines": _each(_json_lines, ".jsonl"),
    "a path as text": _each(lambda path, rows: str(_json_lines(path, rows)), ".jsonl"),
    "gzip": _each(_compressed, ".jsonl.gz"),
    "CSV": _each(_delimited, ".csv"),
    "TSV": _each(lambda path, rows: _delimited(path, rows, "\t"), ".tsv"),
    "Parquet": _each(lambda path, rows: (Dataset.from_list(rows).to_parquet(str(path)), path)[1], ".parquet"),
    "a folder": _folder,
    "DataFrame": _each(lambda path, rows: pandas.DataFrame(rows)),
    "Dataset": _each(lambda path, rows: Dataset.from_list(rows)),
    "DatasetDict": lambda folder, rows: DatasetDict({split: Dataset.from_list(part) for split, part in rows.items()}),
    "class labels": _each(lambda path, rows: _with_class_labels(rows)),
    "other split names": lambda folder, rows: {"train": rows["train"], "dev": rows["validation"], "test": rows["test"]},
}


def _scores(result: reasoner.Result) -> dict[str, Any]:
    return {
        split: {name: value for name, value in result.metrics[split].items() if name != "rows_per_second"}
        for split in ("validation", "test")
    }


@pytest.fixture(scope="module")
def from_lists(lively_bert: Path) -> dict[str, Any]:
    return _scores(reasoner.fine_tune(lively_bert, TEXTS, task="classification", **QUICK))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_same_model(
    form: str, from_lists: dict[str, Any], lively_bert: Path, tmp_path: Path
) -> None:
    data = FORMS[form](tmp_path, TEXTS)
    result = reasoner.fine_tune(lively_bert, data, task="classification", **QUICK)
    assert _scores(result) == from_lists
    assert result.run.rows == {"train": 12, "validation": 6, "test": 6}


def test_a_table_is_not_changed(lively_bert: Path) -> None:
    frames = {split: pandas.DataFrame(rows) for split, rows in TEXTS.items()}
    copies = {split: frame.copy(deep=True) for split, frame in frames.items()}
    reasoner.fine_tune(lively_bert, frames, task="classification", **QUICK)
    for split, frame in frames.items():
        pandas.testing.assert_frame_equal(frame, copies[split])


def _columns_file(path: Path, rows: Rows, *, separator: str, extra: Sequence[str] = ()) -> Path:
    sentences = [
        "\n".join(separator.join((word, *extra, tag)) for word, tag in zip(row["tokens"], row["ner_tags"], strict=True))
        for row in rows
    ]
    path.write_text("\n\n".join(sentences) + "\n", "utf-8")
    return path


def _as_entities(row: dict[str, Any]) -> dict[str, Any]:
    example = reasoner.NER.Example.from_words(row["tokens"], row["ner_tags"])
    entities = [
        {
            "start": example.offsets[entity["start_word"]].start,
            "end": example.offsets[entity["end_word"] - 1].end,
            "label": entity["entity_group"],
        }
        for entity in CASES["ner"].perfect(example)
    ]
    return {"text": example.text, "entities": entities}


def _numbered_tags(rows: Rows) -> Dataset:
    names = list(CASES["ner"].labels)
    numbered = [{"tokens": row["tokens"], "ner_tags": [names.index(tag) for tag in row["ner_tags"]]} for row in rows]
    features = Features({"tokens": ListOf(Value("string")), "ner_tags": ListOf(ClassLabel(names=names))})
    return Dataset.from_list(numbered, features=features)


def _in_bioes(row: dict[str, Any]) -> dict[str, Any]:
    tags = list(row["ner_tags"])
    ends = [tag != "O" and [*tags, "O"][place + 1][:1] != "I" for place, tag in enumerate(tags)]
    change = {"B": "S", "I": "E"}
    return {**row, "ner_tags": [change[t[0]] + t[1:] if end else t for t, end in zip(tags, ends, strict=True)]}


TAGGED_FORMS: dict[str, tuple[Callable[[Path, Splits], Any], dict[str, Any]]] = {
    "CoNLL with tabs": (_each(lambda path, rows: _columns_file(path, rows, separator="\t"), ".conll"), {}),
    "CoNLL with spaces": (_each(lambda path, rows: _columns_file(path, rows, separator="  "), ".txt"), {}),
    "CoNLL, columns numbered": (
        _each(lambda path, rows: _columns_file(path, rows, separator=" ", extra=("NN", "X")), ".txt"),
        {"tokens": 0, "ner_tags": 3},
    ),
    "character spans": (_each(lambda path, rows: [_as_entities(row) for row in rows]), {}),
    "numbered tags": (_each(lambda path, rows: _numbered_tags(rows)), {}),
    "BIOES": (_each(lambda path, rows: [_in_bioes(row) for row in rows]), {}),
}


@pytest.mark.parametrize("form", TAGGED_FORMS)
def test_every_form_of_tagged_words_gives_the_same_model(form: str, lively_bert: Path, tmp_path: Path) -> None:
    make, columns = TAGGED_FORMS[form]
    rows = {  # full stops apart from words, as the splitting of raw text has it
        split: [row for row in part if all(word.isalnum() or word == "." for word in row["tokens"])]
        for split, part in TAGGED.items()
    }
    assert min(map(len, rows.values())) >= 3
    reference = reasoner.fine_tune(lively_bert, rows, task="ner", **QUICK)
    result = reasoner.fine_tune(lively_bert, make(tmp_path, rows), task="ner", columns=columns or None, **QUICK)
    assert _scores(result) == _scores(reference)


def test_columns_are_mapped(from_lists: dict[str, Any], lively_bert: Path) -> None:
    renamed = {
        split: [{"utterance": row["text"], "topic": row["label"], "text": "not this"} for row in rows]
        for split, rows in TEXTS.items()
    }
    columns = {"text": "utterance", "label": "topic"}
    result = reasoner.fine_tune(lively_bert, renamed, task="classification", columns=columns, **QUICK)
    assert _scores(result) == from_lists
    assert result.evaluate(renamed["test"], columns=columns)["loss"] == from_lists["test"]["loss"]
    assert any("its own column 'text' was left out" in notice for notice in result.run.notices)


# ---------------------------------------------------------------- a validation split of its own making


def test_a_validation_split_is_cut_off_and_said(lively_bert: Path) -> None:
    result = reasoner.fine_tune(lively_bert, TEXTS["train"], task="classification", validation_share=0.25, **QUICK)
    assert result.run.rows == {"train": 9, "validation": 3}
    assert any("No validation split was given: 3 of 12 training rows were cut off" in n for n in result.run.notices)


@pytest.mark.parametrize("seed", range(5))
def test_no_text_stands_on_both_sides(seed: int) -> None:
    config = TrainingConfig(seed=seed, validation_share=0.3)
    twice = [{**row, "text": row["text"].upper()} for row in TEXTS["train"]]
    examples = read_examples(TEXTS["train"] + twice, ClassificationExample, config=config)
    train, validation = ({example.text.casefold() for example in examples[part]} for part in ("train", "validation"))
    assert not train & validation and len(train | validation) == 12
    assert {example.label for example in examples["validation"]} == {"red", "green", "blue"}  # stratified
    pairs = [{"premise": row["text"], "hypothesis": f"No {n}.", "label": n} for row in TEXTS["train"] for n in (0, 1)]
    examples = read_examples(pairs, NLIExample, config=config)
    train, validation = ({example.premise for example in examples[part]} for part in ("train", "validation"))
    assert not train & validation and len(train | validation) == 12


# ---------------------------------------------------------------- longer than the model

FILLER = [
    "the",
    "old",
    "harbour",
    "of",
    "the",
    "village",
    "was",
    "quiet",
    "when",
    "the",
    "morning",
    "ferry",
    "came",
    "in",
]
LIMITS = {"max_length": 32, "stride": 8}


def _long_sentence(number: int, places: Sequence[int]) -> dict[str, Any]:
    """Two hundred words; the word Zurich, at `places`, is a LOC."""
    words = [FILLER[(number + place) % len(FILLER)] for place in range(200)]
    for place in places:
        words[place] = "Zurich"
    return {"tokens": words, "ner_tags": ["B-LOC" if word == "Zurich" else "O" for word in words]}


def test_ner_reads_long_texts_to_the_end(lively_bert: Path, tmp_path: Path) -> None:
    rows = [_long_sentence(number, range(number + 3, 200, 7 + number)) for number in range(6)]
    data = {"train": rows[:4], "validation": rows[4:], "test": [_long_sentence(9, (1, 60, 120, 198)), rows[0]]}
    settings = {"num_train_epochs": 12, "learning_rate": 5e-3, "evaluate_before": False, "use_cpu": True, **LIMITS}
    result = reasoner.fine_tune(lively_bert, data, task="ner", **settings)
    assert any(
        "train: 4 texts are longer than max_length=32 tokens and were read in windows" in notice
        for notice in result.run.notices
    )
    test = result.metrics["test"]
    assert test["support"] == 4 + len(range(3, 200, 7))  # every gold entity is scored, once
    assert test["tokens"]["support"] == 400  # and every word
    assert test["f1"] == 1.0
    words = tuple(data["test"][0]["tokens"])
    found = result.predict(words)
    assert [entity["start_word"] for entity in found] == [1, 60, 120, 198]
    text = " ".join(words)
    assert [text[entity["start"] : entity["end"]] for entity in found] == ["Zurich"] * 4
    assert result.predict(text) == found
    result.save(tmp_path)
    assert reasoner.load(tmp_path, use_cpu=True).predict(text) == found


def _long_question(number: int, place: int) -> dict[str, Any]:
    words = [FILLER[(number + index) % len(FILLER)] for index in range(120)]
    words[place] = "Zurich"
    context = " ".join(words)
    answers = {"text": ["Zurich"], "answer_start": [context.index("Zurich")]}
    return {"question": "Which city?", "context": context, "answers": answers}


def test_qa_reads_long_contexts_to_the_end(lively_bert: Path) -> None:
    train = [_long_question(number, place) for number, place in enumerate(range(2, 120, 5))]
    test = [_long_question(50 + place, place) for place in (0, 60, 100, 119)]
    data = {"train": train, "validation": test[:2], "test": test}
    settings = {"num_train_epochs": 12, "learning_rate": 5e-3, "evaluate_before": False, "use_cpu": True, **LIMITS}
    result = reasoner.fine_tune(lively_bert, data, task="qa", **settings)
    assert result.metrics["test"]["exact_match"] == 1.0
    for row in test:
        prediction = result.predict({"question": row["question"], "context": row["context"]})
        assert prediction["answer"] == "Zurich"
        assert prediction["start"] == row["answers"]["answer_start"][0]
        assert row["context"][prediction["start"] : prediction["end"]] == "Zurich"


def test_what_is_cut_of_a_pair_is_counted_and_said(lively_bert: Path) -> None:
    long = " ".join(FILLER * 10)
    rows = [{"premise": f"{number} {long}", "hypothesis": "It is quiet.", "label": number % 2} for number in range(6)]
    result = reasoner.fine_tune(lively_bert, {"train": rows, "validation": rows}, task="nli", **QUICK)
    for split in ("train", "validation"):
        notice = f"{split}: 6 texts are longer than max_length=128 tokens; the longer side was cut."
        assert notice in result.run.notices


def test_a_length_that_the_model_does_not_take_is_refused(lively_bert: Path) -> None:
    with pytest.raises(ConfigError, match="max_length=129, but the model takes 128 tokens"):
        reasoner.fine_tune(lively_bert, TEXTS, task="classification", max_length=129)
