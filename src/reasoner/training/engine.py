"""Where the arithmetic runs and in which precision: the device, autocast, and seeds."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext

import numpy
import torch


def choose_device(use_cpu: bool = False) -> torch.device:
    """Return the CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and not use_cpu else "cpu")


def autocast(device: torch.device, bf16: bool | None) -> AbstractContextManager[object]:
    """Return a context in which matrix products run in bfloat16, or one that changes nothing.

    Args:
        device: where the model is.
        bf16: whether to; None: on a CUDA device that has bfloat16.
    """
    if bf16 is None:
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def seed_everything(seed: int) -> None:
    """Seed the random states of Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
