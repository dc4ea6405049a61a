"""Is the Fisher information that of each row alone, and the penalty what the paper says?"""

from __future__ import annotations

import pytest
import torch

from reasoner.evaluation import Encoded
from reasoner.previous.fisher import WeightPenalty, fisher_information, weight_penalty
from reasoner.protections import EWC


def test_it_is_the_square_of_each_rows_own_gradient(prepare):
    """Against the closed form: the gradient of the output layer is (probability - gold) x features."""
    predictor, data = prepare("classification", sharp=True)
    model = predictor.model
    found = fisher_information(predictor, data, dict(model.named_parameters()))
    marks = [weight.requires_grad for weight in model.parameters()]
    assert all(marks)
    expected = torch.zeros_like(model.network.classifier.weight)
    bias = torch.zeros_like(model.network.classifier.bias)
    with torch.no_grad():
        for example, features in zip(data.examples, data.features, strict=True):
            (batch,) = predictor.batches(Encoded([example], [features]))
            pooled = model.network.bert(**batch.inputs).pooler_output[0]
            off = model(batch)["logits"][0].softmax(-1)
            off[batch.targets["labels"][0]] -= 1
            expected += torch.outer(off, pooled).square()
            bias += off.square()
    torch.testing.assert_close(found["network.classifier.weight"], expected / len(data.examples), rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(found["network.classifier.bias"], bias / len(data.examples), rtol=1e-4, atol=1e-9)


def test_words_of_one_sentence_are_one_row(prepare):
    """Against gradients that PyTorch's own `jacrev` gives of each row's summed loss; divided by all words."""
    predictor, data = prepare("ner", sharp=True)
    name = "network.classifier.weight"
    weight = predictor.model.get_parameter(name)
    found = fisher_information(predictor, data, {name: weight})
    assert found.keys() == {name}
    total, words = torch.zeros_like(weight), 0.0
    for example, features in zip(data.examples, data.features, strict=True):
        (batch,) = predictor.batches(Encoded([example], [features]))

        def loss(value, batch=batch):
            outputs = torch.func.functional_call(predictor.model, {name: value}, (batch,))
            return predictor.model.loss(outputs, batch)

        total += torch.func.jacrev(lambda value, loss=loss: loss(value).total)(weight.detach()).square()
        words += float(loss(weight).count)
    torch.testing.assert_close(found[name], total / words, rtol=1e-4, atol=1e-9)


def test_the_penalty_and_its_gradient():
    weight = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    penalty = WeightPenalty([weight], [torch.tensor([0.0, 2.0, 5.0])], [torch.tensor([3.0, 7.0, 0.5])], strength=4.0)
    value = penalty()
    value.backward()
    assert value.item() == pytest.approx(4 / 2 * (3 * 1 + 0 + 0.5 * 4))
    assert weight.grad.tolist() == pytest.approx([4 * 3 * 1, 0, 4 * 0.5 * -2])


def test_rows_are_drawn_by_the_seed_and_new_labels_move_freely(prepare, tiny_bert):
    old, data = prepare("ner", sharp=True)
    new, _ = prepare("ner", rows=[{"tokens": ["a", "b"], "ner_tags": ["B-NAME", "B-NUM"]},
                                  {"tokens": ["c", "d"], "ner_tags": ["B-ZZZ", "O"]}])  # fmt: skip
    one, two = (weight_penalty(new, old, data, EWC(rows=4), seed=seed) for seed in (0, 1))
    names = [name for name, _ in new.model.named_parameters()]
    place = names.index("network.classifier.weight")
    labels = len(old.task.labels)
    assert one.importance[place][:labels].any() and not one.importance[place][labels:].any()
    assert not torch.equal(one.importance[place], two.importance[place])
    assert one().item() == 0
