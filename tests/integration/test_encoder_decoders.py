"""Does an encoder-decoder learn to write what it is asked for, as plain transformers would train and use it?"""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import reasoner
from reasoner import Generation
from reasoner.errors import ConfigError
from reasoner.notices import collect

THINGS, PLACES = ("red box", "dog", "clock", "old king", "train"), ("snow", "river", "bridge", "city")
ROWS = [{"prompt": f"The {one} and the {two}", "completion": two} for one in THINGS for two in PLACES]
DATA = {"train": ROWS, "validation": ROWS}
TASK = Generation(max_new_tokens=8)
RUN = {"use_cpu": True, "evaluate_before": False, "check": False}
LEARN = {"num_train_epochs": 60, "learning_rate": 3e-3, "per_device_train_batch_size": 8, "patience": None, **RUN}
PROMPTS = [row["prompt"] for row in ROWS]
KINDS = ["t5", "bart"]


@pytest.fixture(scope="module", params=KINDS)
def learned(request, lively_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned") / "model"
    return reasoner.fine_tune(lively_models(request.param), DATA, task=TASK, output_dir=folder, **LEARN), folder


def test_completions_are_learned_with_their_end(learned):
    result, _ = learned
    assert result.metrics["validation"]["exact_match"] == result.metrics["validation"]["finished"] == 1.0
    assert [said["text"] for said in result.predict(PROMPTS)] == [row["completion"] for row in ROWS]


def test_loss_and_texts_are_those_of_plain_transformers(learned):
    result, folder = learned
    network, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    network.eval()
    total = count = 0
    for row, said in zip(ROWS, result.predict(PROMPTS), strict=True):
        given = tokenizer(row["prompt"], return_tensors="pt")
        labels = tokenizer(text_target=row["completion"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            total += network(**given, labels=labels).loss.item() * labels.numel()
        count += labels.numel()
        tokens = network.generate(**given, max_new_tokens=8, do_sample=False)[0, 1:]
        assert tokenizer.decode(tokens, skip_special_tokens=True) == said["text"]
    assert result.evaluate(ROWS)["loss"] == pytest.approx(total / count, rel=1e-4)
    assert "AutoModelForSeq2SeqLM" in (folder / "README.md").read_text("utf-8")


def test_what_was_saved_predicts_the_same(learned):
    result, folder = learned
    loaded = reasoner.load(folder, use_cpu=True)
    assert loaded.predict(PROMPTS) == result.predict(PROMPTS)
    assert loaded.predictor.task == result.predictor.task


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["lora", "adapter", "top-k", "bitfit", "ia3", "gradual"])
def test_methods_train_and_are_read_again_or_say_why_not(method, kind, lively_models, tmp_path):
    if (kind, method) in [("t5", "bitfit"), ("t5", "ia3"), ("bart", "gradual")]:
        with pytest.raises(ConfigError, match="Take method="):
            reasoner.fine_tune(lively_models(kind), DATA, task=TASK, method=method, max_steps=2, **RUN)
        return
    folder = tmp_path / "model"
    result = reasoner.fine_tune(
        lively_models(kind), DATA, task=TASK, method=method, output_dir=folder, max_steps=2, **RUN
    )
    assert reasoner.load(folder, use_cpu=True).predict(PROMPTS) == result.predict(PROMPTS)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_are_refused(method, lively_models):
    with pytest.raises(ConfigError, match="virtual tokens stand before no encoder-decoder"):
        reasoner.fine_tune(lively_models("t5"), DATA, task=TASK, method=method, max_steps=1, **RUN)


@pytest.mark.parametrize("kind", [*KINDS, "llama"])
def test_a_head_that_is_the_pretrained_one_has_nothing_to_learn(kind, lively_models):
    with pytest.raises(ConfigError, match="nothing to train beside the layers"):
        reasoner.fine_tune(lively_models(kind), DATA, task=TASK, method="head", max_steps=1, **RUN)


def test_layers_are_counted_from_the_encoder_up(lively_models):
    method = reasoner.Freeze(layers=3)
    result = reasoner.fine_tune(lively_models("t5"), DATA, task=TASK, method=method, max_steps=1, **RUN)
    network = result.predictor.model.network
    learns = [[weight.requires_grad for weight in block.parameters()]
              for stack in (network.encoder, network.decoder) for block in stack.block]  # fmt: skip
    assert [set(block) for block in learns] == [{False}, {False}, {False}, {True}]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_is_counted(kind, lively_models):
    rows = [*ROWS, {"prompt": "a " * 300, "completion": "snow"}, {"prompt": "Who?", "completion": "a b c " * 9}]
    with collect() as said:
        reasoner.fine_tune(
            lively_models(kind), {"train": rows, "validation": ROWS}, task=TASK, max_length=64, max_steps=1, **RUN
        )
    text = "\n".join(said)
    assert "train: 1 prompts are longer than max_length=64 tokens; their end was cut." in text
    assert "train: 1 completions are longer than max_new_tokens=8; their end was cut" in text


def test_the_check_says_what_will_be_cut(lively_models):
    rows = [*ROWS, {"prompt": "a " * 300, "completion": "snow"}, {"prompt": "Who?", "completion": "a b c " * 9}]
    report = reasoner.check(lively_models("t5"), {"train": rows, "validation": ROWS}, task=TASK, max_length=64)
    found = {finding.code: finding.what for finding in report.findings}
    assert "lose their end" in found["cut_prompts"] and "max_new_tokens=8" in found["cut_completions"]
    assert "long_completions" not in found


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_the_embeddings_of_what_is_read_are_attacked(kind, lively_models):
    task = Generation(max_new_tokens=4)
    settings = {**RUN, "max_steps": 1, "evaluate_before": False}
    plain, attacked = (
        reasoner.fine_tune(lively_models(kind), DATA, task=task, adversarial_epsilon=epsilon, **settings)
        for epsilon in (0.0, 0.5)
    )
    weights = [dict(one.predictor.model.named_parameters()) for one in (plain, attacked)]
    assert any((weights[0][name] - weight).abs().max() > 1e-6 for name, weight in weights[1].items())


def test_several_samples_and_accumulation(lively_models):
    task = Generation(max_new_tokens=8, temperature=1.0, num_samples=3)
    result = reasoner.fine_tune(
        lively_models("bart"), DATA, task=task, gradient_accumulation_steps=2, max_steps=2, **RUN
    )
    assert len(result.predict(PROMPTS[0])["samples"]) == 3


def test_more_tokens_than_the_model_writes_are_refused(lively_models):
    with pytest.raises(ConfigError, match="the model writes 128 tokens at most"):
        reasoner.fine_tune(lively_models("bart"), DATA, task=Generation(max_new_tokens=500), max_steps=1, **RUN)


def test_rewards_and_preferences_need_a_decoder(lively_models):
    with pytest.raises(ConfigError, match="grpo and dpo: 't5' reads a text with its encoder"):
        reasoner.grpo(lively_models("t5"), DATA, task=Generation(max_new_tokens=8, verifier="exact"), max_steps=1)
