"""What do the integration tests share? Tiny models whose outputs depend visibly on their inputs, and a watched call."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from task_cases import Files, write_files

import reasoner

INITIALIZER_RANGE = 0.2
"""About 1 / sqrt(width). With the usual 0.02 a model of width 32 gives the same logits for all texts, to 1e-5: nothing
that goes wrong between a text and its logits would be seen."""


@pytest.fixture(scope="session")
def lively_models(
    tiny_models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """`lively_models("bert")` is the folder of a tiny model of that architecture; nobody may write into it."""
    folders: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in folders:
            made = tmp_path_factory.mktemp(f"lively-{architecture}")
            folders[architecture] = _enlivened(tiny_models(architecture), made)
        return folders[architecture]

    return folder


@pytest.fixture(scope="session")
def lively_bert(lively_models: Callable[[str], Path]) -> Path:
    """The folder of such a BERT."""
    return lively_models("bert")


@pytest.fixture
def refused(
    lively_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., reasoner.ReasonerError]:
    """Call `fine_tune` on files; return its error, having seen that nothing was trained, written or overwritten."""

    def no_training(*arguments: Any, **settings: Any) -> None:
        pytest.fail("training was reached")

    monkeypatch.setattr("reasoner.tuning.Trainer", no_training)

    def call(files: Files, task: Any, **settings: Any) -> reasoner.ReasonerError:
        data = write_files(files, tmp_path / "data")
        earlier = tmp_path / "earlier"
        earlier.mkdir()
        for name in ("model.safetensors", "config.json", "reasoner_config.json", "history.jsonl", "README.md", "notes"):
            (earlier / name).write_bytes(f"earlier {name}".encode())
        before = _contents(earlier)
        errors = []
        for folder in (earlier, tmp_path / "new"):
            with pytest.raises(reasoner.ReasonerError) as caught:
                reasoner.fine_tune(lively_bert, data, task=task, output_dir=folder, **settings)
            errors.append(caught.value)
        assert _contents(earlier) == before
        assert not (tmp_path / "new").exists()
        assert str(errors[0]) == str(errors[1])
        return errors[0]

    return call


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _enlivened(source: Path, folder: Path) -> Path:
    import torch
    from transformers import AutoConfig, AutoModel

    shutil.copytree(source, folder, dirs_exist_ok=True)
    config = AutoConfig.from_pretrained(source, initializer_range=INITIALIZER_RANGE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder
