"""Does a program pass its tests? It is run in a process of its own that has given up whatever could do harm."""

from __future__ import annotations

import json
import os
import platform
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from reasoner.errors import ConfigError
from reasoner.notices import say

CHILD = Path(__file__).with_name("child.py")
PASSED, NO_PYTHON = "passed", "no Python"
SHOWN = 300
"""How many characters of an error are kept."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may take."""

    seconds: float = 5.0
    """Seconds on the clock, the start of Python (about 0.1) counted; processor time is limited to one more."""
    memory_mb: int = 512
    """Address space in MiB, Python's own (about 30) counted."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 3600:
            raise ConfigError(f"Limits: seconds is {self.seconds!r}. Give a number above 0, and at most 3600.")
        if not 64 <= self.memory_mb <= 2**20:
            raise ConfigError(f"Limits: memory_mb is {self.memory_mb!r}. Give a whole number from 64 to {2**20}.")


class Execution(NamedTuple):
    """What came of a program."""

    passed: bool
    """Whether the program and all its tests ran to their end without an error."""
    timed_out: bool
    """Whether it was ended because its time was over."""
    compiled: bool
    """Whether it is Python at all."""
    reason: str
    """Why it did not pass. The text of an error is the program's own, and may say anything."""


def execute(
    program: str,
    tests: str = "",
    *,
    names: Iterable[str] = (),
    limits: Limits | None = None,
    allow_execution: bool = False,
) -> Execution:
    """Run `program`, then `tests` in the names that it defined, in a process that can do no harm.

    The process has a folder of its own, an empty environment and no output. It can start no process or thread, open no
    socket, signal nobody and write no file, and reads the Python installation alone. docs/verifiers.md says which of
    this is a wall.

    Args:
        program: Python source.
        tests: Python source that raises an error if the program is wrong. It sees the builtins as they were before
            the program ran.
        names: Names of builtins that the program is asked to define anew (`sum`, say), and that the tests mean.
        limits: Seconds and memory; by default those of `Limits()`.
        allow_execution: Must be True: to run what a model wrote is a decision.

    Raises:
        ConfigError: without `allow_execution=True`, or where the walls cannot be built: elsewhere than on Linux,
            on a processor other than x86_64 and aarch64, or if the kernel refuses seccomp.
    """
    require_permission(allow_execution)
    require_walls()
    job = {"program": program, "tests": tests, "names": sorted(names), "probe": False}
    reply, timed_out = _run(job, limits or Limits())
    passed, compiled = reply == PASSED, not reply.startswith(NO_PYTHON)
    return Execution(passed, timed_out, compiled, "" if passed else reply)


def require_permission(allow_execution: bool) -> None:
    """Refuse to run programs of which nobody said that they may be run.

    Raises:
        ConfigError: unless `allow_execution` is True.
    """
    if allow_execution is not True:
        raise ConfigError(
            "To verify code is to run programs that nobody has read. Read docs/verifiers.md on what holds them, then "
            "pass allow_execution=True."
        )


@lru_cache(maxsize=1)
def require_walls() -> None:
    """See once whether this system can wall a process in.

    Raises:
        ConfigError: if it cannot; no program is then run.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
        raise ConfigError(
            f"Programs are run on Linux (x86_64, aarch64) alone, where they can be walled in; this is {sys.platform} "
            f"on {machine}. Use a Linux machine or container."
        )
    reply, _ = _run({"program": "", "tests": "", "names": [], "probe": True}, Limits(seconds=60))
    if reply not in ("walls", "no wall for files"):
        raise ConfigError(f"No program is run here: the kernel refuses seccomp, which walls it in ({reply}).")
    if reply != "walls":
        say("Programs that are run here can read any file that you can read: the kernel has no Landlock. They can "
            "write none, and have no network.")  # fmt: skip


def _run(job: dict[str, Any], limits: Limits) -> tuple[str, bool]:
    """Run a job; return what came of it, and whether its time was over.

    Only what stands behind the secret word comes from the child itself: `PASSED`, `NO_PYTHON`, or of its walls.
    All else may come from the program, and is made to be none of them.
    """
    word = secrets.token_hex(16)
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    limited = {"seconds": limits.seconds, "memory_mb": limits.memory_mb}
    message = json.dumps({**job, **limited, "word": word, "channel": theirs}).encode()
    try:
        with tempfile.TemporaryDirectory(prefix="reasoner-") as folder:
            status = _wait(message, theirs, folder, limits.seconds)
        said = _read(ours)
    finally:
        os.close(ours)
        os.close(theirs)
    if said.startswith(word):
        return said.removeprefix(word)[:SHOWN], False
    if status in (None, -signal.SIGXCPU, -signal.SIGKILL):
        return f"ended after {limits.seconds:g} seconds", True
    return f"failed: {said[:SHOWN]}" if said else f"ended before its tests had (exit status {status})", False


def _wait(message: bytes, channel: int, folder: str, seconds: float) -> int | None:
    """Start the process and give its exit status, or None if it was killed because its time was over."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # else NumPy asks for threads, and gets none
        pass_fds=(channel,),
        start_new_session=True,
    )
    try:
        process.communicate(message, timeout=seconds)
        return process.returncode
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(channel: int) -> str:
    """Return what lies in the pipe, at most 64 KiB: a process that writes more waits until its time is over."""
    try:
        return os.read(channel, 2**16).decode("utf-8", "replace")
    except BlockingIOError:
        return ""
