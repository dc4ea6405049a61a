"""Is a copy beside a row the row after an edit, and is its gradient that of the formula, word by word?"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reasoner
from gradients import collected, first_gradient, same
from reasoner.data.alignment import split_words
from reasoner.data.edited import Edited, Replacement, counterparts, words_after
from reasoner.edits.copies import with_copies
from reasoner.errors import ConfigError
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering
from reasoner.training import parts
from reasoner.training.config import TrainingConfig
from reasoner.training.objective import Extras

TASKS = {"nli": NLI(), "multi": Classification(kind="multi"), "multiple_choice": MultipleChoice(), "ner": NER(),
         "crf": NER(head="crf")}  # fmt: skip


def config_of(**settings):
    settings = {"consistency": 0.7, **settings}
    return TrainingConfig(use_cpu=True, bf16=False, learning_rate=1e-3, fast_dropout=False, **settings)


def gradient(predictor, data, config, *, seed=5):
    """Return the gradient of the first batch's objective as the trainer sums it up, the loss, and the batch."""
    batches = predictor.batches(data, batch_size=8)
    copies = with_copies(predictor, data, config).copies
    return first_gradient(predictor, batches, config=config, extras=Extras(copies=copies), seed=seed)


# --- what stands in whose place -------------------------------------------------------------------------------------

WORDS = st.lists(st.text("abcdeé", min_size=1, max_size=6), min_size=1, max_size=8)


