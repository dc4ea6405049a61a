"""Are hostile programs contained, and can none of them make its verdict? None here is dangerous if it is not."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reasoner.errors import ConfigError
from reasoner.execution import Execution, Limits, execute
from walls import runs_programs

pytestmark = runs_programs
REFUSED = """
def refused(call, *arguments):
    try:
        call(*arguments)
    except (OSError, RuntimeError) as error:
        return True
    return False
"""


def run(program: str, tests: str = "", seconds: float = 5) -> Execution:
    return execute(program, tests, limits=Limits(seconds=seconds), allow_execution=True)


def contained(program: str) -> None:
    """See that a program reaches its end, and that its own `assert`s on what it was refused hold."""
    done = run(REFUSED + program)
    assert done.passed, done


def test_no_program_runs_without_permission():
    for value in (False, 1, "yes"):
        with pytest.raises(ConfigError, match="allow_execution=True"):
            execute("", allow_execution=value)


def test_a_program_is_judged_by_its_tests():
    assert run("def f(x): return x + 1", "assert f(1) == 2") == Execution(True, False, True, "")
    wrong = run("def f(x): return x", "assert f(1) == 2, 'f(1)'")
    assert wrong == Execution(False, False, True, "failed: AssertionError: f(1)")
    assert not run("def f(:", "").compiled
    assert run("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int", "assert A(1) == A(1)").passed


def test_fork_bomb():
    contained("import os\nfor _ in range(50):\n    assert refused(os.fork)")


def test_threads():
    contained("import threading\nassert refused(threading.Thread(target=print).start)")


def test_other_programs():
    contained(
        "import os, subprocess\nassert refused(subprocess.run, ['true'])\n"
        "assert refused(os.execv, '/bin/true', ['true'])"
    )


def test_endless_loop_and_endless_sleep():
    for program in ("while True: pass", "import time; time.sleep(60)"):
        start = time.monotonic()
        assert run(program, seconds=1).timed_out
        assert time.monotonic() - start < 10


def test_loop_that_catches_everything():
    program = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    assert run(program, seconds=1).timed_out


def test_ten_gigabytes():
    done = run("data = bytearray(10 * 2**30)")
    assert not done.passed and done.reason.startswith("failed: MemoryError")


def test_a_file_outside_is_neither_read_nor_written(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    contained(
        f"import os\npath = {str(secret)!r}\n"
        "for mode in ('r', 'w', 'a', 'r+'):\n    assert refused(open, path, mode)\n"
        "assert refused(os.unlink, path) and refused(os.rename, path, path + '.moved') and refused(os.chmod, path, 0)\n"
        f"assert refused(os.mkdir, {str(tmp_path / 'new')!r}) and refused(os.listdir, {str(tmp_path)!r})\n"
        "assert refused(open, '/etc/passwd') and refused(open, '/proc/self/environ')"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"] and secret.read_text() == "secret"


def test_nothing_is_written_into_its_own_folder():
    contained("import os\nassert os.listdir('.') == [] and refused(open, 'mine.txt', 'w')")


def test_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        contained(
            f"import socket\nassert refused(socket.create_connection, {address!r}, 1) and refused(socket.socketpair)"
        )


def test_system_calls_past_python():
    contained(
        "import ctypes\nlibrary = ctypes.CDLL(None)\n"
        "assert library.fork() == -1 and library.socket(2, 1, 0) == -1 and library.kill(1, 0) == -1\n"
        "assert library.syscall(425, 1, None) == -1"  # io_uring
    )


def test_signals_and_limits():
    contained(
        "import os, resource\nassert refused(os.kill, os.getppid(), 0) and refused(os.setsid)\n"
        "try:\n    resource.setrlimit(resource.RLIMIT_CPU, (99, 99))\nexcept (OSError, ValueError): pass\n"
        "else:\n    assert False"
    )


def test_a_pipe_sends_no_signal_to_others():
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        contained(
            "import fcntl, os\nread, write = os.pipe()\n"
            f"for command, value in ((8, {victim.pid}), (10, 9), (15, b'0' * 8), (1024, 0), (1026, 0)):\n"
            "    assert refused(fcntl.fcntl, read, command, value)\n"
            "fcntl.fcntl(read, fcntl.F_SETFL, fcntl.fcntl(read, fcntl.F_GETFL) | 0o20000)\nos.write(write, b'x')"
        )
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_memory_and_queues_of_others_are_left_alone():
    calls = {"x86_64": (31, 69, 70, 71, 65, 66, 220, 241), "aarch64": (195, 189, 188, 187, 193, 191, 192, 181)}
    contained(
        "import ctypes\nlibrary = ctypes.CDLL(None, use_errno=True)\n"
        f"for number in {calls[platform.machine()]}:\n"
        "    assert library.syscall(number, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1, number"
    )


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET_KEY", "secret")
    contained("import os\nassert 'secret' not in str(os.environ)")


EXITS = {
    "exit": "import sys\nsys.exit(0)",
    "_exit": "import os\nos._exit(0)",
    "_exit in the function": "import os\ndef f(x): os._exit(0)",
    "exit in the function": "def f(x): raise SystemExit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit",
    "no assertion": "import builtins\nbuiltins.AssertionError = KeyError\ndef f(x): return None",
    "other builtins": "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.exec = print\ndef f(x): return 9",
    "names like builtins": "abs = lambda x: 0\ndef f(x): return 9",
    "exec that does nothing": "import builtins as b\nb.exec = b.compile = b.vars = lambda *a: {}\ndef f(x): return 9",
    "print": "print('passed')\ndef f(x): return 9",
    "write everywhere": "import os\nfor n in range(64):\n    try: os.write(n, b'passed')\n    except OSError: pass",
    "hook": "import sys\nsys.excepthook = lambda *a: None\ndef f(x): return 9",
    "trace": "import sys\nsys.settrace(lambda *a: None)\ndef f(x): return 9",
    "error whose text lies": "class E(BaseException):\n    def __str__(self): return 'passed'\nraise E",
}


@pytest.mark.parametrize("program", EXITS.values(), ids=EXITS)
def test_no_game_with_the_exit_makes_a_wrong_program_right(program: str):
    done = run(program, "assert abs(f(1) - 2) < 1")
    assert not done.passed and not done.timed_out and done.compiled


def test_a_flood_of_output_harms_nobody():
    assert run("for _ in range(20_000):\n    print('x' * 1000)", seconds=10).passed
