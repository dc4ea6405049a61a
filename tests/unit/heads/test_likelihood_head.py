"""Are choices scored as plain transformers scores them, with every correction, shared and whole, padded on any side?"""

from __future__ import annotations

import math

import pytest
import torch

from reasoner.errors import ConfigError
from reasoner.evaluation import infer
from reasoner.notices import collect
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.testing import check_head, check_task

ROWS = [
    {"question": "Where is the dog?", "choices": ["on the beach", "on the stage with a red box", "Oslo"], "label": 1},
    {"question": "Who wrote the letter that was found?", "choices": ["a king", "a king of Oslo"], "label": 0},
    {
        "question": "When?",
        "context": "It snowed in April.",
        "choices": ["in April", "in May", "never", "é🎈"],
        "label": 0,
    },
]
LABELLED = [{"text": "The dog is red.", "label": "about_dogs"}, {"text": "The train leaves.", "label": "trains"},
            {"text": "A man is cooking.", "label": "food"}]  # fmt: skip


def prepared(prepare, architecture, task=MultipleChoice, rows=ROWS, **settings):
    return prepare(task(head="likelihood", head_settings=settings), rows=rows, architecture=architecture, sharp=True)


def scores(made, **batching):
    predictor, data = made
    return infer(predictor.model, predictor.batches(data, **batching), device=predictor.device)[0]


@torch.no_grad()
def by_hand(made, correction):
    """Score each choice on its own by plain transformers, from its text."""
    predictor, data = made
    network, tokenizer = predictor.model.network, predictor.tokenizer

    def log_probability(prompt, choice):
        whole, start = tokenizer(f"{prompt} {choice}")["input_ids"], len(tokenizer(prompt)["input_ids"])
        told = network(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(told[place - 1, whole[place]].item() for place in range(start, len(whole))), len(whole) - start

    found = []
    for example in data.examples:
        context = f"{example.context}\n" if example.context else ""
        for choice in example.choices:
            total, tokens = log_probability(f"{context}Question: {example.question}\nAnswer:", choice)
            prior = log_probability("Answer:", choice)[0] if correction == "prior" else 0.0
            found.append((total - prior) / {"token": tokens, "byte": len(choice.encode())}.get(correction, 1))
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("correction", ["sum", "token", "byte", "prior"])
@pytest.mark.parametrize("share_prefix", [True, False])
def test_scores_equal_each_choice_on_its_own(prepare, architecture, correction, share_prefix):
    made = prepared(prepare, architecture, correction=correction, share_prefix=share_prefix)
    assert scores(made) == pytest.approx(by_hand(made, correction), abs=1e-4)
    assert made.predictor.model.head.share_prefix == share_prefix  # the trial found no difference


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_do_not_matter(prepare, batch_size):
    made = prepared(prepare, "llama")
    assert scores(made, batch_size=batch_size) == pytest.approx(scores(made), abs=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_tokenizer_that_pads_on_the_left_changes_nothing(prepare, architecture):
    made = prepared(prepare, architecture)
    expected = scores(made)
    made.predictor.tokenizer.padding_side = "left"
    assert scores(made) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("choosing", [{"by_row": False}, {"by_row": False, "chooses": False}])
def test_architectures_that_choose_places_less_well_give_the_same(prepare, choosing):
    made = prepared(prepare, "llama", share_prefix=False)
    expected = scores(made)
    vars(made.predictor.model.head._places).update(choosing)
    assert scores(made) == pytest.approx(expected, abs=1e-5)


def test_outputs_are_told_feature_by_feature(prepare):
    predictor, data = prepared(prepare, "llama")
    (batch,) = predictor.batches(data, batch_size=100)
    model = predictor.model.eval()
    sizes = []
    for weight in (1.0, 0.5):  # of a debiased training, one for each feature
        outputs = model(batch)
        sizes.append(outputs["logits"].shape)
        beside = model.debiased(outputs, torch.full((len(batch.group), 1), weight), "focal")
        model.zero_grad()
        model.loss(beside, batch).total.backward()
        sizes.append(model.network.lm_head.weight.grad.clone())
    longest = (batch.targets["sizes"] != -100).sum(1).max()
    assert sizes[0][:2] == (len(batch.group), longest)
    torch.testing.assert_close(sizes[3], sizes[1] / 2)


def test_the_default_is_by_byte(prepare):
    made = prepared(prepare, "llama")
    assert scores(made) == pytest.approx(by_hand(made, "byte"), abs=1e-4)


def test_labels_become_words_and_probabilities(prepare):
    predictor, data = prepared(prepare, "llama", Classification, LABELLED, correction="sum")
    evaluation = predictor.evaluate(data)
    words = {"about_dogs": "about dogs", "food": "food", "trains": "trains"}
    assert predictor.task.reading.words == words
    network, tokenizer = predictor.model.network, predictor.tokenizer
    for example, prediction in zip(data.examples, evaluation.predictions, strict=True):
        prompt, logits = f"Text: {example.text}\nLabel:", []
        for word in words.values():
            whole, start = tokenizer(f"{prompt} {word}")["input_ids"], len(tokenizer(prompt)["input_ids"])
            with torch.no_grad():
                told = network(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
            logits.append(sum(told[place - 1, whole[place]].item() for place in range(start, len(whole))))
        expected = torch.tensor(logits).softmax(0).tolist()
        assert list(prediction["scores"].values()) == pytest.approx(expected, abs=1e-4)
        assert math.fsum(prediction["scores"].values()) == pytest.approx(1)


def test_an_architecture_that_gives_other_scores_is_run_whole_and_it_is_said(prepare, monkeypatch):
    made = prepared(prepare, "llama", correction="sum")
    expected = by_hand(made, "sum")
    monkeypatch.setattr("reasoner.heads.likelihood.shared_sums", lambda model, rows, device: torch.ones(len(rows)))
    with collect() as said:
        assert scores(made) == pytest.approx(expected, abs=1e-4)
    assert said == ["Each choice is run whole: with shared prefixes this architecture gives other scores."]


def test_rows_longer_than_an_attention_window_are_run_whole(prepare, monkeypatch):
    made = prepared(prepare, "llama", correction="sum")
    head = made.predictor.model.head
    _ = scores(made)
    head._window = 4
    monkeypatch.setattr("reasoner.heads.likelihood.shared_sums", None)  # would fail
    assert scores(made) == pytest.approx(by_hand(made, "sum"), abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_contract(architecture, tiny_models):
    model = tiny_models(architecture)
    for task, rows in ((MultipleChoice(), ROWS * 2), (Classification(), LABELLED * 2)):
        check_head("likelihood", task=task, rows=rows, model=model)


def test_tasks_keep_the_contract_with_it(tiny_models):
    model, head = tiny_models("llama"), {"head": "likelihood"}
    inputs = [{"question": row["question"], "choices": row["choices"]} for row in ROWS]
    check_task(MultipleChoice(**head), ROWS * 2, model=model, inputs=inputs, perfect=lambda e: {"choice": e.label})
    check_task(Classification(**head), LABELLED * 2, model=model, inputs=[row["text"] for row in LABELLED],
               perfect=lambda e: {"label": e.label})  # fmt: skip


def test_the_prior_is_not_trained(prepare):
    predictor, data = prepared(prepare, "llama", correction="prior")
    batch = next(iter(predictor.batches(data)))
    with pytest.raises(ConfigError, match='correction="prior" is for scoring alone'):
        predictor.model.loss(predictor.model(batch), batch)


def test_unknown_corrections_are_refused(prepare):
    with pytest.raises(ConfigError, match="correction is 'length'"):
        prepared(prepare, "llama", correction="length")
