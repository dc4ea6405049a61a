"""Do reasoning-gym's problems come as rows, of a level, each once, with a verifier that knows their answers?"""

from __future__ import annotations

import json

import pytest

pytest.importorskip("reasoning_gym")

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.synthetic import reasoning_gym_pack
from reasoner.tasks.generation import Generation, GenerationExample
from reasoner.verifiers import Outcome, ReasoningGym

SIZES = {"train": 8, "validation": 4, "test": 4}


def test_rows_are_unique_and_those_of_the_seed():
    pack, again, other = (reasoning_gym_pack("chain_sum", **SIZES, seed=seed) for seed in (0, 0, 1))
    assert pack == again
    prompts, others = ({row["prompt"] for part in each.values() for row in part} for each in (pack, other))
    assert {split: len(part) for split, part in pack.items()} == SIZES
    assert len(prompts) == 16 and not prompts & others


def test_the_level_makes_problems_harder_and_settings_hold_against_it():
    def terms(**settings):
        rows = reasoning_gym_pack("chain_sum", **SIZES, **settings)["train"]
        return max(row["gold"]["metadata"]["num_terms"] for row in rows)

    assert terms(difficulty=0) == 2 < terms(difficulty=3)
    assert terms(difficulty=3, min_terms=3, max_terms=3) == 3


def test_its_own_scorer_is_the_verifier():
    rows = reasoning_gym_pack("chain_sum", **SIZES)["train"]
    verifier = ReasoningGym()
    for row in rows:
        assert verifier(row["completion"], row["gold"]).correct
    partly = verifier(f"It is {rows[0]['completion']}", rows[0]["gold"])
    assert partly.outcome is Outcome.WRONG and 0 < partly.score == partly.reward < 1
    assert verifier(" \n", rows[0]["gold"]).outcome is Outcome.UNPARSABLE


def test_the_answer_may_stand_in_a_tag():
    row = reasoning_gym_pack("chain_sum", **SIZES, tag="answer")["train"][0]
    verifier = ReasoningGym(tag="answer")
    assert row["completion"] == f"<answer>{row['gold']['answer']}</answer>"
    assert verifier("So <answer>0.5</answer>, no: " + row["completion"], row["gold"]).correct
    assert verifier(row["gold"]["answer"], row["gold"]).outcome is Outcome.UNPARSABLE


def test_several_right_answers_are_known():
    rows = reasoning_gym_pack("graph_color", **SIZES)["train"]  # whose answer is any right colouring
    assert "completion" not in rows[0] and not ReasoningGym()("{}", rows[0]["gold"]).correct
    with pytest.raises(DataError, match="completion"):
        examples_from_rows(read_splits({"train": rows}), GenerationExample)


def test_what_runs_answers_as_code_needs_the_permission(tmp_path):
    row = reasoning_gym_pack("n_queens", **SIZES)["train"][0]
    attack = f"[open({str(tmp_path / 'found')!r}, 'w')]"
    with pytest.raises(ConfigError, match="runs answers as Python code"):
        ReasoningGym()(attack, row["gold"])
    assert not (tmp_path / "found").exists()
    with pytest.raises(ConfigError, match="permission"):
        Generation(verifier=ReasoningGym(allow_execution=True))
    countdown = reasoning_gym_pack("countdown", **SIZES)["train"][0]["gold"]
    assert ReasoningGym(allow_execution=True)(countdown["metadata"]["expression"], countdown).correct


def test_it_scores_generation_and_is_saved_by_name():
    rows = reasoning_gym_pack("chain_sum", **SIZES)["train"]
    examples = examples_from_rows(read_splits({"train": rows}), GenerationExample)["train"]
    task = Generation.from_examples({"train": examples}, verifier="reasoning_gym")
    assert json.loads(json.dumps(task.settings()["verifier"])) == {
        "name": "reasoning_gym",
        "tag": None,
        "allow_execution": False,
    }
    said = [{"text": example.completion} for example in examples]
    assert task.score([*said[:4], *[{"text": "no"}] * 4], examples)["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("name", "settings", "what"),
    [
        ("chain_summ", {}, "Did you mean 'chain_sum'"),
        ("chain_sum", {"difficulty": 99}, "from 0 to"),
        ("chain_sum", {"min_term": 2}, "does not take these settings"),
        ("chain_sum", {"min_terms": 5, "max_terms": 2}, "does not take these settings"),
        (
            "chain_sum",
            {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "train": 900},
            "Ask for fewer",
        ),
    ],
)
def test_what_it_has_not(name, settings, what):
    with pytest.raises(ConfigError, match=what):
        reasoning_gym_pack(name, **{**SIZES, **settings})


@pytest.mark.parametrize(
    "gold", ["5", {"question": "?", "answer": "5"}, {"question": "?", "answer": "5", "metadata": {}}]
)
def test_gold_must_be_a_problem(gold):
    with pytest.raises(DataError, match="ReasoningGym"):
        ReasoningGym()("5", gold)
    with pytest.raises(ConfigError, match="tag"):
        ReasoningGym(tag="<a>")


def test_without_reasoning_gym_it_is_said_what_to_install(monkeypatch):
    for module in ("verifiers.reasoning_gym", "synthetic.gym"):
        monkeypatch.setattr(f"reasoner.{module}.find_spec", lambda name: None)
    for call in (ReasoningGym, lambda: reasoning_gym_pack("chain_sum", **SIZES)):
        with pytest.raises(ConfigError, match=r"pip install 'reasoner-ft\[reasoning-gym\]'"):
            call()
