"""What does each kind of bad input get: one error, before any training, that names file, row and remedy?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from task_cases import write_files

import reasoner
from reasoner import NER, Classification, DataError, LabelError

QUICK = {"max_steps": 2, "evaluate_before": False, "use_cpu": True}


def json_lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def texts(*labels: Any, start: int = 0) -> str:
    return json_lines(*({"text": f"text {start + n}", "label": label} for n, label in enumerate(labels)))


def pairs(*labels: Any) -> str:
    return json_lines(
        *({"premise": f"It is {n}.", "hypothesis": "No.", "label": label} for n, label in enumerate(labels))
    )


def question(context: str, answer: str, start: int) -> dict[str, Any]:
    return {"question": "Who?", "context": context, "answers": {"text": [answer], "answer_start": [start]}}


GOOD_TEXTS = texts("red", "blue", "red", "blue")
GOOD_WORDS = "Ann B-PER\nleft O\nOslo B-LOC\n\nBob B-PER\nslept O\n"
GOOD_QUESTIONS = json_lines(*(question(f"Ann met Bob {n} times.", "Bob", 8) for n in range(4)))
GOOD_CHOICES = json_lines(*({"question": f"{n}?", "choices": ["yes", "no"], "label": 0} for n in range(4)))


def _assert_says(error: reasoner.ReasonerError, kind: type[Exception], *lines: str) -> None:
    """Assert the error's type and all of its problems, in order and no more."""
    assert type(error) is kind
    said = [str(problem) for problem in error.problems] if isinstance(error, DataError) else []
    assert (said or [str(error)]) == list(lines)
    assert all(line in str(error) for line in lines)


# ---------------------------------------------------------------- columns


def test_missing_column(refused: Any) -> None:
    files = {"train.jsonl": GOOD_TEXTS, "test.csv": "sentence_one,label\nA lamp,red\nA chair,blue\n"}
    _assert_says(
        refused(files, "classification"), DataError,
        "test.csv, line 2: column 'text' is missing (nor in 1 further rows). The columns are: sentence_one, label. "
        "Name yours with columns={'text': 'your column'}.",
    )  # fmt: skip


def test_a_mapped_column_that_is_not_there(refused: Any) -> None:
    error = refused({"train.jsonl": GOOD_TEXTS}, "classification", columns={"label": "labell"})
    _assert_says(
        error, DataError,
        "train.jsonl: has no column 'labell' to read as 'label'; its columns are text, label. Did you mean 'label'?",
    )  # fmt: skip


# ---------------------------------------------------------------- labels


def test_label_unknown_in_validation_and_test(refused: Any) -> None:
    files = {
        "train.jsonl": pairs("entailment", "neutral", "entailment"),
        "validation.jsonl": pairs("neutral", "contradiction"),
        "test.jsonl": pairs("entailment", "neutral", "entailmnt"),
    }
    remedy = "Correct it, or name all labels with labels=[...] in the task."
    never = "is unknown (it never occurs in the training data, nor was it given)."
    _assert_says(
        refused(files, "nli"), LabelError,
        f"validation.jsonl, line 2: label 'contradiction' {never} Known: entailment, neutral. {remedy}",
        f"test.jsonl, line 3: label 'entailmnt' {never} Did you mean 'entailment'? {remedy}",
    )  # fmt: skip


def test_label_out_of_range(refused: Any) -> None:
    out = "is out of range: there are 2 labels, numbered from 0. Known: blue, red."
    files = {"train.jsonl": texts(0, 1, 2), "validation.jsonl": texts(1, 7)}
    remedy = "Correct it, or name all labels with labels=[...] in the task."
    _assert_says(
        refused(files, Classification(labels=["red", "blue"])), LabelError,
        f"train.jsonl, line 3: label 2 {out} {remedy}",
        f"validation.jsonl, line 2: label 7 {out} {remedy}",
    )  # fmt: skip


