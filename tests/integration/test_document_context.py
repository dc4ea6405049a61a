"""Is the context of a document read in training, evaluation, prediction and from the folder, and never scored?"""

from __future__ import annotations

import random

import pytest
import torch

import reasoner
import reasoner.encoding
from reasoner import NER
from reasoner.data.documents import ALONE
from reasoner.errors import ConfigError, DataError
from reasoner.notices import collect
from reasoner.preparation import read_examples
from reasoner.testing import check_head, check_task
from reasoner.training.config import TrainingConfig

TYPES = {"people": "PER", "places": "LOC"}
NAMES = ("Boston", "Carter", "Berlin", "Paris", "Samsung", "Laura", "Togo", "Vienna")


def documents(each, seed):
    """Two sentences each: only the first one says of which type the name in the second one is; all names are both."""
    pairs = [(marker, name) for marker in TYPES for name in NAMES] * each
    random.Random(seed).shuffle(pairs)
    rows = []
    for document, (marker, name) in enumerate(pairs):
        tags = ["O", f"B-{TYPES[marker]}", "O"]
        rows.append({"tokens": ["these", "are", marker], "ner_tags": ["O"] * 3, "document": document})
        rows.append({"tokens": ["about", name, "and"], "ner_tags": tags, "document": document})
    return rows


DATA = {"train": documents(4, 1), "validation": documents(2, 2), "test": documents(2, 3)}
SETTINGS = {
    "num_train_epochs": 5,
    "learning_rate": 5e-3,
    "use_cpu": True,
    "evaluate_before": False,
    "dropout": 0.0,
    "per_device_train_batch_size": 16,
}


@pytest.fixture(scope="module")
def trained(lively_bert, tmp_path_factory):
    """A model that reads the context, and its folder."""
    folder = tmp_path_factory.mktemp("context") / "model"
    task = NER(document_context=16, case_features=True)
    return reasoner.fine_tune(lively_bert, DATA, task=task, output_dir=folder, **SETTINGS), folder


def inputs(rows):
    return [{"tokens": row["tokens"], "document": row["document"]} for row in rows]


def test_what_only_the_document_says_is_learned_with_it_and_not_without(trained, lively_bert):
    result, _ = trained
    assert result.metrics["test"]["f1"] >= 0.95
    lengths = [len(result.tokenizer(" ".join(row["tokens"]), add_special_tokens=False)["input_ids"])
               for row in DATA["test"]]  # fmt: skip
    mean = f"{sum(lengths) / len(lengths):.1f}"  # each sentence is the whole context of the other one
    assert f"test: {mean} tokens of its document are read beside a sentence on average." in result.run.notices
    plain = reasoner.fine_tune(lively_bert, DATA, task=NER(case_features=True), **SETTINGS)
    assert plain.metrics["test"]["f1"] <= 0.6


def test_the_order_of_documents_changes_no_score_and_the_loss_counts_words_alone(trained):
    result, _ = trained
    rows = DATA["test"]
    first, second = rows[::2], rows[1::2]
    scores = [result.evaluate(order) for order in (rows, [*first, *second], [*first[::-1], *second])]
    for score in scores:
        assert score["f1"] == result.metrics["test"]["f1"]
        assert score["loss"] == pytest.approx(result.metrics["test"]["loss"], rel=1e-4)
        assert score["tokens"]["support"] == 3 * len(rows)


def test_the_folder_predicts_the_same_and_the_card_says_it(trained):
    result, folder = trained
    rows = DATA["test"]
    given = inputs(rows)
    loaded = reasoner.load(folder, use_cpu=True)
    assert loaded.predictor.task.document_context == 16
    expected = result.predict(given)
    assert loaded.predict(given) == expected == list(loaded.predict(iter(given)))
    found = [[(entity["word"], entity["entity_group"]) for entity in entities] for entities in expected]
    gold = [[(word, tag[2:]) for word, tag in zip(row["tokens"], row["ner_tags"], strict=True) if tag != "O"]
            for row in rows]  # fmt: skip
    assert sum(one == other for one, other in zip(found, gold, strict=True)) >= 0.95 * len(rows)
    assert "up to 16 tokens of its document on either side" in (folder / "README.md").read_text("utf-8")
    with collect() as said:
        alone = result.predict([row["tokens"] for row in rows])
    assert said == [ALONE] and alone != expected
    assert alone[3] == result.predict(tuple(rows[3]["tokens"]))


def test_logits_are_those_of_an_encoding_by_hand(trained):
    from transformers import AutoModelForTokenClassification

    result, folder = trained
    predictor = result.predictor
    rows = DATA["test"][:2]
    examples = [predictor.task.example_from_input(value) for value in inputs(rows)]
    data = predictor.encode(examples)
    (batch,) = predictor.batches(data)
    with torch.inference_mode():
        logits = predictor.model.eval()(batch)["logits"]
    tokenizer, network = result.tokenizer, AutoModelForTokenClassification.from_pretrained(folder).eval()
    words = [word for row in rows for word in row["tokens"]]
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    ids = [tokenizer.cls_token_id, *(number for piece in pieces for number in piece), tokenizer.sep_token_id]
    shape = [2 if word[0].isupper() else 0 for word in words]
    types = [0, *(kind for kind, piece in zip(shape, pieces, strict=True) for _ in piece), 0]
    with torch.inference_mode():
        whole = network(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0]
    whole = whole / predictor.model.head.temperature
    firsts = [1 + sum(map(len, pieces[:word])) for word in range(6)]
    for row, own in enumerate((firsts[:3], firsts[3:])):  # both sentences see the same six words
        (position,) = [place for place, index in enumerate(batch.feature_index) if index == row]
        assert [place.token for place in data.features[row][0].info] == own
        temperature = predictor.model.head.temperature
        torch.testing.assert_close(logits[position, own] / temperature, whole[own], rtol=1e-4, atol=1e-4)


