"""Are features made once and the same from a file, and is what is kept found, missed and mended when it should be?"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from test_inference import TASKS
from transformers import AutoTokenizer

import reasoner
import reasoner.encoding
from reasoner.data.feature_file import FeatureFile
from reasoner.errors import ConfigError
from reasoner.notices import collect
from reasoner.tasks.classification import Classification
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from tiny import CORPUS


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(reasoner.encoding, "PART", 5)


@pytest.fixture
def encoded(prepare):
    """`encoded(cache)`: the features of 32 pairs, how many of them were tokenised, and what was said."""
    predictor, data = prepare(NLI(), max_length=16)

    def encode(cache=None, *, examples=data.examples, predictor=predictor, task=predictor.task):
        calls, made = [], type(task).encode

        def watched(self, examples, *arguments, **limits):
            calls.append(len(examples))
            return made(self, examples, *arguments, **limits)

        with pytest.MonkeyPatch.context() as patch, collect() as said:
            patch.setattr(type(task), "encode", watched)
            features = replace(predictor, task=task).encode(examples, name="train", cache=cache).features
        return features, calls, said

    encode.predictor, encode.examples = predictor, data.examples
    return encode


@pytest.mark.parametrize("name", TASKS)
def test_a_file_gives_what_memory_gives(prepare, name, monkeypatch):
    predictor, data = prepare(TASKS[name], max_length=40, sharp=True)
    assert isinstance(data.features, FeatureFile)
    monkeypatch.setattr(reasoner.encoding, "PART", 1000)
    in_memory = predictor.encode(data.examples)
    assert type(in_memory.features) is list and list(data.features) == in_memory.features
    one, other = predictor.evaluate(data), predictor.evaluate(in_memory)
    one.metrics.pop("rows_per_second"), other.metrics.pop("rows_per_second")
    assert one == other


@pytest.mark.parametrize(
    ("task", "method"), [("ner", "full"), ("nli", "head"), ("qa", "full"), ("multiple_choice", "full")]
)
def test_a_run_from_the_file_gives_the_same_weights(tiny_bert, rows_of, tmp_path, monkeypatch, task, method):
    name = {"ner": "NER", "nli": "NLI", "qa": "QuestionAnswering", "multiple_choice": "MultipleChoice"}[task]
    rows = rows_of(name)
    data = {"train": rows[:24], "validation": rows[24:]}
    settings = {
        "task": task,
        "method": method,
        "max_length": 40,
        "num_train_epochs": 2,
        "use_cpu": True,
        "disable_tqdm": True,
    }

    def weights(**more):
        result = reasoner.fine_tune(tiny_bert, data, **settings, **more)
        return result.model.state_dict(), {
            k: v for k, v in result.metrics["validation"].items() if k != "rows_per_second"
        }

    runs = [weights(), weights(feature_cache=str(tmp_path / "kept")), weights(feature_cache=str(tmp_path / "kept"))]
    assert len(list((tmp_path / "kept").glob("*.arrow"))) == 2
    monkeypatch.setattr(reasoner.encoding, "PART", 1000)
    expected, metrics = weights()
    for found, scores in runs:
        assert all(torch.equal(found[key], expected[key]) for key in expected) and scores == metrics


def test_few_examples_stay_in_memory_and_a_temporary_file_goes(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert type(encoded(examples=encoded.examples[:5])[0]) is list
    features, calls, said = encoded()
    assert calls == [5] * 6 + [2] and len(list(tmp_path.iterdir())) == 1
    assert [message for message in said if "cut" in message] == [
        "train: 32 texts are longer than max_length=16 tokens; the longer side was cut."
    ]
    view = features[3:4]
    del features
    assert len(view[0]) == 1  # the file is there as long as a part of it is held
    del view
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_found_and_nothing_is_tokenised_again(encoded, tmp_path):
    first, calls, said = encoded(tmp_path / "new" / "folder")
    assert sum(calls) == 32 and not any("feature_cache" in message for message in said)
    again, calls, told = encoded(tmp_path / "new" / "folder")
    assert calls == [] and list(again) == list(first) and isinstance(again, FeatureFile)
    assert told == [*said, "train: features were read from feature_cache; nothing was tokenised."]
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2
    moved = [replace(example, where="elsewhere, line 7") for example in encoded.examples]
    assert encoded(tmp_path / "new" / "folder", examples=moved)[1] == []  # where a row stood changes no feature


def test_any_change_of_what_features_are_made_of_is_a_miss(encoded, prepare, tiny_models, tmp_path, monkeypatch):
    encoded(tmp_path)
    predictor, (first, *rest) = encoded.predictor, encoded.examples
    labels = predictor.task.labels
    changes: list[dict[str, Any]] = [
        {"examples": [replace(first, premise=first.premise + "."), *rest]},
        {"examples": [replace(first, label="contradiction" if first.label != "contradiction" else "neutral"), *rest]},
        {"examples": [*rest, first]},
        {"examples": rest},
        {"predictor": replace(predictor, max_length=17)},
        {"predictor": replace(predictor, stride=predictor.stride + 1)},
        {"predictor": replace(predictor, tokenizer=AutoTokenizer.from_pretrained(tiny_models("roberta")))},
        {"task": replace(predictor.task, labels=labels[::-1])},
        {"task": Again(**predictor.task.settings())},
    ]
    token = AutoTokenizer.from_pretrained(tiny_models("bert"))
    token.truncation_side = "left"
    changes.append({"predictor": replace(predictor, tokenizer=token)})
    token = AutoTokenizer.from_pretrained(tiny_models("bert"))
    token.add_tokens(["zebra"])
    changes.append({"predictor": replace(predictor, tokenizer=token)})
    for number, change in enumerate(changes, 2):
        features, calls, _ = encoded(tmp_path, **change)
        assert sum(calls) == len(features), change
        assert len(list(tmp_path.glob("*.arrow"))) == number
        assert encoded(tmp_path, **change)[1] == []
    monkeypatch.setattr(reasoner.encoding, "version", lambda package: "99")
    assert encoded(tmp_path)[1]
    assert not encoded(tmp_path)[1]


class Again(NLI):
    """Another task with the same settings."""


def test_an_earlier_call_of_the_tokenizer_makes_no_miss(encoded, tmp_path):
    encoded(tmp_path)
    encoded.predictor.tokenizer("A text.", truncation=True, max_length=4, padding="max_length")
    assert encoded(tmp_path)[1] == []


def broken(path, how):
    about, content = path.with_suffix(".json"), path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one byte":
        path.write_bytes(content[:600] + bytes([content[600] ^ 1]) + content[601:])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "foreign":
        path.write_bytes(b"something else")
        told = json.loads(about.read_text())
        about.write_text(json.dumps({**told, "sha256": reasoner.encoding._digest(path)}))
    elif how == "no record":
        about.unlink()
    else:
        about.write_text({"no JSON": "{", "a list": "[1]", "other JSON": '{"a": 1}', "deep": "[" * 99_999}[how])


@pytest.mark.parametrize(
    "how", ["cut short", "one byte", "empty", "foreign", "no record", "no JSON", "a list", "other JSON", "deep"]
)
def test_a_broken_file_is_made_anew_and_that_is_said(encoded, tmp_path, how):
    first = list(encoded(tmp_path)[0])
    (path,) = tmp_path.glob("*.arrow")
    broken(path, how)
    features, calls, said = encoded(tmp_path)
    assert sum(calls) == 32 and list(features) == first
    assert sum("feature_cache is broken and is made anew" in message for message in said) == 1
    assert encoded(tmp_path)[1] == []


def test_a_good_file_under_a_wrong_name_is_not_taken(encoded, tmp_path):
    encoded(tmp_path)
    changed = [replace(encoded.examples[0], premise="Another."), *encoded.examples[1:]]
    encoded(tmp_path / "other", examples=changed)
    for suffix in (".arrow", ".json"):
        (path,), (other,) = tmp_path.glob(f"*{suffix}"), (tmp_path / "other").glob(f"*{suffix}")
        path.write_bytes(other.read_bytes())
    _, calls, said = encoded(tmp_path)
    assert sum(calls) == 32 and any("it is of other rows" in message for message in said)


def test_an_error_on_the_way_leaves_nothing_behind(encoded, tmp_path, monkeypatch):
    def fails(self, examples, *arguments, **limits):
        if examples[0] is not encoded.examples[0]:
            raise KeyboardInterrupt
        return made(self, examples, *arguments, **limits)

    made = NLI.encode
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(NLI, "encode", fails)
        encoded.predictor.encode(encoded.examples, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert sum(encoded(tmp_path)[1]) == 32


def test_a_folder_that_cannot_be_written_is_named(encoded, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"feature_cache: .*file cannot be written .*Name another folder"):
        encoded(tmp_path / "file")


@dataclass(frozen=True, kw_only=True)
class Odd(Classification):
    """Its features hold an object of its own."""

    def encode(self, examples, tokenizer, *, max_length, stride):
        features = super().encode(examples, tokenizer, max_length=max_length, stride=stride)
        for (feature,), example in zip(features, examples, strict=True):
            feature.info = example
        return features


def test_what_a_file_cannot_hold_stays_in_memory_and_that_is_said(prepare, tmp_path):
    predictor, data = prepare(Classification(), max_length=16)
    odd = Odd(**predictor.task.settings())
    for cache in (None, tmp_path):
        with collect() as said:
            features = replace(predictor, task=odd).encode(data.examples, name="test", cache=cache).features
        assert type(features) is list and features[3][0].info is data.examples[3]
        assert (
            said[0].startswith("test: the features stay in memory")
            and said[1].startswith("test: 29 texts")
            and len(said) == 2
        )
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_told_apart_is_not_kept(encoded, tmp_path, monkeypatch):
    settings = encoded.predictor.task.settings()
    strange = NLI(**{**settings, "head_settings": {"of": object()}})
    assert sum(encoded(tmp_path, task=strange)[1]) == 32
    monkeypatch.setattr(Again, "__module__", "nowhere")  # as in a notebook, which has no file
    _, calls, said = encoded(tmp_path, task=Again(**settings))
    assert sum(calls) == 32 and sum("feature_cache is not used" in message for message in said) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_record_of_a_run_does_not_name_the_folders_of_the_machine(tiny_bert, tmp_path):
    rows = [
        {"tokens": sentence.split(), "ner_tags": ["B-X", *["O"] * (len(sentence.split()) - 1)]}
        for sentence in CORPUS[:12]
    ]
    result = reasoner.fine_tune(
        tiny_bert, {"train": rows, "validation": rows}, task=NER(), max_steps=1, use_cpu=True, disable_tqdm=True,
        feature_cache=str(tmp_path / "kept"), check=False,
    )  # fmt: skip
    assert result.run.config["feature_cache"] == "kept"
