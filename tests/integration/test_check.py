"""Is every fault that is planted in good data found by `check`, with its rows and what to do; and none in good data?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, normalizers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import reasoner
from reasoner import NER, NLI, Classification, DataError
from reasoner.api import check
from reasoner.checks import trial
from reasoner.checks.findings import Finding
from reasoner.checks.nli_labels import PAIRS
from reasoner.checks.report import CheckReport
from reasoner.notices import collect
from reasoner.synthetic import multiple_choice_pack, ner_pack, nli_pack, qa_pack
from tiny import build_tiny

SIZES = {"train": 60, "validation": 30, "test": 30}
PACKS = {
    "ner": ner_pack(**SIZES),
    "nli": nli_pack(**SIZES),
    "qa": qa_pack(**SIZES),
    "multiple_choice": multiple_choice_pack(**SIZES),
}
THREE = ("entailment", "neutral", "contradiction")


@pytest.fixture
def ner() -> Any:
    """Clean rows that a test may spoil."""
    return deepcopy(PACKS["ner"])


@pytest.fixture
def nli() -> Any:
    return deepcopy(PACKS["nli"])


@pytest.fixture
def qa() -> Any:
    return deepcopy(PACKS["qa"])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny BERT that takes 256 tokens: its small vocabulary makes many of them."""
    return build_tiny("bert", tmp_path_factory.mktemp("tiny"), max_length=256)


@pytest.fixture
def look(tiny: Path) -> Callable[..., CheckReport]:
    """`check` on a tiny model; the model is run only if a test asks for it."""

    def call(data: Any, task: Any, *, model: Any = None, run_model: bool = False, **settings: Any) -> CheckReport:
        return check(model or tiny, data, task=task, run_model=run_model, use_cpu=True, **settings)

    return call


def only(report: CheckReport, code: str, severity: str = "warning") -> Finding:
    """Return the finding with this code, having seen that there is no other."""
    (finding,) = report.findings
    assert (finding.code, finding.severity) == (code, severity)
    assert finding.remedy.endswith(".") and not finding.what.endswith(".")
    assert max(map(len, str(report).splitlines())) <= 80
    return finding


# --- good data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", PACKS)
def test_good_data_take_one_line_and_an_estimate(look: Any, task: str) -> None:
    report = look(PACKS[task], task, run_model=True)
    assert report.findings == report.errors == report.warnings == report.notes == []
    first, empty, title, *estimate = str(report).splitlines()
    assert first == "Checked train 60, validation 30, test 30 rows: nothing wrong was found."
    assert empty == "" and title == "Estimate" and len(estimate) == 4
    assert look(PACKS[task], task).estimate == {}
    assert json.loads(json.dumps(report.to_dict()))["rows"] == {"train": 60, "validation": 30, "test": 30}


