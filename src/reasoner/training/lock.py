"""Does another run work in this folder?"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import say

LOCK_FILE = ".lock"
_held: set[Path] = set()
"""Locks of this process: another one with its number may have left one."""
_UNREADABLE = 2.0
"""Seconds after which a lock that says nothing has no owner any more: who makes one writes into it at once."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other run work in a folder, which is made if need be, inside the block.

    The lock is a file that says who has it: process, host and time. What a process left that is gone is taken over, and
    that is said. A folder that was made and stays empty is removed.

    Raises:
        ConfigError: if another run is at work there.
        CheckpointError: if the folder cannot be written.
    """
    path = folder.absolute() / LOCK_FILE
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not _taken(path):
            _clear(path)
    except OSError as error:
        raise CheckpointError(
            f"The folder '{folder}' cannot be written: {error}. Choose another output_dir."
        ) from error
    _held.add(path)
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # not in a process that was forked off meanwhile
            _held.discard(path)
            path.unlink(missing_ok=True)
            if made:
                with suppress(OSError):
                    folder.rmdir()


def _taken(path: Path) -> bool:
    """Make the lock, if there is none; return whether it was made."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    owner = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "process_started": _started(os.getpid()),
    }
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(owner, file)
    return True


def _clear(path: Path) -> None:
    """Remove a lock whose owner is gone; refuse if it is not.

    Raises:
        ConfigError: if the owner is at work, or that cannot be known.
    """
    try:
        text = path.read_text("utf-8")
        owner = _owner(text)
        if not owner and time.time() - path.stat().st_mtime < _UNREADABLE:
            time.sleep(0.1)
            return
    except FileNotFoundError:
        return
    if owner and (reason := _reason_to_wait(path, owner)):
        who = f"process {owner['pid']} on {owner['host']}, since {owner['time']}"
        raise ConfigError(f"'{path.parent}' is in use by {who}. {reason}")
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if aside.read_text("utf-8") != text and not path.exists():  # someone else was quicker: it is theirs
            aside.rename(path)
            return
        aside.unlink()
        who = f"process {owner['pid']}, which began at {owner['time']}" if owner else "a process that left no name"
        say(f"'{path.parent.name}' was locked by {who} and is gone: the lock was removed.")


def _owner(text: str) -> dict[str, Any]:
    """Return what a lock says; nothing if it cannot be read."""
    try:
        owner = json.loads(text)
        return {**owner, "pid": int(owner["pid"]), "host": str(owner["host"]), "time": str(owner["time"])}
    except (ValueError, KeyError, TypeError):
        return {}


def _reason_to_wait(path: Path, owner: dict[str, Any]) -> str:
    """Return what is to be done about a lock whose owner may be alive; nothing if it is gone."""
    if owner["host"] != socket.gethostname():
        return f"From here it cannot be seen whether it still is: if not, delete '{path}'."
    if owner["pid"] == os.getpid():
        gone = path not in _held
    elif os.name == "posix":
        gone = _is_gone(owner["pid"], owner.get("process_started"))
    else:  # on Windows what asks for a process would end it
        return f"If that process has ended, delete '{path}'; or give another output_dir."
    return "" if gone else "Wait until it has ended, or give another output_dir."


def _is_gone(pid: int, started: str | None) -> bool:
    """Return whether a process of this host has ended; its number may have been given to another one since."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        pass
    return started is not None and _started(pid) != started


def _started(pid: int) -> str | None:
    """Return when a process began, in the clock of the kernel; None where that is not told, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # proc(5): field 3 is the state, field 22 the start