@given(words=WORDS, data=st.data())
def test_a_word_that_an_edit_leaves_alone_stands_for_itself(words, data):
    text = " ".join(words)
    places = st.integers(0, len(text))
    cuts = sorted(data.draw(st.lists(places, max_size=6)))
    pieces = [
        Replacement(start, end, data.draw(st.text("ab .,", max_size=5)))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    edited = Edited.of(text, pieces)
    before = split_words(text)
    after = words_after(edited, before)
    found = counterparts(edited, before, after)
    assert len(set(found.values())) == len(found)
    assert sorted(found.items()) == list(zip(sorted(found), sorted(found.values()), strict=True))  # in order
    for number, (start, end) in enumerate(before):
        if not any(piece.start <= end and start <= piece.end for piece in pieces):
            now = after[found[number]]
            assert edited.text[now.start : now.end] == text[start:end]


def test_a_name_of_two_words_and_one_of_three():
    text = "In New York it rains"
    edited = Edited.of(text, [Replacement(3, 11, "Rio de Janeiro"), Replacement(0, 0, "So what. ")])
    before = split_words(text)
    after = words_after(edited, before)
    now = {text[slice(*before[one])]: edited.text[slice(*after[other])]
           for one, other in counterparts(edited, before, after).items()}  # fmt: skip
    assert now == {"In": "In", "New": "Rio", "York": "de", "it": "it", "rains": "rains"}
    back = counterparts(edited.inverse, after, before)
    assert {edited.text[slice(*after[one])] for one in back} == {"In", "Rio", "de", "it", "rains"}


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_token_of_a_word_is_found_in_the_copy(prepare, side):
    texts = ["see ann run", "dogs bob see and cats run", "a cat"]
    rows = [{"tokens": text.split(), "ner_tags": ["O", "B-A", *["O"] * (len(text.split()) - 2)]} for text in texts]
    predictor, data = prepare(NER(), rows=rows)
    predictor.tokenizer.padding_side = side
    copies = with_copies(predictor, data, config_of(augmentation_edits=["distractor"])).copies
    batch = predictor.batches(data).collate([2, 0, 1])
    copy, places = copies(batch)
    assert copy.inputs["input_ids"].shape[1] > batch.inputs["input_ids"].shape[1]
    labelled = batch.targets["labels"] != -100
    assert torch.equal(places >= 0, labelled)
    rows_of = torch.arange(3).unsqueeze(1).expand_as(places)[labelled]
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(copy.inputs[name][rows_of, places[labelled]], batch.inputs[name][labelled])
    assert torch.equal(copy.targets["labels"][rows_of, places[labelled]], batch.targets["labels"][labelled])
    assert (copy.targets["labels"] != -100).sum() > labelled.sum()  # the distractor's words are learned too


# --- the objective --------------------------------------------------------------------------------------------------


def by_hand(model, task, batch, copy, places):
    """The mean of both losses, and half of KL(p, q) + KL(q, p) between what stands in each other's place."""

    def kl(p, q):
        return (p * (p.log() - q.log())).sum()

    def both(x, y):
        p, q = x.softmax(-1), y.softmax(-1)
        return (kl(p, q) + kl(q, p)) / 2

    one, two = model(batch), model(copy)
    losses = [model.loss(one, batch), model.loss(two, copy)]
    x, y = one["logits"], two["logits"]
    if task == "ner":
        pairs = [(x[row, token], y[row, places[row, token]]) for row, token in (places >= 0).nonzero().tolist()]
    elif task == "multiple_choice":
        questions = [batch.group == question for question in batch.group.unique()]
        pairs = [(x[own].squeeze(-1), y[own].squeeze(-1)) for own in questions]
    elif task == "multi":
        pairs = [(torch.stack([torch.zeros_like(a), a]), torch.stack([torch.zeros_like(b), b]))
                 for a, b in zip(x.flatten(), y.flatten(), strict=True)]  # fmt: skip
    else:
        pairs = list(zip(x, y, strict=True))
    return sum(loss.total for loss in losses) / 2, sum(both(*pair) for pair in pairs), losses


@pytest.mark.parametrize("task", [name for name in TASKS if name != "crf"])
def test_the_gradient_is_the_formula(prepare, task):
    predictor, data = prepare(TASKS[task], dropout=0.0, sharp=True, packing=False)
    predictor.model.double()
    reference, config = deepcopy(predictor.model).train(), config_of()
    ours, loss, batch = gradient(predictor, data, config)
    torch.manual_seed(5)
    copy, places = with_copies(predictor, data, config).copies(batch)
    total, divergences, losses = by_hand(reference, task, batch, copy, places)
    assert divergences.item() > 1e-3
    same(ours, collected(reference, total + 0.7 * divergences))
    torch.testing.assert_close(loss.total, total.detach(), rtol=1e-9, atol=1e-9)  # the task's own
    assert loss.count.item() == sum(loss.count.item() for loss in losses) / 2


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_in_parts_and_packed_is_the_same(prepare, monkeypatch, task):
    predictor, data = prepare(TASKS[task], dropout=0.0, sharp=True)
    config = config_of(augmentation_edits=["end mark"])  # nothing of it is drawn
    whole, loss, _ = gradient(deepcopy(predictor), data, config)
    monkeypatch.setattr(parts, "CACHED", 2_000)
    calls, forward = [], predictor.model.forward
    predictor.model.forward = lambda batch: calls.append(batch) or forward(batch)
    cut, cut_loss, _ = gradient(predictor, data, config)
    assert len(calls) > 2
    same(cut, whole, 1e-5)
    assert cut_loss.total.item() == pytest.approx(loss.total.item())
    assert cut_loss.count.item() == loss.count.item()


def test_a_copy_is_another_one_each_time_and_the_same_for_a_seed(prepare):
    predictor, data = prepare(NLI(), dropout=0.0)
    copies = with_copies(predictor, data, config_of()).copies
    batch = predictor.batches(data).collate(list(range(8)))
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made += [copies(batch)[0].inputs["input_ids"].tolist(), copies(batch)[0].inputs["input_ids"].tolist()]
    first, second, again, and_again, other, _ = made
    assert (first, second) == (again, and_again)
    assert first != second and first != other
    assert batch.inputs["input_ids"].tolist() not in made


def test_a_row_that_no_edit_changes_is_read_as_it_is(prepare):
    """The tokenizer knows no capitals; of rows with a word that is not scored none is edited."""
    for task, edits, rows in (
        (NLI(), ["capitals", "small letters"], None),
        (NER(), None, [{"tokens": ["see", "ann"], "ner_tags": ["O", -100]}] * 3
                      + [{"tokens": ["bob", "ran"], "ner_tags": ["B-A", "O"]}]),
    ):  # fmt: skip
        predictor, data = prepare(task, rows=rows)
        copies = with_copies(predictor, data, config_of(augmentation_edits=edits)).copies
        batch = predictor.batches(data).collate([0, 1, 2])
        copy, places = copies(batch)
        assert all(torch.equal(copy.inputs[name], value) for name, value in batch.inputs.items())
        assert all(torch.equal(copy.targets[name], value) for name, value in batch.targets.items())
        if places is not None:
            there = places >= 0
            assert there.any() and torch.equal(places[there], there.nonzero()[:, 1])


def test_windows_of_a_long_row_stay_with_those_of_its_copy(prepare):
    rows = [{"tokens": ["see", "ann"] * 30, "ner_tags": ["O", "B-A"] * 30}, {"tokens": ["a"], "ner_tags": ["O"]}]
    predictor, data = prepare(NER(), rows=rows, max_length=32, stride=8)
    assert len(data.features[0]) > 2
    copies = with_copies(predictor, data, config_of(augmentation_edits=["typing errors", "end mark"])).copies
    number = sum(map(len, data.features))
    batch = predictor.batches(data).collate(list(range(number)))
    copy, places = copies(batch)
    assert len(copy.feature_index) == number
    assert ((places >= 0) == (batch.targets["labels"] != -100)).float().mean() > 0.9


# --- what it does not go with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [{"r_drop": 1.0}, {"adversarial_epsilon": 0.5}, {"debias": "hypothesis only"}])
def test_what_knows_the_rows_alone_is_refused(tiny_bert, rows_of, beside):
    rows = rows_of("NLI")
    with pytest.raises(ConfigError, match=f"consistency does not go with {next(iter(beside))}"):
        reasoner.fine_tune(tiny_bert, {"train": rows, "validation": rows[:8]}, task="nli", consistency=1.0, **beside)


@pytest.mark.parametrize(
    ("task", "match"),
    [
        (QuestionAnswering(), "nobody knows what to compare"),
        (Classification(kind="number"), "has no divergence"),
        ("nested_ner", "nobody knows what to compare"),
    ],
)
def test_a_task_whose_outputs_cannot_be_compared_is_refused_before_anything_is_scored(tiny_bert, rows_of, task, match):
    if task == "nested_ner":
        data = reasoner.synthetic.nested_ner_pack(train=16, validation=8, test=2)
    else:
        rows = rows_of(type(task).__name__, getattr(task, "kind", None))
        data = {"train": rows, "validation": rows[:8]}
    with pytest.raises(ConfigError, match=match):
        reasoner.fine_tune(tiny_bert, data, task=task, consistency=1.0, use_cpu=True, disable_tqdm=True)


def test_edits_without_copies_mean_nothing(tiny_bert, rows_of):
    rows = rows_of("NLI")
    data = {"train": rows, "validation": rows[:8]}
    with pytest.raises(ConfigError, match="without augmentation or consistency"):
        reasoner.fine_tune(tiny_bert, data, task="nli", augmentation_edits=["capitals"])
    with pytest.raises(ConfigError, match="there is no 'capital'"):
        reasoner.fine_tune(tiny_bert, data, task="nli", consistency=1.0, augmentation_edits=["capital"], use_cpu=True)
