"""Do adapters, LoRA, IA3, prefixes and prompts learn what they name, come back from their folder, and merge?"""

from __future__ import annotations

import json
import subprocess
import sys

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoner.added import cache_name
from reasoner.errors import CheckpointError, ConfigError
from reasoner.methods.adapter import Adapter
from reasoner.methods.bitfit import BitFit
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly
from reasoner.methods.ia3 import IA3
from reasoner.methods.lora import LoRA
from reasoner.methods.prefix import Prefix
from reasoner.methods.prompt import Prompt
from reasoner.model import TaskModel
from reasoner.networks import auto_model
from reasoner.notices import quietly
from reasoner.proof import trial_batch
from reasoner.reports.run import Run
from reasoner.storage import load_folder, save_folder
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training.config import TrainingConfig
from reasoner.training.optimizer import make_optimizer
from tiny import ARCHITECTURES, DECODERS

EVERY = (*ARCHITECTURES, *DECODERS)
TASKS = {"ner": NER(), "nli": NLI()}
METHODS = {
    "pfeiffer": Adapter(reduction=4),
    "houlsby": Adapter(style="houlsby", reduction=4),
    "lora": LoRA(rank=2),
    "dora": LoRA(rank=2, dora=True, rank_stabilized=True),
    "ia3": IA3(),
    "prefix": Prefix(virtual_tokens=3),
    "prompt": Prompt(virtual_tokens=3),
}
NO_PREFIX = {"distilbert", "deberta-v2", "modernbert"}
"""They take no past keys and values."""
MERGING = ("lora", "dora", "ia3")


def a_run():
    return Run(task="nli", model="tiny", method="?", primary_metric="accuracy", compared_split="test")


def combinations():
    return [
        pytest.param(architecture, method, id=f"{architecture}-{method}")
        for architecture in EVERY
        for method in METHODS
        if not (method == "prefix" and architecture in NO_PREFIX)
    ]


def head_names(prepare, task, architecture):
    model = prepare(task, architecture=architecture).predictor.model
    HeadOnly().apply(model)
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def count(model):
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("architecture", "method"), combinations())
def test_trained_saved_and_read_again(prepare, learned, outputs_of, tmp_path, architecture, method, task):
    predictor, _, moved = learned(METHODS[method], TASKS[task], architecture)
    model = predictor.model
    marked = {name for name, weight in model.named_parameters() if weight.requires_grad}
    own = {name for name in marked if any(part in name for part in ("bottleneck", "lora_", "ia3_", "prompt_encoder"))}
    head = {name.replace(".modules_to_save.default", "") for name in marked - own}
    assert head == head_names(prepare, TASKS[task], architecture)
    assert moved <= marked and marked - moved <= {name for name in own if "key" in name or "k_" in name}
    save_folder(tmp_path, predictor, a_run())
    small = {path.name for path in tmp_path.glob("*.safetensors")}
    assert small == {"bottlenecks.safetensors" if method in ("pfeiffer", "houlsby") else "adapter_model.safetensors"}
    loaded, _ = load_folder(tmp_path)
    data = prepare(TASKS[task], architecture=architecture).data
    for name, value in outputs_of(predictor, data).items():
        assert torch.equal(value, outputs_of(loaded, data)[name])


@pytest.mark.parametrize(
    "task", [*TASKS.values(), QuestionAnswering(), MultipleChoice()], ids=lambda t: type(t).__name__
)
@pytest.mark.parametrize("method", ["pfeiffer", "houlsby", "lora", "dora", "ia3"])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_nothing_changes_before_training(prepare, outputs_of, architecture, method, task):
    predictor, data = prepare(task, architecture=architecture, sharp=True)
    before = outputs_of(predictor, data)
    METHODS[method].apply(predictor.model)
    for name, value in outputs_of(predictor, data).items():
        assert torch.allclose(value, before[name], atol=1e-6)