def test_tag_number_out_of_range(refused: Any) -> None:
    rows = [{"tokens": ["Ann", "left"], "ner_tags": tags} for tags in ([1, 0], [3, 0], [1, -1])]
    _assert_says(
        refused({"train.jsonl": json_lines(*rows), "validation.jsonl": json_lines(*rows[:1] * 2)},
                NER(tag_names=["O", "B-PER", "I-PER"])), LabelError,
        "train.jsonl, line 2: ner_tags holds 3, which is out of range: there are 3 tags, numbered from 0. "
        "Correct it, or give all tag_names.",
        "train.jsonl, line 3: ner_tags holds -1, which is out of range: there are 3 tags, numbered from 0. "
        "Correct it, or give all tag_names.",
    )  # fmt: skip


def test_choice_out_of_range(refused: Any) -> None:
    rows = [{"question": "?", "choices": ["yes", "no"], "label": label} for label in (0, 2, "C")]
    remedy = "Give an index from 0 to 1."
    _assert_says(
        refused({"train.jsonl": json_lines(*rows)}, "multiple_choice"), LabelError,
        f"train.jsonl, line 2: label 2 is out of range: there are 2 choices. {remedy}",
        f"train.jsonl, line 3: label 'C' is out of range: there are 2 choices. {remedy}",
    )  # fmt: skip


def test_one_class_only(refused: Any) -> None:
    error = refused(
        {"train.jsonl": texts("red", "red", "red"), "validation.jsonl": texts("red", "red")}, "classification"
    )
    _assert_says(
        error, LabelError, "train: there must be at least 2 labels, and only 'red' occurs. Check the label column."
    )


def test_no_entity_at_all(refused: Any) -> None:
    error = refused({"train.conll": "a O\nb O\n\nc O\n", "validation.conll": "a O\n\nb O\n"}, "ner")
    assert type(error) is LabelError
    assert "train: there must be at least 1 labels, and none occurs." in str(error)


@pytest.mark.parametrize(
    ("task", "content"),
    [
        ("nli", pairs("entailment", -1, "neutral", "-", "entailment", "-1", "neutral")),
        ("classification", texts("red", -1, "blue", "-", "red", "-1", "blue")),
        (
            "multiple_choice",
            json_lines(
                *(
                    {"question": f"{n}?", "choices": ["a", "b"], "label": y}
                    for n, y in enumerate((0, -1, 1, "-", 0, "-1", 1))
                )
            ),
        ),
    ],
)
def test_rows_without_gold_are_dropped_and_counted(task: str, content: str, lively_bert: Path, tmp_path: Path) -> None:
    data = write_files({"train.jsonl": content, "validation.jsonl": content}, tmp_path / "data")
    result = reasoner.fine_tune(lively_bert, data, task=task, **QUICK)
    assert result.run.rows == {"train": 4, "validation": 4}
    for split in data:
        assert f"{split}: 3 rows have no gold label (-1, '-' or empty) and were left out." in result.run.notices


def test_no_row_has_gold(refused: Any) -> None:
    error = refused({"train.jsonl": texts("-", "-"), "test.jsonl": texts("red", "blue")}, "classification")
    _assert_says(error, DataError, "train: no row is left: all were dropped. See what was said of them above.")


# ---------------------------------------------------------------- tags and words


def test_malformed_tags(refused: Any) -> None:
    bad = "Ann B-PER\nleft O\n\nBob X_PER\nslept O\n\nEve B-\n"
    remedy = "Correct it, or give another tag column with columns."
    form = "which is neither O nor a prefix and a type such as B-PER."
    _assert_says(
        refused({"train.conll": GOOD_WORDS, "validation.conll": bad}, "ner"), LabelError,
        f"validation.conll, line 4: tag 1 is 'X_PER', {form} {remedy}",
        f"validation.conll, line 7: tag 1 is 'B-', {form} {remedy}",
    )  # fmt: skip


def test_words_and_tags_of_unequal_length(refused: Any) -> None:
    rows = [
        {"tokens": ["Ann", "left"], "ner_tags": ["B-PER", "O"]},
        {"tokens": ["Bob", "slept", "."], "ner_tags": ["B-PER", "O"]},
    ]
    files = {"train.jsonl": json_lines(*rows), "test.jsonl": json_lines(*reversed(rows))}
    _assert_says(
        refused(files, "ner"), DataError,
        "train.jsonl, line 2: ner_tags has 2 items, tokens has 3. Give one tag per token.",
        "test.jsonl, line 1: ner_tags has 2 items, tokens has 3. Give one tag per token.",
    )  # fmt: skip


