"""Is a second run kept out of a folder, and is a lock without an owner recognised?"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import collect
from reasoner.training.lock import LOCK_FILE, locked

HOLD = """
import sys
from pathlib import Path
from reasoner.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder):
    """Start a process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def entered(folder):
    with collect() as said, locked(folder):
        owner = json.loads((folder / LOCK_FILE).read_text())
    return owner, said


def leave(folder, **changes):
    folder.mkdir(exist_ok=True)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "time": "2020-02-02", "process_started": "1", **changes}
    (folder / LOCK_FILE).write_text(json.dumps(owner))


def test_it_says_whose_it_is_and_goes(tmp_path):
    owner, said = entered(tmp_path)
    assert owner["pid"] == os.getpid() and owner["host"] == socket.gethostname() and not said
    assert list(tmp_path.iterdir()) == []


def test_it_goes_after_an_error_and_with_it_a_folder_that_stayed_empty(tmp_path):
    folder = tmp_path / "new" / "one"
    for write in (True, False):
        with pytest.raises(KeyboardInterrupt), locked(folder):
            if write:
                (folder / "file").write_text("")
            raise KeyboardInterrupt
        assert folder.exists() == write
        if write:
            (folder / "file").unlink()
            folder.rmdir()


def test_a_second_run_is_refused_while_the_first_is_alive(tmp_path):
    process = holder(tmp_path)
    owner = json.loads((tmp_path / LOCK_FILE).read_text())
    with pytest.raises(ConfigError) as refused, locked(tmp_path):
        pass
    for part in (str(process.pid), owner["time"], owner["host"], "Wait until it has ended"):
        assert part in str(refused.value)
    process.communicate("")
    assert entered(tmp_path)[1] == []


def test_nor_does_one_process_enter_twice(tmp_path):
    with locked(tmp_path), pytest.raises(ConfigError, match=str(os.getpid())), locked(tmp_path / "."):
        pass
    entered(tmp_path)


def test_a_killed_process_leaves_a_lock_that_is_recognised(tmp_path):
    process = holder(tmp_path)
    process.kill()
    if sys.platform.startswith("linux"):  # elsewhere one that was not waited for counts as alive
        time.sleep(0.5)
    else:
        process.wait()
    _, said = entered(tmp_path)
    assert len(said) == 1 and re.search(rf"process {process.pid}, which began at .* and is gone", said[0])
    process.communicate()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_lock_that_says_nothing_has_no_owner(tmp_path, text):
    (tmp_path / LOCK_FILE).write_text(text)
    old = time.time() - 60
    os.utime(tmp_path / LOCK_FILE, (old, old))
    _, said = entered(tmp_path)
    assert "left no name" in said[0]


def test_an_own_number_from_an_earlier_life_is_no_owner(tmp_path):
    leave(tmp_path)
    assert "is gone" in entered(tmp_path)[1][0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells when a process began")
def test_a_number_that_another_process_has_now_is_no_owner(tmp_path):
    leave(tmp_path, pid=os.getppid())
    assert "is gone" in entered(tmp_path)[1][0]


def test_of_another_host_nothing_can_be_known(tmp_path):
    leave(tmp_path, host="elsewhere")
    with pytest.raises(ConfigError, match=r"on elsewhere, since 2020-02-02.*if not, delete '.*\.lock'"):
        entered(tmp_path)
    assert (tmp_path / LOCK_FILE).exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="Choose another output_dir"), locked(tmp_path / "file" / "folder"):
        pass
