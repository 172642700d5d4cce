"""Checkpoints: the whole state of a training run on disk, for the run to go on from."""

from __future__ import annotations

import errno
import json
import random
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.files import (
    atomic_folder,
    file_digest,
    read_json,
    text_digest,
    utf8_name,
)
from mini_gpt.support.model_folder import CHECKPOINT_FILES
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE
from mini_gpt.support.workspace import remove_fragments
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

# A run's folder holds
#
#     run.json                 that it is a run, and who trains in it (run_folder.py)
#     settings.toml            how it was started, so that it can be started again
#     metrics.jsonl            what was measured
#     checkpoint/              the best model so far and its tokenizer, for use
#     checkpoints/step-N/      the state after step N: `model/` as above, and
#         state.safetensors    every tensor of the state
#         state.json           everything else, with the places of the tensors
#
# Nothing is pickled, not even by torch.save with its restricted reader: the tensors go
# into a format that cannot hold code, the rest into JSON, which people can read. It
# costs two short functions. A checkpoint is written under another name and renamed when
# it is complete.

VERSION = 2  # of run folders and states; it goes up when older ones cannot be read
MODEL = "checkpoint"  # the folder of a run's model, for use
_TENSORS = "state.safetensors"
_STEP_FILES = ("state.json", _TENSORS, "model/config.json", "model/model.safetensors")
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
    """Write a state into an existing folder; `flatten_state` says what it may hold.

    Digests of it, and of all that is in the folder by then, are written with it.
    """
    tensors: dict[str, Tensor] = {}
    flat = flatten_state(state, tensors)
    save_file(tensors, folder / _TENSORS)
    files = [path for path in folder.rglob("*") if path.is_file()]
    digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    content = {
        "format": "mini_gpt training state",
        "version": VERSION,
        "sha256": {"state": text_digest(json.dumps(flat)), **digests},
        "state": flat,
    }
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """Read what `write_state` wrote.

    Raises:
        ValueError: if a file is missing, or has changed since it was written, or is of
            another version.
    """
    damage = (OSError, ValueError, LookupError, TypeError, AttributeError)
    try:
        content = read_json(folder / "state.json")
        version = content["version"]
        if version == VERSION:
            digests = {**content["sha256"]}
            found = {"state": text_digest(json.dumps(content["state"]))}
            ours = [_TENSORS, *(f"model/{name}" for name in CHECKPOINT_FILES)]
            for name in {*digests, *ours} - {"state"}:
                if name in digests or (folder / name).exists():
                    found[name] = file_digest(folder / name)
            if changed := sorted(
                name for name in found if found[name] != digests[name]
            ):
                raise ValueError(f"{' and '.join(changed)} changed after it was saved")
            return unflatten_state(content["state"], _tensors(folder / _TENSORS))
    except (*damage, RecursionError, SafetensorError) as fault:
        lacking = isinstance(fault, KeyError)
        what = f"state.json has no field {fault}" if lacking else str(fault)
        raise ValueError(
            f"{folder} is not a whole checkpoint of training ({what})"
        ) from None
    raise other_version(folder, version)


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file; copies, since it may change after it was read."""
    with utf8_name(path) as name:
        return {key: tensor.clone() for key, tensor in load_file(name).items()}


@contextmanager
def loading(part: str) -> Iterator[None]:
    """Have each error while a part of a state is taken up say which part it was."""
    try:
        yield
    except Exception as fault:  # torch and the generators have many kinds of error
        raise ValueError(f"{part} of the checkpoint does not fit: {fault}") from fault


def other_version(path: Path, version: object) -> ValueError:
    """The error for a run or a state that another version of mini_gpt wrote."""
    return ValueError(
        f"{path} was made by another version of mini_gpt (its format is {version}, "
        f"this one reads {VERSION}); go on with it there, or start a new run"
    )


def saved_steps(run: Path) -> list[int]:
    """The steps after which a run was saved, in order."""
    folder = run / "checkpoints"
    folders = list(folder.iterdir()) if folder.is_dir() else []
    found = [
        _STEP_FOLDER.fullmatch(path.name)
        for path in folders
        if any((path / name).exists() for name in _STEP_FILES)
    ]
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
    return {**read_state(folder), "model": _read_weights(folder)}


def newest_tokenizer(run: Path) -> CharTokenizer | BPETokenizer | None:
    """The tokenizer of a run's newest checkpoint; None where there is none."""
    if not (steps := saved_steps(run)):
        return None
    return load_tokenizer(_step_folder(run, steps[-1]) / "model" / TOKENIZER_FILE)


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
        if step not in saved_steps(run):
            rest = {name: value for name, value in state.items() if name != "model"}
            with atomic_folder(folder) as partial:
                write_model(partial / "model")
                write_state(partial, rest)  # last, since it has the digests of all
                if folder.is_dir():  # none of it is ours
                    shutil.copytree(folder, partial, symlinks=True, dirs_exist_ok=True)
    except (OSError, SafetensorError) as fault:
        raise OSError(_explain_failure(run, step, fault)) from fault
    best = best_step(state["history"])
    if best in (None, step):
        publish_best(run, state["history"])
    for old in saved_steps(run)[:-keep]:
        if old not in (best, step):
            _remove_checkpoint(_step_folder(run, old))


