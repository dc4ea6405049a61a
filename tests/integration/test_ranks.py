"""Do several processes train the model that one would, without waiting for each other in vain?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from rank_runs import SETTINGS, Ranks, outcome

import reasoner
from reasoner.synthetic import (
    generation_pack,
    intent_and_slots_pack,
    multiple_choice_pack,
    ner_pack,
    nli_pack,
    qa_pack,
)
from reasoner.training.callbacks import Callback

WORDS = ("red", "green", "blue", "small", "large", "old", "new", "wooden", "bright")


def classification_rows(number: int) -> list[dict[str, Any]]:
    """Rows of very different lengths."""
    return [
        {"text": " ".join(WORDS[(row * word) % 9] for word in range(1, 2 + row * 7 % 23)), "label": "ab"[row % 2]}
        for row in range(number)
    ]


def pack(task: str) -> dict[str, list[dict[str, Any]]]:
    """101 rows to train on: with 10 rows a batch the last batch holds one row, and one of two ranks nothing."""
    if task == "classification":
        rows = classification_rows(161)
        return {"train": rows[:101], "validation": rows[101:134], "test": rows[134:]}
    make = {
        "ner": ner_pack,
        "nli": nli_pack,
        "qa": qa_pack,
        "multiple_choice": multiple_choice_pack,
        "generation": generation_pack,
        "intent_and_slots": intent_and_slots_pack,
    }[task]
    return {split: list(rows) for split, rows in make(train=101, validation=33, test=27).items()}


def streamed(rows: list[dict[str, Any]]) -> datasets.IterableDataset:
    """A stream of three shards, in another order in each pass."""
    return datasets.Dataset.from_list(rows).to_iterable_dataset(num_shards=3).shuffle(seed=0, buffer_size=20)


def close(one: Any, other: Any, tolerance: float = 1e-5) -> bool:
    """Whether two records hold the same, numbers to within the tolerance."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name], tolerance) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(close(*pair, tolerance) for pair in zip(one, other, strict=True))
    return one == pytest.approx(other, abs=tolerance, rel=tolerance) if isinstance(one, float) else one == other


@pytest.mark.parametrize(
    ("task", "number", "size", "settings"),
    [
        ("classification", 2, 5, {}),
        ("ner", 2, 5, {"gradient_accumulation_steps": 2}),
        ("ner", 3, 11, {"num_train_epochs": 6, "head_learning_rate": 2e-2}),
        ("ner", 2, 8, {"tokens_per_batch": 64, "max_length": 32, "method": "lora"}),
        ("classification", 3, 5, {"method": "head", "num_train_epochs": 3}),
        ("classification", 2, 5, {"ema_decay": 0.9, "r_drop": 1.0, "balanced_sampling": True}),
        ("classification", 2, 5, {"fsdp": True, "gradient_accumulation_steps": 3, "adversarial_epsilon": 0.5}),
        ("ner", 3, 11, {"fsdp": True, "head": "crf", "optim": "sgd", "ema_decay": 0.9, "average_checkpoints": 2}),
        ("qa", 2, 5, {"fsdp": True, "max_length": 48, "method": "lora"}),
        ("multiple_choice", 3, 3, {"fsdp": True, "max_length": 64, "method": "head"}),
        ("nli", 3, 4, {"weight_decay": 0.1, "optim": "sgd"}),
        ("nli", 2, 5, {"debias": "hypothesis only", "num_train_epochs": 1}),
        ("nli", 2, 5, {"consistency": 1.0, "augmentation_edits": ["end mark"], "num_train_epochs": 2}),
        ("nli", 2, 5, {"debias": "word overlap", "debias_form": "focal", "fsdp": True}),
        ("qa", 2, 5, {"max_length": 48}),
        ("intent_and_slots", 2, 5, {"gradient_accumulation_steps": 2, "max_length": 12, "stride": 4}),
        ("intent_and_slots", 3, 3, {"fsdp": True, "r_drop": 1.0}),
        ("generation", 2, 5, {"fsdp": True, "num_train_epochs": 1, "learning_rate": 1e-3}),
        ("multiple_choice", 2, 5, {"max_length": 64}),
        ("ner", 2, 5, {"streamed": True, "max_steps": 25, "gradient_accumulation_steps": 2, "optim": "sgd"}),
        ("multiple_choice", 3, 3, {"streamed": True, "max_steps": 14, "max_length": 64}),
        ("classification", 2, 5, {"streamed": True, "max_steps": 25, "fsdp": True}),
    ],
)
def test_as_one_process(task, number, size, settings, lively_models, tmp_path: Path):
    model = lively_models("llama" if task == "generation" else "bert")
    settings = {"task": task, "data": pack(task), **settings}
    if task == "generation":
        settings["task"] = reasoner.Generation(max_new_tokens=12)
    if settings.pop("streamed", False):
        settings["data"]["train"] = streamed(settings["data"]["train"])
    if head := settings.pop("head", None):
        settings["task"] = reasoner.NER(head=head)
    ranks = Ranks(number, tmp_path / "ranks", model, per_device_train_batch_size=size, **settings)
    ends = ranks.ended()
    assert [end.get("message") for end in ends] == [None] * number
    data = settings.pop("data")
    settings["per_device_train_batch_size"] = size * number
    settings.pop("fsdp", None)
    if settings.get("tokens_per_batch"):
        settings["tokens_per_batch"] *= number
    whole = outcome(reasoner.fine_tune(model, data, **{**SETTINGS, **settings}))
    for end in ends:
        assert end["weights"] == ends[0]["weights"] and end["metrics"]["test"] == ends[0]["metrics"]["test"]
        assert close(end["history"], whole["history"])
        for split in ("before", "validation", "test"):
            assert close(end["metrics"][split], whole["metrics"][split]), split
        assert end["rows"] == whole["rows"]
        if not settings.get("balanced_sampling"):  # of a row that an epoch has twice, one look counts
            assert close(end["review"], whole["review"], 1e-4)
        if settings.get("optim") == "sgd":  # AdamW makes a step of the noise of a gradient that should be 0
            assert close(end["weights"], whole["weights"])


