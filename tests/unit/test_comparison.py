"""Are intervals those of the reported score, for every task, and does a comparison count what truly changed?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reasoner.comparison import KEPT_PLACES, Comparison, check_same_gold, check_same_task, compare, score_interval
from reasoner.errors import ConfigError
from reasoner.evaluation import Evaluation
from reasoner.metrics import paired_bootstrap
from reasoner.metrics.counting import RowCounts, label_counts, macro_f1_from_sums
from reasoner.notices import collect
from reasoner.tasks.classification import Classification, ClassificationExample
from reasoner.tasks.multiple_choice import MultipleChoice, MultipleChoiceExample
from reasoner.tasks.ner import NER, NERExample
from reasoner.tasks.nli import NLI, NLIExample
from reasoner.tasks.qa import Answer, QuestionAnswering, QuestionAnsweringExample

NAMES = ("a", "b", "c", "d")
TEXTS = ("the red dog", "Red dog!", "a cat", "", "cat and dog", "42")
numbers = st.floats(-5, 5, allow_nan=False).map(lambda value: round(value, 3))


def named(kind: type, **fields: Any) -> Any:
    return kind(where=f"test, row {fields.pop('row', 1)}", **fields)


@st.composite
def ner_row(draw) -> tuple[Any, Any]:
    """Tags in any order, words that are not scored, and the entities of well-formed tags."""
    length = draw(st.integers(1, 7))
    tag = st.sampled_from(["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", -100])
    tags = draw(st.lists(tag, min_size=length, max_size=length))
    entities, start = [], 0
    while start < length:
        end = draw(st.integers(start + 1, length))
        if draw(st.booleans()):
            entities.append(
                {"entity_group": draw(st.sampled_from(["PER", "LOC"])), "start_word": start, "end_word": end}
            )
        start = end
    return NERExample.from_words(["w"] * length, tags), entities


label_rows = st.tuples(
    st.sampled_from(NAMES).map(lambda name: ClassificationExample(text="x", label=name)),
    st.sampled_from(NAMES).map(lambda name: {"label": name}),
)
set_rows = st.tuples(
    st.lists(st.sampled_from(NAMES), unique=True).map(lambda some: ClassificationExample(text="x", label=tuple(some))),
    st.lists(st.sampled_from(NAMES), unique=True).map(lambda some: {"labels": some}),
)
number_rows = st.tuples(
    numbers.map(lambda value: ClassificationExample(text="x", label=value)), numbers.map(lambda value: {"value": value})
)
nli_rows = st.tuples(
    st.sampled_from(NAMES[:3]).map(lambda name: NLIExample(premise="x", hypothesis="y", label=name)),
    st.sampled_from(NAMES[:3]).map(lambda name: {"label": name}),
)
choice_rows = st.tuples(
    st.integers(0, 2).map(lambda at: MultipleChoiceExample(question="x", choices=("p", "q", "r"), label=at)),
    st.integers(0, 2).map(lambda at: {"choice": at}),
)
qa_rows = st.tuples(
    st.lists(st.sampled_from(TEXTS[:3]), max_size=2).map(
        lambda some: QuestionAnsweringExample(
            question="x", context="y", answers=tuple(Answer(start=0, text=text) for text in some)
        )
    ),
    st.sampled_from(TEXTS).map(lambda text: {"answer": text}),
)
TASKS = {
    "ner": (NER(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC")), ner_row()),
    "nli": (NLI(labels=NAMES[:3]), nli_rows),
    "classification": (Classification(labels=NAMES), label_rows),
    "several labels": (Classification(labels=NAMES, kind="multi"), set_rows),
    "a number": (Classification(kind="number"), number_rows),
    "qa": (QuestionAnswering(), qa_rows),
    "multiple_choice": (MultipleChoice(), choice_rows),
}


def evaluated(task: Any, examples: list[Any], predictions: list[Any]) -> Evaluation:
    return Evaluation(task.score(predictions, examples), predictions)


@pytest.mark.parametrize("name", TASKS)
def test_the_statistic_of_all_rows_is_the_reported_score(name):
    task, rows = TASKS[name]

    @settings(max_examples=150)
    @given(st.lists(rows, min_size=2, max_size=12))
    def check(pairs):
        examples, predictions = [e for e, _ in pairs], [p for _, p in pairs]
        counts = task.primary_counts(predictions, examples)
        reported = task.score(predictions, examples)[task.primary_metric]
        assert float(counts.statistic(counts.counts.sum(axis=0))) == pytest.approx(reported, abs=1e-9)

    check()


@pytest.mark.parametrize("name", TASKS)
def test_a_comparison_of_any_two_evaluations_holds_together(name):
    task, rows = TASKS[name]

    @settings(max_examples=40)
    @given(st.lists(st.tuples(rows, rows), min_size=2, max_size=12))
    def check(pairs):
        examples = [replace(example, where=f"row {number}") for number, ((example, _), _) in enumerate(pairs)]
        first = [prediction for (_, prediction), _ in pairs]
        second = first if name == "ner" else [prediction for _, (_, prediction) in pairs]  # lengths must fit the words
        before, after = evaluated(task, examples, first), evaluated(task, examples, second)
        found = compare(task, before, after, examples)
        metric = task.primary_metric
        assert (found.before, found.after) == (before.metrics[metric], after.metrics[metric])
        assert found.difference == found.after - found.before
        assert found.p_value is not None and 0 < found.p_value <= 1  # none was refused: the counts fit the scores
        assert found.lower <= found.upper
        if name == "a number":
            assert found.mcnemar_p_value is None and found.fixed_count is None
        else:
            right = [task.rows_right(each, examples) for each in (first, second)]
            changed = [f"row {n}" for n, pair in enumerate(zip(*right, strict=True)) if pair == (False, True)]
            assert found.fixed == changed and found.fixed_count == len(changed)
        assert Comparison(**json.loads(json.dumps(found.to_dict()))) == found

    check()


def labelled(gold: str) -> list[Any]:
    return [ClassificationExample(text="x", label=name, where=f"test, row {row}") for row, name in enumerate(gold, 1)]


def guessed(names: str) -> list[Any]:
    return [{"label": name} for name in names]


CLASSES = Classification(labels=NAMES)


def test_a_comparison_by_hand():
    examples = labelled("aaaabbbb")
    before = evaluated(CLASSES, examples, guessed("abbbbbba"))
    after = evaluated(CLASSES, examples, guessed("aaabbbab"))
    found = compare(CLASSES, before, after, examples)
    assert (found.rows, found.metric) == (8, "macro_f1")
    assert (found.fixed, found.broken) == (["test, row 2", "test, row 3", "test, row 8"], ["test, row 7"])
    assert (found.fixed_count, found.broken_count) == (3, 1)
    assert found.mcnemar_p_value == pytest.approx(stats.binomtest(1, 4).pvalue)
    assert found.difference == pytest.approx(3 / 4 - (1 / 3 + 3 / 5) / 2)
    counts = [label_counts("aaaabbbb", guess, labels=NAMES) for guess in ("abbbbbba", "aaabbbab")]
    expected = paired_bootstrap(macro_f1_from_sums, *counts)
    assert (found.lower, found.upper, found.p_value) == (expected.lower, expected.upper, expected.p_value)


def test_a_label_that_one_run_alone_predicts_is_no_obstacle():
    """Counts of labels that occur have other columns for each run: they must be counted together."""
    examples = labelled("aabbaabb")
    runs = [evaluated(CLASSES, examples, guessed(names)) for names in ("aabbccdd", "aabbaaba")]
    widths = {CLASSES.primary_counts(run.predictions, examples).counts.shape[1] for run in runs}
    assert len(widths) == 2  # or this would test nothing
    found = compare(CLASSES, *runs, examples)
    assert found.p_value is not None and found.lower <= found.difference <= found.upper


def test_fifty_places_are_kept_and_all_are_counted():
    examples = labelled("ab" * 60)
    found = compare(
        CLASSES,
        evaluated(CLASSES, examples, guessed("ba" * 60)),
        evaluated(CLASSES, examples, guessed("ab" * 60)),
        examples,
    )
    assert found.fixed_count == 120 and found.broken_count == 0 and found.broken == []
    assert found.fixed == [f"test, row {row}" for row in range(1, KEPT_PLACES + 1)]
    assert str(found).splitlines()[0] == "macro_f1 on 120 rows: 0.0000 before, 1.0000 after."


def test_exact_match_and_not_f1_is_what_mcnemar_counts():
    task = QuestionAnswering()
    examples = [
        QuestionAnsweringExample(
            question="x", context="y", answers=(Answer(start=0, text="red dog"),), where=f"row {row}"
        )
        for row in range(6)
    ]
    half, whole = [{"answer": "dog"}] * 6, [{"answer": "The red dog."}] * 6
    found = compare(task, evaluated(task, examples, half), evaluated(task, examples, whole), examples)
    assert found.metric == "f1" and found.before == pytest.approx(2 / 3) and found.after == 1
    assert found.fixed_count == 6 and found.mcnemar_p_value == pytest.approx(2 / 2**6)


# --- intervals ------------------------------------------------------------------------------------------------------


def test_an_interval_without_width_is_told():
    examples = labelled("abab")
    with collect() as said:
        found = score_interval(CLASSES, evaluated(CLASSES, examples, guessed("abab")), examples, name="test")
    assert found == {"lower": 1.0, "upper": 1.0, "confidence": 0.95}
    assert said == [
        "test: the interval of macro_f1 has no width, since every resample of these rows gives 1.0000. "
        "Other rows may give another score."
    ]


def test_an_interval_holds_the_score_and_needs_no_word():
    examples = labelled("abcd" * 25)
    with collect() as said:
        found = score_interval(CLASSES, evaluated(CLASSES, examples, guessed("abca" * 25)), examples, name="test")
    assert found["lower"] < CLASSES.score(guessed("abca" * 25), examples)["macro_f1"] < found["upper"]
    assert said == []


class OtherScore(Classification):
    """Inherits the counts of macro F1, and reports something else under that name."""

    def score(self, predictions: Any, examples: Any) -> dict[str, Any]:
        return {"macro_f1": 0.123}


class Uncounted(OtherScore):
    def primary_counts(self, predictions: Any, examples: Any) -> None:
        return None

    def rows_right(self, predictions: Any, examples: Any) -> None:
        return None


class Undefined(OtherScore):
    def primary_counts(self, predictions: Any, examples: Any) -> RowCounts:
        counts = label_counts(["a"] * len(examples), ["a"] * len(examples))
        return RowCounts(lambda sums: sums[..., 0] / 0 if sums.ndim > 1 else sums[..., 0] * 0 + 0.123, counts)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("kind", "message"),
    [(OtherScore, "gives another score than its score()"), (Uncounted, None), (Undefined, "not a finite number")],
)
def test_a_task_of_somebody_elses_gets_no_wrong_interval_and_no_error(kind, message):
    task, examples = kind(labels=NAMES), labelled("abab")
    runs = [evaluated(task, examples, guessed(names)) for names in ("abab", "aaaa")]
    with collect() as said:
        assert score_interval(task, runs[0], examples, name="test") is None
        found = compare(task, *runs, examples)
    assert found.lower is found.upper is found.p_value is None and found.difference == 0
    assert (found.broken_count == 2) if kind is not Uncounted else (found.broken_count is None)
    assert all(message in sentence for sentence in said) if message else said == []
    assert bool(said) == bool(message)


# --- what may be compared -------------------------------------------------------------------------------------------


def test_other_tasks_and_labels_are_refused_and_another_order_is_not():
    check_same_task(CLASSES, Classification(labels=NAMES[::-1]))
    with pytest.raises(ConfigError, match="different tasks: Classification by macro_f1, and NLI by accuracy"):
        check_same_task(CLASSES, NLI(labels=NAMES))
    with pytest.raises(ConfigError, match="Classification by macro_f1, and Classification by micro_f1"):
        check_same_task(CLASSES, Classification(labels=NAMES, kind="multi"))
    with pytest.raises(ConfigError, match="only one of them has d"):
        check_same_task(CLASSES, Classification(labels=NAMES[:3]))


def test_numbers_that_mean_other_labels_are_refused():
    one, other = Classification(labels=("a", "b")), Classification(labels=("b", "a"))
    examples = [ClassificationExample(text="x", label=0, where="test, row 1")]
    check_same_gold(one, one, examples)
    with pytest.raises(ConfigError, match=r"test, row 1: the models read different gold, \('a',\) and \('b',\)"):
        check_same_gold(one, other, examples)
