"""Do the example scripts run as their first lines say, on generated data and on files?"""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

import reasoner
from tiny import build_tiny
from walls import runs_programs

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a script in an empty folder with a tiny model, and return what it printed."""
    model = build_tiny("bert", tmp_path / "tiny", max_length=384)

    def run(script: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [script, "--model", str(model), "--output", "out", *arguments])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_ner_conll_on_files(run, tmp_path: Path):
    for split, rows in reasoner.synthetic.ner_pack(train=24, validation=8, test=8).items():
        sentences = ["\n".join(map("\t".join, zip(row["tokens"], row["ner_tags"], strict=True))) for row in rows]
        (tmp_path / f"{split}.conll").write_text("\n\n".join(sentences) + "\n")
    files = [part for split in ("train", "validation", "test") for part in (f"--{split}", f"{split}.conll")]
    assert "train 24, validation 8, test 8" in run("ner_conll.py", *files)
    assert reasoner.load(tmp_path / "out").metrics["test"]["support"] > 0


def test_nli_on_files(run, tmp_path: Path):
    for split, rows in reasoner.synthetic.nli_pack(train=24, validation=9, test=9).items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [part for split in ("train", "validation", "test") for part in (f"--{split}", f"{split}.jsonl")]
    printed = run("nli.py", *files, "--seed", "3")
    assert "train 24, validation 9, test 9" in printed
    assert "Two dogs are running across a field. -> Some animals are outdoors." in printed
    assert reasoner.load(tmp_path / "out").run.config["seed"] == 3


def test_qa_cuts_a_squad_file_by_article(run, tmp_path: Path):
    rows = reasoner.synthetic.qa_pack(train=40, validation=2, test=2)["train"]
    articles = [
        {"title": f"article {number}", "paragraphs": [_paragraph(row) for row in rows[number * 8 : number * 8 + 8]]}
        for number in range(5)
    ]
    (tmp_path / "squad.json").write_text(json.dumps({"version": "v2.0", "data": articles}))
    cut = ("--squad", "squad.json", "--train-articles", "3", "--test-articles", "1")
    printed = run("qa.py", *cut)
    assert "train 24, validation 8, test 8" in printed
    assert "Who built the lighthouse?" in printed


def test_compare_methods_on_files(run, tmp_path: Path):
    _write_nli(tmp_path / "data")
    chosen = ("--data", "data", "--task", "nli", "--methods", "full", "head", "--seeds", "0", "--epochs", "1")
    printed = run("compare_methods.py", *chosen)
    assert "nli: 2 variants, accuracy on test" in printed and "Best on validation: " in printed
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"runs", "table.txt", "pareto.png", "pareto_time.png"}
    assert (tmp_path / "out" / "table.txt").read_text("utf-8").strip() in printed


def test_search_on_files(run, tmp_path: Path):
    pytest.importorskip("optuna", reason="the extra 'search' is not installed")
    _write_nli(tmp_path / "data")
    printed = run("search.py", "--data", "data", "--task", "nli", "--method", "head", "--trials", "2")
    assert "Search for nli by accuracy on validation: 2 complete" in printed and "HeadOnly()" in printed
    assert "test" in reasoner.load(tmp_path / "out" / "best_model").metrics


def _write_nli(folder: Path) -> None:
    folder.mkdir()
    for split, rows in reasoner.synthetic.nli_pack(train=24, validation=9, test=9).items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_knowledge_graph_reads_asks_and_completes(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("rdflib", reason="the extra 'graph' is not installed")
    with pytest.raises(SystemExit, match="too few to go on with"):  # a tiny model finds nothing
        run("knowledge_graph.py", "--rows", "40", "--epochs", "1")
    assert "48 sentences state 48 triples" in capsys.readouterr().out
    assert (tmp_path / "out" / "graph.ttl").exists()
    script = runpy.run_path(str(EXAMPLES / "knowledge_graph.py"))
    world = reasoner.synthetic.told_world()
    graph = reasoner.KnowledgeGraph(
        reasoner.Triple(head=row["head"], relation=row["relation"], tail=row["tail"], evidence=row["text"])
        for row in world["told"]
    )
    firm, place = next((row["head"], row["tail"]) for row in world["told"] if row["relation"] == "based in")
    script["ask"](graph, place)
    printed = capsys.readouterr().out
    staff = [row for row in world["told"] if row["relation"] == "works for" and row["tail"] == firm]
    assert len(staff) == 6 and all(f"  {row['head']}, for {firm}\n    {row['text']}" in printed for row in staff)
    script["complete"](graph, world["untold"], model=str(tmp_path / "tiny"), epochs=1, seed=0)
    assert capsys.readouterr().out.count("no text says so") == 4 and len(graph) == 52


def test_more_score_tries_each_option(run, tmp_path: Path):
    printed = run("more_score.py", "--rows", "24", "--pretrain")
    assert "perplexity on" in printed and "Best on validation: " in printed
    for name in ("plain", "slower lower layers", "averages", "two passes that agree", "attacked embeddings"):
        assert re.search(rf"^{name} +0\.\d+ +0\.\d+ +\d", printed, re.MULTILINE)
    assert (tmp_path / "out" / "pretraining.json").exists()


def test_self_supervision_on_a_file(run, tmp_path: Path):
    stories = reasoner.synthetic.story_pack(train=20)["train"]
    (tmp_path / "notes.txt").write_text("\n".join(row["text"] for row in stories))
    for extra in ((), ("--masking", "spans", "--objective", "next_sentence")):
        printed = run("self_supervision.py", "--texts", "notes.txt", "--epochs", "1", *extra)
        assert "masked perplexity on 2 held-out texts" in printed and "masked_perplexity_per_byte" in printed
        assert "Scores on validation (6 rows)" in printed
        assert printed.rstrip().endswith(("next", "other") if extra else ("in order", "swapped"))
    assert (tmp_path / "out" / "words" / "pretraining.json").exists()


def test_generation_on_files(run, tmp_path: Path):
    for split, rows in reasoner.synthetic.generation_pack(train=24, validation=2, test=6).items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    decoder = build_tiny("llama", tmp_path / "decoder")
    files = ("--train", "train.jsonl", "--test", "test.jsonl", "--model", str(decoder))
    printed = run("generation.py", *files, "--steps", "2", "--max-new-tokens", "40")
    assert "Scores on test (6 rows)" in printed and "LoRA(rank=8" in printed
    assert "Add three and nine.  ->  " in printed
    assert set(reasoner.load(tmp_path / "out").metrics) == {"before", "train", "validation", "test"}


def test_reasoning_on_files(run, tmp_path: Path):
    things, places = ("red box", "dog", "clock", "king"), ("snow", "river", "bridge")
    rows = [{"prompt": f"The {one} and the {two} ->", "completion": "snow"} for one in things for two in places]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    learned = reasoner.fine_tune(
        build_tiny("llama", tmp_path / "decoder"), {"train": rows, "validation": rows[:2]}, check=False, use_cpu=True,
        task=reasoner.Generation(chat=True, max_new_tokens=6, metric="loss"), num_train_epochs=80, learning_rate=5e-3,
        per_device_train_batch_size=4, patience=None,
    )  # fmt: skip
    learned.save(tmp_path / "learned")
    given = ("--data", "rows.jsonl", "--verifier", "exact", "--model", str(tmp_path / "learned"))
    printed = run("reasoning.py", *given, "--steps", "1", "--max-new-tokens", "6")
    assert re.search(r"before .*'pass@4': (0\.[5-9]|1\.0)", printed) and "after {'accuracy'" in printed
    assert reasoner.load(tmp_path / "out").predictor.task.verifier["name"] == "exact"


def test_dialogue_on_files(run, tmp_path: Path):
    for split, rows in reasoner.synthetic.intent_and_slots_pack(train=24, validation=9, test=9).items():
        (tmp_path / "data" / split).mkdir(parents=True)
        lines = {
            "seq.in": [" ".join(row["tokens"]) for row in rows],
            "seq.out": [" ".join(row["slots"]) for row in rows],
            "label": [row["intent"] for row in rows],
        }
        for name, texts in lines.items():
            (tmp_path / "data" / split / name).write_text("\n".join(texts) + "\n")
    (tmp_path / "talks").mkdir()
    for split, rows in reasoner.synthetic.dialogue_pack(train=8, validation=3, test=3).items():
        lines = [f"{len(row['turns']) // 2 + 1} {row['turns'][-1]}\t{row['response']}\n" for row in rows]
        starts = [place for place, row in enumerate(rows) if place and len(row["turns"]) == 1]
        for place in reversed(starts):
            lines.insert(place, "\n")
        (tmp_path / "talks" / f"{split}.txt").write_text("".join(lines))
    printed = run("dialogue.py", "--requests", "data", "--talks", "talks", "--epochs", "1")
    assert "train 24, validation 9, test 9" in printed
    assert re.search(r"^play some jazz by Maria Silva {2}-> {2}\w+ \(0\.\d\d\): ", printed, re.MULTILINE)
    assert "frame_accuracy" in reasoner.load(tmp_path / "out" / "requests").metrics["test"]
    assert "dialogue_accuracy" in reasoner.load(tmp_path / "out" / "talks").metrics["test"]
    assert printed.count("\nsystem: ") == 3


def test_zero_shot_by_an_encoder_and_with_solved_examples(run, tmp_path: Path):
    printed = run("zero_shot.py")
    assert "zero-shot, by similarity" in printed and "Scores on test (8 rows)" in printed
    assert re.search(r"Whisk the eggs with the sugar\.  ->  (sport|cooking|weather|money) \(0\.\d\d\)", printed)
    assert reasoner.load(tmp_path / "out").run.rows == {"test": 8}
    decoder, pack = (
        build_tiny("llama", tmp_path / "decoder"),
        reasoner.synthetic.nli_pack(train=9, validation=3, test=9),
    )
    for split, rows in pack.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ("--train", "train.jsonl", "--data", "test.jsonl", "--task", "nli", "--model", str(decoder))
    assert "few-shot: 2 random examples, seed 0, by likelihood (byte)" in run("zero_shot.py", *files, "--shots", "2")


@runs_programs
def test_verify_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["verify_code.py", "--allow-execution"])
    runpy.run_path(str(EXAMPLES / "verify_code.py"), run_name="__main__")
    printed = capsys.readouterr().out
    outcomes = re.findall(r"\. (correct|wrong|unparsable)\.", printed)
    assert outcomes == ["correct", "wrong", "wrong", "correct", "unparsable", "wrong"]
    assert "'pass@3': 1.0" in printed.splitlines()[-1]


def _paragraph(row: dict) -> dict:
    answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    question = {
        "id": row["id"],
        "question": row["question"],
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
        "is_impossible": not row["answers"]["text"],
    }
    return {"context": row["context"], "qas": [question]}


def test_robustness(run):
    printed = run("robustness.py", "--epochs", "1")
    assert "Robustness: nli, accuracy" in printed
    assert "mean flip rate" in printed.lower()


def test_behaviour(run, tmp_path: Path):
    printed = run("behaviour.py", "--epochs", "1")
    assert printed.count("Heuristics: accuracy") == printed.count("Contrast: nli on test (90 rows)") == 2
    assert printed.count("Checklist: nli, behaviour.yaml: ") == 2
    debiased = reasoner.load(tmp_path / "out" / "debiased")
    assert debiased.run.config["debias"] == "word overlap"


def test_teaching_again_on_folders(run, tmp_path: Path):
    for name, pack in reasoner.synthetic.ner_batches(train=12, validation=6, test=6).items():
        (tmp_path / name).mkdir()
        for split, rows in pack.items():
            (tmp_path / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = run("teaching_again.py", "--data", "per", "loc", "--epochs", "1")
    assert printed.count("Taught in 2 batches: ner, f1 on test") == 2 and "Replay(share=0.5)" in printed
    assert reasoner.load(tmp_path / "out" / "replay" / "batch-2").run.labels == [
        "O",
        "B-PER",
        "I-PER",
        "B-LOC",
        "I-LOC",
    ]