class End(Callback):
    """Ends its process, or raises an error, after a step."""

    def __init__(self, how: str, step: int = 3) -> None:
        self.how, self.step = how, step

    def on_step_end(self, trainer: Any) -> None:
        if trainer.step == self.step and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if trainer.step == self.step and self.how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        if trainer.step == self.step and self.how == "raise":
            raise ValueError("this callback is broken")


class EndOnRank:
    """The callbacks of each rank: one of them ends."""

    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how

    def __call__(self, rank: int) -> dict[str, Any]:
        return {"callbacks": [End(self.how if rank == self.rank else "")]}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("how", ["kill", "raise"])
def test_none_waits_for_one_that_is_gone(how, rank, lively_bert, tmp_path: Path):
    started = time.monotonic()
    ranks = Ranks(3, tmp_path, lively_bert, EndOnRank(rank, how), task="classification", data=pack("classification"))
    ends = ranks.ended()
    assert time.monotonic() - started < 60
    gone = ends.pop(rank)
    assert gone == ({} if how == "kill" else {"error": "ValueError", "message": "this callback is broken"})
    assert [end["error"] for end in ends] == ["RankError"] * 2
    assert all(end["message"].startswith("Another rank does not answer") for end in ends)


@pytest.mark.parametrize(("fsdp", "stream"), [(False, False), (True, False), (False, True)])
def test_one_writes_and_all_go_on(fsdp, stream, lively_bert, tmp_path: Path):
    """A signal to one rank ends all; the run goes on from the checkpoint as if it had never been interrupted."""
    settings = {
        "task": "classification",
        "data": pack("classification"),
        "dropout": 0.1,
        "per_device_train_batch_size": 5,
        "checkpoint_steps": 4,
        "fsdp": fsdp,
        "ema_decay": 0.9,
    }
    if stream:
        settings["data"]["train"] = streamed(settings["data"]["train"])
        settings["max_steps"] = 25
    whole = Ranks(2, tmp_path / "whole", lively_bert, EndOnRank(5, ""), output_dir=tmp_path / "one", **settings).ended()
    settings["output_dir"] = tmp_path / "two"
    broken = Ranks(2, tmp_path / "broken", lively_bert, EndOnRank(1, "term"), **settings).ended()
    assert [end["error"] for end in broken] == ["SystemExit"] * 2
    assert [path.name for path in (tmp_path / "two" / "checkpoints").iterdir()] == ["step-000003"]
    again = Ranks(2, tmp_path / "again", lively_bert, EndOnRank(5, ""), resume=True, **settings).ended()
    for end, one in zip(again, whole, strict=True):
        assert end["weights"] == one["weights"] and end["predictions"] == one["predictions"]
        assert end["history"] == one["history"]
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}
    said = [(tmp_path / "again" / f"{rank}.log").read_text("utf-8") for rank in range(2)]
    assert "Training goes on after step 3" in said[0] and "Training goes on" not in said[1]
    texts = [row["text"] for row in settings["data"]["test"][:2]]
    assert reasoner.load(tmp_path / "two").predict(texts) == again[0]["predictions"]
    other = Ranks(3, tmp_path / "three", lively_bert, EndOnRank(5, ""), resume=True, **settings).ended()
    assert other[0]["error"] == "ConfigError" and "ranks was 2 and is 3" in other[0]["message"]


def test_a_folder_in_use(lively_bert, tmp_path: Path):
    from reasoner.training.lock import locked

    with locked(tmp_path / "run"):
        ranks = Ranks(2, tmp_path, lively_bert, task="classification", data=pack("classification"),
                      output_dir=tmp_path / "run")  # fmt: skip
        main, other = ranks.ended()
    assert main["error"] == "ConfigError" and "is in use by process" in main["message"]
    assert other["error"] == "RankError" and "Rank 0 of 2 stopped" in other["message"]
    assert "is in use by process" in other["message"]


class Spoil(Callback):
    """Makes the loss of one row no number."""

    def __init__(self, feature: int) -> None:
        self.feature = feature

    def on_train_begin(self, trainer: Any) -> None:
        loss = trainer.model.head.loss

        def spoiled(outputs: Any, batch: Any) -> Any:
            found = loss(outputs, batch)
            return found._replace(total=found.total * float("nan")) if self.feature in batch.feature_index else found

        trainer.model.head.loss = spoiled


