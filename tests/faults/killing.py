"""Savings that are killed before the n-th step of the code that writes files, for many n.

Run as `python killing.py FOLDER EVERY SWAP NAME ...`: kills savings of these names before
every EVERY-th step, with the system's swap of two folders (SWAP 1) or with two renames
instead (SWAP 0). Prints, as JSON, the number of kills and what was wrong after them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from mini_gpt import from_pretrained, to_huggingface
from mini_gpt.characters import CharTokenizer
from mini_gpt.support import files, workspace
from mini_gpt.support.model_folder import save_pretrained
from mini_gpt.support.token_file import open_token_file, write_token_file
from mini_gpt.tokenizer import BPETokenizer
from tiny import tiny_gpt

WATCHED = {files.__file__, workspace.__file__}
BPE = BPETokenizer([bytes([byte]) for byte in range(256)])
OURS = [tiny_gpt(seed) for seed in range(3)]
GPT2S = [tiny_gpt(seed, vocab_size=BPE.vocab_size) for seed in range(3)]
TOKENIZERS = [CharTokenizer("abcdefghijklmnop" + last) for last in "xyz"]
TEXTS = ["aab", "abc", "ccb"]


class Saving(NamedTuple):
    """How the state with a number is saved, and which number the saved one has."""

    save: Callable[[Path, int], object]
    read: Callable[[Path], int]


def model_in(folder: Path) -> int:
    """Which of the models above stands in a folder."""
    model, _ = from_pretrained(folder)
    candidates = GPT2S if model.config.vocab_size == BPE.vocab_size else OURS
    pairs = [zip(model.parameters(), other.parameters(), strict=True) for other in candidates]
    return [all(torch.equal(*both) for both in pair) for pair in pairs].index(True)


def text_in(path: Path) -> int:
    """Which of the texts above stands in a token file."""
    return TEXTS.index(TOKENIZERS[0].decode(open_token_file(path, TOKENIZERS[0])))


SAVINGS = {
    "checkpoint": Saving(lambda at, n: save_pretrained(OURS[n], TOKENIZERS[n], at), model_in),
    "export": Saving(lambda at, n: to_huggingface(GPT2S[n], BPE, at), model_in),
    "tokens": Saving(lambda at, n: write_token_file(at, [TEXTS[n]], TOKENIZERS[0]), text_in),
    "tokenizer": Saving(
        lambda at, n: TOKENIZERS[n].save(at),
        lambda at: "xyz".index(CharTokenizer.load(at).alphabet[-1]),
    ),
}


def killed_before(step: int, action: Callable[[], object]) -> bool:
    """Do something in a child that kills itself before that step; False if it got through.

    A step is a line of our own code, or a function of the library that removes folders.
    """
    if child := os.fork():
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        file = frame.f_code.co_filename
        if file not in WATCHED and file != shutil.__file__:
            return None
        seen += event == ("line" if file in WATCHED else "call")
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    action()
    os._exit(0)


def kill(saving: Saving, folder: Path, step: int) -> tuple[bool, list[str]]:
    """Kill a saving over an older one; whether it came to that, and what was wrong then.

    After every other kill it is read first, after the others written first.
    """
    folder.mkdir()
    place, faults = folder / "saved", []
    saving.save(place, 0)
    came = killed_before(step, lambda: saving.save(place, 1))
    try:
        if step % 2 and (found := saving.read(place)) not in (0, 1):
            faults.append(f"step {step}: state {found} was read")
    except (ValueError, OSError) as fault:
        faults.append(f"step {step}: {fault}")
    saving.save(place, 2)
    if saving.read(place) != 2 or os.listdir(folder) != ["saved"]:
        faults.append(f"step {step}: after the next saving there is {os.listdir(folder)}")
    shutil.rmtree(folder)
    return came, faults


def main(folder: Path, every: int, swap: bool, savings: list[str]) -> None:
    torch.set_num_threads(1)
    if not swap:
        files._exchange = lambda one, other: False
    kills, faults = 0, []
    for name in savings:
        came, step = True, 1
        while came:
            came, wrong = kill(SAVINGS[name], folder / name, step)
            faults += [f"{name}, {fault}" for fault in wrong]
            kills, step = kills + came, step + every
    print(json.dumps({"kills": kills, "faults": faults}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4:])
