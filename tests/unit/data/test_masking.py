"""Are words masked whole, spans as long as SpanBERT's, and as many tokens as is said, whatever the tokenizer?"""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from reasoner.data.batching import Batches, padding_of
from reasoner.data.masking import MASKED_SHARE, SPAN_WEIGHTS, Masker, _runs, word_numbers
from reasoner.data.windows import tokenize_in_windows
from reasoner.language_model import text_features
from tiny import CORPUS

TOKENIZERS = [
    "bert",
    "roberta",
    "modernbert",
    "xlm-roberta",
    "deberta-v2",
]  # WordPiece, bytes (two), SentencePiece (two)
TEXTS = [*CORPUS, "Ünïted  naïve-ly: 東京 x" * 3, "don't re-enter U.S.", "a" * 40]


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


def one_batch(tokenizer, texts=TEXTS, max_length=128):
    read = text_features(tokenizer, texts, masked=True, max_length=max_length, words=True)
    (batch,) = Batches(read.features, 10_000, padding=padding_of(tokenizer))
    return batch


def test_a_token_belongs_to_the_word_that_it_shows(tokenizer):
    text = "Nobody re-entered  the harbour."
    (windows,) = tokenize_in_windows(tokenizer, [text], max_length=64, stride=0)
    (numbers,) = word_numbers(windows, text)
    of_word = {}
    for (start, end), number, sequence in zip(windows[0].offsets, numbers, windows[0].sequence, strict=True):
        assert (number == -100) == (sequence is None)
        if number >= 0:
            of_word.setdefault(number, set()).update(range(start, end))
    shown = ["".join(text[place] for place in sorted(places)).strip() for _, places in sorted(of_word.items())]
    assert "".join(shown) == "".join(text.split())
    assert shown[0] == "Nobody" and {"the", "entered"} <= set(shown)
    assert any(word in ("harbour", "harbour.") for word in shown)  # SentencePiece may make one piece of `r.`


@pytest.mark.parametrize("masking", ["words", "spans"])
def test_words_are_masked_whole_or_not_at_all(tokenizer, masking):
    batch, masker = one_batch(tokenizer), Masker(tokenizer, masking)
    words = batch.targets["words"]
    generator = torch.Generator().manual_seed(0)
    several = 0
    for _ in range(10):
        chosen = masker(batch, generator).targets["labels"] != -100
        assert chosen.any() and not chosen[words == -100].any()
        for row in range(len(words)):
            for word in set(words[row].tolist()) - {-100}:
                of_word = chosen[row, words[row] == word]
                assert of_word.all() or not of_word.any()
                several += len(of_word) > 1 and bool(of_word.all())
    assert several > 20


@pytest.mark.parametrize("masking", ["tokens", "words", "spans"])
def test_the_share_of_masked_tokens_and_what_is_shown_instead(tokenizer, masking):
    batch, masker = one_batch(tokenizer), Masker(tokenizer, masking)
    before, words = batch.inputs["input_ids"], batch.targets["words"]
    generator = torch.Generator().manual_seed(1)
    chosen_tokens = masked = kept = 0
    rounds = 200
    for _ in range(rounds):
        made = masker(batch, generator)
        chosen, shown = made.targets["labels"] != -100, made.inputs["input_ids"]
        assert torch.equal(made.targets["labels"][chosen], before[chosen]) and torch.equal(
            shown[~chosen], before[~chosen]
        )
        chosen_tokens += int(chosen.sum())
        masked += int((shown[chosen] == tokenizer.mask_token_id).sum())
        kept += int((shown[chosen] == before[chosen]).sum())
    assert chosen_tokens / rounds / int((words != -100).sum()) == pytest.approx(MASKED_SHARE, abs=0.006)
    assert masked / chosen_tokens == pytest.approx(0.8, abs=0.02)
    assert kept / chosen_tokens == pytest.approx(0.1, abs=0.015)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), min_size=1, max_size=6),
    st.sampled_from(["words", "spans"]),
)
def test_any_text_can_be_masked(tokenizer, texts, masking):
    batch = one_batch(tokenizer, texts, max_length=12)
    made = Masker(tokenizer, masking)(batch, torch.Generator().manual_seed(0))
    chosen = made.targets["labels"] != -100
    assert torch.equal(made.targets["labels"][chosen], batch.inputs["input_ids"][chosen])
    assert not chosen[batch.targets["words"] == -100].any()
    assert chosen.any() or (batch.targets["words"] == -100).all() or not tokenizer.decode(
        batch.inputs["input_ids"][batch.targets["words"] != -100], skip_special_tokens=True)  # fmt: skip


def test_each_word_is_in_a_span_as_often_and_spans_have_the_lengths_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    runs = torch.stack([_runs(12, generator) % 2 == 0 for _ in range(20_000)])  # (draws, words)
    assert (runs.float().mean(0) - MASKED_SHARE).abs().max() < 0.012
    run = _runs(400_000, generator)
    lengths = Counter(len(list(group)) for number, group in groupby(run.tolist()) if number % 2 == 0)
    total, weights = sum(lengths.values()), torch.tensor(SPAN_WEIGHTS)
    for length, weight in enumerate((weights / weights.sum()).tolist(), start=1):
        assert lengths[length] / total == pytest.approx(weight, abs=0.01)
    assert sum(length * number for length, number in lengths.items()) / total == pytest.approx(3.8, abs=0.06)
