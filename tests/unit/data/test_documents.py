"""Do sentences get the neighbours of their own document, and no label, word or token of their own moved or lost?"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count, islice

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.documents import ALONE, _shares, in_documents
from reasoner.data.examples import RowError, examples_from_rows
from reasoner.data.sentences import NERExample, NERInDocument, document_name
from reasoner.data.sources import read_splits
from reasoner.data.word_shapes import CAPITAL, CAPITALS, LOWER, OTHER
from reasoner.errors import DataError
from reasoner.heads.token_classification import TokenRecord
from reasoner.notices import collect, counting
from reasoner.tasks.ner import NER

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORDS = ["Anna", "the", "harbour", "Zürich", "x" * 45, "U.S.", "can't", "日本", "e\u0301", "\u0301", "\u200b", "", " "]


@pytest.fixture(scope="module", params=("bert", "roberta", "deberta-v2", "gpt2"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


def placed(words, document, tags=None):
    words = words.split() if isinstance(words, str) else words
    return replace(NERInDocument.from_words(words, tags), document=document)


def texts(neighbours):
    return [neighbour.text for neighbour in neighbours]


def around(rows):
    return [(texts(row.before), texts(row.after)) for row in rows]


# --- who stands beside whom -----------------------------------------------------------------------------------------

ROWS = [placed("a b", 1), placed("c", 2), placed("d e f", 1), placed("g", 1), placed("h", "1"), placed("i j", 1)]


def test_neighbours_are_those_of_the_document_until_there_are_enough_words():
    found = in_documents(ROWS, 2, whole=True)
    assert around(found) == [
        ([], ["d e f"]),
        ([], []),
        (["a b"], ["g", "i j"]),
        (["d e f"], ["i j"]),
        ([], []),
        (["d e f", "g"], []),
    ]
    assert [replace(row, before=(), after=()) for row in found] == ROWS, "nothing else is changed"
    assert around(in_documents(ROWS, 1, whole=True))[2] == (["a b"], ["g"])
    assert around(in_documents(ROWS, 99, whole=True))[5] == (["a b", "d e f", "g"], [])


def test_the_order_of_documents_does_not_matter():
    rows = [placed(f"w{document} w{place}", document) for document in range(6) for place in range(4)]
    expected = {row.text: sides for row, sides in zip(rows, around(in_documents(rows, 3, whole=True)), strict=True)}
    generator = random.Random(0)
    for _ in range(5):  # documents are mixed, their own rows stay in order
        order = sorted(range(24), key=lambda place: generator.random())
        of_document = {document: iter(rows[4 * document : 4 * document + 4]) for document in range(6)}
        mixed = [next(of_document[rows[place].document]) for place in order]
        assert mixed != rows
        found = in_documents(mixed, 3, whole=True)
        assert {row.text: sides for row, sides in zip(found, around(found), strict=True)} == expected


def test_a_stream_gives_what_a_list_gives_and_may_be_endless():
    rows = [placed(f"w{place}", place // 4) for place in range(12)]
    assert list(in_documents(iter(rows), 2, whole=False)) == in_documents(rows, 2, whole=True)
    endless = in_documents((placed(f"w{place}", place // 2) for place in count()), 5, whole=False)
    assert around(islice(endless, 3)) == [([], ["w1"]), (["w0"], []), ([], ["w3"])]
    alone = in_documents((NERExample.from_words([str(place)]) for place in count()), 5, whole=False)
    assert [row.text for row in islice(alone, 3)] == ["0", "1", "2"]


@pytest.mark.parametrize("whole", [True, False])
def test_sentences_without_a_document_stand_alone_and_it_is_said_once(whole, caplog):
    caplog.set_level("INFO", logger="reasoner")
    plain = NERExample.from_words(["a"])
    rows = [placed("x", 1), plain, plain, placed("x", 2), plain]
    assert list(in_documents(rows, 5, whole=whole)) == rows
    assert caplog.messages == [ALONE]


# --- reading --------------------------------------------------------------------------------------------------------


def read(rows):
    return examples_from_rows(read_splits({"train": rows}), NERInDocument)["train"]


def test_rows_name_their_document():
    row = {"tokens": ["a"], "ner_tags": ["O"]}
    names = [("document", "x"), ("document_id", 7), ("doc_id", 3.0), ("document", ["d", "d"])]
    found = read([{**row, name: value} for name, value in names])
    assert [example.document for example in found] == ["x", 7, 3, "d"]
    assert [example.group for example in found] == [("document", name) for name in ("x", 7, 3, "d")]
    spans = {"text": "Anna left", "entities": [{"start": 0, "end": 4, "label": "PER"}], "document": 1}
    (example,) = read([spans])
    assert (example.document, example.ner_tags) == (1, ("B-PER", "O"))


def test_rows_that_name_none_are_refused_together():
    row = {"tokens": ["a"], "ner_tags": ["O"]}
    with pytest.raises(DataError) as caught:
        read([row] * 3)
    assert str(caught.value) == (
        "train, row 1: column 'document' is missing, and document_context is set (nor in 2 further rows). Say which "
        "sentences belong together: with -DOCSTART- lines in CoNLL columns, else with a column 'document' (name yours "
        "with columns={'document': 'your column'}). Or leave document_context out."
    )
    with pytest.raises(DataError) as caught:
        read([{**row, "document": value} for value in (None, "", 1.5, ["a", "b"], True, {}, "fine")])
    assert len(caught.value.problems) == 6 and {problem.code for problem in caught.value.problems} == {"no_document"}
    with pytest.raises(RowError, match=r"^document is None$"):
        document_name(None)


# --- what the model reads -------------------------------------------------------------------------------------------


def encode(rows, tokenizer, *, most=8, room=40, stride=8, **settings):
    task = NER(labels=LABELS, document_context=most, **settings)
    max_length = room + tokenizer.num_special_tokens_to_add(pair=False)
    read_rows = list(task.in_context(rows, whole=True))
    return task, task.encode(read_rows, tokenizer, max_length=max_length, stride=stride)


def test_tokens_of_the_neighbours_stand_between_the_special_tokens(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = [placed("Anna left the harbour", 1), placed("IT was quiet", 1), placed("Then snow fell", 1)]
    with collect() as said, counting("train: "):
        _, features = encode(rows, tokenizer, most=3, case_features=True)
    plain = [tokenizer(row.text, add_special_tokens=False)["input_ids"] for row in rows]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    ((first,), (second,), (third,)) = features
    assert first.inputs["input_ids"] == [cls, *plain[0], *plain[1][:3], sep]
    assert second.inputs["input_ids"] == [cls, *plain[0][-3:], *plain[1], *plain[2][:3], sep]
    assert third.inputs["input_ids"] == [cls, *plain[1][-3:], *plain[2], sep]
    assert second.inputs["attention_mask"] == [1] * len(second)
    assert said == ["train: 4.0 tokens of its document are read beside a sentence on average."]
    words = second.token_targets["words"]
    assert [token for token, word in enumerate(words) if word] == [place.token for place in second.info]
    assert words[:4] == [0] * 4 and words[4] == 1

    _, ((shaped, *_), *_) = encode([placed("ONE a", 1), placed("Anna , x", 1)], tokenizer, case_features=True)
    after = tokenizer.tokenize("Anna , x")
    own = len(tokenizer.tokenize("ONE"))
    shapes = [CAPITALS] * own + [LOWER] + [CAPITAL] * (len(after) - 2) + [OTHER, LOWER]
    assert shaped.inputs["token_type_ids"] == [LOWER, *shapes, LOWER]
    _, ((unshaped, *_), *_) = encode([placed("ONE a", 1), placed("Anna , x", 1)], tokenizer)
    assert unshaped.inputs["token_type_ids"] == [0] * len(unshaped)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_room_is_used_and_shared_evenly(room, left, right):
    before, after = _shares(room, left, right)
    assert 0 <= before <= left and 0 <= after <= right
    assert before + after == min(room, left + right)
    if before < left and after < right:
        assert abs(before - after) <= 1


tagged = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(("O", "B-PER", "B-LOC"))), min_size=1, max_size=8)
documents = st.lists(st.tuples(tagged, st.integers(0, 2)), min_size=1, max_size=6)


@settings(max_examples=40)
@given(sentences=documents, most=st.integers(1, 20), room=st.integers(2, 30))
def test_every_word_is_labelled_and_scored_once_with_context_as_without(tokenizer, sentences, most, room):
    rows = [placed([word for word, _ in words], document, [tag for _, tag in words]) for words, document in sentences]
    task, features = encode(rows, tokenizer, most=most, room=room, stride=room // 3)
    _, alone = encode(rows, tokenizer, most=0, room=room, stride=room // 3)
    special = tokenizer.num_special_tokens_to_add(pair=False)
    records = []
    for group, plain in zip(features, alone, strict=True):
        assert len(group) == len(plain)
        if len(group) > 1:
            assert group == plain, "a sentence that needs windows has no context"
        for feature, bare in zip(group, plain, strict=True):
            assert len(feature) <= room + special
            lists = [*feature.inputs.values(), *feature.token_targets.values()]
            assert {len(values) for values in lists} == {len(feature)}
            assert [(place.word, place.end) for place in feature.info] == [
                (place.word, place.end) for place in bare.info
            ]
            own = [place.token for place in feature.info]
            for values, values_alone in (
                (feature.inputs["input_ids"], bare.inputs["input_ids"]),
                (feature.token_targets["labels"], bare.token_targets["labels"]),
                (feature.token_targets["words"], bare.token_targets["words"]),
            ):
                assert [values[token] for token in own] == [values_alone[place.token] for place in bare.info]
            outside = set(range(len(feature))) - set(own)
            assert all(feature.token_targets["labels"][token] == -100 for token in outside)
            assert all(feature.token_targets["words"][token] == 0 for token in outside)
            labels = numpy.full(len(feature), 1)  # what is predicted beside the words must not be seen
            labels[own] = [max(feature.token_targets["labels"][token], 0) for token in own]
            records.append(TokenRecord(labels, numpy.full(len(feature), 0.5)))
    predictions = task.decode(records, features, rows)
    for row, entities, group in zip(rows, predictions, features, strict=True):
        seen = {place.word for feature in group for place in feature.info}
        gold = [(place, tag[2:]) for place, tag in enumerate(row.ner_tags) if tag != "O" and place in seen]
        assert [(entity["start_word"], entity["entity_group"]) for entity in entities] == gold
        assert all(row.text[entity["start"] : entity["end"]] == entity["word"] for entity in entities)
