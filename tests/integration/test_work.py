"""Is no more done than a run takes? Padding, steps, forward passes, tokenizing and reads are counted; no seconds."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
from task_cases import CASES
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer, PreTrainedTokenizerBase

import reasoner
from reasoner.model import TaskModel
from reasoner.training.trainer import Trainer

PACKS: dict[str, Callable[..., Any]] = {
    "ner": reasoner.synthetic.ner_pack,
    "nli": reasoner.synthetic.nli_pack,
    "qa": reasoner.synthetic.qa_pack,
    "multiple_choice": reasoner.synthetic.multiple_choice_pack,
}
SIZES = {"train": 40, "validation": 20, "test": 16}
RUN = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "use_cpu": True, "bf16": False, "learning_rate": 1e-4}
PASSES_ON = ("torch", __name__, "reasoner.training.lean")
"""Modules that ask for what another one asked them for."""
ON_CPU_ALONE = "reasoner.training.dropout"
"""Runs on the CPU alone, where reading a number waits for nothing."""
READS = {torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.masked_select}
"""What float(), int(), bool(), item() and the like come down to: a CUDA device finishes all its work first."""


class Reads(TorchDispatchMode):
    """Counts what waits for the device, by the module that asked."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = function.overloadpacket == torch.ops.aten.index and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if function.overloadpacket in READS or by_mask:
            self.found[_asking()] += 1
        return function(*args, **(kwargs or {}))


