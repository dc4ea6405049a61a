"""Ctrl-C or SIGTERM: how does training end with its step finished and saved?"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from reasoner.notices import tell

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the block the first signal is only written down; a second one ends the program at once.

    Signals that the program ignores stay ignored, and outside the main thread nothing changes: there signals cannot be
    heard. The handlers of before are back at the end of the block.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        """The signal that came."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):  # None: a handler that Python could not give back
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, before)

    def end(self, message: str = "") -> BaseException:
        """Return what ends the program as the signal would have: `KeyboardInterrupt`; `SystemExit` for SIGTERM."""
        if self.asked == signal.SIGTERM:
            return SystemExit(128 + signal.SIGTERM)
        return KeyboardInterrupt(message)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise self.end("Ended at once.")
        self.asked = signal.Signals(number)
        tell(f"{self.asked.name}: the step is finished and saved, then training ends. Once more ends it at once.")
