"""Does a model as ONNX predict what the model predicts, for each task and architecture, and is the rest refused?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from task_cases import CASES, assert_close

import reasoner
from reasoner.synthetic import dialogue_pack, intent_and_slots_pack, nested_ner_pack, relation_pack
from tiny import build_tiny

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
QUICK = {"max_steps": 2, "evaluate_before": False, "use_cpu": True, "disable_tqdm": True, "learning_rate": 1e-3}


def train(folder: Path, case: str, architecture: str = "bert", **settings):
    model = build_tiny(architecture, folder / "tiny")
    return reasoner.fine_tune(
        model, CASES[case].splits, task=settings.pop("task", CASES[case].task), **{**QUICK, **settings}
    )


def assert_same(result, folder: Path, data, inputs, **settings) -> reasoner.OnnxExport:
    """Export, read again, and assert that predictions and scores are the model's."""
    report = reasoner.export_onnx(result, folder, data, **settings)
    read = reasoner.load_onnx(folder)
    assert_close(read.predict(inputs), result.predict(inputs))
    assert_close(read.predict(inputs[0]), result.predict(inputs[0]))
    assert report["model.onnx"].difference <= 1e-4
    assert report["model.onnx"].score == pytest.approx(report["PyTorch"].score, abs=1e-5)
    return report


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[reasoner.Result, Path]:
    """A model of pairs of texts, and the folder of its export; nobody may write into that."""
    folder = tmp_path_factory.mktemp("exported")
    result = train(folder, "nli")
    reasoner.export_onnx(result, folder / "onnx", CASES["nli"].splits)
    return result, folder / "onnx"


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_task(name: str, tmp_path: Path):
    case = CASES[name]
    # numbers that hardly differ from each other would have a correlation of rounding errors
    longer = {"max_steps": 60, "learning_rate": 1e-2} if name == "a number" else {}
    assert_same(train(tmp_path, name, **longer), tmp_path / "onnx", case.splits, case.inputs)


@pytest.mark.parametrize(
    "architecture", ["distilbert", "roberta", "deberta-v2", "electra", "modernbert", "gpt2", "llama"]
)
def test_each_architecture(architecture: str, tmp_path: Path):
    case = CASES["ner"]
    assert_same(train(tmp_path, "ner", architecture), tmp_path / "onnx", case.splits, case.inputs)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_decoders_that_read_the_last_token(architecture: str, tmp_path: Path):
    case = CASES["nli"]
    assert_same(train(tmp_path, "nli", architecture), tmp_path / "onnx", case.splits, case.inputs)


