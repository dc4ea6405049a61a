"""What is in the folder, what happens to it when writing fails, and what is said of one that cannot be read?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from own_head import OwnLayers
from reasoner.errors import CheckpointError, ConfigError
from reasoner.registry import register_head, register_task
from reasoner.reports.run import Run
from reasoner.storage import CONFIG_FILE, load_folder, save_folder
from reasoner.tasks.classification import Classification
from reasoner.tasks.multiple_choice import MultipleChoice
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.tasks.qa import QuestionAnswering

TASKS = {
    "ner": NER(class_weights="balanced"),
    "nli": NLI(),
    "classification": Classification(kind="multi", threshold=0.3),
    "number": Classification(kind="number"),
    "qa": QuestionAnswering(max_answer_tokens=7),
    "multiple_choice": MultipleChoice(),
}
WRITTEN = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md", CONFIG_FILE}


def a_run(**changes):
    fields = {"task": "nli", "model": "tiny", "method": "Full()", "primary_metric": "f1", "compared_split": "test"}
    return Run(
        **{
            **fields,
            "metrics": {"test": {"f1": 0.5}},
            "history": [{"step": 1, "epoch": 1.0, "split": "train", "loss": 2.0}],
            **changes,
        }
    )


@pytest.fixture
def nli(prepare):
    return prepare(NLI()).predictor


@pytest.fixture
def saved(nli, tmp_path):
    folder = tmp_path / "model"
    save_folder(folder, nli, a_run())
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def test_what_is_written(saved):
    names = set(contents(saved))
    assert names >= WRITTEN and not names & {"head.safetensors", "pytorch_model.bin"}
    assert all(name.endswith((".json", ".safetensors", ".md", ".txt", ".jinja")) for name in names)
    record = json.loads((saved / CONFIG_FILE).read_text())
    assert record["task"] == "nli" and record["run"]["metrics"] == {"test": {"f1": 0.5}}
    assert json.loads((saved / "config.json").read_text())["id2label"] == {
        "0": "entailment",
        "1": "neutral",
        "2": "contradiction",
    }
    assert {tensor.dtype for tensor in load_file(saved / "model.safetensors").values()} == {torch.float32}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_read_is_what_was_written(prepare, name, tmp_path):
    predictor, data = prepare(TASKS[name], max_length=60, stride=7)
    run = a_run(labels=["x"], notices=["Ünïcode."], best_step=3)
    save_folder(tmp_path, predictor, run)
    loaded, read = load_folder(tmp_path, batch_size=5)
    assert read == run
    assert (loaded.max_length, loaded.stride, loaded.batch_size) == (60, 7, 5)
    assert json.dumps(loaded.task.settings()) == json.dumps(predictor.task.settings())
    assert type(loaded.task) is type(predictor.task) and not loaded.model.training
    state = loaded.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in predictor.model.state_dict().items())
    again = loaded.encode(data.examples)
    assert [[f.inputs for f in g] for g in again.features] == [[f.inputs for f in g] for g in data.features]
    ours, theirs = predictor.evaluate(data).metrics, loaded.evaluate(again).metrics
    for key, tolerance in (("loss", 1e-5), (predictor.task.primary_metric, 1e-3)):
        assert theirs[key] == pytest.approx(ours[key], abs=tolerance)
    if name == "ner":
        assert torch.equal(loaded.model.head.class_weights, predictor.model.head.class_weights)


def test_a_new_model_replaces_the_old_one_and_its_weights(prepare, registry, tmp_path):
    register_head("own_layers", OwnLayers)
    own = prepare(NLI(head="own_layers")).predictor
    save_folder(tmp_path, own, a_run())
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(b"old")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    others = {"history.jsonl": "{}\n", "notes.txt": "mine", "models.md": "mine", "sub/model.safetensors": "mine"}
    for name, text in others.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert (tmp_path / "head.safetensors").exists()
    ner = prepare(NER()).predictor
    save_folder(tmp_path, ner, a_run(task="ner"))
    names = set(contents(tmp_path))
    assert {name for name in names if name.endswith(".safetensors")} == {"model.safetensors", "sub/model.safetensors"}
    assert "model.safetensors.index.json" not in names
    assert {name: (tmp_path / name).read_text() for name in others} == others
    assert isinstance(load_folder(tmp_path)[0].task, NER)


def test_a_tokenizer_with_several_chat_templates_is_saved_again_and_again(prepare, tmp_path):
    predictor = prepare(NLI()).predictor
    plain = predictor.tokenizer.chat_template
    predictor.tokenizer.chat_template = {"default": "{{ messages }}", "tools": "{{ tools }}"}
    for _ in range(2):
        save_folder(tmp_path, predictor, a_run())
        assert load_folder(tmp_path)[0].tokenizer.chat_template == predictor.tokenizer.chat_template
    folder = tmp_path / "additional_chat_templates"
    assert folder.stat().st_mode & 0o100  # a folder that can be entered
    predictor.tokenizer.chat_template = plain
    save_folder(tmp_path, predictor, a_run())
    assert not folder.exists()


def test_own_layers_come_back(prepare, registry, tmp_path):
    register_head("own_layers", OwnLayers)
    predictor = prepare(NLI(head="own_layers")).predictor
    save_folder(tmp_path, predictor, a_run())
    state = load_folder(tmp_path)[0].model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in predictor.model.state_dict().items())
    assert "transformers" in (tmp_path / "README.md").read_text()
    del registry["head"]["own_layers"]
    with pytest.raises(CheckpointError, match=r"needs a part that is not here. There is no head named 'own_layers'"):
        load_folder(tmp_path)


def disk_full(*arguments, **settings):
    raise OSError(28, "No space left on device")


def half_written(folder, **settings):
    (Path(folder) / "model.safetensors").write_bytes(b"half of it")
    (Path(folder) / "config.json").write_text("{")
    disk_full()


def safetensors_full(folder, **settings):
    from safetensors import SafetensorError

    (Path(folder) / "model.safetensors").write_bytes(b"half of it")
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("part", ["network", "network_safetensors", "tokenizer", "card"])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_write_that_fails_leaves_the_earlier_model_whole(prepare, nli, tmp_path, monkeypatch, part, earlier):
    folder = tmp_path / "model"
    if earlier:
        save_folder(folder, nli, a_run())
        (folder / "history.jsonl").write_text("{}\n")
    before = contents(tmp_path)
    ner = prepare(NER()).predictor
    if part == "card":
        monkeypatch.setattr("reasoner.reports.card.model_card", disk_full)
    elif part == "tokenizer":
        monkeypatch.setattr(ner.tokenizer, "save_pretrained", disk_full)
    else:
        monkeypatch.setattr(
            ner.model.network, "save_pretrained", half_written if part == "network" else safetensors_full
        )
    with pytest.raises(CheckpointError, match=r"could not be saved in .*No space left on device"):
        save_folder(folder, ner, a_run(task="ner"))
    assert contents(tmp_path) == before
    assert not [path for path in folder.iterdir() if path.is_dir()]
    if earlier:
        assert isinstance(load_folder(folder)[0].task, NLI)


def test_an_interrupt_leaves_the_earlier_model_whole(nli, saved, monkeypatch):
    before = contents(saved)

    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(nli.tokenizer, "save_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_folder(saved, nli, a_run())
    assert contents(saved) == before and not [path for path in saved.iterdir() if path.is_dir()]


def test_a_folder_that_cannot_be_made(nli, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=r"cannot be written.*Choose another output_dir"):
            save_folder(folder, nli, a_run())
    assert (tmp_path / "file").read_text() == "mine"


def test_a_task_that_is_not_registered_is_refused_before_anything_is_written(prepare, registry, tmp_path):
    predictor = prepare(NLI()).predictor
    del registry["task"]["nli"]
    with pytest.raises(ConfigError, match=r"NLI is not registered"):
        save_folder(tmp_path / "model", predictor, a_run())
    assert not (tmp_path / "model").exists()


def test_a_task_that_is_not_registered_cannot_be_read(saved, registry):
    registry["task"].pop("nli")
    with pytest.raises(
        CheckpointError, match=r"needs a part that is not here. There is no task named 'nli'.*register_task"
    ):
        load_folder(saved)
    register_task("nli", NLI)
    assert isinstance(load_folder(saved)[0].task, NLI)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"nli"',
        "{}",
        '{"task": "nli"}',
        '{"task": ["nli"], "task_settings": {}, "max_length": 9, "stride": 1, "run": {}}',
        '{"task": "nli", "task_settings": [], "max_length": 9, "stride": 1, "run": {}}',
        '{"task": "nli", "task_settings": {}, "max_length": 9, "stride": 1, "run": []}',
        '{"task": "nli", "task_settings": {}, "max_length": 9, "stride": 1, "run": {}}',
        "\ud800",
    ],
)
def test_a_record_that_is_damaged(saved, text):
    (saved / CONFIG_FILE).write_text(text, "utf-8", errors="surrogatepass")
    with pytest.raises(CheckpointError, match=f"{CONFIG_FILE}' is damaged"):
        load_folder(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_length", None), ("max_length", "long"), ("max_length", float("inf")), ("stride", []), ("run", {"task": 1})],
)
def test_a_value_that_is_damaged(saved, key, value):
    record = json.loads((saved / CONFIG_FILE).read_text())
    (saved / CONFIG_FILE).write_text(json.dumps({**record, key: value}))
    with pytest.raises(CheckpointError, match=f"{CONFIG_FILE}' is damaged"):
        load_folder(saved)


@pytest.mark.parametrize(
    "settings", [{"labels": 5}, {"labels": ["x", "y"]}, {"class_weights": {"x": 1.0}}, {"kind": "odd"}]
)
def test_settings_that_do_not_fit_the_weights(saved, settings):
    record = json.loads((saved / CONFIG_FILE).read_text())
    record["task_settings"] |= settings
    (saved / CONFIG_FILE).write_text(json.dumps(record))
    with pytest.raises(CheckpointError):
        load_folder(saved)


def test_a_folder_of_two_models_is_refused(saved):
    """As it is left when the power goes between the last two files."""
    config = json.loads((saved / "config.json").read_text())
    for names in ({"0": "neutral", "1": "entailment", "2": "contradiction"}, {"0": "yes", "1": "no", "2": "perhaps"}):
        (saved / "config.json").write_text(json.dumps({**config, "id2label": names}))
        with pytest.raises(CheckpointError, match=r"mixes two models: config.json and reasoner_config.json differ"):
            load_folder(saved)


def test_fields_of_a_later_version_are_left_aside(saved):
    record = json.loads((saved / CONFIG_FILE).read_text())
    record["run"]["later"] = record["task_settings"]["later"] = record["later"] = 1
    (saved / CONFIG_FILE).write_text(json.dumps(record))
    assert replace(load_folder(saved)[1], bytes_on_disk=0) == a_run()


def test_no_folder_of_ours(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(CheckpointError, match=f"holds no {CONFIG_FILE}: it was not written by this library"):
            load_folder(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_weights_or_config_that_are_damaged(saved, name, damage):
    whole = (saved / name).read_bytes()
    (saved / name).unlink() if damage == "gone" else (saved / name).write_bytes(
        whole[: len(whole) // 2 * (damage == "cut")]
    )
    with pytest.raises(CheckpointError, match=str(saved)):
        load_folder(saved)


def test_a_weight_that_is_missing(saved):
    from safetensors.torch import save_file

    weights = load_file(saved / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks the weights .*classifier.weight"):
        load_folder(saved)


def test_a_pickle_is_not_loaded(saved, nli):
    (saved / "model.safetensors").unlink()
    torch.save(nli.model.network.state_dict(), saved / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"cannot be read"):
        load_folder(saved)


@pytest.mark.parametrize("model_type", ["bert", "unheard-of"])
def test_code_in_the_folder_is_not_run(saved, model_type, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is to be asked"))
    flag = saved / "it-ran"
    (saved / "evil.py").write_text(f"open({str(flag)!r}, 'w')\n")
    for name, changes in {
        "config.json": {
            "model_type": model_type,
            "auto_map": dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification"), "evil.Evil"),
        },
        "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}},
    }.items():
        (saved / name).write_text(json.dumps({**json.loads((saved / name).read_text()), **changes}))
    if model_type == "bert":
        load_folder(saved)
    else:
        with pytest.raises(CheckpointError):
            load_folder(saved)
    assert not flag.exists()


def test_a_tokenizer_with_code_of_its_own_is_refused(saved, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is to be asked"))
    flag = saved / "it-ran"
    (saved / "evil.py").write_text(f"open({str(flag)!r}, 'w')\n")
    settings = json.loads((saved / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (saved / "tokenizer_config.json").write_text(json.dumps(settings))
    try:
        load_folder(saved)
    except CheckpointError as error:
        assert "cannot be read" in str(error)
    assert not flag.exists()
