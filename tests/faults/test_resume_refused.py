"""Is a run that cannot go on refused with each difference, and is all else said?"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fault_runs import Break, Broken, Slow, assert_same_run, tune

from reasoner import Classification, LoRA
from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import collect


@pytest.fixture(scope="module")
def rows(rows_of):
    return rows_of("Classification")


@pytest.fixture(scope="module")
def broken_off(tiny_bert, rows, tmp_path_factory) -> Path:
    """The folder of a run that was broken off at step 8; nobody writes into it."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    with pytest.raises(Broken):
        tune(tiny_bert, rows, folder, callbacks=[Break("step", 8)])
    return folder


@pytest.fixture
def folder(broken_off, tmp_path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(broken_off, copy)
    return copy


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learning_rate": 1e-3}, r"else: settings.learning_rate was 0.002 and is 0.001\. "),
        (
            {"num_train_epochs": 5, "patience": 2},
            "num_train_epochs was 3 and is 5; settings.patience was None and is 2",
        ),
        ({"seed": 7}, r"settings.seed was 42 and is 7; model is another \(in its weights before training\)\."),
        ({"method": LoRA(rank=2)}, r"method was 'Full\(\)' and is 'LoRA\(rank=2"),
        ({"task": Classification(label_smoothing=0.1)}, "task.label_smoothing was 0.0 and is 0.1"),
        ({"callbacks": [Slow()]}, r"callbacks was \[.*Break'\] and is \[.*Slow'\]"),
        ({"max_length": 20}, "settings.max_length was 128 and is 20"),
    ],
)
def test_what_changed_is_named(changed, said, folder, tiny_bert, rows):
    with pytest.raises(ConfigError, match=said) as refused:
        tune(tiny_bert, rows, folder, resume=True, **{"callbacks": [Break()], **changed})
    assert "leave resume out" in str(refused.value)
    assert (folder / "checkpoints" / "step-000006").exists()


def test_other_data_and_another_model_are_named(folder, tiny_bert, tiny_models, rows, tmp_path):
    other = [{**rows[0], "text": "Another text."}, *rows[1:]]
    with pytest.raises(ConfigError, match=r"something else: data.train is another\. Give"):
        tune(tiny_bert, other, folder, resume=True, callbacks=[Break()])
    with pytest.raises(ConfigError, match=r"data.validation is another; rows.validation was 12 and is 11\."):
        tune(tiny_bert, rows[:-1], folder, resume=True, callbacks=[Break()])
    with pytest.raises(ConfigError, match="else: model is another"):
        tune(tiny_models("electra"), rows, folder, resume=True, callbacks=[Break()])


def test_what_changes_no_result_may_change(folder, tiny_bert, rows, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_bert, moved)
    renamed = folder.rename(tmp_path / "renamed")
    result = tune(
        moved, rows, renamed, resume=True, callbacks=[Break()], checkpoint_steps=None, keep_checkpoints=3,
        feature_cache=str(tmp_path / "cache"),
    )  # fmt: skip
    assert_same_run(result, tune(tiny_bert, rows, None, callbacks=[Break()], checkpoint_steps=None))


def test_another_machine_is_said(folder, tiny_bert, rows):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        result = tune(tiny_bert, rows, folder, resume=True, callbacks=[Break()])
    finally:
        torch.set_num_threads(threads)
    (said,) = (notice for notice in result.run.notices if "elsewhere" in notice)
    assert f"machine.threads was {threads} and is {threads + 1}" in said


def test_a_run_that_has_ended_is_loaded(tiny_bert, rows, tmp_path):
    with collect() as said:
        first = tune(tiny_bert, rows, tmp_path / "run", resume=True, max_steps=3)
    assert "There is no checkpoint in 'run': training starts from the beginning." in said
    with collect() as said:
        again = tune(tiny_bert, rows, tmp_path / "run", resume=True, max_steps=3)
    assert "The run in 'run' has ended: nothing is trained, and what it wrote is loaded." in said
    assert_same_run(again, first)
    assert again.run == first.run
    assert again.predict("Is it so?") == first.predict("Is it so?")
    with pytest.raises(ConfigError, match=r"settings.max_steps was 3 and is 4\."):
        tune(tiny_bert, rows, tmp_path / "run", resume=True, max_steps=4)


def test_a_new_run_sets_the_checkpoints_aside(folder, tiny_bert, rows):
    with collect() as said:
        tune(tiny_bert, rows, folder, seed=7, max_steps=3)
    assert sum("are now in 'checkpoints.previous'" in notice for notice in said) == 1
    assert sorted(path.name for path in folder.glob("checkpoints*")) == ["checkpoints.previous"]


def test_where_resume_means_nothing(tiny_bert, rows, tmp_path):
    with pytest.raises(ConfigError, match="needs output_dir"):
        tune(tiny_bert, rows, None, resume=True)
    with pytest.raises(ConfigError, match="does not go with seeds"):
        tune(tiny_bert, rows, tmp_path, resume=True, seeds=[0, 1])
    result = tune(tiny_bert, rows, None, max_steps=1)
    assert any(notice.startswith("checkpoint_steps: no checkpoints are written") for notice in result.run.notices)


def test_a_checkpoint_of_other_callbacks_is_refused(tiny_bert, rows, tmp_path):
    from reasoner.training.checkpoint_files import read, write

    with pytest.raises(Broken):
        tune(tiny_bert, rows, tmp_path / "run", callbacks=[Break("step", 5)])
    folder = tmp_path / "run" / "checkpoints" / "step-000004"
    state = read(folder)
    shutil.rmtree(folder)
    (own,) = state["ranks"]
    write(folder, {**state, "ranks": [{**own, "callbacks": own["callbacks"][1:]}]})
    with pytest.raises(CheckpointError, match=r"has the callbacks .* Give the same ones"):
        tune(tiny_bert, rows, tmp_path / "run", callbacks=[Break()], resume=True)
