"""Is a planted shortcut called out, and one that is not there not, when models are really trained?"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES, SIZES

import reasoner
from reasoner.meter import ShortcutReport, shortcuts
from reasoner.synthetic import multiple_choice_pack, qa_pack

Rows = list[dict[str, Any]]
COLOURS, THINGS = ("red", "green"), ("box", "ball", "dog", "apple")


def colours(about: str, number: int) -> Rows:
    """Return rows whose label is told by the hypothesis, by the premise, or by whether both name one colour."""
    rows = []
    combinations = list(product(COLOURS, COLOURS, THINGS, range(8)))
    for place in range(number):
        first, second, thing, digit = combinations[37 * place % len(combinations)]  # 37: all of them, well mixed
        holds = {"hypothesis": second == "red", "premise": first == "red", "both": first == second}[about]
        premise = f"{first} {thing} {digit}"
        rows.append({"premise": premise, "hypothesis": second, "label": "entailment" if holds else "contradiction"})
    return rows


def measured(model: Path, about: str, **settings: Any) -> ShortcutReport:
    data = {"train": colours(about, 256), "validation": colours(about, 64), "test": colours(about, 128)}
    budget = {"num_train_epochs": 4, "learning_rate": 3e-3, "dropout": 0.0, "disable_tqdm": True}
    return shortcuts(model, data, task="nli", use_cpu=True, **{**budget, **settings})


def test_a_word_in_the_hypothesis_that_gives_the_label_away_is_called_out(lively_bert: Path):
    report = measured(lively_bert, "hypothesis")
    assert report["whole input"].score > 0.95
    assert [warning.split(":")[0] for warning in report.warnings] == ["hypothesis only"]
    assert report["premise only"].score < 0.65
    whole = f"{100 * report['whole input'].score:.0f} points need no premise"
    assert whole in report["hypothesis only"].sentence


def test_where_the_premise_decides_the_hypothesis_is_not_called_out(lively_bert: Path):
    report = measured(lively_bert, "premise", views=["hypothesis only"])
    assert report["whole input"].score > 0.95
    assert report["hypothesis only"].score < 0.65
    assert report.warnings == []
    assert any("No part surely keeps" in note for note in report.notes)


def test_where_both_sides_are_needed_neither_is_called_out(lively_bert: Path):
    report = measured(lively_bert, "both", num_train_epochs=6)
    assert report["whole input"].score > 0.8
    assert max(report[name].score for name in ("hypothesis only", "premise only", "majority")) < 0.65
    assert report.warnings == []


def test_the_whole_input_is_trained_as_fine_tune_does_and_may_be_given(lively_bert: Path):
    case, settings = CASES["nli"], {"max_steps": 4, "learning_rate": 1e-2, "use_cpu": True}
    result = reasoner.fine_tune(lively_bert, case.splits, task="nli", **settings)
    report = shortcuts(lively_bert, case.splits, task="nli", **settings)
    unequal = {"seconds", "evaluation_seconds", "tokens_per_second", "peak_share", "rows_per_second", "peak_memory_mib"}
    for split, metrics in result.metrics.items():
        for name in metrics.keys() - unequal:
            assert report.result.metrics[split][name] == metrics[name]
    given = shortcuts(lively_bert, case.splits, task="nli", result=result)
    assert given.to_dict() == report.to_dict()
    assert given.result is result


@pytest.mark.parametrize("name", ["ner", "qa", "multiple_choice", "classification", "several labels", "a number"])
def test_every_task_has_its_views(name: str, lively_bert: Path):
    case = CASES[name]
    report = shortcuts(lively_bert, case.splits, task=case.task, max_steps=2, use_cpu=True, disable_tqdm=True)
    assert (report.split, report.rows) == ("test", SIZES["test"])
    views = {
        "ner": ["no entity", "word memory"],
        "qa": ["no question", "first word of question", "majority"],
        "multiple_choice": ["choices only", "no context", "shuffled choices", "majority"],
        "a number": ["mean"],
    }
    assert [view.name for view in report.views] == ["whole input", *views.get(name, ["majority"])]
    assert report["whole input"].score == report.result.metrics["test"][report.metric]
    assert max(map(len, repr(report).splitlines())) <= 80


def test_a_head_that_scores_each_choice_by_itself_does_not_mind_their_order(lively_bert: Path):
    data = multiple_choice_pack(train=16, validation=8, test=60)
    report = shortcuts(lively_bert, data, task="multiple_choice", views=[], max_steps=2, use_cpu=True)
    assert report["shuffled choices"].score == report["whole input"].score
    assert report["shuffled choices"].sentence.startswith("With shuffled choices, ")


def test_the_guess_of_qa_is_the_share_without_an_answer(lively_bert: Path):
    data = qa_pack(train=16, validation=8, test=40)
    answers = [row["answers"]["text"] for row in data["test"]]
    report = shortcuts(lively_bert, data, task="qa", views=[], max_steps=1, use_cpu=True)
    assert report["majority"].score == pytest.approx(answers.count([]) / 40)
