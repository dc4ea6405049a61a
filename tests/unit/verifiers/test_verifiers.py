"""Is the answer found in texts as models write them, and is the same verifier metric, filter, reward and judge?"""

from __future__ import annotations

from fractions import Fraction
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.errors import ConfigError, DataError
from reasoner.registry import resolve
from reasoner.verifiers import Choice, Code, CodeTests, Exact, Json, Number, Outcome
from walls import runs_programs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("She has 3 + 4 = 7 apples.\n#### 7", 7),
        ("#### 1,234", 1234),
        ("The answer is $1,234.50.", Fraction("1234.5")),
        ("so \\boxed{\\frac{1}{2}} as 3 > 2", Fraction(1, 2)),
        ("\\boxed{-\\frac{3}{4}}", Fraction(-3, 4)),
        ("It is −5.", -5),
        ("10 - 3", 3),
        ("3-4", 4),
        ("1.5e3 metres", 1500),
        ("answer: 3/4 cup, of 9", Fraction(3, 4)),
        (".5", Fraction(1, 2)),
        ("50%", 50),
        ("none", None),
        ("1/0", None),
        ("\\boxed{x}", None),
        ("", None),
    ],
)
def test_numbers_are_found(text: str, value: object):
    assert Number().parse(text) == value


@given(st.fractions(), st.sampled_from(["#### {}", "The answer is {}.", "\\boxed{{{}}}", "I count 3, so {}"]))
def test_any_fraction_is_read_back(value: Fraction, form: str):
    assert Number()(form.format(value), value).correct


@given(st.text())
def test_no_text_breaks_a_verifier(text: str):
    for verifier, gold in ((Number(), 1), (Choice(), "A"), (Exact(), "x"), (Json(), {})):
        assert verifier(text, gold).outcome in set(Outcome) - {Outcome.TIMED_OUT}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\boxed{24\text{ cm}^2}", 24), (r"\boxed{4\text{ m/s}^{2}}", 4), ("The area is 24 cm^2.", 24),
        (r"\boxed{10{,}000}", 10000), (r"\boxed{10,\!080}", 10080), (r"\boxed{10\,000}", 10000),
        (r"\boxed{10^{5}}", 100000), ("It is 2^-2, so #### 2^-2", Fraction(1, 4)), (r"\boxed{-3^2}", -9),
        (r"\boxed{45^\circ}", 45), (r"\boxed{90^{\circ}}", 90), (r"\boxed{5 \times 3 = 15}", 15), (r"\boxed{x = 7}", 7),
        (r"\boxed{2\sqrt{3}}", None), (r"\boxed{3\frac{1}{2}}", None), (r"\boxed{\frac12}", None),
        (r"\boxed{4\pi}", None), (r"\boxed{2\times10^5}", None), (r"\boxed{\dfrac{3}{4}}", Fraction(3, 4)),
        (r"\boxed{0^{-1}}", None), (r"\boxed{\$1,234.50}", Fraction("1234.5")), (r"\boxed{25\%}", 25),
    ],
)  # fmt: skip
def test_what_latex_says_is_one_number_or_none(text: str, value: object):
    assert Number().parse(text) == value
    if value is None:
        with pytest.raises(DataError):
            Number().parse_gold(text)


def test_number_tolerance_and_gold():
    assert Number(tolerance=0.01)("3.14", 3.1416).correct and not Number()("3.14", 3.1416).correct
    assert Number()("0.1", 0.1).correct
    for gold in (None, True, float("nan"), "nothing", [1]):
        with pytest.raises(DataError):
            Number()("1", gold)
    with pytest.raises(ConfigError):
        Number(tolerance=-1)


@pytest.mark.skipif(not find_spec("math_verify"), reason="the extra 'verify' is not installed")
def test_symbols_by_math_verify():
    verifier = Number(symbolic=True)
    assert verifier("so $x = \\boxed{\\sqrt{12}}$", "2\\sqrt{3}").correct
    assert verifier("\\boxed{0.5}", "1/2").correct and verifier("#### 7", "3 + 4 = 7\n#### 7").correct
    assert verifier("\\boxed{3}", 4).outcome is Outcome.WRONG
    assert verifier("I do not know", 4).outcome is Outcome.UNPARSABLE
    with pytest.raises(ConfigError, match="workers=1"):
        verifier.verify(["1"], [1], workers=2)


