"""Do fingerprints change with what a result depends on, and with nothing else?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from reasoner import fingerprints
from reasoner.methods.freeze import Freeze
from reasoner.tasks.classification import Classification, ClassificationExample
from reasoner.training.config import TrainingConfig

EXAMPLES = [ClassificationExample(text=f"text {n}", label="ab"[n % 2], where=f"file, line {n}") for n in range(4)]


def test_a_model_is_known_by_its_content(tiny_bert: Path, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere"
    shutil.copytree(tiny_bert, copied)
    assert fingerprints.of_model(copied) == fingerprints.of_model(str(tiny_bert))
    (copied / "README.md").write_text("other words")
    assert fingerprints.of_model(copied) == fingerprints.of_model(tiny_bert)
    (copied / "tokenizer_config.json").write_text("{}")
    assert fingerprints.of_model(copied) != fingerprints.of_model(tiny_bert)
    assert fingerprints.of_model("some-one/some-model") == "some-one/some-model"


def test_a_loaded_model_is_known_by_its_weights(tiny_bert: Path) -> None:
    one, other = AutoModel.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert)
    before = fingerprints.of_model(one)
    assert before == fingerprints.of_model(other)
    with torch.no_grad():
        next(other.parameters())[0, 0] += 1e-3
    assert fingerprints.of_model(other) != before
    assert fingerprints.of_model(one.bfloat16()) != before


def test_examples_are_known_by_all_but_their_place() -> None:
    before = fingerprints.of_examples({"train": EXAMPLES})
    moved = [replace(example, where="elsewhere") for example in EXAMPLES]
    assert fingerprints.of_examples({"train": moved}) == before
    changed = [replace(EXAMPLES[0], label="b"), *EXAMPLES[1:]]
    others = [
        {"train": changed}, {"train": EXAMPLES[:3]}, {"validation": EXAMPLES}, {"train": EXAMPLES[::-1]},
        {"train": EXAMPLES[:2], "test": EXAMPLES[2:]},
    ]  # fmt: skip
    assert len({before, *map(fingerprints.of_examples, others)}) == len(others) + 1


def test_settings_without_effect_do_not_count() -> None:
    plain = fingerprints.of_config(TrainingConfig())
    assert fingerprints.of_config(TrainingConfig(disable_tqdm=True, feature_cache="x")) == plain
    assert fingerprints.of_config(TrainingConfig(seed=7)) != plain


def test_tasks_methods_and_tokenizers_are_known_by_their_settings(tiny_bert: Path) -> None:
    tasks = [Classification(), Classification(label_smoothing=0.1), Classification(labels=("a", "b"))]
    assert len(set(map(fingerprints.of_task, tasks))) == 3
    assert fingerprints.of_task(Classification()) == fingerprints.of_task(tasks[0])
    assert fingerprints.of_method(Freeze(layers=1)) != fingerprints.of_method(Freeze(layers=2))
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    assert fingerprints.of_tokenizer(tokenizer) != fingerprints.of_tokenizer(None) == ""
