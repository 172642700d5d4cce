"""Checkpoints: the whole state of a training run on disk, for the run to go on from."""

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

from mini_gpt.support.files import (
    atomic_folder,
    file_digest,
    read_json,
    text_digest,
    utf8_name,
)
from mini_gpt.support.workspace import remove_fragments

# A run's folder holds
#
#     settings.toml            how it was started, so that it can be started again
#     metrics.jsonl            what was measured
#     checkpoint/              the newest model and its tokenizer, for use
#     checkpoints/step-N/      the state after step N: `model/` as above, and
#         state.safetensors    every tensor of the state
#         state.json           everything else, with the places of the tensors
#
# Nothing is pickled, not even by torch.save with its restricted reader: the tensors go
# into a format that cannot hold code, the rest into JSON, which people can read. It
# costs two short functions. A checkpoint is written under another name and renamed when
# it is complete.

VERSION = 2  # of run folders and states; it goes up when older ones cannot be read
_STEP_FOLDER = re.compile(r"step-(\d+)")


def random_states() -> dict[str, Any]:
    """Where Python's, NumPy's, PyTorch's and the card's random generators stand."""
    numpy = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": tuple(
            part.tolist() if isinstance(part, np.ndarray) else part for part in numpy
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the generators where they stood when `random_states` was called."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])


