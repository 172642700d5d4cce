"""The command line: `mini-gpt train` and `mini-gpt sample`.

Bad input ends with exit status 2 and one line that says what to do, never with a traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import torch
import tyro

from mini_gpt.commands.sample import Sample, run_sample
from mini_gpt.commands.train import GPU_MODEL, GPU_TRAINING, Train, run_train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the command's name; None takes those of the process.

    Returns:
        The exit status: 0, or 2 for bad input.
    """
    on_gpu = torch.cuda.is_available()
    training = Train(model=GPU_MODEL, training=GPU_TRAINING) if on_gpu else Train()
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=training)]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
    )
    try:
        command = tyro.cli(
            commands,
            prog="mini-gpt",
            description="Train a small GPT, and let it write.",
            args=arguments,
        )
        if isinstance(command, Train):
            run_train(command)
        else:
            run_sample(command)
    except BrokenPipeError:  # the reader of our output, for instance `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError) as fault:
        print(f"mini-gpt: {' '.join(str(fault).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmini-gpt: interrupted", file=sys.stderr)
        return 130
    return 0