def test_nothing_is_changed_written_or_drawn(look: Any, tiny: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    before, files = deepcopy(PACKS["nli"]), {path: path.read_bytes() for path in tiny.iterdir()}
    look(PACKS["nli"], "nli", run_model=True)
    assert PACKS["nli"] == before
    assert {path: path.read_bytes() for path in tiny.iterdir()} == files
    assert list(tmp_path.iterdir()) == []


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_the_estimate_counts_the_models_of_a_shortcut(look: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(trial, "_run", lambda *_: trial.Pass(1.0, 3.0, 1.0, 1.0, 1))
    settings = {"per_device_train_batch_size": 4, "evaluate_before": False}
    plain, numbers, part = (
        look(PACKS["nli"], "nli", run_model=True, debias=name, **settings).estimate["seconds"]
        for name in (None, "word overlap", "hypothesis only")
    )
    assert plain == numbers and 1.2 * plain < part < 2 * plain  # a hypothesis is shorter than a pair


def test_a_missing_column_and_all_else_that_there_is(look: Any, nli: Any) -> None:
    for row in nli["validation"]:
        del row["hypothesis"]
    nli["test"][4] = dict(nli["train"][7])
    report = look(nli, "nli")
    missing, leaked = report.findings
    assert (missing.code, missing.severity, missing.places) == ("missing_column", "error", ("validation, row 1",))
    assert "column 'hypothesis' is missing (nor in 29 further rows)" in missing.what
    assert "columns={'hypothesis': 'your column'}" in missing.remedy
    assert (leaked.code, leaked.places, leaked.partners) == ("leakage", ("test, row 5",), ("train, row 8",))
    assert report.rows == {"train": 60, "test": 30}


def test_a_label_that_training_does_not_know(look: Any, nli: Any) -> None:
    nli["validation"][2]["label"] = nli["validation"][9]["label"] = "entailmnt"
    finding = only(look(nli, "nli"), "unseen_label", "error")
    assert finding.places == ("validation, row 3", "validation, row 10") and finding.count == 2
    assert "label 'entailmnt' is unknown" in finding.what and "Did you mean 'entailment'?" in finding.remedy


def test_an_entity_type_that_training_does_not_know(look: Any, ner: Any) -> None:
    ner["test"][0]["ner_tags"] = ["B-EVENT", *["O"] * (len(ner["test"][0]["tokens"]) - 1)]
    finding = only(look(ner, "ner"), "unseen_label", "error")
    assert finding.places == ("test, row 1",) and "EVENT" in finding.what


def test_a_number_that_is_no_label(look: Any, nli: Any) -> None:
    for rows in nli.values():
        for row in rows:
            row["label"] = THREE.index(row["label"])
    nli["train"][3]["label"] = 3
    finding = only(look(nli, NLI(labels=THREE)), "label_out_of_range", "error")
    assert finding.places == ("train, row 4",) and "there are 3 labels" in finding.what


def test_tags_that_are_none_and_tags_that_are_too_few(look: Any, ner: Any) -> None:
    ner["train"][1]["ner_tags"][0] = "PERSON"
    ner["train"][5]["ner_tags"].pop()
    malformed, unequal = look(ner, "ner").errors
    assert (malformed.code, malformed.places) == ("malformed_tag", ("train, row 2",))
    assert (unequal.code, unequal.places) == ("unequal_lengths", ("train, row 6",))
    assert unequal.remedy == "Give one tag per token."


def test_tags_of_another_scheme(look: Any, ner: Any) -> None:
    ner["train"][5]["ner_tags"][0] = "E-PER"
    finding = only(look(ner, NER(scheme="IOB2")), "tag_scheme", "error")
    assert finding.places == ("train, row 6",) and "scheme=..." in finding.remedy


def test_an_answer_that_stands_nowhere(look: Any, qa: Any) -> None:
    row = next(index for index, row in enumerate(qa["train"]) if row["answers"]["text"])
    qa["train"][row]["answers"] = {"text": ["no such words"], "answer_start": [3]}
    finding = only(look(qa, "qa"), "answer_offset", "error")
    assert finding.places == (f"train, row {row + 1}",) and "stands nowhere" in finding.what


def test_splits_that_cannot_be_used(look: Any, nli: Any) -> None:
    nli["test"] = []
    nli["validation"] = nli["validation"][:1]
    (finding,) = look(nli, "nli").errors
    assert finding.code == "empty_split" and set(finding.places) == {"test", "validation"}
    assert only(look({"test": PACKS["nli"]["test"]}, "nli"), "empty_split", "error").remedy == "Give {'train': ...}."


def test_one_label_alone(look: Any, nli: Any) -> None:
    for rows in nli.values():
        for row in rows:
            row["label"] = "neutral"
    finding = only(look(nli, "nli"), "too_few_labels", "error")
    assert "only 'neutral' occurs" in finding.what and finding.remedy == "Check the label column."


def test_a_file_that_cannot_be_read(look: Any, nli: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('{"premise": \n', "utf-8")
    finding = only(look({**nli, "test": tmp_path / "broken.jsonl"}, "nli"), "unreadable_row", "error")
    assert finding.places[0].startswith("broken.jsonl")


# --- what reading drops and repairs ---------------------------------------------------------------------------------


def test_rows_without_gold(look: Any, nli: Any) -> None:
    nli["train"][4]["label"], nli["train"][11]["label"] = -1, "-"
    finding = only(look(nli, "nli"), "no_gold", "note")
    assert finding.places == ("train, row 5", "train, row 12") and finding.count == 2
    for row in nli["train"][20:40]:
        row["label"] = None
    assert only(look(nli, "nli"), "no_gold").count == 22


def test_answers_that_were_moved(look: Any, qa: Any) -> None:
    moved = [index for index, row in enumerate(qa["test"]) if row["answers"]["text"]][:2]
    for index in moved:
        row = qa["test"][index]
        row["context"] = "Well: " + row["context"]
    finding = only(look(qa, "qa"), "answer_moved")
    assert finding.places == tuple(f"test, row {index + 1}" for index in moved)
    assert "each was moved to the one place" in finding.what and "answer_start" in finding.remedy


def test_entities_that_were_widened(look: Any) -> None:
    rows = [
        {"text": f"{name} left {place} in May.", "entities": [{"start": 0, "end": len(name), "label": "PER"}]}
        for name in ("Anna", "Bert", "Carla", "Dora", "Emil", "Fritz")
        for place in ("Oslo", "Rome", "Kyiv")
    ]
    data = {"train": deepcopy(rows), "validation": rows[:0]}
    data["train"][2]["entities"][0]["end"] -= 1
    del data["validation"]
    finding = only(look(data, "ner"), "entity_widened")
    assert finding.places == ("train, row 3",)


# --- labels ---------------------------------------------------------------------------------------------------------


def _texts(labels: list[str], start: int = 0) -> list[dict[str, Any]]:
    words = ("lamp", "chair", "kettle", "radio", "table", "carpet", "window")
    return [
        {"text": f"The {words[number % 7]} number {number} is {label}.", "label": label}
        for number, label in enumerate(labels, start)
    ]


def test_a_rare_label(look: Any) -> None:
    labels = ["red"] * 20 + ["blue"] * 17 + ["pink"] * 3
    splits = {"train": _texts(labels), "validation": _texts(labels, 100), "test": _texts(labels, 200)}
    finding = only(look(splits, "classification"), "rare_label")
    assert finding.places == ("train, row 38", "train, row 39", "train, row 40") and finding.count == 1
    assert "pink (3)" in finding.what and "Label more rows" in finding.remedy


def test_imbalance(look: Any) -> None:
    labels = ["red"] * 130 + ["blue"] * 6
    splits = {"train": _texts(labels), "validation": _texts(labels, 200), "test": _texts(labels, 400)}
    finding = only(look(splits, "classification"), "imbalance")
    assert finding.places == tuple(f"train, row {number}" for number in range(131, 137))
    assert "'red' occurs 130 times; 'blue' 6 times" in finding.what and "class_weights" in finding.remedy


def test_a_label_that_is_not_scored(look: Any, ner: Any) -> None:
    ner["validation"] = [row for row in ner["validation"] if "B-DATE" not in row["ner_tags"]]
    finding = only(look(ner, "ner"), "label_not_scored")
    assert finding.what == "validation: 1 label occurs not at all, though in training: DATE"


def test_questions_without_answer_that_training_never_shows(look: Any, qa: Any) -> None:
    qa["train"] = [row for row in qa["train"] if row["answers"]["text"]]
    qa["validation"] = [row for row in qa["validation"] if row["answers"]["text"]]
    finding = only(look(qa, "qa"), "unseen_gold")
    unanswerable = [index for index, row in enumerate(qa["test"], start=1) if not row["answers"]["text"]]
    assert finding.places == tuple(f"test, row {index}" for index in unanswerable)
    assert "leave them out" in finding.remedy


def test_tags_that_break_their_scheme(look: Any, ner: Any) -> None:
    row = next(index for index, row in enumerate(ner["train"]) if row["ner_tags"][0] == "O")
    ner["train"][row]["ner_tags"][0] = "I-PER"
    other = next(i for i, row in enumerate(ner["test"]) if "B-LOC" in row["ner_tags"])
    ner["test"][other]["ner_tags"] = [tag.replace("B-LOC", "I-LOC") for tag in ner["test"][other]["ner_tags"]]
    train, test = look(ner, "ner").warnings
    assert (train.code, train.places, train.count) == ("ill_formed_tags", (f"train, row {row + 1}",), 1)
    assert (test.code, test.places) == ("ill_formed_tags", (f"test, row {other + 1}",))
    assert "conlleval" in train.remedy


# --- duplicates and leaks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["ner", "nli", "qa", "multiple_choice"])
def test_a_row_that_repeats_another(look: Any, task: str) -> None:
    pack = deepcopy(PACKS[task])
    pack["train"].append(dict(pack["train"][6]))
    finding = only(look(pack, task), "duplicate")
    assert (finding.places, finding.partners) == (("train, row 61",), ("train, row 7",))
    assert finding.what == "train: 1 of 61 rows repeat an earlier row" and "Leave them out" in finding.remedy


def test_rows_that_contradict_each_other(look: Any, ner: Any, nli: Any) -> None:
    other = next(label for label in THREE if label != nli["train"][6]["label"])
    nli["train"].append({**nli["train"][6], "label": other})
    finding = only(look(nli, "nli"), "contradiction")
    assert (finding.places, finding.partners) == (("train, row 61",), ("train, row 7",))
    assert "look at them" in finding.remedy
    row = next(index for index, row in enumerate(ner["train"]) if row["ner_tags"][:2] == ["B-PER", "I-PER"])
    tags = ["O", "B-PER", *ner["train"][row]["ner_tags"][2:]]  # the same types, at other words
    ner["train"].append({**ner["train"][row], "ner_tags": tags})
    assert only(look(ner, "ner"), "contradiction").partners == (f"train, row {row + 1}",)


@pytest.mark.parametrize("task", ["ner", "nli", "qa", "multiple_choice"])
@pytest.mark.parametrize(("first", "second"), [("train", "validation"), ("train", "test"), ("validation", "test")])
def test_a_row_on_both_sides(look: Any, task: str, first: str, second: str) -> None:
    pack = deepcopy(PACKS[task])
    pack[second][3] = dict(pack[first][8])
    finding = only(look(pack, task), "leakage")
    assert (finding.places, finding.partners) == ((f"{second}, row 4",), (f"{first}, row 9",))
    assert f"Take them out of {first}" in finding.remedy


def test_another_pair_of_a_text_is_another_row(look: Any) -> None:
    text = "Maria Silva works for Norvex Ltd."
    pairs = [{"text": text, "head": [0, 11], "tail": [22, 32], "label": "works for"}]
    pairs += [{"text": text, "head": [22, 32], "tail": [0, 11], "label": "no relation"}]
    pack = reasoner.synthetic.relation_pack(train=20, validation=8, test=8)
    pack["train"].append(pairs[0])
    pack["test"].append(pairs[1])
    both = {**pack, "train": [*pack["train"], pairs[1]]}
    assert "contradiction" not in {item.code for item in look(both, "relation").findings}
    assert not {"leakage", "near_leakage"} & {item.code for item in look(pack, "relation").findings}
    pack["test"][-1] = {**pairs[0], "text": text.upper()}
    pack["train"].append({**pairs[0], "label": "no relation"})
    found = {item.code: item.places for item in look(pack, "relation").findings}
    assert (found["near_leakage"], found["contradiction"]) == (("test, row 9",), ("train, row 22",))


def test_a_row_on_both_sides_with_other_gold(look: Any, nli: Any) -> None:
    other = next(label for label in THREE if label != nli["train"][8]["label"])
    nli["test"][3] = {**nli["train"][8], "label": other}
    assert "(1 with other gold there)" in only(look(nli, "nli"), "leakage").what


def test_a_row_that_is_nearly_on_both_sides(look: Any, nli: Any) -> None:
    row = nli["train"][8]
    nli["test"][3] = {**row, "premise": row["premise"].upper().replace(" ", "  "), "hypothesis": row["hypothesis"][:-1]}
    finding = only(look(nli, "nli"), "near_leakage")
    assert (finding.places, finding.partners) == (("test, row 4",), ("train, row 9",))
    nli["test"][3]["hypothesis"] = row["hypothesis"].replace("not", "never") + " At 7."  # other words: no leak
    assert "near_leakage" not in [item.code for item in look(nli, "nli").findings]


def test_numbers_and_the_marks_of_letters_make_texts_differ(look: Any) -> None:
    pairs = [("It costs 3 euros.", "It costs 5 euros."), ("वह काम की बात", "वह काम का बात"), ("がんばる", "かんばる")]
    fill = _texts(["red", "blue"] * 10)
    train = [*fill, *({"text": one, "label": "red"} for one, _ in pairs)]
    test = [*_texts(["red", "blue"] * 5, 500), *({"text": other, "label": "red"} for _, other in pairs)]
    data = {"train": train, "validation": _texts(["red", "blue"] * 5, 900), "test": test}
    assert not [item for item in look(data, "classification").findings if "leakage" in item.code]


def test_premises_and_contexts_on_both_sides(look: Any, nli: Any, qa: Any) -> None:
    nli["test"][3]["premise"] = nli["train"][8]["premise"]
    finding = only(look(nli, "nli"), "shared_text")
    assert (finding.places, finding.partners) == (("test, row 4",), ("train, row 9",))
    assert "have a premise that train has as well" in finding.what
    qa["validation"][5] = {**qa["train"][2], "question": "Who is it all about?"}
    finding = only(look(qa, "qa"), "shared_text")
    assert (finding.places, finding.partners) == (("validation, row 6",), ("train, row 3",))
    assert "have a context that train has as well" in finding.what and "one context in one split" in finding.remedy


def test_a_question_that_says_nothing_without_its_choices(look: Any) -> None:
    pack = deepcopy(PACKS["multiple_choice"])
    for rows in pack.values():
        for row in rows:
            row["choices"] = [f"{choice}: {row['context']}" for choice in row["choices"]]
            row["question"] = "Which is true?"
            del row["context"]
    assert look(pack, "multiple_choice").findings == []


def test_numbers_that_contradict_each_other(look: Any) -> None:
    rows = [{"text": f"The lamp costs {number} euros.", "label": number / 3 + 0.1} for number in range(40)]
    data = {"train": [*rows[:20], {**rows[4], "label": 9.25}, rows[5]], "validation": rows[20:30], "test": rows[30:]}
    opposed, repeated = sorted(look(data, "classification").findings, key=lambda item: item.code)
    assert (opposed.code, opposed.places, opposed.partners) == ("contradiction", ("train, row 21",), ("train, row 5",))
    assert (repeated.code, repeated.places) == ("duplicate", ("train, row 22",))


def test_an_input_that_alone_predicts_the_label(look: Any) -> None:
    pack = nli_pack(train=240, validation=120, test=30)
    assert look(pack, "nli").findings == []
    for rows in pack.values():
        for row in rows:
            if row["label"] == "contradiction":
                row["hypothesis"] += " Surely."
    finding = only(look(pack, "nli"), "shortcut")
    assert "the words of the hypothesis alone predict" in finding.what and "well above" in finding.remedy


# --- lengths and tokenizers -----------------------------------------------------------------------------------------


def test_rows_that_are_cut(look: Any, nli: Any) -> None:
    nli["validation"][7]["premise"] += " And it rained" * 120
    finding = only(look(nli, "nli"), "cut_rows")
    assert finding.places == ("validation, row 8",) and finding.count == 1
    assert "max_length=256" in finding.what and finding.remedy.startswith("Take a model that reads more")
    finding = only(look(nli, "nli", max_length=100), "cut_rows")
    assert finding.remedy.startswith("Raise max_length (the model takes 256)")


def test_a_row_that_just_fits_is_not_cut(look: Any, nli: Any, tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    longest = max(
        len(tokenizer(row["premise"], row["hypothesis"])["input_ids"]) for part in nli.values() for row in part
    )
    assert look(nli, "nli", max_length=longest).findings == []
    assert {item.code for item in look(nli, "nli", max_length=longest - 1).findings} == {"cut_rows"}


def test_choices_that_are_cut(look: Any) -> None:
    pack = deepcopy(PACKS["multiple_choice"])
    pack["train"][2]["context"] += " And it rained" * 120
    assert only(look(pack, "multiple_choice"), "cut_rows").places == ("train, row 3",)


@pytest.mark.parametrize("task", ["ner", "qa"])
def test_windows_lose_nothing(look: Any, task: str) -> None:
    assert look(PACKS[task], task, max_length=48, stride=16).findings == []


def test_an_entity_that_the_tokenizer_drops(look: Any, ner: Any) -> None:
    row = next(index for index, row in enumerate(ner["train"]) if "B-PER" in row["ner_tags"])
    word = ner["train"][row]["ner_tags"].index("B-PER")
    ner["train"][row]["tokens"][word] = "\u200b"
    finding = only(look(ner, "ner"), "gold_lost")
    assert finding.places == (f"train, row {row + 1}",) and finding.count == 1
    assert "count as missed" in finding.remedy


def test_an_answer_that_stands_whole_in_no_window(look: Any, qa: Any) -> None:
    row = qa["train"][4]
    row["answers"] = {"text": [row["context"]], "answer_start": [0]}
    finding = only(look(qa, "qa", max_length=64, stride=8), "gold_lost")
    assert finding.places == ("train, row 5",) and "raise max_length or stride" in finding.remedy


def test_offsets_that_leave_out_letters(look: Any, ner: Any, nli: Any, tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert look(ner, "ner", tokenizer=tokenizer).findings == []
    own = tokenizer.backend_tokenizer.normalizer
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"\bD"), ""), own])
    report = look(ner, "ner", tokenizer=tokenizer)
    (finding,) = report.errors
    assert finding.code == "offsets" and "another tokenizer" in finding.remedy
    words = {place: row["tokens"] for part in ner for place, row in
             ((f"{part}, row {number}", row) for number, row in enumerate(ner[part], start=1))}  # fmt: skip
    assert set(finding.places) == {place for place, tokens in words.items() if any(word[0] == "D" for word in tokens)}
    assert look(nli, "nli", tokenizer=tokenizer).errors == []  # no offset of it is used


def test_words_that_the_tokenizer_does_not_know(look: Any, nli: Any) -> None:
    for number in range(9):
        nli["train"][number]["premise"] = "你好世界这是一个很长的句子没有人知道它说了什么"
    finding = only(look(nli, "nli"), "unknown_tokens")
    assert finding.places == tuple(f"train, row {number}" for number in range(1, 10))
    assert "choose one for this language" in finding.remedy


# --- the checkpoint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision(look: Any, nli: Any, tmp_path: Path, dtype: torch.dtype, said: bool) -> None:
    folder = build_tiny("bert", tmp_path / "half", dtype=dtype)
    if not said:
        _edit_config(folder, dtype=None)
    finding = only(look(nli, "nli", model=folder), "half_precision", "note")
    assert str(dtype).removeprefix("torch.") in finding.what and "float32" in finding.remedy


def test_a_loaded_model_in_half_precision(look: Any, nli: Any, tiny: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=5).half()
    report = look(nli, "nli", model=model, tokenizer=AutoTokenizer.from_pretrained(tiny))
    assert only(report, "half_precision", "note")


def test_weights_that_are_no_numbers(look: Any, nli: Any, tiny: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny)
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.weight[3, 3] = float("nan")
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    report = look(nli, "nli", model=tmp_path, run_model=True)
    (finding,) = report.errors
    assert finding.code == "not_finite" and "loss of the longest batch (16 x " in finding.what
    assert len(finding.places) == 16 and report.estimate == {}
    assert "checkpoint's weights" in finding.remedy


@pytest.mark.parametrize("rows", [16, 1])
def test_a_batch_that_does_not_fit(look: Any, nli: Any, monkeypatch: Any, rows: int) -> None:
    def full(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB")

    monkeypatch.setattr("reasoner.model.TaskModel.loss", full)
    report = look(nli, "nli", run_model=True, per_device_train_batch_size=rows)
    finding = only(report, "out_of_memory", "warning" if rows > 1 else "error")
    assert ("run such batches in parts" in finding.remedy) is (rows > 1)
    assert "gradient_checkpointing" in finding.remedy and len(finding.places) == rows


# --- the order of an NLI head's labels ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nli_head(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose head knows the sure pairs: contradiction, neutral, entailment, in this order."""
    return _taught(tiny, tmp_path_factory.mktemp("nli-head"), ("contradiction", "neutral", "entailment"))


@pytest.fixture(scope="module")
def two_label_head(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _taught(tiny, tmp_path_factory.mktemp("two-label-head"), ("not_entailment", "entailment"))


def _taught(source: Path, folder: Path, order: tuple[str, ...]) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(source, id2label=dict(enumerate(order)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    pairs = [(*pair, name) for name, group in PAIRS.items() for pair in group]
    gold = torch.tensor([order.index(name) if name in order else order.index("not_entailment") for *_, name in pairs])
    batch = tokenizer([one for one, _, _ in pairs], [two for _, two, _ in pairs], padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        torch.nn.functional.cross_entropy(model.eval()(**batch).logits, gold).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (model(**batch).logits.argmax(-1) == gold).all()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text("utf-8")), **values}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}), "utf-8")


def _renamed(folder: Path, copy: Path, names: tuple[str, ...]) -> Path:
    shutil.copytree(folder, copy)
    _edit_config(copy, id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)})
    return copy


