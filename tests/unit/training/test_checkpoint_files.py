"""Is a checkpoint read as it was written, is it there whole or not at all, and is each damage seen?"""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path

import pytest
import torch

from reasoner.errors import CheckpointError
from reasoner.training.checkpoint_files import MANIFEST, fault, read, remove, write

SHARED = torch.arange(6.0)
STATE = {
    "numbers": {
        "step": 3,
        "rate": 0.1 + 0.2,
        "best": None,
        "on": True,
        "name": "é\u2028",
        "bad": [math.inf, -math.inf],
    },
    "nested": [{"a": [SHARED, {"b": SHARED[2:4]}], "z": 1, "y": 2}, (1, 2)],
    "kinds": [
        torch.tensor(3.0),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.arange(3, dtype=torch.uint8),
        torch.randn(3, 4).T,
        torch.randn(5).bfloat16(),
        torch.tensor([math.nan]),
    ],
    "empty": {},
}


def equal(one, other):
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and torch.equal(torch.nan_to_num(one, 7.0), torch.nan_to_num(other, 7.0))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other and type(one) is type(other)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "step-000003"
    write(folder, STATE)
    return folder


def test_what_was_written_is_read(checkpoint):
    assert fault(checkpoint) == ""
    assert equal(STATE, read(checkpoint))
    assert math.isnan(read(checkpoint)["kinds"][-1])
    assert [path.name for path in checkpoint.parent.iterdir()] == ["step-000003"]


def damages(folder: Path):
    """Yield 20 truncations and 20 single bits that are turned, over all files of a checkpoint, and undo each."""
    chance = random.Random(0)
    files = sorted(folder.iterdir())
    for number in range(40):
        path = files[number % len(files)]
        whole = path.read_bytes()
        place = chance.randrange(len(whole))
        if number < 20:
            path.write_bytes(whole[:place])
        else:
            turned = bytearray(whole)
            turned[place] ^= 1 << chance.randrange(8)
            path.write_bytes(turned)
        yield f"{path.name}, byte {place}"
        path.write_bytes(whole)
    for path in files:
        path.rename(path.with_name("gone"))
        yield f"{path.name} is missing"
        path.with_name("gone").rename(path)


def test_each_damage_is_seen(checkpoint):
    assert [damage for damage in damages(checkpoint) if not fault(checkpoint)] == []
    assert fault(checkpoint) == ""


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (MANIFEST, b'{"format": 9, "files": {}}', "format 9"),
        (MANIFEST, b"[" * 100_000, "RecursionError"),
        (MANIFEST, b"[]", "is damaged"),
        (MANIFEST, b"{}", "is damaged"),
        (MANIFEST, b'{"format": 1, "files": 3}', "is damaged"),
        (MANIFEST, b'{"format": 1, "files": {"../x": {}}}', "names '../x', which is outside of it"),
        ("values.json", b"{}", "bytes instead of"),
    ],
)
def test_what_is_wrong_is_said(checkpoint, file, content, said):
    (checkpoint / file).write_bytes(content)
    assert said in fault(checkpoint)


def test_a_changed_file_of_the_same_length_is_named(checkpoint):
    path = checkpoint / "kinds.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    assert fault(checkpoint) == "the content of kinds.safetensors has changed"
    path.unlink()
    assert fault(checkpoint) == "kinds.safetensors is missing"


@pytest.mark.parametrize("state", [{"x": {1, 2}}, {"x": {1: 2}}, {"x": object()}])
def test_what_cannot_be_written_leaves_nothing(tmp_path, state):
    with pytest.raises(TypeError):
        write(tmp_path / "step-000001", {"first": torch.zeros(3), **state})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        write(tmp_path / "file" / "step-000001", STATE)


def test_what_a_killed_write_left_is_no_hindrance(checkpoint):
    left = checkpoint.with_name(".step-000004")
    shutil.copytree(checkpoint, left)
    write(checkpoint.with_name("step-000004"), STATE)
    assert not left.exists() and fault(checkpoint.with_name("step-000004")) == ""


def test_reading_what_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(tmp_path)
    assert fault(tmp_path) == f"{MANIFEST} is missing"


def test_removing(checkpoint):
    remove(checkpoint)
    assert list(checkpoint.parent.iterdir()) == []
