"""Signals are noted while a run goes on, and mean what they always mean before and after."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from mini_gpt.support.signals import TrainingStopped, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_next_one_acts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals(True) as stop:
        assert stop.asked is None
        signal.raise_signal(number)
        assert stop.asked == number.name
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_under_torchrun_a_second_signal_is_noted_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with stop_on_signals(True) as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked == "SIGTERM"


def test_the_handlers_come_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), stop_on_signals(True):
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == before


def test_nothing_is_noted_where_it_is_not_wanted_or_cannot_be() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def inside(wanted: bool) -> None:
        with stop_on_signals(wanted):
            seen.append(signal.getsignal(signal.SIGTERM))

    inside(False)
    thread = threading.Thread(target=inside, args=(True,))
    thread.start()
    thread.join()
    assert seen == [before, before]


def test_the_message_says_how_to_go_on() -> None:
    stopped = TrainingStopped(1200, 5000, Path("runs/one"), "SIGINT")
    assert str(stopped) == (
        "stopped by SIGINT after step 1,200 of 5,000, and saved; "
        f"go on with: mini-gpt train --resume {Path('runs/one')}"
    )
    assert "stopped by another process" in str(TrainingStopped(1, 2, Path("a"), None))
