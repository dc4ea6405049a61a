"""Do the options of a training reach it, are they in the record, and is what does not fit refused before training?"""

from __future__ import annotations

import pytest

import reasoner
from reasoner import options
from reasoner.errors import ConfigError
from reasoner.reports.card import model_card
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training.config import TrainingConfig

SETTINGS = {
    "layer_decay": 0.9,
    "head_learning_rate": 1e-3,
    "reinitialize_layers": 1,
    "ema_decay": 0.5,
    "average_checkpoints": 2,
    "balanced_sampling": True,
}


def test_all_of_them_together_train_and_are_in_the_record(tiny_bert, rows_of, tmp_path):
    rows = rows_of("NLI")
    result = reasoner.fine_tune(
        tiny_bert,
        {"train": rows, "validation": rows[:8]},
        task=NLI(class_weights="balanced", focal_gamma=2.0),
        output_dir=tmp_path / "out",
        num_train_epochs=2,
        use_cpu=True,
        check=False,
        **SETTINGS,
    )
    card = (tmp_path / "out" / "README.md").read_text()
    for name, value in {**SETTINGS, "focal_gamma": 2.0}.items():
        assert result.run.config[name] == value
        assert name.replace("_", "\\_") in card or name in card
    assert set(result.run.config["class_weights"]) == set(result.run.labels)
    said = " ".join(result.run.notices)
    assert "The top 1 layers and the pooler begin anew" in said
    assert "Rows are drawn so that each label is seen alike" in said
    assert "The mean of the weights of the evaluations at steps" in said
    again = reasoner.load(tmp_path / "out", use_cpu=True)
    assert again.evaluate(rows[:8])["accuracy"] == result.metrics["validation"]["accuracy"]
    assert model_card(result.run)


@pytest.mark.parametrize("task", [QuestionAnswering(), MultipleChoice(), reasoner.Classification(kind="number")])
def test_balanced_sampling_without_labels_is_refused(task, tiny_bert, rows_of):
    rows = rows_of(type(task).__name__, getattr(task, "kind", None))
    with pytest.raises(ConfigError, match="has no labels that rows could be drawn by"):
        reasoner.fine_tune(tiny_bert, {"train": rows, "validation": rows[:8]}, task=task, balanced_sampling=True)


def test_what_balancing_does_is_said(rows_of):
    from reasoner.data.examples import examples_from_rows
    from reasoner.data.sources import read_splits
    from reasoner.notices import collect

    rows = [{"premise": f"a {i}", "hypothesis": "b", "label": "entailment" if i else "neutral"} for i in range(8)]
    examples = examples_from_rows(read_splits({"train": rows}), NLI.Example)
    task = NLI.from_examples(examples)
    with collect() as said:
        numbers = options.strata(task, examples["train"], TrainingConfig(balanced_sampling=True))
    assert sorted(numbers.tolist()) == [0] * 7 + [1]
    assert said[-1].endswith("on average: entailment 0.571, neutral 4.")
    assert options.strata(task, examples["train"], TrainingConfig()) is None


@pytest.mark.parametrize("task", [NER, NLI])
@pytest.mark.parametrize("gamma", [-1, float("inf"), "2"])
def test_a_focus_that_is_none_is_refused(task, gamma):
    with pytest.raises(ConfigError, match="focal_gamma is"):
        task.from_examples({"train": []}, focal_gamma=gamma)


def test_a_focus_reaches_the_heads(prepare):
    for task in (NER(focal_gamma=1.5), NLI(focal_gamma=1.5)):
        predictor, data = prepare(task, sharp=True)
        plain = prepare(type(task)(), sharp=True).predictor
        assert predictor.model.head.focal_gamma == 1.5 and plain.model.head.focal_gamma == 0
        (batch,) = predictor.batches(data, batch_size=100)
        ours, theirs = (p.model.eval().loss(p.model(batch), batch) for p in (predictor, plain))
        assert 0 < ours.total.item() < theirs.total.item() and ours.count.item() == theirs.count.item()
