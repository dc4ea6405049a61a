"""Are checkpoints written when they should be, are the right ones kept, and is the newest whole one found?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import collect
from reasoner.training import checkpoints as module
from reasoner.training.checkpoint_files import read
from reasoner.training.checkpoints import Checkpoints, CheckpointWriter
from reasoner.training.interrupts import Interrupts
from reasoner.training.ranks import ALONE


def state(step):
    return {"trainer": {"step": step}, "learned": [torch.full((100,), float(step))]}


def names(folder: Path):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_are_kept(tmp_path):
    kept = Checkpoints(tmp_path / "all", keep=2)
    for step in (9, 10, 999_999, 1_000_000):
        kept.write(step, state(step))
    assert [path.name for path in kept.all()] == ["step-1000000", "step-999999"]
    assert read(kept.newest())["trainer"]["step"] == 1_000_000
    kept.clear()
    assert kept.all() == [] and not kept.folder.exists() and kept.newest() is None


def test_a_damaged_one_is_passed_over_and_set_aside(tmp_path):
    kept = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        kept.write(step, state(step))
    (tmp_path / "step-000003" / "manifest.json").unlink()
    path = tmp_path / "step-000002" / "learned.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    (tmp_path / ".step-000004").mkdir()
    with collect() as said:
        assert read(kept.newest())["trainer"]["step"] == 1
    assert said == [
        "step-000004 was being written or removed when its process ended: it is no checkpoint.",
        "A checkpoint was passed over, step-000003: manifest.json is missing.",
        "A checkpoint was passed over, step-000002: learned.safetensors has "
        f"{path_size(tmp_path) - 4} bytes instead of {path_size(tmp_path)}.",
    ]
    assert names(tmp_path) == ["damaged-step-000002", "damaged-step-000003", "step-000001"]
    kept.write(2, state(2))  # made again
    kept.write(3, state(3))
    kept.write(4, state(4))
    assert [path.name for path in kept.all()] == ["step-000004", "step-000003", "step-000002"]


def path_size(folder: Path):
    return (folder / "step-000001" / "learned.safetensors").stat().st_size


def test_none_that_is_whole_is_an_error(tmp_path):
    kept = Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        kept.write(step, state(step))
        (tmp_path / f"step-00000{step}" / "values.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"step-000002: values.json has .*; step-000001: .* leave resume out"):
        kept.newest()
    assert names(tmp_path) == ["step-000001", "step-000002"]


def test_a_new_run_sets_those_of_an_earlier_one_aside(tmp_path):
    for step in (1, 2):  # twice: the first is kept as well
        kept = Checkpoints(tmp_path / "checkpoints")
        kept.write(step, state(step))
        with collect() as said:
            kept.set_aside()
        assert "did not end" in said[0] and f"step-00000{step}" in said[0]
        assert ("stop, rename that to 'checkpoints'" in said[0]) and kept.newest() is None
    assert names(tmp_path) == ["checkpoints.previous", "checkpoints.previous-2"]
    assert names(tmp_path / "checkpoints.previous") == ["step-000001"]
    (tmp_path / "checkpoints.previous").rename(tmp_path / "checkpoints")
    assert kept.newest().name == "step-000001"
    (tmp_path / "checkpoints").rename(tmp_path / "again")
    with collect() as said:
        kept.set_aside()
    assert said == []


class Scene:
    """A writer, and a trainer that says it is at some step."""

    def __init__(self, folder, steps=None):
        self.checkpoints = Checkpoints(folder, keep=100)
        self.interrupts = Interrupts()
        self.writer = CheckpointWriter(self.checkpoints, steps=steps, made_of={"a": 1}, interrupts=self.interrupts)
        self.writer.on_train_begin(self.trainer(0))

    def trainer(self, step, done=False):
        return SimpleNamespace(step=step, total_steps=9, done=done, ranks=ALONE, state_dict=lambda: state(step))

    @property
    def steps(self):
        return [int(path.name[5:]) for path in reversed(self.checkpoints.all())]


def test_every_so_many_steps_and_at_the_end(tmp_path):
    scene = Scene(tmp_path, steps=3)
    for step in range(1, 9):
        scene.writer.on_step_end(scene.trainer(step))
    scene.writer.on_epoch_end(scene.trainer(8))
    assert scene.steps == [3, 6]
    scene.writer.on_epoch_end(scene.trainer(8, done=True))
    assert scene.steps == [3, 6, 8]
    assert read(scene.checkpoints.newest())["made_of"] == {"a": 1}


def test_every_so_much_time(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    scene.writer.on_step_end(scene.trainer(1))
    scene.writer.on_epoch_end(scene.trainer(1, done=True))
    assert scene.steps == []  # a short run writes none
    monkeypatch.setattr(module, "EVERY", 0.0)
    scene.writer.on_step_end(scene.trainer(2))
    monkeypatch.setattr(module, "EVERY", 600.0)
    scene.writer.on_step_end(scene.trainer(3))
    assert scene.steps == [2]
    scene.writer.on_epoch_end(scene.trainer(4, done=True))
    assert scene.steps == [2, 4]


def test_what_does_not_fit_is_said_and_training_goes_on(tmp_path):
    scene = Scene(tmp_path / "all", steps=1)
    scene.writer.on_step_end(scene.trainer(1))
    (tmp_path / "all" / ".step-000002").write_text("in the way, as no folder can be made on a full disk")
    with collect() as said:
        scene.writer.on_step_end(scene.trainer(2))
        assert scene.steps == [1]
        (tmp_path / "all" / ".step-000002").unlink()
        scene.writer.on_step_end(scene.trainer(3))
    assert len(said) == 1 and "could not be written" in said[0] and said[0].endswith("step-000001 is the last one.")
    assert scene.steps == [1, 3]


def test_a_callback_with_something_else_in_its_state_is_an_error(tmp_path):
    scene = Scene(tmp_path, steps=1)
    trainer = scene.trainer(1)
    trainer.state_dict = lambda: {"callbacks": [{"state": {"rows": {1, 2}}}]}
    with pytest.raises(ConfigError, match="state_dict of your callbacks"):
        scene.writer.on_step_end(trainer)
