"""Does the second model's order of the candidates give the ranks that are scored, and what is predicted?"""

from __future__ import annotations

import pytest

import reasoner
from reasoner import synthetic
from reasoner.errors import ConfigError
from reasoner.metrics import ranking_scores

PACK = synthetic.link_prediction_pack(train=24, validation=6, test=6)
RUN = {"use_cpu": True, "disable_tqdm": True, "evaluate_before": False}


@pytest.fixture(scope="module")
def first(lively_bert):
    return reasoner.fine_tune(lively_bert, PACK, task="link_prediction", max_steps=2, **RUN)


@pytest.fixture(scope="module")
def better(first, lively_bert):
    entities = len(first.predictor.task.entities)
    return reasoner.rerank(first, PACK, model=lively_bert, candidates=entities, questions=12, max_steps=2, **RUN)


def known(row, side, name):
    triples = [(each["head"], each["relation"], each["tail"]) for part in PACK.values() for each in part]
    triple = {**row, side: name}
    return (triple["head"], triple["relation"], triple["tail"]) in triples


def test_with_all_entities_as_candidates_the_ranks_are_those_of_the_second_model(first, better):
    names, ranks = first.predictor.task.entities, []
    for row in PACK["test"]:
        for side, other, before in (("tail", "head", ""), ("head", "tail", "inverse of ")):
            rest = [name for name in names if name == row[side] or not known(row, side, name)]
            asked = {"context": row[other], "question": before + row["relation"], "choices": rest}
            scores = dict(zip(rest, better.second.predict(asked)["scores"], strict=True))
            ranks.append(1 + sum(score > scores[row[side]] for score in scores.values()))
    found = better.evaluate(PACK["test"])
    expected = ranking_scores(ranks)
    assert {name: found["reranked"][name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert found["reranked"]["shortlisted"] == 1.0


def test_the_first_models_scores_are_its_own(first, better):
    own = first.evaluate(PACK["test"])
    found = better.evaluate(PACK["test"])["first"]
    assert found == pytest.approx({name: own[name] for name in found})


def test_what_is_not_among_few_candidates_keeps_its_rank(first, lively_bert):
    few = reasoner.rerank(first, PACK, model=lively_bert, candidates=2, questions=12, max_steps=1, **RUN)
    found = few.evaluate(PACK["test"])
    share = found["reranked"]["shortlisted"]
    assert share < 1
    assert found["reranked"]["hits_at_3"] >= share  # those found have rank 1 or 2
    assert found["reranked"]["hits_at_10"] == found["first"]["hits_at_10"]


def test_predictions_are_the_candidates_in_the_second_models_order(first, better):
    asked = {"head": PACK["test"][0]["head"], "relation": PACK["test"][0]["relation"]}
    one, two = better.predict([asked, {"relation": asked["relation"], "tail": PACK["test"][0]["tail"]}])
    again = better.predict(asked)  # alone: equal to rounding
    assert again["tail"] == one["tail"] and again["score"] == pytest.approx(one["score"], rel=1e-4)
    scores = [item["score"] for item in one["tails"]]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1)
    assert one["tail"] == one["tails"][0]["entity"] and "heads" in two
    assert {item["entity"] for item in one["tails"]} == set(first.predictor.task.entities)


def test_both_models_are_saved(better, tmp_path):
    better.save(tmp_path / "both")
    again = reasoner.Reranker(
        *(reasoner.load(tmp_path / "both" / name, use_cpu=True) for name in ("first", "second")), better.candidates
    )
    assert again.evaluate(PACK["test"]) == better.evaluate(PACK["test"])


def test_what_makes_no_sense_is_refused(first, better):
    for settings, what in (({"candidates": 1}, "candidates is 1"), ({"questions": 0}, "questions is 0")):
        with pytest.raises(ConfigError, match=what):
            reasoner.rerank(first, PACK, **settings)
    with pytest.raises(ConfigError, match="needs a model for link_prediction"):
        reasoner.rerank(better.second, PACK)
