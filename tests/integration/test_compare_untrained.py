"""Do models that are asked without training stand in one table with tuned ones, each on as few rows as the others?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import reasoner
import reasoner.experiments.variants
from reasoner import ConfigError
from reasoner.drawing import drawn_rows

NLI = reasoner.synthetic.nli_pack(train=40, validation=9, test=12)
QUICK = {"max_steps": 2, "eval_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "check": False}
ASKED = {"zero": {"zero_shot": {"by": "likelihood"}}, "few": {"few_shot": {"shots": 6, "choose": "balanced"}}}


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoner.experiments.variants, "release_memory", lambda: None)


def compare(model: Any, variants: Any, **settings: Any) -> reasoner.Leaderboard:
    return reasoner.compare(model, NLI, task="nli", variants=variants, **{**QUICK, **settings})


def test_they_score_as_the_functions_do(lively_models: Any, lively_bert: Any) -> None:
    decoder = lively_models("llama")
    both = {name: {"model": decoder, **changes} for name, changes in ASKED.items()}
    board = compare(lively_bert, {"tuned": {"method": "head"}, **both}, seeds=[0, 1])
    assert {item.name: item.runs for item in board.standings} == {"tuned": 2, "zero": 1, "few": 2}
    zero = reasoner.zero_shot(decoder, NLI, task="nli", use_cpu=True)
    few = [
        reasoner.few_shot(decoder, NLI, task="nli", shots=6, choose="balanced", seed=n, use_cpu=True) for n in (0, 1)
    ]
    for split in ("validation", "test"):
        of = {name: [run["scores"][split] for run in board.runs if run["variant"] == name] for name in both}
        assert of["zero"] == [zero.metrics[split]["accuracy"]]
        assert of["few"] == [result.metrics[split]["accuracy"] for result in few]
    assert board["zero"].interval_over == "rows" and board["few"].interval_over == "seeds"
    assert board["zero"].trainable_share == 0 and board["zero"].seconds is None and board["zero"].disk_bytes
    assert "The budgets differ" in repr(board) and "Not all runs were made with the same threads" not in repr(board)


def test_they_are_not_run_again(lively_models: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    of = reasoner.experiments.variants.Untrained.of
    monkeypatch.setattr(
        reasoner.experiments.variants.Untrained, "of", lambda *given: asked.append(given[2]) or of(*given)
    )
    decoder = lively_models("llama")
    compare(decoder, ASKED, seeds=[0, 1], output_dir=tmp_path)
    assert [(settings.few, settings.seed) for settings in asked] == [(False, 0), (True, 0), (True, 1)]
    again = compare(decoder, ASKED, seeds=[0, 1], output_dir=tmp_path, max_steps=3)  # which asks nothing otherwise
    assert len(asked) == 3 and again["few"].runs == 2
    compare(decoder, {"few": {"few_shot": {"shots": 3, "choose": "balanced"}}}, seeds=[0], output_dir=tmp_path)
    assert len(asked) == 4


def test_what_cannot_be_asked_is_a_row(lively_bert: Any) -> None:
    board = compare(lively_bert, {"tuned": {"method": "head"}, "asked": {"zero_shot": {"by": "likelihood"}}}, seeds=[0])
    assert (board["tuned"].runs, board["asked"].failed) == (1, 1)
    assert "decoder" in board["asked"].errors[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zero_shot": {}, "method": "head"}, "'a' is zero_shot and sets method"),
        ({"zero_shot": {}, "few_shot": {}}, "'a' is zero_shot and sets few_shot"),
        ({"few_shot": {"shot": 3}}, "few_shot has no setting named 'shot' here. Did you mean 'shots'"),
        ({"few_shot": {"seed": 3}}, "few_shot has no setting named 'seed' here"),
        ({"zero_shot": {"shots": 3}}, "zero_shot has no setting named 'shots' here"),
        ({"zero_shot": True}, "'a': zero_shot is True. Give its settings"),
    ],
)
def test_what_is_refused(lively_bert: Any, changes: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(lively_bert, {"a": changes}, seeds=[0])


def test_each_run_learns_from_as_few_rows(lively_bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, Any]] = []
    train = reasoner.experiments.variants.train_on_examples

    def noted(model: Any, examples: Any, **settings: Any) -> Any:
        seen.append((settings["config"].seed, examples["train"]))
        return train(model, examples, **settings)

    monkeypatch.setattr(reasoner.experiments.variants, "train_on_examples", noted)
    board = compare(lively_bert, {"full": {}, "head": {"method": "head"}}, seeds=[0, 1], train_rows=12, check=True)
    assert board["full"].runs == board["head"].runs == 2
    assert [seed for seed, _ in seen] == [0, 0, 1, 1] and seen[0][1] == seen[1][1] != seen[2][1] == seen[3][1]
    for _, rows in seen:
        assert Counter(Counter(row.label for row in rows).values()) == {4: 3}
        places = [int(str(row.where).split()[-1]) for row in rows]
        assert places == sorted(places)


def test_rows_without_labels_are_drawn_at_random() -> None:
    pack = reasoner.synthetic.qa_pack(train=20, validation=4, test=4)
    task = reasoner.QuestionAnswering()
    rows = [task.Example.from_columns(row, where=str(n)) for n, row in enumerate(pack["train"])]
    drawn = drawn_rows(task, rows, 5, seed=0)
    assert len({row.where for row in drawn}) == 5 and drawn != drawn_rows(task, rows, 5, seed=1)


@pytest.mark.parametrize(
    ("number", "message"),
    [(0, "train_rows is 0, and there are 40"), (41, "Give 1 to 40"), (True, "is True")],
)
def test_as_many_rows_as_there_are(lively_bert: Any, number: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(lively_bert, {"full": {}}, seeds=[0], train_rows=number)


def test_a_label_with_too_few_rows_is_named(lively_bert: Any) -> None:
    rare = [row for row in NLI["train"] if row["label"] == "neutral"][2:]
    rows = {**NLI, "train": [row for row in NLI["train"] if row not in rare]}
    with pytest.raises(ConfigError, match="4 are to have the label 'neutral', and 2 training rows have it"):
        reasoner.compare(lively_bert, rows, task="nli", variants={"full": {}}, seeds=[0], train_rows=12, **QUICK)


def test_what_is_not_trained_forgets_nothing_and_knows_no_old_task(
    lively_models: Any, lively_bert: Any, tmp_path: Any
) -> None:
    old = [{"text": f"{colour} {n}", "label": colour} for n in range(8) for colour in ("red", "blue")]
    reasoner.fine_tune(lively_bert, {"train": old}, task="classification", output_dir=tmp_path / "old", **QUICK)
    asked = {"model": lively_models("llama"), "zero_shot": {"by": "likelihood"}}
    board = compare(tmp_path / "old", {"head": {"method": "head"}, "asked": asked}, seeds=[0], old_data=old)
    assert board["head"].old_change == 0 and board["asked"].old_change is None and board["asked"].runs == 1
