"""The command line: `mini-gpt train`, `sample`, `plot` and whatever `COMMANDS` lists.

Bad input ends with exit status 2 and one line that says what to do, never with a
traceback.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import operator
import os
import platform
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import torch
import tyro

from mini_gpt import __version__
from mini_gpt.commands.chat import ESSENTIALS as CHAT_ESSENTIALS
from mini_gpt.commands.chat import Chat, run_chat
from mini_gpt.commands.evaluate import Evaluate, run_evaluate
from mini_gpt.commands.export import Export, run_export
from mini_gpt.commands.finetune import Finetune, run_finetune
from mini_gpt.commands.help_texts import print_help
from mini_gpt.commands.info import Info, run_info
from mini_gpt.commands.inspect_model import Inspect, run_inspect
from mini_gpt.commands.plan import Plan, run_plan
from mini_gpt.commands.plot import Plot, run_plot
from mini_gpt.commands.prepare import Prepare, run_prepare
from mini_gpt.commands.sample import ESSENTIALS as SAMPLE_ESSENTIALS
from mini_gpt.commands.sample import Sample, discard_output, run_sample
from mini_gpt.commands.train import run_train
from mini_gpt.commands.train_options import ESSENTIALS as TRAIN_ESSENTIALS
from mini_gpt.commands.train_options import Train, default_train, name_newest_run
from mini_gpt.support.console import in_words, substitute_unshown
from mini_gpt.support.files import printable
from mini_gpt.support.signals import TrainingStopped


class Command(NamedTuple):
    """What a word after `mini-gpt` means.

    Attributes:
        options: A dataclass: its fields are the options, its docstring the help.
        run: What is done with them.
        essentials: The options that --help shows; --help-all shows all. None: all.
    """

    options: type[Any]
    run: Callable[[Any], None]
    essentials: tuple[str, ...] = ()


# A new command is a line here, and a module beside this one.
COMMANDS = {
    "prepare": Command(Prepare, run_prepare),
    "train": Command(Train, run_train, TRAIN_ESSENTIALS),
    "sample": Command(Sample, run_sample, SAMPLE_ESSENTIALS),
    "plot": Command(Plot, run_plot),
    "info": Command(Info, run_info),
    "plan": Command(Plan, run_plan),
    "export": Command(Export, run_export),
    "evaluate": Command(Evaluate, run_evaluate),
    "inspect": Command(Inspect, run_inspect),
    "finetune": Command(Finetune, run_finetune),
    "chat": Command(Chat, run_chat, CHAT_ESSENTIALS),
}
_ABOUT = "Train a small GPT, let it write, measure it, teach it to answer."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after the command's name; None takes those of the process.

    Returns:
        The exit status: 0, 2 for bad input, or 128 and a signal's number if one ended
            it.
    """
    substitute_unshown()
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    try:
        return _obey(words)
    except BrokenPipeError:  # who reads our output, for instance `head`, has enough
        discard_output()
        return 0
    except (ValueError, OSError, FloatingPointError) as fault:
        _complain(f"mini-gpt: {' '.join(in_words(fault).split())}")
        return 2
    except TrainingStopped as stop:
        if os.environ.get("RANK", "0") == "0":  # one process speaks for all
            _complain(f"mini-gpt: {stop}")
        return 128 + signal.Signals[stop.signal_name or "SIGTERM"]
    except KeyboardInterrupt:
        _complain("\nmini-gpt: interrupted")
        return 130


def _obey(words: list[str]) -> int:
    """Do what the words say; returns the exit status.

    Raises:
        ValueError: if there is no such command, or what its options say makes no sense.
        OSError, FloatingPointError, TrainingStopped: from the command.
    """
    first = words[0] if words else ""
    if first in ("", "-h", "--help", "--help-all"):
        print(overview(), file=sys.stdout if first else sys.stderr)
        return 0 if first else 2
    if first == "--version":
        python = f"Python {platform.python_version()}"
        print(f"mini-gpt {__version__} (torch {torch.__version__}, {python})")
        return 0
    if first == "--completion":
        shell = words[1] if words[1:] in (["bash"], ["zsh"]) else None
        if shell is None:
            raise ValueError("name a shell: mini-gpt --completion bash or zsh")
        _print_completion(shell)
        return 0
    if first not in COMMANDS:
        close = difflib.get_close_matches(first, COMMANDS, n=1, cutoff=0.5)
        meant = f"; did you mean mini-gpt {close[0]}?" if close else ""
        listed = f"there is no command {printable(first)!r} ({', '.join(COMMANDS)})"
        raise ValueError(listed + meant)
    _call(first, COMMANDS[first], words[1:])
    return 0


def _call(name: str, command: Command, words: list[str]) -> None:
    """Do what a command's options say, or explain them."""
    program, default = f"mini-gpt {name}", None
    if command.options is Train:
        if words and not words[0].startswith("-"):
            text = json.dumps(words[0], ensure_ascii=False)
            raise ValueError(
                f"a text to learn from is named so: mini-gpt train --corpus {text}"
            )
        words = name_newest_run(words)
        default = default_train(words)
    if asked := {"-h", "--help", "--help-all"}.intersection(words):
        every = "--help-all" in asked
        print_help(command.options, program, default, command.essentials, all=every)
        return
    given: dict[str, Any] = {} if default is None else {"default": default}
    command.run(tyro.cli(command.options, prog=program, args=words, **given))


def overview() -> str:
    """What `mini-gpt --help` says."""
    width = max(map(len, COMMANDS))
    about = {name: inspect.getdoc(c.options) or "" for name, c in COMMANDS.items()}
    first = {
        n: " ".join(a.split()).split(". ")[0].rstrip(".") for n, a in about.items()
    }
    return "\n".join(
        [
            "usage: mini-gpt COMMAND [OPTIONS]",
            "",
            _ABOUT,
            "",
            *(
                _row(f"  {name:<{width}}  ", f"{words}.")
                for name, words in first.items()
            ),
            "",
            "  mini-gpt COMMAND --help        explains a command",
            "  mini-gpt --version             says which one this is",
            "  mini-gpt --completion SHELL    completes words in bash and zsh",
            "",
            "To begin, with the model that comes with it:",
            "",
            '  mini-gpt sample --prompt "ROMEO."',
        ]
    )


def _row(head: str, words: str) -> str:
    """A row of a table whose right column has several lines where it must."""
    below = " " * len(head)
    return textwrap.fill(words, 79, initial_indent=head, subsequent_indent=below)


def _print_completion(shell: str) -> None:
    """Print what a shell has to read to complete the words of this command."""
    kinds = [
        Annotated[command.options, tyro.conf.subcommand(name)]
        for name, command in COMMANDS.items()
    ]
    union: Any = functools.reduce(operator.or_, kinds)
    with suppress(SystemExit):  # tyro's way to end
        tyro.cli(union, prog="mini-gpt", args=["--tyro-print-completion", shell])


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
