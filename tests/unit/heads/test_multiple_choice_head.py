"""Is the loss that of transformers where all questions have as many choices, and right where they differ?"""

from __future__ import annotations

import pytest
import torch

from reasoner.data.features import Batch
from reasoner.tasks.multiple_choice import MultipleChoice
from tiny import CORPUS

FOUR = [{"question": text, "choices": text.split()[:4], "label": index % 4} for index, text in enumerate(CORPUS[:12])]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_the_loss_is_that_of_transformers(prepare, architecture):
    predictor, data = prepare(MultipleChoice(), rows=FOUR, architecture=architecture)
    model = predictor.model.eval()
    for batch in predictor.batches(data, batch_size=5):
        questions = int(batch.group.max()) + 1
        inputs = {name: tensor.view(questions, 4, -1) for name, tensor in batch.inputs.items()}
        gold = batch.targets["labels"].view(questions, 4).argmax(1)
        theirs = model.network(**inputs, labels=gold)
        ours = model.loss(model(batch), batch)
        torch.testing.assert_close(ours.mean, theirs.loss, rtol=1e-5, atol=1e-6)
        assert ours.count == questions
        records = model.head.infer(model, batch)
        torch.testing.assert_close(torch.tensor(records), theirs.logits.detach().flatten(), rtol=0, atol=1e-6)


def test_questions_with_other_numbers_of_choices(prepare):
    predictor, data = prepare(MultipleChoice())
    assert {len(group) for group in data.features} == {3, 4, 5}
    model = predictor.model.eval()
    alone = 0.0
    with torch.no_grad():
        (batch,) = predictor.batches(data, batch_size=100)
        for group in data.features:
            inputs = [{name: torch.tensor([[value]]) for name, value in feature.inputs.items()} for feature in group]
            logits = torch.stack([model.network(**one).logits.squeeze() for one in inputs])
            right = torch.tensor([feature.targets["labels"] for feature in group]).argmax()
            alone += float(torch.nn.functional.cross_entropy(logits, right))
        together = model.loss(model(batch), batch)
    assert float(together.total) == pytest.approx(alone, rel=1e-5) and together.count == len(data.examples)


def test_records_are_plain_numbers(prepare):
    head = prepare(MultipleChoice()).predictor.model.head
    batch = Batch({}, {}, torch.tensor([0, 0, 1]), [0, 1, 2], 0)
    assert head.predict({"logits": torch.tensor([[1.0], [2.0], [3.0]]).bfloat16()}, batch) == [1.0, 2.0, 3.0]
