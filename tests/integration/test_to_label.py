"""Are the rows that are chosen those that one would choose by hand, and is what a person labelled read with checks?"""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from task_cases import CASES

import reasoner
from reasoner.labelling.strategies import doubtful_and_different, farthest_first
from reasoner.vectors import head_vectors, mean_vectors

SETTINGS = {"num_train_epochs": 4, "per_device_train_batch_size": 8, "use_cpu": True, "learning_rate": 3e-3,
            "evaluate_before": False, "check": False, "warmup_steps": 0.0}  # fmt: skip
WORDS = ["lamp", "chair", "river", "street", "people", "walk", "house", "garden", "letter", "book"]


def texts(number: int, seed: int) -> list[dict]:
    random, rows = Random(seed), []
    while len(rows) < number:
        words = random.choices(WORDS, k=6)
        label = "water" if "river" in words else "home" if "house" in words else "other"
        rows.append({"text": f"{' '.join(words)} {len(rows)}", "label": label, "source": f"page {len(rows)}"})
    return rows


def pool(seed: int = 5, number: int = 30) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "label"} for row in texts(number, seed)]


@pytest.fixture(scope="module")
def labelled(lively_bert: Path) -> reasoner.Result:
    data = {"train": texts(48, 0), "validation": texts(16, 1)}
    return reasoner.fine_tune(lively_bert, data, task="classification", **SETTINGS)


@pytest.fixture(scope="module")
def tagger(lively_bert: Path) -> reasoner.Result:
    return reasoner.fine_tune(lively_bert, CASES["ner"].splits, task="ner", **SETTINGS)


@pytest.mark.parametrize("doubt", ["least confidence", "margin", "entropy"])
def test_doubt_is_what_one_gets_of_the_probabilities_by_hand(labelled, doubt):
    rows = pool()
    found = reasoner.to_label(labelled, rows, number=7, by="uncertainty", doubt=doubt)
    by_hand = []
    for prediction in labelled.predict([row["text"] for row in rows]):
        first, second, _ = sorted(prediction["scores"].values(), reverse=True)
        by_hand.append(
            {
                "least confidence": 1 - first,
                "margin": 1 - (first - second),
                "entropy": -sum(p * math.log(p) for p in prediction["scores"].values()),
            }[doubt]
        )
    order = sorted(range(len(rows)), key=lambda row: -by_hand[row])[:7]
    assert [one.columns["text"] for one in found] == [rows[row]["text"] for row in order]
    assert [one.doubt for one in found] == pytest.approx([by_hand[row] for row in order], abs=1e-5)