def test_a_line_with_a_column_too_few(refused: Any) -> None:
    _assert_says(
        refused({"train.conll": "Ann B-PER\nleft\n\nOslo B-LOC\nBob B-PER\n"}, "ner"), DataError,
        "train.conll, line 2: has 1 column, most lines have 2. "
        "Give every token line the same columns, and part sentences by empty lines.",
    )  # fmt: skip


# ---------------------------------------------------------------- answers and choices


def test_an_answer_nearby_is_moved_and_counted(lively_bert: Path, tmp_path: Path) -> None:
    moved = json_lines(
        question("Ann met Bob.", "Bob", 9), question("Bob met Ann.", "Bob", 0), question("Eve met Bob.", "Bob", -1)
    )
    data = write_files({"train.jsonl": moved, "validation.jsonl": GOOD_QUESTIONS}, tmp_path / "data")
    result = reasoner.fine_tune(lively_bert, data, task="qa", **QUICK)
    notice = "2 answers were not at their answer_start; each was moved to the one place where its text stands."
    assert f"train: {notice}" in result.run.notices
    assert not any(notice in said for said in result.run.notices if said.startswith("validation"))
    right = json_lines(
        question("Ann met Bob.", "Bob", 8), question("Bob met Ann.", "Bob", 0), question("Eve met Bob.", "Bob", 8)
    )
    (tmp_path / "data" / "train.jsonl").write_text(right)
    expected = reasoner.fine_tune(lively_bert, data, task="qa", **QUICK)
    assert result.metrics["train"]["loss"] == expected.metrics["train"]["loss"]


def test_an_answer_that_is_not_at_its_offset(refused: Any) -> None:
    far = "Bob slept. " + "It rained and rained. " * 10 + "Bob woke."
    rows = [
        question("Ann met Bob.", "Bob", 8),
        question("Ann met Bob.", "Eve", 8),
        question("Bob met Bob.", "Bob", 3),
        question(far, "Bob", 120),
    ]
    error = refused({"train.jsonl": GOOD_QUESTIONS, "validation.jsonl": json_lines(*rows)}, "qa")
    _assert_says(
        error, DataError,
        "validation.jsonl, line 2: the answer 'Eve' is not at answer_start 8 and stands nowhere in the context. "
        "Correct it.",
        "validation.jsonl, line 3: the answer 'Bob' is not at answer_start 3 and stands in several places near it "
        "in the context. Correct it.",
        "validation.jsonl, line 4: the answer 'Bob' is not at answer_start 120 and is not to be found near it "
        "in the context. Correct it.",
    )  # fmt: skip


def test_no_choices(refused: Any) -> None:
    rows = [{"question": "?", "choices": choices, "label": 0} for choices in (["a", "b"], [], ["a"], None, "a or b")]
    _assert_says(
        refused({"train.jsonl": GOOD_CHOICES, "test.jsonl": json_lines(*rows)}, "multiple_choice"), DataError,
        "test.jsonl, line 2: choices has 0 items. Give at least two choices.",
        "test.jsonl, line 3: choices has 1 items. Give at least two choices.",
        "test.jsonl, line 4: choices is not a list of texts. Give each choice as a string.",
        "test.jsonl, line 5: choices is not a list of texts. Give each choice as a string.",
    )  # fmt: skip


# ---------------------------------------------------------------- splits


def test_empty_splits(refused: Any) -> None:
    remedy = "Give it at least one, or leave the split out."
    files = {"train.jsonl": GOOD_TEXTS, "validation.jsonl": "", "test.csv": "text,label\n"}
    _assert_says(
        refused(files, "classification"), DataError,
        f"validation (validation.jsonl): holds no rows. {remedy}",
        f"test (test.csv): holds no rows. {remedy}",
    )  # fmt: skip


def test_splits_of_one_row(refused: Any) -> None:
    remedy = "Give more, or leave it out."
    files = {"train.jsonl": GOOD_TEXTS, "validation.jsonl": texts("red"), "test.jsonl": texts("blue")}
    _assert_says(
        refused(files, "classification"), DataError,
        f"validation: holds one row, and nothing can be learned or scored on one. {remedy}",
        f"test: holds one row, and nothing can be learned or scored on one. {remedy}",
    )  # fmt: skip