def test_packing_and_batches_change_nothing(prepare):
    rows = [{**row, "tokens": row["tokens"] * (1 + place % 5), "ner_tags": row["ner_tags"] * (1 + place % 5)}
            for place, row in enumerate(DATA["train"][:20])]  # fmt: skip
    packed, data = prepare(NER(document_context=6), rows=rows, sharp=True)
    padded, other = prepare(NER(document_context=6), rows=rows, sharp=True, packing=False)
    one, two = packed.evaluate(data), padded.evaluate(other)
    assert one.metrics["loss"] == pytest.approx(two.metrics["loss"], rel=1e-5)
    found, same = ([[entity["start"] for entity in each] for each in run.predictions] for run in (one, two))
    assert found == same


@pytest.mark.parametrize("head", ["crf", "token_classification"])
def test_heads_keep_the_contract(tiny_bert, head):
    task = NER(document_context=5, constrained=head != "crf")
    check_head(head, task=task, rows=DATA["train"][:24], model=tiny_bert)
    check_task(task, DATA["train"][:24], model=tiny_bert, inputs=[*inputs(DATA["test"][:3:2]), "Anna.", ("a", "b")])


def test_parts_see_the_whole_document_and_the_cache_knows_the_context(prepare, tmp_path, monkeypatch):
    predictor, data = prepare(NER(document_context=5), rows=DATA["train"])
    monkeypatch.setattr(reasoner.encoding, "PART", 5)  # documents of two rows: every other border parts one
    features = predictor.encode(data.examples, cache=tmp_path).features
    assert list(features) == list(data.features)
    assert len(list(tmp_path.glob("*.arrow"))) == 1
    predictor.encode(data.examples, cache=tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 1
    swapped = [data.examples[1], data.examples[0], *data.examples[2:]]
    predictor.encode(swapped[:1] + swapped[2:], cache=tmp_path)
    predictor.encode(data.examples[1:], cache=tmp_path)  # the same rows beside other neighbours
    assert len(list(tmp_path.glob("*.arrow"))) == 2


# --- splits and refusals --------------------------------------------------------------------------------------------


def without_document(rows):
    return [{name: value for name, value in row.items() if name != "document"} for row in rows]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_without_documents_is_refused_before_training(lively_bert, split, monkeypatch):
    monkeypatch.setattr("reasoner.tuning.Trainer", None)
    data = {**DATA, split: without_document(DATA[split])}
    with pytest.raises(DataError, match=f"{split}, row 1: column 'document' is missing, and document_context is set"):
        reasoner.fine_tune(lively_bert, data, task=NER(document_context=8), use_cpu=True)
    report = reasoner.check(lively_bert, data, task=NER(document_context=8), use_cpu=True)
    (missing,) = [finding for finding in report.errors if finding.code == "missing_column"]
    assert missing.places == (f"{split}, row 1",) and f"nor in {len(DATA[split]) - 1} further rows" in missing.what


def test_further_data_without_documents_are_refused_and_comparisons_read_them(trained, lively_bert):
    result, _ = trained
    with pytest.raises(DataError, match="column 'document' is missing"):
        result.evaluate(without_document(DATA["test"]))
    plain = reasoner.fine_tune(lively_bert, DATA, task=NER(case_features=True), max_steps=1, use_cpu=True)
    assert plain.compare(result, DATA["test"]).to_dict() and result.compare(plain, DATA["test"]).to_dict()
    examples = [plain.predictor.task.Example.from_columns(row, where="here") for row in DATA["test"]]
    with pytest.raises(DataError, match="here: names no document, and document_context is set"):
        result.predictor.evaluate_examples(examples)


def test_check_finds_nothing_cut_where_context_fills_the_model(lively_bert):
    report = reasoner.check(lively_bert, DATA, task=NER(document_context=16), max_length=8, stride=2, use_cpu=True)
    assert "cut_rows" not in {finding.code for finding in report.findings} and not report.errors


def test_a_validation_split_is_cut_off_by_documents(lively_bert, tmp_path):
    lines = []
    for row in DATA["train"]:
        lines += ["-DOCSTART- O", ""] if row["tokens"][0] == "these" else []
        lines += [*(f"{word} {tag}" for word, tag in zip(row["tokens"], row["ner_tags"], strict=True)), ""]
    path = tmp_path / "train.conll"
    path.write_text("\n".join(lines), "utf-8")
    with collect() as said:
        splits = read_examples(path, NER.schema({"document_context": 16}), config=TrainingConfig())
    train, validation = ({row.document for row in splits[name]} for name in ("train", "validation"))
    assert train | validation == set(range(1, 65)) and not train & validation and len(validation) >= 6
    assert said[-1].endswith("training rows were cut off for it (seed 42, rows of one document on one side).")
    result = reasoner.fine_tune(lively_bert, path, task=NER(document_context=16), max_steps=1, use_cpu=True)
    assert result.run.rows == {name: len(rows) for name, rows in splits.items()}


def test_variants_with_and_without_context_are_compared_on_the_same_rows(lively_bert):
    variants = {"alone": {"task": NER()}, "in context": {"task": NER(document_context=16)}}
    board = reasoner.compare(lively_bert, DATA, task="ner", variants=variants, seeds=[0], max_steps=1, use_cpu=True)
    assert "in context" in str(board)


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "64"])
def test_a_context_that_is_no_number_of_tokens_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"document_context=.* is no number of tokens"):
        NER(document_context=wrong)


def test_nested_entities_have_no_context():
    with pytest.raises(TypeError, match="document_context"):
        reasoner.NestedNER(document_context=8)
