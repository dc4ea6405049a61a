"""Is every word labelled once, decoded to the right characters, and scored, whatever the text, tags and windows?"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoTokenizer

from reasoner.data.alignment import words_of_tokens
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.data.tag_schemes import read_spans, write_spans
from reasoner.errors import DataError, LabelError
from reasoner.heads.token_classification import TokenRecord
from reasoner.notices import collect
from reasoner.tasks.ner import NER, NERExample

LABELS = ("O", "B-PER", "I-PER", "B-creative-work", "I-creative-work")
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
WORDS = ["Anna", "the", "harbour", "Zürich", "x" * 45, "U.S.", "can't", "日本", "e\u0301", FAMILY, "New York", "#1"]
VANISHING = ["", " ", "\t ", "\u200b", "\u200d\u200b", "\ufe0f", "\u0301", "\u00ad", "\x00"]
any_word = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
words_strategy = st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(VANISHING), any_word), max_size=10)


@pytest.fixture(scope="module", params=("bert", "roberta", "modernbert", "deberta-v2", "xlm-roberta"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


@st.composite
def rooms(draw):
    room = draw(st.integers(1, 12))
    return room, draw(st.integers(0, room - 1))


def draw_tags(draw, number):
    """Draw well-formed IOB2 tags."""
    tags, before = [], "O"
    for _ in range(number):
        choices = [label for label in LABELS if label[0] != "I" or label[2:] == before[2:]]
        before = draw(st.sampled_from(choices))
        tags.append(before)
    return tags


def encode(task, example_, tokenizer, room=40, stride=8):
    max_length = room + tokenizer.num_special_tokens_to_add(pair=False)
    (features,) = task.encode([example_], tokenizer, max_length=max_length, stride=stride)
    assert all(len(feature) <= max_length for feature in features)
    return features


def perfect_records(task, features):
    """What a model that knows the targets would give; a wrong tag stands at every token that has none."""
    records = []
    for feature in features:
        labels = numpy.full(len(feature), 1)  # B- of some type
        for position, target in enumerate(feature.token_targets["labels"]):
            if target != -100:
                labels[position] = target
        records.append(TokenRecord(labels, numpy.full(len(feature), 0.5)))
    return records


@settings(max_examples=30)
@given(words=words_strategy, room=rooms(), data=st.data())
@example(words=["", " ", "\u200b"], room=(1, 0), data=None)
@example(words=["x" * 300, "\u200b", "Anna"], room=(3, 2), data=None)
def test_every_word_is_labelled_once_and_perfect_records_give_the_gold(tokenizer, words, room, data):
    tags = draw_tags(data.draw, len(words)) if data else [LABELS[1]] * len(words)
    task, row = NER(labels=LABELS), NERExample.from_words(words, tags)
    features = encode(task, row, tokenizer, *room)
    whole = tokenizer(row.text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    word_of = words_of_tokens(whole, row.offsets, row.text)
    visible = set(word_of) - {-1}

    owned = [word for feature in features for word, _, _ in feature.info]
    assert sorted(owned) == sorted(visible)
    for number, feature in enumerate(features):
        window_start = number * (room[0] - room[1])
        for word, token, _ in feature.info:  # at its first sub-word of all; one special token stands before the text
            assert window_start + token - 1 == word_of.index(word)
    labelled = Counter()
    for feature in features:
        labels = feature.token_targets["labels"]
        assert len(labels) == len(feature)
        places = {token: word for word, token, _ in feature.info}
        assert {position for position, label in enumerate(labels) if label != -100} == set(places)
        assert all(labels[token] == LABELS.index(tags[word]) for token, word in places.items())
        labelled.update(places.values())
    assert labelled == Counter(visible)

    (entities,) = task.decode(perfect_records(task, features), [features], [row])
    known = [tag if word in visible else "O" for word, tag in enumerate(tags)]  # what vanishes is predicted as O
    assert [(e["start_word"], e["end_word"], e["entity_group"]) for e in entities] == read_spans(known)
    for entity in entities:
        first, last = row.offsets[entity["start_word"]], row.offsets[entity["end_word"] - 1]
        assert (entity["start"], entity["end"]) == (first.start, last.end)
        assert row.text[entity["start"] : entity["end"]] == entity["word"]
        assert entity["word"] == " ".join(words[entity["start_word"] : entity["end_word"]])
        assert entity["score"] == 0.5
    scores = task.score([entities], [row])
    gold, found = set(read_spans(tags)), set(read_spans(known))
    assert scores["recall"] == (len(gold & found) / len(gold) if gold else 0)
    assert scores["f1"] == 1 or not gold or known != tags
    assert scores["tokens"]["support"] == len(words)


@settings(max_examples=30)
@given(words=words_strategy, room=rooms(), data=st.data())
def test_the_raw_text_is_read_as_its_words_are(tokenizer, words, room, data):
    """In raw text nothing parts the words, and a sub-word may hold several: entities at such borders are kept whole."""
    row = NERExample.from_text("".join(words))
    tags = draw_tags(data.draw, len(row.tokens))
    task, row = NER(labels=LABELS), replace(row, ner_tags=tuple(tags))
    features = encode(task, row, tokenizer, *room)
    covered = [word for feature in features for first, _, end in feature.info for word in range(first, end)]
    assert len(covered) == len(set(covered))
    followers = {word: first for f in features for first, _, end in f.info for word in range(first + 1, end)}
    expected = []
    for word, tag in enumerate(tags):
        if word in followers:
            gold = tags[followers[word]]
            expected.append("O" if gold == "O" else f"I-{gold[2:]}")
        else:
            expected.append(tag if word in covered else "O")
    (entities,) = task.decode(perfect_records(task, features), [features], [row])
    assert [(e["start_word"], e["end_word"], e["entity_group"]) for e in entities] == read_spans(expected)
    assert all(row.text[e["start"] : e["end"]] == e["word"] for e in entities)


def test_an_entity_that_is_one_sub_word_of_several_words_is_found_whole(tiny_models):
    tokenizer = AutoTokenizer.from_pretrained(tiny_models("roberta"))
    text = "At Anna's they've closed"
    row = {"text": text, "entities": [{"start": 3, "end": 9, "label": "ORG"}]}
    examples = examples_from_rows(read_splits({"train": [row, row]}), NERExample)["train"]
    assert examples[0].tokens[:4] == ("At", "Anna", "'", "s")
    task = NER.from_examples({"train": examples})
    features = encode(task, examples[0], tokenizer)
    assert "'s" in tokenizer.convert_ids_to_tokens(features[0].inputs["input_ids"])
    (entities,) = task.decode(perfect_records(task, features), [features], examples[:1])
    assert [(e["word"], e["start"], e["end"]) for e in entities] == [("Anna's", 3, 9)]
    assert task.score([entities], examples[:1])["f1"] == 1


def test_a_vanished_word_in_the_gold_is_missed():
    task, row = NER(labels=LABELS), NERExample.from_words(["Anna", "\u200b"], ["B-PER", "B-PER"])
    entities = [{"entity_group": "PER", "start_word": 0, "end_word": 1}]
    scores = task.score([entities], [row])
    assert (scores["precision"], scores["recall"]) == (1.0, 0.5)


def test_several_texts_take_their_own_records_and_long_ones_are_counted(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    task = NER(labels=LABELS)
    rows = [NERExample.from_words(["the"] * n + ["Anna"], ["O"] * n + ["B-PER"]) for n in (0, 30, 3, 18)]
    with collect() as said:
        features = task.encode(rows, tokenizer, max_length=12, stride=3)
    assert said == ["2 texts are longer than max_length=12 tokens and were read in windows."]
    records = [record for group in features for record in perfect_records(task, group)]
    predictions = task.decode(records, features, rows)
    assert [[entity["start_word"] for entity in each] for each in predictions] == [[0], [30], [3], [18]]
    assert task.score(predictions, rows)["f1"] == 1


def made(rows, **settings):
    examples = examples_from_rows(read_splits(rows), NERExample)
    return NER.from_examples(examples, **settings), examples


def row(tags, words=None):
    return {"tokens": words or ["w"] * len(tags), "ner_tags": tags}


def test_names_of_numbers_are_given_or_come_with_the_data():
    datasets = pytest.importorskip("datasets")
    names = ["O", "B-PER", "I-PER", "B-LOC"]
    rows = [row([1, 2, 0]), row([0, 3, 0])]
    task, examples = made({"train": rows}, tag_names=names)
    assert task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert task.gold_tags(examples["train"][0]) == ["B-PER", "I-PER", "O"]
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=names))}
    )
    named, examples = made({"train": datasets.Dataset.from_list(rows, features=features)})
    assert named.labels == task.labels and examples["train"][1].ner_tags == ("O", "B-LOC", "O")
    with pytest.raises(LabelError, match="train, row 1: ner_tags are numbers, and nothing says what they mean"):
        made({"train": rows})
    with pytest.raises(LabelError) as caught:
        made({"train": rows, "test": [row([4, 0]), row([0, -2])]}, tag_names=names)
    assert [str(problem) for problem in caught.value.problems] == [
        f"test, row {n}: ner_tags holds {tag}, which is out of range: there are 4 tags, numbered from 0. "
        "Correct it, or give all tag_names."
        for n, tag in ((1, 4), (2, -2))
    ]


def test_numbers_keep_their_meaning_when_the_model_has_another_order(tiny_bert):
    names = ("O", "B-PER", "I-PER")
    task, examples = made({"train": [row([1, 2, 0]), row([0, 1, 0])]}, labels=names)
    config = AutoConfig.from_pretrained(tiny_bert, id2label={0: "I-PER", 1: "B-PER", 2: "O"})
    with collect() as said:
        matched = task.matched_to(config)
    assert matched.labels == ("I-PER", "B-PER", "O") and len(said) == 1
    assert matched.gold_tags(examples["train"][0]) == ["B-PER", "I-PER", "O"]
    assert matched.problems(examples["train"]) == []
    assert matched.matched_to(config) is matched
    assert task.matched_to(AutoConfig.from_pretrained(tiny_bert)) is task
    rebuilt = NER(**matched.settings())
    assert rebuilt.gold_tags(examples["train"][0]) == ["B-PER", "I-PER", "O"]


def test_ignored_words_are_neither_learned_nor_scored(tiny_bert):
    task, examples = made({"train": [row(["B-PER", -100, "I-PER", "B-PER"]), row(["O", "O", "B-PER"])]})
    assert task.gold_tags(examples["train"][0]) == ["B-PER", None, "I-PER", "B-PER"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    features = encode(task, examples["train"][0], tokenizer)
    targets = [target for target in features[0].token_targets["labels"] if target != -100]
    assert len(targets) == 3 and len(features[0].info) == 4  # predicted all the same
    through = [{"entity_group": "PER", "start_word": start, "end_word": end} for start, end in ((0, 3), (3, 4))]
    scores = task.score([through], examples["train"][:1])
    assert scores["f1"] == 1 and scores["tokens"]["support"] == 3


SPANS = [[(0, 1, "PER"), (1, 3, "PER"), (4, 7, "LOC")], [(0, 3, "LOC"), (3, 4, "LOC")], [(2, 4, "PER")], []]


@pytest.mark.parametrize("scheme", ["IOB1", "BIOES", "BILOU", "BMES"])
def test_other_schemes_are_converted_and_it_is_said(scheme):
    rows = [row(write_spans(spans, 7, scheme)) for spans in SPANS]
    with collect() as said:
        task, examples = made({"train": rows, "test": rows})
    assert said == [f"The tags follow the scheme {scheme}; they were converted to IOB2."]
    assert task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    for spans, example_ in zip(SPANS, examples["train"], strict=True):
        assert task.gold_tags(example_) == write_spans(spans, 7, "IOB2")


def test_iob2_needs_no_word_and_ill_formed_tags_are_counted():
    with collect() as said:
        made({"train": [row(write_spans(spans, 7, "IOB2")) for spans in SPANS]})
    assert said == []
    with collect() as said:
        task, examples = made({"train": [row(["O", "I-PER", "I-PER"]), row(["B-PER", "I-LOC", "B-LOC"])]})
    assert said == ["2 tags are ill-formed in IOB2 (such as I-X after O); each was read as conlleval does."]
    assert task.gold_tags(examples["train"][0]) == ["O", "B-PER", "I-PER"]
    assert task.gold_tags(examples["train"][1]) == ["B-PER", "B-LOC", "B-LOC"]


def test_tags_outside_the_scheme_are_told_with_their_row():
    with pytest.raises(LabelError) as caught:
        made({"train": [row(["B-PER", "O"]), row(["O", "S-PER"])], "test": [row(["E-PER"])] * 2}, scheme="IOB2")
    remedy = "Write all tags in one scheme, or name it in the task with scheme=..."
    assert [str(problem) for problem in caught.value.problems] == [
        f"train, row 2: The tag 'S-PER' does not belong to the scheme IOB2. {remedy}",
        f"test, row 1: The tag 'E-PER' does not belong to the scheme IOB2. {remedy}",
        f"test, row 2: The tag 'E-PER' does not belong to the scheme IOB2. {remedy}",
    ]
    task, _ = made({"train": [row(["B-PER", "O"])] * 2})
    further = examples_from_rows(read_splits({"test": [row(["S-PER", "O"]), row(["B-LOC", "I-LOC"])]}), NERExample)[
        "test"
    ]
    assert [problem.where for problem in task.problems(further)] == ["test, row 1"]
    (problem,) = task.problems(further[1:])  # one an entity, not one a word
    assert problem.what.startswith("label 'LOC' is unknown")


def test_given_labels_must_name_every_tag():
    with pytest.raises(LabelError, match="train, row 1: the tag 'I-PER' is not one of the task's labels"):
        made({"train": [row(["B-PER", "I-PER"])] * 2}, labels=["O", "B-PER"])
    with pytest.raises(LabelError, match="train, row 1: the tag 'O' is not one of the task's labels"):
        made({"train": [row(["B-PER", "O"])] * 2}, labels=["B-PER", "I-PER"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "ner_tags has 1 items, tokens has 2. Give one tag per token."),
        ({"tokens": "a b", "ner_tags": ["O"]}, "tokens is str, not a list. Give one item per word."),
        ({"tokens": ["a"], "ner_tags": "O"}, "ner_tags is str, not a list. Give one item per word."),
        (
            {"tokens": ["a", 7], "ner_tags": ["O", "O"]},
            "tokens holds 7, which is not text. Give each word as a string.",
        ),
        (
            {"tokens": ["a", "b"], "ner_tags": [0, "PER"]},
            "tag 2 is 'PER', which is neither O nor a prefix and a type such as B-PER. "
            "Correct it, or give another tag column with columns.",
        ),
        ({"tokens": ["a"], "ner_tags": [None]}, "tag 1 is None, which is neither O nor a prefix and a type"),
        ({"tokens": ["a"], "ner_tags": ["B-"]}, "tag 1 is 'B-', which is neither O nor a prefix and a type"),
    ],
)
def test_rows_that_cannot_be_used(columns, message):
    with pytest.raises(DataError) as caught:
        examples_from_rows(read_splits({"train": [columns, row(["O"])]}), NERExample)
    assert str(caught.value).startswith(f"train, row 1: {message}")


def test_rows_without_words_are_counted_and_data_without_entities_is_an_error():
    with collect() as said:
        examples = examples_from_rows(read_splits({"train": [row([]), row(["O"]), row(["O"])]}), NERExample)
    assert said == ["train: 1 rows hold no words and were left out."] and len(examples["train"]) == 2
    with pytest.raises(LabelError, match="there must be at least 1 labels, and none occurs"):
        NER.from_examples(examples)


def entities(text, *found):
    columns = {"text": text, "entities": [dict(zip(("start", "end", "label"), each, strict=False)) for each in found]}
    (made_,) = examples_from_rows(read_splits({"train": [columns]}), NERExample)["train"]
    return list(zip(made_.tokens, made_.ner_tags, strict=True))


def test_entities_by_character_offsets():
    with collect() as said:
        assert entities("Anna Berg left New York.", (15, 23, "LOC"), (0, 9, "PER")) == [
            ("Anna", "B-PER"), ("Berg", "I-PER"), ("left", "O"), ("New", "B-LOC"), ("York", "I-LOC"), (".", "O"),
        ]  # fmt: skip
        assert entities("Anna left", (0, 5, "PER")) == [("Anna", "B-PER"), ("left", "O")]  # a space too many
        assert entities("Anna left") == [("Anna", "O"), ("left", "O")]
    assert said == []


def test_entities_that_begin_or_end_inside_a_word_are_widened_and_counted():
    with collect() as said:
        assert entities("Vienna's Danube", (0, 4, "LOC"), (10, 15, "LOC")) == [
            ("Vienna", "B-LOC"), ("'", "O"), ("s", "O"), ("Danube", "B-LOC"),
        ]  # fmt: skip
    assert said == ["train: 2 entities began or ended inside a word and were widened to whole words."]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (((0, 4, "A"), (0, 4, "B")), "overlaps another"),
        (((0, 9, "A"), (5, 9, "B")), "overlaps another"),
        (((0, 99, "A"),), "holds no word of the text (9 characters)"),
        (((-1, 4, "A"),), "holds no word of the text"),
        (((4, 5, "A"),), "holds no word of the text"),
        (((3, 3, "A"),), "holds no word of the text"),
        (((0, 4),), "lacks one of start, end, label"),
        ((("0", "4", "A"),), "has offsets that are no whole numbers"),
        (((0, None, "A"),), "has offsets that are no whole numbers"),
        (((0, 4, ""),), "has no label"),
        (((0, 4, None),), "has no label"),
    ],
)
def test_entities_that_cannot_be_used(found, message):
    with pytest.raises(DataError) as caught:
        entities("Anna left", *found)
    assert str(caught.value).startswith("train, row 1: the entity {") and message in str(caught.value)


def test_entities_must_be_a_list():
    with pytest.raises(DataError, match="train, row 1: entities is str, not a list"):
        examples_from_rows(read_splits({"train": [{"text": "a", "entities": "none"}]}), NERExample)


def test_inputs_of_predict():
    task = NER(labels=LABELS)
    assert task.example_from_input("Anna left.").tokens == ("Anna", "left", ".")
    assert task.example_from_input(["Anna left", "."]).text == "Anna left ."
    assert task.example_from_input([]).tokens == ()
    assert task.example_from_input({"text": "Anna left", "id": 3}) == task.example_from_input("Anna left")
    placed = task.example_from_input({"words": ["Anna", "left"], "doc_id": 7})
    assert (placed.document, placed.text, placed.tokens) == (7, "Anna left", ("Anna", "left"))
    for value in (7, {"id": "a"}, ["a", 7], None):
        message = f"ner predicts for a string, a list of words, or a dict with these, not for {value!r}."
        with pytest.raises(DataError, match=re.escape(message)):
            task.example_from_input(value)
    with pytest.raises(DataError, match=r"document is \['a', 'b'\]. Name its document by a text or a whole number"):
        task.example_from_input({"text": "a", "document": ["a", "b"]})


def test_predictions_need_no_gold(tokenizer):
    task, row_ = NER(labels=LABELS), NERExample.from_text("Anna left")
    (feature,) = encode(task, row_, tokenizer)
    assert feature.token_targets.keys() == {"words"} and len(feature.info) == 2


def test_settings_and_what_they_mean_for_head_and_config(tiny_bert):
    weights = {"B-PER": 3.0}
    task, _ = made({"train": [row(["B-PER", "I-PER", "O", "O"])] * 2}, class_weights=weights, label_smoothing=0.1)
    head = task.build_head(AutoConfig.from_pretrained(tiny_bert))
    assert head.class_weights.tolist() == [1.0, 3.0, 1.0] and head.label_smoothing == 0.1 and head.num_outputs == 3
    assert task.model_config() == {
        "id2label": {0: "O", 1: "B-PER", 2: "I-PER"},
        "label2id": {"O": 0, "B-PER": 1, "I-PER": 2},
    }
    assert NER(**task.settings()) == task
    balanced, _ = made({"train": [row(["B-PER", "I-PER", "O", "O"])] * 2}, class_weights="balanced")
    assert balanced.class_weights == {"O": 4 / 6, "B-PER": 4 / 3, "I-PER": 4 / 3}
