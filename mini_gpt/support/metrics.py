"""What a run measures: loss and speed, a progress bar, JSON lines, TensorBoard."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from mini_gpt.support.files import atomic_file


class Meter:
    """The mean loss and the speed of the steps since it was restarted.

    Losses are summed where they are, so that adding one does not wait for the device.
    """

    def __init__(self, device: torch.device, tokens_per_step: int) -> None:
        self.device = device
        self.tokens_per_step = tokens_per_step
        self.restart()

    def restart(self) -> None:
        """Forget the steps so far, and start the clock."""
        self.sum = torch.zeros((), device=self.device)
        self.counted = torch.zeros((), device=self.device)
        self.steps, self.seconds = 0, 0.0
        self.start_clock()

    def start_clock(self) -> None:
        """Time counts from now on; what was counted before stays."""
        self.start = time.perf_counter()

    def add(
        self, loss: Float[Tensor, ""], healthy: Bool[Tensor, ""] | None = None
    ) -> None:
        """Count a step with this loss; where it is not healthy, the loss stays out."""
        healthy = loss.isfinite() if healthy is None else healthy
        self.sum += torch.where(healthy, loss, 0.0)
        self.counted += healthy
        self.steps += 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as time of the steps."""
        self.seconds += time.perf_counter() - self.start
        self.start_clock()
        try:
            yield
        finally:
            self.start_clock()

    def read(self) -> tuple[float, float, float]:
        """Mean loss, seconds, and tokens per second.

        This waits for the device, so that the time is that of finished work.

        Raises:
            ValueError: if there was no step.
        """
        if not self.steps:
            raise ValueError("no step was taken since the last time; call step() first")
        loss = (self.sum / self.counted).item()
        seconds = self.seconds + time.perf_counter() - self.start
        return loss, seconds, self.steps * self.tokens_per_step / seconds

    def state(self) -> dict[str, Any]:
        """What it has counted so far."""
        with self.paused():
            return {
                name: getattr(self, name)
                for name in ("sum", "counted", "steps", "seconds")
            }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what another meter had counted, as its `state` told."""
        sums = (state[name].clone().to(self.device) for name in ("sum", "counted"))
        self.sum, self.counted = sums
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.start_clock()


class ProgressBar(tqdm):
    """A bar on stderr, with loss and speed at its end."""

    def show(self, loss: float, tokens_per_second: float, *, draw: bool = True) -> None:
        """Change what stands at its end, and draw the bar anew unless told not to."""
        said = f"loss {loss:.3f}, {tokens_per_second:,.0f} tokens/s"
        self.set_postfix_str(said, refresh=draw)


def progress_bar(done: int, steps: int, shown: bool | None) -> ProgressBar:
    """A bar for a run that has taken `done` of its steps, drawn twice a second.

    Args:
        shown: None means on a terminal only.
    """
    if shown is None:
        shown = sys.stderr is not None and sys.stderr.isatty()
    counts = "{n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]"
    return ProgressBar(
        initial=done,
        total=steps,
        disable=not shown,
        unit="step",
        dynamic_ncols=True,
        mininterval=0.5,
        bar_format="{l_bar}{bar}| " + counts,
    )


class Metrics:
    """Writes down what a run measures: JSON lines, and for TensorBoard if installed.

    Args:
        folder: The run's folder, created where missing; None writes nothing.
        history: What a resumed run had measured when it was saved; later lines are
            dropped.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        history: list[dict[str, Any]] | None = None,
    ) -> None:
        self.path = None if folder is None else Path(folder) / "metrics.jsonl"
        self.board: Any = None
        if self.path is None:
            return
        with atomic_file(self.path) as partial:
            partial.write_text("".join(map(_line, history or [])), encoding="utf-8")
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.path.parent / "tensorboard"))

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry; what is None or a list is left out.

        No run ends for a line of its log: where it cannot be written, for instance on a
        full disk, there is a warning. A run that goes on later writes the line again.
        """
        if self.path is None:
            return
        try:
            self._write_line(_line(entry))
            if self.board is not None and "step" in entry:
                for name, value in entry.items():
                    if name != "step":
                        self.board.add_scalar(name, value, entry["step"])
                self.board.flush()
        except OSError as fault:
            warnings.warn(
                f"a line of {self.path} is lost ({fault}); the run goes on",
                RuntimeWarning,
                stacklevel=2,
            )

    def _write_line(self, line: str) -> None:
        """Add a line to the file, or nothing: half a line would spoil the next one."""
        assert self.path is not None
        with self.path.open("ab", buffering=0) as file:
            whole, data = file.tell(), line.encode()
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):
                    file.truncate(whole)
                raise


def _line(entry: dict[str, Any]) -> str:
    """An entry as a line of JSON, without what is None or a list."""
    left_out = (list, type(None))
    kept = {key: value for key, value in entry.items() if type(value) not in left_out}
    return json.dumps(kept) + "\n"