@pytest.mark.skipif(bool(find_spec("math_verify")), reason="the extra 'verify' is installed")
def test_without_math_verify_symbols_are_refused():
    with pytest.raises(ConfigError, match="verify"):
        Number(symbolic=True)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("b.", "B"), ("(c)", "C"), ("The answer is (B).", "B"), ("the answer is b", None),
        ("Answer: D", "D"),
        ("**Answer: C**", "C"), ("\\boxed{\\text{A}}", "A"), ("B) because it is", "B"),
        ("First (A), no, (E) it is", "E"),
        ("The answer is B because it is the capital.", "B"), ("The answer is D\nbecause", "D"),
        ("The answer is C since the others, (A) and (B), are wrong.", "C"), ("The answer is A\nbecause", "A"),
        ("The answer is A good one", None), ("A dog runs.", None), ("The answer is option B", "B"), ("", None),
    ],
)  # fmt: skip
def test_letters_are_found(text: str, letter: str | None):
    assert Choice().parse(text) == letter


def test_choice_gold():
    assert Choice()("B", 1).correct and Choice()("B", "b").correct and not Choice()("B", 0).correct
    for gold in ("F", 5, -1, None, "AB", ""):
        with pytest.raises(DataError):
            Choice()("B", gold)


def test_exact():
    assert Exact()(" New\n York ", "New York").correct and not Exact()("new york", "New York").correct
    assert Exact(ignore_case=True, after="Answer:")("Answer: x Answer: PARIS", ["Rome", "Paris"]).correct
    assert Exact(after="Answer:")("Paris", "Paris").outcome is Outcome.UNPARSABLE


def test_json():
    text = 'First {"a": 0}. Then:\n```json\n{"b": [1, true], "a": {"c": null}}\n```'
    assert Json()(text, {"a": {"c": None}, "b": [1.0, True]}).correct
    assert not Json()(text, {"a": {"c": None}, "b": [1.0, 1]}).correct
    for broken in ('{"a": NaN}', '{"a": 1, "a": 2}', "[" * 50_000, "none", '"text"'):
        assert Json()(broken, []).outcome is Outcome.UNPARSABLE


def test_one_verifier_is_metric_filter_reward_and_judge():
    texts, golds = ["#### 1", "#### 2", "no idea", "1"], [1, 1, 1, 1]
    assert Number().score(texts, golds) == {"accuracy": 0.5, "wrong": 0.25, "unparsable": 0.25, "timed_out": 0}
    assert Number().rewards(texts, golds) == [1.0, 0.0, 0.0, 1.0]
    assert Number().keep(texts, golds, workers=2) == [0, 3]
    assert Number().best_of(texts, 2) == 1 and Number().best_of(texts, 9) is None
    assert Number().groups(["0.5", "none", "1/2", "2"]) == [0, None, 0, 1]
    with pytest.raises(DataError):
        Number().verify(texts, golds[:-1])
    with pytest.raises(ConfigError):
        Number().verify(texts, golds, workers=0)


@runs_programs
def test_code_by_rows_of_both_shapes():
    row = {
        "prompt": "from math import pi\ndef f(x):\n",
        "entry_point": "f",
        "test": "def check(g):\n    assert g(1) == 2",
    }
    code = resolve("verifier", "code")(allow_execution=True)
    texts = [
        "    return x + 1",
        "Sure:\n```python\ndef f(x):\n    return x + int(pi) - 2\n```",
        "    return x",
        "   ((",
    ]
    outcomes = [verdict.outcome for verdict in code.verify(texts, [row] * 4, workers=2)]
    assert outcomes == ["correct", "correct", "wrong", "unparsable"]
    mbpp = {"code": "def sum(a, b):\r\n    return a + b", "test_list": ["assert sum(1, 2) == 3"], "test_setup_code": ""}
    assert code(mbpp["code"], mbpp).correct and CodeTests.from_row(mbpp).names == ("sum",)
    with pytest.raises(DataError, match="test_list"):
        code("", {"text": "x"})


def test_code_is_not_run_by_default():
    with pytest.raises(ConfigError, match="allow_execution=True"):
        Code()
