"""Does a sentence encoder learn from a few texts by setfit, and predict as setfit's own model without it?"""

from __future__ import annotations

import shutil
import sys

import pytest

import reasoner
from reasoner import Classification, contrastive
from reasoner.errors import ConfigError
from reasoner.testing import check_head

CPU = {"use_cpu": True}
TRAIN = [
    {"text": f"The {colour} {thing} is here.", "label": colour}
    for colour in ("red", "blue", "green")
    for thing in ("box", "lamp", "boat", "door")
]
TEST = [{"text": f"A {colour} shirt.", "label": colour} for colour in ("red", "blue", "green")]
SPLITS = {"train": TRAIN, "test": TEST}


def few(model, splits=SPLITS, task="classification", **settings):
    return reasoner.few_shot(
        model, splits, task=task, by="setfit", **{"shots": 6, "choose": "balanced", **settings}, **CPU
    )


@pytest.fixture(scope="module")
def learned(lively_bert):
    """A result, and setfit's own model of the same training."""
    pytest.importorskip("setfit", reason="the extra 'setfit' is not installed")
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        take_over = contrastive._take_over
        patch.setattr(contrastive, "_take_over", lambda made, model: (kept.append(model), take_over(made, model)))
        return few(lively_bert), kept[0]


def test_it_predicts_as_the_model_of_setfit_does(learned):
    result, model = learned
    texts = [row["text"] for row in TRAIN + TEST]
    expected = model.predict_proba(texts, as_numpy=True)
    for prediction, probabilities in zip(result.predict(texts), expected, strict=True):
        assert list(prediction["scores"].values()) == pytest.approx(list(probabilities), abs=1e-4)
    assert "few-shot: 6 balanced examples, seed 0, by setfit" in result.report()
    assert result.run.trainable_parameters == result.run.parameters and result.run.config["by"] == "setfit"


def test_two_labels_pairs_and_the_first_token(lively_bert, tmp_path):
    pytest.importorskip("setfit", reason="the extra 'setfit' is not installed")
    shutil.copytree(lively_bert, tmp_path, dirs_exist_ok=True)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    body = Transformer(str(lively_bert))
    pooling = Pooling(32, pooling_mode="cls")
    SentenceTransformer(modules=[body, pooling]).save(str(tmp_path))
    rows = [
        {"premise": f"A {colour} box.", "hypothesis": f"A {other} box.", "label": "entailment" if same else "neutral"}
        for colour, other, same in [("red", "red", True), ("blue", "blue", True), ("red", "blue", False),
                                    ("blue", "red", False)]
    ]  # fmt: skip
    kept = []
    with pytest.MonkeyPatch.context() as patch:
        take_over = contrastive._take_over
        patch.setattr(contrastive, "_take_over", lambda made, model: (kept.append(model), take_over(made, model)))
        result = few(tmp_path, {"train": rows, "test": rows}, "nli", shots=4)
    assert result.predictor.task.head_settings == {"pooling": "first", "normalized": False}
    (expected,) = kept[0].predict_proba(["A red box. A blue box."], as_numpy=True)
    prediction = result.predict(("A red box.", "A blue box."))
    assert list(prediction["scores"].values()) == pytest.approx(list(expected), abs=1e-4)


def test_it_is_saved_and_compared(learned, tmp_path):
    result, _ = learned
    result.save(tmp_path / "model")
    found = reasoner.load(tmp_path / "model", **CPU)
    texts = [row["text"] for row in TEST]
    for one, other in zip(found.predict(texts), result.predict(texts), strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    assert found.compare(result, TEST).fixed == []


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_its_head_keeps_the_contract(lively_bert, pooling):
    task = Classification(head_settings={"pooling": pooling})
    check_head("sentence", task=task, rows=TRAIN, model=lively_bert)


def test_its_head_is_trained_by_fine_tune_too(lively_bert):
    run = {"num_train_epochs": 30, "learning_rate": 3e-3, "check": False, **CPU}
    task = Classification(head="sentence", head_settings={"normalized": False})
    tuned = reasoner.fine_tune(lively_bert, {"train": TRAIN, "validation": TRAIN}, task=task, **run)
    assert tuned.metrics["validation"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "similarity"}, "few_shot is by 'likelihood' or 'setfit', not by 'similarity'"),
        ({"template": "{text}"}, "by='setfit' does not take: template"),
        ({"choose": "nearest"}, "does not take: choose='nearest'"),
        ({"task": Classification(focal_gamma=2.0)}, "does not take: focal_gamma"),
        ({"task": "multiple_choice"}, "MultipleChoice has none"),
        ({"shots": 2}, "has no example. Give more shots"),
    ],
)
def test_what_is_refused(lively_bert, settings, message):
    if "no example" in message:
        pytest.importorskip("setfit", reason="the extra 'setfit' is not installed")
    pack = reasoner.synthetic.multiple_choice_pack(train=4, validation=2, test=2)
    splits = pack if settings.get("task") == "multiple_choice" else SPLITS
    settings = {"task": "classification", "by": "setfit", "shots": 3, "choose": "balanced", **settings}
    with pytest.raises(ConfigError) as caught:
        reasoner.few_shot(lively_bert, splits, **settings, **CPU)
    assert message in str(caught.value)


def test_without_setfit_the_extra_is_named(lively_bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "setfit", None)
    with pytest.raises(ConfigError, match="pip install 'reasoner-ft\\[setfit\\]'"):
        few(lively_bert)