@pytest.mark.parametrize(
    "names",
    [
        ("contradiction", "neutral", "entailment"),
        ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"),
        ("c", "n", "e"),
        ("contradictory", "unknown", "entailed"),
    ],
)
def test_a_head_that_means_what_it_says_is_kept(
    look: Any, nli: Any, nli_head: Path, tmp_path: Path, names: Any
) -> None:
    model = _renamed(nli_head, tmp_path / "model", names)
    report = look(nli, "nli", model=model, run_model=True)
    finding = only(report, "labels_reordered", "note")
    assert "contradiction, neutral, entailment" in finding.what
    result = reasoner.fine_tune(model, nli, task="nli", max_steps=1, learning_rate=1e-9, use_cpu=True, weight_decay=0.0)
    for name, pairs in PAIRS.items():
        assert {prediction["label"] for prediction in result.predict(list(pairs))} == {name}
    result.save(tmp_path / "saved")
    assert reasoner.load(tmp_path / "saved", use_cpu=True).predict(PAIRS["neutral"][0])["label"] == "neutral"
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert tuple(plain.config.id2label.values()) == names


@pytest.mark.parametrize(
    "names",
    [("entailment", "neutral", "contradiction"), ("neutral", "contradiction", "entailment"), ("e", "c", "n")],
)
def test_a_head_whose_names_are_in_another_order_than_its_outputs(
    look: Any, nli: Any, nli_head: Path, tmp_path: Path, names: Any
) -> None:
    model = _renamed(nli_head, tmp_path / "model", names)
    (finding,) = look(nli, "nli", model=model, run_model=True).errors
    by_meaning = {name[0]: name for name in names}
    right = [by_meaning[letter] for letter in "cne"]
    assert finding.code == "label_order" and finding.count == 24
    assert f"as {', '.join(names)}, and 100% as {', '.join(right)}" in finding.what
    assert "{" + ", ".join(f'"{i}": "{name}"' for i, name in enumerate(right)) + "}" in finding.remedy
    with pytest.raises(DataError, match=r"does not mean what its names say.*Correct id2label"):
        reasoner.fine_tune(model, nli, task="nli", max_steps=1, use_cpu=True)
    loaded = AutoModelForSequenceClassification.from_pretrained(model)
    (again,) = look(nli, "nli", model=loaded, tokenizer=AutoTokenizer.from_pretrained(model), run_model=True).errors
    assert again == finding


