"""Does a tiny decoder answer several times, in batches as alone, and are its answers judged, voted on and kept?"""

from __future__ import annotations

from dataclasses import replace

import pytest

import reasoner
from reasoner import Generation, Samples
from reasoner.data.completions import GenerationExample
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import pass_at_k
from reasoner.notices import collect
from reasoner.verifiers import Verifier

ROWS = [
    {"prompt": "The dog and the bridge ->", "completion": " It is #### 4"},
    {"prompt": "The king and the snow are in the old city ->", "completion": " So #### 5"},
    {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "#### 6"}]},
]
TASK = Generation(max_new_tokens=8, verifier="number")
DRAW = {"task": TASK, "n": 3, "temperature": 1.5, "use_cpu": True}


def made(texts, *, golds=(7, 8), finished=None, tokens=None, **settings):
    """Samples with these texts, for rows whose gold is known."""
    examples = [GenerationExample(prompt=f"p{gold}", gold=gold) for gold in golds]
    return Samples(
        examples,
        texts,
        tokens or [[2] * len(row) for row in texts],
        finished or [[True] * len(row) for row in texts],
        seconds=6.0,
        **{"verifier": {"name": "number"}, **settings},
    )


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_seed_gives_the_same_texts_and_another_gives_others(architecture, lively_models):
    first, again = (reasoner.sample(lively_models(architecture), ROWS, **DRAW) for _ in range(2))
    other = reasoner.sample(lively_models(architecture), ROWS, **DRAW, seed=1)
    assert first.texts == again.texts != other.texts
    assert [len(row) for row in first.texts] == [3, 3, 3] and first.seconds > 0
    assert len({text for row in first.texts for text in row}) > 3
    assert all(0 < count <= 8 for row in first.tokens for count in row)


def test_the_most_probable_texts_are_those_of_predict_whatever_the_batch(lively_models):
    rows = [row["prompt"] for row in ROWS[:2]]
    known = {"train": ROWS, "validation": ROWS}
    result = reasoner.fine_tune(lively_models("llama"), known, task=TASK, max_steps=2, use_cpu=True, check=False)
    head = result.predictor.model.head
    for batch_size in (1, 32):
        samples = reasoner.sample(result, rows, n=1, temperature=0, batch_size=batch_size)
        assert [row[0] for row in samples.texts] == [one["text"] for one in result.predict(rows)]
    assert result.predictor.model.head is head  # the result is as it was
    assert "accuracy" in result.metrics["validation"] and result.run.primary_metric == "accuracy"


def test_a_tiny_top_p_leaves_one_text(lively_models):
    drawn = reasoner.sample(lively_models("llama"), ROWS, **DRAW, top_p=1e-6)
    greedy = reasoner.sample(lively_models("llama"), ROWS, task=TASK, n=1, temperature=0, use_cpu=True)
    assert drawn.texts == [[row[0]] * 3 for row in greedy.texts]


def test_the_caller_s_random_state_is_left_alone(lively_models):
    import torch

    before = torch.get_rng_state()
    reasoner.sample(lively_models("llama"), ROWS[:1], **DRAW)
    assert torch.equal(before, torch.get_rng_state())


def test_the_vote_needs_no_gold_and_counts_equal_answers_once():
    samples = made([["It is 0.5.", "8", "\\frac{1}{2}"], ["none", "I cannot say.", "no"]], golds=(None, None))
    assert samples.vote() == [0.5, None]


def test_scores_are_those_of_counting_by_hand():
    samples = made([["7", "7", "9"], ["no", "8", "1"]], tokens=[[1, 2, 3], [4, 5, 6]])
    scores = samples.score(ks=(1, 3))
    assert scores["accuracy"] == scores["pass@1"] == 0.5
    assert scores["unparsable"] == pytest.approx(1 / 6) and scores["wrong"] == pytest.approx(2 / 6)
    assert scores["pass@3"] == (pass_at_k(3, 2, 3) + pass_at_k(3, 1, 3)) / 2 == 1
    assert scores["maj@3"] == 0.75 and scores["tied@3"] == 0.5  # of the second row "8" and "1" are tied
    assert scores["tokens_per_correct/pass@3"] == 21 / 2 and scores["seconds_per_correct/pass@3"] == 6 / 2
    assert scores["tokens_per_correct/maj@3"] == 21 / 1.5
    assert (scores["tokens"], scores["seconds"]) == (21, 6)
    assert samples.score().keys() == scores.keys()


def test_a_tolerance_that_makes_neighbours_one_answer_is_no_error():
    samples = made([["100", "109", "118"]], golds=(100,), verifier={"name": "number", "tolerance": 0.09})
    assert samples.score()["maj@3"] == 1  # 100 and 109 are one answer, which is right


