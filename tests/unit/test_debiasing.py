"""Is the gradient of a training against a shortcut that of the papers, and is no row judged by a model that saw it?"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from reasoner.data.splits import cut_validation
from reasoner.debiasing import LEAST, BiasOutputs, biased
from reasoner.errors import ConfigError
from reasoner.evaluation import Encoded
from reasoner.options import check_head, check_options
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras
from reasoner.training.trainer import Trainer

COMMON = {"use_cpu": True, "bf16": False, "learning_rate": 1e-3, "fast_dropout": False, "dropout": 0.0}


def gradients(predictor, data, config, *, batch_size=8):
    """Return the gradient of the first batch's objective as the trainer computes it, its loss, and the batch."""
    batches = predictor.batches(data, batch_size=batch_size)
    trainer = Trainer(predictor.model, batches, config=config, extras=Extras(bias=data.bias))
    trainer.model.train()
    trainer.optimizer.zero_grad()
    batch = next(iter(batches))
    (loss,) = trainer._micro_batches.run([batch], trainer.backward, trainer.optimizer.zero_grad)
    return {n: w.grad.clone() for n, w in predictor.model.named_parameters() if w.grad is not None}, loss, batch


def by_hand(model, total):
    weights = dict(model.named_parameters())
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(weights, found, strict=True) if gradient is not None}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        scale = max(1.0, theirs[name].abs().max().item())
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-4 * scale, msg=name)
    assert max(gradient.abs().max().item() for gradient in ours.values()) > 1e-4


def probabilities(rows, labels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, labels, generator=generator).add(0.1).softmax(-1)


def test_a_product_of_experts_is_the_softmax_of_both(prepare):
    predictor, data = prepare(NLI(), sharp=True, dropout=0.0)
    said = probabilities(len(data.examples), 3)
    config = TrainingConfig(debias="word overlap", **COMMON)
    ours, loss, batch = gradients(predictor, data._replace(bias=BiasOutputs(said.log())), config)
    logits, labels = predictor.model(batch)["logits"], batch.targets["labels"]
    product = logits.softmax(-1) * said[batch.feature_index]  # (rows, labels)
    right = (product / product.sum(-1, keepdim=True))[torch.arange(len(labels)), labels]
    same(ours, by_hand(predictor.model, -right.log().sum()))
    logits = predictor.model(batch)["logits"]
    assert loss.total.item() == pytest.approx(functional.cross_entropy(logits, labels, reduction="sum").item())


def test_choices_are_a_product_too(prepare):
    predictor, data = prepare(MultipleChoice(), sharp=True, dropout=0.0)
    features = sum(map(len, data.features))
    said = probabilities(features, 1).add(torch.arange(features).unsqueeze(-1) % 3)  # any numbers above 0
    config = TrainingConfig(debias="choices only", **COMMON)
    ours, _, batch = gradients(predictor, data._replace(bias=BiasOutputs(said.log())), config)
    scores = predictor.model(batch)["logits"].squeeze(-1).exp() * said[batch.feature_index].squeeze(-1)
    total = 0
    for group in range(int(batch.group.max()) + 1):
        own = batch.group == group
        total = total - (scores[own & (batch.targets["labels"] == 1)] / scores[own].sum()).log().sum()
    same(ours, by_hand(predictor.model, total))


def test_the_focal_form_weighs_each_row_by_what_the_shortcut_misses(prepare):
    predictor, data = prepare(NLI(), sharp=True, dropout=0.0)
    weights = probabilities(len(data.examples), 1).flatten() * torch.linspace(0, 1, len(data.examples))
    config = TrainingConfig(debias="word overlap", debias_form="focal", **COMMON)
    ours, _, batch = gradients(predictor, data._replace(bias=BiasOutputs(weights.unsqueeze(-1))), config)
    losses = functional.cross_entropy(predictor.model(batch)["logits"], batch.targets["labels"], reduction="none")
    same(ours, by_hand(predictor.model, (weights[batch.feature_index] * losses).sum()))


# --- what the shortcut says ------------------------------------------------------------------------------------------


ROWS = [
    {"premise": f"{name} saw {other}.", "hypothesis": hypothesis, "label": label}
    for index, (name, other) in enumerate(zip("ABCDEFGHIJKLMNOP", "PONMLKJIHGFEDCBA", strict=True))
    for hypothesis, label in (
        (f"{name} saw {other}.", "entailment" if index % 4 else "neutral"),
        (f"{name} did not see {other}.", "contradiction"),
        (f"X met Y{index}.", "neutral"),
    )
]


def halves_of(rows):
    return cut_validation(
        [row.group for row in rows], [row.stratum for row in rows], share=0.5, seed=TrainingConfig().seed
    )


