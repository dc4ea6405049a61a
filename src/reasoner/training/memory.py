"""Between two trainings in one process: how is memory given back, and the peak counted anew?"""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

import torch


def release_memory() -> None:
    """Give back what earlier trainings left: dead objects, PyTorch's reserve on CUDA, free pages of the C heap.

    glibc keeps pages that were freed; without this the resident memory of a process that trains many models creeps up.
    """
    gc.collect()
    torch.cuda.empty_cache()  # without CUDA it does nothing
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):  # other C libraries have no such function
            ctypes.CDLL(None).malloc_trim(0)


def reset_peak_memory() -> bool:
    """Let the peak of the resident memory begin anew; return whether this system can (Linux; see proc(5), clear_refs).

    On CUDA each training counts anew by itself.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
