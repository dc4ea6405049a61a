from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml

from reasoner.reports.card import INPUTS, model_card
from reasoner.reports.run import Run


def header(card: str) -> dict[str, Any]:
    _, text, _ = card.split("---\n", 2)
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def test_the_header_says_what_the_hub_asks(full: Run, minimal: Run) -> None:
    assert header(model_card(full, auto_class="AutoModelForTokenClassification")) == {
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
        "tags": ["reasoner", "ner"],
        "metrics": ["f1", "precision", "recall"],
    }
    assert header(model_card(minimal)) == {
        "library_name": "reasoner",
        "base_model": "google-bert/bert-base-uncased",
        "tags": ["reasoner", "classification"],
        "metrics": ["macro_f1", "accuracy", "weighted_f1", "matthews"],
    }


@pytest.mark.parametrize("name", ["a: b #c", "- x", '"', "yes", "1.5", "a\nb", "\\", "日本 🙂", "{}", "'", "---"])
def test_no_name_breaks_the_header(minimal: Run, name: str) -> None:
    minimal.task, minimal.primary_metric = name, name
    read = header(model_card(minimal))
    assert read["tags"] == ["reasoner", name]
    assert read["metrics"][0] == name


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("google-bert/bert-base-uncased", True),
        ("bert-base-uncased", True),
        ("xlm-roberta-large", True),
        ("BertForTokenClassification", False),
        ("/home/ada/bert", False),
        ("models/bert", False),
        ("./bert", False),
        ("../x/bert", False),
        ("bert", False),
        ("C:\\models\\bert", False),
        ("a/b/c", False),
    ],
)
def test_the_base_model_is_named_only_where_it_looks_like_a_hub_id(minimal: Run, model: str, named: bool) -> None:
    minimal.model = model
    assert header(model_card(minimal)).get("base_model") == (model if named else None)


def test_scores_stand_in_markdown_tables(full: Run) -> None:
    card = model_card(full)
    assert "|  | before | after | change | validation |\n| :-- | --: | --: | --: | --: |\n" in card
    assert "| **f1** \\* | **0.2222** | **0.6667** | **+0.4444** | **0.4321** |" in card
    assert "### test: by type\n" in card
    assert "| PER | 1.0000 | 1.0000 | 1.0000 | 0.0000 | 2 |" in card


def test_every_row_of_a_table_has_as_many_cells_as_its_header(full: Run, minimal: Run) -> None:
    minimal.metrics["validation"]["by_label"]["a|b\nc"] = {"f1": 1.0}
    for run in (full, minimal):
        for table in re.findall(r"(?:^\|.*\n)+", model_card(run), re.MULTILINE):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(counts) == 1, table


def test_settings_data_and_notices_are_there(full: Run) -> None:
    card = model_card(full)
    assert "| learning_rate | 0.0002 |" in card
    assert "max_steps" not in card  # not set
    assert "| train | 1,234 | train.conll |" in card
    assert "| test | 3 | owner/wnut |" in card
    assert "- train.conll: 2 comment lines were skipped." in card
    assert "Versions: reasoner 0.1.0, torch 2.9.0." in card
    assert "not calibrated" in card and "at most 128 tokens" in card


def test_the_card_tells_nothing_of_the_machine(full: Run) -> None:
    full.notices += [
        "'/home/ada/elsewhere/secret' holds an earlier model; it is replaced.",
        "~/ada/notes.txt, line 3; C:\\Users\\ada\\data\\x.csv: read and/or repaired at 12 tokens/s",
        "../ada/deep/y.csv was read; see https://example.org/ada/page",
    ]
    full.config["folder"] = "/home/ada/run"
    full.method = "Custom(file='/home/ada/weights.bin')"
    card = model_card(full).replace("https://example.org/ada/page", "URL")
    assert not re.search(r"\bada\b", card)
    for kept in (
        "'secret' holds",
        "notes.txt, line 3",
        "x.csv: read and/or",
        "12 tokens/s",
        "y.csv was",
        "weights.bin",
        "URL",
    ):
        assert kept in card
    assert "| folder | run |" in card


def test_how_to_use_it_is_python_that_can_be_run(full: Run) -> None:
    for task in [*INPUTS, "a_task_of_mine"]:
        full.task = task
        for auto_class in ("AutoModelForTokenClassification", None):
            blocks = re.findall(r"```python\n(.*?)```", model_card(full, auto_class=auto_class), re.DOTALL)
            assert len(blocks) == (2 if auto_class else 1)
            for block in blocks:
                ast.parse(block)
    assert 'AutoModelForTokenClassification.from_pretrained("this-folder")' in model_card(
        full, auto_class="AutoModelForTokenClassification"
    )
    assert "`head.safetensors`" in model_card(full)


def test_markup_in_names_is_plain_text(full: Run) -> None:
    full.labels = ["<script>", "*x*", "_y_", "under_score"]
    card = model_card(full)
    assert r"\<script\>, \*x\*, \_y\_, under_score" in card


def test_a_minimal_run_and_one_without_scores_have_every_section(minimal: Run) -> None:
    for metrics in (minimal.metrics, {}):
        minimal.metrics = metrics
        card = model_card(minimal)
        headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
        assert headings == ["Scores", "How it was trained", "Data", "How to use it", "Limits"]
        assert not re.search(r"\bNone\b", card)
    assert "It has not been scored." in card