def test_a_row_whose_loss_is_no_number_is_named_whoever_has_it(lively_bert, tmp_path: Path):
    settings = {"task": "classification", "data": pack("classification"), "per_device_train_batch_size": 5}
    for feature in (3, 4):
        ranks = Ranks(2, tmp_path / f"{feature}", lively_bert, callbacks=[Spoil(feature)], **settings)
        for end in ranks.ended():
            assert end["error"] == "DivergedError" and f"train, row {feature + 1}" in end["message"], end
    for end in Ranks(2, tmp_path / "fsdp", lively_bert, callbacks=[Spoil(3)], fsdp=True, **settings).ended():
        assert end["error"] == "DivergedError" and "With fsdp its rows are not looked for" in end["message"]


class Weigh(Callback):
    """Writes down how many numbers this rank trains, and how many the optimiser keeps for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Any) -> None:
        kept = sum(value.numel() for state in trainer.optimizer.state.values() for value in state.values())
        weights = sum(weight.numel() for weight in trainer.weights)
        (self.folder / f"weighed-{trainer.ranks.index}").write_text(f"{weights} {kept}", "utf-8")


def test_a_sharded_model_is_held_in_parts(lively_bert, tmp_path: Path):
    settings = {"task": "classification", "data": pack("classification"), "callbacks": [Weigh(tmp_path)]}
    for fsdp in (False, True):
        ends = Ranks(3, tmp_path / f"{fsdp}", lively_bert, fsdp=fsdp, **settings).ended()
        assert [end.get("message") for end in ends] == [None] * 3
        held = [(tmp_path / f"weighed-{rank}").read_text("utf-8").split() for rank in range(3)]
        weights, kept = zip(*((int(part) for part in each) for each in held), strict=True)
        if not fsdp:
            whole = weights[0]
            assert weights == (whole,) * 3 and kept[0] > 2 * whole
    assert sum(weights) == whole and max(weights) < 0.4 * whole and max(kept) < 0.9 * whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "shares a model between several processes, and this is the only one"),
        ({"method": "gradual", "torch_compile": True}, "fsdp does not go with torch_compile, the method gradual"),
    ],
)
def test_what_fsdp_cannot_do_is_refused(settings, message, tiny_bert, tmp_path: Path):
    rows = {"task": "classification", "data": pack("classification"), "fsdp": True, **settings}
    if settings:
        ends = Ranks(2, tmp_path, tiny_bert, **rows).ended()
        assert all(end["error"] == "ConfigError" and message in end["message"] for end in ends)
    else:
        with pytest.raises(reasoner.ConfigError, match=message):
            reasoner.fine_tune(tiny_bert, **rows)


def test_several_seeds(lively_bert, tmp_path: Path):
    settings = {"task": "classification", "data": pack("classification"), "seeds": [0, 1]}
    main, other = Ranks(2, tmp_path / "ranks", lively_bert, output_dir=tmp_path / "run", **settings).ended()
    assert main.get("message") is None and main["weights"] == other["weights"]
    assert reasoner.load(tmp_path / "run").run.seeds is not None
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) == []


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_launchers(launcher, lively_bert, tmp_path: Path):
    """One line starts all; `accelerate` reads no settings of the machine here."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(model=str(lively_bert), folder=str(tmp_path / "run")), "utf-8")
    command = {
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"],
        "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1",
                       "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"],
    }[launcher]  # fmt: skip
    own = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, *command, str(script)], capture_output=True, text=True, timeout=120, env=own)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"steps of {rank}").read_text("utf-8") for rank in range(2)] == ["3 of 2 ranks"] * 2
    assert reasoner.load(tmp_path / "run").predict("red")["label"] in "ab"


SCRIPT = """
import os
import reasoner
rows = [{{"text": f"text {{number}}", "label": "ab"[number % 2]}} for number in range(24)]
result = reasoner.fine_tune(r"{model}", {{"train": rows, "validation": rows[:8]}}, task="classification", use_cpu=True,
                            output_dir=r"{folder}", num_train_epochs=1, per_device_train_batch_size=4)
with open(r"{folder}/../steps of " + os.environ["RANK"], "w") as file:
    file.write(f"{{result.metrics['train']['steps']}} of {{os.environ['WORLD_SIZE']}} ranks")
"""


def test_what_ranks_do_not_share_is_refused(monkeypatch, tiny_bert):
    monkeypatch.setenv("WORLD_SIZE", "2")
    rows = pack("classification")
    for call in (
        lambda: reasoner.compare(tiny_bert, rows, task="classification", methods=["full", "head"]),
        lambda: reasoner.search(tiny_bert, rows, task="classification", n_trials=2),
        lambda: reasoner.pretrain(tiny_bert, ["a text", "another"], output_dir="nowhere"),
    ):
        with pytest.raises(reasoner.ConfigError, match="runs in one process, and this is one of several"):
            call()
    assert not torch.distributed.is_initialized()
