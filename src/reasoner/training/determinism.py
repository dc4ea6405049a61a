"""With `full_determinism`: how does each kernel give the same bits every time, or say that it cannot?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reasoner.errors import ConfigError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The variable without which PyTorch refuses products of matrices on CUDA in this mode; elsewhere it has no meaning."""
WORKSPACES = (":4096:8", ":16:8")
"""Its values under which cuBLAS gives the same bits each time: the first takes more memory, the second more time."""
NO_KERNEL = " does not have a deterministic implementation"
"""What PyTorch says of an operation, after its name."""


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let PyTorch, inside the block, run deterministic kernels alone; all switches are then as they were before.

    They are those of PyTorch's notes on reproducibility (https://docs.pytorch.org/docs/stable/notes/randomness.html),
    and belong to the whole process. Blocks may stand inside one another.

    Args:
        wanted: False: the block changes nothing.

    Raises:
        ConfigError: if an operation has no deterministic kernel; it is named.
    """
    if not wanted:
        yield
        return
    cudnn, workspace = torch.backends.cudnn, os.environ.get(WORKSPACE)
    before = torch.get_deterministic_debug_mode(), cudnn.deterministic, cudnn.benchmark, workspace
    try:
        _switch("error", True, False, workspace if workspace in WORKSPACES else WORKSPACES[0])
        yield
    except RuntimeError as error:
        operation, known, _ = str(error).partition(NO_KERNEL)
        if not known:
            raise
        raise ConfigError(
            f"full_determinism: the operation '{operation}' of this model has no deterministic kernel on its device. "
            "Train with use_cpu=True, take another model or head, or leave full_determinism out."
        ) from error
    finally:
        _switch(*before)


def _switch(mode: int | str, cudnn_deterministic: bool, cudnn_benchmark: bool, workspace: str | None) -> None:
    torch.set_deterministic_debug_mode(mode)
    torch.backends.cudnn.deterministic = cudnn_deterministic
    torch.backends.cudnn.benchmark = cudnn_benchmark
    if workspace is None:
        os.environ.pop(WORKSPACE, None)
    else:
        os.environ[WORKSPACE] = workspace