@pytest.mark.parametrize(
    "task",
    [
        reasoner.NER(head="crf"),
        reasoner.NER(constrained=True, case_features=True),
        reasoner.NER(document_context=8),
    ],
    ids=["crf", "constrained", "document context"],
)
def test_ways_of_ner(task, tmp_path: Path):
    case = CASES["ner"]
    splits = {name: [{**row, "document": str(place // 3)} for place, row in enumerate(rows)]
              for name, rows in case.splits.items()}  # fmt: skip
    model = build_tiny("bert", tmp_path / "tiny")
    result = reasoner.fine_tune(model, splits, task=task, **QUICK)
    assert_same(result, tmp_path / "onnx", splits, case.inputs)


@pytest.mark.parametrize(
    ("task", "pack", "inputs"),
    [
        ("nested_ner", nested_ner_pack, ["She works at the University of Oslo.", "no name"]),
        ("relation", relation_pack, [{"text": "Ada met Bob.", "head": [0, 3], "tail": [8, 11]}]),
        ("response_ranking", dialogue_pack, ["hello", ("hello", "how may I help you?", "a table for two")]),
        ("intent_and_slots", intent_and_slots_pack, ["book a table in Oslo", "play music"]),
    ],
)
def test_heads_with_own_layers(task: str, pack, inputs, tmp_path: Path):
    splits = pack(train=60, validation=6, test=6)
    result = reasoner.fine_tune(build_tiny("bert", tmp_path / "tiny"), splits, task=task, **QUICK)
    assert_same(result, tmp_path / "onnx", splits, inputs)


@pytest.mark.parametrize("by", ["similarity", "entailment"])
def test_choices_without_training(by: str, tmp_path: Path):
    if by == "similarity":
        model = build_tiny("bert", tmp_path / "tiny")
    else:
        model = tmp_path / "nli"
        train(tmp_path, "nli", output_dir=model)
    rows = CASES["classification"].splits["test"]
    result = reasoner.zero_shot(model, rows, task="classification", by=by, use_cpu=True)
    assert_same(result, tmp_path / "onnx", rows, ["The red lamp is here.", "blue"])


@pytest.mark.parametrize("method", ["lora", "adapter", "prompt"])
def test_methods(method: str, tmp_path: Path):
    if method != "adapter":
        pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    case = CASES["nli"]
    result = train(tmp_path, "nli", method=method)
    assert_same(result, tmp_path / "onnx", case.splits, case.inputs)
    assert result.predictor.model.added is not None, "the model given was changed"


def test_a_network_that_the_exporter_cannot_follow_is_refused(tmp_path: Path):
    pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    result = train(tmp_path, "nli", method="prefix")  # peft makes keys and values for a fixed number of rows
    with pytest.raises(reasoner.ConfigError, match="exporter cannot write BertForSequenceClassification"):
        reasoner.export_onnx(result, tmp_path / "onnx", CASES["nli"].splits)
    assert list((tmp_path / "onnx").iterdir()) == []


def test_eight_bits(tmp_path: Path):
    case = CASES["nli"]
    model = build_tiny("bert", tmp_path / "tiny", width=128)
    result = reasoner.fine_tune(model, case.splits, task="nli", **QUICK)
    report = reasoner.export_onnx(result, tmp_path / "onnx", case.splits, quantized=True)
    small = report["model_int8.onnx"]
    assert small.bytes < 0.5 * report["model.onnx"].bytes
    assert 1e-6 < small.difference < 1
    read = reasoner.load_onnx(tmp_path / "onnx", quantized=True)
    assert read.evaluate(case.splits["test"])["accuracy"] == pytest.approx(small.score)
    assert "model_int8.onnx" in str(report) and "test (6 rows)" in str(report)
    assert "<table" in report._repr_html_() and report.to_dict()["rows"] == 6
    reasoner.export_onnx(result, tmp_path / "onnx", case.splits)
    with pytest.raises(reasoner.CheckpointError, match=r"lacks model_int8\.onnx"):  # of another model now
        reasoner.load_onnx(tmp_path / "onnx", quantized=True)


def test_the_temperature_travels(tmp_path: Path):
    case = CASES["nli"]
    result = train(tmp_path, "nli")
    result.predictor.model.head.temperature = 3.0
    assert_same(result, tmp_path / "onnx", case.splits, case.inputs)


def test_outputs_that_differ_are_refused(tmp_path: Path):
    result = train(tmp_path, "nli")
    with pytest.raises(reasoner.CheckpointError, match="was not kept: an output differs by"):
        reasoner.export_onnx(result, tmp_path / "onnx", CASES["nli"].splits, tolerance=0.0)
    assert list((tmp_path / "onnx").iterdir()) == []


def test_generation_is_refused(tmp_path: Path):
    model = build_tiny("llama", tmp_path / "tiny")
    rows = [{"prompt": "Three and four are", "completion": " seven"}] * 6
    result = reasoner.fine_tune(
        model, {"train": rows, "validation": rows}, task=reasoner.Generation(max_new_tokens=2), **QUICK
    )
    with pytest.raises(reasoner.ConfigError, match="CausalLMHead cannot be exported"):
        reasoner.export_onnx(result, tmp_path / "onnx", rows)
    assert not (tmp_path / "onnx").exists()


def test_a_folder_with_weights_is_left_alone(tmp_path: Path):
    result = train(tmp_path, "nli", output_dir=tmp_path / "model")
    with pytest.raises(reasoner.ConfigError, match="holds the weights of a model"):
        reasoner.export_onnx(tmp_path / "model", tmp_path / "model", CASES["nli"].splits)
    assert reasoner.load(tmp_path / "model").predict(CASES["nli"].inputs[0]) == result.predict(CASES["nli"].inputs[0])


def test_what_an_onnx_model_cannot_do(exported, tmp_path: Path):
    case, (_, folder) = CASES["nli"], exported
    with pytest.raises(reasoner.CheckpointError, match="load_onnx"):
        reasoner.load(folder)
    read = reasoner.load_onnx(folder)
    with pytest.raises(reasoner.CheckpointError, match="Copy the folder"):
        read.save(tmp_path / "again")
    with pytest.raises(reasoner.ConfigError, match="already"):
        reasoner.export_onnx(read, tmp_path / "again", case.splits)
    with pytest.raises(reasoner.ConfigError, match="nothing to merge"):
        read.merge()
    pytest.importorskip("captum", reason="the extra 'explain' is not installed")
    with pytest.raises(reasoner.ConfigError, match="no gradients"):
        reasoner.explain(read, case.inputs[0])


def test_a_damaged_file_is_refused(exported, tmp_path: Path):
    shutil.copytree(exported[1], tmp_path / "onnx")
    file = tmp_path / "onnx" / "model.onnx"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(reasoner.CheckpointError, match="cannot be read by ONNX Runtime"):
        reasoner.load_onnx(tmp_path / "onnx")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from reasoner.onnx_models import graph

    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    with pytest.raises(reasoner.ConfigError, match=r"reasoner-ft\[onnx\]"):
        reasoner.export_onnx(tmp_path, tmp_path / "onnx", [])


def test_the_rest_of_the_library_takes_it(exported):
    case, (result, folder) = CASES["nli"], exported
    read = reasoner.load_onnx(folder, threads=1)
    one, other = (replace(reasoner.robustness(each, case.splits), seed=0) for each in (result, read))
    assert one.mean_flip_rate == other.mean_flip_rate
    assert read.compare(result, case.splits["test"]).difference == 0
