"""Does a tiny decoder learn from rewards and preferences to the end, and is what comes out a result like any other?"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("trl")

import reasoner
from reasoner import Generation
from reasoner.data.completions import QuestionExample
from reasoner.errors import ConfigError, DataError

THINGS = ("red box", "dog", "clock", "old king", "train", "river")
ROWS = [{"prompt": f"The {one} ->", "gold": one} for one in THINGS]
PAIRS = [{"prompt": f"The {one} ->", "chosen": f" {one}", "rejected": " snow"} for one in THINGS]
CHATS = [{"messages": [{"role": "user", "content": row["prompt"]}], "gold": row["gold"]} for row in ROWS]
TASK = Generation(max_new_tokens=6, verifier="exact")
RUN = {"use_cpu": True, "method": "full"}
DPO = {"use_cpu": True, "task": Generation(max_new_tokens=6)}
SHORT = {**RUN, "task": TASK, "max_steps": 1, "n": 2, "prompts_per_step": 1, "learning_rate": 1e-3}


def share_of_e(text, row):
    """A reward that any text has some of, so that a random model has something to learn."""
    return text.count("e") / max(1, len(text))


def likelihood(result, prompt, completion):
    """The log-probability of a completion and its end, by a loop of its own."""
    network, tokenizer = result.predictor.model.network.eval(), result.tokenizer
    ids = tokenizer(prompt)["input_ids"]
    answer = [*tokenizer(completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = network(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
    return sum(logits[len(ids) - 1 + place, token].item() for place, token in enumerate(answer))


def test_grpo_raises_the_mean_reward(lively_models):
    result = reasoner.grpo(
        lively_models("llama"), ROWS, task=TASK, reward=share_of_e, max_steps=30, learning_rate=3e-2,
        n=8, prompts_per_step=2, **RUN,
    )  # fmt: skip
    facts = result.metrics["train"]
    assert facts["steps"] == len(result.history) == 30
    assert facts["reward_end"] > facts["reward_begin"] + 0.2
    assert facts["reward_begin"] == pytest.approx(sum(row["reward"] for row in result.history[:3]) / 3)
    greedy = result.predict([row["prompt"] for row in ROWS])
    assert sum(share_of_e(one["text"], None) for one in greedy) / len(greedy) > 0.2
    assert "reward end" in result.report() and "trl" in result.run.versions


def test_the_reward_sees_the_text_of_its_own_row_as_predict_would_give_it(lively_models):
    seen = []

    def reward(text, row):
        seen.append((text, row.gold))
        return len(text)

    rows = [*ROWS, *CHATS]
    result = reasoner.grpo(
        lively_models("gpt2"), rows, **{**SHORT, "n": 3, "prompts_per_step": 12, "learning_rate": 0.0}, reward=reward,
        temperature=1e-4,
    )  # fmt: skip
    assert len(seen) == 36 and {gold for _, gold in seen} == set(THINGS)
    greedy = {text["text"] for text in result.predict([{k: v for k, v in row.items() if k != "gold"} for row in rows])}
    assert {text for text, _ in seen} == greedy


def test_the_verifier_gives_the_reward_and_other_splits_are_scored_before_and_after(lively_models, tmp_path):
    data = {"train": ROWS, "test": ROWS}
    result = reasoner.grpo(lively_models("llama"), data, **{**SHORT, "method": "lora"}, output_dir=tmp_path)
    assert result.metrics["before"].keys() == result.metrics["test"].keys() >= {"accuracy", "unparsable"}
    assert result.history[0]["reward"] == 0 and result.run.comparison is not None
    loaded = reasoner.load(tmp_path, use_cpu=True)
    assert loaded.predict(ROWS[0]["prompt"]) == result.predict(ROWS[0]["prompt"])
    assert loaded.predictor.task.verifier["name"] == "exact"


def test_scored_rows_of_which_some_have_a_completion_are_asked_by_their_prompts_alone(lively_models):
    rows = [{"prompt": "The clock in the old house ->", "gold": "clock"}, {"prompt": "The dog ->", "completion": "dog"}]
    for scored in (rows, [{**rows[0], "completion": "clock"}, {"prompt": rows[1]["prompt"], "gold": "dog"}]):
        result = reasoner.grpo(lively_models("llama"), {"train": ROWS, "test": scored}, **SHORT)
        examples = [QuestionExample.from_columns(row, where="test") for row in scored]
        said = result.predictor.evaluate_examples(examples).predictions
        assert [one["text"] for one in said] == [result.predict(row["prompt"])["text"] for row in scored]


def test_a_reference_model_is_gone_afterwards(lively_models, tmp_path):
    result = reasoner.grpo(lively_models("llama"), ROWS, **{**SHORT, "method": "lora"}, beta=0.04)
    assert list(result.model.peft_config) == ["default"]
    result.save(tmp_path)
    assert reasoner.load(tmp_path, use_cpu=True).predict("The dog ->") == result.predict("The dog ->")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_dpo_makes_the_preferred_answer_more_probable(method, lively_models, tmp_path):
    model = lively_models("llama")
    settings = {**DPO, "method": method, "max_steps": 12, "batch_size": 6, "learning_rate": 5e-3}
    before = reasoner.dpo(model, PAIRS, **{**settings, "max_steps": 1, "learning_rate": 0.0})
    after = reasoner.dpo(model, PAIRS, **settings, output_dir=tmp_path)
    assert after.metrics["train"]["preferred_end"] == 1
    for row in PAIRS:
        gained = {name: likelihood(after, row["prompt"], row[name]) - likelihood(before, row["prompt"], row[name])
                  for name in ("chosen", "rejected")}  # fmt: skip
        assert gained["chosen"] > gained["rejected"]
    assert reasoner.load(tmp_path, use_cpu=True).predict("The dog ->") == after.predict("The dog ->")


def test_the_first_loss_of_dpo_is_that_of_no_preference(lively_models):
    result = reasoner.dpo(lively_models("gpt2"), PAIRS, **DPO, max_steps=1, learning_rate=1e-3)
    assert result.history[0]["loss"] == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "error", "what"),
    [
        ({"n": 1}, ConfigError, "n of 2 or more"),
        ({"temperature": 0}, ConfigError, "temperature"),
        ({"task": Generation()}, ConfigError, "nothing gives rewards"),
        ({"method": "prefix"}, ConfigError, "full or lora"),
        ({"betta": 1}, ConfigError, "trl refuses"),
        ({"logging_steps": 5}, ConfigError, "logging_steps: each step is logged"),
        ({"task": Generation(verifier="choice")}, DataError, "Choice: gold is 'red box'"),
    ],
)
def test_what_grpo_refuses(settings, error, what, lively_models):
    with pytest.raises(error, match=what):
        reasoner.grpo(lively_models("llama"), ROWS, **{**SHORT, **settings})


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "the same"),
        ({"prompt": "a", "chosen": "b"}, "'rejected' is missing"),
        ({"prompt": "a", "chosen": " ", "rejected": "b"}, "completion is empty"),
    ],
)
def test_pairs_that_cannot_be_used(row, what, lively_models):
    with pytest.raises(DataError, match=what):
        reasoner.dpo(lively_models("llama"), [*PAIRS, row], **DPO)


def test_without_trl_it_is_said_what_to_install(lively_models, monkeypatch):
    monkeypatch.setattr("reasoner.reinforcement.subject.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'reasoner-ft\[rl\]'"):
        reasoner.dpo(lively_models("llama"), PAIRS, **DPO)
