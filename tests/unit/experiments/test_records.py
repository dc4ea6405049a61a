"""Are records whole or not there, and is one that is broken, or of a failure, not taken for a finished run?"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from reasoner.errors import ConfigError
from reasoner.experiments.records import Records, write_json
from reasoner.notices import collect


def test_a_record_is_found_as_it_was_kept(tmp_path: Path) -> None:
    records = Records(tmp_path / "out")
    kept = records.keep("a", {"error": None, "scores": [1.0, math.nan, {"x": math.inf}], "n": (1, "ü")})
    assert kept == {"error": None, "scores": [1.0, None, {"x": None}], "n": [1, "ü"]}
    assert Records(tmp_path / "out").find("a") == kept
    assert records.find("b") is None
    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == ["a.json"]


def test_a_failure_is_kept_for_people_and_not_found(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.keep("a", {"error": "ValueError: no"})
    assert records.find("a") is None
    assert json.loads((tmp_path / "runs" / "a.json").read_text()) == {"error": "ValueError: no"}


@pytest.mark.parametrize("content", ["", '{"error": null', "[]", "{}", "\udcff"])
def test_a_broken_record_is_said_and_made_anew(content: str, tmp_path: Path) -> None:
    records = Records(tmp_path)
    (tmp_path / "runs" / "a.json").write_text(content, errors="surrogateescape")
    with collect() as said:
        assert records.find("a") is None
    assert said == ["a.json cannot be read; the run is made again."]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = Records(None)
    assert records.keep("a", {"error": None}) == {"error": None}
    assert records.find("a") is None and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output_dir '.*file' cannot be written"):
        Records(tmp_path / "file")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    for values in ({"new": object()}, {"new": math.nan}):
        with pytest.raises((TypeError, ValueError)):
            write_json(tmp_path / "a.json", values)
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
