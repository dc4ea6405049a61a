"""Does a tiny decoder learn to complete, to answer and to stop; by every method, saved, read, and by plain tools?"""

from __future__ import annotations

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import reasoner
from reasoner import Generation, synthetic
from reasoner.errors import ConfigError, DataError
from reasoner.testing import check_head, check_task

THINGS, PLACES = ("red box", "dog", "clock", "old king", "train"), ("snow", "river", "bridge", "city")
ROWS = [{"prompt": f"The {one} and the {two} ->", "completion": f" {two}"} for one in THINGS for two in PLACES]
CHATS = [
    {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"][1:]}]}
    for row in ROWS
]
DATA = {"train": ROWS, "validation": ROWS}
TASK = Generation(max_new_tokens=8)
RUN = {"use_cpu": True, "evaluate_before": False, "check": False}
LEARN = {"num_train_epochs": 60, "learning_rate": 3e-3, "per_device_train_batch_size": 8, "patience": None, **RUN}
INPUTS = [row["prompt"] for row in ROWS[:5]]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_task_and_head_keep_the_contract(architecture, lively_models):
    model = lively_models(architecture)
    inputs = [*INPUTS, {"messages": [{"role": "user", "content": "Who?"}]}]
    rows = [*ROWS[:6], *CHATS[:6]]
    check_task(TASK, rows, model=model, inputs=inputs, perfect=lambda example: {"text": example.completion})
    check_head(None, task=TASK, rows=rows, model=model)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def learned(request, lively_models, tmp_path_factory):
    """A result whose end token is also the padding token, or which has none, and its folder."""
    folder = tmp_path_factory.mktemp("learned") / "model"
    model = lively_models(request.param)
    return reasoner.fine_tune(model, DATA, task=TASK, output_dir=folder, **LEARN), folder


def test_completions_are_learned_with_their_end(learned):
    result, _ = learned
    assert result.metrics["validation"]["exact_match"] == result.metrics["validation"]["finished"] == 1.0
    assert result.metrics["validation"]["perplexity"] == pytest.approx(math.exp(result.metrics["validation"]["loss"]))
    for row, prediction in zip(ROWS, result.predict([row["prompt"] for row in ROWS]), strict=True):
        assert prediction["text"] == row["completion"] and prediction["finished"]
    assert result.evaluate(ROWS)["exact_match"] == 1.0


def test_what_was_saved_predicts_the_same(learned):
    result, folder = learned
    loaded = reasoner.load(folder, use_cpu=True)
    assert loaded.predict(INPUTS) == result.predict(INPUTS)
    assert loaded.predictor.task == result.predictor.task
    card = (folder / "README.md").read_text("utf-8")
    assert "pipeline_tag: text-generation" in card and "eos_token_id=[" in card and "AutoModelForCausalLM" in card


def test_plain_transformers_reads_the_folder_and_generates_the_same(learned):
    result, folder = learned
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ours = result.predict(INPUTS)
    for prompt, prediction in zip(INPUTS, ours, strict=True):
        given = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            mine = result.predictor.model.network.eval()(**given).logits
            assert torch.equal(network(**given).logits, mine)
        ends = list(result.predictor.task.end_tokens)
        tokens = network.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=ends, pad_token_id=ends[0])
        assert (
            tokenizer.decode(tokens[0, given["input_ids"].shape[1] :], skip_special_tokens=True) == prediction["text"]
        )


def test_answers_in_a_chat_are_learned(lively_models):
    data = {"train": CHATS, "validation": CHATS[::3]}
    task = Generation(max_new_tokens=8, system="Name it.")
    result = reasoner.fine_tune(lively_models("llama"), data, task=task, **LEARN)
    assert result.metrics["validation"]["exact_match"] == 1.0
    messages = CHATS[3]["messages"]
    assert result.predict({"messages": messages[:1]})["text"] == messages[1]["content"]
    assert sum("no chat template" in notice for notice in result.run.notices) == 1


def test_the_side_of_the_tokenizer_changes_nothing(lively_models, tmp_path):
    results = []
    for side in ("left", "right"):
        tokenizer = AutoTokenizer.from_pretrained(lively_models("gpt2"), padding_side=side)
        settings = {"tokenizer": tokenizer, "max_steps": 4, "learning_rate": 1e-3, **RUN}
        results.append(reasoner.fine_tune(lively_models("gpt2"), DATA, task=TASK, **settings))
    left, right = results
    assert left.metrics["validation"]["loss"] == right.metrics["validation"]["loss"]
    assert left.predict(INPUTS) == right.predict(INPUTS)


@pytest.mark.parametrize("packing", [True, False])
def test_packing_changes_no_loss(lively_models, packing):
    rows = [{**row, "prompt": row["prompt"] * (1 + index % 3)} for index, row in enumerate(ROWS)]
    data = {"train": rows, "validation": rows}
    settings = {"max_steps": 3, "dropout": 0.0, **RUN}
    result = reasoner.fine_tune(lively_models("gpt2"), data, task=TASK, packing=packing, **settings)
    other = reasoner.fine_tune(lively_models("gpt2"), data, task=TASK, packing=not packing, **settings)
    assert result.predictor.model.packs is packing
    assert result.predict(INPUTS) == other.predict(INPUTS)
    assert result.metrics["validation"]["loss"] == pytest.approx(other.metrics["validation"]["loss"], rel=1e-4)


METHODS = {
    "llama": ("lora", "ia3", "adapter", "prefix", "prompt", "top-k", "freeze", "gradual"),
    "gpt2": ("lora", "ia3", "adapter", "bitfit", "prefix", "prompt"),
}


