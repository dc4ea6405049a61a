"""Does it pay to compile the network? Steps before and after are timed, and the faster way is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from reasoner.notices import say
from reasoner.training.callbacks import Callback
from reasoner.training.engine import is_out_of_memory

if TYPE_CHECKING:
    from reasoner.training.trainer import Trainer

PAYS_FROM = 600.0
"""Seconds of steps that must be left, or compiling is not tried."""
UNTIMED = 5
"""Steps that are not timed: those in which the machine warms up, or kernels are compiled."""
TIMED = 20


class Clock(NamedTuple):
    """What stood in the history at the end of a step."""

    seconds: float
    positions: int


class Compiler(Callback):
    """Compiles the network for its training steps; evaluation runs it as it is, and nothing stays when training ends.

    The module, its state and its copies are as before: `torch.nn.Module` keeps a compiled call apart from all that.
    Weights are the same to rounding; dropout draws other random numbers.

    On the CPU nothing is tried unless it is asked for. (MiniLM, NER, 16 sentences a batch, one thread: compiling took
    139 s, and a step after it 0.79 s and 1.02 s, before it 0.98 s and 0.63 s, on a machine with other work: no gain
    that would pay.)

    Args:
        network: is called once a forward pass, with tensors.
        wanted: True: from the first step. None: on CUDA, if `PAYS_FROM` seconds of steps are left, and for good only
            if it is faster; not with `full_determinism`: what is faster differs from run to run.
        backend: of `torch.compile`.
    """

    def __init__(self, network: nn.Module, wanted: bool | None, *, backend: str = "inductor") -> None:
        self.network, self.wanted, self.backend = network, wanted, backend
        self._begin()

    def _begin(self) -> None:
        self._decided = self.wanted is not None
        self._clock: list[Clock] = []
        self._before: float | None = None
        self._began = 0.0

    def on_train_begin(self, trainer: Trainer) -> None:
        """Compile if it is wanted in any case."""
        self._begin()
        self._decided = self._decided or trainer.device.type != "cuda" or trainer.config.full_determinism
        if self.wanted:
            self._compile()

    def on_step_end(self, trainer: Trainer) -> None:
        """Time the step; with enough of them, compile, or decide."""
        if self._decided:
            return
        self._clock.append(Clock(trainer.history.seconds, trainer.history.positions))
        if len(self._clock) <= UNTIMED + TIMED:
            return
        first, last = self._clock[UNTIMED], self._clock[-1]
        seconds = last.seconds - first.seconds
        pace = seconds / max(last.positions - first.positions, 1)  # batches differ in size
        if self._before is not None:
            self._decide(pace, first.seconds - self._began)
        elif seconds / TIMED * (trainer.total_steps - trainer.step) < PAYS_FROM:
            self._decided = True
        else:
            self._before, self._began, self._clock = pace, last.seconds, []
            self._compile()

    def on_train_end(self, trainer: Trainer) -> None:
        """Leave the network as it was."""
        self._undo()

    def _decide(self, pace: float, took: float) -> None:
        assert self._before is not None
        self._decided = True
        faster = pace < self._before
        if not faster:
            self._undo()
        say(f"The network was compiled: 1,000 positions take {1e6 * pace:.3g} ms instead of {1e6 * self._before:.3g} "
            f"ms, and the first {UNTIMED + 1} steps took {took:.0f} s. "
            + ("It stays so." if faster else "It is not faster, so it runs as before."))  # fmt: skip

    def _compile(self) -> None:
        plain: Callable[..., Any] = self.network._call_impl
        compiled: Callable[..., Any] = torch.compile(plain, dynamic=True, backend=self.backend)

        def call(*arguments: Any, **inputs: Any) -> Any:
            if not (self.network.training and torch.is_grad_enabled()):  # it would be compiled anew for evaluation
                return plain(*arguments, **inputs)
            try:
                return compiled(*arguments, **inputs)
            except Exception as error:
                if self.wanted or is_out_of_memory(error):
                    raise
                say(f"The network could not be compiled, and runs as before ({type(error).__name__}).")
            self._decided = True
            self._undo()
            return plain(*arguments, **inputs)

        self.network._compiled_call_impl = call

    def _undo(self) -> None:
        self.network._compiled_call_impl = None
