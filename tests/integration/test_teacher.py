"""Does `fine_tune(teacher=...)` train a student to agree, record who taught it, and refuse what makes no sense?"""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import torch

import reasoner
from reasoner import fingerprints
from reasoner.errors import ConfigError
from reasoner.experiments.settings import read_settings, write_settings
from reasoner.methods.full import Full
from reasoner.result import Result
from reasoner.tasks.ner import NER
from reasoner.training.config import TrainingConfig

QUICK = {"use_cpu": True, "check": False, "disable_tqdm": True, "evaluate_before": False}


@pytest.fixture(scope="module")
def data(rows_of):
    rows = rows_of("NLI")
    return {"train": rows, "validation": rows[:8]}


@pytest.fixture(scope="module")
def large(tiny_models, data, tmp_path_factory):
    """A tuned RoBERTa, and its folder."""
    folder = tmp_path_factory.mktemp("teachers") / "large"
    settings = {"num_train_epochs": 4, "learning_rate": 3e-3, "output_dir": folder}
    return reasoner.fine_tune(tiny_models("roberta"), data, task="nli", **settings, **QUICK), folder


def student_of(teacher, model, data, **settings) -> Result:
    return reasoner.fine_tune(model, data, task="nli", teacher=teacher, **{**QUICK, "num_train_epochs": 2, **settings})


def weights_of(result):
    return {name: tensor.clone() for name, tensor in result.predictor.model.state_dict().items()}


