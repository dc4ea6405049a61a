"""How much memory did this process take at most?"""

from __future__ import annotations

import resource
import threading
from pathlib import Path
from typing import Self


def peak_mib() -> float:
    """Return the most that was ever resident, in MiB: pages of files that are mapped (memory-mapped data) count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


class OwnPeak:
    """Within the block, looks every few milliseconds at the memory that is the process's own, and keeps the most.

    Own ("anonymous" in /proc) is what cannot be dropped: pages of a mapped file can, and do not count here.
    """

    def __init__(self, every: float = 0.02) -> None:
        self.every, self.mib = every, 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.mib = max(self.mib, own_mib())
            self._ended.wait(self.every)


def own_mib() -> float:
    """Return the resident memory of the process that is no page of a file, in MiB; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
