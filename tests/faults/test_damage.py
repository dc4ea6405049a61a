"""Is a damaged checkpoint recognised and passed over, and does a full disk leave the last one whole?"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fault_runs import Break, Broken, assert_same_run, outcome, tune

from reasoner.errors import CheckpointError
from reasoner.notices import collect
from reasoner.training.checkpoint_files import read
from reasoner.training.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def broken_off(tiny_bert, rows_of, tmp_path_factory) -> Path:
    """The folder of a run that was broken off, with the checkpoints of steps 4 and 6; nobody writes into it."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    with pytest.raises(Broken):
        tune(tiny_bert, rows_of("Classification"), folder, callbacks=[Break("step", 8)], keep_checkpoints=2)
    assert [path.name for path in Checkpoints(folder / "checkpoints").all()] == ["step-000006", "step-000004"]
    return folder


def damage(folder: Path, number: int) -> None:
    """Cut off the end of a file of a checkpoint, or turn one bit; which and where depends on the number."""
    chance = random.Random(number)
    path = chance.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    if number % 2:
        del content[place:]
    else:
        content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def test_the_newest_of_two_damaged(broken_off, tmp_path):
    for number in range(40):
        folder = tmp_path / f"{number}"
        shutil.copytree(broken_off / "checkpoints", folder)
        damage(folder / "step-000006", number)
        with collect() as said:
            newest = Checkpoints(folder).newest()
        assert newest is not None and newest.name == "step-000004" and read(newest)["trainer"]["step"] == 4
        assert len(said) == 1 and said[0].startswith("A checkpoint was passed over, step-000006: ")


def test_the_only_one_damaged(broken_off, tmp_path):
    for number in range(40):
        folder = tmp_path / f"{number}"
        shutil.copytree(broken_off / "checkpoints" / "step-000004", folder / "step-000004")
        damage(folder / "step-000004", number)
        with pytest.raises(CheckpointError, match=r"step-000004: .* To begin anew, leave resume out"):
            Checkpoints(folder).newest()


def test_a_run_goes_on_from_the_one_before(broken_off, tiny_bert, rows_of, tmp_path):
    rows = rows_of("Classification")
    whole = tune(tiny_bert, rows, tmp_path / "whole", callbacks=[Break()])
    folder = tmp_path / "run"
    shutil.copytree(broken_off, folder)
    damage(folder / "checkpoints" / "step-000006", 1)
    result = tune(tiny_bert, rows, folder, callbacks=[Break()], resume=True)
    assert_same_run(result, whole)
    assert any("after step 4" in notice for notice in result.run.notices)
    assert any("step-000006" in notice for notice in result.run.notices)


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from conftest import task_rows
from fault_runs import FullDisk, tune
model, folder, ballast, step = Path(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]), int(sys.argv[6])
tune(model, task_rows("Classification"), folder, callbacks=[FullDisk(ballast if step else None, step)], resume=True)
"""
TESTS = Path(__file__).parents[1]


def run_on(disk: Path, model: Path, step: int) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own; at this step, if it is not 0, the disk is filled."""
    arguments = [TESTS, TESTS / "faults", model, disk / "run", disk / "ballast", step]
    return subprocess.run([sys.executable, "-c", ON_A_SMALL_DISK, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_nothing(small_disk, small_bert, tmp_path):
    (tmp_path / "other").mkdir()
    whole = run_on(tmp_path / "other", small_bert, 0)
    assert whole.returncode == 0, whole.stderr
    full = run_on(small_disk, small_bert, 7)
    assert "could not be written" in full.stderr and "step-000006 is the last one" in full.stderr
    assert "No space left on device" in full.stderr
    assert full.returncode == 1 and "CheckpointError: The model could not be saved" in full.stderr
    assert not (small_disk / "run" / ".lock").exists()
    (small_disk / "ballast").unlink()
    done = run_on(small_disk, small_bert, 0)
    assert done.returncode == 0, done.stderr
    assert "Training goes on after step 6" in done.stderr
    assert outcome(small_disk / "run") == outcome(tmp_path / "other" / "run")


@pytest.fixture(scope="module")
def small_bert(tmp_path_factory) -> Path:
    """A model so small that a file system of 2 MB holds it and two checkpoints."""
    from tiny import build_tiny

    return build_tiny("bert", tmp_path_factory.mktemp("small"), width=8, layers=1)
