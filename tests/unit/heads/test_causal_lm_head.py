"""Is the loss that of transformers on the same labels, and what is generated what a loop of single passes gives?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.causal_lm import CausalLMHead
from reasoner.losses import IGNORED
from reasoner.model import TaskModel
from reasoner.tasks.generation import Generation
from tiny import CORPUS

ROWS = [
    {"prompt": text[: 10 + 7 * (index % 5)], "completion": text[10 + 7 * (index % 5) :][: 5 + 3 * (index % 4)] + "."}
    for index, text in enumerate(CORPUS[:12])
]


@pytest.fixture(params=["llama", "gpt2"])
def prepared(request, prepare):
    return prepare(Generation(max_new_tokens=12), rows=ROWS, architecture=request.param, sharp=True)


def slowly(predictor, prompt: list[int]) -> list[int]:
    """The most probable next token again and again, each by a whole pass over one row without padding or cache."""
    head, found = predictor.model.head, []
    while len(found) < head.max_new_tokens and (not found or found[-1] not in head.end_tokens):
        ids = torch.tensor([prompt + found])
        batch = Batch({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, {}, torch.zeros(1).long(), [0],
                      ids.numel())  # fmt: skip
        with torch.no_grad():
            found.append(int(predictor.model(batch)["logits"][0, -1].argmax()))
    return found


def test_the_loss_is_that_of_transformers(prepared):
    predictor, data = prepared
    model = predictor.model.eval()
    for batch in predictor.batches(data, batch_size=5):
        labels = batch.targets["labels"]
        theirs = model.network(**batch.inputs, labels=labels)
        outputs = model(batch)
        ours = model.loss(outputs, batch)
        torch.testing.assert_close(ours.mean, theirs.loss, rtol=1e-5, atol=1e-6)
        assert ours.count == (labels != IGNORED).sum()
        assert outputs["logits"].shape[:-1] == ((labels != IGNORED).sum(),)


def test_logits_that_are_left_out_change_nothing(prepared):
    predictor, data = prepared
    model = predictor.model.eval()
    (batch,) = predictor.batches(data, batch_size=100)
    found, labels = [], batch.targets["labels"][:, 1:] != IGNORED
    before_transformers_524 = {"by_row": False}
    for settings in ({}, before_transformers_524, {**before_transformers_524, "chooses": False}):
        vars(model.head._places).update(settings)
        outputs = model(batch)
        others = {"logits": 2 * outputs["logits"]}
        found.append((model.loss(outputs, batch).total, model.divergence(outputs, others, batch), outputs["logits"]))
    for total, apart, _ in found[1:]:
        torch.testing.assert_close(total, found[0][0])
        torch.testing.assert_close(apart, found[0][1])
    assert [logits[..., 0].numel() for *_, logits in found] == [
        labels.sum(), labels.any(0).sum() * len(labels), batch.targets["labels"].numel()]  # fmt: skip


def test_a_batch_generates_what_single_passes_do(prepared):
    predictor, data = prepared
    prompts = [row["prompt"] for row in ROWS]
    ids = [predictor.tokenizer(prompt)["input_ids"] for prompt in prompts]
    assert len(set(map(len, ids))) > 3  # so that rows are padded
    model = predictor.model.eval()
    (batch,) = predictor.batches(data, batch_size=100)
    with torch.no_grad():
        found = model.head.infer(model, batch)
    for place, row in zip(batch.feature_index, found, strict=True):
        assert row == [slowly(predictor, ids[place])]
    assert len({tuple(row[0]) for row in found}) > 6
    alone = [predictor.predict(prompt) for prompt in prompts]
    assert alone == predictor.predict(prompts) == predictor.evaluate(data).predictions


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_stand_before_what_is_generated(prepared, method):
    pytest.importorskip("peft")
    from reasoner.preparation import as_method

    predictor, _ = prepared
    predictor = replace(predictor, model=predictor.model)
    as_method(method).apply(predictor.model)
    with torch.no_grad():
        for weight in predictor.model.added.parameters():
            if weight.requires_grad:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    prompts = [row["prompt"] for row in ROWS]
    predictor.model.eval()
    found = predictor.model.head.infer(predictor.model, _batch(predictor, prompts))
    for prompt, row in zip(prompts, found, strict=True):
        assert row == [slowly(predictor, predictor.tokenizer(prompt)["input_ids"])]
    assert len({tuple(row[0]) for row in found}) > 6


def _batch(predictor, prompts) -> Batch:
    examples = [predictor.task.example_from_input(prompt) for prompt in prompts]
    (batch,) = predictor.batches(predictor.encode(examples), batch_size=100)
    order = sorted(range(len(prompts)), key=batch.feature_index.__getitem__)
    inputs = {name: value[order] for name, value in batch.inputs.items()}
    return replace(batch, inputs=inputs, feature_index=list(range(len(prompts))))


def test_it_stops_at_any_end_token_and_nowhere_else(prepared):
    predictor, _ = prepared
    predictor.model.eval()
    prompt = ROWS[0]["prompt"]
    ids = predictor.tokenizer(prompt)["input_ids"]
    free = slowly(predictor, ids)
    fourth = free[3]
    place = free.index(fourth)
    predictor.model.head.end_tokens = [0, fourth]
    (record,) = predictor.model.head.infer(predictor.model, _batch(predictor, [prompt]))
    assert record == [free[: place + 1]]


def test_what_the_checkpoint_says_of_generation_does_not_count(prepared):
    predictor, _ = prepared
    prompts = [row["prompt"] for row in ROWS]
    before = predictor.predict(prompts)
    own = predictor.model.network.generation_config
    own.update(do_sample=True, repetition_penalty=5.0, num_beams=3, min_new_tokens=3, max_length=5)
    assert predictor.predict(prompts) == before
    assert predictor.model.network.generation_config is own


def test_samples_are_drawn(prepare):
    task = Generation(max_new_tokens=6, temperature=1.5, num_samples=4)
    predictor, _ = prepare(task, rows=ROWS, architecture="llama", sharp=True)
    torch.manual_seed(3)
    one = predictor.predict([row["prompt"] for row in ROWS])
    torch.manual_seed(3)
    assert predictor.predict([row["prompt"] for row in ROWS]) == one
    assert all(len(prediction["samples"]) == 4 and prediction["samples"][0] == prediction["text"] for prediction in one)
    assert any(len(set(prediction["samples"])) > 1 for prediction in one)
    cold = replace(predictor.task, temperature=1e-4)
    head = cold.build_head(predictor.model.network.config)
    (greedy, *_) = CausalLMHead.infer(_greedy(predictor), predictor.model, _batch(predictor, [ROWS[0]["prompt"]]))
    found = head.infer(predictor.model, _batch(predictor, [ROWS[0]["prompt"]]))
    assert found == [[greedy[0]] * 4]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("packing", [True, False])
def test_what_the_texts_of_a_prompt_begin_with_is_run_once(prepare, architecture, packing):
    task = Generation(max_new_tokens=8, temperature=1.0, num_samples=5)
    predictor, _ = prepare(task, rows=ROWS, architecture=architecture, sharp=True, packing=packing)
    model = predictor.model.eval()
    inputs = model.head._prompts(_batch(predictor, ["a", *(row["prompt"] for row in ROWS)]))
    assert inputs["attention_mask"][0].sum() < 3  # of one token there is nothing to run before
    settings, positions = {**model.head._settings(), "eos_token_id": None}, []
    model.network.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: positions.append((*args, kwargs.get("input_ids"))[0].numel()), with_kwargs=True
    )
    with torch.no_grad():
        torch.manual_seed(3)
        plain = model.network.generate(**inputs, generation_config=GenerationConfig(**settings))
        torch.manual_seed(3)
        ours = model.generate(inputs, **settings)
    rows, length = inputs["input_ids"].shape
    assert torch.equal(ours, plain[:, length:])
    assert positions[0] == 5 * rows * length
    assert rows * (length - 1) in positions and sum(positions[positions.index(rows * (length - 1)) :]) <= (
        rows * (length - 1) + 8 * 5 * rows)  # fmt: skip


def _greedy(predictor):
    task = replace(predictor.task, temperature=0.0, num_samples=1)
    return task.build_head(predictor.model.network.config)


def test_where_the_loss_alone_counts_nothing_is_generated(prepare, monkeypatch):
    predictor, data = prepare(Generation(max_new_tokens=6, metric="perplexity"), rows=ROWS, architecture="llama")
    monkeypatch.setattr(TaskModel, "generate", lambda *_, **__: pytest.fail("it generates"))
    evaluation = predictor.evaluate(data)
    assert evaluation.metrics["perplexity"] == pytest.approx(torch.tensor(evaluation.metrics["loss"]).exp().item())
    assert evaluation.predictions == [{"text": None}] * len(ROWS)
    monkeypatch.undo()
    assert predictor.predict("The old")["tokens"] > 0


def test_encoders_are_refused(prepare):
    with pytest.raises(ConfigError, match=r"'bert' is no decoder, and cannot go on with a text\. Take a decoder"):
        prepare(Generation(), rows=ROWS, architecture="bert")


def test_a_checkpoint_without_its_output_layer_is_refused(prepare, tmp_path):
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from tiny import build_tiny

    folder = build_tiny("llama", tmp_path / "tiny")
    config = LlamaConfig.from_pretrained(folder, tie_word_embeddings=False)
    AutoModel.from_config(config).save_pretrained(folder)
    with pytest.raises(ConfigError, match="no output layer for LlamaForCausalLM"):
        prepare(Generation(max_new_tokens=6), rows=ROWS, source=folder)
    whole = AutoModelForCausalLM.from_config(config)
    whole.save_pretrained(folder)
    predictor, _ = prepare(Generation(max_new_tokens=6), rows=ROWS, source=folder)
    assert torch.equal(predictor.model.network.lm_head.weight, whole.lm_head.weight)
    predictor, _ = prepare(Generation(max_new_tokens=6), rows=ROWS, source=AutoModelForCausalLM.from_pretrained(folder))
    assert torch.equal(predictor.model.network.lm_head.weight, whole.lm_head.weight)
    assert AutoTokenizer.from_pretrained(folder).eos_token_id in predictor.model.head.end_tokens
