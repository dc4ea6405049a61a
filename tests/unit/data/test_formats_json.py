"""Are JSON lines, JSON and SQuAD files read, and is each wrong line or place named?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from reasoner import notices
from reasoner.data.formats.json_text import read_json, read_json_lines, read_squad
from reasoner.errors import DataError


def messages(call: Any, *arguments: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return [str(problem) for problem in caught.value.problems]


def test_json_lines_keep_their_line_numbers() -> None:
    rows = read_json_lines('{"a": 1}\r\n\n  \n{"a": "x\u2028y\\u0085", "b": [NaN, null, -Infinity]}\n', "t.jsonl")
    assert [row.where for row in rows] == ["t.jsonl, line 1", "t.jsonl, line 4"]
    assert rows[1].columns == {"a": "x\u2028y\x85", "b": [None, None, float("-inf")]}


def test_every_bad_line_is_named() -> None:
    text = "\n".join(['{"a": 1', "[1]", '{"a": 1}', "null", "'x'", "[" * 200_000, "1" * 5000])
    found = messages(read_json_lines, text, "t.jsonl")
    assert found[0] == (
        "t.jsonl, line 1: is not JSON (Expecting ',' delimiter at column 8). "
        'Give one JSON object a line, such as {"text": …, "label": …}.'
    )
    assert [message.split(". ")[0] for message in found[1:5]] == [
        "t.jsonl, line 2: is a JSON list, not an object",
        "t.jsonl, line 4: is a JSON null, not an object",
        "t.jsonl, line 5: is not JSON (Expecting value at column 1)",
        "t.jsonl, line 6: is not JSON (it is nested too deep)",
    ]
    assert found[5].startswith("t.jsonl, line 7: is not JSON (Exceeds the limit")
    assert len(found) == 6


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"version": 1, "data": items}])
def test_json_lists(wrap: Any) -> None:
    rows = read_json(json.dumps(wrap([{"a": 1}, {"a": 2}]), indent=1), "t.json")
    assert [(row.columns, row.where) for row in rows] == [({"a": 1}, "t.json, row 1"), ({"a": 2}, "t.json, row 2")]
    assert read_json(json.dumps(wrap([])), "t.json") == []


def test_json_lines_under_the_name_of_json() -> None:
    rows = read_json('{"a": 1}\n{"a": 2}\n', "t.json")
    assert [(row.columns, row.position) for row in rows] == [({"a": 1}, 1), ({"a": 2}, 2)]


def test_bad_json_files() -> None:
    shape = "Give a list of JSON objects, an object whose `data` is such a list, or SQuAD's layout."
    assert messages(read_json, '[\n{"a": 1},\n]', "t.json") == [
        f"t.json, line 3: is not JSON (Expecting value at column 1). {shape}"
    ]
    assert messages(read_json, '{"a": 1}', "t.json") == [f"t.json: holds no list of objects. {shape}"]
    assert messages(read_json, '[{"a": 1}, 2, "x"]', "t.json") == [
        f"t.json, row 2: is a JSON number, not an object. {shape}",
        f"t.json, row 3: is a JSON string, not an object. {shape}",
    ]
    assert messages(read_json, "[" * 200_000, "t.json") == [f"t.json: is not JSON (it is nested too deep). {shape}"]
    assert read_json("", "t.json") == []


def squad() -> dict[str, Any]:
    answers = [{"text": "Normandy", "answer_start": 0}, {"text": "France", "answer_start": 12}]
    first = {"id": "q1", "question": "Where?", "answers": answers, "is_impossible": False}
    second = {"id": 2, "question": "Who?", "answers": [], "is_impossible": True, "plausible_answers": [answers[0]]}
    third = {"id": "q3", "question": "What?", "answers": answers[:1]}
    return {
        "version": "v2.0",
        "data": [
            {"title": "Normans", "paragraphs": [{"context": "Normandy in France", "qas": [first, second]}]},
            {"paragraphs": [{"context": "Normandy.", "qas": []}, {"context": "Normandy!", "qas": [third]}]},
        ],
    }


def test_squad_is_recognised_and_gives_one_row_a_question() -> None:
    rows = read_json(json.dumps(squad()), "dev.json")
    assert rows == read_squad(json.dumps(squad()), "dev.json")
    assert [row.where for row in rows] == ["dev.json, question 1", "dev.json, question 2", "dev.json, question 3"]
    assert rows[0].columns == {
        "id": "q1",
        "title": "Normans",
        "context": "Normandy in France",
        "question": "Where?",
        "answers": {"text": ["Normandy", "France"], "answer_start": [0, 12]},
    }
    assert rows[1].columns["id"] == "2"
    assert rows[1].columns["answers"] == {"text": [], "answer_start": []}
    assert (rows[2].columns["title"], rows[2].columns["context"]) == ("", "Normandy!")


def test_every_wrong_place_of_a_squad_file_is_named() -> None:
    layout = "SQuAD's layout is data[].paragraphs[].{context, qas[].{id, question, answers[].{text, answer_start}}}."
    value = squad()
    questions = value["data"][0]["paragraphs"][0]["qas"]
    del questions[0]["id"]
    questions[1]["question"] = 7
    questions.append({"id": "q4", "question": "?", "answers": [{"text": "a", "answer_start": "0"}]})
    questions.append({"id": "q5", "question": "?", "answers": {"text": [], "answer_start": []}})
    questions.append({"id": "q6", "question": "?"})
    questions.append("q7")
    value["data"][1]["paragraphs"][0] = {"qas": []}
    value["data"][1]["paragraphs"][1] = {"context": "x"}
    value["data"].append([])
    value["data"].append({"title": "x"})
    assert messages(read_json, json.dumps(value), "d.json") == [
        f"d.json, {place}. {layout}"
        for place in (
            "data[0].paragraphs[0].qas[0]: has no 'id'",
            "data[0].paragraphs[0].qas[1]: its 'question' is not a string",
            "data[0].paragraphs[0].qas[2].answers[0]: its 'answer_start' is not a whole number",
            "data[0].paragraphs[0].qas[3]: its 'answers' is not a list",
            "data[0].paragraphs[0].qas[4]: has no 'answers'",
            "data[0].paragraphs[0].qas[5]: is not an object",
            "data[1].paragraphs[0]: has no 'context'",
            "data[1].paragraphs[1]: has no 'qas'",
            "data[2]: is not an object",
            "data[3]: has no 'paragraphs'",
        )
    ]
    assert messages(read_squad, "[]", "d.json") == [f"d.json: is not an object. {layout}"]
    assert messages(read_squad, "{", "d.json")[0].startswith("d.json: is not JSON (")


def test_answers_of_impossible_questions_are_left_out_and_said() -> None:
    value = squad()
    value["data"][0]["paragraphs"][0]["qas"][0]["is_impossible"] = True
    with notices.collect() as said:
        rows = read_json(json.dumps(value), "d.json")
    assert rows[0].columns["answers"] == {"text": [], "answer_start": []}
    assert said == ["1 questions marked impossible have answers, which were left out."]
