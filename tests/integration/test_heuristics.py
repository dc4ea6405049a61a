"""Is the breakdown by heuristic the one that is known of a model that always says the same?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import reasoner
from reasoner.errors import ConfigError, DataError, LabelError
from reasoner.metrics import share_interval

QUICK = {"max_steps": 2, "use_cpu": True, "check": False, "disable_tqdm": True, "evaluate_before": False}
HANS = [
    {"premise": f"The {a} saw the {b} .", "hypothesis": hypothesis, "label": label, "heuristic": kind, "subcase": case}
    for a, b in (("lawyer", "actor"), ("judge", "banker"), ("author", "doctor"))
    for hypothesis, label, kind, case in (
        (f"The {b} saw the {a} .", "non-entailment", "lexical_overlap", "ln_swap"),
        (f"The {a} saw the {b} .", "entailment", "lexical_overlap", "le_same"),
        (f"The {b} .", "non-entailment", "subsequence", "sn_end"),
    )
]  # fmt: skip


def always(model: Path, label: str, labels=None) -> reasoner.Result:
    """A model that says one label of everything."""
    pack = reasoner.synthetic.nli_pack(train=24, validation=9, test=9)
    if labels:
        pack = {split: [{**row, "label": labels[row["label"]]} for row in rows] for split, rows in pack.items()}
    result = reasoner.fine_tune(model, pack, task="nli", **QUICK)
    with torch.no_grad():
        for weight in result.model.classifier.parameters():
            weight.zero_()
        result.model.classifier.bias[list(result.predictor.task.labels).index(label)] = 9.0
    return result


@pytest.fixture(scope="module")
def entailing(tiny_bert: Path) -> reasoner.Result:
    return always(tiny_bert, "entailment")


@pytest.mark.parametrize("label", ["neutral", "contradiction"])
def test_both_other_labels_are_not_entailed(tiny_bert: Path, label: str) -> None:
    report = reasoner.heuristics(always(tiny_bert, label), HANS)
    assert (report.entailed.rate, report.not_entailed.rate, report.said_entailed.rate) == (0.0, 1.0, 0.0)
    assert report.accuracy == pytest.approx(6 / 9)


def test_a_model_that_always_says_entailment_is_right_on_one_half_alone(entailing: reasoner.Result) -> None:
    report = reasoner.heuristics(entailing, HANS)
    assert (report.rows, report.entailing, report.split) == (9, "entailment", "the data")
    assert (report.entailed.rate, report.not_entailed.rate, report.said_entailed.rate) == (1.0, 0.0, 1.0)
    assert report.accuracy == pytest.approx(3 / 9)
    lexical, subsequence = report["lexical_overlap"], report["subsequence"]
    assert (lexical.entailed.rows, lexical.not_entailed.rows) == (3, 3)
    assert subsequence.entailed is None and subsequence.not_entailed.hits == 0
    assert {name: share.hits for name, share in lexical.entailed_cases.items()} == {"le_same": 3}
    assert list(lexical.not_entailed_cases) == ["ln_swap"]
    interval = share_interval(0, 3)
    assert (lexical.not_entailed.lower, lexical.not_entailed.upper) == (interval.lower, interval.upper)
    text = str(report)
    assert "accuracy 0.3333 on the data (9 rows)" in text and "neutral, contradiction as not" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "ln swap" in report._repr_html_() and json.loads(json.dumps(report.to_dict()))["accuracy"] == report.accuracy


def test_the_pack_of_our_own_is_the_default(entailing: reasoner.Result) -> None:
    report = reasoner.heuristics(entailing)
    assert [outcome.name for outcome in report.outcomes] == ["lexical_overlap", "subsequence", "constituent"]
    assert (report.entailed.rate, report.not_entailed.rate) == (1.0, 0.0)
    assert report.split == "test" and "second of two subjects" in str(report)


def test_two_labels_by_other_names_do_too(tiny_bert: Path, tmp_path: Path) -> None:
    names = {"entailment": "ENTAILED", "neutral": "not entailed", "contradiction": "not entailed"}
    result = always(tiny_bert, "not entailed", names)
    result.save(tmp_path / "model")
    (tmp_path / "hans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in HANS))
    report = reasoner.heuristics(tmp_path / "model", tmp_path / "hans.jsonl")
    assert report.entailing == "ENTAILED" and report.not_entailed.rate == 1.0


def test_what_cannot_be_broken_down_is_refused(tiny_bert: Path, entailing: reasoner.Result, rows_of) -> None:
    with pytest.raises(LabelError, match="label 'maybe' does not say whether the hypothesis follows"):
        reasoner.heuristics(entailing, [{**HANS[0], "label": "maybe"}])
    with pytest.raises(DataError, match="column 'heuristic' is missing"):
        reasoner.heuristics(entailing, [{"premise": "a", "hypothesis": "b", "label": "entailment"}])
    with pytest.raises(ConfigError, match="split is 'dev'"):
        reasoner.heuristics(entailing, HANS, split="dev")
    rows = rows_of("Classification")
    other = reasoner.fine_tune(tiny_bert, {"train": rows, "validation": rows[:8]}, task="classification", **QUICK)
    with pytest.raises(ConfigError, match="heuristics asks an nli model"):
        reasoner.heuristics(other, HANS)