def peft_config(model, method):
    """Return the settings that a person who uses peft alone would write."""
    name = type(model.network).__name__
    task_type = "TOKEN_CLS" if "Token" in name else "SEQ_CLS"
    if method == "lora":
        return peft.LoraConfig(task_type=task_type, r=2, target_modules=["query", "value"])
    if method == "ia3":
        return peft.IA3Config(task_type=task_type)
    kind = peft.PrefixTuningConfig if method == "prefix" else peft.PromptTuningConfig
    return kind(task_type=task_type, num_virtual_tokens=3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["lora", "ia3", "prefix", "prompt"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta-v2"])
def test_as_many_weights_learn_as_with_peft_alone(prepare, tiny_models, architecture, method, task):
    if method == "prefix" and architecture in NO_PREFIX:
        return
    model = prepare(TASKS[task], architecture=architecture).predictor.model
    plain = auto_model(model.head.auto_class).from_pretrained(tiny_models(architecture), config=model.network.config)
    config = peft_config(model, method)
    if architecture == "deberta-v2" and method == "lora":
        config.target_modules = {"query_proj", "value_proj"}
    theirs = count(peft.get_peft_model(plain, config))
    names = tuple(config.target_modules) if method == "lora" else None
    (LoRA(rank=2, target_modules=names) if method == "lora" else METHODS[method]).apply(model)
    poolers = sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.requires_grad and "pooler" in name  # peft alone leaves a new pooler as it was drawn
    )
    assert count(model) - poolers == theirs > 0


def by_hand(plain, inputs, task):
    """Run a model with peft's prefix, layer by layer: peft 0.21 itself cannot, beside transformers 5.24."""
    network = plain.get_base_model()
    mask = torch.cat([torch.ones(1, 3, dtype=torch.long), inputs["attention_mask"]], 1)
    outputs = network.base_model(
        **{**inputs, "attention_mask": mask, cache_name(network.base_model): plain.get_prompt(1)}
    )
    pooled = task == "nli" and hasattr(outputs, "pooler_output")
    logits = (network.score if hasattr(network, "score") else network.classifier)(outputs[1] if pooled else outputs[0])
    return logits if pooled or task == "ner" else logits[:, -1]


@pytest.mark.parametrize("method", ["lora", "ia3", "prefix", "prompt"])
@pytest.mark.parametrize(
    ("architecture", "task"), [("bert", "nli"), ("bert", "ner"), ("llama", "nli"), ("gpt2", "ner")]
)
def test_peft_alone_reads_the_folder(prepare, learned, sharp_models, tmp_path, architecture, method, task):
    predictor, _, _ = learned(METHODS[method], TASKS[task], architecture)
    save_folder(tmp_path, predictor, a_run())
    auto_class = auto_model(predictor.model.head.auto_class)
    from transformers import AutoConfig

    with quietly():
        base = auto_class.from_pretrained(sharp_models(architecture), config=AutoConfig.from_pretrained(tmp_path))
    plain = peft.PeftModel.from_pretrained(base, str(tmp_path)).eval()
    data = prepare(TASKS[task], architecture=architecture).data
    batch = predictor.batches(data, batch_size=1).collate([0])
    with torch.no_grad():
        expected = predictor.model(batch)["logits"]
        found = by_hand(plain, batch.inputs, task) if method == "prefix" else plain(**batch.inputs).logits
    if task == "ner":
        found = found[:, -expected.shape[1] :]  # peft gives something for virtual tokens too
    assert torch.allclose(expected, found, atol=1e-6)


PROGRAM = """
import json, sys, torch, reasoner
from reasoner.proof import trial_batch
for folder, expected in json.load(open(sys.argv[1])).items():
    model = reasoner.load(folder, use_cpu=True).predictor.model.eval()
    torch.testing.assert_close(model(trial_batch(model))["logits"].detach(), torch.tensor(expected), rtol=0, atol=1e-6)
    print(folder)
"""


def test_a_new_process_reads_the_same(learned, tmp_path):
    expected = {}
    for method in (Full(), BitFit(), *METHODS.values()):
        predictor, _, _ = learned(method, NLI(), "bert")
        folder = tmp_path / str(len(expected))
        save_folder(folder, predictor, a_run())
        with torch.no_grad():
            expected[str(folder)] = predictor.model.eval()(trial_batch(predictor.model))["logits"].tolist()
    assert len({str(logits) for logits in expected.values()}) == len(expected)
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "expected.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == list(expected), done.stderr[-2000:]


@pytest.mark.parametrize("method", MERGING)
@pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta-v2", "modernbert", "gpt2", "llama"])
def test_merged_it_is_a_plain_model_with_the_same_outputs(prepare, learned, outputs_of, tmp_path, architecture, method):
    predictor, _, _ = learned(METHODS[method], NLI(), architecture)
    data = prepare(NLI(), architecture=architecture).data
    before = outputs_of(predictor, data)["logits"]
    merged = predictor.model.merged()
    plain = prepare(NLI(), architecture=architecture).predictor.model
    assert {n: w.shape for n, w in merged.named_parameters()} == {n: w.shape for n, w in plain.named_parameters()}
    predictor_of_merged = type(predictor)(
        **{**{name: getattr(predictor, name) for name in predictor.__dataclass_fields__}, "model": merged}
    )
    save_folder(tmp_path, predictor_of_merged, a_run())
    assert (tmp_path / "model.safetensors").is_file() and not (tmp_path / "adapter_config.json").exists()
    for each in (predictor_of_merged, load_folder(tmp_path)[0]):
        assert torch.allclose(outputs_of(each, data)["logits"], before, atol=1e-5)
    assert torch.equal(outputs_of(predictor, data)["logits"], before)  # the one that was merged stays


@pytest.mark.parametrize("method", ["pfeiffer", "prefix", "prompt"])
def test_what_cannot_be_merged_is_refused(prepare, method):
    model = prepare(NLI()).predictor.model
    with pytest.raises(ConfigError, match="nothing to merge"):
        model.merged()
    METHODS[method].apply(model)
    with pytest.raises(ConfigError, match="cannot be merged"):
        model.merged()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["bert", "roberta", "llama", "gpt2"])
