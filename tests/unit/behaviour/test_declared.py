"""Is a file of tests read as it is written, and is all that is wrong in it said at once, each with its line?"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from reasoner.behaviour.declared import DIRECTION, FUNCTIONALITY, INVARIANCE, Expected, read_tests
from reasoner.behaviour.templates import fillings, slots_of
from reasoner.errors import ConfigError, DataError

GOOD = """\
slots:
  person: [Anna, Ben, Anna, Carl]
  year: [1912, 1950]
tests:
  - name: a denial is no entailment
    capability: negation
    type: MFT
    input: {premise: "{person} came.", hypothesis: "{person} did not come."}
    expect: contradiction
  - name: names do not matter
    type: invariance
    input:
      - "{person1} saw {person2}."
      - "{person} left."
    changed:
      - "{person2} saw {person1}."
      - "{person} went."
    samples: 4
  - name: written otherwise
    type: INV
    input: It was so.
    edits: [capitals, spacing]
  - name: a reason makes it likelier
    type: direction
    input: "{person} was born in {year}. {{so}}"
    changed: "{person} was surely born in {year}."
    expect: {label: yes_label, probability: higher, by: 0.1}
"""


def read(tmp_path: Path, text: str, **settings):
    (tmp_path / "tests.yaml").write_text(text)
    return read_tests(tmp_path / "tests.yaml", **settings)


def test_slots_are_filled_and_kinds_known(tmp_path):
    denial, names, otherwise, reason = read(tmp_path, GOOD)
    assert (denial.kind, denial.capability, denial.where) == (FUNCTIONALITY, "negation", "tests.yaml, line 5")
    assert [value["premise"] for value in denial.inputs] == ["Anna came.", "Ben came.", "Carl came."]
    assert denial.inputs[1]["hypothesis"] == "Ben did not come." and denial.said == (("contradiction",),) * 3
    assert names.kind == INVARIANCE and len(names.inputs) == len(names.changed) == 4
    for before, after in zip(names.inputs[:2], names.changed, strict=False):
        one, other = before.rstrip(".").split(" saw ")
        assert one != other and after == f"{other} saw {one}."
    assert otherwise.edits == ("capitals", "spacing") and otherwise.inputs == ("It was so.",)
    assert reason.kind == DIRECTION and reason.expected == Expected(label="yes_label", probability="higher", by=0.1)
    assert len(reason.inputs) == 6 and reason.inputs[0] == "Anna was born in 1912. {so}"


def test_a_seed_draws_the_same_cases(tmp_path):
    many = GOOD.replace("year: [1912, 1950]", f"year: {list(range(1000, 1200))}")
    one, same, other = (read(tmp_path, many, seed=seed)[3].inputs for seed in (0, 0, 1))
    assert one == same != other and len(set(one)) == 100


def test_all_is_drawn_where_there_is_no_more_and_slots_of_one_list_differ():
    lists = {"a": ["x", "y", "z"], "b": ["1"]}
    every = fillings(["a1", "b", "a2"], lists, most=6, random=Random(0))
    assert len({tuple(sorted(way.items())) for way in every}) == 6
    assert all(way["a1"] != way["a2"] and way["b"] == "1" for way in every)
    assert len(fillings(["a1", "a2"], lists, most=4, random=Random(0))) == 4
    assert fillings([], lists, most=3, random=Random(0)) == [{}]
    assert slots_of({"one": "{a} {{b}}", "two": ["{c1}", "{a}"]}) == ["a", "c1"]


@pytest.mark.parametrize(
    ("probability", "by", "holding", "not_holding"),
    [
        ("lower", 0.0, (0.5, 0.4), (0.5, 0.5)),
        ("lower", 0.2, (0.9, 0.6), (0.9, 0.75)),
        ("not lower", 0.1, (0.5, 0.45), (0.5, 0.35)),
        ("not lower", 0.0, (0.5, 0.5), (0.5, 0.4)),
        ("higher", 0.0, (0.5, 0.6), (0.5, 0.5)),
        ("not higher", 0.0, (0.5, 0.5), (0.5, 0.6)),
        ("not higher", 0.3, (0.5, 0.7), (0.5, 0.9)),
    ],
)
def test_a_direction_holds_or_not(probability, by, holding, not_holding):
    expected = Expected(label="x", probability=probability, by=by)
    assert expected.holds(*holding) and not expected.holds(*not_holding)


def test_all_problems_are_said_at_once_with_their_lines(tmp_path):
    text = """\
