"""Several processes that work off a list, with progress, and no one left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

from tqdm import tqdm

from mini_gpt.support.prepare_work import Stopped

Item = TypeVar("Item")
Result = TypeVar("Result")
Tell = Callable[[int], None]

_LOOK_EVERY = 0.5  # seconds between two looks at what the processes have done


class Workers:
    """Processes that take one item after another; `started` makes them.

    Args:
        executor: None: the work is done here, in this process.
        read: How many bytes all of them have read, shared.
        stop: Set when they should end, shared.
    """

    def __init__(self, executor: ProcessPoolExecutor | None, read: Any, stop: Any):
        self.executor, self.read, self.stop = executor, read, stop

    def map(
        self,
        function: Callable[[Item, Tell], Result],
        items: Sequence[Item],
        *,
        what: str,
        total: int = 0,
        done: int = 0,
        shown: bool | None = None,
    ) -> list[Result]:
        """What a function gives for each item, in their order.

        Args:
            function: Gets an item, and what to call with the bytes that it has read.
            what: Is written before the bar.
            total: Bytes of all items; 0: not known.
            done: How many of them had been done earlier.
            shown: Whether to draw a bar; None: on a terminal, and else a line now and
                then.

        Raises:
            ValueError, OSError: from the function; the others end then.
            OSError: if a process ended without a word.
        """
        with _bar(what, total, done, shown) as bar:
            if self.executor is None:
                return [function(item, bar.update) for item in items]
            self.read.value = 0
            futures = [self.executor.submit(_do, function, item) for item in items]
            try:
                self._watch(futures, bar)
                return [future.result() for future in futures]
            except BrokenProcessPool:
                raise OSError(
                    "one of the processes was ended from outside, perhaps for want of "
                    "memory; the same command goes on, --processes says with how many"
                ) from None
            finally:
                for future in futures:
                    future.cancel()

    def _watch(self, futures: list[Future[Any]], bar: tqdm[Any]) -> None:
        """Draw what is done until all is, or something has failed."""
        pending, seen = set(futures), 0
        while pending:
            finished, pending = wait(pending, _LOOK_EVERY, FIRST_EXCEPTION)
            read = self.read.value
            bar.update(read - seen)
            seen = read
            if any(future.exception() for future in finished):
                self.stop.set()  # what the others have begun cannot be used
                break
        for future in futures:  # the first failure in the order of the corpus
            if future.done() and not isinstance(future.exception(), Stopped):
                future.result()


@contextmanager
def started(processes: int) -> Iterator[Workers]:
    """Processes that end when the block does, or when this process is killed."""
    context = multiprocessing.get_context("spawn")  # torch and threads are here
    read, stop = context.Value("q", 0), context.Event()
    if processes == 1:
        yield Workers(None, read, stop)
        return
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(read, stop)
    ) as executor:
        try:
            yield Workers(executor, read, stop)
        except BaseException:
            stop.set()
            executor.shutdown(cancel_futures=True)
            raise


_shared: dict[str, Any] = {}  # what a worker has in common with its parent


def _begin(read: Any, stop: Any) -> None:
    """What a worker does before its first item."""
    _shared.update(read=read, stop=stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and tells us
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _do(function: Callable[[Any, Tell], Any], item: Any) -> Any:
    """An item, in a worker."""
    return function(item, _tell)


def _tell(read: int) -> None:
    """Count what was read; raises `Stopped` where the work is in vain."""
    with _shared["read"].get_lock():
        _shared["read"].value += read
    if _shared["stop"].is_set():
        raise Stopped


def _bar(what: str, total: int, done: int, shown: bool | None) -> tqdm[Any]:
    """Bytes, their rate and the time left."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(
        desc=what,
        total=total or None,
        initial=done,
        disable=shown is False or sys.stderr is None,
        unit="B",
        unit_scale=True,
        dynamic_ncols=terminal,
        mininterval=0.5 if terminal else 10.0,
        smoothing=0.1,
    )