def test_padding_changes_nothing(prepare, learned, architecture, method, task):
    predictor, _, _ = learned(METHODS[method], TASKS[task], architecture)
    model, data = predictor.model.eval(), prepare(TASKS[task], architecture=architecture).data
    batches = predictor.batches(data, batch_size=4)
    lengths = sorted(range(8), key=lambda index: int(batches.lengths[index]))
    short, long = lengths[0], lengths[-1]
    with torch.no_grad():
        alone = model(batches.collate([short]))["logits"][0]
        beside = model(batches.collate([short, long]))["logits"][0]
    size = int(batches.lengths[short]) if task == "ner" else None
    assert torch.allclose(alone[:size], beside[:size], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_packing_stays_or_is_declined(prepare, learned, outputs_of, method):
    predictor, _, _ = learned(METHODS[method], NLI(), "bert", packing=True)
    model = predictor.model
    assert model.packs == (method not in ("prefix", "prompt"))
    data = prepare(NLI()).data
    packed = outputs_of(predictor, data, packed=True)["logits"]
    assert torch.allclose(outputs_of(predictor, data)["logits"], packed, atol=1e-4)
    model.pack(True)
    assert model.packs == (method not in ("prefix", "prompt"))


def test_virtual_tokens_leave_less_room_for_text(prepare, tiny_bert):
    from reasoner.preparation import build_predictor
    from reasoner.training.config import TrainingConfig

    task = prepare(NLI()).predictor.task
    config = TrainingConfig(use_cpu=True)
    assert build_predictor(tiny_bert, task, config=config, reserved=20).max_length == 108
    with pytest.raises(ConfigError, match="the model takes 108 tokens"):
        build_predictor(tiny_bert, task, config=TrainingConfig(use_cpu=True, max_length=109), reserved=20)


@pytest.mark.parametrize("architecture", sorted(NO_PREFIX))
def test_a_prefix_needs_past_keys(prepare, architecture):
    with pytest.raises(ConfigError, match=r"Prefix needs an architecture that takes past .* Take method='prompt'"):
        Prefix().apply(prepare(NLI(), architecture=architecture).predictor.model)


def test_what_is_refused(prepare, monkeypatch):
    model = prepare(NLI()).predictor.model
    with pytest.raises(ConfigError, match="no virtual tokens for multiple choice"):
        Prompt().apply(prepare(MultipleChoice()).predictor.model)
    with pytest.raises(ConfigError, match="peft refuses LoraConfig"):
        LoRA(target_modules=("nowhere",)).apply(model)
    LoRA().apply(model)
    with pytest.raises(ConfigError, match="another method added"):
        Adapter().apply(model)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"need peft. Install it: pip install 'reasoner-ft\[peft\]'"):
        IA3().apply(prepare(NLI()).predictor.model)
    for wrong in (
        lambda: LoRA(rank=0),
        lambda: LoRA(alpha=0),
        lambda: LoRA(dropout=1.0),
        lambda: Adapter(style="x"),
        lambda: Adapter(reduction=0),
        lambda: Prefix(virtual_tokens=0),
        lambda: Prompt(virtual_tokens=True),
    ):
        with pytest.raises(ConfigError, match="give"):
            wrong()


