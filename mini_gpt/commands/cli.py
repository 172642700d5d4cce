"""The command line: `mini-gpt train`, `sample`, `plot` and `info`.

Bad input ends with exit status 2 and one line that says what to do, never with a
traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import tyro

from mini_gpt.commands.info import Info, run_info
from mini_gpt.commands.plot import Plot, run_plot
from mini_gpt.commands.sample import Sample, discard_output, run_sample
from mini_gpt.commands.train import run_train
from mini_gpt.commands.train_options import Train, default_train, name_newest_run
from mini_gpt.support.console import substitute_unshown
from mini_gpt.support.signals import TrainingStopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the command's name; None takes those of the process.

    Returns:
        The exit status: 0, 2 for bad input, or 128 and a signal's number if one ended
            it.
    """
    substitute_unshown()
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    try:
        training = Train()
        if arguments[:1] == ["train"]:
            arguments = name_newest_run(arguments)
            training = default_train(arguments)
        commands = (
            Annotated[Train, tyro.conf.subcommand("train", default=training)]
            | Annotated[Sample, tyro.conf.subcommand("sample")]
            | Annotated[Plot, tyro.conf.subcommand("plot")]
            | Annotated[Info, tyro.conf.subcommand("info")]
        )
        command = tyro.cli(
            commands,
            prog="mini-gpt",
            description="Train a small GPT, let it write, compare runs.",
            args=arguments,
        )
        if isinstance(command, Train):
            run_train(command)
        elif isinstance(command, Plot):
            run_plot(command)
        elif isinstance(command, Info):
            run_info(command)
        else:
            run_sample(command)
    except BrokenPipeError:  # who reads our output, for instance `head`, has enough
        discard_output()
        return 0
    except (ValueError, OSError, FloatingPointError) as fault:
        _complain(f"mini-gpt: {' '.join(str(fault).split())}")
        return 2
    except TrainingStopped as stop:
        if os.environ.get("RANK", "0") == "0":  # one process speaks for all
            _complain(f"mini-gpt: {stop}")
        return 128 + signal.Signals[stop.signal_name or "SIGTERM"]
    except KeyboardInterrupt:
        _complain("\nmini-gpt: interrupted")
        return 130
    return 0


def _open_streams() -> None:
    """Put something in the place of a stream that was closed (`>&-`).

    Otherwise the next file that is opened would get its number, and be written to by
    whoever writes to that stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _complain(line: str) -> None:
    """Print on stderr, if there is somebody to read it."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