def test_numbers_are_judged_by_a_regression_on_the_other_half(prepare):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predictor, data = prepare(NLI(), rows=ROWS)
    config = TrainingConfig(debias="word overlap", debias_strength=2.0, **COMMON)
    rows, told = biased(predictor, {"train": data}, config, train=lambda *_: pytest.fail("nothing is trained"))
    features = predictor.task.shallow_features()["word overlap"]
    labels, expected = list(predictor.task.labels), np.zeros((len(ROWS), 3))
    halves = halves_of(data.examples)
    assert sorted(halves[0] + halves[1]) == list(range(len(ROWS)))
    for own, other in (halves, halves[::-1]):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit([features(data.examples[i]) for i in own], [data.examples[i].label for i in own])
        order = [list(model.classes_).index(label) for label in labels]
        expected[other] = model.predict_proba([features(data.examples[i]) for i in other])[:, order]
    np.testing.assert_allclose(rows.bias.values.numpy(), 2 * np.log(expected.clip(LEAST)), rtol=1e-5)
    hits = np.mean(
        [labels[row.argmax()] == example.label for row, example in zip(expected, data.examples, strict=True)]
    )
    assert told == {"debias_form": "product", "debias_strength": 2.0, "debias_accuracy": pytest.approx(hits)}
    assert hits > 0.85


class Recorded:
    """Stands for a trained model: it knows the rows that it was given, and nothing of others."""

    def __init__(self, task, splits):
        self.task, self.known = task, {row.hypothesis for row in splits["train"]}
        assert all(row.premise == "" for split in splits.values() for row in split)

    def evaluate_examples(self, examples):
        assert all(row.premise == "" for row in examples)
        labels = list(self.task.labels)
        sure = [0.8 if row.hypothesis in self.known else 0.5 for row in examples]
        predictions = [{"scores": dict(zip(labels, (p, (1 - p) / 2, (1 - p) / 2), strict=True))} for p in sure]
        return type("Evaluation", (), {"predictions": predictions})


@pytest.mark.parametrize(("form", "value"), [("product", 0.5), ("focal", 0.25)])
def test_parts_of_the_input_are_judged_by_models_that_never_saw_the_row(prepare, form, value):
    predictor, data = prepare(NLI(), rows=ROWS)
    config = TrainingConfig(debias="hypothesis only", debias_form=form, **COMMON)
    trained = []

    def train(splits, *, config):
        assert config.debias is config.debias_form is None and not config.evaluate_before
        torch.rand(3)  # a training draws numbers
        trained.append(len(splits["train"]))
        return SimpleNamespace(predictor=Recorded(predictor.task, splits))

    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    rows, _ = biased(predictor, {"train": data, "validation": data}, config, train)
    assert torch.equal(torch.rand(1), expected), "random states are as they were"
    assert sum(trained) == len(ROWS) and len(trained) == 2
    first = rows.bias.values[:, 0]
    if form == "product":
        assert first.exp().tolist() == pytest.approx([value] * len(ROWS))
    else:  # (1 - p)**2 of the right label
        assert {round(weight, 4) for weight in first.tolist()} == {value, 0.5625}


def test_a_part_that_is_the_whole_is_refused(prepare):
    predictor, data = prepare(Classification())
    config = TrainingConfig(debias="text only", **COMMON)
    with pytest.raises(ConfigError, match="no row has a text_pair"):
        biased(predictor, {"train": data, "validation": data}, config, train=lambda *_: pytest.fail("trained"))


def test_rows_that_cannot_be_cut_in_two_are_refused(prepare):
    rows = [{**ROWS[0], "hypothesis": f"h {n}", "label": label} for n, label in enumerate(("entailment", "neutral"))]
    predictor, data = prepare(NLI(), rows=rows)
    with pytest.raises(ConfigError, match="2 training rows cannot be cut in two, since rows of equal text"):
        biased(predictor, {"train": data}, TrainingConfig(debias="word overlap"), train=lambda *_: None)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (NLI(), {"debias": "hypothesis onl"}, "there is no 'hypothesis onl' here. Did you mean 'hypothesis only'"),
        (NLI(), {"debias_form": "focal"}, "debias_form means nothing without debias"),
        (NLI(), {"debias_strength": 2.0}, "debias_strength means nothing without debias"),
        (NLI(), {"debias": "word overlap", "augmentation": 1}, "does not go with augmentation"),
    ],
)
def test_what_makes_no_sense_is_refused(task, settings, message):
    with pytest.raises(ConfigError, match=message):
        check_options(task, TrainingConfig(**settings))


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (NER(), "words only"),
        (QuestionAnswering(), "no question"),
        (Classification(kind="multi"), "text only"),
        (Classification(kind="number"), "text only"),
    ],
)
def test_heads_that_choose_no_label_are_refused(prepare, task, name):
    predictor, data = prepare(task)
    config = TrainingConfig(debias=name, **COMMON)
    with pytest.raises(ConfigError, match="debias: "):
        check_options(predictor.task, config)
        check_head(predictor, data, config)


def test_wrong_settings_are_refused():
    for settings, message in (
        ({"debias": ""}, "the name of a shortcut"),
        ({"debias_form": "mixin"}, "one of product, focal"),
        ({"debias_strength": 0}, "a number above 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            TrainingConfig(**settings)
    assert TrainingConfig().debiasing == ("product", 1.0)
    assert replace(TrainingConfig(), debias_form="focal").debiasing == ("focal", 2.0)


def test_rows_are_taken_apart_as_they_are(prepare):
    _, data = prepare(NLI(), rows=ROWS)
    assert Encoded(data.examples, data.features).bias is None