def test_factors_do_not_decay(prepare):
    model = prepare(NLI(), architecture="bert").predictor.model
    IA3().apply(model)
    groups = make_optimizer(model, TrainingConfig(weight_decay=0.1), 1e-3).param_groups
    decayed = {id(weight) for group in groups if group["weight_decay"] for weight in group["params"]}
    names = {name for name, weight in model.named_parameters() if id(weight) in decayed}
    assert names and not [name for name in names if "ia3" in name]


@pytest.mark.parametrize(
    ("method", "base", "narrow"),
    [
        (Adapter(), 3e-4, 3e-3),
        (LoRA(), 3e-4, 2e-3),
        (IA3(), 3e-3, 3e-3),
        (Prefix(), 5e-3, 5e-3),
        (Prompt(), 5e-3, 5e-3),
    ],
)
def test_rates_of_the_papers(method, base, narrow):
    assert method.learning_rate(768) == pytest.approx(base) and method.learning_rate(32) == narrow


@pytest.fixture
def saved(prepare, tmp_path):
    predictor = prepare(NLI()).predictor
    LoRA().apply(predictor.model)
    folder = tmp_path / "lora"
    save_folder(folder, predictor, a_run())
    return folder


def test_another_base_is_refused(saved, tiny_models, tmp_path, prepare):
    record = json.loads((saved / "reasoner_config.json").read_text())
    assert record["base_model"]["name"] == str(tiny_models("bert").resolve())
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_models("bert").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    load_folder(saved, base_model=other)  # moved, and the same
    whole = tmp_path / "whole"
    save_folder(whole, prepare(NLI()).predictor, a_run())
    with pytest.raises(ConfigError, match=r"holds all weights of its model. Leave base_model out"):
        load_folder(whole, base_model=other)
    state = load_file(other / "model.safetensors")
    state["embeddings.LayerNorm.bias"] += 0.1
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="is not the one that this was trained on"):
        load_folder(saved, base_model=other)
    with pytest.raises(CheckpointError, match=r"was in '.*gone', which is not there. Say where it is"):
        load_folder(saved, base_model=tmp_path.resolve() / "gone")


def test_the_small_part_is_no_base_for_another_training(saved):
    with pytest.raises(ConfigError, match=r"not the base. Merge it first"):
        TaskModel.from_pretrained(saved, load_folder(saved)[0].task)


def test_a_model_that_says_not_where_it_is_from_cannot_be_saved_so(prepare, tiny_bert, tmp_path):
    predictor = prepare(NLI()).predictor
    LoRA().apply(predictor.model)
    predictor.model.base_name = ""
    with pytest.raises(CheckpointError, match="says not where it is from"):
        save_folder(tmp_path, predictor, a_run())


def test_what_reads_otherwise_is_not_saved(prepare, tmp_path, monkeypatch):
    predictor = prepare(NLI()).predictor
    save = TaskModel.save

    def spoilt(model, folder):
        save(model, folder)
        state = load_file(folder / "model.safetensors")
        state["classifier.bias"] += 1
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(TaskModel, "save", spoilt)
    with pytest.raises(CheckpointError, match=r"read again, its weight network.classifier.bias is another"):
        save_folder(tmp_path, predictor, a_run())
    assert not list(tmp_path.iterdir())
