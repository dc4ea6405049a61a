"""Are CoNLL columns read as the corpora that use them mean them?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner import notices
from reasoner.data.formats.conll import read_conll
from reasoner.errors import DataError


def read(text: str, **numbers: int) -> list[dict[str, Any]]:
    return [dict(row.columns) for row in read_conll(text, "a.conll", numbers)]


def problems(text: str, **numbers: int) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_conll(text, "a.conll", numbers)
    return [str(problem) for problem in caught.value.problems]


TWO = [{"tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"]}, {"tokens": ["Peter"], "ner_tags": ["B-PER"]}]


@pytest.mark.parametrize("separator", ["\t", " ", "   ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("empty", ["", "\t", "  ", " \t ", "\u3000"])
def test_separators_line_ends_and_empty_lines(separator: str, end: str, empty: str) -> None:
    lines = ["EU B-ORG", "rejects O", "", "", "Peter B-PER", ""]
    text = end.join(line.replace(" ", separator) or empty for line in lines)
    assert read(text) == TWO
    assert [row.position for row in read_conll(text, "a", {})] == [1, 5]


def test_words_may_hold_spaces_in_a_file_with_tabs_and_odd_spaces_everywhere() -> None:
    assert read("New York\tB-LOC\n10 000\tO")[0]["tokens"] == ["New York", "10 000"]
    assert read(" \tO\n EU \t B-ORG \nx\tO")[0] == {"tokens": [" ", "EU", "x"], "ner_tags": ["O", "B-ORG", "O"]}
    assert read("a\u00a0b O\nc\u2028d O\nn\x85 O")[0]["tokens"] == ["a\u00a0b", "c\u2028d", "n\x85"]


def test_one_line_without_its_tab_does_not_change_how_the_others_are_read() -> None:
    assert problems("New York\tB-LOC\nis\tO\nbig\n.\tO") == [
        "a.conll, line 3: has 1 column, most lines have 2. "
        "Give every token line the same columns, and part sentences by empty lines."
    ]


def test_tabs_and_spaces_may_be_mixed() -> None:
    assert read("EU B-ORG\nrejects\tO\n\nPeter B-PER") == TWO


def test_document_starts_are_counted_part_sentences_and_number_documents() -> None:
    with notices.collect() as said:
        rows = read("-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n-DOCSTART-\nPeter NNP B-NP B-PER\n")
    assert rows == [{"document": 1, **TWO[0]}, {"document": 2, **TWO[1]}]
    assert said == ["2 -DOCSTART- lines were read as the beginnings of documents."]
    late = read("EU B-ORG\n\n-DOCSTART- O\n-DOCSTART- O\n\na O\n\nb O\n-DOCSTART- O\nc O")
    assert [row["document"] for row in late] == [0, 2, 2, 3]
    assert read("-DOCSTART- x O\nEU x O", document=1) == [{"tokens": ["EU"], "document": ["x"], "ner_tags": ["O"]}]


def test_comments_are_skipped_and_counted_but_hashtags_are_words() -> None:
    text = "# id = 1\n# text = EU rejects\n#EU\tO\n#\tO\n# \tO\n\n#begin document (a); part 0\nPeter\tB-PER"
    with notices.collect() as said:
        rows = read(text)
    assert [row["tokens"] for row in rows] == [["#EU", "#", "#"], ["Peter"]]
    assert said == ["3 comment lines were skipped."]
    assert read("# a comment\n# O\n#tag O\nx O")[0]["tokens"] == ["#", "#tag", "x"]


def test_a_hashtag_that_lost_its_tag_is_a_problem_and_no_comment() -> None:
    assert problems("a\tO\n#tag\nb\tO")[0].startswith("a.conll, line 2: has 1 column, most lines have 2.")


def test_columns_by_number() -> None:
    text = "1 EU NNP B-ORG x\n2 rejects VBZ O y"
    assert read(text, tokens=1, ner_tags=-2, pos=2) == [
        {"tokens": ["EU", "rejects"], "ner_tags": ["B-ORG", "O"], "pos": ["NNP", "VBZ"]}
    ]
    assert read("1\tEU", tokens=1) == [{"tokens": ["EU"]}], "the last column is no tag column when it has another name"
    assert read("EU NNP", pos=-1) == [{"tokens": ["EU"], "pos": ["NNP"]}]
    assert problems(text, ner_tags=5, pos=-6) == [
        f"a.conll: has no column number {number} to read as '{name}': its lines have 5 columns. "
        "Columns are counted from 0, or back from -1."
        for name, number in (("ner_tags", 5), ("pos", -6))
    ]


def test_one_column_is_tokens_alone() -> None:
    assert read("EU\nrejects\n\nPeter") == [{"tokens": ["EU", "rejects"]}, {"tokens": ["Peter"]}]


@pytest.mark.parametrize("text", ["", "\n\n", "-DOCSTART- O\n\n"])
def test_no_token_lines_are_no_rows(text: str) -> None:
    assert read(text) == []


def test_lines_without_a_word_are_all_named() -> None:
    assert problems("\tO\nb\tO\n\tB-PER") == [
        f"a.conll, line {line}: has no word. Give it a word, or remove the line." for line in (1, 3)
    ]


def test_a_language_before_every_word_is_removed_and_said() -> None:
    with notices.collect() as said:
        assert read("en:EU\tB-ORG\nen:rejects\tO\n\nen:Peter\tB-PER\n") == TWO
    assert said == ["a.conll: every word begins with 'en:', which was removed."]
    assert read("en:EU\tO\nrejects\tO")[0]["tokens"] == ["en:EU", "rejects"]
    assert problems("en:EU\tO\nen:\tO") == ["a.conll, line 2: has no word. Give it a word, or remove the line."]


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="#-:"), min_size=1)
sentences = st.lists(st.lists(st.tuples(words, st.sampled_from(["O", "B-a", "I-a-b"])), min_size=1), min_size=1)


@given(sentences, st.sampled_from(["\t", " "]), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read(written: list[list[tuple[str, str]]], separator: str, end: str) -> None:
    text = (end * 2).join(end.join(separator.join(pair) for pair in sentence) for sentence in written)
    assert read(text) == [
        {"tokens": [word for word, _ in sentence], "ner_tags": [tag for _, tag in sentence]} for sentence in written
    ]
