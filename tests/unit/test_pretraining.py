"""Does more pretraining predict the right tokens, improve on held-out text, and give a folder to tune from?"""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn import functional
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import reasoner
from reasoner.data.batching import Batches, padding_of
from reasoner.data.features import Feature
from reasoner.data.masking import Masker
from reasoner.errors import ConfigError
from reasoner.language_model import LanguageModel, TokenBatches
from tiny import ARCHITECTURES, CORPUS

FAST = {"use_cpu": True, "bf16": False, "disable_tqdm": True}


def batches_of(tokenizer, *, masked=True, seed=0, texts=CORPUS, size=8):
    features = [[Feature({name: list(ids) for name, ids in tokenizer(text).items()})] for text in texts]
    made = Batches(features, size, padding=padding_of(tokenizer))
    return TokenBatches(made, Masker(tokenizer) if masked else None, seed=seed), made


def test_masks_are_those_of_devlin_et_al(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    special = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id])
    shown, masked, kept, all_tokens = 0, 0, 0, 0
    for epoch in range(30):
        batches, plain = batches_of(tokenizer)
        batches.epoch = epoch
        for batch, whole in zip(batches, plain, strict=True):
            labels, ids, before = batch.targets["labels"], batch.inputs["input_ids"], whole.inputs["input_ids"]
            chosen = labels != -100
            assert torch.equal(labels[chosen], before[chosen]) and torch.equal(ids[~chosen], before[~chosen])
            assert not torch.isin(before[chosen], special).any() and chosen.any()
            all_tokens += int((~torch.isin(before, special)).sum())
            shown += int(chosen.sum())
            masked += int((ids[chosen] == tokenizer.mask_token_id).sum())
            kept += int((ids[chosen] == before[chosen]).sum())
    assert shown / all_tokens == pytest.approx(0.15, abs=0.01)
    assert masked / shown == pytest.approx(0.8, abs=0.03) and kept / shown == pytest.approx(0.1, abs=0.02)


def test_masks_differ_by_epoch_and_not_by_run(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)

    def labels(epoch, seed=0):
        batches, _ = batches_of(tokenizer, seed=seed)
        batches.epoch = epoch
        return torch.cat([batch.targets["labels"].flatten() for batch in batches])

    assert torch.equal(labels(1), labels(1))
    assert not torch.equal(labels(1), labels(2)) and not torch.equal(labels(1), labels(1, seed=3))


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gpt2"])
def test_the_loss_is_that_of_the_whole_network(tiny_models, architecture):
    """Transformers' own loss on all places, against ours on the places to predict; packed and padded."""
    folder = tiny_models(architecture)
    tokenizer, masked = AutoTokenizer.from_pretrained(folder), architecture != "gpt2"
    network = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_pretrained(folder, dtype=torch.float32)
    model = LanguageModel(network).eval()
    for packing in (False, None):
        model.pack(packing, padding_side=tokenizer.padding_side)
        batches, _ = batches_of(tokenizer, masked=masked, texts=[*CORPUS[:6], "A.", "No."])
        (batch,) = batches
        with torch.no_grad():
            loss = model.loss(model(batch), batch)
            model.packs, packs = False, model.packs
            logits = network(**batch.inputs).logits
            expected = functional.cross_entropy(logits.flatten(0, 1), batch.targets["labels"].flatten())
            if not masked:
                ids = batch.inputs["input_ids"].masked_fill(batch.inputs["attention_mask"] == 0, -100)
                torch.testing.assert_close(expected, network(**batch.inputs, labels=ids).loss)
        torch.testing.assert_close(loss.mean, expected, rtol=1e-4, atol=1e-4)
        assert packs or packing is False or architecture in ("deberta-v2", "gpt2", "distilbert")
        assert loss.count.item() == (batch.targets["labels"] != -100).sum()


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "gpt2"])
def test_held_out_text_is_predicted_better_and_the_folder_is_read(tiny_models, tmp_path, architecture):
    done = reasoner.pretrain(
        tiny_models(architecture), list(CORPUS) * 2, output_dir=tmp_path / "more", learning_rate=3e-3,
        num_train_epochs=6, **FAST,
    )  # fmt: skip
    assert done.texts == {"train": 56, "validation": 6}
    name = "perplexity" if architecture == "gpt2" else "masked_perplexity"
    assert set(done.before) == {"loss", name, f"{name}_per_word", f"{name}_per_byte"}
    assert done.before[name] == pytest.approx(math.exp(done.before["loss"]))
    assert done.before[name] > 300  # of 600 tokens
    assert done.after[name] < 0.6 * done.before[name]
    assert done.after["loss"] == pytest.approx(min(r["loss"] for r in done.history if r["split"] == "validation"))
    kind = AutoModelForCausalLM if architecture == "gpt2" else AutoModelForMaskedLM
    _, report = kind.from_pretrained(tmp_path / "more", output_loading_info=True)
    assert not report["missing_keys"]
    assert AutoTokenizer.from_pretrained(tmp_path / "more").backend_tokenizer.truncation is None
    record = json.loads((tmp_path / "more" / "pretraining.json").read_text())
    assert record["after"] == done.after and record["config"]["learning_rate"] == 3e-3
    assert f"{name.replace('_', ' ')} on 6 held-out texts" in str(done)


