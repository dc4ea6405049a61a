"""What does a program do when it is run? Programs that nobody has read, in a process of their own, behind walls."""

from __future__ import annotations

from reasoner.execution.run import Execution, Limits, execute

__all__ = ["Execution", "Limits", "execute"]