def test_no_train_split(refused: Any) -> None:
    error = refused({"test.jsonl": GOOD_TEXTS}, "classification")
    _assert_says(error, DataError, "data: there is no train split, only test. Give {'train': ...}.")


def test_a_file_that_is_not_there(lively_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: there is no such file\. It was looked for in"):
        reasoner.fine_tune(lively_bert, {"train": tmp_path / "nowhere.jsonl"}, task="ner")


# ---------------------------------------------------------------- bytes


def test_wrong_encoding(refused: Any) -> None:
    remedy = "Save the file as UTF-8, or convert it: iconv -f CP1252 -t UTF-8 OLD > NEW."
    files = {
        "train.csv": "text,label\nA café,red\nA lamp,blue\n".encode("latin-1"),
        "validation.conll": "Oslo B-LOC\n\nZürich B-LOC\n".encode("latin-1"),
        "test.jsonl": GOOD_TEXTS.encode("utf-16"),
    }
    _assert_says(
        refused(files, "classification"), DataError,
        f"train.csv, line 2: is not UTF-8 (byte 0xe9 at column 6). {remedy}",
        f"validation.conll, line 3: is not UTF-8 (byte 0xfc at column 2). {remedy}",
        "test.jsonl: is UTF-16 or UTF-32, not UTF-8. "
        "Save the file as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW.",
    )  # fmt: skip


def test_nul_bytes(refused: Any) -> None:
    files = {"train.conll": b"Ann B-PER\nle\0ft O\n\nOs\0lo B-LOC\n", "test.conll": GOOD_WORDS}
    remedy = "Remove it; a file with many of them is often UTF-16, to be saved as UTF-8."
    _assert_says(
        refused(files, "ner"), DataError,
        f"train.conll, line 2: holds a NUL byte (at byte 3 of the line). {remedy}",
        f"train.conll, line 4: holds a NUL byte (at byte 3 of the line). {remedy}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "task", "content"),
    [
        ("jsonl", "classification", GOOD_TEXTS),
        ("csv", "classification", "text,label\nA lamp,red\nA chair,blue\nA sofa,red\n"),
        ("conll", "ner", GOOD_WORDS),
    ],
)
def test_a_byte_order_mark_and_crlf_change_nothing(
    name: str, task: str, content: str, lively_bert: Path, tmp_path: Path
) -> None:
    losses, labels = [], []
    for number, form in enumerate((content.encode(), b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode())):
        data = write_files({f"train.{name}": form, f"validation.{name}": form}, tmp_path / str(number))
        result = reasoner.fine_tune(lively_bert, data, task=task, **QUICK)
        losses.append(result.metrics["validation"]["loss"])
        labels.append(result.run.labels)
    assert losses[0] == losses[1] and labels[0] == labels[1]


# ---------------------------------------------------------------- all at once


def test_all_problems_of_all_splits_come_in_one_error(refused: Any) -> None:
    files = {
        "train.jsonl": json_lines({"tokens": ["Ann"], "ner_tags": ["B-PER", "O"]}, {"words": ["Bob"]}),
        "validation.jsonl": json_lines({"tokens": ["Ann"], "ner_tags": ["PER"]}),
        "test.jsonl": json_lines(
            {"tokens": "Ann left", "ner_tags": ["O", "O"]}, {"tokens": ["Ann", 5], "ner_tags": ["O", "O"]}
        ),
    }
    error = refused(files, "ner")
    found = [str(problem).split(". ")[0] for problem in error.problems]
    assert sorted(found) == sorted([
        "train.jsonl, line 1: ner_tags has 2 items, tokens has 1",
        "train.jsonl, line 2: column 'ner_tags' is missing",
        "validation.jsonl, line 1: tag 1 is 'PER', which is neither O nor a prefix and a type such as B-PER",
        "validation: holds one row, and nothing can be learned or scored on one",
        "test.jsonl, line 1: tokens is str, not a list",
        "test.jsonl, line 2: tokens holds 5, which is not text",
    ])  # fmt: skip
    assert str(error).startswith("6 problems in the data:\n")
