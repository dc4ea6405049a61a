"""How does each side train? This library, transformers' Trainer in three ways, and a loop by hand.

The same is timed for all: from the beginning of the loop, when model and features are there, to the end of the last
step. Making batches of features is inside. Reading, tokenising, loading and evaluation are outside.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from workload import WARMUP, WEIGHT_DECAY, Work, collate, encode, load_network, load_tokenizer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
POOL = 50
"""Batches that the loop by hand draws at random before it sorts them by length."""


@dataclass
class Trained:
    """A trained transformers model, and what training took."""

    network: Any
    names: list[str]
    """What its outputs mean; empty for qa."""
    seconds: float
    steps: int
    tokens: int
    positions: int
    extra: dict[str, Any] = field(default_factory=dict)


class Seen:
    """Counts what a network's backbone is given while it trains; nothing is read from the device before the end."""

    def __init__(self, network: Any) -> None:
        self.positions: int = 0
        self._tokens: Any = 0
        network.base_model.register_forward_pre_hook(self._count, with_kwargs=True)  # some call network.forward

    def _count(self, backbone: Any, _: Any, inputs: dict[str, Any]) -> None:
        mask = inputs.get("attention_mask")
        if backbone.training and mask is not None:
            self.positions += mask.numel()
            self._tokens = self._tokens + mask.sum()

    @property
    def tokens(self) -> int:
        """Those that are not padding."""
        return int(self._tokens)


def now() -> float:
    """Return the time at which the device has done all that it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def train_reasoner(work: Work) -> Trained:
    """Train as the example scripts do, with an evaluation at the very end alone (the last weights stay)."""
    from reasoner import Callback

    class Clock(Callback):
        """From the beginning of training to the end of the last step."""

        begun = ended = 0.0

        def on_train_begin(self, trainer: Any) -> None:
            self.begun = now()

        def on_step_end(self, trainer: Any) -> None:
            if trainer.step == trainer.total_steps:
                self.ended = now()

    sys.path.insert(0, str(EXAMPLES))
    train = __import__({"ner": "ner_conll"}.get(work.task, work.task)).train
    clock = Clock()
    result = train(
        {"train": rows_for_reasoner(work, work.train), "validation": rows_for_reasoner(work, work.validation)},
        model=work.model,
        method="head" if work.frozen else "full",
        num_train_epochs=work.epochs,
        max_steps=work.max_steps,
        per_device_train_batch_size=work.batch_size,
        learning_rate=work.learning_rate,
        max_length=work.max_length,
        **({"stride": work.stride} if work.task == "qa" else {}),
        seed=work.seed,
        bf16=work.bf16,
        use_cpu=work.use_cpu,
        patience=None,
        eval_steps=10**9,
        evaluate_before=False,
        disable_tqdm=True,
        callbacks=[clock],
    )
    measured = result.metrics["train"]
    names = list(result.model.config.id2label.values()) if work.names else []
    return Trained(
        network=result.model,
        names=names,
        seconds=clock.ended - clock.begun,
        steps=measured["steps"],
        tokens=round(measured["positions"] * (1 - measured["padding_share"])),
        positions=measured["positions"],
        extra={"own_seconds": measured["seconds"], "own_peak_share": measured.get("peak_share")},
    )


def rows_for_reasoner(work: Work, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the columns that `fine_tune` takes: answers as lists."""
    if work.task != "qa":
        return rows
    return [
        {**row, "answers": {key: [answer[key] for answer in row["answers"]] for key in ("text", "answer_start")}}
        for row in rows
    ]


