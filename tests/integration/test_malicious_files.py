"""What somebody else wrote: nothing in it is executed, nothing outside of it is read, and it is said what is wrong."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch

import reasoner
from reasoner import synthetic
from reasoner.errors import CheckpointError, ConfigError, ReasonerError

DEEP = "[" * 100_000 + "]" * 100_000
PACK = synthetic.nli_pack(train=8, validation=4, test=4)
QUICK = {"task": "nli", "max_steps": 1, "use_cpu": True, "evaluate_before": False}


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture(scope="module")
def saved(tiny_bert, tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name) / "model" for name in ("full", "lora")}
    for method, folder in folders.items():
        reasoner.fine_tune(tiny_bert, PACK, method=method, output_dir=folder, **QUICK)
    return folders


@pytest.fixture
def copy_of(saved, tmp_path):
    def copied(method):
        return shutil.copytree(saved[method], tmp_path / method)

    return copied


@pytest.fixture
def mark(tmp_path):
    """A file that exists as soon as something was executed."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


CODE = "import pathlib\npathlib.Path({mark!r}).touch()\n"


def with_code(folder, mark, name):
    """Let a settings file ask for code in the folder."""
    (folder / "own.py").write_text(CODE.format(mark=str(mark)))
    path = folder / name
    values = json.loads(path.read_text()) if path.exists() else {}
    kinds = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
    values["auto_map"] = dict.fromkeys(kinds, "own.Thing")
    if name == "config.json":
        values["model_type"] = "of-my-own"
    path.write_text(json.dumps(values))


def refused(folder):
    """Neither loaded nor trained on."""
    with pytest.raises(ReasonerError):
        reasoner.load(folder, use_cpu=True)
    with pytest.raises(ReasonerError):
        reasoner.fine_tune(folder, PACK, **QUICK)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_in_place_of_weights(copy_of, mark, name):
    folder = copy_of("full")
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Bomb(mark)}, folder / name)
    refused(folder)


def test_a_pickle_in_place_of_what_peft_added(copy_of, mark):
    folder = copy_of("lora")
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"weights": Bomb(mark)}, folder / "adapter_model.bin")
    with pytest.raises(CheckpointError):
        reasoner.load(folder, use_cpu=True)


def test_a_pickle_of_training_arguments_is_not_touched(copy_of, mark):
    folder = copy_of("full")
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save(Bomb(mark), folder / name)
    reasoner.load(folder, use_cpu=True).predict(("A dog runs.", "It moves."))
    reasoner.fine_tune(folder, PACK, **QUICK)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own(copy_of, mark, name):
    folder = copy_of("full")
    with_code(folder, mark, name)
    if name == "config.json":
        refused(folder)
    else:  # the tokenizer's class is known, and no code is needed
        reasoner.load(folder, use_cpu=True)


@pytest.mark.parametrize("name", ["config.json", "reasoner_config.json", "tokenizer_config.json", "tokenizer.json"])
def test_json_that_is_nested_too_deep(copy_of, name):
    folder = copy_of("full")
    (folder / name).write_text(DEEP)
    with pytest.raises(CheckpointError):
        reasoner.load(folder, use_cpu=True)
    if name != "reasoner_config.json":
        with pytest.raises(ReasonerError):
            reasoner.fine_tune(folder, PACK, **QUICK)


@pytest.mark.parametrize("name", ["adapter_config.json", "config.json"])
def test_json_of_small_folders_that_is_nested_too_deep(copy_of, name):
    folder = copy_of("lora")
    (folder / name).write_text(DEEP)
    with pytest.raises(CheckpointError):
        reasoner.load(folder, use_cpu=True)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_rows_that_are_nested_too_deep(tiny_bert, tmp_path, name):
    (tmp_path / name).write_text(DEEP)
    with pytest.raises(reasoner.DataError, match="nested too deep"):
        reasoner.fine_tune(tiny_bert, {"train": tmp_path / name}, **QUICK)


def test_settings_that_are_nested_too_deep(tmp_path):
    (tmp_path / "best.json").write_text(DEEP)
    with pytest.raises(ConfigError, match="holds no settings"):
        reasoner.read_settings(tmp_path / "best.json")


@pytest.mark.parametrize(
    "outside", ["../other/weights.safetensors", "/tmp/weights.safetensors", "a/../../x.safetensors"]
)
def test_an_index_that_points_out_of_the_folder(copy_of, tmp_path, outside):
    folder = copy_of("full")
    target = tmp_path / "other"
    target.mkdir()
    weights = folder / "model.safetensors"
    shutil.move(weights, target / "weights.safetensors")
    index = {"metadata": {}, "weight_map": {"bert.embeddings.word_embeddings.weight": outside}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "reasoner_config.json"])
def test_a_link_out_of_the_folder(copy_of, tmp_path, name):
    folder = copy_of("full")
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(CheckpointError, match=rf"{name}.* link"):
        reasoner.load(folder, use_cpu=True)


def test_a_link_within_the_folder_is_none_of_it(copy_of):
    folder = copy_of("full")
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")
    reasoner.load(folder, use_cpu=True)


def test_a_record_without_end(copy_of):
    folder = copy_of("full")
    with (folder / "reasoner_config.json").open("w") as file:
        file.write('{"run": "')
        for _ in range(70):
            file.write("x" * 2**20)
        file.write('"}')
    with pytest.raises(CheckpointError, match="64 MiB"):
        reasoner.load(folder, use_cpu=True)
