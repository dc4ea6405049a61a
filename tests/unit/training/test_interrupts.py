"""Is the first signal only noted, and does the second end the program?"""

from __future__ import annotations

import signal
import threading

import pytest

from reasoner.training.interrupts import Interrupts


@pytest.fixture(autouse=True)
def heard():
    """A program in the background begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_the_second_one_ends(number, error):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert interrupts.asked is None
        signal.raise_signal(number)
        assert interrupts.asked == number and isinstance(interrupts.end(), error)
        with pytest.raises(error) as raised:
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert error is not SystemExit or raised.value.code == 143


def test_handlers_are_back_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError), Interrupts():
        assert signal.getsignal(signal.SIGTERM) not in before
        raise ValueError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_what_the_program_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
        assert interrupts.asked is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_changes():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def look():
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]