@pytest.mark.parametrize(("architecture", "method"), [(name, each) for name in METHODS for each in METHODS[name]])
def test_every_method_lowers_the_loss_and_is_read_again(architecture, method, lively_models, tmp_path):
    settings = {"max_steps": 12, "learning_rate": 1e-2, "output_dir": tmp_path / "out", **RUN, "evaluate_before": True}
    result = reasoner.fine_tune(lively_models(architecture), DATA, task=TASK, method=method, **settings)
    assert result.metrics["validation"]["loss"] < result.metrics["before"]["loss"]
    assert reasoner.load(tmp_path / "out", use_cpu=True).predict(INPUTS) == result.predict(INPUTS)
    if method in ("lora", "ia3"):
        assert result.merge().predict(INPUTS) == result.predict(INPUTS)
        names = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
        assert names["task_type"] == "CAUSAL_LM" and not names["modules_to_save"]


def test_the_head_alone_has_no_weights_of_its_own_here(lively_models):
    with pytest.raises(ConfigError, match="there is nothing to train beside the layers"):
        reasoner.fine_tune(lively_models("llama"), DATA, task=TASK, method="head", max_steps=2, use_cpu=True)


def test_options_that_change_the_loss(lively_models):
    model = lively_models("llama")
    plain, *others = (
        reasoner.fine_tune(model, DATA, task=TASK, max_steps=6, learning_rate=1e-3, dropout=0.1, **RUN, **option)
        for option in ({}, {"r_drop": 1.0}, {"adversarial_epsilon": 0.5}, {"gradient_accumulation_steps": 2})
    )
    losses = [result.metrics["validation"]["loss"] for result in (plain, *others)]
    assert len(set(losses)) == 4
    with pytest.raises(ConfigError, match="teacher"):
        reasoner.fine_tune(model, DATA, task=TASK, max_steps=2, teacher=plain, **RUN)


def test_accumulation_is_exact(lively_models):
    settings = {"max_steps": 3, "learning_rate": 1e-3, **RUN}
    one, two = (
        reasoner.fine_tune(lively_models("llama"), {"train": ROWS[:8], "validation": ROWS[8:]}, task=TASK,
                           per_device_train_batch_size=size, gradient_accumulation_steps=8 // size, **settings)
        for size in (8, 2)
    )  # fmt: skip
    assert one.metrics["validation"]["loss"] == pytest.approx(two.metrics["validation"]["loss"], rel=1e-4)


def test_the_loss_may_choose_the_best_weights(lively_models):
    task = Generation(max_new_tokens=8, metric="loss")
    result = reasoner.fine_tune(lively_models("llama"), DATA, task=task, max_steps=6, learning_rate=1e-3, use_cpu=True)
    assert "exact_match" not in result.metrics["validation"] and result.run.primary_metric == "loss"
    assert result.run.comparison["difference"] < 0
    assert "perplexity" in result.report() and isinstance(result.predict(INPUTS[0])["text"], str)


def test_check_tells_of_lengths_and_of_rows_that_contradict(lively_models):
    long = {"prompt": "snow " * 60, "completion": "x"}
    data = {
        "train": [*ROWS[1:], long, *({"prompt": "a:", "completion": text} for text in ("snow " * 60, "c " * 9))],
        "validation": [{**ROWS[0], "completion": " no"}, *ROWS[:1]],
    }
    report = reasoner.check(lively_models("llama"), data, task=TASK, max_length=48, use_cpu=True)
    found = {finding.code: finding for finding in report.findings}
    assert found["cut_prompts"].places == ("train, row 20",)
    assert found["cut_completions"].places == ("train, row 21",)
    assert found["long_completions"].places == ("train, row 21", "train, row 22")
    assert "max_new_tokens=8" in found["long_completions"].what
    assert found["contradiction"].count == 1 and "cut_rows" not in found and "gold_lost" not in found
    assert report.estimate["steps"] > 0


def test_rows_that_cannot_be_used_are_refused_before_training(lively_models, tmp_path):
    path = tmp_path / "train.jsonl"
    rows = [*ROWS[:3], {"prompt": "a", "completion": ""}, {"messages": CHATS[0]["messages"][:1]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as caught:
        reasoner.fine_tune(lively_models("llama"), {"train": path}, task="generation", use_cpu=True)
    said = str(caught.value)
    assert "train.jsonl, line 4: completion is empty" in said
    assert "train.jsonl, line 5: the last message is the user's, so that there is no answer to learn" in said


def test_the_embedded_encoder_is_refused(lively_bert):
    with pytest.raises(ConfigError, match="'bert' is no decoder"):
        reasoner.fine_tune(lively_bert, DATA, task=TASK, **RUN)


def test_variants_are_compared_and_shortcuts_measured(lively_models):
    board = reasoner.compare(
        lively_models("llama"), DATA, task=TASK, methods=["full", "lora"], seeds=(0,), max_steps=3, use_cpu=True
    )
    assert "exact_match" in str(board)
    report = reasoner.shortcuts(lively_models("llama"), {**DATA, "test": ROWS}, task=TASK, max_steps=2, use_cpu=True)
    assert "majority" in str(report)


def test_the_pack_is_made_for_it(lively_models):
    pack = synthetic.generation_pack(train=16, validation=6, test=6)
    result = reasoner.fine_tune(
        lively_models("llama"), pack, task=Generation(max_new_tokens=32), max_steps=2, use_cpu=True
    )
    assert set(result.metrics) == {"before", "train", "validation", "test"}
