"""Are a task and the tokens of its rows learned together: is the gradient right, and refused what cannot be?"""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import reasoner
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError
from reasoner.joint import text_loss
from reasoner.methods.head import HeadOnly
from reasoner.methods.lora import LoRA
from reasoner.methods.prompt import Prompt
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras, Objective

CONFIG = TrainingConfig(use_cpu=True, language_modeling_weight=0.4)


@pytest.fixture(scope="module")
def with_output_layer(tiny_models, tmp_path_factory):
    """`with_output_layer("bert")`: a folder as `pretrain` writes it."""
    folders = {}

    def folder(architecture):
        if architecture not in folders:
            torch.manual_seed(0)
            kind = AutoModelForCausalLM if architecture in ("llama", "gpt2") else AutoModelForMaskedLM
            folders[architecture] = tmp_path_factory.mktemp(architecture)
            kind.from_pretrained(tiny_models(architecture)).save_pretrained(folders[architecture])
            AutoTokenizer.from_pretrained(tiny_models(architecture)).save_pretrained(folders[architecture])
        return folders[architecture]

    return folder


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "modernbert", "llama", "gpt2"])
@pytest.mark.parametrize("task", [NER(), NLI()], ids=lambda task: type(task).__name__)
def test_the_gradient_is_that_of_both_losses(prepare, with_output_layer, architecture, task):
    """Against transformers' own language model with the task's weights, in float64 and without dropout."""
    source = with_output_layer(architecture)
    predictor, data = prepare(task, source=source, packing=False)
    model = predictor.model.double().eval()
    beside = text_loss(predictor, source, CONFIG)
    beside.language_model.double()
    batch = predictor.batches(data, batch_size=6).collate(list(range(6)))
    seen = []
    keep = beside.language_model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    Objective(model, CONFIG, Extras(text_loss=beside), precision=nullcontext).backward(batch, lambda _: None)
    keep.remove()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    learning = {id(weight) for weight in model.parameters()}
    assert all(id(each) in learning or each.grad is None for each in beside.language_model.network.parameters())

    (shown,), reference = seen, deepcopy(model)
    reference.zero_grad()
    own = deepcopy(beside.language_model.network)
    setattr(own, own.base_model_prefix, reference.backbone)
    if own.config.tie_word_embeddings:
        own.get_output_embeddings().weight = own.get_input_embeddings().weight
    labels = shown.targets["labels"]
    tokens = functional.cross_entropy(own(**shown.inputs).logits[labels != -100], labels[labels != -100])
    loss = reference.loss(reference(batch), batch)
    (loss.total + 0.4 * loss.count * tokens).backward()
    expected = {name: weight.grad for name, weight in reference.named_parameters() if weight.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["full", "lora", "bitfit", "adapter", "top-k"])
def test_the_tokens_are_learned_beside_the_task(with_output_layer, method):
    pack = reasoner.synthetic.nli_pack(train=64, validation=16, test=16)
    source = with_output_layer("bert")
    settings = {"method": method, "num_train_epochs": 4, "learning_rate": 5e-3, "dropout": 0.0, "use_cpu": True}
    losses = {}
    for weight in (0.0, 1.0):
        result = reasoner.fine_tune(source, pack, task="nli", language_modeling_weight=weight, **settings)
        predictor = result.predictor
        if method == "lora":
            predictor = result.merge().predictor
        for parameter in predictor.model.parameters():
            parameter.requires_grad_(True)
        beside = text_loss(predictor, source, CONFIG)
        examples = examples_from_rows(read_splits(pack), predictor.task.Example)["train"]
        torch.manual_seed(0)
        predictor.model.eval()
        with torch.no_grad():
            found = [beside(batch) for batch in predictor.batches(predictor.encode(examples, name="train"))]
        losses[weight] = float(sum(loss.total for loss in found) / sum(loss.count for loss in found))
        assert any("masked tokens" in note for note in result.run.notices) == bool(weight)
        assert result.run.config["language_modeling_weight"] == weight
    assert losses[1.0] < losses[0.0] - (0.1 if method == "full" else 0)  # with few weights to move, hardly


def test_a_run_can_be_told_again(with_output_layer):
    pack = reasoner.synthetic.nli_pack(train=32, validation=8, test=8)
    settings = {"task": "nli", "language_modeling_weight": 0.5, "max_steps": 3, "use_cpu": True}
    runs = [reasoner.fine_tune(with_output_layer("bert"), pack, seed=seed, **settings) for seed in (1, 1, 2)]
    first, again, other = (torch.cat([weight.flatten() for weight in run.predictor.model.parameters()]) for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_cannot_be_is_refused_before_training(tiny_bert, with_output_layer, prepare):
    source = with_output_layer("bert")
    with pytest.raises(ConfigError, match=r"no output layer over the vocabulary. Start from what pretrain wrote"):
        text_loss(prepare(NLI()).predictor, tiny_bert, CONFIG)
    with pytest.raises(ConfigError, match="the model is an object"):
        text_loss(prepare(NLI()).predictor, prepare(NLI()).predictor.model.network, CONFIG)
    for method, reason in ((HeadOnly(), "nothing of the backbone learns"), (Prompt(), "virtual tokens")):
        predictor = prepare(NLI(), source=source).predictor
        method.apply(predictor.model)
        with pytest.raises(ConfigError, match=f"language_modeling_weight: {reason}"):
            text_loss(predictor, source, CONFIG)
    with pytest.raises(ConfigError, match=r"Give Extras\(text_loss"):
        Objective(prepare(NLI()).predictor.model, CONFIG, precision=nullcontext)
    with pytest.raises(ConfigError, match="pretrain has no language_modeling_weight"):
        reasoner.pretrain(source, ["One text.", "Another."], output_dir="unused", language_modeling_weight=0.5)
    with pytest.raises(ConfigError, match="at least 0"):
        TrainingConfig(language_modeling_weight=-1.0)


def test_a_decoder_predicts_each_token_but_the_first(prepare, with_output_layer):
    source = with_output_layer("llama")
    predictor, data = prepare(NLI(), source=source)
    LoRA(rank=2).apply(predictor.model)
    batch = predictor.batches(data, batch_size=4).collate([0, 1, 2, 3])
    mask = batch.inputs["attention_mask"]
    assert text_loss(predictor, source, CONFIG)(batch).count.item() == int(mask.sum()) - len(mask)
