"""Are sets counted as whole as one counts them by hand, for pairs and for the data's own sets?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_heuristics import QUICK, always

import reasoner
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import share_interval

ROWS = [
    {"premise": "The cat is black.", "hypothesis": "The cat is not white.", "label": "entailment", "set": "a"},
    {"premise": "The cat is white.", "hypothesis": "The cat is not white.", "label": "contradiction", "set": "a"},
    {"premise": "The dog was here.", "hypothesis": "A dog was here.", "label": "entailment", "set": "b"},
    {"premise": "My dog was here.", "hypothesis": "A dog was here.", "label": "entailment", "set": "b"},
    {"premise": "A bird sang.", "hypothesis": "A bird outside", "label": "neutral", "set": "c"},
]


@pytest.fixture(scope="module")
def entailing(tiny_bert: Path) -> reasoner.Result:
    return always(tiny_bert, "entailment")


def test_a_model_that_always_says_the_same_has_known_figures(entailing: reasoner.Result, caplog) -> None:
    report = reasoner.contrast(entailing, ROWS, sets="set")
    (outcome,) = report.outcomes
    assert (outcome.whole.hits, outcome.whole.rows) == (1, 2) and (outcome.rows.hits, outcome.rows.rows) == (3, 4)
    interval = share_interval(1, 2)
    assert (outcome.whole.lower, outcome.whole.upper) == (interval.lower, interval.upper)
    assert outcome.before is outcome.after is None
    assert "1 sets have one row alone, and are left out" in caplog.text
    ((first, second),) = outcome.broken
    assert (first.right, second.right, second.gold, second.said) == (True, False, ("contradiction",), ["entailment"])


def test_pairs_are_a_row_and_its_change(entailing: reasoner.Result) -> None:
    report = reasoner.contrast(entailing, ROWS)
    outcome = report["negation"]
    assert (report.rows, outcome.whole.rows, outcome.whole.hits) == (5, 4, 0), "no pair has the same label twice"
    assert (outcome.before.hits, outcome.after.hits) == (3, 1)
    assert outcome.rows.hits == 4
    text = str(report)
    assert "Contrast: nli on the data (5 rows)" in text and "It is not true that" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "<details>" in report._repr_html_()
    assert json.loads(json.dumps(report.to_dict()))["outcomes"][0]["whole"]["rows"] == 4


def test_an_edit_of_ones_own(tiny_bert: Path, rows_of, caplog) -> None:
    rows = rows_of("Classification")
    result = reasoner.fine_tune(tiny_bert, {"train": rows, "validation": rows[:8]}, task="classification", **QUICK)

    def asked(task, example, random):
        if "?" in example.text:
            return None
        return replace(example, text=f"{example.text.rstrip('.')}?", label="question")

    nothing = reasoner.ContrastEdit("nothing", "nothing", lambda task, example, random: None)
    report = reasoner.contrast(result, rows, edits=[reasoner.ContrastEdit("asked", "a question mark", asked), nothing])
    made = [row for row in rows if "?" not in row["text"]]
    said = [
        [p["label"] for p in result.predict([form(row["text"]) for row in made])]
        for form in (str, lambda text: f"{text.rstrip('.')}?")
    ]
    right = [(a == row["label"], b == "question") for a, b, row in zip(*said, made, strict=True)]
    outcome = report["asked"]
    assert outcome.whole.rows == len(made) and outcome.whole.hits == sum(map(all, right))
    assert (outcome.before.hits, outcome.after.hits) == tuple(map(sum, zip(*right, strict=True)))
    assert "'nothing' applies to no row" in caplog.text


def test_a_question_whose_answer_changes(tiny_bert: Path) -> None:
    rows = reasoner.synthetic.qa_pack(train=12, validation=6, test=6)
    result = reasoner.fine_tune(tiny_bert, rows, task="qa", **QUICK)
    asked = [
        {
            "id": str(year),
            "context": f"The old mill was built in {year}.",
            "question": "When was the mill built?",
            "answers": {"text": [str(year)], "answer_start": [26]},
        }
        for year in (1901, 1950)
    ]
    report = reasoner.contrast(result, asked)
    assert [outcome.name for outcome in report.outcomes] == ["number"]
    assert report["number"].whole.rows == 2


def test_the_pack_of_sets(entailing: reasoner.Result) -> None:
    report = reasoner.contrast(entailing, reasoner.synthetic.contrast_pack(sets=6), sets="set")
    assert (report.outcomes[0].whole.hits, report.outcomes[0].rows.rate) == (0, pytest.approx(1 / 3))
    assert report.split == "test"


def test_what_has_no_sets_is_refused(entailing: reasoner.Result) -> None:
    for error, message, settings in (
        (ConfigError, "sets= says that the data has sets of its own", {"sets": "set", "edits": ["negation"]}),
        (DataError, "it has no 'group'", {"sets": "group"}),
        (DataError, "No set of the column 'premise' has two rows", {"sets": "premise"}),
        (ConfigError, "there is no edit 'x'", {"edits": ["x"]}),
        (ConfigError, "split is 'dev'", {"split": "dev"}),
    ):
        with pytest.raises(error, match=message):
            reasoner.contrast(entailing, ROWS, **settings)


def test_counterfactuals_are_training_on_the_changed_rows_too(lively_bert: Path) -> None:
    pack = reasoner.synthetic.nli_pack(train=24, validation=9, test=9)
    settings = {**QUICK, "max_steps": 6, "per_device_train_batch_size": 4}
    result = reasoner.fine_tune(lively_bert, pack, task="nli", counterfactuals=True, **settings)
    opposite = {"entailment": "contradiction", "contradiction": "entailment"}
    said = [notice for notice in result.run.notices if notice.startswith("counterfactuals: ")]
    train = reasoner.contrast(result, pack["train"])["negation"]
    assert said[0].startswith(f"counterfactuals: {train.whole.rows} changed rows") and train.whole.rows > 2
    made = [
        {**row, "hypothesis": f"It is not true that {_small(row['hypothesis'])}", "label": opposite[row["label"]]}
        for row in pack["train"]
        if row["label"] in opposite and _finite(row["hypothesis"])
    ]
    assert len(made) == train.whole.rows
    by_hand = reasoner.fine_tune(lively_bert, {**pack, "train": [*pack["train"], *made]}, task="nli", **settings)
    assert [row["loss"] for row in by_hand.history] == [row["loss"] for row in result.history]
    with_debias = reasoner.fine_tune(
        lively_bert, pack, task="nli", counterfactuals=True, debias="word overlap", **settings
    )
    assert f"the {24 + len(made)} training rows" in " ".join(with_debias.run.notices)


def _finite(text: str) -> bool:
    return bool({"was", "did", "didn't", "were", "is", "are", "has", "hasn't"} & set(text.rstrip(".").split()))


def _small(text: str) -> str:
    from reasoner.edits.changing import FIRST_WORDS

    return text[0].lower() + text[1:] if text.split()[0].casefold() in FIRST_WORDS else text


def test_counterfactuals_are_refused_where_no_label_is_certain(tiny_bert: Path, rows_of) -> None:
    rows = rows_of("Classification")
    with pytest.raises(ConfigError, match="counterfactuals: for Classification no change is known"):
        reasoner.fine_tune(tiny_bert, {"train": rows}, task="classification", counterfactuals=True, **QUICK)