def test_two_labels(look: Any, nli: Any, two_label_head: Path, tmp_path: Path) -> None:
    for rows in nli.values():
        for row in rows:
            row["label"] = "entailment" if row["label"] == "entailment" else "non-entailment"
    assert look(nli, "nli", model=two_label_head, run_model=True).errors == []
    turned = _renamed(two_label_head, tmp_path / "model", ("entailment", "not_entailment"))
    (finding,) = look(nli, "nli", model=turned, run_model=True).errors
    assert finding.code == "label_order" and "100% as not_entailment, entailment" in finding.what


def test_a_head_without_names_is_asked_for_its_order(look: Any, nli: Any, nli_head: Path, tmp_path: Path) -> None:
    model = _renamed(nli_head, tmp_path / "model", ("LABEL_0", "LABEL_1", "LABEL_2"))
    with collect() as said:
        mismatch, order = look(nli, "nli", model=model, run_model=True).findings
    assert said == ["The checkpoint's head has other labels (LABEL_0, LABEL_1, LABEL_2); a new one was made."]
    assert (mismatch.code, mismatch.severity) == ("labels_mismatch", "warning")
    assert "LABEL_0, LABEL_1, LABEL_2, not entailment, neutral, contradiction" in mismatch.what
    assert (order.code, order.severity) == ("label_order", "note")
    assert "they are contradiction, neutral, entailment" in order.what
    assert '{"0": "contradiction", "1": "neutral", "2": "entailment"}' in order.remedy


