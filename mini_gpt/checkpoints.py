"""Checkpoints: the whole state of a training run on disk, such that the run can go on from it."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mini_gpt.files import atomic_folder

# A run's folder holds
#
#     settings.toml            how it was started, so that it can be started again
#     metrics.jsonl            what was measured
#     checkpoint/              the newest model and its tokenizer, for use
#     checkpoints/step-N/      the state after step N: `model/` as above, and
#         state.safetensors    every tensor of the state
#         state.json           everything else, with the places of the tensors
#
# Nothing is pickled. A checkpoint is written under another name and renamed when it is complete.

VERSION = 1
STEP_FOLDER = re.compile(r"step-(\d+)")


def random_states() -> dict[str, Any]:
    """Where the random number generators stand: Python's, NumPy's, PyTorch's, and the card's."""
    numpy = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in numpy),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the random number generators where they stood.

    Args:
        states: What `random_states` gave.
    """
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])


def taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state without its tensors, in lists and dictionaries that JSON can write.

    Args:
        value: Nested dictionaries, lists and tuples of tensors, numbers, texts and None.
        tensors: Takes the tensors, by the names that stand in their places.

    Raises:
        TypeError: if there is something else in it.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[key, taken_apart(item, tensors)] for key, item in value.items()]
        return {"pairs": pairs}
    if isinstance(value, tuple):
        return {"tuple": [taken_apart(item, tensors) for item in value]}
    if isinstance(value, list):
        return [taken_apart(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state cannot hold a {type(value).__name__}; give numbers, texts or tensors")


def put_together(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The state that was taken apart.

    Args:
        value: What `taken_apart` gave, through JSON.
        tensors: The tensors by their names.
    """
    if isinstance(value, list):
        return [put_together(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(put_together(item, tensors) for item in value["tuple"])
    return {key: put_together(item, tensors) for key, item in value["pairs"]}


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state into an existing folder.

    Args:
        folder: Where `state.safetensors` and `state.json` go.
        state: Nested dictionaries, lists and tuples of tensors, numbers, texts and None.
    """
    tensors: dict[str, Tensor] = {}
    content = {"format": "mini_gpt training state", "version": VERSION}
    content["state"] = taken_apart(state, tensors)
    save_file(tensors, folder / "state.safetensors")
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Args:
        folder: Where it was written.

    Raises:
        ValueError: if a file is missing, damaged, or of another version.
    """
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}; this program reads {VERSION}")
        return put_together(content["state"], load_file(folder / "state.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as fault:
        raise ValueError(f"{folder} is not a whole checkpoint of training ({fault})") from None


def saved_steps(run: Path) -> list[int]:
    """The steps after which a run was saved, in order.

    Args:
        run: The run's folder.
    """
    folder = run / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(found[1]) for name in names if (found := STEP_FOLDER.fullmatch(name)))


def step_folder(run: Path, step: int) -> Path:
    """Where the state after a step is.

    Args:
        run: The run's folder.
        step: Steps done.
    """
    return run / "checkpoints" / f"step-{step}"


def newest_state(run: Path) -> dict[str, Any] | None:
    """The state of a run after the newest step that was saved, or None where none was.

    Args:
        run: The run's folder.

    Raises:
        ValueError: if the newest checkpoint is damaged.
    """
    steps = saved_steps(run)
    if not steps:
        return None
    folder = step_folder(run, steps[-1])
    state = read_state(folder)
    try:
        state["model"] = load_file(folder / "model" / "model.safetensors")
    except (OSError, SafetensorError) as fault:
        raise ValueError(f"the weights in {folder} cannot be read ({fault})") from None
    return state


def tidy(run: Path) -> None:
    """Make good what a kill may have left undone: fragments, and a model for use that lags behind.

    Args:
        run: The run's folder.
    """
    forget_fragments(run)
    if steps := saved_steps(run):
        offer(step_folder(run, steps[-1]) / "model", run / "checkpoint")


def save_run(
    run: Path, state: dict[str, Any], write_model: Callable[[Path], None], *, keep: int
) -> None:
    """Save a run: a new checkpoint, and the model for use; then drop what is no longer needed.

    Args:
        run: The run's folder.
        state: What the trainer's `state` gave: "steps_done", "history" and all it needs.
        write_model: Called with a folder, writes the model and its tokenizer there.
        keep: How many of the newest checkpoints stay, besides the best.

    Raises:
        OSError: if it cannot be written, for instance on a full disk. The older checkpoints stay.
    """
    step = state["steps_done"]
    folder = step_folder(run, step)
    try:
        if not folder.exists():
            with atomic_folder(folder) as partial:
                write_state(partial, {name: state[name] for name in state if name != "model"})
                write_model(partial / "model")
            flush_folder(folder.parent)
        offer(folder / "model", run / "checkpoint")
    except (OSError, SafetensorError) as fault:
        raise OSError(trouble(run, step, fault)) from fault
    best = best_step(state["history"])
    for old in [old for old in saved_steps(run)[:-keep] if old not in (best, step)]:
        shutil.rmtree(step_folder(run, old), ignore_errors=True)


def best_step(history: Sequence[dict[str, Any]]) -> int | None:
    """The step with the lowest validation loss, or None where there is none yet.

    Args:
        history: The trainer's looks.
    """
    return min(history, key=lambda entry: entry["validation_loss"])["step"] if history else None


def offer(source: Path, target: Path) -> None:
    """Make a folder appear under a second name: by hard links, where the file system has them.

    Args:
        source: The folder with the files.
        target: The second name. What was there before is replaced.
    """
    with atomic_folder(target, replaces=[path.name for path in source.iterdir()]) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True, copy_function=link_or_copy)


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or a twin where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def forget(run: Path) -> None:
    """Delete the checkpoints of an earlier run in the same folder, so that none is taken for ours.

    Args:
        run: The run's folder.
    """
    for step in saved_steps(run):
        shutil.rmtree(step_folder(run, step))
    forget_fragments(run)


def forget_fragments(run: Path) -> None:
    """Remove what a killed process left half written.

    Args:
        run: The run's folder.
    """
    for folder in (run, run / "checkpoints"):
        for pattern in (".*.partial", ".*.old"):
            for path in folder.glob(pattern):
                if path.is_dir() and path.name.startswith((".step-", ".checkpoint.")):
                    shutil.rmtree(path, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Have the system write the names in a folder to the disk, where it can."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def trouble(run: Path, step: int, fault: Exception) -> str:
    """What went wrong while saving, and what is left."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    told = re.search(r"os error (\d+)", str(fault))  # safetensors puts the number into words
    full = (int(told[1]) if told else getattr(fault, "errno", None)) in numbers
    steps = saved_steps(run)
    left = f"the checkpoint of step {steps[-1]} is whole" if steps else "there is no older one"
    remedy = "the disk is full: free some space" if full else "see that the folder can be written"
    return (
        f"the checkpoint of step {step} could not be written ({fault}); {left}. {remedy}, then go "
        f"on with: mini-gpt train --resume {run}"
    )
