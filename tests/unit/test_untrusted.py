"""Is what leads out of a model folder seen, and is what only looks so let through?"""

from __future__ import annotations

import json

import pytest

from reasoner.untrusted import DEEPEST_JSON, LARGEST_JSON, problem_of


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a": ', "}")])
def test_depth_is_counted_outside_of_strings(tmp_path, opens, closes):
    path = tmp_path / "config.json"
    for text, is_deep in (
        (opens * DEEPEST_JSON + "1" + closes * DEEPEST_JSON, False),
        (opens * (DEEPEST_JSON + 1) + "1" + closes * (DEEPEST_JSON + 1), True),
        (opens * 100_000 + "1" + closes * 100_000, True),
        (json.dumps({"vocabulary": ["[" * 500, "{" * 500]}), False),
        ("[" * 500, False),  # no JSON: whoever reads it says so
        ("", False),
    ):
        path.write_text(text)
        found = problem_of(tmp_path)
        assert ("nested" in found) if is_deep else found is None


def test_size(tmp_path):
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    assert "64 MiB" in problem_of(tmp_path)
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.write(b" " * 10)
    assert problem_of(tmp_path) is None


def test_the_hubs_cache_is_made_of_links(tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "0a1b"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "77").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/77")
    assert problem_of(snapshot) is None
    (tmp_path / "secret.json").write_text("{}")
    (snapshot / "other.json").symlink_to("../../../secret.json")
    assert "link out of the folder" in problem_of(snapshot)


def test_a_folder_that_is_a_link_itself_and_links_inside(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "weights").write_text("")
    (real / "model.safetensors").symlink_to("weights")
    (tmp_path / "link").symlink_to("real")
    assert problem_of(tmp_path / "link") is None


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "..\\x.safetensors", ".."])
def test_an_index_has_plain_names(tmp_path, name):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": name}}))
    assert "outside of the folder" in problem_of(tmp_path)
    for fine in ({"weight_map": {"a": "model-1.safetensors"}}, {}, [], {"weight_map": 3}):
        path.write_text(json.dumps(fine))
        assert problem_of(tmp_path) is None
