"""Is the loss the one worked out by hand in float64, and are entities run again when the weights have changed?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reasoner.tasks.link_prediction import LinkPrediction

ROWS = [
    {"head": f"the {colour} {thing}", "relation": relation, "tail": tail}
    for colour in ("red", "green", "blue")
    for thing in ("lamp", "box", "clock", "boat")
    for relation, tail in (("has colour", colour), ("is a", thing))
]


def vectors_by_hand(model, batch):
    """Mean of the hidden states, of length 1; one feature at a time, without padding."""
    found = []
    for row, mask in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"].bool(), strict=True):
        inputs = {name: value[len(found)][mask][None] for name, value in batch.inputs.items()}
        assert torch.equal(inputs["input_ids"][0], row[mask])
        hidden = model.network(**inputs).last_hidden_state[0].detach().numpy()
        mean = hidden.mean(0)
        found.append(mean / np.sqrt((mean**2).sum()))
    return np.stack(found)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_the_loss_is_that_of_each_query_over_the_wrong_answers_of_its_batch(prepare, architecture):
    predictor, data = prepare(LinkPrediction(), rows=ROWS, architecture=architecture, sharp=True)
    task, model = predictor.task, predictor.model.double().eval()
    true = {(row["head"], row["relation"], row["tail"]) for row in ROWS}
    for batch in predictor.batches(data, batch_size=7):
        vectors, expected = vectors_by_hand(model, batch), 0.0
        asked = []
        for example in dict.fromkeys(
            batch.feature_index[place] // 4 for place in range(0, len(batch.feature_index), 4)
        ):
            row = ROWS[example]
            asked += [
                ("tail", row["head"], row["relation"], row["tail"]),
                ("head", row["tail"], row["relation"], row["head"]),
            ]
        for place, (side, entity, relation, answer) in enumerate(asked):
            candidates = {other[3]: vectors[2 * index + 1] for index, other in reversed(list(enumerate(asked)))}
            candidates[answer] = vectors[2 * place + 1]
            logits = {}
            for name, vector in candidates.items():
                triple = (entity, relation, name) if side == "tail" else (name, relation, entity)
                if name == answer or triple not in true:
                    logits[name] = float(vectors[2 * place] @ vector) / 0.05
            expected += np.log(sum(np.exp(logit) for logit in logits.values())) - logits[answer]
        loss = model.loss(model(batch), batch)
        assert loss.count == len(asked)
        assert float(loss.total.detach()) == pytest.approx(expected, rel=1e-6)
    assert len(task.entities) == 3 + 4 + 12


def test_entities_are_run_again_when_the_weights_have_changed(prepare):
    predictor, data = prepare(LinkPrediction(), rows=ROWS, sharp=True)
    model, (batch,) = predictor.model.eval(), list(predictor.batches(data, batch_size=100))
    head, rows_run = model.head, []

    def run(given):
        rows_run.append(len(given.feature_index))
        return model(given)

    with torch.no_grad():
        first = head.infer(run, batch)[0][1]
        again = head.infer(run, batch)[0][1]
        assert rows_run == [4, 19, 96, 4, 96] and again is first
        for weight in model.network.parameters():
            weight.mul_(1.1)
        other = head.infer(run, batch)[0][1]
    assert rows_run[5:] == [4, 19, 96] and np.abs(other - first).max() > 1e-3