@pytest.mark.parametrize("seed", range(4))
def test_a_head_that_knows_nothing_is_no_finding(look: Any, nli: Any, tiny: Path, tmp_path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, id2label=dict(enumerate(THREE)))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.2)
    report = look(nli, "nli", model=model, tokenizer=AutoTokenizer.from_pretrained(tiny), run_model=True)
    assert report.findings == []


def test_labels_by_other_names(look: Any, tiny: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny, id2label={0: "good", 1: "bad"})
    labels = ["red", "blue"] * 10
    data = {"train": _texts(labels), "validation": _texts(labels, 100), "test": _texts(labels, 200)}
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    finding = only(look(data, "classification", model=model, tokenizer=tokenizer), "labels_mismatch")
    assert "(good, bad, not blue, red)" in finding.what and "id2label" in finding.remedy
    named = AutoModelForSequenceClassification.from_pretrained(tiny, id2label={0: "Blue", 1: "RED"})
    assert look(data, "classification", model=named, tokenizer=tokenizer).findings == []  # its head is kept
    three = Classification(labels=("red", "blue", "green"))
    assert look(data, three, model=model, tokenizer=tokenizer).findings == []


# --- at the start of training ---------------------------------------------------------------------------------------

QUICK = {"max_steps": 2, "use_cpu": True, "learning_rate": 1e-3, "evaluate_before": False}


