"""Do rows, features, ranks and guesses of link prediction mean what they should?"""

from __future__ import annotations

from random import Random

import datasets
import numpy as np
import pytest
import torch

import reasoner
from reasoner.errors import ConfigError, DataError
from reasoner.inference import Predictor
from reasoner.synthetic import link_prediction_pack
from reasoner.tasks.link_prediction import LinkPrediction, LinkPredictionExample
from reasoner.testing import check_head, check_task

THINGS = ("lamp", "box", "clock", "boat", "museum", "train")
TRIPLES = [
    {"head": f"the {colour} {thing}", "relation": relation, "tail": tail}
    for colour in ("red", "green", "blue", "small", "old")
    for thing in THINGS
    for relation, tail in (("has colour", colour), ("is a", thing))
]


def perfect(example):
    return {"tail_rank": 1.0, "head_rank": 1.0}


def examples(rows):
    return [LinkPredictionExample(**row) for row in rows]


def test_the_contract_is_kept(tiny_bert):
    inputs = [
        {"head": "the red lamp", "relation": "is a"},
        {"relation": "has colour", "tail": "old"},
        {"head": "a thing that nobody has seen", "relation": "is like"},
    ]
    check_task("link_prediction", TRIPLES[:20], model=tiny_bert, inputs=inputs, perfect=perfect)
    check_head(None, task="link_prediction", rows=TRIPLES[:20], model=tiny_bert)


