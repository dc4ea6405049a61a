"""Is every file of the real data read, with as many rows as its publishers say, or refused in clear words?"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reasoner import notices
from reasoner.data.candidates import read_candidates
from reasoner.data.sources import read_rows, read_splits
from reasoner.data.tag_schemes import detect_scheme, ill_formed, malformed
from reasoner.errors import DataError

ROWS = {
    "ner/wnut17/wnut17train.conll": 3394,
    "ner/wnut17/emerging.dev.conll": 1009,
    "ner/wnut17/emerging.test.annotated": 1287,
    "ner/wikiann-en/train": 20000,
    "ner/wikiann-en/dev": 10000,
    "ner/wikiann-en/test": 10000,
    "nli/snli/train.jsonl": 7842,
    "nli/snli/validation.jsonl": 1000,
    "nli/snli/test.jsonl": 1000,
    "nli/mnli/train.jsonl": 7815,
    "nli/mnli/validation.jsonl": 1000,
    "nli/mnli/test.jsonl": 1000,
    "nli/rte/train.jsonl": 2490,
    "nli/rte/validation.jsonl": 277,
    "nli/hans/validation.jsonl": 6000,
    "qa/squad2/half-dev-v2.0.json": 6078,
    "qa/xquad/xquad.en.json": 1190,
    "qa/xquad/xquad.es.json": 1190,
    "qa/xquad/xquad.zh.json": 1190,
    "multiple_choice/commonsense_qa/train_rand_split.jsonl": 9741,
    "multiple_choice/commonsense_qa/dev_rand_split.jsonl": 1221,
    "multiple_choice/piqa/validation.jsonl": 1838,
    "math/gsm8k/train.jsonl": 7473,
    "math/gsm8k/test.jsonl": 1319,
    "code/humaneval/HumanEval.jsonl.gz": 164,
    "code/mbpp/mbpp.jsonl": 974,
    "generation/e2e/devset.csv": 4672,
    "generation/e2e/testset_w_refs.csv": 4693,
    "dialogue/babi_dialog/dialog-babi-task1-API-calls-trn.txt": 6024,
    "dialogue/babi_dialog/dialog-babi-task1-API-calls-dev.txt": 6015,
    "dialogue/babi_dialog/dialog-babi-task1-API-calls-tst.txt": 5936,
}
TRIPLES = {
    "kg/wn18rr": (86835, 3034, 3134),
    "kg/umls": (5216, 652, 661),
    "kg/countries_S3": (985, 24, 24),
}
IN_NO_KNOWN_FORMAT = "dialogue/"


def read(folder: Path, name: str, **settings: Any) -> list[Any]:
    if not (folder / name).exists():
        pytest.skip(f"The real data has no {name}.")
    return read_rows(folder / name, **settings)


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_as_many_as_published(real_data: Path, name: str) -> None:
    rows = read(real_data, name)
    assert len(rows) == ROWS[name]
    assert all(row.source == Path(name).name for row in rows)
    assert all(before.position < after.position for before, after in pairwise(rows))


def test_every_other_file_is_refused_in_clear_words(real_data: Path) -> None:
    refused = 0
    for path in sorted(real_data.rglob("*")):
        name = path.relative_to(real_data).as_posix()
        if (
            not path.is_file()
            or name in ROWS
            or name == "README.md"
            or not name.startswith((IN_NO_KNOWN_FORMAT, "kg/"))
        ):
            continue
        with pytest.raises(DataError, match="its format cannot be told from its name or its content"):
            read_rows(path)
        refused += 1
    assert refused or not (real_data / "dialogue").exists()


@pytest.mark.parametrize("folder", TRIPLES)
def test_triples_are_a_table_without_header(real_data: Path, folder: str) -> None:
    if not (real_data / folder).exists():
        pytest.skip(f"The real data has no {folder}.")
    columns = {"head": 0, "relation": 1, "tail": 2}
    splits = read_splits(real_data / folder, format="tsv", columns=columns)
    assert tuple(map(len, splits.values())) == TRIPLES[folder]
    assert set(splits["train"][0].columns) == set(columns)


def test_snips_is_read_from_its_folders(real_data: Path) -> None:
    if not (real_data / "dialogue/snips").exists():
        pytest.skip("The real data has no dialogue/snips.")
    splits = read_splits(real_data / "dialogue/snips")
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 13084, "validation": 700, "test": 700}
    for row in (row for rows in splits.values() for row in rows):
        assert len(row.columns["tokens"]) == len(row.columns["ner_tags"])
    assert len({row.columns["intent"] for row in splits["train"]}) == 7
    assert detect_scheme([row.columns["ner_tags"] for row in splits["train"]]) == "IOB2"


def test_dialogues_of_babi_have_their_candidates(real_data: Path) -> None:
    folder = real_data / "dialogue/babi_dialog"
    rows = read(real_data, "dialogue/babi_dialog/dialog-babi-task1-API-calls-tst.txt")
    candidates = read_candidates(folder / "dialog-babi-candidates.txt")
    assert len(candidates) == 4212 and {row.columns["response"] for row in rows} <= set(candidates)
    assert rows[-1].columns["dialogue"] == 1000


def test_wnut_17_is_read_from_its_folder_without_loss(real_data: Path) -> None:
    if not (real_data / "ner/wnut17").exists():
        pytest.skip("The real data has no ner/wnut17.")
    splits = read_splits(str(real_data / "ner/wnut17"))
    assert list(splits) == ["train", "validation", "test"]
    for rows in splits.values():
        tags = [row.columns["ner_tags"] for row in rows]
        assert all(malformed(sentence) is None for sentence in tags)
        assert detect_scheme(tags) == "IOB2"
        assert not any(ill_formed(sentence, "IOB2") for sentence in tags)
    # Counted without the reader: lines with a tag, and in the test set the lines with each B- tag.
    assert [sum(len(row.columns["tokens"]) for row in rows) for rows in splits.values()] == [62730, 15733, 23394]
    begun = Counter(tag for row in splits["test"] for tag in row.columns["ner_tags"] if tag.startswith("B-"))
    assert begun == {
        "B-person": 429,
        "B-group": 165,
        "B-location": 150,
        "B-creative-work": 142,
        "B-product": 127,
        "B-corporation": 66,
    }
    assert any(word.startswith("#") for row in splits["train"] for word in row.columns["tokens"])


def test_wikiann_loses_its_language_prefix(real_data: Path) -> None:
    with notices.collect() as said:
        rows = read(real_data, "ner/wikiann-en/dev")
    assert said == ["dev: every word begins with 'en:', which was removed."]
    assert rows[0].columns["tokens"][:3] == ["Sioux", "Falls", "Arena"]
    assert detect_scheme(row.columns["ner_tags"] for row in rows) == "IOB2"


def test_squad_answers_stand_at_their_offsets(real_data: Path) -> None:
    for name, impossible in (("qa/squad2/half-dev-v2.0.json", 3168), ("qa/xquad/xquad.zh.json", 0)):
        rows = read(real_data, name)
        assert sum(not row.columns["answers"]["text"] for row in rows) == impossible
        for row in rows:
            answers = row.columns["answers"]
            for text, start in zip(answers["text"], answers["answer_start"], strict=True):
                assert row.columns["context"][start : start + len(text)] == text