def equal(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def entities(result, rows):
    found = result.predict([list(row["tokens"]) for row in rows])
    return [{(e["start_word"], e["end_word"], e["entity_group"]) for e in entities} for entities in found]


def test_a_student_learns_without_gold_what_its_teacher_knows(tiny_models, tmp_path):
    """The tags of each sentence are shuffled: from them alone nothing is learned. The tokenizers differ."""
    from tiny import build_tiny

    teacher_model = build_tiny("bert", tmp_path / "bert", width=64)
    student_model = build_tiny("roberta", tmp_path / "roberta", width=64, seed=3)
    rows = reasoner.synthetic.ner_pack(train=108, validation=0, test=0)["train"]
    rows, validation = rows[:100], rows[100:]
    settings = {"num_train_epochs": 30, "learning_rate": 3e-3, "eval_steps": 10**6, **QUICK}
    teacher = reasoner.fine_tune(teacher_model, {"train": rows, "validation": validation}, task="ner", **settings)
    order = random.Random(0)
    shuffled = [{**row, "ner_tags": order.sample(row["ner_tags"], len(row["ner_tags"]))} for row in rows]
    taught, alone = (
        reasoner.fine_tune(
            student_model, {"train": shuffled, "validation": validation}, task=NER(scheme="IOB2"), **settings, **more
        )
        for more in ({"teacher": teacher, "distillation_weight": 1.0}, {})
    )
    said = entities(teacher, rows)
    for student, least, most in ((taught, 0.8, 1.0), (alone, 0.0, 0.2)):
        own = entities(student, rows)
        shared = sum(len(one & other) for one, other in zip(own, said, strict=True))
        agreement = 2 * shared / (sum(map(len, own)) + sum(map(len, said)))
        assert least <= agreement <= most
        assert least <= student.evaluate(rows)["f1"] <= most


def test_a_weight_of_nothing_is_training_without_a_teacher(tiny_bert, data, large):
    plain = student_of(None, tiny_bert, data)
    assert equal(plain, student_of(large[0], tiny_bert, data, distillation_weight=0.0))
    assert not equal(plain, student_of(large[0], tiny_bert, data))


def test_a_folder_is_the_model_in_memory(tiny_bert, data, large):
    before = weights_of(large[0])
    results = [student_of(teacher, tiny_bert, data) for teacher in (large[0], large[1], str(large[1]))]
    assert equal(results[0], results[1]) and equal(results[0], results[2])
    assert all(torch.equal(before[name], tensor) for name, tensor in weights_of(large[0]).items())


def test_the_order_of_a_teachers_labels_does_not_matter(tiny_bert, data, large, tmp_path):
    order, teacher = [1, 2, 0], reasoner.load(large[1], use_cpu=True)
    labels = tuple(teacher.predictor.task.labels[place] for place in order)
    task = replace(teacher.predictor.task, labels=labels, label_names=labels)
    classifier = teacher.model.classifier.out_proj
    with torch.no_grad():
        for weight in classifier.parameters():
            weight.copy_(weight[order])
    teacher.model.config.update(task.model_config())
    other = Result(replace(teacher.predictor, task=task), teacher.run)
    other.save(tmp_path / "other")
    asked = data["train"][0]
    assert other.predict(asked)["scores"] == pytest.approx(large[0].predict(asked)["scores"], abs=1e-6)
    one, two = (weights_of(student_of(teacher, tiny_bert, data)) for teacher in (large[1], tmp_path / "other"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_record_and_the_card_say_who_taught_and_how_much(tiny_bert, data, large, tmp_path):
    result = student_of(
        large[1], tiny_bert, data, distillation_temperature=4.0, output_dir=tmp_path / "small", check=True
    )
    run, card = reasoner.load(tmp_path / "small").run, (tmp_path / "small" / "README.md").read_text()
    name = run.config["teacher"]
    assert name.startswith("large, weights ") and str(large[1].parent) not in card
    assert (run.config["distillation_weight"], run.config["distillation_temperature"]) == (0.5, 4.0)
    told = [notice for notice in run.notices if notice.startswith("The teacher is ")]
    assert len(told) == 1 and name in told[0] and "Full()" in told[0] and "0.5, at temperature 4" in told[0]
    for words in (f"| teacher | {name} |", "| distillation_temperature | 4 |", "Its share of the loss is 0.5"):
        assert words in card
    memory = student_of(large[0], tiny_bert, data)
    assert memory.run.config["teacher"] == name.replace("large", "a result in memory")
    plain = student_of(None, tiny_bert, data).run
    assert not any(plain.config[key] for key in ("teacher", "distillation_weight", "distillation_temperature"))
    assert result.predict(data["train"][0]) == reasoner.load(tmp_path / "small").predict(data["train"][0])


@pytest.mark.parametrize("method", ["head", "lora"])
def test_other_methods_learn_from_a_teacher_too(tiny_bert, data, large, method):
    if method == "lora":
        pytest.importorskip("peft")
    with_teacher = student_of(large[1], tiny_bert, data, method=method, num_train_epochs=2)
    assert not equal(with_teacher, student_of(None, tiny_bert, data, method=method, num_train_epochs=2))
    assert any("computed once and kept" in said for said in with_teacher.run.notices) == (method == "head")


def test_a_teacher_may_be_an_adapter_beside_its_base(tiny_bert, data, tmp_path):
    pytest.importorskip("peft")
    reasoner.fine_tune(tiny_bert, data, task="nli", method="lora", output_dir=tmp_path / "lora", **QUICK)
    assert "tuned by LoRA" in " ".join(student_of(tmp_path / "lora", tiny_bert, data).run.notices)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [{"distillation_weight": 0.5}, {"distillation_temperature": 2.0}])
def test_a_share_without_a_teacher_is_refused(tiny_bert, data, setting):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} means nothing without a teacher"):
        student_of(None, tiny_bert, data, **setting)


def test_what_is_no_teacher_is_refused(tiny_bert, data):
    with pytest.raises(ConfigError, match=r"teacher: .* holds no reasoner_config.json"):
        student_of(tiny_bert, tiny_bert, data)
    for wrong in (3, "", object()):
        with pytest.raises(ConfigError, match="it must be None, a folder that this library wrote, or a Result"):
            student_of(wrong, tiny_bert, data)


def test_calls_that_do_not_teach_say_so_or_let_it_be(tiny_bert, data, large, tmp_path):
    assert reasoner.check(tiny_bert, data, task="nli", teacher=large[0], use_cpu=True).rows["train"] == 32
    with pytest.raises(ConfigError, match="pretrain has no teacher, distillation_weight"):
        reasoner.pretrain(tiny_bert, ["a", "b"], output_dir=tmp_path, teacher=large[0], distillation_weight=0.1)
    taught = student_of(large[0], tiny_bert, data)
    with pytest.raises(ConfigError, match="learned from a teacher, which its record only names"):
        reasoner.shortcuts(tiny_bert, data, task="nli", result=taught)


def test_a_search_takes_a_teacher_that_it_can_write_down(tiny_bert, data, large, tmp_path):
    pytest.importorskip("optuna")
    with pytest.raises(ConfigError, match="save the teacher, and give its folder"):
        reasoner.search(tiny_bert, data, task="nli", teacher=large[0])
    write_settings(tmp_path / "best.json", Full(), TrainingConfig(teacher=large[1], distillation_weight=0.7))
    best = read_settings(tmp_path / "best.json")["config"]
    assert best.teacher == str(large[1]) and best.distillation == (0.7, 2.0)


# --- two teachers are two settings ------------------------------------------------------------------------------------


def test_a_teacher_counts_by_its_content(large, tmp_path):
    def name(teacher):
        return fingerprints.fingerprint(fingerprints.of_config(TrainingConfig(teacher=teacher)))

    loaded = reasoner.load(large[1], use_cpu=True)
    loaded.save(tmp_path / "same")
    changed = reasoner.load(large[1], use_cpu=True)
    with torch.no_grad():
        changed.model.classifier.out_proj.bias += 1
    changed.save(tmp_path / "changed")
    folders = [name(folder) for folder in (large[1], str(large[1]), tmp_path / "changed")]
    assert folders[0] == folders[1] != folders[2]
    assert len({name(None), name(large[0]), name(changed), *folders}) == 5
    assert name(loaded) == name(large[0])
    for teacher in (None, large[0], large[1]):
        json.dumps(TrainingConfig(teacher=teacher).to_dict())


def test_compare_tells_teachers_apart_and_resumes(tiny_bert, data, large, tmp_path):
    changed = reasoner.load(large[1], use_cpu=True)
    with torch.no_grad():
        changed.model.classifier.out_proj.bias += 1
    variants = {"plain": {}, "one": {"teacher": large[1]}, "other": {"teacher": changed}}
    settings = {"seeds": [0], "output_dir": tmp_path, "check": False, "use_cpu": True, "max_steps": 2}
    for _ in range(2):
        board = reasoner.compare(tiny_bert, data, task="nli", variants=variants, **settings)
        assert [standing.failed for standing in board.standings] == [0, 0, 0]
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*.json")]
    assert len(records) == 3 == len({str(record["config"]["teacher"]) for record in records})
