"""Whatever the text, there is a prediction with the right offsets, or an error that names the input."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reasoner
from reasoner import synthetic
from reasoner.errors import ReasonerError

CASES = int(os.environ.get("REASONER_FUZZ_CASES", "20000")) // 20
"""For each task; the others are for the readers, see test_fuzzed_files.py."""
TEXTS = {
    "zero width": "a\u200bb\u200d c\ufeffd",
    "only zero width": "\u200b\u200d\ufeff",
    "combining": "e\u0301" * 50 + " x\u0327\u0308" * 20,
    "many marks on a letter": "H\u0335\u0321" * 300,
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u0639\u0627\u0644\u0645\u202c abc",
    "emoji sequences": "\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd",
    "half a character": "bad \ud800 here \udfff",
    "NUL": "a\0b",
    "nothing": "",
    "spaces": "   \t\n ",
    "wide spaces": "\u00a0\u2003\u3000",
    "Chinese": "\u4e2d\u6587\u5b57\u7b26" * 100,
    "controls": "".join(map(chr, range(1, 32))),
    "no characters": "\ufffe\uffff\U0010ffff",
    "private": "\ue000\uf8ff",
    "ends of lines": "a\u2028b\u2029c\x85d\r\ne",
    "longer in lower case": "\ufb01 \u01c5 \u00df \u0130stanbul",
    "special tokens": "[CLS] [SEP] [MASK] [PAD] <s> </s> <|im_end|> <unk>",
    "one long word": "x" * 20_000,
}
PACKS = {
    "ner": synthetic.ner_pack,
    "nli": synthetic.nli_pack,
    "qa": synthetic.qa_pack,
    "multiple_choice": synthetic.multiple_choice_pack,
}
MODELS = [(architecture, task) for architecture in ("bert", "roberta", "llama") for task in PACKS]
MODELS.remove(("llama", "multiple_choice"))


@pytest.fixture(scope="module")
def tuned(tiny_models):
    made = {}

    def model(architecture, task):
        if (architecture, task) not in made:
            pack = PACKS[task](train=16, validation=4, test=4)
            made[architecture, task] = reasoner.fine_tune(
                tiny_models(architecture),
                pack,
                task=task,
                max_steps=1,
                use_cpu=True,
                evaluate_before=False,
                check=False,
            )
        return made[architecture, task]

    return model


def check(task, result, text):
    """Predict with the text in each place, and compare offsets with the text."""
    inputs = {
        "ner": [text],
        "nli": [(text, "A dog."), ("A dog.", text), (text, text)],
        "qa": [{"question": "Who?", "context": text}, {"question": text[:200], "context": "Ada was here."}],
        "multiple_choice": [{"question": text, "choices": ["a", text[:100] or "b"]}],
    }[task]
    for given_input in inputs:
        try:
            found = result.predict(given_input)
        except ReasonerError:
            continue
        if task == "ner":
            for entity in found:
                assert text[entity["start"] : entity["end"]] == entity["word"]
        elif task == "qa" and found["answer"]:
            context = given_input["context"]
            assert context[found["start"] : found["end"]] == found["answer"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(("architecture", "task"), MODELS)
def test_any_text(tuned, architecture, task, name):
    check(task, tuned(architecture, task), TEXTS[name])


@pytest.mark.parametrize("task", PACKS)
@settings(max_examples=CASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=()), max_size=80))
def test_any_characters(tuned, task, text):
    check(task, tuned("bert", task), text)


def test_an_empty_text_has_a_label_for_a_decoder_too(tuned):
    assert tuned("llama", "nli").predict(("", ""))["label"] in {"entailment", "neutral", "contradiction"}
    assert tuned("llama", "ner").predict(["", "Ada was here."])[0] == []


@pytest.mark.parametrize("text", ["word " * 200_000, "x" * 1_000_000], ids=["words", "one word"])
@pytest.mark.parametrize("task", ["ner", "nli", "multiple_choice"])
def test_a_megabyte_in_one_line(tuned, task, text):
    check(task, tuned("bert", task), text)


def test_a_megabyte_of_tokens_in_a_pair(tuned):
    """Byte by byte, as byte-level tokenizers read a word that they do not know; the longer side is cut."""
    assert tuned("roberta", "nli").predict(("x" * 1_000_000, "y" * 1_000_000))["label"]