def test_training_says_each_warning_once_and_keeps_the_report(nli: Any, tiny: Path, tmp_path: Path) -> None:
    nli["test"][3] = dict(nli["train"][8])
    nli["train"] += [dict(nli["train"][number]) for number in range(25)]
    result = reasoner.fine_tune(tiny, nli, task="nli", output_dir=tmp_path / "model", **QUICK)
    said = [notice for notice in result.run.notices if notice.startswith("Check")]
    assert said == [
        "Check, duplicate: train: 25 of 85 rows repeat an earlier row.",
        "Check, leakage: 1 of 30 rows of test stand in train as well.",
    ]
    checks = result.run.checks
    assert [item["code"] for item in checks["findings"]] == ["duplicate", "leakage"]
    assert checks["findings"][0]["count"] == 25 and len(checks["findings"][0]["places"]) == 20
    assert checks["findings"][1]["partners"] == ["train, row 9"]  # the first of two
    assert checks["estimate"]["steps"] == 2 and checks["rows"]["train"] == 85
    assert reasoner.load(tmp_path / "model", use_cpu=True).run.checks == json.loads(json.dumps(checks))


def test_training_stops_at_an_error(nli: Any, tiny: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("reasoner.tuning.Trainer", lambda *arguments, **settings: pytest.fail("training was reached"))
    model = AutoModelForSequenceClassification.from_pretrained(tiny)
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.bias[0] = float("inf")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    with pytest.raises(DataError, match=r"loss of the longest batch .* is nan, before any training"):
        reasoner.fine_tune(model, nli, task="nli", tokenizer=tokenizer, output_dir=tmp_path / "model", **QUICK)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("task", PACKS)
def test_training_is_the_same_with_and_without(tiny: Path, task: str) -> None:
    results = [
        reasoner.fine_tune(tiny, PACKS[task], task=task, check=check, seed=3, dropout=0.3, **QUICK)
        for check in (True, False)
    ]
    one, other = (result.model.state_dict() for result in results)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert results[0].run.checks["findings"] == [] and results[1].run.checks == {}
    assert [row["loss"] for row in results[0].history] == [row["loss"] for row in results[1].history]
