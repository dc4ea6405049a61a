"""Is a setting read back as it was written, and is a file that holds none refused?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reasoner.errors import ConfigError
from reasoner.experiments.settings import read_settings, write_settings
from reasoner.methods.freeze import Freeze
from reasoner.methods.full import Full
from reasoner.training.config import TrainingConfig


@pytest.mark.parametrize("method", [Full(), Freeze(layers=3, embeddings=False)])
def test_it_is_read_as_it_was_written(method: Any, tmp_path: Path) -> None:
    config = TrainingConfig(learning_rate=2e-5, seed=3, max_length=64)
    write_settings(tmp_path / "a.json", method, config, found={"value": 0.5})
    assert read_settings(tmp_path / "a.json") == {"method": method, "config": config}
    assert json.loads((tmp_path / "a.json").read_text())["found"] == {"value": 0.5}


def test_a_method_that_nobody_could_read_again_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Mine(Full):
        pass

    with pytest.raises(ConfigError, match="Mine is not registered"):
        write_settings(tmp_path / "a.json", Mine(), TrainingConfig())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "holds no settings"),
        ("[]", "holds no settings"),
        ('{"method": {"name": "full", "settings": {}}}', "holds no settings"),
        ('{"method": {"name": "ful", "settings": {}}, "config": {}}', "no method named 'ful'. Did you mean 'full'"),
        ('{"method": {"name": "freeze", "settings": {"layer": 1}}, "config": {}}', "no setting named 'layer'"),
        ('{"method": {"name": "full", "settings": {}}, "config": {"sed": 1}}', "no setting named 'sed'"),
    ],
)
def test_a_file_that_holds_none_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_settings(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="holds no settings"):
        read_settings(tmp_path / "none.json")
