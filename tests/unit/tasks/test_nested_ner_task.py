"""Are overlapping entities read, placed in windows, decoded to the right characters, and scored?"""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.alignment import split_words
from reasoner.data.examples import RowError
from reasoner.errors import DataError, LabelError
from reasoner.heads.span import SpansRecord
from reasoner.metrics import Span
from reasoner.notices import counting
from reasoner.synthetic import nested_ner_pack
from reasoner.tasks.nested_ner import NestedNER, NestedNERExample
from reasoner.testing import check_task

TEXT = "Department of Physics of the University of Oslo"
ENTITIES = [(0, 47, "ORG"), (29, 47, "ORG"), (43, 47, "LOC"), (0, 42, "X"), (14, 47, "X")]  # the last two cross


def row(entities=ENTITIES, text=TEXT):
    found = [{"start": start, "end": end, "label": label} for start, end, label in entities]
    return NestedNERExample.from_columns({"text": text, "entities": found}, where="here")


@pytest.fixture(scope="module", params=("bert", "roberta", "modernbert", "deberta-v2", "xlm-roberta"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


def perfect_records(features):
    records = []
    for feature in features:
        targets = feature.token_targets
        spans = [
            t for t in zip(*(targets[f"span_{n}"] for n in ("starts", "ends", "labels")), strict=True) if t[2] >= 0
        ]
        columns = numpy.array(spans, dtype=int).reshape(-1, 3).T
        records.append(SpansRecord(*columns, numpy.full(len(spans), 0.75)))
    return records


def test_it_keeps_the_contract(tiny_bert):
    check_task(
        "nested_ner",
        nested_ner_pack(train=12, validation=0, test=0)["train"],
        model=tiny_bert,
        inputs=["She works at the University of Oslo.", ("Bank", "of", "Chile"), "no name here"],
        perfect=lambda example: [
            {"entity_group": span.type, "start_word": span.start, "end_word": span.end} for span in example.spans
        ],
    )


def test_overlapping_entities_are_read_in_words():
    assert row().spans == {
        Span("ORG", 0, 8), Span("ORG", 5, 8), Span("LOC", 7, 8), Span("X", 0, 7), Span("X", 2, 8),
    }  # fmt: skip


def test_a_type_that_is_a_number_is_a_name_like_others():
    assert row([(0, 10, 3), (14, 21, "LOC")]).spans == {Span("3", 0, 1), Span("LOC", 2, 3)}


def test_what_is_widened_or_stands_twice_is_counted():
    with counting() as counted:
        assert row([(0, 10, "A"), (0, 9, "A"), (2, 10, "A")]).spans == {Span("A", 0, 1)}
        found = dict(counted)
        counted.clear()
    assert found == {
        "{n} entities began or ended inside a word and were widened to whole words.": 2,
        "{n} entities stood twice in their row and count once.": 2,
    }


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": "a b", "entities": None}, "entities is missing"),
        ({"text": "a b", "entities": "PER"}, "entities is str, not a list"),
        ({"text": "a b", "entities": [{"start": 0, "end": 9, "label": "A"}]}, "holds no word of the text"),
        ({"text": "a b", "entities": [{"start": 0, "label": "A"}]}, "lacks one of start, end, label"),
        ({"text": "", "entities": []}, "text is empty"),
        ({"text": "a b"}, "column 'entities' is missing"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(columns, message):
    with pytest.raises(RowError, match=message):
        NestedNERExample.from_columns(columns, where="here")


@settings(max_examples=40)
@given(data=st.data(), room=st.integers(8, 30))
def test_perfect_records_give_the_gold_and_what_no_window_holds_is_counted(tokenizer, data, room):
    text = " ".join(data.draw(st.lists(st.sampled_from(["Oslo", "of", "U.S.", "x" * 20, "can't", "日本"]), min_size=1)))
    number = len(split_words(text))
    word = st.integers(0, number - 1)
    spans = data.draw(st.lists(st.tuples(word, word, st.sampled_from("AB")), max_size=6))
    entities = {(min(a, b), max(a, b) + 1, kind) for a, b, kind in spans}
    example = NestedNERExample(text=text, offsets=tuple(split_words(text)), entities=tuple(entities))
    task = NestedNER(labels=("A", "B"))
    max_length = room + tokenizer.num_special_tokens_to_add(pair=False)
    (features,) = task.encode([example], tokenizer, max_length=max_length, stride=room // 2)
    with counting() as counted:
        task.encode([example], tokenizer, max_length=max_length, stride=room // 2)
        crowded = any("more of them than tokens" in message for message in counted)
        counted.clear()
    (found,) = task.decode(perfect_records(features), [features], [example])
    predicted = {Span(e["entity_group"], e["start_word"], e["end_word"]) for e in found}
    assert predicted <= example.spans
    assert crowded or len(example.spans) - len(predicted) == task.gold_lost(example, features)
    assert all(text[e["start"] : e["end"]] == e["word"] and e["score"] == 0.75 for e in found)
    one_word_each = not any(text.count(word) for word in ("U.S.", "can't", "日本"))  # else a sub-word may hold several
    if len(features) == 1 and not crowded and one_word_each:
        assert predicted == example.spans
    begins = [place.word for f in features for place in f.info if f.token_targets["words"][place.token] == 2]
    assert len(begins) == len(set(begins))  # one window alone may begin a span at a word


def test_scores_and_baselines():
    task = NestedNER(labels=("LOC", "ORG", "X"))
    example = row()
    memory = task.baselines([example], [example])
    assert list(memory) == ["no entity", "entity memory"]
    assert task.score(memory["entity memory"], [example])["f1"] == 1
    assert task.score(memory["no entity"], [example])["f1"] == 0
    half = [[entity for entity in memory["entity memory"][0] if entity["entity_group"] == "ORG"]]
    scores = task.score(half, [example])
    assert scores["precision"] == 1 and scores["recall"] == 2 / 5 and scores["by_type"]["ORG"]["f1"] == 1
    assert task.rows_right(half, [example]) == [False] and task.judged(half, [example]) == [(1.0, True)] * 2
    assert task.primary_counts(half, [example]).counts.tolist() == [[2, 2, 5]]
    assert task.slices(half, [example], [example])["by_novelty"]["seen"]["support"] == 5
    assert task.gold_names(example) == ("ORG", "X", "X", "ORG", "LOC")


def test_types_are_learned_and_unknown_ones_refused():
    task = NestedNER.from_examples({"train": [row()], "validation": [row()]})
    assert task.labels == ("LOC", "ORG", "X")
    assert "label 'Y' is unknown" in str(task.problems([row([(0, 4, "X"), (0, 10, "Y")])])[0])
    with pytest.raises(LabelError, match="label 'Y' is unknown"):
        NestedNER.from_examples({"train": [row()], "test": [row([(0, 10, "Y")])]})
    with pytest.raises(DataError, match="nested_ner predicts for a string or a list of words, not for 7"):
        task.example_from_input(7)


def test_a_flat_task_points_to_this_one():
    from reasoner.tasks.ner import NERExample

    found = [{"start": start, "end": end, "label": label} for start, end, label in ENTITIES]
    with pytest.raises(RowError, match="overlaps another") as caught:
        NERExample.from_columns({"text": TEXT, "entities": found}, where="here")
    assert "task='nested_ner'" in caught.value.remedy
