"""Several small models on one backbone: each predicts as it does alone, and the base is in memory once."""

from __future__ import annotations

import pytest
import torch

import reasoner
from reasoner import synthetic
from reasoner.errors import CheckpointError, ConfigError

METHODS = {"lora": "ner", "adapter": "nli", "prefix": "ner", "full": "nli"}
TEXTS = {"ner": "Maria Chen flew from Oslo to the Harbor Institute.", "nli": ("A dog runs.", "An animal moves.")}


@pytest.fixture(scope="module")
def folders(tiny_bert, tmp_path_factory):
    packs = {
        "ner": synthetic.ner_pack(train=24, validation=8, test=8),
        "nli": synthetic.nli_pack(train=24, validation=8, test=8),
    }
    found = {}
    for method, task in METHODS.items():
        found[method] = tmp_path_factory.mktemp(method)
        reasoner.fine_tune(
            tiny_bert, packs[task], task=task, method=method, output_dir=found[method], max_steps=3, use_cpu=True
        )
    return found


def test_each_predicts_as_alone_and_the_base_is_held_once(folders):
    together = reasoner.load_together(folders, use_cpu=True)
    for name, task in METHODS.items():
        alone = reasoner.load(folders[name], use_cpu=True)
        assert together[name].predict(TEXTS[task]) == alone.predict(TEXTS[task])
        assert together[name].run.method == alone.run.method
    addresses = {
        name: {weight.data_ptr() for weight in result.predictor.model.backbone.parameters()}
        for name, result in together.items()
    }
    embeddings = [together[name].predictor.model.backbone.embeddings.word_embeddings.weight for name in METHODS]
    assert embeddings[0] is embeddings[1] is embeddings[2]
    assert embeddings[3] is not embeddings[0]  # full tuning moved it
    shared = addresses["lora"] & addresses["adapter"]
    lora = dict(together["lora"].predictor.model.backbone.named_parameters())
    apart = {name for name, weight in lora.items() if weight.data_ptr() not in shared}
    assert apart and all("lora_" in name or "pooler" in name for name in apart)


def test_a_shared_weight_is_saved_and_merged_as_alone(folders, tmp_path):
    together = reasoner.load_together({"a": folders["lora"], "b": folders["adapter"]}, use_cpu=True)
    before = together["b"].predict(TEXTS["nli"])
    whole = together["a"].merge()
    assert together["b"].predict(TEXTS["nli"]) == before  # merging is into a copy
    together["a"].save(tmp_path / "again")
    again = reasoner.load(tmp_path / "again", use_cpu=True)
    assert again.predict(TEXTS["ner"]) == together["a"].predict(TEXTS["ner"])
    merged = whole.predictor.model.backbone.encoder.layer[0].attention.self.query.weight
    assert not torch.equal(merged, again.predictor.model.backbone.encoder.layer[0].attention.self.query.weight)


def test_it_is_said_what_is_shared(folders, caplog):
    reasoner.load_together({"a": folders["lora"], "b": folders["prefix"]}, use_cpu=True)
    assert "2 models are loaded; " in caplog.text


def test_no_folder_and_a_missing_one_are_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match="given no folder"):
        reasoner.load_together({})
    with pytest.raises(CheckpointError, match="nowhere"):
        reasoner.load_together({"a": folders["lora"], "b": tmp_path / "nowhere"})


def test_the_report_says_what_the_weights_take_on_disk(folders):
    sizes = {
        name: sum(path.stat().st_size for path in folder.glob("*.safetensors")) for name, folder in folders.items()
    }
    for name, folder in folders.items():
        run = reasoner.load(folder, use_cpu=True).run
        assert run.bytes_on_disk == sizes[name]
        assert f"weights on disk  {sizes[name] / 2**20:,.1f} MiB" in " ".join(
            reasoner.load(folder).report().split("\n")
        )
        assert "weights on disk" in (folder / "README.md").read_text()
    assert sizes["lora"] < sizes["full"] / 2
