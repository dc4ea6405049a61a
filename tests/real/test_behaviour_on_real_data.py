"""Do rows of HANS look as their heuristics say, and do changes of real rows leave answers where they say?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch

import reasoner
from reasoner.data.examples import examples_from_rows
from reasoner.data.overlap import overlap
from reasoner.data.sources import read_rows, read_splits
from reasoner.edits.changing import CONTRASTS
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering


def test_a_model_that_always_says_entailment_on_hans(real_data: Path, tiny_bert: Path) -> None:
    pack = reasoner.synthetic.nli_pack(train=24, validation=9, test=9)
    result = reasoner.fine_tune(
        tiny_bert, pack, task="nli", max_steps=1, use_cpu=True, check=False, evaluate_before=False, disable_tqdm=True
    )
    with torch.no_grad():
        for weight in result.model.classifier.parameters():
            weight.zero_()
        result.model.classifier.bias[list(result.predictor.task.labels).index("entailment")] = 9.0
    report = reasoner.heuristics(result, real_data / "nli" / "hans")
    assert (report.rows, report.accuracy, report.said_entailed.rate) == (6000, 0.5, 1.0)
    assert {outcome.name for outcome in report.outcomes} == {"lexical_overlap", "subsequence", "constituent"}
    for outcome in report.outcomes:
        assert (outcome.entailed.hits, outcome.entailed.rows) == (outcome.not_entailed.rows, 1000) == (1000, 1000)
        assert len(outcome.entailed_cases) == len(outcome.not_entailed_cases) == 5
        assert outcome.not_entailed.hits == 0


def test_the_words_of_hans_overlap_as_its_heuristics_say(real_data: Path) -> None:
    rows = [row.columns for row in read_rows(real_data / "nli" / "hans" / "validation.jsonl")]
    found = [(row["heuristic"], overlap(row["premise"], row["hypothesis"])) for row in rows]
    every = sum(numbers[1] for _, numbers in found) / len(found)
    beside = Counter(heuristic for heuristic, numbers in found if numbers[3])
    assert every > 0.9  # "who" becomes "the", a noun of many one
    assert beside["subsequence"] > 1500 and beside["constituent"] > 1500 > beside["lexical_overlap"]


@pytest.mark.parametrize("name", ["nli/snli/test.jsonl", "nli/mnli/test.jsonl", "qa/squad2/half-dev-v2.0.json"])
def test_changes_of_real_rows(name: str, real_data: Path) -> None:
    nli = NLI(labels=("entailment", "neutral", "contradiction"))
    task = nli if name.startswith("nli") else QuestionAnswering()
    rows = examples_from_rows(read_splits({"test": real_data / name}), task.schema({}))["test"]
    made = {
        edit.name: [
            (row, changed)
            for number, row in enumerate(rows)
            if (changed := edit.make(task, row, Random(number))) is not None
        ]
        for edit in CONTRASTS[type(task)]
    }
    for row, changed in made.get("negation", []):
        assert {row.label, changed.label} == {"entailment", "contradiction"}
        assert changed.premise == row.premise and changed.hypothesis.startswith("It is not true that ")
    for row, changed in made.get("number", []):
        (old, start), (new, now) = row.answers[0], changed.answers[0]
        assert now == start and old != new and changed.context[start : start + len(new)] == new
        assert old not in changed.context and changed.question == row.question
    assert len(made.get("negation", made.get("number"))) > 150
