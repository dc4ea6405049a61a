"""Does `check` raise no false error on real data, and is what it finds there really there?"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reasoner.api import check
from reasoner.checks.report import CheckReport
from reasoner.data.sources import read_rows
from tiny import build_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny("bert", tmp_path_factory.mktemp("bert"), max_length=512)


@pytest.fixture
def look(real_data: Path, tiny: Path) -> Any:
    """Check one data set without running the model, and see that no error is raised."""

    def call(task: str, data: Any) -> CheckReport:
        paths = data if isinstance(data, dict) else {"": data}
        found = {split: real_data / part if isinstance(part, str) else part for split, part in paths.items()}
        for path in found.values():
            if isinstance(path, Path) and not path.exists():
                pytest.skip(f"The real data has no {path}.")
        report = check(tiny, found if isinstance(data, dict) else found[""], task=task, run_model=False, use_cpu=True)
        assert report.errors == []
        assert max(map(len, str(report).splitlines())) <= 80
        return report

    return call


def counts(report: CheckReport) -> dict[str, int]:
    """Return how often each kind was found, but for what is found of the tiny vocabulary: long texts, unknown words."""
    found: Counter[str] = Counter()
    for finding in report.findings:
        found[finding.code] += finding.count if finding.code != "shortcut" else 1
    del found["unknown_tokens"], found["cut_rows"]
    return dict(found)


def test_wnut17(look: Any, real_data: Path) -> None:
    report = look("ner", "ner/wnut17")
    assert report.rows == {"train": 3394, "validation": 1009, "test": 1287}
    found = counts(report)
    assert found.pop("near_leakage") == 1
    rows = {split: read_rows(real_data / "ner" / "wnut17" / name, format="conll") for split, name in
            (("train", "wnut17train.conll"), ("validation", "emerging.dev.conll"),
             ("test", "emerging.test.annotated"))}  # fmt: skip
    repeats = sum(len(part) - len({tuple(row.columns["tokens"]) for row in part}) for part in rows.values())
    assert found.pop("duplicate") + found.pop("contradiction") == repeats == 113
    assert set(found) <= {"gold_lost"}


def test_wikiann_in_less_than_twenty_seconds(look: Any, real_data: Path) -> None:
    started = time.process_time()
    look("ner", {"train": "ner/wikiann-en/train"})  # 20,000 rows
    assert time.process_time() - started < 20
    found = counts(look("ner", "ner/wikiann-en"))
    texts = {split: [" ".join(row.columns["tokens"]) for row in read_rows(real_data / "ner" / "wikiann-en" / split)]
             for split in ("train", "dev", "test")}  # fmt: skip
    assert found["duplicate"] + found["contradiction"] == sum(len(part) - len(set(part)) for part in texts.values())
    train, dev = set(texts["train"]), set(texts["dev"])
    leaked = sum(text in train for text in texts["dev"])
    leaked += sum((text in train) + (text in dev) for text in texts["test"])
    assert found["leakage"] == leaked == 805


def test_snli_has_annotation_artifacts(look: Any) -> None:
    report = look("nli", "nli/snli")
    assert counts(report) == {"duplicate": 2, "shortcut": 1}
    (shortcut,) = report.warnings
    assert "the words of the hypothesis alone predict" in shortcut.what


def test_mnli_was_cut_between_hypotheses_of_one_premise(look: Any) -> None:
    report = look("nli", "nli/mnli")
    assert counts(report).keys() == {"near_leakage", "shared_text"}
    shared = {finding.what.split(" rows of ")[1]: finding.count for finding in report.warnings
              if finding.code == "shared_text"}  # fmt: skip
    assert shared == {
        "validation have a premise that train has as well": 964,
        "test have a premise that train has as well": 962,
        "test have a premise that validation has as well": 185,
    }


def test_rte(look: Any, real_data: Path) -> None:
    found = counts(look("nli", "nli/rte"))
    rows = {split: read_rows(real_data / "nli" / "rte" / f"{split}.jsonl") for split in ("train", "validation")}
    premises = {row.columns["premise"].casefold() for row in rows["train"]}
    assert found.pop("shared_text") == sum(row.columns["premise"].casefold() in premises for row in rows["validation"])
    assert found == {"duplicate": 2}


def test_squad2(look: Any, real_data: Path) -> None:
    report = look("qa", {"train": "qa/squad2/half-dev-v2.0.json"})
    found = counts(report)
    articles = json.loads((real_data / "qa" / "squad2" / "half-dev-v2.0.json").read_text("utf-8"))["data"]
    asked = [(question["question"], part["context"]) for article in articles for part in article["paragraphs"]
             for question in part["qas"]]  # fmt: skip
    assert found["duplicate"] + found["contradiction"] == len(asked) - len(set(asked)) == 4
    assert found.keys() <= {"duplicate", "contradiction", "shortcut", "gold_lost"}


def test_xquad(look: Any) -> None:
    assert counts(look("qa", {"train": "qa/xquad/xquad.en.json"})).keys() <= {"duplicate", "gold_lost"}


@pytest.mark.parametrize(
    "data",
    [
        {
            "train": "multiple_choice/commonsense_qa/train_rand_split.jsonl",
            "validation": "multiple_choice/commonsense_qa/dev_rand_split.jsonl",
        },
        {"train": "multiple_choice/piqa/validation.jsonl"},
    ],
)
def test_choices_are_clean(look: Any, data: Any) -> None:
    assert counts(look("multiple_choice", data)) == {}


def test_snips_intents(look: Any, real_data: Path) -> None:
    folder = real_data / "dialogue" / "snips"
    if not folder.exists():
        pytest.skip("The real data has no dialogue/snips.")
    lines = {split: [(folder / name / part).read_text("utf-8").splitlines() for part in ("seq.in", "label")]
             for split, name in (("train", "train"), ("validation", "dev"), ("test", "test"))}  # fmt: skip
    data = {split: [{"text": text, "label": label} for text, label in zip(*parts, strict=True)]
            for split, parts in lines.items()}  # fmt: skip
    found = counts(look("classification", data))
    texts = {split: parts[0] for split, parts in lines.items()}
    assert found["duplicate"] == sum(len(part) - len(set(part)) for part in texts.values()) == 195
    assert found.keys() == {"duplicate", "leakage", "near_leakage"}
