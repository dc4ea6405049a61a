"""Do word shapes change nothing before training, something after it, and survive the folder?"""

from __future__ import annotations

import pytest
import torch

import reasoner
from reasoner import NER
from reasoner.data.word_shapes import NUMBER
from reasoner.errors import ConfigError
from reasoner.notices import collect
from reasoner.testing import check_head, check_task

# Only the case of the word in the middle says whether it is a name.
NAMES = ("may", "rose", "mark", "will", "grace", "bill")
ROWS = [
    {"tokens": ["we", "saw", name, "there"], "ner_tags": ["O", "O", "O" if name in NAMES else "B-PER", "O"]}
    for name in (*NAMES, *map(str.title, NAMES))
]  # fmt: skip


def test_nothing_changes_before_training(prepare):
    plain, data = prepare(NER(), rows=ROWS)
    with_shapes, shaped = prepare(NER(case_features=True), rows=ROWS)
    assert with_shapes.model.network.config.type_vocab_size == NUMBER
    (one,), (other,) = plain.batches(data, batch_size=100), with_shapes.batches(shaped, batch_size=100)
    assert other.inputs["token_type_ids"].max() > 1
    torch.testing.assert_close(plain.model.eval()(one)["logits"], with_shapes.model.eval()(other)["logits"])


def test_they_keep_the_contract(tiny_bert, rows_of):
    check_task(NER(case_features=True), rows_of("NER"), model=tiny_bert, inputs=["Anna left.", ("anna", "LEFT")])
    check_head("crf", task=NER(case_features=True), rows=rows_of("NER"), model=tiny_bert)


def test_what_an_uncased_tokenizer_hides_is_learned_saved_and_used_in_prediction(tiny_bert, tmp_path):
    settings = {
        "num_train_epochs": 12,
        "learning_rate": 5e-3,
        "use_cpu": True,
        "evaluate_before": False,
        "dropout": 0.0,
    }
    data = {"train": ROWS, "validation": ROWS}
    plain = reasoner.fine_tune(tiny_bert, data, task=NER(), **settings)
    assert plain.metrics["validation"]["f1"] <= 0.7  # half of what it finds is no name
    result = reasoner.fine_tune(tiny_bert, data, task=NER(case_features=True), output_dir=tmp_path / "m", **settings)
    assert result.metrics["validation"]["f1"] == 1
    assert "`token_type_ids`: 2 for each token" in (tmp_path / "m" / "README.md").read_text("utf-8")
    loaded = reasoner.load(tmp_path / "m")
    for model in (result, loaded):
        assert [e["word"] for e in model.predict("we saw Grace there")] == ["Grace"]
        assert model.predict("we saw grace there") == []
    from transformers import AutoModelForTokenClassification

    network = AutoModelForTokenClassification.from_pretrained(tmp_path / "m")
    assert network.config.type_vocab_size == NUMBER


def test_an_architecture_without_token_types_is_refused(prepare):
    with pytest.raises(ConfigError, match="has no token types, where case_features would go"):
        prepare(NER(case_features=True), rows=ROWS, architecture="distilbert")


@pytest.mark.parametrize(
    ("architecture", "rows", "expected"),
    [("bert", ROWS, True), ("roberta", ROWS, False), ("distilbert", ROWS, False),
     ("bert", [{**row, "tokens": [word.lower() for word in row["tokens"]]} for row in ROWS], False)],
)  # fmt: skip
def test_left_to_the_data_they_are_used_where_casing_tells_and_is_hidden(prepare, architecture, rows, expected):
    with collect() as notices:
        predictor, _ = prepare(NER(case_features=None), rows=rows, architecture=architecture)
    assert predictor.task.case_features is expected
    assert any("case_features: the tokenizer is uncased" in notice for notice in notices) is expected


def test_a_method_that_freezes_them_is_told(tiny_bert):
    with collect() as notices:
        reasoner.fine_tune(tiny_bert, {"train": ROWS, "validation": ROWS}, task=NER(case_features=True), method="head",
                           max_steps=1, use_cpu=True)  # fmt: skip
    assert any("freezes the embeddings of token types" in notice for notice in notices)