def test_the_best_by_a_verifier_and_by_a_judge_of_one_s_own():
    samples = made([["9", "7", "7.0"], ["no", "1", "2"]])
    assert samples.best() == ["7", "no"]
    assert samples.best(lambda text, row: len(text)) == ["7.0", "no"]


def test_right_texts_become_rows_and_are_counted():
    texts = [["So 7", "So 7", "thus 7", "9"], ["8", "8.", "no", "8 or so 8"]]
    samples = made(texts, finished=[[True] * 4, [False, True, True, True]])
    with collect() as said:
        rows = samples.correct_rows()
    assert rows == [
        {"prompt": "p7", "completion": "So 7", "gold": 7},
        {"prompt": "p7", "completion": "thus 7", "gold": 7},
        {"prompt": "p8", "completion": "8.", "gold": 8},
        {"prompt": "p8", "completion": "8 or so 8", "gold": 8},
    ]
    assert said == ["4 of 8 texts are kept. 6 are right, 1 of them unfinished and 1 repeats or too many; 2 of 2 rows "
                    "have one."]  # fmt: skip
    assert [row["completion"] for row in samples.correct_rows(most=1)] == ["So 7", "8."]
    with pytest.raises(DataError, match="no row to keep"):
        made([["1"], ["2"]]).correct_rows()


class Anything(Verifier):
    """Holds every text to be right."""

    def parse(self, text):
        return "right"


def test_kept_rows_are_rows_for_fine_tune(lively_models):
    rows = [{**row, "gold": "right"} for row in ROWS]
    samples = reasoner.sample(lively_models("llama"), rows, **DRAW)
    ended = replace(samples, finished=[[True] * 3] * 3)  # a random model hardly ever ends a text
    kept = ended.correct_rows(Anything(), most=2)
    assert {row["gold"] for row in kept} == {"right"}
    data = {"train": kept, "validation": kept}
    settings = {"task": Generation(max_new_tokens=8), "max_steps": 1, "use_cpu": True, "check": False}
    assert reasoner.fine_tune(lively_models("llama"), data, **settings).run.rows["train"] == len(kept)


def test_a_right_and_a_wrong_text_become_a_pair():
    samples = made([["So 7", "9", "no", "7"], ["1", "2", "3", "4"]])
    assert samples.preference_rows() == [{"prompt": "p7", "gold": 7, "chosen": "So 7", "rejected": "9"}]
    assert len(samples.preference_rows(most=5)) == 2
    cut = replace(samples, finished=[[False, True, True, True], [True] * 4])  # the end of a cut text is not its own
    assert [row["chosen"] for row in cut.preference_rows(most=5)] == ["7"]
    with pytest.raises(DataError, match="a right text and a wrong one"):
        made([["7"], ["1"]]).preference_rows()


def test_a_result_s_own_head_draws_and_its_limit_holds(lively_models, tiny_models):
    data = {"train": [{"prompt": "The dog ->", "completion": " old"}] * 4}
    quick = {"task": Generation(max_new_tokens=4), "max_steps": 1, "use_cpu": True, "check": False}
    read = reasoner.fine_tune(tiny_models("t5"), {**data, "validation": data["train"]}, **quick)
    asked = ["The dog ->", "The clock in the old house ->"]
    drawn = reasoner.sample(read, asked, task=Generation(max_new_tokens=4), n=1, temperature=1e-4)
    assert [text for (text,) in drawn.texts] == [read.predict(prompt)["text"] for prompt in asked]
    result = reasoner.fine_tune(lively_models("gpt2"), {**data, "validation": data["train"]}, **quick)
    with pytest.raises(ConfigError, match="max_length=6000, but the model takes"):
        reasoner.sample(result, ROWS, n=1, max_length=6000)


@pytest.mark.parametrize(
    ("data", "settings", "error", "what"),
    [
        (ROWS, {"n": 0}, ConfigError, "num_samples"),
        (ROWS, {"temperature": 0}, ConfigError, "temperature"),
        (ROWS, {"top_p": 2}, ConfigError, "top_p"),
        (ROWS, {"batch_size": 0}, ConfigError, "batch_size"),
        ({"train": ROWS, "test": ROWS}, {}, ConfigError, "one of them"),
        ([{"question": "", "gold": 1}], {}, DataError, "prompt is empty"),
    ],
)
def test_what_cannot_be_sampled(data, settings, error, what, lively_models):
    with pytest.raises(error, match=what):
        reasoner.sample(lively_models("llama"), data, **{**DRAW, **settings})


def test_without_a_verifier_there_is_no_score():
    with pytest.raises(ConfigError, match="There is no verifier"):
        made([["1"], ["2"]], verifier=None).score()
    with pytest.raises(DataError, match="no gold and no completion"):
        made([["1"], ["2"]], golds=(None, None)).score()
