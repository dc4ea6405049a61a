"""Is the perplexity of texts what plain transformers give in float64, and does that of a byte compare tokenizers?"""

from __future__ import annotations

import json
import math

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import reasoner
from reasoner.errors import ConfigError, DataError
from tiny import ARCHITECTURES, CORPUS

TEXTS = [*CORPUS[:6], "Naïve 東京 😀!", "No."]
WORDS, BYTES = sum(len(text.split()) for text in TEXTS), sum(len(text.encode()) for text in TEXTS)


@pytest.fixture(scope="module")
def language_models(tiny_models, tmp_path_factory):
    """`language_models("bert")`: a folder with an output layer."""
    folders = {}

    def folder(architecture):
        if architecture not in folders:
            torch.manual_seed(0)
            kind = AutoModelForCausalLM if architecture in ("gpt2", "llama") else AutoModelForMaskedLM
            folders[architecture] = tmp_path_factory.mktemp(architecture)
            network = kind.from_pretrained(tiny_models(architecture))
            for weight in network.parameters():  # or all tokens would be as likely
                weight.data += 0.05 * torch.randn_like(weight)
            network.save_pretrained(folders[architecture])
            AutoTokenizer.from_pretrained(tiny_models(architecture)).save_pretrained(folders[architecture])
        return folders[architecture]

    return folder


def expected(nats, tokens, name):
    """Return what `perplexity` has to return, from sums over all texts."""
    units = {name: tokens, f"{name}_per_word": WORDS, f"{name}_per_byte": BYTES}
    return {"loss": nats / tokens} | {unit: math.exp(nats / number) for unit, number in units.items()}


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@torch.no_grad()
def test_next_tokens_against_float64(language_models, architecture):
    folder = language_models(architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    begin = tokenizer.bos_token_id
    nats, tokens = 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([[begin, *tokenizer(text)["input_ids"]]])
        chances = network(input_ids=ids).logits[0, :-1].log_softmax(-1)
        nats -= float(chances[torch.arange(ids.shape[1] - 1), ids[0, 1:]].sum())
        tokens += ids.shape[1] - 1
    assert reasoner.perplexity(folder, TEXTS, use_cpu=True, batch_size=3) == pytest.approx(
        expected(nats, tokens, "perplexity"), rel=1e-4)  # fmt: skip


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "electra"])
@torch.no_grad()
def test_one_masked_token_at_a_time_against_float64(language_models, architecture):
    folder = language_models(architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float64).eval()
    nats, tokens = 0.0, 0
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
        special = encoded.pop("special_tokens_mask")[0]
        for place in (special == 0).nonzero().flatten().tolist():
            ids = encoded["input_ids"].clone()
            ids[0, place] = tokenizer.mask_token_id
            logits = network(**{**encoded, "input_ids": ids}).logits[0, place]
            nats -= float(logits.log_softmax(-1)[encoded["input_ids"][0, place]])
            tokens += 1
    found = reasoner.perplexity(folder, TEXTS, use_cpu=True)
    assert found == pytest.approx(expected(nats, tokens, "pseudo_perplexity"), rel=1e-4)


def test_what_pretrain_reports_of_next_tokens_is_the_same(language_models, tmp_path):
    done = reasoner.pretrain(language_models("gpt2"), list(CORPUS), output_dir=tmp_path, max_steps=2, use_cpu=True,
                             bf16=False, disable_tqdm=True, validation_share=0.2)  # fmt: skip
    rows = json.loads((tmp_path / "pretraining.json").read_text())
    order = torch.randperm(len(CORPUS), generator=torch.Generator().manual_seed(rows["config"]["seed"])).tolist()
    held_out = [CORPUS[index] for index in sorted(order[: done.texts["validation"]])]
    assert reasoner.perplexity(tmp_path, held_out, use_cpu=True) == pytest.approx(done.after, rel=1e-4)


def test_a_byte_compares_tokenizers_and_a_token_does_not(tmp_path, tiny_models):
    """Two models that give all tokens the same chance: one of bytes, one of pieces. The truth is known."""
    pieces = AutoTokenizer.from_pretrained(tiny_models("gpt2"))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocab = {sign: number for number, sign in enumerate(sorted(alphabet))} | {"<|endoftext|>": 256}
    single = type(pieces)(vocab=vocab, merges=[])
    found = {}
    for name, tokenizer in (("pieces", pieces), ("single", single)):
        size = len(tokenizer)
        network = AutoModelForCausalLM.from_config(
            AutoConfig.for_model("gpt2", vocab_size=size, n_embd=8, n_layer=1, n_head=1))  # fmt: skip
        network.transformer.wte.weight.data.zero_()
        network.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        tokens = sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
        found[name] = reasoner.perplexity(tmp_path / name, TEXTS, use_cpu=True)
        assert found[name]["perplexity"] == pytest.approx(size, rel=1e-4)
        assert found[name]["perplexity_per_byte"] == pytest.approx(size ** (tokens / BYTES), rel=1e-4)
        assert found[name]["perplexity_per_word"] == pytest.approx(size ** (tokens / WORDS), rel=1e-4)
    assert found["single"]["perplexity_per_byte"] == pytest.approx(257, rel=1e-4)  # each byte is a token
    # The same chances for the same texts: nats a byte are 5.5 of one, and fewer of the other, whose pieces are long;
    # a token says the reverse.
    assert found["single"]["perplexity"] < found["pieces"]["perplexity"]
    assert found["single"]["perplexity_per_byte"] > found["pieces"]["perplexity_per_byte"]


def test_long_texts_are_read_in_pieces_and_what_cannot_be_is_refused(language_models, tiny_bert):
    long = reasoner.perplexity(language_models("gpt2"), [" ".join(CORPUS)], max_length=32, use_cpu=True)
    assert 1 < long["perplexity_per_byte"] < long["perplexity"] < long["perplexity_per_word"]
    with pytest.raises(ConfigError, match="no output layer over the vocabulary, and predicts no tokens"):
        reasoner.perplexity(tiny_bert, TEXTS)
    with pytest.raises(ConfigError, match="the model takes 128 tokens"):
        reasoner.perplexity(language_models("gpt2"), TEXTS, max_length=500)
    with pytest.raises(DataError, match=r"holds 0 texts\. Give at least one"):
        reasoner.perplexity(language_models("gpt2"), [" "])
