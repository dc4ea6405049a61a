"""Does a head of one's own, in one file, get all that ours get: training, early stopping, saving, loading elsewhere?"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from task_cases import assert_close
from transformers import AutoModel

import reasoner
from reasoner.registry import TABLES
from reasoner.testing import check_head, check_task

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_head.py"
INPUTS = ["This kettle is superb. We use it every day.", "My new bag is broken.", "The lamp is fair."]

ELSEWHERE = """
import json, sys
import reasoner

folder, inputs = sys.argv[1], json.loads(sys.argv[2])
try:
    reasoner.load(folder)
except reasoner.CheckpointError as error:
    refused = str(error)
else:
    refused = ""
import custom_head

print(json.dumps({"refused": refused, "predictions": reasoner.load(folder).predict(inputs)}))
"""


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module; what it registers is taken out again."""
    before = dict(TABLES["head"])
    spec = importlib.util.spec_from_file_location("custom_head", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    TABLES["head"].clear()
    TABLES["head"].update(before)


@pytest.fixture(scope="module")
def trained(example: Any, lively_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[reasoner.Result, Path]:
    folder = tmp_path_factory.mktemp("custom") / "model"
    settings = {"num_train_epochs": 30, "learning_rate": 5e-3, "per_device_train_batch_size": 32, "use_cpu": True}
    return example.train(str(folder), model=lively_bert, **settings), folder


def test_the_head_takes_at_most_forty_lines() -> None:
    classes = [node for node in ast.parse(EXAMPLE.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    (head,) = [node for node in classes if any("TaskHead" in ast.unparse(base) for base in node.bases)]
    assert head.end_lineno is not None and head.end_lineno - head.lineno + 1 <= 40
    assert any(isinstance(node, ast.FunctionDef) and node.name == "loss" for node in head.body)


def test_it_keeps_the_contract(example: Any, lively_bert: Path) -> None:
    rows, task = example.reviews(20, 0), reasoner.Classification(head="ordinal")
    check_head("ordinal", task="classification", rows=rows, model=lively_bert)
    check_task(task, rows, model=lively_bert, inputs=INPUTS, perfect=lambda row: {"label": str(row.label)})


def test_it_trains_and_stops_early(trained: tuple[reasoner.Result, Path]) -> None:
    result, _ = trained
    assert result.run.stopped_early and result.run.best_step is not None
    assert result.metrics["train"]["epochs"] < 30
    assert result.metrics["test"]["macro_f1"] > 0.9 > result.metrics["before"]["macro_f1"]
    assert [row["label"] for row in result.predict(INPUTS)] == ["5", "1", "3"]
    for prediction in result.predict(INPUTS):
        assert sum(prediction["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_its_loss_is_the_one_that_is_trained(trained: tuple[reasoner.Result, Path], example: Any) -> None:
    """Frank & Hall's steps by hand: is it more than 1 star, more than 2, ...?"""
    result, _ = trained
    rows = example.reviews(80, 2)
    inputs = result.tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
    mask = inputs["attention_mask"].unsqueeze(-1)
    with torch.inference_mode():
        hidden = result.model(**inputs).last_hidden_state
        logits = result.predictor.model.head.steps((hidden * mask).sum(1) / mask.sum(1))  # (rows, 4)
    above = torch.tensor([[float(int(row["label"]) > step) for step in range(1, 5)] for row in rows])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, above)
    assert result.metrics["test"]["loss"] == pytest.approx(loss.item(), rel=1e-4)


def test_the_folder_is_a_plain_backbone_and_the_head_beside_it(trained: tuple[reasoner.Result, Path]) -> None:
    result, folder = trained
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "head.safetensors", "config.json", "reasoner_config.json"} <= names
    plain = AutoModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(plain[name], value) for name, value in result.model.state_dict().items())
    assert "library_name: reasoner" in (folder / "README.md").read_text("utf-8")


def test_another_process_loads_it_once_the_head_is_imported(trained: tuple[reasoner.Result, Path]) -> None:
    result, folder = trained
    paths = [str(EXAMPLE.parent), str(Path(reasoner.__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", ELSEWHERE, str(folder), json.dumps(INPUTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "There is no head named 'ordinal'." in said["refused"]
    assert "import the module that calls register_head first" in said["refused"]
    assert_close(said["predictions"], result.predict(INPUTS))


def test_a_head_that_nobody_registered_is_refused_here_too(
    trained: tuple[reasoner.Result, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = trained
    monkeypatch.delitem(TABLES["head"], "ordinal")
    with pytest.raises(reasoner.CheckpointError, match=r"needs a part that is not here.*no head named 'ordinal'"):
        reasoner.load(folder)
