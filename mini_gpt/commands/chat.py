"""`mini-gpt chat`: commands in, answers out, by the template of fine-tuning."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from mini_gpt.commands.finetune import ADAPTER, CHECKPOINT
from mini_gpt.commands.sample import write
from mini_gpt.finetuning import merge_lora
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.adapter_file import base_of, load_adapter
from mini_gpt.support.device import resolve_device
from mini_gpt.support.instructions import SPECIAL_TOKENS, chat_model, prompt_ids
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.prompts import check_prompt
from mini_gpt.tokenizer import BPETokenizer

ANSWERING = SampleConfig(max_new_tokens=80, temperature=0.0)
# What --help shows; --help-all shows all.
ESSENTIALS = ("model", "device", "max_new_tokens", "temperature", "top_p", "seed")


@dataclass(frozen=True)
class Chat:
    """Talk to a model that `mini-gpt finetune` taught to answer: a command a line.

    Each command is answered for itself; the model has learned no longer conversation.
    """

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = (
        Path("chat")
    )
    """The folder that `mini-gpt finetune` wrote, a model in it, or an adapter
    (.safetensors), which is put on the model that it was made for.
    """
    device: str = "auto"
    """"cpu", "cuda", "mps", or "auto" for the best one there is."""
    sampling: tyro.conf.OmitArgPrefixes[SampleConfig] = field(default=ANSWERING)
    """How to choose tokens, and how many."""


def run_chat(command: Chat) -> None:
    """Load the model, and answer each line of standard input until it ends."""
    device = resolve_device(command.device)
    model, tokenizer = _loaded(command.model)
    if missing := set(SPECIAL_TOKENS) - set(tokenizer.special_tokens):
        raise ValueError(
            f"{command.model} was not taught to answer: its tokenizer has no "
            f"{', '.join(sorted(missing))}; teach it with: mini-gpt finetune"
        )
    _answer(model.to(device), tokenizer, command.sampling, sys.stdin)


def _loaded(path: Path) -> tuple[GPT, BPETokenizer]:
    """The model that was asked for, and its tokenizer.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is of another kind.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no model {str(path)!r}; make one with: mini-gpt finetune --out {path}"
        )
    if not path.is_file():
        inner = path / CHECKPOINT
        if not inner.is_dir() and (path / ADAPTER).is_file():
            return _loaded(path / ADAPTER)
        model, tokenizer = from_pretrained(inner if inner.is_dir() else path)
    else:
        if not (name := base_of(path)):
            raise ValueError(f"{path} does not say which model it was made for")
        base, known = from_pretrained(name)
        model = load_adapter(base, path)
        merge_lora(model)
        tokenizer = known
        if isinstance(known, BPETokenizer):
            _, tokenizer = chat_model(base, known)
    if not isinstance(tokenizer, BPETokenizer):
        raise ValueError(f"{path} was not taught to answer: its tokens are characters")
    return model.eval(), tokenizer


def _answer(
    model: GPT, tokenizer: BPETokenizer, config: SampleConfig, lines: Iterable[str]
) -> None:
    """Answer each line; what is wrong with one is said, and the next one is read.

    A terminal is shown where to type; nothing of that goes into a pipe.
    """
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if on_terminal:
        print("Type a command and press Enter; Ctrl-D leaves.\n> ", end="", flush=True)
    for line in lines:
        if said := line.strip():
            try:
                prompt = prompt_ids(tokenizer, said)
                check_prompt(model, prompt, config)
                write(model, tokenizer, prompt, config)
            except ValueError as fault:
                words = " ".join(str(fault).split())
                print(f"mini-gpt: {words}", file=sys.stderr, flush=True)
        if on_terminal:
            print("> ", end="", flush=True)
    if on_terminal:
        print()