def test_of_sentences_doubt_is_the_mean_log_probability_of_the_words(tagger):
    rows = [{"tokens": row["tokens"]} for row in CASES["ner"].splits["test"]]
    found = reasoner.to_label(tagger, rows, number=6, by="uncertainty")
    network, tokenizer = tagger.model.eval(), tagger.tokenizer
    by_hand = []
    for row in rows:
        tokens = tokenizer([row["tokens"]], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            logits = network(**tokens).logits[0] / tagger.run.calibration["temperature"]
        best = logits.log_softmax(-1).max(-1).values
        first = [tokens.word_ids(0).index(word) for word in range(len(row["tokens"]))]
        by_hand.append(1 - float(best[first].mean().exp()))
    order = sorted(range(len(rows)), key=lambda row: -by_hand[row])
    assert [one.doubt for one in found] == pytest.approx([by_hand[row] for row in order], abs=1e-4)
    assert [one.columns["tokens"] for one in found] == [rows[row]["tokens"] for row in order]


def test_the_farthest_row_comes_first_as_by_hand():
    random = np.random.default_rng(0)
    known, vectors = random.normal(size=(4, 3)).astype("f4"), random.normal(size=(20, 3)).astype("f4")
    chosen: list[int] = []
    for _ in range(8):
        centres = np.concatenate([known, vectors[chosen]])
        distance = np.sqrt(((vectors[:, None] - centres[None]) ** 2).sum(-1)).min(1)
        chosen.append(int(distance.argmax()))
    assert [pick.row for pick in farthest_first(vectors, 8, known=known)] == chosen
    assert len({pick.row for pick in farthest_first(vectors, 99)}) == 20


def test_of_doubtful_rows_some_that_differ_are_taken():
    places = np.array([[0, 0], [10, 0], [0, 10]], "f4")
    vectors = np.repeat(places, 10, axis=0) + np.random.default_rng(0).normal(0, 0.01, (30, 2)).astype("f4")
    doubts = [0.9] * 10 + [0.8] * 10 + [0.7] * 10
    picks = doubtful_and_different(vectors, doubts, 3, seed=0)
    assert [pick.row // 10 for pick in picks] == [0, 1, 2], "one of each heap, the most doubtful first"
    equal = doubtful_and_different(np.zeros((12, 2), "f4"), [0.5] * 12, 5, seed=0)
    assert len({pick.row for pick in equal}) == 5


@pytest.mark.parametrize("by", ["both", "uncertainty", "diversity", "random"])
def test_known_and_repeated_rows_are_left_out_and_counted(labelled, by, caplog):
    known = [{"text": row["text"]} for row in texts(48, 0)[:3]]
    rows = [*known, *pool(), pool()[0]]
    found = reasoner.to_label(labelled, rows, number=10, by=by)
    assert len({one.columns["text"] for one in found}) == 10
    assert not {one.columns["text"] for one in found} & {row["text"] for row in known}
    assert "3 unlabelled rows are in the training data already" in caplog.text
    assert "1 unlabelled rows hold the texts of an earlier one" in caplog.text
    assert found.pool == 30
    again = reasoner.to_label(labelled, rows, number=10, by=by)
    assert [one.columns for one in again] == [one.columns for one in found]


def test_a_model_that_was_loaded_is_told_its_training_rows(labelled, tmp_path, caplog):
    labelled.save(tmp_path / "model")
    rows = [*texts(48, 0)[:3], *pool()]
    reasoner.to_label(tmp_path / "model", rows, number=40)
    assert "is not known" in caplog.text and "33 are left" in caplog.text
    assert len(reasoner.to_label(tmp_path / "model", rows, number=40, training=texts(48, 0))) == 30


@pytest.mark.parametrize("case", ["nli", "qa", "multiple_choice", "classification", "several labels", "ner"])
def test_each_task_goes_to_a_file_and_back(lively_bert: Path, case: str, tmp_path: Path):
    made = CASES[case]
    result = reasoner.fine_tune(lively_bert, made.splits, task=made.task, **{**SETTINGS, "num_train_epochs": 1})
    gold = {"qa": "answers", "ner": "ner_tags"}.get(case, "label")
    rows = [{name: value for name, value in row.items() if name != gold} for row in made.splits["test"]]
    for name in ("rows.jsonl", "rows.conll")[: 2 if case == "ner" else 1]:
        chosen = reasoner.to_label(result, rows, number=4)
        file = chosen.write(tmp_path / name)
        if name.endswith("jsonl"):
            written = [json.loads(line) for line in file.read_text().splitlines()]
            assert [row[gold] for row in written] == [None] * 4 and all(row["why"] for row in written)
            filled = [{**row, gold: row["suggested"]} for row in reversed(written)]
            file.write_text("".join(json.dumps(row) + "\n" for row in filled))
        else:
            lines = [line.split("\t") for line in file.read_text().splitlines()]
            file.write_text("\n".join("\t".join([*line[:2], line[1]] if len(line) == 3 else line) for line in lines))
        back = reasoner.read_labels(file)
        said = dict(zip(map(repr, rows), result.predict(_inputs(case, rows)), strict=True))
        assert [{k: v for k, v in row.items() if k != gold} for row in back] == [one.columns for one in chosen]
        task = result.predictor.task
        examples = [type(task).Example.from_columns(row, where="") for row in back]
        predictions = [said[repr(one.columns)] for one in chosen]
        assert task.rows_right(predictions, examples) == [True] * 4
        reasoner.fine_tune(lively_bert, {**made.splits, "train": [*made.splits["train"], *back]}, task=made.task,
                           max_steps=1, use_cpu=True, evaluate_before=False)  # fmt: skip


def _inputs(case: str, rows: list[dict]) -> list:
    if case == "ner":
        return [tuple(row["tokens"]) for row in rows]
    return [row.get("text", row) for row in rows]


def test_raw_text_is_labelled_by_entities(tagger, tmp_path: Path):
    rows = [{"text": "Maria Silva, of Oslo."}, {"text": "no name here"}]
    chosen = reasoner.to_label(tagger, rows, number=2, by="random")
    assert [one.gold for one in chosen] == ["entities"] * 2
    with pytest.raises(reasoner.ConfigError, match=r"Write \.jsonl"):
        chosen.write(tmp_path / "rows.conll")
    file = chosen.write(tmp_path / "rows.jsonl")
    names = {"Maria Silva, of Oslo.": [{"start": 0, "end": 11, "label": "PER"}], "no name here": []}
    written = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**row, "entities": names[row["text"]]}) + "\n" for row in written))
    assert {row["text"]: row["entities"] for row in reasoner.read_labels(file)} == names


def test_all_that_is_wrong_with_labels_is_told_at_once(labelled, tmp_path: Path, caplog):
    chosen = reasoner.to_label(labelled, pool(), number=6, by="uncertainty")
    file = chosen.write(tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    good = [{**row, "label": "home"} for row in rows]
    changed = {**good[1], "text": good[1]["text"].replace(" ", " - ", 1)}
    wrong = [changed, {**good[2], "label": "hom"}, rows[3], good[4], good[4], good[5],
             {"text": "a thing that nobody asked for at all", "label": "home"}]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in wrong))
    with pytest.raises(reasoner.DataError) as caught:
        reasoner.read_labels(file)
    told = str(caught.value)
    assert len(caught.value.problems) == 6, told
    for part in (
        f"{chosen[0].where}: is not in the file any more",
        f"line 1: its text is not that of {chosen[1].where} any more",
        "label 'hom' is unknown",
        "Did you mean 'home'?",
        "line 3: has no label",
        "line 5: stands at rows.jsonl, line 4 already",
        "line 7: is none of the rows that were chosen",
    ):
        assert part in told, told
    file.write_text("".join(json.dumps(row) + "\n" for row in (rows[3], good[4])))
    assert [row["label"] for row in reasoner.read_labels(file, partial=True)] == ["home"]
    assert "5 of 6 rows are missing or have no label yet" in caplog.text


