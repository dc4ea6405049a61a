"""Is a NaN planted in real tasks (a poisoned row, a learning rate of 1e6, an fp16 overflow) caught at its step?"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

import reasoner
from reasoner.errors import DivergedError
from reasoner.heads.sequence_classification import SequenceClassificationHead
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training.config import TrainingConfig
from reasoner.training.guard import LossWatch, replay
from reasoner.training.trainer import Trainer

SETTINGS = {"use_cpu": True, "bf16": False, "learning_rate": 1e-4}
EMBEDDINGS = "network.bert.embeddings.word_embeddings"


def trainer_of(predictor: Any, data: Any, output_dir: Path | None = None, **settings: Any) -> Trainer:
    """Return a trainer that names rows as `fine_tune` does."""
    config = TrainingConfig(**{**SETTINGS, **settings})
    batches = predictor.batches(data, batch_size=4, shuffle=True, seed=config.seed)

    def describe(batch: Any) -> list[str]:
        return [data.examples[batches.example_of[index]].where for index in batch.feature_index]

    return Trainer(predictor.model, batches, config=config, watch=LossWatch(output_dir, describe=describe))


def first_with(trainer: Trainer, data: Any, examples: set[int]) -> tuple[int, list[str]]:
    """Return the first step whose batches hold one of these examples, and where those of them stand that it holds."""
    size = trainer.config.gradient_accumulation_steps
    trainer.batches.epoch = 0
    listed = [{trainer.batches.example_of[index] for index in batch.feature_index} for batch in trainer.batches]
    for start in range(0, len(listed), size):
        found = sorted(set().union(*listed[start : start + size]) & examples)
        if found:
            return start // size + 1, sorted(data.examples[example].where for example in found)
    raise AssertionError("none of them is there")


def rare_token(data: Any, most: int = 3) -> tuple[int, set[int]]:
    """Return a token that stands in at most so many examples, and in which."""
    holders: dict[int, set[int]] = {}
    for example, features in enumerate(data.features):
        for token in {token for feature in features for token in feature.inputs["input_ids"]}:
            holders.setdefault(token, set()).add(example)
    numbers = {token: len(found) for token, found in holders.items() if len(found) <= most}
    token = max(sorted(numbers), key=numbers.__getitem__)
    return token, holders[token]


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("task", [NER(), NLI(), Classification(kind="multi"), QuestionAnswering(), MultipleChoice()])
def test_rows_with_a_poisoned_token_are_caught_at_their_step(
    prepare: Callable[..., Any], task: Any, accumulation: int, tmp_path: Path
) -> None:
    predictor, data = prepare(task)
    token, examples = rare_token(data)
    with torch.no_grad():
        predictor.model.get_submodule(EMBEDDINGS).weight[token] = float("nan")
    trainer = trainer_of(predictor, data, tmp_path, gradient_accumulation_steps=accumulation)
    step, rows = first_with(trainer, data, examples)
    fresh = deepcopy(predictor.model)
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    error = caught.value
    assert (error.step, sorted(error.rows), error.parameter) == (step, rows, f"{EMBEDDINGS}.weight")
    assert all(row.startswith("train, row ") for row in rows) and len(rows) < 4
    assert f"The first output that is not finite is that of '{EMBEDDINGS}': nan (float32)." in str(error)
    assert trainer.step == step - 1
    nn.init.zeros_(fresh.get_submodule(EMBEDDINGS).weight)
    assert replay(tmp_path / "diverged", fresh).total.isnan()


@pytest.mark.parametrize("row", [0, 13, 31])
def test_a_row_whose_number_is_no_number_is_caught_at_its_step(prepare: Callable[..., Any], row: int) -> None:
    predictor, data = prepare(Classification(kind="number"))
    (feature,) = data.features[row]
    feature.targets["labels"] = float("nan")
    trainer = trainer_of(predictor, data)
    step, rows = first_with(trainer, data, {row})
    with pytest.raises(DivergedError, match=r"it is the labels of these rows, or the loss function") as caught:
        trainer.train()
    assert (caught.value.step, list(caught.value.rows)) == (step, rows) == (step, [data.examples[row].where])


def first_bad_step(model: Any, batches: Any, *, rate: float, steps: int) -> int:
    """Train with PyTorch and transformers alone; return the first step whose loss or gradient is not finite."""
    decays = [weight for weight in model.parameters() if weight.ndim > 1]
    spared = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": decays, "weight_decay": 0.01}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    seen = 0.0
    for epoch in range(steps):
        batches.epoch = epoch
        for number, batch in enumerate(batches, 1 + epoch * len(batches)):
            optimizer.zero_grad()
            total, count = model.loss(model(batch), batch)
            seen += float(count)
            (total / (seen / number)).backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not (total.isfinite() and norm.isfinite()):
                return number
            optimizer.step()
            schedule.step()
    raise AssertionError("it did not diverge")


@pytest.mark.parametrize("task", [NER(), Classification(), MultipleChoice()])
def test_a_learning_rate_of_a_million_is_caught_at_its_step(
    prepare: Callable[..., Any], task: Any, tmp_path: Path
) -> None:
    predictor, data = prepare(task, dropout=0.0)
    trainer = trainer_of(predictor, data, tmp_path, learning_rate=1e6)
    plain = deepcopy(predictor.model).train()
    expected = first_bad_step(plain, trainer.batches, rate=1e6, steps=trainer.total_steps)
    trainer.batches.epoch = (expected - 1) // len(trainer.batches)
    batch = list(trainer.batches)[(expected - 1) % len(trainer.batches)]
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    error = caught.value
    assert error.step == expected > 1
    assert set(error.rows) == set(trainer.watch.describe(batch))
    name, weight = max(plain.named_parameters(), key=lambda item: item[1].detach().abs().max().item())
    assert "It is no row in particular: the weights have exploded." in str(error)
    assert f"in '{name}'. Lower the learning rate (1e+06)." in str(error)
    report = json.loads((error.folder / "report.json").read_text("utf-8"))
    assert report["reason"] == "weights" and report["largest_weight"][0] == name
    assert report["largest_weight"][1] == pytest.approx(weight.detach().abs().max().item(), rel=1e-3)
    assert not replay(error.folder, plain).total.isfinite()


LONG = 32
"""Tokens: what `HalfPrecisionHead` can still add up."""


class HalfPrecisionHead(SequenceClassificationHead):
    """A classifier with layers of its own that adds up something over a text in float16."""

    auto_class = None

    def __init__(self, config: Any, *, num_outputs: int, **settings: Any) -> None:
        super().__init__(config, num_outputs=num_outputs, **settings)
        self.layer = nn.Linear(config.hidden_size, num_outputs)

    def forward(self, hidden: torch.Tensor, batch: Any) -> dict[str, torch.Tensor]:
        per_token = torch.finfo(torch.float16).max / (LONG + 0.5)
        total = per_token * batch.inputs["attention_mask"].sum(1, keepdim=True)
        return {"logits": self.layer(hidden[:, 0]).half() + total.half()}


def test_an_overflow_in_half_precision_is_caught_at_its_step(
    prepare: Callable[..., Any], registry: Any, tmp_path: Path
) -> None:
    registry["head"]["half"] = HalfPrecisionHead
    predictor, data = prepare(Classification(head="half"), dropout=0.0)
    long = {example for example, features in enumerate(data.features) if len(features[0]) > LONG}
    assert 0 < len(long) < 16
    trainer = trainer_of(predictor, data, tmp_path)
    step, rows = first_with(trainer, data, long)
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    error = caught.value
    assert (error.step, sorted(error.rows)) == (step, rows)
    assert "The first output that is not finite is that of 'head': inf (float16)." in str(error)
    assert "It is an overflow: compute that part in float32 or bfloat16" in str(error)
    assert not replay(error.folder, predictor.model).total.isfinite()


# --- through fine_tune ----------------------------------------------------------------------------------------------

TEXTS = [f"The {colour} lamp number {number} is here." for number in range(8) for colour in ("red", "blue")]


@pytest.fixture
def poisoned(lively_bert: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A checkpoint in which the embedding of "z" is NaN, and data with that letter in line 6 of the training file."""
    folder = tmp_path / "checkpoint"
    tokenizer, model = AutoTokenizer.from_pretrained(lively_bert), AutoModel.from_pretrained(lively_bert)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer("z", add_special_tokens=False)["input_ids"][0]] = float("nan")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [{"text": text, "label": text.split()[1]} for text in TEXTS]
    train = [*rows[:5], {"text": "The red z is here.", "label": "red"}, *rows[5:]]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in train), "utf-8")
    return folder, {"train": path, "validation": rows, "test": rows}


