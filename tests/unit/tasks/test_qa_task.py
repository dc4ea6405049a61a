"""Is the answer found where it stands, in every window that holds it, and is no answer given when there is none?"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from random import Random

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.heads.question_answering import SpanRecord
from reasoner.metrics import answer_scores
from reasoner.notices import collect
from reasoner.tasks.qa import Answer, QuestionAnswering, QuestionAnsweringExample

EMOJI = "\U0001f469\u200d\U0001f467"
PIECES = ["Anna", "lives", "in", "Zagreb.", "1,648", "日本", "e\u0301", EMOJI, "x" * 30, "\u200b", "\u0301", "(U.S.)"]
SPACES = [" ", " ", "", "  ", "\n", "\u00a0"]
contexts = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SPACES)).map("".join), min_size=1, max_size=10)
questions = st.sampled_from(["Who?", "Where does Anna live?", EMOJI * 4, "\u200b?", "x" * 200])


@pytest.fixture(scope="module", params=("bert", "roberta", "modernbert", "deberta-v2", "xlm-roberta"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


@pytest.fixture(scope="module")
def bert(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


def record(*spans, null=0.0):
    """A record of (first token, last token, score)."""
    starts, ends, scores = (numpy.array(column) for column in zip(*spans, strict=True)) if spans else ([], [], [])
    return SpanRecord(starts, ends, scores, null)


def perfect_record(feature):
    start, end = feature.targets["start_positions"], feature.targets["end_positions"]
    return record((start, end, 5.0), null=-5.0) if end else record(null=5.0)


def encode(task, row, tokenizer, *, max_length=60, stride=10):
    (features,) = task.encode([row], tokenizer, max_length=max_length, stride=stride)
    assert all(len(feature) <= max_length for feature in features)
    return features


@settings(max_examples=30)
@given(pieces=contexts, question=questions, room=st.integers(2, 25), data=st.data())
@example(pieces=["\u200bAnna"], question="Who?", room=20, data=None)
def test_gold_positions_are_the_answer_in_each_window_that_holds_it(tokenizer, pieces, question, room, data):
    context = "".join(pieces)
    stride = data.draw(st.integers(0, room - 2)) if data else 0
    start = data.draw(st.integers(0, len(context) - 1)) if data else 0
    text = context[start : data.draw(st.integers(start + 1, len(context)))] if data else context
    row = QuestionAnsweringExample(context=context, question=question, answers=(Answer(text, start),))
    task = QuestionAnswering()
    max_length = room + tokenizer.num_special_tokens_to_add(pair=True)
    features = encode(task, row, tokenizer, max_length=max_length, stride=stride)

    offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    covering = [
        place
        for place, (first, last) in enumerate(offsets)
        if context[first:last].strip() and first < start + len(text) and last > start
    ]
    covered = {position for place in covering for position in range(*offsets[place])}
    covered = {position for position in covered if not context[position].isspace()}
    place, seen, held = 0, set(), []
    for feature in features:
        answerable = feature.token_targets["context_mask"]
        ids = feature.inputs["input_ids"]
        inside = len(ids) - 1 - ids[:-1][::-1].index(tokenizer.sep_token_id)  # the context's first token
        length = len(ids) - 1 - inside
        assert feature.info[inside : inside + length] == offsets[place : place + length]
        assert [bool(mask) for mask in answerable[inside:-1]] == [
            bool(context[a:b].strip()) for a, b in feature.info[inside:-1]
        ]
        assert not any(answerable[:inside]) and not answerable[-1]
        seen.update(range(place, place + length))
        targets = feature.targets["start_positions"], feature.targets["end_positions"]
        whole = bool(covering) and place <= covering[0] and covering[-1] < place + length
        if whole:
            held.append(targets == (inside + covering[0] - place, inside + covering[-1] - place))
            (prediction,) = task.decode([perfect_record(feature)], [[feature]], [row])
            found = set(range(prediction["start"], prediction["end"]))
            assert (min(covered), max(covered)) == (min(found), max(found))
            assert prediction["answer"] == context[prediction["start"] : prediction["end"]]
            assert {p for p in range(start, start + len(text)) if p in covered} <= found
        elif targets != (0, 0):  # bytes of one character, of which the window lacks some, still give the character
            (prediction,) = task.decode([perfect_record(feature)], [[feature]], [row])
            assert set(range(prediction["start"], prediction["end"])) >= covered
        place += length - stride
    assert all(held)
    assert seen == set(range(len(offsets)))  # every token of the context is in some window

    (prediction,) = task.decode([perfect_record(feature) for feature in features], [features], [row])
    scores = task.score([prediction], [row])
    if held and (min(covered), max(covered)) == (start, start + len(text) - 1):
        assert (prediction["answer"], prediction["start"]) == (text, start)
        assert scores["exact_match"] == scores["f1"] == 1


@settings(max_examples=25)
@given(length=st.integers(0, 12), stride=st.integers(-1, 8), question=questions)
def test_settings_are_refused_or_work_but_never_crash_the_tokenizer(tokenizer, length, stride, question):
    row = QuestionAnsweringExample(context="Anna lives in Zagreb. " * 3, question=question, answers=())
    max_length = tokenizer.num_special_tokens_to_add(pair=True) + length
    try:
        features = encode(QuestionAnswering(), row, tokenizer, max_length=max_length, stride=stride)
    except ConfigError as error:
        message = f"max_length={max_length} with stride={stride} leaves no room for question and context. "
        assert str(error) == message + "Raise max_length or lower stride."
        assert stride < 0 or length - stride < 2
    else:
        assert length - stride >= 2 and any(sum(f.token_targets["context_mask"]) for f in features)


def test_questions_that_leave_no_room_are_cut_and_counted(bert):
    long_, short = "where " * 60, "where?"
    rows = [
        QuestionAnsweringExample(context="Anna lives in Zagreb.", question=q, answers=()) for q in (long_, short, long_)
    ]
    with collect() as said:
        features = QuestionAnswering().encode(rows, bert, max_length=33, stride=6)
    assert said == ["2 questions are longer than 16 tokens and were cut to leave the context room."]
    first = features[0][0].inputs
    assert first["input_ids"][1:17] == bert("where " * 8, add_special_tokens=False)["input_ids"]
    assert sum(features[0][0].token_targets["context_mask"]) > 6


def test_half_characters_and_blank_questions_reach_no_tokenizer(tokenizer):
    rows = [QuestionAnsweringExample(context="a \ud83d Zagreb", question=q) for q in ("\ud83d?", " ", "")]
    with collect() as said:
        features = QuestionAnswering().encode(rows, tokenizer, max_length=20, stride=2)
    assert [len(group) for group in features] == [1, 1, 1]
    assert said == [f"{n} texts hold half a character (a lone surrogate); it was read as U+FFFD." for n in (1, 3)]
    assert QuestionAnswering().encode([], tokenizer, max_length=20, stride=2) == []


def test_an_answer_that_no_window_holds_is_counted(bert):
    context = "the harbour was quiet " * 4
    row = QuestionAnsweringExample(context=context, question="What?", answers=(Answer(context.strip(), 0),))
    with collect() as said:
        features = encode(QuestionAnswering(), row, bert, max_length=16, stride=2)
    assert {feature.targets["end_positions"] for feature in features} == {0}
    assert said == ["1 answers stand whole in no window, and are learned as 'no answer'. Raise stride."]


def test_no_answer_is_the_first_token_and_predictions_have_no_targets(tokenizer):
    task = QuestionAnswering()
    (none,) = encode(task, QuestionAnsweringExample(context="Anna", question="Who?", answers=()), tokenizer)
    assert none.targets == {"start_positions": 0, "end_positions": 0}
    (open_,) = encode(task, QuestionAnsweringExample(context="Anna", question="Who?"), tokenizer)
    assert open_.targets == {} and sum(open_.token_targets["context_mask"]) > 0


def softmax(scores):
    weights = [math.exp(score) for score in scores]
    return [weight / sum(weights) for weight in weights]


def test_windows_are_merged_by_score_and_each_span_counts_once(bert):
    context = "one two one two one two one two"
    task = QuestionAnswering(n_best=2)
    row = QuestionAnsweringExample(context=context, question="q")
    features = encode(task, row, bert, max_length=12, stride=4)
    assert len(features) > 1
    first, second = features[:2]

    def at(feature, start):
        return next(
            p
            for p, offset in enumerate(feature.info)
            if offset[0] == start and feature.token_targets["context_mask"][p]
        )

    shared = next(a for a, _ in second.info if a and a in [start for start, _ in first.info])
    records = [
        record((at(first, 0), at(first, 0), 1.0), (at(first, shared), at(first, shared), 2.0), null=0.5),
        record((at(second, shared), at(second, shared), 3.0), null=-0.5),
        *[record(null=4.0) for _ in features[2:]],
    ]
    (prediction,) = task.decode(records, [features], [row])
    assert [(c["start"], c["answer"]) for c in prediction["n_best"]] == [
        (shared, context[slice(*second.info[at(second, shared)])]),
        (0, "one"),
    ]
    best, other, _ = softmax([3.0, 1.0, -0.5])
    assert prediction["score"] == pytest.approx(best) and prediction["n_best"][1]["score"] == pytest.approx(other)
    assert prediction["no_answer_score"] == pytest.approx(softmax([-0.5, 3.0])[0])  # the lowest null of all windows


@pytest.mark.parametrize(("span", "null"), [(2000.0, -2000.0), (-2000.0, 2000.0), (0.0, 0.0)])
def test_extreme_scores_do_not_overflow(span, null, bert):
    task, row = QuestionAnswering(no_answer_threshold=0.5), QuestionAnsweringExample(context="Anna", question="Who?")
    (feature,) = encode(task, row, bert)
    place = feature.token_targets["context_mask"].index(1)
    (prediction,) = task.decode([record((place, place, span), null=null)], [[feature]], [row])
    assert prediction["no_answer_score"] == pytest.approx({2000.0: 0, -2000.0: 1, 0.0: 0.5}[span])
    assert prediction["answer"] == ("" if null > span else prediction["n_best"][0]["answer"])
    assert 0 <= prediction["score"] <= 1


@pytest.mark.parametrize(("threshold", "answered"), [(None, True), (0.4, False), (0.5, True), (0.6, True)])
def test_the_threshold_alone_decides_whether_an_answer_is_given(threshold, answered, bert):
    task = QuestionAnswering(no_answer_threshold=threshold)
    row = QuestionAnsweringExample(context="Anna", question="Who?")
    (feature,) = encode(task, row, bert)
    place = feature.token_targets["context_mask"].index(1)
    (prediction,) = task.decode([record((place, place, 1.0), null=1.0)], [[feature]], [row])  # no-answer score 0.5
    assert bool(prediction["answer"]) == answered
    assert len(prediction["n_best"]) == 1
    if not answered:
        assert (prediction["start"], prediction["end"], prediction["score"]) == (0, 0, 0.5)
    (empty,) = task.decode([record(null=1.0)], [[feature]], [row])
    assert (empty["answer"], empty["no_answer_score"], empty["n_best"]) == ("", 1.0, [])


@pytest.mark.parametrize(
    ("given_", "learned"),
    [
        (["Anna", "in Zagreb", "in Zagreb"], "in Zagreb"),
        (["Anna", "in Zagreb"], "Anna"),  # nobody agrees: the first
        (["Zagreb", "Anna", "Anna", "Zagreb"], "Zagreb"),
    ],
)
def test_of_several_gold_answers_the_most_given_is_learned(given_, learned, bert):
    context = "Anna lives in Zagreb ."
    answers = tuple(Answer(text, context.index(text)) for text in given_)
    row = QuestionAnsweringExample(context=context, question="Who?", answers=answers)
    (feature,) = encode(QuestionAnswering(), row, bert, max_length=60, stride=0)
    start, end = feature.info[feature.targets["start_positions"]], feature.info[feature.targets["end_positions"]]
    assert context[start[0] : end[1]] == learned


GOLD = [("Anna",), ("Zagreb", "in Zagreb"), (), ()]
scored = st.lists(
    st.tuples(
        st.sampled_from(GOLD),
        st.sampled_from(["Anna", "Zagreb", "in Zagreb", "the", None]),
        st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    ),
    min_size=1,
    max_size=6,
)


def judged(cases):
    """Return rows, predictions and the F1 that a threshold gives, of (gold, best span, no-answer score)."""
    rows = [
        QuestionAnsweringExample(context=str(number), question="", answers=tuple(Answer(text, 0) for text in gold))
        for number, (gold, _, _) in enumerate(cases)
    ]
    predictions = [
        {"answer": "x", "no_answer_score": score, "n_best": [{"answer": best}] if best else []}
        for _, best, score in cases
    ]

    def f1(threshold):
        kept = ["" if score > threshold else best or "" for _, best, score in cases]
        return answer_scores([list(gold) for gold, _, _ in cases], kept)["f1"]

    return rows, predictions, f1


@given(scored, st.integers(1, 40))
def test_tuned_moves_the_threshold_to_the_best_or_not_at_all(cases, times):
    rows, predictions, f1 = judged(cases * times)
    tuned = QuestionAnswering(no_answer_threshold=0.5).tuned(predictions, rows)
    best = max(f1(threshold) for threshold in (-1.0, 0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0))
    moved = tuned.no_answer_threshold != 0.5
    if moved:
        assert f1(tuned.no_answer_threshold) == pytest.approx(best, abs=1e-12) and best > f1(0.5)
    assert moved or len(rows) < 60 or best - f1(0.5) < 0.4  # where so much is to be gained it is no chance
    always = QuestionAnswering()
    assert always.tuned(predictions, rows) is always


def test_a_threshold_is_moved_by_a_gain_that_is_no_chance_and_by_no_other():
    right, lost, unanswerable = (("Anna",), "Anna", 0.2), (("Anna",), "Anna", 0.7), ((), "Anna", 0.9)
    few = [right] * 20 + [lost] + [unanswerable] * 20
    with collect() as said:
        rows, predictions, _ = judged(few)
        task = QuestionAnswering(no_answer_threshold=0.5)
        assert task.tuned(predictions, rows) is task
    assert len(said) == 1 and said[0].startswith("The no-answer threshold stays at 0.5: 0.7000 is the best on the")
    with collect() as said:
        rows, predictions, f1 = judged([*few, *[lost] * 20])
        tuned = task.tuned(predictions, rows)
    assert tuned.no_answer_threshold == 0.7 and f1(0.7) == 1.0
    assert len(said) == 1 and said[0].startswith("The no-answer threshold moves from 0.5: 0.7000 is the best")


def test_a_threshold_that_only_suits_the_questions_it_was_chosen_on_is_not_taken():
    """Answers and scores have nothing to do with each other: the best threshold is chance, and judged elsewhere."""
    moved = 0
    for seed in range(30):
        draw = Random(seed)
        cases = [(draw.choice([("Anna",), ()]), "Anna", draw.random()) for _ in range(60)]
        rows, predictions, _ = judged(cases)
        moved += QuestionAnswering(no_answer_threshold=0.5).tuned(predictions, rows).no_answer_threshold != 0.5
    assert moved <= 2


def test_questions_on_one_text_judge_a_threshold_together():
    cases = [(("Anna",), "Anna", 0.7)] * 40 + [((), "Anna", 0.9)] * 40
    rows, predictions, _ = judged(cases)
    task = QuestionAnswering(no_answer_threshold=0.5)
    assert task.tuned(predictions, rows).no_answer_threshold == 0.7
    one_text = [replace(row, context="one") for row in rows]
    assert task.tuned(predictions, one_text) is task  # nothing is left to judge it on


def made(*answers, context="Anna lives in Zagreb, in Croatia."):
    rows = [{"context": context, "question": "q", "answers": answer} for answer in answers]
    return examples_from_rows(read_splits({"train": rows}), QuestionAnsweringExample)["train"]


def answer(text, start):
    return {"text": [text], "answer_start": [start]}


def test_answers_not_at_their_offset_are_moved_to_the_one_place_and_counted():
    with collect() as said:
        rows = made(answer("Zagreb", 14), answer("Zagreb", 16), answer("Anna", -1), answer("Croatia", 0))
    assert [row.answers for row in rows] == [(("Zagreb", 14),), (("Zagreb", 14),), (("Anna", 0),), (("Croatia", 25),)]
    assert said == [
        "train: 3 answers were not at their answer_start; each was moved to the one place where its text stands."
    ]


def test_of_several_places_the_only_one_nearby_is_taken():
    context = "Anna " + "x " * 60 + "Anna"
    with collect() as said:
        (row,) = made(answer("Anna", 3), context=context)
    assert row.answers == (("Anna", 0),) and len(said) == 1


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (
            answer("in", 3),
            "the answer 'in' is not at answer_start 3 and stands in several places near it in the context",
        ),
        (answer("Paris", 3), "the answer 'Paris' is not at answer_start 3 and stands nowhere in the context"),
        (answer("in", 300), "the answer 'in' is not at answer_start 300 and is not to be found near it in the context"),
        (answer("", 0), "the answer '' is not at answer_start 0 and stands nowhere in the context"),
        (answer(3, 0), "answer 3 at 0 is not a text at a number. Give a string and an integer."),
        (answer("Anna", None), "answer 'Anna' at None is not a text at a number"),
        ({"text": ["Anna"], "answer_start": []}, "answers has 1 texts and 0 offsets. Give one answer_start per text."),
        ({"text": "Anna", "answer_start": [0]}, "answers has another form."),
        ({"text": ["Anna"], "answer_start": 0}, "answers has another form."),
        (3, "answers has another form."),
        ("Anna", "answers has another form. Give {'text': [...], 'answer_start': [...]}."),
    ],
)
def test_answers_that_cannot_be_used(given_, message):
    with pytest.raises(DataError) as caught:
        made(answer("Anna", 0), given_)
    assert str(caught.value).startswith(f"train, row 2: {message}")


def test_one_answer_without_lists():
    (row,) = made({"text": "Zagreb", "answer_start": 14})
    assert row.answers == (("Zagreb", 14),)


def test_answers_in_either_form():
    listed = [{"text": "Anna", "answer_start": 0}, {"text": "Zagreb", "answer_start": 14}]
    both = {"text": ["Anna", "Zagreb"], "answer_start": [0, 14]}
    one, other, none, empty = made(listed, both, {"text": [], "answer_start": []}, [])
    assert one.answers == other.answers == (Answer("Anna", 0), Answer("Zagreb", 14))
    assert none.answers == empty.answers == () and not none.stratum and one.stratum


def test_whether_questions_may_have_no_answer_is_seen_in_training():
    answered = made(answer("Anna", 0), answer("Anna", 0))
    mixed = made(answer("Anna", 0), {"text": [], "answer_start": []})
    assert QuestionAnswering.from_examples({"train": answered, "test": mixed}).no_answer_threshold is None
    with collect() as said:
        assert QuestionAnswering.from_examples({"train": mixed}).no_answer_threshold == 0.5
    assert said == ["1 of 2 training questions have no answer: 'no answer' is learned as well."]
    assert QuestionAnswering.from_examples({"train": mixed}, no_answer_threshold=0.2).no_answer_threshold == 0.2


def test_scores_keep_questions_with_and_without_answer_apart():
    rows = made(answer("Anna", 0), answer("Zagreb", 14), {"text": [], "answer_start": []})
    predictions = [{"answer": text} for text in ("Anna", "in Zagreb", "")]
    scores = QuestionAnswering(no_answer_threshold=0.25).score(predictions, rows)
    assert scores["exact_match"] == pytest.approx(2 / 3) and scores["f1"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert scores["has_answer_exact_match"] == 0.5 and scores["no_answer_f1"] == 1
    assert scores["no_answer_threshold"] == 0.25


def test_head_settings_and_inputs(tiny_bert):
    from transformers import AutoConfig

    task = QuestionAnswering(max_answer_tokens=4, n_best=50)
    head = task.build_head(AutoConfig.from_pretrained(tiny_bert))
    assert (head.max_answer_tokens, head.n_best, head.num_outputs) == (4, 50, 2)
    assert QuestionAnswering(**task.settings()) == task
    assert task.example_from_input({"question": "q", "context": "c"}).answers is None
    for value in ("q", {"question": "q"}, {"question": "q", "context": 3}, ("q", "c")):
        with pytest.raises(DataError, match=r"^qa predicts for "):
            task.example_from_input(value)


def test_records_go_to_their_own_example(bert):
    task = QuestionAnswering()
    contexts_ = ["one two " * n + "Anna" for n in (9, 1, 5)]
    rows = [
        QuestionAnsweringExample(context=c, question="q", answers=(Answer("Anna", c.index("Anna")),)) for c in contexts_
    ]
    features = task.encode(rows, bert, max_length=14, stride=4)
    assert len({len(group) for group in features}) == 3
    records = [perfect_record(feature) for feature in itertools.chain(*features)]
    predictions = task.decode(records, features, rows)
    assert [p["start"] for p in predictions] == [c.index("Anna") for c in contexts_]
    assert task.score(predictions, rows)["exact_match"] == 1
