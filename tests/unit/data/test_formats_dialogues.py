"""Are files of dialogues told from others and read turn by turn, and are broken lines refused?"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.data.candidates import LookAlikes, read_candidates
from reasoner.data.formats.dialogues import looks_like_dialogues
from reasoner.data.sources import read_rows
from reasoner.errors import DataError

TEXT = "1 hi\thello what can i do\n2 a table\ti'm on it\n3 <SILENCE>\tany cuisine\n\n\n1 hello\thello what can i do\n"


def write(tmp_path, text, name="talks.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_row_for_each_answer(tmp_path, ends):
    rows = read_rows(write(tmp_path, TEXT.replace("\n", ends)))
    first = ["hi", "hello what can i do", "a table", "i'm on it", "<SILENCE>"]
    assert [row.columns for row in rows] == [
        {"dialogue": 1, "turns": first[:1], "response": "hello what can i do"},
        {"dialogue": 1, "turns": first[:3], "response": "i'm on it"},
        {"dialogue": 1, "turns": first, "response": "any cuisine"},
        {"dialogue": 2, "turns": ["hello"], "response": "hello what can i do"},
    ]
    assert [row.position for row in rows] == [1, 2, 3, 6]


def test_facts_of_a_knowledge_base_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    text = "1 hi\thello\n2 the_place R_phone the_place_phone\n3 the_place R_cuisine thai\n4 thanks\tbye\n"
    rows = read_rows(write(tmp_path, text))
    assert [row.columns["turns"] for row in rows] == [["hi"], ["hi", "hello", "thanks"]]
    assert "2 lines without a tab (facts of a knowledge base) were left out" in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, True),
        ("\n" + TEXT, True),
        ("1 a fact alone\n2 another\n", False),
        ("1\tB-X\n2\tO\n", False),
        ("2 hi\thello\n", False),
        ("1 hi\thello\n3 a\tb\n", False),
        ("1 hi\thello\tthere\n", False),
        ("EU B-ORG\nrejects O\n", False),
        ("", False),
    ],
)
def test_what_looks_like_dialogues(text, expected):
    assert looks_like_dialogues(text) == expected


def test_broken_lines_are_named(tmp_path):
    path = write(tmp_path, "1 hi\thello\nwho\tyou\n3 \tx\n4 a\tb\tc\n")
    with pytest.raises(DataError) as caught:
        read_rows(path, format="dialogues")
    assert [problem.where for problem in caught.value.problems] == [f"talks.txt, line {n}" for n in (2, 3, 4)]


def test_candidates_are_lines_without_their_numbers(tmp_path):
    assert read_candidates(write(tmp_path, "1 yes\n1 no  thanks\n1 yes\n", "c.txt")) == ["yes", "no thanks"]
    assert read_candidates(str(write(tmp_path, "2 tables\nnone\n", "d.txt"))) == ["2 tables", "none"]
    assert read_candidates(["a", "b"]) == ["a", "b"]


def test_look_alikes_share_the_most_tokens_and_are_drawn_every_second_time():
    tokens = [(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 6, 4), (7, 8), (1, 9, 3, 4), (7, 9, 10)]
    alike = LookAlikes(tokens, least=2)
    assert alike.of(0) == [1, 2, 4] and 5 in alike.of(3)
    for seed in range(20):
        drawn = alike.drawn(0, 4, Random(seed))
        assert len(set(drawn)) == 4 and 0 not in drawn and {*drawn[:2]} <= {1, 2, 4}
    assert sorted(alike.drawn(0, 9, Random(0))) == [1, 2, 3, 4, 5]
    assert LookAlikes([(1, 2)]).drawn(0, 2, Random(0)) == []


@given(st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=8), st.integers(1, 4))
def test_look_alikes_are_those_of_comparing_each_with_each(tokens, least):
    alike, sets = LookAlikes(tokens, least=least), [set(row) for row in tokens]
    for place, own in enumerate(sets):
        shares = {n: len(own & other) / max(1, len(own | other)) for n, other in enumerate(sets) if n != place}
        limit = sorted(shares.values(), reverse=True)[: min(least, len(shares))]
        assert alike.of(place) == [n for n, share in shares.items() if share >= limit[-1]]
