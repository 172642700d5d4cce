"""Signals that ask a run to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mini_gpt.support.distributed import launched


class Stop:
    """Whether somebody has asked the run to stop: the name of the signal, or None."""

    def __init__(self) -> None:
        self.asked: str | None = None


class TrainingStopped(RuntimeError):
    """A run ended early because it was asked to; what it had reached is saved.

    Args:
        done: Steps taken, of `steps`.
        run: The run's folder, for the message.
        signal_name: None where another process was asked.
    """

    def __init__(
        self, done: int, steps: int, run: Path | None, signal_name: str | None
    ) -> None:
        super().__init__(
            f"stopped by {signal_name or 'another process'} after step {done:,} of "
            f"{steps:,}, and saved; go on with: mini-gpt train --resume {run}"
        )
        self.signal_name = signal_name


@contextmanager
def stop_on_signals(wanted: bool) -> Iterator[Stop]:
    """Note SIGINT, SIGTERM and SIGHUP, whose second one acts as usual, and go on.

    SIGHUP comes when a terminal is closed; where `nohup` ignores it, it stays ignored.

    Does nothing where it is not wanted, nor in a thread other than the main one, which
    cannot receive signals.
    """
    stop = Stop()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        numbers.append(hang_up)
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        stop.asked = signal.Signals(number).name
        if launched():
            return  # torchrun sends a second one as soon as it has had one itself
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