def test_mrr_is_that_of_a_brute_force_ranking_on_fifty_triples(prepare):
    predictor, _ = prepare(LinkPrediction(), rows=TRIPLES, sharp=True)
    chosen = Random(1).sample(TRIPLES, 50)
    found = predictor.evaluate_examples(examples(chosen))
    names = sorted({row[side] for row in TRIPLES for side in ("head", "tail")})
    true = {(row["head"], row["relation"], row["tail"]) for row in TRIPLES}
    ranks = {"tail": [], "head": []}
    vectors = {name: vector(predictor, name) for name in names}
    for row in chosen:
        for side, other, text in (("tail", "head", row["relation"]), ("head", "tail", f"inverse of {row['relation']}")):
            query = vector(predictor, row[other], text)
            own, rank = float(query @ vectors[row[side]]), 1.0
            for name in names:
                triple = {**row, side: name}
                if name != row[side] and (triple["head"], triple["relation"], triple["tail"]) not in true:
                    rank += float(query @ vectors[name]) > own
            ranks[side].append(rank)
    assert [p["tail_rank"] for p in found.predictions] == ranks["tail"]
    assert [p["head_rank"] for p in found.predictions] == ranks["head"]
    assert found.metrics["mrr"] == pytest.approx(np.mean([1 / rank for side in ranks.values() for rank in side]))
    assert found.metrics["by_side"]["tail"]["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks["tail"]]))
    assert len(set(ranks["tail"] + ranks["head"])) > 10


@torch.no_grad()
def vector(predictor: Predictor, *texts: str):
    encoded = predictor.tokenizer(*texts, return_tensors="pt")
    mean = predictor.model.eval().network(**encoded).last_hidden_state[0].double().mean(0).numpy()
    return mean / np.linalg.norm(mean)


def test_predictions_name_candidates_and_which_are_known(prepare):
    predictor, _ = prepare(LinkPrediction(), rows=TRIPLES, sharp=True)
    tail, head = predictor.predict([{"head": "the red lamp", "relation": "is a"}, {"relation": "is a", "tail": "box"}])
    assert tail["tail"] == tail["tails"][0]["entity"] and tail["score"] == tail["tails"][0]["score"]
    assert len(head["heads"]) == 10 and {c["entity"] for c in head["heads"]} <= set(predictor.task.entities)
    for candidate in tail["tails"]:
        assert candidate["known"] == (candidate["entity"] == "lamp")
    for candidate in head["heads"]:
        assert candidate["known"] == candidate["entity"].endswith(" box")
    scores = [candidate["score"] for candidate in tail["tails"]]
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1 + 1e-9


def test_the_frequency_guess_counts_tails_and_heads_of_the_relation():
    rows = [("a", "r", "x"), ("b", "r", "x"), ("c", "r", "y"), ("d", "r", "x"), ("d", "s", "y")]
    training = examples([dict(zip(("head", "relation", "tail"), row, strict=True)) for row in rows[:3]])
    test = examples([dict(zip(("head", "relation", "tail"), row, strict=True)) for row in rows[3:]])
    task = LinkPrediction.from_examples({"train": training, "test": test})
    assert task.training_triples == 3 and len(task.triples) == 5
    first, second = task.baselines(training, test)["frequency"]
    # (d, r, ?): x was twice a tail. (?, r, x): of a, b, c and d the first two are known, c was a head once, and then d
    # shares its place with x and y.
    assert (first["tail"], first["tail_rank"]) == ("x", 1.0)
    assert first["head_rank"] == 1 + 1 + 2 / 2
    assert second["tail_rank"] == 3.5  # s was never trained: six entities are alike


def test_relations_that_training_lacks_are_said(caplog):
    caplog.set_level("INFO")
    LinkPrediction.from_examples(
        {"train": examples(TRIPLES[:2]), "test": examples([{**TRIPLES[0], "relation": "new"}])}
    )
    assert "1 relations do not occur in training: new" in caplog.text


def test_what_cannot_be_used_is_refused(prepare):
    with pytest.raises(ConfigError, match="similarity_temperature is 0"):
        LinkPrediction.from_examples({"train": examples(TRIPLES)}, similarity_temperature=0)
    predictor, _ = prepare(LinkPrediction(), rows=TRIPLES)
    for wrong in ("text", {"head": "a", "relation": "r", "tail": "b"}, {"head": "a"}, {"head": "a", "tail": "b"}):
        with pytest.raises(DataError, match="link_prediction predicts for"):
            predictor.predict([wrong])
    with pytest.raises(DataError, match="'the cat' is none of the 41 entities"):
        predictor.evaluate_examples(examples([{**TRIPLES[0], "head": "the cat"}]))
    with pytest.raises(DataError, match="column 'tail' is missing"):
        reasoner.fine_tune(None, {"train": [{"head": "a", "relation": "r"}] * 4}, task="link_prediction")


def test_a_stream_is_refused(tiny_bert):
    with pytest.raises(ConfigError, match="LinkPrediction cannot be trained on a stream: its candidates"):
        stream = datasets.Dataset.from_list(TRIPLES).to_iterable_dataset()
        reasoner.fine_tune(
            tiny_bert, {"train": stream, "validation": TRIPLES[:4]}, task="link_prediction", max_steps=1, use_cpu=True
        )


def test_further_candidates_may_be_named(prepare):
    predictor, _ = prepare(LinkPrediction(entities=("the cat",)), rows=TRIPLES)
    assert len(predictor.task.entities) == 42
    assert predictor.evaluate_examples(examples([{**TRIPLES[0], "head": "the cat"}])).metrics["mrr"] > 0


def test_long_entities_are_cut_and_a_shorter_max_length_is_refused(prepare, caplog):
    caplog.set_level("INFO")
    rows = [{**row, "tail": f"{row['tail']} " + "and so on " * 30} for row in TRIPLES[:8]]
    predictor, data = prepare(LinkPrediction(entity_length=12), rows=rows)
    assert "entities have texts of more than 12 tokens" in caplog.text
    assert max(len(feature) for group in data.features for feature in group[1::2]) == 12
    with pytest.raises(ConfigError, match="entity_length=8"):
        predictor.task.encode(data.examples, predictor.tokenizer, max_length=8, stride=0)


def test_the_pack_is_learned_and_saved(tiny_bert, tmp_path):
    pack = link_prediction_pack(train=240, validation=30, test=30)
    result = reasoner.fine_tune(
        tiny_bert, pack, task="link_prediction", output_dir=tmp_path / "out", num_train_epochs=12, learning_rate=3e-3,
        per_device_train_batch_size=32, use_cpu=True,
    )  # fmt: skip
    task, rows = result.predictor.task, {name: examples(pack[name]) for name in ("train", "test")}
    guess = task.score(task.baselines(rows["train"], rows["test"])["frequency"], rows["test"])
    assert guess["mrr"] < 0.1 and result.metrics["test"]["mrr"] > 0.3
    asked = {key: pack["test"][0][key] for key in ("head", "relation")}
    assert reasoner.load(tmp_path / "out").predict(asked) == result.predict(asked)
