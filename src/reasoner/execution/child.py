"""How does a process wall itself in before it runs a program that nobody has read? Started as a script, never imported.

It reads a job from its standard input, gives up what it may do, for good (limits, Landlock, seccomp), runs the
program and its tests, and writes the word that the job holds only when all tests have run without an error.
Nothing of the library is imported here: the process runs `python -I`.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import platform
import resource
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""The kernel's number of an architecture, and its column below."""

DENIED: dict[str, tuple[int | None, int | None]] = {
    # new processes and threads, signals, other processes
    **{"clone": (56, 220), "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281)},
    **{"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "ptrace": (101, 117)},
    **{"rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "setsid": (112, 157), "setpgid": (109, 154)},
    **{"process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272)},
    # the network, and memory that outlives the process or that no limit counts
    **{"socket": (41, 198), "socketpair": (53, 199), "memfd_create": (319, 279)},
    **{"shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)},
    **{"shmctl": (31, 195), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "semop": (65, 193)},
    **{"semctl": (66, 191), "semtimedop": (220, 192), "mq_unlink": (241, 181)},
    # limits, priorities, identity, namespaces, the machine
    **{"setrlimit": (160, 164), "prlimit64": (302, 261), "setpriority": (141, 140), "sched_setattr": (314, 274)},
    **{"sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "ioprio_set": (251, 30)},
    **{"sched_setaffinity": (203, 122), "setuid": (105, 146), "setgid": (106, 144), "setresuid": (117, 147)},
    **{"setresgid": (119, 149), "setreuid": (113, 145), "setregid": (114, 143), "setgroups": (116, 159)},
    **{"capset": (126, 91), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39)},
    **{"pivot_root": (155, 41), "chroot": (161, 51), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225)},
    **{"sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170), "adjtimex": (159, 171)},
    **{"clock_settime": (227, 112), "clock_adjtime": (305, 266), "init_module": (175, 105), "bpf": (321, 280)},
    **{"finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "quotactl": (179, 60)},
    **{"kexec_file_load": (320, 294), "acct": (163, 89), "syslog": (103, 116), "perf_event_open": (298, 241)},
    **{"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "userfaultfd": (323, 282)},
    **{"iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "vhangup": (153, 58)},
    **{"personality": (135, 92), "io_setup": (206, 0), "open_by_handle_at": (304, 265), "ioctl": (16, 29)},
    # whatever changes a file or a folder; opening for writing is denied by its flags
    **{"creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "fallocate": (285, 47)},
    **{"unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None), "mkdir": (83, None), "mkdirat": (258, 34)},
    **{"rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37)},
    **{"symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33)},
    **{"chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55)},
    **{"lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None)},
    **{"futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6)},
    **{"fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16)},
    **{"flock": (73, 32), "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262)},
}
"""System calls that are refused, by their numbers on x86_64 and aarch64; None: there is no such call."""
OPENING = {"open": (2, None, 1), "openat": (257, 56, 2)}
"""Calls that open a file: their numbers, and which argument holds the flags."""
FCNTL = (72, 25)
"""The numbers of `fcntl`, by which a pipe could be told to send a signal to any process of the user."""
FCNTL_ALLOWED = (0, 1, 2, 3, 4, 1030)
"""What it may be asked for: a copy of a descriptor, and flags (F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, and
F_DUPFD_CLOEXEC)."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FIRST_NEWER = 424
"""From this number on, calls have the same number everywhere (io_uring, clone3, openat2): all said to be unknown."""

READABLE = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/dev/null")
"""What a program may read beside the Python installation and its own empty folder."""


class Instruction(ctypes.Structure):
    """One instruction of a filter of system calls, as `struct sock_filter` in linux/filter.h."""

    _fields_ = [("code", ctypes.c_uint16), ("true", ctypes.c_uint8), ("false", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class Filter(ctypes.Structure):
    """A filter and its length, as `struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


class Beneath(ctypes.Structure):
    """What is allowed beneath a folder, as `struct landlock_path_beneath_attr` in linux/landlock.h."""

    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def limit(seconds: float, memory_mb: int) -> None:
    """Set hard limits on processor time, memory, and what is opened and written."""
    limits = {
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_AS: memory_mb * 2**20,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def wall_off_files(library: Any) -> bool:
    """Let the process read the Python installation alone (Landlock, Linux 5.13); return whether the kernel can."""
    read, every_right = 1 | 4 | 8, ctypes.c_uint64(2**13 - 1)  # execute (map), read a file, list a folder
    rules = library.syscall(444, ctypes.byref(every_right), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    for path in {*READABLE, sys.prefix, sys.base_prefix, str(Path.cwd())}:
        try:
            folder = os.open(path, os.O_PATH)
        except OSError:
            continue
        allowed = read if os.path.isdir(path) else read & ~8  # noqa: PTH112 (no more modules than needed)
        library.syscall(445, rules, 1, ctypes.byref(Beneath(allowed, folder)), 0)
        os.close(folder)
    done = bool(library.syscall(446, rules, 0) == 0)
    os.close(rules)
    return done


def wall_off_calls(library: Any) -> bool:
    """Refuse system calls for good (seccomp); return whether the kernel did what was asked."""
    number, column = ARCHITECTURES[platform.machine()]
    refuse, unknown, allow = (0x00050000 | 1, 0x00050000 | 38, 0x7FFF0000)  # EPERM, ENOSYS, go on
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, number), (give, 0, 0, 0x80000000)]  # another architecture: killed
    steps += [(load, 0, 0, 0), (at_least, 0, 1, FIRST_NEWER), (give, 0, 0, unknown)]
    for *numbers, argument in OPENING.values():
        if (call := numbers[column]) is not None:
            steps += [(equal, 0, 4, call), (load, 0, 0, 16 + 8 * argument), (any_bit, 0, 1, WRITING)]
            steps += [(give, 0, 0, refuse), (give, 0, 0, allow)]
    steps += [(equal, 0, 2 + 2 * len(FCNTL_ALLOWED), FCNTL[column]), (load, 0, 0, 24)]
    for command in FCNTL_ALLOWED:
        steps += [(equal, 0, 1, command), (give, 0, 0, allow)]
    steps.append((give, 0, 0, refuse))
    for calls in DENIED.values():
        if (call := calls[column]) is not None:
            steps += [(equal, 0, 1, call), (give, 0, 0, refuse)]
    steps.append((give, 0, 0, allow))
    program = (Instruction * len(steps))(*(Instruction(*step) for step in steps))
    whole = Filter(len(steps), ctypes.addressof(program))
    return bool(library.prctl(22, 2, ctypes.byref(whole), 0, 0) == 0)


def run(program: types.CodeType, tests: str, names: list[str]) -> None:
    """Run a program, then its tests with the builtins as they were before it.

    The tests see what the program defined, but for names that hide a builtin (unless `names` lists them).
    """
    before, start, watch, profile = dict(vars(builtins)), exec, sys.settrace, sys.setprofile
    checks = compile(tests, "<tests>", "exec", dont_inherit=True, optimize=0)
    module = types.ModuleType("solution")
    sys.modules["solution"] = module  # dataclasses look for the module of a class
    defined = module.__dict__
    start(program, defined)
    watch(None)  # from here on no builtin is looked up by its name: the program may have put another in its place
    profile(None)
    space = {name: value for name, value in defined.items() if name not in before or name in names}
    space |= {"__builtins__": before, "__name__": "tests"}
    start(checks, space)


def described(error: BaseException) -> bytes:
    """Return what went wrong; its text is the program's own, and may be anything."""
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ").encode("utf-8", "replace")[:1000]
    except BaseException:
        return b"an error that cannot be shown"


def main() -> NoReturn:
    """Read the job, build the walls, run, and tell."""
    job = json.load(sys.stdin)
    write: Callable[[int, bytes], int] = os.write
    leave: Callable[[int], NoReturn] = os._exit
    word, channel = job["word"].encode(), job["channel"]
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(1, 9, 0, 0, 0)  # to be killed when the process that started this one ends
    limit(job["seconds"], job["memory_mb"])
    ready = library.prctl(38, 1, 0, 0, 0) == 0  # no new privileges, which both walls ask for
    files = wall_off_files(library)
    ready = wall_off_calls(library) and ready
    if not ready or job["probe"]:
        write(channel, word + (b"no walls" if not ready else b"walls" if files else b"no wall for files"))
        leave(0)
    passed = word + b"passed"
    try:
        program = compile(job["program"], "<program>", "exec", dont_inherit=True, optimize=0)
    except BaseException as error:  # nothing of the program has run
        write(channel, word + b"no Python: " + described(error))
        leave(1)
    try:
        run(program, job["tests"], job["names"])
    except BaseException as error:
        write(channel, described(error))
        leave(1)
    write(channel, passed)
    leave(0)


if __name__ == "__main__":
    main()