def test_half_tagged_sentences_and_wrong_tags_are_told(tagger, tmp_path: Path):
    rows = [{"tokens": row["tokens"]} for row in CASES["ner"].splits["test"][:3]]
    chosen = reasoner.to_label(tagger, rows, number=3, by="random")
    file = chosen.write(tmp_path / "rows.conll")
    lines = file.read_text().splitlines()
    starts = [number + 1 for number, line in enumerate(lines) if line.startswith("# ")]
    lines[starts[0]] = lines[starts[0]].replace("\t_", "\tO")
    for number in range(starts[1], len(lines)):
        lines[number] = lines[number].replace("\t_", "\tB-PLANET" if number == starts[1] else "\tO")
    file.write_text("\n".join(lines))
    with pytest.raises(reasoner.DataError) as caught:
        reasoner.read_labels(file)
    assert len(caught.value.problems) == 2, str(caught.value)
    assert "words have no tag" in str(caught.value) and "PLANET" in str(caught.value)


def test_a_written_file_is_not_overwritten_and_needs_its_record(labelled, tmp_path: Path):
    chosen = reasoner.to_label(labelled, pool(), number=2)
    file = chosen.write(tmp_path / "rows.jsonl")
    with pytest.raises(reasoner.ConfigError, match="is there already"):
        chosen.write(file)
    with pytest.raises(reasoner.ConfigError, match=r"ends with '\.txt'"):
        chosen.write(tmp_path / "rows.txt")
    (tmp_path / "rows.chosen.json").unlink()
    with pytest.raises(reasoner.CheckpointError, match="chosen="):
        reasoner.read_labels(file)
    with pytest.raises(reasoner.DataError, match="2 problems"):
        reasoner.read_labels(file, chosen=chosen)


def test_what_is_shown(labelled):
    found = reasoner.to_label(labelled, pool(), number=25)
    assert max(map(len, str(found).splitlines())) <= 80
    assert "25 of 30 rows to label, by both" in str(found) and "5 more" in str(found)
    assert "<table" in found._repr_html_()


def test_what_makes_no_sense_is_refused(labelled, tagger, lively_bert: Path):
    with pytest.raises(reasoner.ConfigError, match=r"by is 'uncertanty'\. Did you mean 'uncertainty'"):
        reasoner.to_label(labelled, pool(), by="uncertanty")
    with pytest.raises(reasoner.ConfigError, match="doubt is 'marg'"):
        reasoner.to_label(labelled, pool(), doubt="marg")
    with pytest.raises(reasoner.ConfigError, match="number is 0"):
        reasoner.to_label(labelled, pool(), number=0)
    with pytest.raises(reasoner.ConfigError, match="one of several labels"):
        reasoner.to_label(tagger, [{"tokens": ["a", "b"]}], doubt="margin")
    with pytest.raises(reasoner.DataError, match="not in training already"):
        reasoner.to_label(labelled, texts(48, 0))
    with pytest.raises(reasoner.DataError, match="2 problems"):
        reasoner.to_label(labelled, [{"txt": "a"}, {"text": 3}, {"text": "fine"}])
    numbers = [{"text": f"it is {n}", "label": n / 2} for n in range(12)]
    result = reasoner.fine_tune(lively_bert, {"train": numbers, "validation": numbers}, task="classification",
                                **{**SETTINGS, "num_train_epochs": 1})  # fmt: skip
    with pytest.raises(reasoner.ConfigError, match="by='diversity'"):
        reasoner.to_label(result, pool())
    assert reasoner.to_label(result, pool(), number=2, by="diversity")[0].suggested is None


@pytest.mark.parametrize("architecture", ["bert", "deberta-v2", "modernbert", "gpt2", "llama"])
def test_vectors_are_those_of_a_pass_by_hand(lively_models, architecture: str):
    data = {"train": texts(16, 0), "validation": texts(8, 1)}
    result = reasoner.fine_tune(
        lively_models(architecture), data, task="classification", **{**SETTINGS, "max_steps": 1}
    )
    task, network = result.predictor.task, result.model.eval()
    rows = [row["text"] for row in texts(5, 3)]
    examples = [task.example_from_input(text) for text in rows]
    means, heads = mean_vectors(result.predictor, examples), head_vectors(result.predictor, examples)
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    logits = []
    for text, mean in zip(rows, means, strict=True):
        inputs = result.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            hidden = network.base_model(**inputs).last_hidden_state[0]
            logits.append(network(**inputs).logits[0])
        assert mean == pytest.approx(hidden.mean(0).numpy(), abs=1e-4)
    with torch.no_grad():
        assert torch.allclose(last(torch.tensor(heads)), torch.stack(logits), atol=1e-4)
