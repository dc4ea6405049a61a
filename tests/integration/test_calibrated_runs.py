"""Does a whole run calibrate its probabilities, store that with the model, and leave every prediction as it was?"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES, assert_close

import reasoner
from reasoner import ConfigError

CALIBRATED = [name for name in CASES if name != "a number"]
MEASURED = {"count", "ece", "mce", "bins", "risk_coverage", "risk_coverage_area"}
FITTED = {"temperature", "validation_ece_before", "validation_ece_after", "conformal_scores"}


@pytest.fixture(scope="module")
def overconfident(lively_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[reasoner.Result, Path]:
    """A model that learned the noise of few rows by heart, so that it is far too sure of others."""
    rng = random.Random(0)
    colours, things = ("red", "green", "blue"), ("lamp", "chair", "kettle", "radio", "bench")

    def rows(number: int) -> list[dict[str, str]]:
        found = []
        for index in range(number):
            colour = rng.choice(colours)
            label = colour if rng.random() < 0.6 else rng.choice(colours)
            found.append({"text": f"The {colour} {rng.choice(things)} number {index % 97} is here.", "label": label})
        return found

    folder = tmp_path_factory.mktemp("overconfident") / "model"
    data = {"train": rows(60), "validation": rows(200), "test": rows(200)}
    settings = {"num_train_epochs": 30, "learning_rate": 3e-3, "per_device_train_batch_size": 10, "use_cpu": True}
    settings["eval_steps"] = 180  # at the end alone: the last weights are kept, not those that were least wrong
    result = reasoner.fine_tune(
        lively_bert, data, task="classification", output_dir=folder, patience=None, evaluate_before=False, **settings
    )
    return result, folder


def _plain(result: reasoner.Result, inputs: list[Any]) -> list[Any]:
    """Predict without the temperature."""
    head = result.predictor.model.head
    temperature, head.temperature = head.temperature, 1.0
    try:
        return result.predict(inputs)
    finally:
        head.temperature = temperature


def test_overconfidence_is_mended(overconfident: tuple[reasoner.Result, Path]) -> None:
    result, _ = overconfident
    calibration = result.run.calibration
    assert calibration.keys() == FITTED | MEASURED
    assert calibration["temperature"] > 1.2
    assert calibration["validation_ece_after"] < calibration["validation_ece_before"]
    assert calibration["count"] == 200 and len(calibration["conformal_scores"]) == 200
    assert any(f"temperature {calibration['temperature']:.3f}" in notice for notice in result.run.notices)


def test_what_is_predicted_is_what_was_scored(overconfident: tuple[reasoner.Result, Path]) -> None:
    result, _ = overconfident
    inputs = [f"The {colour} lamp number {number} is here." for colour in ("red", "blue") for number in range(10)]
    plain, calibrated = _plain(result, inputs), result.predict(inputs)
    assert [p["label"] for p in plain] == [p["label"] for p in calibrated]
    assert all(p["score"] > c["score"] for p, c in zip(plain, calibrated, strict=True))


def test_the_loaded_model_gives_the_same_probabilities(overconfident: tuple[reasoner.Result, Path]) -> None:
    result, folder = overconfident
    assert json.loads((folder / "reasoner_config.json").read_text("utf-8"))["temperature"] > 1.2
    loaded = reasoner.load(folder, use_cpu=True)
    inputs = ["The red lamp number 3 is here.", "The blue bench number 9 is here."]
    for arguments in ({}, {"min_confidence": 0.7}, {"coverage": 0.9}):
        assert_close(loaded.predict(inputs, **arguments), result.predict(inputs, **arguments))
    again = reasoner.fine_tune(folder, CASES["classification"].splits, task="classification", max_steps=1, use_cpu=True)
    assert again.predictor.model.head.temperature == again.run.calibration["temperature"]  # not that of the folder


def test_abstaining_lowers_the_risk_as_the_curve_says(overconfident: tuple[reasoner.Result, Path]) -> None:
    points = overconfident[0].run.calibration["risk_coverage"]
    assert len(points) <= 50 and points[-1]["coverage"] == 1.0
    assert points[len(points) // 2]["risk"] <= points[-1]["risk"]


def test_the_calibration_is_plotted(overconfident: tuple[reasoner.Result, Path], tmp_path: Path) -> None:
    overconfident[0].plot_calibration(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", CALIBRATED)
def test_every_task_has_its_figures(lively_bert: Path, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    settings = {"max_steps": 4, "learning_rate": 3e-3, "evaluate_before": False, "use_cpu": True}
    result = reasoner.fine_tune(lively_bert, case.splits, task=case.task, **settings)
    calibration = result.run.calibration
    found_none = name == "ner" and not calibration  # four steps may find no entity
    assert found_none or calibration.keys() == FITTED | MEASURED
    has_sets = name in ("nli", "classification", "multiple_choice")
    assert bool(calibration.get("conformal_scores")) == has_sets
    if has_sets:
        for prediction in result.predict(case.inputs, coverage=0.6):
            assert prediction["label_set"][:1] in ([], [prediction.get("label", prediction.get("choice"))])
    else:
        with pytest.raises(ConfigError, match=r"coverage: this model has no scores"):
            result.predict(case.inputs, coverage=0.6)
    assert len(result.predict(case.inputs, min_confidence=0.99)) == len(case.inputs)
    result.save(tmp_path / "model")
    loaded = reasoner.load(tmp_path / "model", use_cpu=True)
    assert_close(loaded.predict(case.inputs, min_confidence=0.1), result.predict(case.inputs, min_confidence=0.1))


def test_a_number_has_none(lively_bert: Path) -> None:
    case = CASES["a number"]
    result = reasoner.fine_tune(lively_bert, case.splits, task=case.task, max_steps=1, use_cpu=True)
    assert result.run.calibration == {}
    with pytest.raises(ConfigError, match=r"There is no calibration to plot"):
        result.plot_calibration()
    with pytest.raises(ConfigError, match=r"gives no confidence"):
        result.predict(case.inputs, min_confidence=0.5)