class Work:
    """What was counted."""

    def __init__(self) -> None:
        self.steps = 0
        """Of the optimiser."""
        self.forwards: Counter[bool] = Counter()
        """Forward passes, by whether in training mode."""
        self.tokenized: list[int] = []
        """Texts (or first sides of pairs) of each call of the tokenizer."""
        self.reads: list[Counter[str]] = []
        """Of each training step: by module, how often numbers were read from the device."""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Count from here on."""
    counted = Work()
    monkeypatch.setattr("reasoner.inference.MOST_PADDING", 1.0)  # or lengths would say how many batches there are
    step, forward, tokenize = Trainer.train_step, TaskModel.forward, PreTrainedTokenizerBase.__call__

    def counting_step(self: Trainer, group: Any) -> None:
        with pytest.MonkeyPatch.context() as patch, Reads() as reads:
            for name in ("tolist", "numpy", "cpu"):  # on the CPU these run no operation that a mode would see
                patch.setattr(torch.Tensor, name, _noted(getattr(torch.Tensor, name), reads.found))
            step(self, group)
        counted.reads.append(reads.found)

    def counting_forward(self: TaskModel, batch: Any) -> Any:
        counted.forwards[self.training] += 1
        return forward(self, batch)

    def counting_tokenize(self: Any, text: Any, *arguments: Any, **settings: Any) -> Any:
        counted.tokenized.append(1 if isinstance(text, str) else len(text))
        return tokenize(self, text, *arguments, **settings)

    def count_step(*_: Any) -> None:
        counted.steps += 1

    monkeypatch.setattr(Trainer, "train_step", counting_step)
    monkeypatch.setattr(TaskModel, "forward", counting_forward)
    monkeypatch.setattr(PreTrainedTokenizerBase, "__call__", counting_tokenize)
    handle = register_optimizer_step_post_hook(count_step)
    yield counted
    handle.remove()


def _noted(method: Callable[..., Any], found: Counter[str]) -> Callable[..., Any]:
    def read(self: Any, *arguments: Any, **settings: Any) -> Any:
        found[_asking()] += 1
        return method(self, *arguments, **settings)

    return read


def _asking() -> str:
    """Return the module that asked PyTorch for what is being done."""
    frame = sys._getframe(1)
    while frame.f_back and _passes_on(frame.f_globals["__name__"]):
        frame = frame.f_back
    return str(frame.f_globals["__name__"])


def _passes_on(module: str) -> bool:
    return module in PASSES_ON or module.partition(".")[0] in PASSES_ON


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("name", PACKS)
def test_a_step_reads_numbers_from_the_device_once(lively_bert: Path, work: Work, name: str, accumulation: int) -> None:
    settings = {**RUN, "gradient_accumulation_steps": accumulation}
    result = reasoner.fine_tune(lively_bert, PACKS[name](**SIZES), task=name, check=False, **settings)
    assert len(work.reads) == work.steps == result.metrics["train"]["steps"] > 0
    for reads in work.reads:
        del reads[ON_CPU_ALONE]
        ours = {module: number for module, number in reads.items() if module.startswith("reasoner.")}
        assert ours == {"reasoner.training.trainer": 1}
        theirs = reads.keys() - ours.keys()
        # transformers looks whether a mask masks anything, once a forward pass.
        assert theirs <= {"transformers.masking_utils"} and reads["transformers.masking_utils"] <= accumulation


@pytest.mark.parametrize("again", [False, True])
def test_halves_and_checkpoints_read_no_more_from_the_device(lively_bert: Path, work: Work, again: bool) -> None:
    """What is cut into halves is still on the CPU; the losses of the halves are added on the device."""
    forward = TaskModel.forward

    def small_memory(self: TaskModel, batch: Any) -> Any:
        if self.training and len(batch.feature_index) > 4:
            raise torch.OutOfMemoryError
        return forward(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskModel, "forward", small_memory)
        settings = {**RUN, "gradient_checkpointing": again}
        reasoner.fine_tune(lively_bert, PACKS["nli"](**SIZES), task="nli", check=False, **settings)
    batches = 2 * ceil(SIZES["train"] / 8)
    assert 2 * batches <= work.forwards[True] <= 4 * batches  # longer ones are cut into quarters
    assert work.steps == len(work.reads) == batches
    for reads in work.reads:
        del reads[ON_CPU_ALONE]
        ours = {module: number for module, number in reads.items() if module.startswith("reasoner.")}
        assert ours.pop("reasoner.training.trainer") == 1
        assert ours.keys() <= {
            "reasoner.training.parts",
            "reasoner.training.micro_batches",
        }  # before `batch.to(device)`


@pytest.mark.parametrize("accumulation", [1, 3])
def test_steps_and_forward_passes(lively_bert: Path, work: Work, accumulation: int) -> None:
    settings = {**RUN, "gradient_accumulation_steps": accumulation}
    result = reasoner.fine_tune(lively_bert, PACKS["nli"](**SIZES), task="nli", check=False, **settings)
    batches = ceil(SIZES["train"] / 8)
    assert work.steps == result.metrics["train"]["steps"] == 2 * ceil(batches / accumulation)
    assert work.forwards[True] == 2 * batches
    # One batch each: the test split before, validation after each epoch and for the temperature, the test split; and
    # validation once more where a temperature was found.
    assert 5 <= work.forwards[False] <= 6


def test_without_a_score_before_there_is_no_pass_for_it(lively_bert: Path, work: Work) -> None:
    data = {split: rows for split, rows in PACKS["nli"](**SIZES).items() if split != "test"}
    reasoner.fine_tune(lively_bert, data, task="nli", check=False, evaluate_before=False, max_steps=1, use_cpu=True)
    assert work.forwards[True] == 1 and 2 <= work.forwards[False] <= 3


@pytest.mark.parametrize("name", ["ner", "nli"])
def test_each_row_is_tokenized_once(lively_bert: Path, work: Work, name: str) -> None:
    reasoner.fine_tune(lively_bert, PACKS[name](**SIZES), task=name, check=False, **RUN)
    assert work.tokenized == list(SIZES.values())  # one call a split


def test_choices_are_tokenized_once(lively_bert: Path, work: Work) -> None:
    pack = PACKS["multiple_choice"](**SIZES)
    reasoner.fine_tune(lively_bert, pack, task="multiple_choice", check=False, **RUN)
    assert work.tokenized == [sum(len(row["choices"]) for row in rows) for rows in pack.values()]


def test_questions_are_tokenized_once_alone_and_once_with_their_text(lively_bert: Path, work: Work) -> None:
    reasoner.fine_tune(lively_bert, PACKS["qa"](**SIZES), task="qa", check=False, **RUN)
    assert Counter(work.tokenized) == Counter(dict.fromkeys(SIZES.values(), 2))


def test_the_check_tokenizes_a_sample_and_trains_two_batches(
    lively_bert: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasoner.checks.tokenizers.SAMPLE", 4)
    result = reasoner.fine_tune(lively_bert, PACKS["nli"](**SIZES), task="nli", **RUN)
    assert result.run.checks
    assert work.tokenized[:3] == list(SIZES.values())
    assert work.tokenized[3:] == [2] * 3 * 4  # four rows a split, each with its two texts
    assert work.forwards[True] == 2 * ceil(SIZES["train"] / 8) + 2


def test_predictions_take_one_pass_of_each(lively_bert: Path, work: Work) -> None:
    result = reasoner.fine_tune(lively_bert, CASES["nli"].splits, task="nli", check=False, **{**RUN, "max_steps": 1})
    work.forwards.clear()
    work.tokenized.clear()
    result.predict(CASES["nli"].inputs * 40)  # 80 inputs, 64 a batch
    assert work.forwards == {False: 2} and work.tokenized == [80]


def uneven_rows(number: int = 240) -> list[dict[str, Any]]:
    """Return texts of very different lengths."""
    draw = random.Random(5)
    words = ["the", "ferry", "left", "a", "quiet", "harbour", "when", "rain", "came", "over", "old", "red", "houses"]
    rows = []
    for index in range(number):
        length = draw.choice([draw.randint(2, 8), draw.randint(10, 25), draw.randint(35, 60)])
        rows.append({"text": " ".join(draw.choices(words, k=length)), "label": ("odd", "even")[index % 2]})
    return rows


@pytest.mark.parametrize(
    ("settings", "rows_a_batch"), [({"per_device_eval_batch_size": 8}, 8), ({"tokens_per_batch": 400}, None)]
)
def test_little_is_padding(lively_bert: Path, work: Work, settings: dict[str, Any], rows_a_batch: int | None) -> None:
    rows = uneven_rows()
    data = {"train": rows, "validation": rows[:60]}
    result = reasoner.fine_tune(lively_bert, data, task="classification", check=False, **{**RUN, **settings})
    train = result.metrics["train"]
    tokenizer = AutoTokenizer.from_pretrained(lively_bert)
    lengths = [min(128, len(ids)) for ids in tokenizer([row["text"] for row in rows])["input_ids"]]
    plain = _padding_of_plain_shuffling(lengths, rows_a_batch or ceil(len(rows) * 2 / work.forwards[True]))
    assert plain > 0.3  # or there is nothing to save
    assert train["padding_share"] < plain / 3
    assert train["positions"] * (1 - train["padding_share"]) == pytest.approx(2 * sum(lengths))  # two epochs
    assert train["evaluation_padding_share"] < plain / 2
    if rows_a_batch is None:
        in_all = train["positions"] / 400
        assert work.steps < 1.25 * in_all


def _padding_of_plain_shuffling(lengths: list[int], size: int) -> float:
    """Return the share of padding in batches of rows drawn at random, over 20 epochs."""
    draw, positions = random.Random(0), 0
    for _ in range(20):
        order = draw.sample(lengths, len(lengths))
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        positions += sum(len(part) * max(part) for part in parts)
    return 1 - 20 * sum(lengths) / positions