def train_with_trainer(work: Work, *, strategy: str = "random", pad_to: int | None = None) -> Trained:
    """Train with transformers' Trainer: its defaults but for what is equal for all, the documented collators."""
    import transformers
    from datasets import Dataset

    network, tokenizer, seen = _parts(work)
    features = encode(work, work.train, tokenizer, work.names)
    known = {"input_ids", "attention_mask", "token_type_ids", "labels", "start_positions", "end_positions"}
    dataset = Dataset.from_list([{name: row[name] for name in row if name in known} for row in features])
    kind = (
        transformers.DataCollatorForTokenClassification if work.task == "ner" else transformers.DataCollatorWithPadding
    )
    padded = {"padding": "max_length", "max_length": pad_to} if pad_to else {}

    clock = trainer_clock()
    with TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            network,
            trainer_arguments(work, folder, strategy),
            train_dataset=dataset,
            data_collator=kind(tokenizer, **padded),
            processing_class=tokenizer,
            callbacks=[clock],
        )
        trainer.train()
    steps = trainer.state.global_step
    return Trained(network, work.names, clock.ended - clock.begun, steps, seen.tokens, seen.positions)


def trainer_clock() -> Any:
    """Return a callback that notes when training `begun` and when its last step `ended`, for transformers' Trainer."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        begun = ended = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.begun = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == state.max_steps:
                self.ended = now()

    return Clock()


def trainer_arguments(work: Work, folder: str, strategy: str, kind: Any = None, **further: Any) -> Any:
    """Return the arguments of a Trainer that does this work, and evaluates, saves and reports nothing."""
    import transformers

    return (kind or transformers.TrainingArguments)(
        output_dir=folder,
        per_device_train_batch_size=work.batch_size,
        num_train_epochs=work.epochs,
        max_steps=work.max_steps or -1,
        learning_rate=work.learning_rate,
        weight_decay=WEIGHT_DECAY,
        warmup_steps=WARMUP,
        train_sampling_strategy=strategy,
        seed=work.seed,
        bf16=work.bf16,
        use_cpu=work.use_cpu,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **further,
    )


def train_by_hand(work: Work) -> Trained:
    """Train with a bare loop: batches of like length, fused AdamW, clipping, a linear schedule, and nothing else."""
    network, tokenizer, seen = _parts(work)
    device = torch.device("cpu" if work.use_cpu or not torch.cuda.is_available() else "cuda")
    network = network.to(device).train()
    features = encode(work, work.train, tokenizer, work.names)
    per_epoch = math.ceil(len(features) / work.batch_size)
    steps = work.max_steps or work.epochs * per_epoch
    optimizer = torch.optim.AdamW(weight_groups(network), lr=work.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, linear(steps))
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    random, begun, step = torch.Generator().manual_seed(work.seed), now(), 0
    while step < steps:
        for indexes in by_length([len(row["input_ids"]) for row in features], work.batch_size, random):
            if step == steps:
                break
            batch = collate(work, [features[index] for index in indexes], tokenizer)
            with _autocast(work, device):
                loss = network(**{name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
    return Trained(network, work.names, now() - begun, steps, seen.tokens, seen.positions)


def _parts(work: Work) -> tuple[Any, Any, Seen]:
    network = load_network(work)
    return network, load_tokenizer(work.model), Seen(network)


def _autocast(work: Work, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16) if work.bf16 else nullcontext()


def by_length(lengths: list[int], batch_size: int, random: torch.Generator) -> Iterator[list[int]]:
    """Give the batches of an epoch: drawn at random in pools, sorted by length inside a pool, in random order."""
    order = torch.randperm(len(lengths), generator=random).tolist()
    for start in range(0, len(order), POOL * batch_size):
        pool = sorted(order[start : start + POOL * batch_size], key=lengths.__getitem__)
        batches = [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
        yield from (batches[index] for index in torch.randperm(len(batches), generator=random).tolist())


def linear(steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by step: up over the warm-up, down to 0 at the end."""
    warmup = math.ceil(WARMUP * steps)
    return lambda step: step / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))


def weight_groups(network: Any) -> list[dict[str, Any]]:
    """Return the trainable weights in two groups: matrices decay, biases and norms do not."""
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    matrices, others = ([w for w in learning if (w.ndim > 1) == whether] for whether in (True, False))
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
