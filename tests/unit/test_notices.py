"""Is what the library did on its own counted, said once, and quiet where the program logs for itself?"""

from __future__ import annotations

import logging

import pytest

from reasoner import notices
from reasoner.notices import Mean, collect, count, counting, say, tell


@pytest.fixture
def records(caplog):
    caplog.set_level(logging.INFO, logger="reasoner")
    return caplog


def test_within_collect_a_message_is_said_once(records):
    with collect() as said:
        say("One was dropped.")
        say("Another was repaired.")
        say("One was dropped.")
    assert said == ["One was dropped.", "Another was repaired."] == records.messages


def test_outside_collect_nothing_is_held_back(records):
    say("Again.")
    say("Again.")
    assert records.messages == ["Again.", "Again."]


def test_two_blocks_do_not_know_each_other(records):
    for _ in range(2):
        with collect() as said:
            say("Again.")
        assert said == ["Again."]
    assert records.messages == ["Again.", "Again."]


def test_an_inner_block_collects_for_the_outer(records):
    with collect() as outer:
        say("Before.")
        with collect() as inner:
            say("Within.")
            say("Before.")
        say("After.")
    assert outer == ["Before.", "Within.", "After."] == records.messages
    assert inner is outer


def test_progress_is_logged_and_not_collected(records):
    with collect() as said:
        tell("step 1")
        tell("step 1")
    assert said == [] and records.messages == ["step 1", "step 1"]


def test_means_are_added_up_and_said_at_the_end(records):
    with collect() as said, counting("train: "):
        count("{n} tokens on average.", Mean(10, 4))
        assert said == []
        count("{n} tokens on average.", Mean(0, 2))
        count("{n} rows.", 2)
    assert said == ["train: 1.7 tokens on average.", "train: 2 rows."]


def test_counts_are_added_up_and_said_at_the_end(records):
    with collect() as said, counting("train: "):
        for _ in range(3):
            count("{n} rows were dropped.")
        count("{n} answers were moved.", 5)
        assert said == []
    assert said == ["train: 3 rows were dropped.", "train: 5 answers were moved."]


def test_a_count_outside_of_counting_is_said_at_once(records):
    count("{n} rows were dropped.", 2)
    assert records.messages == ["2 rows were dropped."]


def test_counts_are_said_also_when_the_block_fails(records):
    with pytest.raises(ValueError), counting("test: "):
        count("{n} rows were dropped.")
        raise ValueError
    assert records.messages == ["test: 1 rows were dropped."]


def test_a_prefix_may_hold_braces(records):
    with counting("{odd} name.csv: "):
        count("{n} rows were dropped.")
    assert records.messages == ["{odd} name.csv: 1 rows were dropped."]


def test_counting_nests(records):
    with counting("outer: "):
        count("{n} rows.")
        with counting("inner: "):
            count("{n} rows.", 7)
    assert records.messages == ["inner: 7 rows.", "outer: 1 rows."]


@pytest.fixture
def bare_logger(monkeypatch):
    """A logger in a program that has set up no logging."""
    logger = logging.Logger("reasoner-in-a-test")
    monkeypatch.setattr(notices, "logger", logger)
    return logger


def test_without_logging_the_message_is_seen(bare_logger, capsys):
    say("Seen.")
    say("Seen again.")
    assert capsys.readouterr().err == "Seen.\nSeen again.\n"
    assert len(bare_logger.handlers) == 1


def test_with_logging_set_up_no_handler_is_added(bare_logger, capsys):
    parent, seen = logging.Logger("root-of-the-program"), []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    parent.addHandler(handler)
    bare_logger.parent = parent
    say("To the program's log.")
    assert seen == ["To the program's log."] and bare_logger.handlers == []
    assert capsys.readouterr().err == ""


def test_a_level_that_the_program_chose_is_kept(bare_logger, capsys):
    bare_logger.setLevel(logging.WARNING)
    say("Not wanted.")
    assert capsys.readouterr().err == "" and bare_logger.level == logging.WARNING


def test_runs_apart_collect_for_themselves_and_log_once(records):
    with collect() as outer:
        say("read")
        collected = []
        for seed in (1, 2):
            with collect(apart=True) as own:
                say("read")
                say("of each run")
                with collect():
                    say(f"of run {seed}")
            collected.append(own)
        say("after")
    assert collected == [["read", "of each run", "of run 1"], ["read", "of each run", "of run 2"]]
    assert outer == ["read", "after"]
    assert [record.message for record in records.records] == ["read", "of each run", "of run 1", "of run 2", "after"]
    with collect():
        say("read")  # another call says it again
    assert records.records[-1].message == "read"
