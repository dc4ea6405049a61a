"""Do the tasks take real data as it is, and is every gold answer and entity still there after encoding?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from reasoner import NER, NLI, MultipleChoice, QuestionAnswering
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.notices import collect
from tiny import build_tiny


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return AutoTokenizer.from_pretrained(build_tiny("bert", tmp_path_factory.mktemp("bert")))


def read(task, data, **settings):
    """Return the task, its examples by split, and what was said."""
    with collect() as said:
        examples = examples_from_rows(read_splits(data), task.Example)
        return task.from_examples(examples, **settings), examples, said


def test_wnut17_every_gold_word_is_labelled_once_whatever_the_length(real_data: Path, tokenizer):
    folder = real_data / "ner" / "wnut17"
    task, examples, said = read(NER, folder)
    assert {split: len(part) for split, part in examples.items()} == {"train": 3394, "validation": 1009, "test": 1287}
    assert said == []
    types = ("corporation", "creative-work", "group", "location", "person", "product")
    assert list(task.labels) == ["O", *(f"{prefix}-{name}" for name in types for prefix in "BI")]
    for max_length, stride in ((32, 8), (128, 32)):
        part = examples["test"]
        features = task.encode(part, tokenizer, max_length=max_length, stride=stride)
        for example, group in zip(part, features, strict=True):
            owned = Counter(item.word for feature in group for item in feature.info)
            assert set(owned.values()) <= {1}
            labelled = sum(label != -100 for feature in group for label in feature.token_targets["labels"])
            assert labelled == len(owned)
            lost = [word for index, word in enumerate(example.tokens) if index not in owned]
            assert not [word for word in lost if word.isascii() and word.strip()], lost


def test_wikiann_is_read_and_its_prefix_is_said(real_data: Path):
    task, examples, said = read(NER, real_data / "ner" / "wikiann-en")
    assert task.labels[1:] == ("B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert len(examples["train"]) == 20000
    assert any("en:" in message for message in said)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("snli", ("entailment", "neutral", "contradiction")),
        ("mnli", ("entailment", "neutral", "contradiction")),
        ("rte", ("entailment", "not_entailment")),
    ],
)
def test_nli_sets_are_read_without_a_word(real_data: Path, name: str, labels: tuple[str, ...]):
    task, _, said = read(NLI, real_data / "nli" / name)
    assert task.labels == labels
    assert said == []


def test_squad2_every_answer_is_at_its_offset_and_inside_a_window(real_data: Path, tokenizer):
    path = real_data / "qa" / "squad2" / "half-dev-v2.0.json"
    task, examples, said = read(QuestionAnswering, {"train": path})
    part = examples["train"]
    assert len(part) == 6078
    assert sum(not example.answers for example in part) == 3168
    assert task.no_answer_threshold == 0.5
    assert said == ["3168 of 6078 training questions have no answer: 'no answer' is learned as well."]
    answered = [example for example in part if example.answers][:300]
    for example, group in zip(answered, task.encode(answered, tokenizer, max_length=128, stride=64), strict=True):
        answer = max(example.answers, key=example.answers.count)  # the most given, the first of equals
        places = [
            (feature.info[feature.targets["start_positions"]][0], feature.info[feature.targets["end_positions"]][1])
            for feature in group
            if feature.targets["start_positions"]
        ]
        assert places, example.where
        for start, end in places:
            assert start <= answer.start
            assert answer.start + len(answer.text) <= end


@pytest.mark.parametrize("language", ["en", "es", "zh"])
def test_xquad_is_read(real_data: Path, language: str):
    task, examples, said = read(QuestionAnswering, {"train": real_data / "qa" / "xquad" / f"xquad.{language}.json"})
    assert len(examples["train"]) == 1190
    assert task.no_answer_threshold is None
    assert said == []


def test_commonsense_qa_and_piqa_are_read(real_data: Path):
    folder = real_data / "multiple_choice"
    files = {"train": "train_rand_split.jsonl", "validation": "dev_rand_split.jsonl"}
    _, examples, said = read(MultipleChoice, {s: folder / "commonsense_qa" / name for s, name in files.items()})
    assert (len(examples["train"]), len(examples["validation"])) == (9741, 1221)
    assert {len(example.choices) for example in examples["train"]} == {5}
    first = examples["validation"][0]
    assert first.choices[first.label] == "bank"
    assert said == []
    _, examples, _ = read(MultipleChoice, {"train": folder / "piqa" / "validation.jsonl"})
    assert {len(example.choices) for example in examples["train"]} == {2}
    assert len(examples["train"]) == 1838
