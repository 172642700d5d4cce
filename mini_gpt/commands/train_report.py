"""What `mini-gpt train` says: while it trains, when it samples, and what comes next."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mini_gpt.commands.plot import read_metrics
from mini_gpt.commands.sample import discard_output
from mini_gpt.support.distributed import rank
from mini_gpt.support.files import atomic_file, read_text

_HEADING = re.compile(r"^--- step (\d+) ---$", re.MULTILINE)
_SHOWN_OF_A_SAMPLE = 300  # characters, some eight lines


def say(words: str) -> None:
    """Print, if there is still somebody to read; a run goes on without."""
    if rank() == 0:
        try:
            tqdm.write(words)  # above the bar, where there is one
            sys.stdout.flush()
        except OSError:  # `head` has enough, the terminal is closed, the disk is full
            discard_output()


def never_fatal(sample: Callable[[], None]) -> None:
    """Write a sample; whatever goes wrong with it is a warning, and the run goes on."""
    try:
        sample()
    except BrokenPipeError:
        discard_output()
    except Exception as fault:  # also what the device says: no memory, for instance
        warnings.warn(f"a sample is left out: {fault}", RuntimeWarning, stacklevel=2)


def add_sample(path: Path, step: int, words: str) -> None:
    """Add what was written after a step; later samples, of a run before it went on
    from an earlier step, are dropped.
    """
    text = read_text(path) if path.exists() else ""
    later = (match for match in _HEADING.finditer(text) if int(match[1]) >= step)
    kept = text[: match.start()] if (match := next(later, None)) else text
    with atomic_file(path) as partial:
        content = f"{kept}--- step {step} ---\n{words}\n\n"
        partial.write_text(content, encoding="utf-8")


def indented(words: str) -> str:
    """The beginning of a sample, set off from what is said around it."""
    lines = words[:_SHOWN_OF_A_SAMPLE].strip("\n").split("\n")
    return "\n".join(f"    | {line}".rstrip() for line in lines)


def measured_so_far(run: Path, entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All measurements of a run, those before it went on included.

    Args:
        run: Its folder.
        entry: The newest one, should the file be lost.
    """
    try:
        return [*read_metrics(run)]
    except ValueError:
        return [entry]


def progress_line(
    entry: Mapping[str, Any], history: Sequence[Mapping[str, Any]], steps: int
) -> str:
    """One look at a run: the loss on validation text, and the best one so far."""
    best = min(history, key=lambda each: each["validation_loss"])
    loss, done = entry["validation_loss"], f"step {entry['step']:,} of {steps:,}"
    line = f"{done}: validation loss {loss:.4f}"
    if best["step"] == entry["step"]:
        return f"{line}, the best so far (training {entry['training_loss']:.4f})"
    return f"{line}; the best was {best['validation_loss']:.4f}, step {best['step']:,}"


def next_steps(run: Path, steps: int) -> str:
    """What can be typed when a run is over."""
    name = str(run)
    folder = name if re.fullmatch(r"[\w./\\:-]+", name) else json.dumps(name)
    rows = {
        f"mini-gpt sample {folder} --interactive": "let it go on from your words",
        f"mini-gpt train --resume {folder} --steps {2 * steps}": "train it longer",
        f"mini-gpt plot {folder}": "see the losses again",
    }
    width = max(map(len, rows))
    return "\n".join(
        ["\nNext:", *(f"  {typed:<{width}}  # {why}" for typed, why in rows.items())]
    )
