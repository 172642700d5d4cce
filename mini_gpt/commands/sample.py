"""`mini-gpt sample`: let a trained model write."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mini_gpt.characters import Tokenizer
from mini_gpt.generation import generate_rows
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.device import resolve_device
from mini_gpt.support.files import read_text
from mini_gpt.support.hub import SHIPPED_NAME, SHORT_NAMES, on_hub
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.prompts import check_prompt, encode_prompt, start_tokens
from mini_gpt.support.run_folder import RUNS, newest_run
from mini_gpt.support.threads import fitting_threads

# What `mini-gpt sample --help` shows; --help-all shows all.
ESSENTIALS = (
    "checkpoint",
    "prompt",
    "prompt_file",
    "num",
    "interactive",
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "seed",
    "past_context",
)


@dataclass(frozen=True)
class Sample:
    """Write text with a trained model."""

    checkpoint: Annotated[
        str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")
    ] = None
    """Folder that `mini-gpt train` wrote: a run or its checkpoint. If not given, the
    newest run in runs; where there is none, or with "shakespeare", the model of
    Shakespeare's works that comes with the package. Or a model of the Hugging Face hub,
    for instance gpt2, which is fetched once.
    """
    prompt: str | None = None
    """Text to go on from; where none is given, the start of a text or of a line."""
    prompt_file: Path | None = None
    """File with the text to go on from, in UTF-8, instead of --prompt."""
    num: int = 1
    """Number of texts, with the seeds --seed, --seed + 1, and so on."""
    interactive: bool = False
    """Read prompts from standard input, a line each, and answer each at once, until it
    ends.
    """
    device: str = "auto"
    """"cpu", "cuda", "mps", or "auto" for the best one there is."""
    sampling: tyro.conf.OmitArgPrefixes[SampleConfig] = field(
        default_factory=SampleConfig
    )
    """How to choose tokens, and how many."""


def run_sample(command: Sample) -> None:
    """Load a checkpoint and stream what the model writes after the prompt."""
    prompt = _given_prompt(command)
    device = resolve_device(command.device)
    folder = _checkpoint_folder(command.checkpoint)
    model, tokenizer = from_pretrained(folder, device)
    with fitting_threads(model, tokens=1):
        if command.interactive:
            _answer_lines(model, tokenizer, command, sys.stdin)
        else:
            _write_several(model, tokenizer, prompt, command)


def _checkpoint_folder(name: str | None) -> str | Path:
    """The checkpoint of a run, a checkpoint, or the name of the model that is shipped.

    Args:
        name: What was asked for; None means the newest run, and says which it is.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if name is None:
        name = os.fspath(newest_run() or SHIPPED_NAME)
        print(f"mini-gpt: the model is {name}", file=sys.stderr)
    folder = Path(name)
    if name == SHIPPED_NAME:
        return name
    if not folder.is_dir():
        if on_hub(name):
            return name
        raise FileNotFoundError(f"there is no model {name!r}; {_suggestion(name)}")
    inner = [folder / "checkpoint", folder / "model"]  # of a run, of one of its states
    return next((path for path in inner if path.is_dir()), folder)


def _suggestion(name: str) -> str:
    """What may have been meant by the name of a model that is not there."""
    known = [SHIPPED_NAME, *SHORT_NAMES, *map(str, RUNS.glob("*"))]
    if close := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
        return f"did you mean mini-gpt sample {close[0]}?"
    quoted = json.dumps(name, ensure_ascii=False)  # quotes that every shell knows
    if Path(name).is_file():
        return f"to go on from a file: mini-gpt sample --prompt-file {quoted}"
    if os.sep in name:
        return "train one first: mini-gpt train"
    prompt = f"to go on from a text: mini-gpt sample --prompt {quoted}"
    return f"{prompt}; to train a model: mini-gpt train"


def _given_prompt(command: Sample) -> str | None:
    """The prompt that was asked for; None where none was.

    Raises:
        ValueError: if there are several, or the options make no sense together.
        OSError: if the file cannot be read.
    """
    if command.num < 1:
        raise ValueError(f"--num {command.num} must be at least 1")
    given = [
        command.prompt is not None,
        command.prompt_file is not None,
        command.interactive,
    ]
    if sum(given) > 1:
        raise ValueError("give only one of --prompt, --prompt-file and --interactive")
    if command.prompt_file is None:
        return command.prompt
    return read_text(command.prompt_file)


def _write_several(
    model: GPT, tokenizer: Tokenizer, prompt: str | None, command: Sample
) -> None:
    """Print the prompt and what comes of it, as often as asked, a rule between."""
    if prompt is None:
        ids = start_tokens(tokenizer)
        prompt = "" if ids == [tokenizer.end_of_text] else tokenizer.decode(ids)
    else:
        # Refused before any of it is shown.
        ids = encode_prompt(tokenizer, prompt, command.sampling)
        check_prompt(model, ids, command.sampling)
    for number in range(command.num):
        if number:
            print("---")
        seed = command.sampling.seed + number
        print(prompt, end="", flush=True)
        write(model, tokenizer, ids, dataclasses.replace(command.sampling, seed=seed))


def _answer_lines(
    model: GPT, tokenizer: Tokenizer, command: Sample, lines: Iterable[str]
) -> None:
    """Go on from each line; what is wrong with one is said, and the next one is read.

    A terminal is shown where to type; nothing of that goes into a pipe.
    """
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if on_terminal:
        print("Type a prompt and press Enter; Ctrl-D leaves.")
        print("> ", end="", flush=True)
    for line in lines:
        try:
            _write_several(model, tokenizer, line.rstrip("\n"), command)
        except ValueError as fault:
            print(
                f"mini-gpt: {' '.join(str(fault).split())}", file=sys.stderr, flush=True
            )
        if on_terminal:
            print("> ", end="", flush=True)
    if on_terminal:
        print()


def write(
    model: GPT, tokenizer: Tokenizer, prompt: list[int], config: SampleConfig
) -> None:
    """Print what the model writes, as it comes; say so where a full context ends it."""
    texts, growing = generate_rows(model, tokenizer, [prompt], config)
    for _, part in growing:
        print(part, end="", flush=True)
    print(flush=True)
    if texts[0].finish_reason == "context":
        print(
            f"mini-gpt: stopped after {len(texts[0].ids)} tokens, since the context of "
            f"{model.config.context_length} is full; --past-context slide goes on",
            file=sys.stderr,
            flush=True,
        )


def discard_output() -> None:
    """Let go of what is printed from here on: nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
