"""The command line: `mini-gpt train`, `sample`, `plot` and `info`.

Bad input ends with exit status 2 and one line that says what to do, never with a
traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from mini_gpt.commands.info import Info, run_info
from mini_gpt.commands.plot import Plot, run_plot
from mini_gpt.commands.sample import Sample, run_sample
from mini_gpt.commands.train import Train, default_train, run_train
from mini_gpt.support.signals import TrainingStopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the command's name; None takes those of the process.

    Returns:
        The exit status: 0, 2 for bad input, or 128 and a signal's number if one ended
            it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        training = default_train(arguments) if arguments[:1] == ["train"] else Train()
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError) as fault:
        print(f"mini-gpt: {' '.join(str(fault).split())}", file=sys.stderr)
        return 2
    except TrainingStopped as stop:
        if os.environ.get("RANK", "0") == "0":  # one process speaks for all
            print(f"mini-gpt: {stop}", file=sys.stderr)
        return 128 + signal.Signals[stop.signal_name or "SIGTERM"]
    except KeyboardInterrupt:
        print("\nmini-gpt: interrupted", file=sys.stderr)
        return 130
    return 0
