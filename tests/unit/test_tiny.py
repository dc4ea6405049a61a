"""Do the tiny checkpoints behave as the real ones of their architecture do?"""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer

from tiny import ARCHITECTURES, build_tiny

TEXT, PAIR = "Anna  went to Zagreb in 2016.", "Did she go\tagain? Not Amina's brother."
SPECIALS_OF_A_PAIR = {"roberta": 4, "xlm-roberta": 4}  # </s></s> between the two; elsewhere three
TYPES_IN_USE = {"bert", "electra", "deberta-v2"}
CLASSES = ("TokenClassification", "SequenceClassification", "QuestionAnswering", "MultipleChoice")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cache(lambda architecture: build_tiny(architecture, tmp_path_factory.mktemp(architecture)))


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


def test_the_tokenizer_survives_saving(architecture, folder, tmp_path):
    first = AutoTokenizer.from_pretrained(folder(architecture))
    first.save_pretrained(tmp_path)
    second = AutoTokenizer.from_pretrained(tmp_path)
    assert first.is_fast and second.is_fast
    assert first.model_max_length == second.model_max_length == 128
    assert dict(first(TEXT, PAIR)) == dict(second(TEXT, PAIR))
    assert first.get_vocab() == second.get_vocab()
    assert len(first) <= 1000


def test_a_pair_has_the_architectures_special_tokens_and_token_types(architecture, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder(architecture))
    pair = tokenizer(TEXT, PAIR, return_special_tokens_mask=True)
    assert sum(pair["special_tokens_mask"]) == SPECIALS_OF_A_PAIR.get(architecture, 3)
    assert pair["special_tokens_mask"] == [int(sequence is None) for sequence in pair.sequence_ids()]
    assert pair["input_ids"][0] == tokenizer.cls_token_id and pair["input_ids"][-1] == tokenizer.sep_token_id
    assert tokenizer.num_special_tokens_to_add(pair=False) == 2
    assert ("token_type_ids" in pair) == (architecture in TYPES_IN_USE)
    if architecture in TYPES_IN_USE:
        start = pair["input_ids"].index(tokenizer.sep_token_id) + 1
        assert pair["token_type_ids"] == [int(index >= start) for index in range(len(pair["input_ids"]))]


def test_the_offsets_of_a_pair_point_into_each_text(architecture, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder(architecture))
    pair = tokenizer(TEXT, PAIR, return_offsets_mapping=True)
    covered = {0: set(), 1: set()}
    for (start, end), sequence in zip(pair["offset_mapping"], pair.sequence_ids(), strict=True):
        if sequence is None:
            assert (start, end) == (0, 0)
        else:
            covered[sequence].update(range(start, end))
    for sequence, text in enumerate((TEXT, PAIR)):
        visible = {index for index, character in enumerate(text) if not character.isspace()}
        assert visible <= covered[sequence] <= set(range(len(text)))


def test_words_keep_their_numbers(architecture, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder(architecture))
    words = TEXT.split()
    numbers = tokenizer(words, is_split_into_words=True).word_ids()
    assert [number for number in dict.fromkeys(numbers) if number is not None] == list(range(len(words)))


def test_plain_english_has_no_unknown_piece(architecture, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder(architecture))
    assert (
        tokenizer.unk_token_id
        not in tokenizer("Jazzy quokkas vexed 30 {big} dwarf-foxes; 98.7% ~ #ok @home?")["input_ids"]
    )


@pytest.mark.parametrize("name", CLASSES)
def test_plain_transformers_loads_each_head(architecture, name, folder):
    auto = getattr(transformers, f"AutoModelFor{name}")
    model, loading = auto.from_pretrained(folder(architecture), output_loading_info=True)
    backbone = {f"{model.base_model_prefix}.{key}" for key in AutoModel.from_config(model.config).state_dict()}
    backbone = {key for key in backbone if "pooler" not in key}
    assert not backbone & set(loading["missing_keys"]) and not loading["mismatched_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder(architecture))
    batch = tokenizer([TEXT, "Yes."], [PAIR, "No."], padding=True, return_tensors="pt")
    if name == "MultipleChoice":
        batch = {column: tensor.unsqueeze(0) for column, tensor in batch.items()}
    outputs = model.eval()(**batch)
    logits = outputs.start_logits if name == "QuestionAnswering" else outputs.logits
    assert torch.isfinite(logits).all()


def test_padding_changes_nothing_and_the_longest_input_fits(architecture, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder(architecture))
    model = AutoModel.from_pretrained(folder(architecture)).eval()
    assert tokenizer.pad_token_id == model.config.pad_token_id == model.get_input_embeddings().padding_idx
    alone = tokenizer(TEXT, return_tensors="pt")
    length = alone["input_ids"].shape[1]
    batch = tokenizer([TEXT, " ".join([PAIR] * 20)], padding=True, truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape[1] == 128
    with torch.no_grad():
        padded = model(**batch).last_hidden_state[0, :length]  # (length, width)
        torch.testing.assert_close(padded, model(**alone).last_hidden_state[0], atol=1e-5, rtol=0)


def test_seed_size_and_type_are_as_asked(architecture, folder, tmp_path):
    before = torch.get_rng_state()
    again = build_tiny(architecture, tmp_path / "again")
    other = build_tiny(architecture, tmp_path / "other", seed=1, width=16, layers=3, max_length=64, dtype=torch.float16)
    assert torch.equal(before, torch.get_rng_state())
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (folder(architecture) / name).read_bytes()
    config = AutoConfig.from_pretrained(other)
    assert (config.hidden_size, config.num_hidden_layers, config.dtype) == (16, 3, torch.float16)
    assert AutoTokenizer.from_pretrained(other).model_max_length == 64


def test_different_seeds_give_different_weights(tmp_path):
    paths = [build_tiny("bert", tmp_path / str(seed), seed=seed) / "model.safetensors" for seed in (0, 1)]
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_building_is_fast(architecture, folder, tmp_path):
    folder(architecture)  # pays for the imports
    start = time.perf_counter()
    build_tiny(architecture, tmp_path)
    assert time.perf_counter() - start < 1


def test_gpt2_is_a_decoder_without_padding_token(folder):
    path: Path = folder("gpt2")
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    assert tokenizer.pad_token is None and model.config.pad_token_id is None
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
    batch = tokenizer(TEXT, return_tensors="pt")
    loss = model(**batch, labels=batch["input_ids"]).loss.item()
    assert abs(loss - math.log(len(tokenizer))) < 0.5  # random weights: about even odds for every token
