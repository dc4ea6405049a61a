"""Does NER score what the file says: gold in its own scheme, gold that no window can give, entities never seen?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2, IOBES
from transformers import AutoTokenizer

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.data.tag_schemes import read_spans, write_spans
from reasoner.data.windows import Owned
from reasoner.evaluation import evaluate
from reasoner.heads.token_classification import TokenRecord
from reasoner.tasks import ner
from reasoner.tasks.ner import NER, NERExample

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
words_strategy = st.lists(
    st.sampled_from(["Anna", "U.S.", "'", "s", "", "\u200b", "\u00ad", "x" * 30, "日本", "can't", "e\u0301"]),
    max_size=8,
)


@pytest.fixture(scope="module", params=("bert", "roberta", "deberta-v2"))
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


def predictions_of(tags_of_rows):
    """The entities that well-formed IOB2 tags mark, as `decode` gives them."""
    return [
        [{"entity_group": span.type, "start_word": span.start, "end_word": span.end} for span in read_spans(tags)]
        for tags in tags_of_rows
    ]


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "strict", "prefixes"), [("IOB2", IOB2, "BI"), ("BIOES", IOBES, "BIES")])
def test_scheme_strict_reads_the_gold_as_the_file_has_it(scheme, strict, prefixes):
    tag = st.sampled_from(["O", "O", *(f"{prefix}-{name}" for prefix in prefixes for name in ("PER", "LOC"))])
    told_apart = 0

    @settings(max_examples=100)
    @given(
        st.lists(st.tuples(st.lists(tag, min_size=6, max_size=6), st.lists(tag, min_size=6, max_size=6)), min_size=1)
    )
    def check(pairs):
        nonlocal told_apart
        gold, noise = [g for g, _ in pairs], [n for _, n in pairs]
        guessed = [
            write_spans(read_spans(g if i % 2 else n), 6) for i, (g, n) in enumerate(zip(gold, noise, strict=True))
        ]
        examples = [NERExample.from_words("abcdef", tags) for tags in gold]
        scores = NER(labels=LABELS, scheme=scheme).score(predictions_of(guessed), examples)["by_rule"]
        written = [write_spans(read_spans(tags), 6, scheme) for tags in guessed]
        expected = f1_score(gold, written, mode="strict", scheme=strict, zero_division=0)
        assert scores["scheme_strict"]["f1"] == pytest.approx(expected, abs=1e-12)
        told_apart += scores["scheme_strict"] != scores["conll"]

    check()
    assert told_apart > 20


def test_the_tables_by_hand():
    examples = [NERExample.from_words("abcd", ["O", "I-PER", "B-LOC", "I-LOC"])]  # PER is ill-formed
    scores = NER(labels=LABELS, scheme="IOB2").score(predictions_of([["O", "B-PER", "B-LOC", "O"]]), examples)
    assert {rule: (row["f1"], row["support"]) for rule, row in scores["by_rule"].items()} == {
        "conll": (0.5, 2),
        "scheme_strict": (0.0, 1),
        "partial": (0.75, 2),
        "type_only": (1.0, 2),
    }
    assert scores["errors"] == {
        "correct": 1, "boundary": 1, "type": 0, "boundary_and_type": 0, "missed": 0, "spurious": 0,
    }  # fmt: skip


# --- seen and unseen ------------------------------------------------------------------------------------------------


def test_slices_are_by_what_training_showed_and_add_up_to_the_score():
    task = NER(labels=LABELS)
    training = [
        NERExample.from_words(["new", "YORK", "and", "Anna"], ["B-LOC", "I-LOC", "O", "B-PER"]),
        NERExample.from_words(["Bob", "Paris"], [-100, "B-LOC"]),
    ]
    examples = [
        NERExample.from_words(["x", "New", "York", "Bob"], [-100, "B-LOC", "I-LOC", "B-PER"]),
        NERExample.from_words(["Anna", "Paris"], ["B-LOC", "B-PER"]),
    ]
    predictions = predictions_of([["O", "B-LOC", "I-LOC", "B-PER"], ["B-PER", "B-LOC"]])
    slices = task.slices(predictions, examples, training)["by_novelty"]
    # Seen: New York as LOC (right); predicted Anna as PER and Paris as LOC (both wrong here). Unseen: Bob (right).
    assert slices["seen"] == {"precision": 1 / 3, "recall": 1.0, "f1": 0.5, "support": 1}
    assert slices["unseen"] == {"precision": 1.0, "recall": 1 / 3, "f1": 0.5, "support": 3}
    whole = task.score(predictions, examples)
    assert sum(row["support"] for row in slices.values()) == whole["support"]


# --- gold that no prediction can give -------------------------------------------------------------------------------


def windows_of(task, row, tokenizer, room, stride):
    max_length = room + tokenizer.num_special_tokens_to_add(pair=False)
    return task.encode([row], tokenizer, max_length=max_length, stride=stride)[0]


@settings(max_examples=60)
@given(words=words_strategy, raw=st.booleans(), room=st.integers(1, 9), data=st.data())
def test_lost_gold_is_what_a_perfect_model_misses(tokenizer, words, raw, room, data):
    row = NERExample.from_text("".join(words)) if raw else NERExample.from_words(words)
    tags = data.draw(st.lists(st.sampled_from(LABELS), min_size=len(row.tokens), max_size=len(row.tokens)))
    tags = write_spans(read_spans(tags), len(tags))
    task, row = NER(labels=LABELS), replace(row, ner_tags=tuple(tags))
    features = windows_of(task, row, tokenizer, room, data.draw(st.integers(0, room - 1)))
    records = []
    for feature in features:
        labels = [max(target, 0) for target in feature.token_targets["labels"]]
        records.append(TokenRecord(labels, [0.5] * len(labels)))
    (entities,) = task.decode(records, [features], [row])
    gold = {(span.start, span.end, span.type) for span in read_spans(tags)}
    given_ = {(entity["start_word"], entity["end_word"], entity["entity_group"]) for entity in entities}
    lost = task.gold_lost(row, features)
    # What perfect labels give of the gold is not lost; a lost one that they still give would be given by chance.
    assert len(gold - given_) <= lost <= len(gold)
    if not raw:
        assert lost == len(gold - given_)


def test_lost_gold_by_hand():
    row = NERExample.from_words(["Anna", "\u200b", "Bob"], ["B-PER", "I-PER", "B-LOC"])
    task = NER(labels=LABELS)

    class Window:
        def __init__(self, *owned):
            self.info = [Owned(*item) for item in owned]

    assert task.gold_lost(row, [Window((0, 1, 1), (1, 2, 2)), Window((2, 1, 3))]) == 0  # in two windows, and whole
    assert task.gold_lost(row, [Window((0, 1, 1), (2, 2, 3))]) == 1  # the middle word has no sub-word
    assert task.gold_lost(row, [Window((0, 1, 2), (2, 2, 3))]) == 0  # it goes on inside the first one's
    assert task.gold_lost(row, [Window((0, 1, 3))]) == 2  # all is one sub-word
    assert task.gold_lost(row, []) == 2


def test_an_evaluation_reports_it_where_there_is_any(prepare):
    rows = [{"tokens": ["Anna", "\u200b"], "ner_tags": ["B-PER", tag]} for tag in ("O", "B-PER", "I-PER")]
    for chosen, lost in ((rows[:1] * 2, None), (rows, 2)):
        predictor, data = prepare(NER(), rows=chosen)
        evaluation = evaluate(
            predictor.model, predictor.task, [data], predictor.batches, device=predictor.device, bf16=False
        )
        assert evaluation.metrics.get("gold_lost") == lost
    assert evaluation.metrics["support"] == 4  # lost gold is gold: it counts as missed


# --- reading --------------------------------------------------------------------------------------------------------


def test_the_tags_of_a_row_are_converted_once(monkeypatch):
    rows = [{"tokens": ["a", "b"], "ner_tags": ["S-PER", "O"]}, {"tokens": ["a"], "ner_tags": ["S-LOC"]}] * 3
    examples = examples_from_rows(read_splits({"train": rows}), NERExample)
    calls = []
    convert = ner.to_iob2
    monkeypatch.setattr(ner, "to_iob2", lambda tags, scheme: calls.append(tags) or convert(tags, scheme))
    task = NER.from_examples(examples)
    assert task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER") and task.scheme == "BIOES"
    assert len(calls) == len(rows)