slots:
  person: [Anna, no]
  job: pilot
test:
  - 1
tests:
  - name: one
    type: MTF
    input: "{persn} came."
  - name: two
    type: MFT
    input: "{person} saw {person2} and {person3}."
    expect: x
    edits: [capitals]
  - name: three
    type: direction
    input: a
    changed: b
    expect: {label: x, probability: less, by: 2, buy: 1}
  - name: four
    type: INV
    input: [a, b]
    edits: [capitls]
    samples: 0
  - 5
  - type: MFT
    input: "{"
    expect: [a, b]
"""
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    found = [str(problem) for problem in caught.value.problems]
    for said in (
        "tests.yaml, line 4: 'test' is unknown. Did you mean 'tests'?",
        "tests.yaml, line 2: False is no text. Put it in quotes.",
        "tests.yaml, line 3: the slot 'job' has no list of words",
        "tests.yaml, line 8: the type 'MTF' is unknown",
        "tests.yaml, line 14: a test of minimum functionality has no edits",
        "tests.yaml, line 19: probability is 'less'",
        "tests.yaml, line 19: by is 2",
        "tests.yaml, line 19: 'buy' is unknown. Did you mean 'by'?",
        "tests.yaml, line 23: there is no edit 'capitls'. Did you mean 'capitals'?",
        "tests.yaml, line 24: samples is 0",
        "tests.yaml, line 25: a test is no mapping",
        "tests.yaml, line 26: the test has no name",
    ):
        assert any(line.startswith(said) for line in found), (said, found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{person} left.", "{persn} left."), r"line 10: there is no slot 'persn'. Did you mean 'person'"),
        (("{person} left.", "{ left."), "line 10: braces hold no slot"),
        (("{person} left.", "{person.x} left."), "line 10: braces hold no slot"),
        (("{person1} saw", "{person1} {person3} {person4} saw"), "more slots draw from 'person' than it has"),
        (('      - "{person} went."\n', ""), "there are 2 inputs, and 1 changed"),
        (("name: names do not matter", "name: written otherwise"), "line 19: 'written otherwise' is the name of two"),
        (("    edits: [capitals, spacing]\n", ""), "an invariance test needs changed or edits"),
        (("    expect: contradiction\n", ""), "the test has no expect"),
        (("type: MFT\n", "type: MFT\n    type: INV\n"), "line 8: 'type' stands twice"),
        (("slots:", "slots: &a"), "nothing"),
        (("edits: [capitals, spacing]", "edits: &e [capitals]\n    capability: *e"), r"by reference \(\*\)"),
        (("tests:", "tests: ["), "it is no YAML"),
        (("tests:\n", "tests: !!python/object/apply:os.getcwd []\nmore:\n"), "it is no YAML"),
    ],
)
def test_each_thing_that_is_wrong(tmp_path, change, message):
    assert change[0] in GOOD
    if message == "nothing":
        assert len(read(tmp_path, GOOD.replace(*change, 1))) == 4
        return
    with pytest.raises(DataError, match=message):
        read(tmp_path, GOOD.replace(*change, 1))


@pytest.mark.parametrize("text", ["", "tests: []", "[1, 2]", "tests: 3", "a", "tests:\n  a: b"])
def test_a_file_without_tests_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="there is no list of tests"):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tests(tmp_path / "nothing.yaml")
    (tmp_path / "tests.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tests(tmp_path / "tests.yaml")
    with pytest.raises(ConfigError, match="more than 1,000,000 characters"):
        read(tmp_path, "#" * 1_000_001)
    with pytest.raises(DataError, match="it is no YAML"):
        read(tmp_path, "tests: " + "[" * 5000 + "]" * 5000)
