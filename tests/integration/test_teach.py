"""Does `teach` give the matrix that single trainings give, for each protection, and refuse what has no end?"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

import reasoner
from reasoner import EWC
from reasoner.errors import ConfigError

SETTINGS: dict[str, Any] = {"num_train_epochs": 8, "per_device_train_batch_size": 8, "use_cpu": True, "check": False,
                            "learning_rate": 3e-3, "disable_tqdm": True, "warmup_steps": 0.0}  # fmt: skip
NAMES = {"LOC": ["lisbon", "vienna", "kyoto"], "ORG": ["nokia", "samsung", "ajax"], "PER": ["maria", "peter", "emily"]}


def batch(kind: str) -> dict[str, Any]:
    """Sentences with one name each, of this type."""
    random = Random(kind)

    def row() -> dict[str, Any]:
        tokens = random.choice(["we saw X today", "X was in the news", "nobody knows X or the river"]).split()
        place = tokens.index("X")
        tokens[place] = random.choice(NAMES[kind])
        return {"tokens": tokens, "ner_tags": [f"B-{kind}" if n == place else "O" for n in range(len(tokens))]}

    return {
        "train": [row() for _ in range(24)],
        "validation": [row() for _ in range(8)],
        "test": [row() for _ in range(12)],
    }


BATCHES = {kind.lower(): batch(kind) for kind in NAMES}


def taught(model: Path, folder: Path, **settings: Any) -> reasoner.Teaching:
    return reasoner.teach(model, BATCHES, task="ner", output_dir=folder, **{**SETTINGS, **settings})


def test_the_matrix_is_that_of_one_training_after_the_other(lively_bert, tmp_path):
    found = taught(lively_bert, tmp_path / "all")
    assert found.batches == ("loc", "org", "per") and found.protection == "none"
    result = None
    for number, data in enumerate(BATCHES.values()):
        settings = {**SETTINGS, "task": "ner", "evaluate_before": False, "output_dir": tmp_path / f"one-{number}"}
        first = {"model": lively_bert} if number == 0 else {"model": None, "after": tmp_path / f"one-{number - 1}"}
        result = reasoner.fine_tune(data=data, **first, **settings)
        known = [result.evaluate(other["test"])["f1"] for other in list(BATCHES.values())[: number + 1]]
        assert list(found.matrix[number]) == [*known, *[None] * (2 - number)]
    assert found.untrained == (None, None, None)
    assert found.transfer.forward is None and found.transfer.forgetting > 0.5
    last = reasoner.load(found.folders[-1], use_cpu=True)
    assert last.run.labels == result.run.labels


def test_replay_forgets_less_and_the_report_says_it(lively_bert, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'plots' is not installed")
    found = taught(lively_bert, tmp_path / "replay", protection="replay")
    assert found.transfer.forgetting < 0.2 and found.transfer.average > 0.8
    text, html = repr(found), found._repr_html_()
    assert (
        "after org" in text and "Forgetting " in text and "-: the model had no output" in text and "after org" in html
    )
    found.plot(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes()[:4] == b"\x89PNG"
    values = json.loads(json.dumps(found.to_dict()))
    assert values["forgetting"] == found.transfer.forgetting and values["folders"] == ["batch-1", "batch-2", "batch-3"]


def test_called_again_it_trains_nothing_and_says_the_same(lively_bert, tmp_path, monkeypatch):
    first = taught(lively_bert, tmp_path / "run", protection=EWC(rows=4), num_train_epochs=1)
    weights = [(folder / "model.safetensors").read_bytes() for folder in first.folders]

    def no_training(*arguments: Any, **settings: Any) -> None:
        pytest.fail("training was reached")

    monkeypatch.setattr("reasoner.tuning.Trainer", no_training)
    again = taught(lively_bert, tmp_path / "run", protection=EWC(rows=4), num_train_epochs=1)
    assert again == first
    assert [(folder / "model.safetensors").read_bytes() for folder in first.folders] == weights
    with pytest.raises(ConfigError, match=r"previous.protection was 'EWC"):
        taught(lively_bert, tmp_path / "run", protection=EWC(rows=5), num_train_epochs=1)
    with pytest.raises(ConfigError, match=r"settings.seed was 42 and is 1"):
        taught(lively_bert, tmp_path / "run", protection=EWC(rows=4), num_train_epochs=1, seed=1)


def test_adapters_forget_nothing_and_it_is_said_what_that_means(lively_bert, tmp_path):
    found = taught(lively_bert, tmp_path / "adapters", protection="adapters", method="adapter")
    assert found.transfer.forgetting == 0.0 and found.told_apart and "by its own adapter" in repr(found)
    models = reasoner.load_together(dict(zip(found.batches, found.folders, strict=True)), use_cpu=True)
    for place, (name, model) in enumerate(models.items()):
        assert model.evaluate(BATCHES[name]["test"])["f1"] == found.matrix[2][place]


def test_a_batch_whose_labels_are_known_is_scored_before_it_is_taught(lively_bert, tmp_path):
    packs = [reasoner.synthetic.nli_pack(train=12, validation=6, test=9, seed=seed) for seed in (0, 1)]
    settings = {**SETTINGS, "num_train_epochs": 1}
    found = reasoner.teach(lively_bert, packs, task="nli", output_dir=tmp_path / "nli", **settings)
    assert found.batches == ("batch 1", "batch 2")
    settings |= {"learning_rate": 1e-30}
    untrained = reasoner.fine_tune(lively_bert, packs[0], task="nli", **settings)
    assert found.untrained[1] == pytest.approx(untrained.evaluate(packs[1]["test"])["accuracy"])
    assert found.transfer.forward == pytest.approx(found.matrix[0][1] - found.untrained[1])


def test_a_limit_stops_and_is_marked(lively_bert, tmp_path):
    found = taught(lively_bert, tmp_path / "limit", max_forgetting=0.05, eval_steps=1)
    assert found.stopped[1:] == (True, True) and "stopped" in repr(found)
    for number in (1, 2):
        assert all(found.matrix[number][place] >= found.matrix[number - 1][place] - 0.2 for place in range(number))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": [BATCHES["loc"]]}, "There are 1 batches"),
        ({"batches": BATCHES["loc"]}, "Give a list of data sets"),
        ({"batches": "data"}, "Give a list of data sets"),
        ({"method": "lora"}, "LoRA adds weights to a base model"),
        ({"protection": "adapters"}, "needs a method that adds weights"),
        ({"protection": "adapters", "method": "lora", "max_forgetting": 0.1}, "forgets nothing"),
        ({"protection": "magic"}, "protection is 'magic'"),
    ],
)
def test_what_cannot_be_taught_to_its_end_is_refused(settings, message, lively_bert, tmp_path):
    arguments = {"batches": BATCHES, "task": "ner", "output_dir": tmp_path / "none", **SETTINGS, **settings}
    with pytest.raises(ConfigError, match=message):
        reasoner.teach(lively_bert, **arguments)
    assert not (tmp_path / "none").exists()
