"""Do turns, ranks and scores of response ranking mean what they should, and what is a wrong response in a batch?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import reasoner
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.synthetic import dialogue_pack
from reasoner.tasks.response_ranking import ResponseRanking, ResponseRankingExample
from reasoner.testing import check_head, check_task

ROWS = dialogue_pack(train=10, validation=0, test=0)["train"]


def examples(rows):
    return examples_from_rows(read_splits({"train": rows}), ResponseRankingExample)["train"]


def test_the_contract_is_kept(tiny_bert):
    inputs = ["hello", ("hi there", "hello , what can i do for you", "for two people"), {"turns": ["good morning"]}]
    check_task(
        "response_ranking", ROWS, model=tiny_bert, inputs=inputs, perfect=lambda example: {"rank": 1.0, "score": 1.0}
    )
    check_head(None, task="response_ranking", rows=ROWS, model=tiny_bert)


def test_turns_are_read_with_their_speakers_the_oldest_cut_first(prepare, caplog):
    caplog.set_level("INFO")
    (example,) = examples([{"turns": ["hi", "hello  you", "a table"], "response": "ok"}] * 2)[:1]
    assert example.text == "user: hi system: hello you user: a table"
    long = [{**row, "turns": ["the old harbour of Lisbon was quiet"] * 20 + row["turns"]} for row in ROWS]
    predictor, data = prepare(ResponseRanking(candidate_length=40), rows=long, max_length=48)
    for row, (turns, *_) in zip(long, data.features, strict=True):
        assert len(turns) == 48
        whole = predictor.tokenizer(examples([row, row])[0].text)["input_ids"]
        assert turns.inputs["input_ids"] == [whole[0], *whole[-47:]]
    assert f"{len(long)} dialogues are longer than max_length=48 tokens; their beginning was cut." in caplog.text


def test_ranks_are_those_of_a_brute_force_ranking(prepare):
    predictor, data = prepare(ResponseRanking(candidates=("bye", "no")), rows=ROWS, sharp=True)
    task = predictor.task
    assert set(task.candidates) == {"bye", "no", *(row["response"] for row in ROWS)}
    vectors = {text: vector(predictor, text) for text in task.candidates}
    found = predictor.evaluate(data)
    ranks = []
    for example in data.examples:
        query = vector(predictor, example.text)
        own = query @ vectors[example.response]
        ranks.append(1.0 + sum(query @ other > own for text, other in vectors.items() if text != example.response))
    assert [prediction["rank"] for prediction in found.predictions] == ranks
    assert found.metrics["accuracy"] == np.mean([rank == 1 for rank in ranks])
    assert found.metrics["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    whole = [all(r == 1 for r, e in zip(ranks, data.examples, strict=True) if e.dialogue == n) for n in range(1, 11)]
    assert found.metrics["dialogue_accuracy"] == np.mean(whole)
    assert len(set(ranks)) > 5


def test_candidates_that_are_drawn_are_wrong_for_all_queries_of_the_batch(prepare):
    rows = [{"turns": [turn], "response": text} for turn, text in (("a lamp", "red"), ("a box", "blue"), ("it", "red"))]
    others = ("green", "small", "large", "old")
    predictor, data = prepare(ResponseRanking(candidates=others, wrong_candidates=2), rows=rows, sharp=True)
    task, model = predictor.task, predictor.model.double().eval()
    (batch,) = predictor.batches(data, batch_size=10)
    drawn = {task.candidates[feature.targets["answer"]] for group in data.features for feature in group[2:]}
    assert all(len(group) == 4 and len({f.targets["answer"] for f in group}) == 3 for group in data.features)
    expected = 0.0
    for row in rows:
        query = vector(predictor, f"user: {row['turns'][0]}")
        texts = drawn | {"red", "blue"}
        logits = {text: float(query @ vector(predictor, text)) / 0.05 for text in texts}
        expected += np.log(sum(np.exp(logit) for logit in logits.values())) - logits[row["response"]]
    loss = model.loss(model(batch), batch)
    assert loss.count == 3 and loss.total.item() == pytest.approx(expected, rel=1e-6)
    few, _ = prepare(ResponseRanking(wrong_candidates=3), rows=[{"turns": ["a"], "response": "x"}] * 4)
    assert np.isfinite(few.evaluate_examples(examples([{"turns": ["b"], "response": "x"}] * 2)).metrics["loss"])


@torch.no_grad()
def vector(predictor, text):
    encoded = predictor.tokenizer(text, return_tensors="pt")
    mean = predictor.model.eval().network(**encoded).last_hidden_state[0].double().mean(0).numpy()
    return mean / np.linalg.norm(mean)


def test_a_response_that_is_right_is_never_a_wrong_one_of_its_batch(prepare):
    """The loss by hand: each query over the different responses of the batch that are not right for the same turns."""
    rows = [
        {"turns": ["hi"], "response": "hello"},
        {"turns": ["hi there"], "response": "hello"},
        {"turns": ["hi there"], "response": "good morning"},
        {"turns": ["a table"], "response": "for whom"},
    ]
    predictor, data = prepare(ResponseRanking(wrong_candidates=0), rows=rows, sharp=True)
    model = predictor.model.double().eval()
    (batch,) = predictor.batches(data, batch_size=10)
    right = {"hi": {"hello"}, "hi there": {"hello", "good morning"}, "a table": {"for whom"}}
    expected = 0.0
    for row in rows:
        query = vector(predictor, f"user: {row['turns'][0]}")
        wrong = {other["response"] for other in rows} - right[row["turns"][0]]
        logits = {text: float(query @ vector(predictor, text)) / 0.05 for text in wrong | {row["response"]}}
        expected += np.log(sum(np.exp(logit) for logit in logits.values())) - logits[row["response"]]
    loss = model.loss(model(batch), batch)
    assert loss.count == 4 and loss.total.item() == pytest.approx(expected, rel=1e-6)


def test_predictions_name_the_best_candidates(prepare):
    predictor, _ = prepare(ResponseRanking(), rows=ROWS, sharp=True)
    found = predictor.predict("hello")
    assert found["response"] == found["candidates"][0]["response"] and found["score"] == found["candidates"][0]["score"]
    scores = [candidate["score"] for candidate in found["candidates"]]
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1 + 1e-9
    assert predictor.predict("hello", min_confidence=1.0)["response"] is None


def test_the_frequency_guess_and_rows_without_dialogues():
    rows = [{"turns": ["a"], "response": text} for text in ("x", "x", "y", "z")]
    task = ResponseRanking.from_examples({"train": examples(rows)})
    guess = task.baselines(examples(rows), examples(rows))["frequency"]
    assert [prediction["rank"] for prediction in guess] == [1.0, 1.0, 2.5, 2.5]
    assert "dialogue_accuracy" not in task.score(guess, examples(rows))


def test_what_cannot_be_used_is_refused(prepare):
    for turns, message in (("hi", "no list of texts"), ([], "no list"), (["a", " "], "turn 2 is ' '"), ([3], "turn 1")):
        with pytest.raises(DataError, match=message):
            examples([{"turns": turns, "response": "x"}])
    with pytest.raises(DataError, match="dialogue is"):
        examples([{"turns": ["a"], "response": "x", "dialogue": [1]}])
    with pytest.raises(ConfigError, match="similarity_temperature is 0"):
        ResponseRanking.from_examples({"train": examples(ROWS)}, similarity_temperature=0)
    with pytest.raises(ConfigError, match="wrong_candidates is -1"):
        ResponseRanking.from_examples({"train": examples(ROWS)}, wrong_candidates=-1)
    predictor, data = prepare(ResponseRanking(), rows=ROWS)
    for wrong in ({"text": "a"}, 3, ("a", ""), ""):
        with pytest.raises(DataError, match="response_ranking predicts for"):
            predictor.predict([wrong])
    with pytest.raises(DataError, match="'never said' is none of the"):
        predictor.evaluate_examples(examples([{"turns": ["a"], "response": "never said"}]))
    with pytest.raises(ConfigError, match=r"ResponseRanking\(candidate_length=8\)"):
        predictor.task.encode(data.examples, predictor.tokenizer, max_length=8, stride=0)


def test_the_pack_is_learned_and_saved(tiny_bert, tmp_path):
    pack = dialogue_pack(train=60, validation=15, test=15)
    result = reasoner.fine_tune(
        tiny_bert, pack, task="response_ranking", output_dir=tmp_path / "out", num_train_epochs=8, learning_rate=3e-3,
        per_device_train_batch_size=32, use_cpu=True,
    )  # fmt: skip
    task = result.predictor.task
    plain = task.score(
        task.baselines(examples(pack["train"]), examples(pack["test"]))["frequency"], examples(pack["test"])
    )
    assert result.metrics["test"]["accuracy"] > plain["accuracy"] + 0.1
    assert reasoner.load(tmp_path / "out").predict("hello") == result.predict("hello")
