"""Is the model the checkpoint's own in float32, with the right head, and the same after saving and loading?"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from own_head import OwnLayers
from reasoner.errors import CheckpointError, ConfigError
from reasoner.model import TaskModel, length_limit, read_config
from reasoner.networks import auto_model
from reasoner.notices import collect
from reasoner.registry import register_head
from reasoner.tasks.classification import Classification
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from tiny import ARCHITECTURES, build_tiny

LABELS = ("red", "green", "blue")
TWELVE = tuple(f"colour{number}" for number in range(12))
DROPOUTS = {"hidden_dropout_prob", "attention_probs_dropout_prob"}


@pytest.fixture
def own_layers(registry):
    register_head("own_layers", OwnLayers)
    return Classification(labels=LABELS, kind="single", head="own_layers")


def task_of(labels=LABELS):
    return Classification(kind="single", labels=labels)


def made(source, task, **settings):
    """Return the model as `fine_tune` would make it, and what was said."""
    with collect() as said:
        model = TaskModel.from_pretrained(source, task.matched_to(read_config(source)), **settings)
    return model.eval(), said


@pytest.fixture(scope="module")
def trained(tiny_bert, tmp_path_factory):
    """A folder with a checkpoint that has a classification head, as transformers writes it."""

    def folder(labels):
        names = dict(enumerate(labels))
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(
            tiny_bert, id2label=names, label2id={name: index for index, name in names.items()}
        )
        nn.init.normal_(model.classifier.weight)
        path = tmp_path_factory.mktemp("trained")
        model.save_pretrained(path)
        AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(path)
        return path

    return folder


def text_logits(network, folder):
    inputs = AutoTokenizer.from_pretrained(folder)("The red box is heavier than the green one.", return_tensors="pt")
    with torch.inference_mode():
        return network.eval()(**inputs).logits


def backbone_equals(network, folder, *, but=("pooler",)):
    theirs = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    ours = network.base_model.state_dict()
    names = [name for name in ours if not any(part in name for part in but)]
    return len(names) > 10 and all(torch.equal(ours[name], theirs[name]) for name in names)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_are_float32_whatever_the_checkpoint_has(dtype, tmp_path):
    build_tiny("bert", tmp_path, dtype=dtype)
    model, said = made(tmp_path, task_of())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert backbone_equals(model.network, tmp_path)
    spoken = [text for text in said if "float32" in text]
    assert spoken == (
        [] if dtype == torch.float32 else [f"The checkpoint's weights are {dtype}; they are trained in float32."]
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_loaded_model_in_half_precision_is_trained_in_float32(tiny_bert, dtype):
    source = AutoModel.from_pretrained(tiny_bert, dtype=dtype)
    model, said = made(source, task_of())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert [text for text in said if "float32" in text] == [
        f"The checkpoint's weights are {dtype}; they are trained in float32."
    ]
    assert source.dtype == dtype


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize("labels", [LABELS, TWELVE])
def test_a_head_with_these_labels_is_kept(trained, labels, as_object):
    folder = trained(labels)
    source = AutoModelForSequenceClassification.from_pretrained(folder) if as_object else folder
    for given in (labels, labels[::-1]):  # the task found the labels in another order: the model's order rules
        task = task_of(given).matched_to(read_config(source))
        assert tuple(task.labels) == labels
        model, said = made(source, task)
        plain = AutoModelForSequenceClassification.from_pretrained(folder)
        assert all(torch.equal(value, plain.state_dict()[n]) for n, value in model.network.state_dict().items())
        expected = text_logits(plain, folder)
        torch.testing.assert_close(text_logits(model.network, folder), expected, rtol=0, atol=1e-6)
        assert model.network.config.id2label == dict(enumerate(labels))
        assert any("kept" in text for text in said)


@pytest.mark.parametrize("as_object", [False, True])
def test_a_head_whose_labels_differ_in_case_alone_is_kept(trained, as_object):
    folder = trained(LABELS)
    source = AutoModelForSequenceClassification.from_pretrained(folder) if as_object else folder
    model, said = made(source, task_of(("Blue", "GREEN", "Red")))
    plain = AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in model.network.state_dict().items())
    assert model.network.config.id2label == {0: "Red", 1: "GREEN", 2: "Blue"}
    assert any("its order is kept: Red, GREEN, Blue" in text for text in said)
    assert any("it is kept" in text for text in said)


def test_labels_belong_to_their_numbers_however_the_file_lists_them(trained):
    """JSON writers that sort keys as text list "10" before "2"."""
    folder = trained(TWELVE)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = dict(sorted(config["id2label"].items()))
    assert list(config["id2label"])[2] == "10"
    (folder / "config.json").write_text(json.dumps(config))
    task = task_of(TWELVE).matched_to(read_config(folder))
    assert tuple(task.labels) == TWELVE
    model, said = made(folder, task)
    assert model.network.config.id2label == dict(enumerate(TWELVE))
    assert any("kept" in text for text in said)
    assert tuple(NER(labels=TWELVE).matched_to(read_config(folder)).labels) == TWELVE


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize("labels", [("a", "b", "c"), ("a", "b"), (*LABELS, "black")])
def test_a_head_with_other_labels_is_made_anew(trained, labels, as_object):
    folder = trained(LABELS)
    source = AutoModelForSequenceClassification.from_pretrained(folder) if as_object else folder
    model, said = made(source, task_of(labels))
    old = load_file(folder / "model.safetensors")["classifier.weight"]
    new = model.network.classifier.weight
    assert new.shape[0] == len(labels) and not any(torch.equal(row, other) for row in new for other in old)
    assert float(new.detach().abs().max()) < 0.2  # freshly drawn: the old one is of standard deviation 1
    assert backbone_equals(model.network, folder, but=())
    assert model.network.config.id2label == dict(enumerate(labels))
    assert not any("kept" in text for text in said)
    assert [t for t in said if "head" in t] == [
        "The checkpoint's head has other labels (red, green, blue); a new one was made."
    ]


@pytest.mark.parametrize("as_object", [False, True])
def test_a_checkpoint_without_a_head_gets_one_and_nothing_is_claimed(tiny_bert, as_object):
    model, said = made(AutoModel.from_pretrained(tiny_bert) if as_object else tiny_bert, task_of())
    assert said == [] and backbone_equals(model.network, tiny_bert, but=())


@pytest.mark.parametrize("as_object", [False, True])
def test_a_head_of_another_kind_is_not_used(trained, as_object):
    """Though it has the same names, sizes and labels."""
    folder = trained(("O", "B-X", "I-X"))
    source = AutoModelForSequenceClassification.from_pretrained(folder) if as_object else folder
    model, said = made(source, NER(labels=("O", "B-X", "I-X")))
    assert backbone_equals(model.network, folder) and not any("head" in text for text in said)
    assert float(model.network.classifier.weight.detach().abs().max()) < 0.2


def test_the_dense_layers_of_a_head_for_other_labels_are_new_as_well(tiny_models, tmp_path):
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(tiny_models("roberta"), num_labels=2).save_pretrained(tmp_path)
    model, said = made(tmp_path, task_of())
    assert not torch.equal(
        model.network.classifier.dense.weight, load_file(tmp_path / "model.safetensors")["classifier.dense.weight"]
    )
    assert any("a new one was made" in text for text in said)


def test_the_new_head_comes_from_the_seed_alone(tiny_bert):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(made(tiny_bert, task_of())[0].network.classifier.weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_loaded_model_is_copied_and_not_changed(trained):
    source = AutoModelForSequenceClassification.from_pretrained(trained(LABELS))
    before, config = deepcopy(source.state_dict()), source.config.to_dict()
    for task in (task_of(), task_of(("a", "b")), NER(labels=("O", "B-X"))):
        model, _ = made(source, task, dropout=0.3)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items())
    assert source.config.to_dict() == config


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gpt2"])
@pytest.mark.parametrize("as_object", [False, True])
def test_dropout_reaches_every_layer(tiny_models, architecture, as_object):
    folder = tiny_models(architecture)
    source = AutoModel.from_pretrained(folder) if as_object else folder
    for wanted in (0.0, 0.25):
        model, _ = made(source, NLI(labels=LABELS), dropout=wanted)
        own = {name: getattr(module, "p", getattr(module, "drop_prob", None)) for name, module in model.named_modules()
               if "dropout" in type(module).__name__.lower()}  # fmt: skip
        in_attention = {
            f"{name}.{key}": value
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if "dropout" in key and isinstance(value, float)
        }
        assert own and set(own.values()) == {wanted}, own
        assert set(in_attention.values()) <= {wanted}, in_attention
        # and it is at work
        inputs = {"input_ids": torch.arange(5, 25).view(1, 20), "attention_mask": torch.ones(1, 20, dtype=torch.long)}
        network = model.network.train()
        assert torch.equal(network(**inputs).logits, network(**inputs).logits) == (wanted == 0.0)


def test_dropout_is_left_as_it_is_unless_it_is_given(tiny_bert):
    config = made(tiny_bert, task_of())[0].network.config
    assert {name: getattr(config, name) for name in DROPOUTS} == dict.fromkeys(DROPOUTS, 0.1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_length_limit_is_what_the_model_takes(tiny_models, architecture):
    folder = tiny_models(architecture)
    model, _ = made(folder, task_of())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 10**30  # many checkpoints do not say
    limit = length_limit(model.network, tokenizer)
    assert limit == 128
    ids = torch.full((1, limit), 10)
    with torch.inference_mode():
        assert model.network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()
    if architecture not in ("deberta-v2", "modernbert"):  # the others have a row for each position
        longer = torch.full((1, limit + 1), 10)
        with pytest.raises((IndexError, RuntimeError, ValueError)), torch.inference_mode():
            model.network(input_ids=longer, attention_mask=torch.ones_like(longer))
    tokenizer.model_max_length = 64
    assert length_limit(model.network, tokenizer) == 64


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parts_that_are_frozen_whole_run_without_dropout(tiny_models, architecture):
    model, _ = made(tiny_models(architecture), task_of(), dropout=0.5)
    inputs = {"input_ids": torch.arange(5, 25).view(1, 20), "attention_mask": torch.ones(1, 20, dtype=torch.long)}

    def hidden():
        return model.backbone(**inputs).last_hidden_state

    model.train()
    assert all(module.training for module in model.modules()) and not torch.equal(hidden(), hidden())
    for weight in model.backbone.parameters():
        weight.requires_grad_(False)
    model.train()
    assert not any(module.training for module in model.backbone.modules()) and torch.equal(hidden(), hidden())
    assert model.training and any(
        module.training for module in model.network.modules() if isinstance(module, nn.Linear)
    )
    model.eval()
    assert not any(module.training for module in model.modules())


PLAIN = {
    "token": (NER(labels=("O", "B-X", "I-X")), AutoModelForTokenClassification, ("logits",)),
    "text": (task_of(), AutoModelForSequenceClassification, ("logits",)),
    "span": (QuestionAnswering(), AutoModelForQuestionAnswering, ("start_logits", "end_logits")),
}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert"])
def test_plain_transformers_loads_what_is_saved(tiny_models, architecture, kind, tmp_path):
    task, plain, names = PLAIN[kind]
    model, _ = made(tiny_models(architecture), task)
    model.save(tmp_path)
    ids = torch.arange(5, 25).view(1, 20)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    theirs, report = plain.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    again = TaskModel.load(tmp_path, task).eval()
    with torch.inference_mode():
        ours = model.network(**inputs)
        for name in names:
            for other in (theirs.eval(), again.network):
                torch.testing.assert_close(other(**inputs)[name], ours[name], rtol=0, atol=1e-6)


def test_own_layers_are_saved_beside_the_backbone(own_layers, trained, tmp_path):
    source = trained(LABELS)
    model, said = made(source, own_layers)
    assert said == []  # whatever head the checkpoint has, it is not used, and nothing is claimed of it
    assert isinstance(model.network, type(AutoModel.from_pretrained(source)))
    model.save(tmp_path)
    assert set(load_file(tmp_path / "head.safetensors")) == {"layer.weight", "layer.bias"}
    AutoModel.from_pretrained(tmp_path)
    again = TaskModel.load(tmp_path, own_layers)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    (tmp_path / "head.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks head.safetensors"):
        TaskModel.load(tmp_path, own_layers)


@pytest.mark.parametrize("with_own_layers", [False, True])
def test_a_checkpoint_without_its_backbone_is_refused(tiny_bert, own_layers, with_own_layers, tmp_path):
    AutoConfig.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    state = load_file(tiny_bert / "model.safetensors")
    kept = {name: value for name, value in state.items() if "layer.1." not in name}
    assert len(kept) < len(state)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks weights of its backbone, such as .*encoder.layer.1"):
        TaskModel.from_pretrained(tmp_path, own_layers if with_own_layers else task_of())


def test_a_checkpoint_with_weights_of_other_sizes_is_refused(tmp_path):
    build_tiny("bert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(ConfigError, match=r"lacks weights of its backbone"):
        TaskModel.from_pretrained(tmp_path, task_of())


def test_what_is_no_model_is_refused(tmp_path, tiny_models):
    with pytest.raises(ConfigError, match=r"cannot be loaded"):
        read_config(tmp_path / "nothing")
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(ConfigError, match=r"cannot be loaded"):
        read_config(tmp_path)
    with pytest.raises(
        ConfigError, match=r"transformers has no class AutoModelForPoetry. Correct the head's auto_class"
    ):
        auto_model("AutoModelForPoetry")
    build_tiny("gpt2", tmp_path / "gpt2")
    with pytest.raises(ConfigError, match=r"cannot be loaded as AutoModelForMultipleChoice"):
        from reasoner.tasks.multiple_choice import MultipleChoice

        TaskModel.from_pretrained(tmp_path / "gpt2", MultipleChoice())
    assert AutoModelForMultipleChoice is auto_model("AutoModelForMultipleChoice")


@pytest.mark.parametrize("model_type", ["bert", "unheard-of"])
def test_code_that_comes_with_a_checkpoint_is_not_run(tiny_bert, model_type, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is to be asked"))
    for file in Path(tiny_bert).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    flag = tmp_path / "it-ran"
    (tmp_path / "evil.py").write_text(f"open({str(flag)!r}, 'w')\nfrom transformers import BertConfig as Evil\n")
    config = json.loads((tmp_path / "config.json").read_text())
    names = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForSequenceClassification"), "evil.Evil")
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": model_type, "auto_map": names}))
    if model_type == "bert":
        assert backbone_equals(made(tmp_path, task_of())[0].network, tiny_bert)
    else:
        with pytest.raises(ConfigError, match=r"cannot be loaded"):
            TaskModel.from_pretrained(tmp_path, task_of())
    assert not flag.exists()
