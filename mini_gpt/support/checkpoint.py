"""Checkpoints: the whole state of a training run on disk, for the run to go on from."""

from __future__ import annotations

import errno
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import Tensor

from mini_gpt.characters import CharTokenizer
from mini_gpt.support.distributed import rank
from mini_gpt.support.files import (
    atomic_folder,
)
from mini_gpt.support.model_folder import CHECKPOINT_FILES
from mini_gpt.support.sharding import read_shares, write_shares
from mini_gpt.support.state_file import (
    SHARES,
    STATE_FILES,
    read_state,
    read_tensors,
    sharded_tensors,
    write_state,
)
from mini_gpt.support.tokenizer_file import TOKENIZER_FILE
from mini_gpt.support.workspace import remove_fragments
from mini_gpt.tokenizer import BPETokenizer, load_tokenizer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

# A run's folder holds
#
#     run.json                 that it is a run, and who trains in it (run_folder.py)
#     settings.toml            how it was started, so that it can be started again
#     metrics.jsonl            what was measured
#     checkpoint/              the best model so far and its tokenizer, for use
#     checkpoints/step-N/      the state after step N: `model/` as above, and
#         state.safetensors    every tensor of the state
#         state.json           everything else, with the places of the tensors
#         shares/              of a sharded run: each process's share of the optimizers'
#                              memories, by torch.distributed.checkpoint
#
# A checkpoint is written under another name and renamed when it is complete.

MODEL = "checkpoint"  # the folder of a run's model, for use
_STEP_FILES = (*STATE_FILES, "model/config.json", "model/model.safetensors")
_COMING = ".shares.partial"  # in checkpoints/: shares of a state that is being written
_STEP_FOLDER = re.compile(r"step-(\d+)")


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


def newest_state(run: Path, mesh: DeviceMesh | None = None) -> dict[str, Any] | None:
    """The state of a run after the newest step that was saved; None where none was.

    Args:
        mesh: The processes that are to share weights and memories; None: each has all.

    Raises:
        ValueError: if the newest checkpoint is damaged, or of another version.
    """
    steps = saved_steps(run)
    if not steps:
        return None
    folder = _step_folder(run, steps[-1])
    return {**read_state(folder, mesh), "model": _read_weights(folder, mesh)}


def newest_tokenizer(run: Path) -> CharTokenizer | BPETokenizer | None:
    """The tokenizer of a run's newest checkpoint; None where there is none."""
    if not (steps := saved_steps(run)):
        return None
    return load_tokenizer(_step_folder(run, steps[-1]) / "model" / TOKENIZER_FILE)


def newest_model(run: Path) -> Path:
    """The folder of the model that a run saved last; the model may be gone."""
    return _step_folder(run, max(saved_steps(run), default=0)) / "model"


def save_run(
    run: Path, state: dict[str, Any], write_model: Callable[[Path], None], *, keep: int
) -> None:
    """Save a new checkpoint and the model for use, then drop what is no longer needed.

    The first process does it. Of a sharded state each writes its share, so all must
    call, with a folder that all of them see.

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
        rest = {name: value for name, value in state.items() if name != "model"}
        shares = _save_shares(run, rest)
        if rank():
            return
        if step not in saved_steps(run):
            with atomic_folder(folder) as partial:
                write_model(partial / "model")
                if shares is not None:
                    shares.rename(partial / SHARES)
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
    run: Path, history: Sequence[Mapping[str, Any]], mesh: DeviceMesh | None = None
) -> tuple[int, dict[str, Tensor]] | None:
    """The weights that `publish_best` takes, with their step; None if they are gone.

    Args:
        mesh: The processes that are to share them; None for all in each.
    """
    if (best := best_step(history)) is None or best not in saved_steps(run):
        return None
    return best, _read_weights(_step_folder(run, best), mesh)


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
    shutil.rmtree(run / "checkpoints" / _COMING, ignore_errors=True)


def _remove_checkpoint(folder: Path) -> None:
    """Delete one checkpoint; what others have put into its folder stays, with it."""
    with suppress(OSError):
        remove_model(folder / "model")
        shutil.rmtree(folder / SHARES, ignore_errors=True)
        for name in ("state.json", STATE_FILES[1]):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _save_shares(run: Path, state: dict[str, Any]) -> Path | None:
    """Write what is sharded of a state, all processes together; returns its folder."""
    if not (tensors := sharded_tensors(state)):
        return None
    coming = run / "checkpoints" / _COMING
    if rank() == 0:  # the others write when it has told them what
        shutil.rmtree(coming, ignore_errors=True)
    write_shares(coming, tensors)
    return coming


def _read_weights(folder: Path, mesh: DeviceMesh | None = None) -> dict[str, Tensor]:
    """The weights of a checkpoint, by name; with a mesh, this process's share only."""
    try:
        if mesh is not None:
            return read_shares(folder / "model", mesh)
        return read_tensors(folder / "model" / "model.safetensors")
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