def test_a_new_output_layer_is_tied_and_said_and_the_pooler_stays(tiny_bert, tmp_path):
    done = reasoner.pretrain(tiny_bert, list(CORPUS[:20]), output_dir=tmp_path / "more", max_steps=2, **FAST)
    assert any("no output layer over the vocabulary" in s and "(tied)" in s for s in done.notices)
    assert any("Learning rate 0.0001" in s for s in done.notices)
    network = AutoModelForMaskedLM.from_pretrained(tmp_path / "more")
    assert network.cls.predictions.decoder.weight is network.bert.embeddings.word_embeddings.weight
    before, after = AutoModel.from_pretrained(tiny_bert), AutoModel.from_pretrained(tmp_path / "more")
    assert torch.equal(before.pooler.dense.weight, after.pooler.dense.weight)
    assert not torch.equal(before.encoder.layer[0].output.dense.weight, after.encoder.layer[0].output.dense.weight)
    again = reasoner.pretrain(tmp_path / "more", list(CORPUS[:20]), output_dir=tmp_path / "most", max_steps=1, **FAST)
    assert not any("no output layer" in sentence for sentence in again.notices)
    assert again.before["loss"] == pytest.approx(done.after["loss"], rel=1e-5)


def test_tuning_starts_from_it_and_says_so(tiny_bert, rows_of, tmp_path):
    reasoner.pretrain(tiny_bert, list(CORPUS[:20]), output_dir=tmp_path / "more", max_steps=2, **FAST)
    rows = rows_of("NLI")
    settings = {"task": "nli", "max_steps": 1, "learning_rate": 1e-12, "check": False, **FAST}
    result = reasoner.fine_tune(tmp_path / "more", {"train": rows, "validation": rows[:8]}, **settings)
    assert any(
        "was pretrained on 18 more texts before (masked perplexity on held-out ones" in s for s in result.run.notices
    )
    theirs = AutoModel.from_pretrained(tmp_path / "more").state_dict()
    for name, weight in result.model.base_model.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-9)


def test_an_intermediate_task_is_started_from_with_a_new_head_and_said(tiny_bert, rows_of, tmp_path):
    nli, ner = rows_of("NLI"), rows_of("NER")
    reasoner.fine_tune(tiny_bert, {"train": nli, "validation": nli[:8]}, task="nli", output_dir=tmp_path / "first",
                       max_steps=2, check=False, **FAST)  # fmt: skip
    result = reasoner.fine_tune(tmp_path / "first", {"train": ner, "validation": ner[:8]}, task="ner", max_steps=1,
                                learning_rate=1e-12, check=False, output_dir=tmp_path / "second", **FAST)  # fmt: skip
    assert any("tuned before on the task nli" in sentence for sentence in result.run.notices)
    assert "tuned before on the task nli" in (tmp_path / "second" / "README.md").read_text()
    theirs = AutoModel.from_pretrained(tmp_path / "first").state_dict()
    for name, weight in result.model.base_model.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-9)
    assert result.model.config.id2label[0] == "O"


@pytest.mark.parametrize("masking", ["words", "spans"])
def test_whole_words_and_spans_are_learned_too_and_the_record_says_so(tiny_bert, tmp_path, masking):
    done = reasoner.pretrain(tiny_bert, list(CORPUS) * 2, output_dir=tmp_path, masking=masking, learning_rate=3e-3,
                             num_train_epochs=6, **FAST)  # fmt: skip
    assert done.after["masked_perplexity"] < 0.8 * done.before["masked_perplexity"]
    assert json.loads((tmp_path / "pretraining.json").read_text())["masking"] == masking


def test_masking_that_cannot_be_is_refused(tiny_bert, tiny_models, tmp_path):
    with pytest.raises(ConfigError, match=r"masking='word' is unknown. Did you mean 'words'"):
        reasoner.pretrain(tiny_bert, list(CORPUS), output_dir=tmp_path, masking="word", **FAST)
    with pytest.raises(ConfigError, match="this model predicts the next token, and masks none"):
        reasoner.pretrain(tiny_models("gpt2"), list(CORPUS), output_dir=tmp_path, masking="spans", **FAST)


@pytest.mark.parametrize("setting", [{"balanced_sampling": True}, {"r_drop": 1.0}, {"dropout": 0.3}, {"stride": 4}])
def test_settings_that_mean_nothing_here_are_refused(tiny_bert, tmp_path, setting):
    with pytest.raises(ConfigError, match=f"pretrain has no {next(iter(setting))}"):
        reasoner.pretrain(tiny_bert, list(CORPUS), output_dir=tmp_path, **setting)


def test_what_cannot_be_loaded_and_what_is_too_long_is_an_error(tiny_bert, tmp_path):
    with pytest.raises(ConfigError, match="the model takes 128 tokens"):
        reasoner.pretrain(tiny_bert, list(CORPUS), output_dir=tmp_path, max_length=500, **FAST)
    with pytest.raises(ConfigError):
        reasoner.pretrain(tmp_path / "nowhere", list(CORPUS), output_dir=tmp_path, **FAST)
