"""Where does the arithmetic run, in which precision, from which seeds, and how fast could it be?"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache

import numpy
import torch
from torch import nn

PEAK_SIZE = {"cpu": 512, "cuda": 4096}
"""Rows and columns of the matrices that the peak is measured with: as large as it takes to reach the peak."""
PEAK_SECONDS = 0.1
"""After how long no further product is timed."""


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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of the device, or of the machine, was too small."""
    said = ("not enough memory", "can't allocate memory", "out of memory")  # PyTorch's allocators, and cuBLAS
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in said)
    )


@contextmanager
def tensor_float_32(device: torch.device) -> Iterator[None]:
    """On CUDA, let float32 matrices be multiplied in TF32 inside the block: 10 bits of mantissa, sums in float32.

    With bfloat16 (see `autocast`) few products are float32. A precision that the program has set itself stays.
    """
    before = torch.get_float32_matmul_precision()
    if device.type != "cuda" or before != "highest":
        yield
        return
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def seed_everything(seed: int) -> None:
    """Seed the random states of Python, NumPy and PyTorch (all devices)."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def matrix_peak(device: torch.device, bf16: bool | None) -> float:
    """Return the floating-point operations a second of a matrix product: what training could reach at best.

    2 m n k / seconds of the fastest of as many products of square matrices as fit into 0.1 s (at least three), in the
    precision in which training multiplies: float32, or bfloat16 with autocast. The fastest and not the median, which on
    a machine with other work is what that work left over (seen: a quarter), and no peak; with several threads on busy
    cores even the fastest is too low. Measured once a process and number of threads.

    Args:
        device: where.
        bf16: as for `autocast`.
    """
    return _matrix_peak(device, bf16, torch.get_num_threads())


@lru_cache
def _matrix_peak(device: torch.device, bf16: bool | None, threads: int) -> float:
    size = PEAK_SIZE.get(device.type, PEAK_SIZE["cpu"])
    generator = torch.Generator(device).manual_seed(0)  # the program's own random numbers are left alone
    left, right = (torch.rand(size, size, device=device, generator=generator) for _ in range(2))
    seconds: list[float] = []
    with autocast(device, bf16), tensor_float_32(device), torch.no_grad():
        left, right = left.to((left @ right).dtype), right.to((left @ right).dtype)
        while len(seconds) < 3 or sum(seconds) < PEAK_SECONDS:
            started = time.perf_counter()
            left @ right
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def training_operations(model: nn.Module) -> int:
    """Return the floating-point operations that training takes for one token.

    6 x the weights that multiply: one multiplication and one addition in the forward pass, for the gradient of what
    comes in, and for that of the weight (Kaplan et al., 2020, "Scaling Laws for Neural Language Models"). A frozen
    weight counts 4, or 2 where nothing below it learns, so that its forward pass is all. Weights of embeddings are
    looked up and count nothing, output layers that are tied to them included, which decoders run at learned places
    alone. Not counted: the products of attention scores, and norms, activations and the optimiser; a head that sees
    one token of a sequence is counted as if it saw all.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    passes_on, operations = bool(getattr(model, "virtual_tokens", 0)), 0
    for weight in model.parameters():  # in the order in which they are used, by and large
        if weight.ndim >= 2 and id(weight) not in embeddings:
            operations += (6 if weight.requires_grad else 4 if passes_on else 2) * weight.numel()
        passes_on |= weight.requires_grad
    return operations
