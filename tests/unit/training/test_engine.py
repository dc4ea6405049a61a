"""Do seeds fix every random state, and is bfloat16 used where it was asked for and nowhere else?"""

from __future__ import annotations

import random
import time

import numpy
import pytest
import torch

import reasoner
from reasoner.preparation import as_method
from reasoner.training import engine
from reasoner.training.engine import (
    autocast,
    choose_device,
    is_out_of_memory,
    matrix_peak,
    seed_everything,
    tensor_float_32,
    training_operations,
)

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


@pytest.fixture
def fresh():
    engine._matrix_peak.cache_clear()
    yield
    engine._matrix_peak.cache_clear()


def test_the_peak_is_operations_over_the_fewest_seconds(fresh, monkeypatch):
    took = [5.0, 0.04, 0.01, 0.04]  # the first product is slow, and so are those during which others had the cores
    clock = iter([moment for number, seconds in enumerate(took) for moment in (10.0 * number, 10.0 * number + seconds)])
    monkeypatch.setattr(engine.time, "perf_counter", lambda: next(clock))
    assert matrix_peak(CPU, False) == pytest.approx(2 * engine.PEAK_SIZE["cpu"] ** 3 / 0.01)


def test_the_peak_is_measured_in_no_time_once_and_leaves_random_numbers_alone(fresh):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    started = time.process_time()
    peak = matrix_peak(CPU, False)
    assert time.process_time() - started < 1.0  # 0.1 s and what the first product takes, on a busy machine
    assert torch.equal(state, torch.get_rng_state())
    assert 1e8 < peak < 1e14
    assert matrix_peak(CPU, False) == peak


def test_the_peak_is_that_of_the_precision(fresh, monkeypatch):
    seen = []
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: (seen.append(product(a, b).dtype), product(a, b))[1])
    monkeypatch.setattr(engine, "PEAK_SIZE", {"cpu": 8})
    monkeypatch.setattr(engine, "PEAK_SECONDS", 0.0)
    matrix_peak(CPU, False)
    assert set(seen) == {torch.float32}
    seen.clear()
    matrix_peak(CPU, True)
    assert set(seen) == {torch.bfloat16}


def test_operations_of_a_token():
    model = torch.nn.ModuleDict(
        {"words": torch.nn.Embedding(1000, 8), "norm": torch.nn.LayerNorm(8), "first": torch.nn.Linear(8, 16),
         "second": torch.nn.Linear(16, 3)}
    )  # fmt: skip
    assert training_operations(model) == 6 * (8 * 16 + 16 * 3)
    model.requires_grad_(False)["second"].requires_grad_(True)
    assert training_operations(model) == 2 * 8 * 16 + 6 * 16 * 3


def test_a_frozen_weight_above_one_that_learns_passes_its_gradient_on():
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 3))
    model[0].weight.requires_grad_(False)  # its bias learns
    model[1].requires_grad_(False)
    assert training_operations(model) == 2 * 8 * 16 + 4 * 16 * 3


@pytest.mark.parametrize(
    ("architecture", "method", "tolerance"),  # what learns first passes no gradient on: much of two layers
    [("bert", "full", 0.02), ("bert", "bitfit", 0.02), ("bert", "freeze", 0.12), ("bert", "lora", 0.12),
     ("bert", "adapter", 0.12), ("bert", "prefix", 0.12), ("llama", "lora", 0.12)],
)  # fmt: skip
def test_operations_are_those_that_the_profiler_counts(prepare, architecture, method, tolerance):
    from torch.utils.flop_counter import FlopCounterMode

    predictor, data = prepare("ner", architecture=architecture, packing=False)
    method = reasoner.Freeze(layers=1) if method == "freeze" else as_method(method)
    method.apply(predictor.model)
    (batch,) = predictor.batches(data, batch_size=1000)
    model = predictor.model.train()
    with FlopCounterMode(display=False) as counter:
        model.loss(model(batch), batch).total.backward()
    counted = counter.get_flop_counts()["Global"]
    products = sum(number for name, number in counted.items() if name in (torch.ops.aten.mm, torch.ops.aten.addmm))
    assert products == pytest.approx(training_operations(model) * batch.positions, rel=tolerance)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000 bytes."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_which_errors_say_that_the_memory_is_too_small(error, is_one):
    assert is_out_of_memory(error) is is_one


def test_the_error_of_this_machine_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_tf32_is_on_inside_the_block_only():
    cuda = torch.device("cuda")
    for device, inside in ((CPU, "highest"), (cuda, "high")):
        with pytest.raises(ZeroDivisionError), tensor_float_32(device):
            assert torch.get_float32_matmul_precision() == inside
            _ = 1 / 0
        assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("medium")
    try:
        with tensor_float_32(cuda):
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_tf32_is_less_precise():
    device = torch.device("cuda")
    left, right = (torch.rand(512, 512, device=device) for _ in range(2))
    exact = (left.double() @ right.double()).float()
    with tensor_float_32(device):
        fast = left @ right
    assert (fast - exact).abs().max() > 4 * (left @ right - exact).abs().max()
