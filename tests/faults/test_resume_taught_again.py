"""Does a model that is taught again, broken off and gone on with, end as if it never was: with each protection?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fault_runs import Break, Broken, assert_same_run, tune

import reasoner
from reasoner import EWC, Replay
from reasoner.errors import ConfigError

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "replay": {"protection": Replay(share=0.4)},
    "replay, batches by tokens": {"protection": Replay(share=0.3), "tokens_per_batch": 96, "max_length": 48},
    "replay, kept states": {"protection": "replay", "method": "head"},
    "ewc": {"protection": EWC(strength=10.0, rows=6)},
    "lwf": {"protection": "lwf"},
    "a limit that is passed": {"max_forgetting": 0.0, "eval_steps": 2, "num_train_epochs": 8},
    "a limit that is not": {"max_forgetting": 1.0, "eval_steps": 3, "average_checkpoints": 2, "ema_decay": 0.9},
}


@pytest.fixture(scope="module")
def old(tiny_bert, rows_of, tmp_path_factory) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    """A model of two labels, its rows, and rows with a third label."""
    folder = tmp_path_factory.mktemp("old") / "old"
    rows = rows_of("Classification")
    names = sorted({row["label"] for row in rows})
    old_rows = [{**row, "label": names[number % 2]} for number, row in enumerate(rows)]
    new_rows = [{**row, "label": (names[0], "a new one")[number % 2]} for number, row in enumerate(rows)]
    tune(tiny_bert, old_rows, folder, seed=3)
    return folder, old_rows, new_rows


@pytest.mark.parametrize("case", CASES)
def test_it_ends_as_if_it_never_was_broken_off(case, old, tmp_path: Path):
    folder, old_rows, rows = old
    protect = [] if case == "lwf" else [{"train": old_rows[:20], "validation": old_rows[20:]}]
    settings = {"after": folder, "protect": protect, **CASES[case]}
    whole = tune(None, rows, tmp_path / "whole", callbacks=[Break()], **settings)
    assert len(whole.run.labels) == 3
    broken, result = 0, None
    for stage, number in [("step", 3), ("evaluate", 1), ("step", 4), ("", 0)]:
        try:
            result = tune(None, rows, tmp_path / "broken", callbacks=[Break(stage, number)], resume=True, **settings)
            break
        except Broken:
            broken += 1
    assert result is not None and broken >= 1
    assert_same_run(result, whole)
    assert result.run.continued == whole.run.continued and result.run.notices[-1] == whole.run.notices[-1]
    assert result.run.stopped_early == (case == "a limit that is passed")
    again = tune(None, rows, tmp_path / "broken", callbacks=[Break()], resume=True, **settings)
    assert_same_run(again, result)  # it has ended, and is loaded


def test_another_protection_or_other_old_rows_cannot_go_on(old, tmp_path: Path):
    folder, old_rows, rows = old
    settings: dict[str, Any] = {"after": folder, "protection": "ewc", "protect": [old_rows]}
    with pytest.raises(Broken):
        tune(None, rows, tmp_path / "run", callbacks=[Break("step", 5)], **settings)
    for changes, message in (
        ({"protection": EWC(strength=1.0)}, "previous.protection was 'EWC"),
        ({"protect": [old_rows[:20]]}, "previous.protected was"),
        ({"max_forgetting": 0.5}, "settings.max_forgetting was None and is 0.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            tune(None, rows, tmp_path / "run", callbacks=[Break()], resume=True, **{**settings, **changes})
    other = tmp_path / "other"
    reasoner.load(folder, use_cpu=True).save(other)
    result = tune(None, rows, tmp_path / "run", callbacks=[Break()], resume=True, **{**settings, "after": other})
    assert any("goes on after step" in notice for notice in result.run.notices)  # the same model in another folder