def flatten_state(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A state without its tensors, in lists and dictionaries that JSON can write.

    Args:
        value: Nested dictionaries, lists and tuples of tensors, numbers, texts and
            None.
        tensors: Takes the tensors, by the names that stand in their places.

    Raises:
        TypeError: if there is something else in it.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        layout = torch.contiguous_format  # the only one that safetensors knows
        tensors[name] = value.detach().cpu().clone(memory_format=layout)
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[key, flatten_state(item, tensors)] for key, item in value.items()]
        return {"pairs": pairs}  # an object of JSON would turn numbered keys into texts
    if isinstance(value, tuple):
        return {"tuple": [flatten_state(item, tensors) for item in value]}
    if isinstance(value, list):
        return [flatten_state(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a state cannot hold a {type(value).__name__}; give numbers, texts or tensors"
    )


def unflatten_state(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The state that `flatten_state` took apart, its value back from JSON."""
    if isinstance(value, list):
        return [unflatten_state(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(unflatten_state(item, tensors) for item in value["tuple"])
    return {key: unflatten_state(item, tensors) for key, item in value["pairs"]}


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state into an existing folder; `flatten_state` says what it may hold."""
    tensors: dict[str, Tensor] = {}
    content: dict[str, Any] = {"format": "mini_gpt training state", "version": VERSION}
    content["state"] = flatten_state(state, tensors)
    save_file(tensors, folder / "state.safetensors")
    content["sha256"] = {
        "state": text_digest(json.dumps(content["state"])),
        "state.safetensors": file_digest(folder / "state.safetensors"),
    }
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Raises:
        ValueError: if a file is missing, or has changed since it was written, or is of
            another version.
    """
    try:
        content = read_json(folder / "state.json")
        version = content["version"]
        if version == VERSION:
            path, digests = folder / "state.safetensors", content["sha256"]
            found = {
                "state": text_digest(json.dumps(content["state"])),
                "state.safetensors": file_digest(path),
            }
            if changed := [name for name in found if found[name] != digests[name]]:
                raise ValueError(f"{' and '.join(changed)} changed after it was saved")
            with utf8_name(path) as name:
                # Copies: what is read is a view of the file, which may yet change.
                tensors = {key: part.clone() for key, part in load_file(name).items()}
            return unflatten_state(content["state"], tensors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as fault:
        raise ValueError(
            f"{folder} is not a whole checkpoint of training ({fault})"
        ) from None
    raise other_version(folder, version)


def other_version(path: Path, version: object) -> ValueError:
    """The error for a run or a state that another version of mini_gpt wrote."""
    return ValueError(
        f"{path} was made by another version of mini_gpt (its format is {version}, "
        f"this one reads {VERSION}); go on with it there, or start a new run"
    )


def saved_steps(run: Path) -> list[int]:
    """The steps after which a run was saved, in order."""
    folder = run / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = map(_STEP_FOLDER.fullmatch, names)
    return sorted(int(match[1]) for match in found if match)


def newest_state(run: Path) -> dict[str, Any] | None:
    """The state of a run after the newest step that was saved; None where none was.

    Raises:
        ValueError: if the newest checkpoint is damaged, or of another version.
    """
    steps = saved_steps(run)
    if not steps:
        return None
    folder = _step_folder(run, steps[-1])
    state = read_state(folder)
    try:
        with utf8_name(folder / "model" / "model.safetensors") as name:
            state["model"] = load_file(name)
    except (OSError, SafetensorError) as fault:
        raise ValueError(f"the weights in {folder} cannot be read ({fault})") from None
    return state


def repair_run(run: Path) -> None:
    """Make good what a kill may have left: fragments, and a model for use that lags."""
    _remove_fragments(run)
    if steps := saved_steps(run):
        publish_model(_step_folder(run, steps[-1]) / "model", run / "checkpoint")


def save_run(
    run: Path, state: dict[str, Any], write_model: Callable[[Path], None], *, keep: int
) -> None:
    """Save a new checkpoint and the model for use, then drop what is no longer needed.

    Args:
        run: The run's folder.
        state: Holds "steps_done", "history" and "model" besides all else that it needs.
        write_model: Called with a folder, writes the model and its tokenizer there.
        keep: How many of the newest checkpoints stay, besides the best.

    Raises:
        OSError: if it cannot be written, for instance on a full disk. The older
            checkpoints stay.
    """
    step = state["steps_done"]
    folder = _step_folder(run, step)
    try:
        if not folder.exists():
            rest = {name: value for name, value in state.items() if name != "model"}
            with atomic_folder(folder) as partial:
                write_state(partial, rest)
                write_model(partial / "model")
        publish_model(folder / "model", run / "checkpoint")
    except (OSError, SafetensorError) as fault:
        raise OSError(_explain_failure(run, step, fault)) from fault
    best = _best_step(state["history"])
    for old in saved_steps(run)[:-keep]:
        if old not in (best, step):
            shutil.rmtree(_step_folder(run, old), ignore_errors=True)


def publish_model(source: Path, target: Path) -> None:
    """Make a folder appear under a second name, by hard links where there are any.

    What stood under the second name is replaced.
    """
    names = [path.name for path in source.iterdir()]
    with atomic_folder(target, replaces=names) as partial:
        shutil.copytree(
            source, partial, dirs_exist_ok=True, copy_function=_link_or_copy
        )


def delete_checkpoints(run: Path) -> None:
    """Delete an earlier run's checkpoints, so that none of them is taken for ours."""
    for step in saved_steps(run):
        shutil.rmtree(_step_folder(run, step))
    _remove_fragments(run)


def _step_folder(run: Path, step: int) -> Path:
    """Where the state after a step is."""
    return run / "checkpoints" / f"step-{step}"


def _best_step(history: Sequence[dict[str, Any]]) -> int | None:
    """The step with the lowest validation loss, or None where there is none yet."""
    if not history:
        return None
    return min(history, key=lambda entry: entry["validation_loss"])["step"]


def _link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or a twin where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _remove_fragments(run: Path) -> None:
    """Remove what a killed process left half written, and nothing of a living one."""
    for folder in (run, run / "checkpoints"):
        if folder.is_dir():
            remove_fragments(folder)


def _explain_failure(run: Path, step: int, fault: Exception) -> str:
    """What went wrong while saving, and what is left."""
    told = re.search(r"os error (\d+)", str(fault))  # safetensors says it in words
    number = int(told[1]) if told else getattr(fault, "errno", None)
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "the disk is full: free some space"
    if not full:
        remedy = "see that the folder can be written"
    left = "there is no older one"
    if steps := saved_steps(run):
        left = f"the checkpoint of step {steps[-1]} is whole"
    return (
        f"the checkpoint of step {step} could not be written ({fault}); {left}. "
        f"{remedy}, then go on with: mini-gpt train --resume {run}"
    )