QUICK = {"use_cpu": True, "bf16": False, "per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 1e-4}


def test_fine_tune_names_the_line_of_the_file_and_writes_the_reproduction(
    poisoned: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    model, data = poisoned
    output = tmp_path / "output"
    with pytest.raises(reasoner.DivergedError) as caught:
        reasoner.fine_tune(model, data, task="classification", output_dir=output, **QUICK)
    error = caught.value
    assert error.rows == ("train.jsonl, line 6",) and 1 <= error.step <= 5
    assert error.folder == output / "diverged" and (error.folder / "report.json").is_file()
    assert "1 of 4 rows give it: train.jsonl, line 6." in str(error) or "1 of 1" in str(error)


def test_fine_tune_goes_back_if_told_so_and_says_it(poisoned: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    model, data = poisoned
    output = tmp_path / "output"
    result = reasoner.fine_tune(model, data, task="classification", output_dir=output, on_divergence="halve", **QUICK)
    said = [notice for notice in result.run.notices if "Back to the weights" in notice]
    assert len(said) == 2 and all("train.jsonl, line 6." in notice for notice in said)
    assert "half the learning rate (5e-05)" in said[0] and "half the learning rate (2.5e-05)" in said[1]
    assert result.metrics["train"]["steps"] == 10
    assert {path.name for path in output.iterdir()} >= {"diverged", "diverged-2", "model.safetensors"}
    loaded = reasoner.load(output, use_cpu=True)
    assert replay(output / "diverged", loaded.predictor.model).total.isnan()
