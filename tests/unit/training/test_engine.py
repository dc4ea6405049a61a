"""Do seeds fix every random state, and is bfloat16 used where it was asked for and nowhere else?"""

from __future__ import annotations

import random

import numpy
import pytest
import torch

from reasoner.training.engine import autocast, choose_device, seed_everything

CPU = torch.device("cpu")


def draws():
    return random.random(), float(numpy.random.rand()), torch.rand(3).tolist(), torch.randperm(9).tolist()


@pytest.mark.parametrize("seed", [0, 42, 2**32 + 1])
def test_a_seed_fixes_every_random_state(seed):
    seed_everything(seed)
    first = draws()
    assert draws() != first
    seed_everything(seed)
    assert draws() == first
    seed_everything(seed + 1)
    assert all(one != other for one, other in zip(draws(), first, strict=True))


@pytest.mark.parametrize(("bf16", "dtype"), [(None, torch.float32), (False, torch.float32), (True, torch.bfloat16)])
def test_autocast_on_the_cpu(bf16, dtype):
    layer = torch.nn.Linear(4, 4)
    with autocast(CPU, bf16):
        assert layer(torch.rand(2, 4)).dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert layer(torch.rand(2, 4)).dtype == torch.float32


def test_the_device():
    assert choose_device(use_cpu=True) == CPU
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
