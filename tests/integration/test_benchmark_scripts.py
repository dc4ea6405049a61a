"""Do the benchmarks pair runs as they say, and do the sides of the training benchmark do equal work?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reasoner

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

SCRIPT = """
import argparse, json, sys
import alternating

parser = argparse.ArgumentParser()
parser.add_argument("--length", type=int, default=2)
alternating.add_arguments(parser, ("reasoner", "slow", "broken", "absent"))
arguments = parser.parse_args()
if arguments.side:
    if arguments.side == "broken":
        raise RuntimeError("it cannot")
    with open("order.txt", "a") as file:
        file.write(f"{arguments.side} {arguments.round}\\n")
    slower = {"reasoner": 1, "slow": 6 if arguments.round == 1 else 3}[arguments.side]
    seconds = arguments.length * (arguments.round + 1) * slower
    print("loading ...")
    print(json.dumps({"seconds": seconds, "work": 7 if arguments.side == "slow" else 8}))
else:
    sides = arguments.sides or ("reasoner", "slow", "broken", "absent")
    rows = alternating.run_all(arguments, sides, needs={"absent": "no-such-package"})
    print(alternating.table(rows, [alternating.Column("s", "seconds", ".0f")], timed="seconds", sides=sides))
    print(*alternating.unequal(rows, "work"), sep="\\n")
"""


@pytest.fixture
def benchmarks_on_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run_script(folder: Path, *arguments: str) -> str:
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", "--output", "kept.jsonl", *arguments]
    environment = {"PYTHONPATH": str(BENCHMARKS), "PATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_sides_alternate_and_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    shown = run_script(tmp_path, "--rounds", "3")
    assert (tmp_path / "order.txt").read_text().split("\n")[:-1] == [
        *("reasoner 0", "slow 0"),
        *("slow 1", "reasoner 1"),  # each round begins with another side
        *("reasoner 2", "slow 2"),
    ]
    assert "| reasoner | 3 | 4 (2 to 6) | 1.00 |" in shown
    assert "| slow | 3 | 18 (6 to 24) | 3.00 (3.00 to 6.00) |" in shown  # of the medians it would be 4.5
    assert "Not equal: slow has work 7, reasoner 8." in shown


def test_a_peer_that_fails_or_is_not_there_is_said_and_left_out(tmp_path: Path) -> None:
    shown = run_script(tmp_path, "--rounds", "2")
    assert "absent: skipped, no-such-package is not installed. Install it: pip install no-such-package" in shown
    assert shown.count("broken: left out, it ended with exit code 1: RuntimeError: it cannot") == 1
    assert "| broken" not in shown


def test_finished_runs_are_kept_for_the_same_settings_alone(tmp_path: Path) -> None:
    def runs() -> int:
        return len((tmp_path / "order.txt").read_text().splitlines())

    run_script(tmp_path, "--rounds", "1")
    run_script(tmp_path, "--rounds", "1", "--sides", "reasoner", "slow")
    assert runs() == 2
    run_script(tmp_path, "--rounds", "2")
    assert runs() == 4
    shown = run_script(tmp_path, "--rounds", "1", "--length", "5")
    assert runs() == 6
    assert "| reasoner | 1 | 5 | 1.00 |" in shown


@pytest.mark.usefixtures("benchmarks_on_path")
@pytest.mark.parametrize("task", ["ner", "nli", "qa"])
def test_sides_do_equal_work(task: str, tiny_bert: Path) -> None:
    import train_speed

    work = make_work(task, tiny_bert)
    sides = ("reasoner", "trainer", "trainer-by-length", "trainer-padded", "by-hand")
    rows = {side: train_speed.run(side, work) for side in sides}
    for key in train_speed.EQUAL:
        assert {row[key] for row in rows.values()} == {rows["reasoner"][key]}, key
    assert rows["reasoner"]["steps"] >= 2 * 3
    assert rows["trainer-padded"]["padding_share"] >= rows["trainer"]["padding_share"] > 0
    assert all(row["training_seconds"] > 0 for row in rows.values())


def make_work(task: str, model: Path) -> Any:
    import workload

    made = {
        "ner": reasoner.synthetic.ner_pack,
        "nli": reasoner.synthetic.nli_pack,
        "qa": reasoner.synthetic.qa_pack,
    }
    pack = made[task](train=24, validation=20, test=20)
    splits = {split: [as_read(task, row) for row in rows] for split, rows in pack.items()}
    known = set(workload.names_of(task, splits["train"]))
    return workload.Work(
        task=task,
        model=str(model),
        epochs=2,
        max_steps=None,
        batch_size=8,
        learning_rate=1e-3,
        max_length=96,  # qa: several windows a question
        stride=32,
        seed=0,
        frozen=False,
        bf16=False,
        use_cpu=True,
        train=splits["train"],
        validation=[row for row in splits["validation"] if workload.labels_of(task, row) <= known],
        test=splits["test"],
    )


def as_read(task: str, row: dict[str, Any]) -> dict[str, Any]:
    if task != "qa":
        return row
    answers = row["answers"]
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return {**row, "answers": [{"text": text, "answer_start": start} for text, start in pairs]}


def test_continual_compares_each_protection_with_joint_training(tmp_path: Path, tiny_bert: Path) -> None:
    command = [sys.executable, "continual.py", "--model", str(tiny_bert), "--output", str(tmp_path / "out"),
               "--train", "8", "--test", "6", "--epochs", "1"]  # fmt: skip
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    for side in ("plain", "replay", "ewc", "lwf", "adapters", "lora", "joint"):
        assert f"| {side} | 0." in done.stdout
    assert (tmp_path / "out" / "ewc.json").exists()


def test_unmarked_types_scores_each_side_on_rows_marked_in_whole(tmp_path: Path, tiny_bert: Path) -> None:
    pack = reasoner.synthetic.ner_pack(train=24, validation=12, test=8)
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        lines = []
        for row in pack[split]:
            pairs = zip(row["tokens"], row["ner_tags"], strict=True)
            lines += [f"{word}\t{tag if tag[2:] != 'DATE' else 'O'}" for word, tag in pairs] + [""]
        (tmp_path / name).write_text("\n".join(lines), "utf-8")
    command = [sys.executable, "unmarked_types.py", "--data", str(tmp_path), "--model", str(tiny_bert), "--rows", "12",
               "--validation-rows", "6", "--test-rows", "8", "--epochs", "1"]  # fmt: skip
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    for side in ("old types alone", "plain", "lwf", "replay", "complete", "complete, replay", "marked in whole"):
        assert f"seed 0, {side}: all " in done.stdout
    assert "complete_labels: of " in done.stderr