def publish_best(run: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Make a saved run's best model, or the newest before any is measured, its model.

    It is a copy: whoever changes the model changes no state. Where it cannot be
    written, because others keep files there or the disk is full, there is a warning:
    the states hold all that is needed to do it again.
    """
    newest, best = saved_steps(run)[-1], best_step(history)
    source = _step_folder(run, newest if best is None else best) / "model"
    if not source.is_dir():
        return  # somebody has deleted it; what is there is the best that is left
    names = [path.name for path in source.iterdir()]
    try:
        with atomic_folder(run / MODEL, replaces=names) as partial:
            shutil.copytree(source, partial, dirs_exist_ok=True)
    except (OSError, shutil.Error) as fault:
        warnings.warn(
            f"the model in {run / MODEL} could not be brought up to date ({fault}); "
            f"the run is saved, and goes on; the model is also in {source}",
            RuntimeWarning,
            stacklevel=2,
        )


def best_step(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The step with the lowest validation loss, or None where there is none yet."""
    if not history:
        return None
    return min(history, key=lambda entry: entry["validation_loss"])["step"]


def best_weights(
    run: Path, history: Sequence[Mapping[str, Any]]
) -> tuple[int, dict[str, Tensor]] | None:
    """The weights that `publish_best` takes, with their step; None if they are gone."""
    if (best := best_step(history)) is None or best not in saved_steps(run):
        return None
    return best, _read_weights(_step_folder(run, best))


def delete_checkpoints(run: Path) -> None:
    """Delete an earlier run's checkpoints, so that none of them is taken for ours."""
    for step in saved_steps(run):
        _remove_checkpoint(_step_folder(run, step))


def remove_model(folder: Path) -> None:
    """Delete a model that we wrote, and its folder if nothing else is in it."""
    for name in CHECKPOINT_FILES:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def remove_our_fragments(run: Path) -> None:
    """Remove what a killed process left half written, and nothing of a living one."""
    for folder in (run, run / "checkpoints"):
        remove_fragments(folder)


def _remove_checkpoint(folder: Path) -> None:
    """Delete one checkpoint; what others have put into its folder stays, with it."""
    with suppress(OSError):
        remove_model(folder / "model")
        for name in ("state.json", _TENSORS):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, by name."""
    try:
        return _tensors(folder / "model" / "model.safetensors")
    except (OSError, SafetensorError) as fault:
        raise ValueError(f"the weights in {folder} cannot be read ({fault})") from None


def _step_folder(run: Path, step: int) -> Path:
    """Where the state after a step is."""
    return run / "checkpoints" / f"step-{step}"


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
