"""Does a response that is right after few turns alone win over one that is right after many?"""

from __future__ import annotations

import reasoner

ASKED, ANSWERED, LATER = "which price range", "here you are", "in a cheap price range please for all of us"


def rows(number, first):
    """Short dialogues are to be answered by one text, long ones by another; no batch in order of length has both."""
    places = ("paris", "rome", "london", "madrid", "seoul", "tokyo", "hanoi", "bombay")
    return [
        {
            "turns": [f"a table in {places[n % 8]}", *([ASKED, LATER] if n % 2 else [])],
            "response": ANSWERED if n % 2 else ASKED,
            "dialogue": first + n,
        }
        for n in range(number)
    ]


def test_a_response_is_told_from_those_of_longer_dialogues():
    data = {"train": rows(256, 0), "validation": rows(16, 1000), "test": rows(16, 2000)}
    task = reasoner.ResponseRanking(wrong_candidates=0)
    result = reasoner.fine_tune(
        None, data, task=task, num_train_epochs=1, learning_rate=3e-4, use_cpu=True, check=False, evaluate_before=False
    )
    assert result.metrics["test"]["accuracy"] == 1
