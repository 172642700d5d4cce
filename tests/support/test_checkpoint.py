"""States on disk: every kind of value and generator comes back, and damage is named."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from mini_gpt.support import checkpoint, state_file

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that was saved after step 3."""
    state = {"steps_done": 3, "history": [], "rate": 0.5, "weight": torch.arange(5.0)}
    checkpoint.save_run(tmp_path, state, write_model, keep=2)
    return tmp_path


def write_model(folder: Path) -> None:
    """Stands for a model of one tensor."""
    folder.mkdir()
    save_file({"table": torch.ones(2, 3)}, folder / "model.safetensors")


@given(VALUES)
def test_values_come_back_through_json(value: Any) -> None:
    """Tuples as tuples, and numbers as keys as numbers, which JSON alone does not do."""
    flat = json.loads(json.dumps(state_file.flatten_state(value, {})))
    assert repr(state_file.unflatten_state(flat, {})) == repr(value)


def test_tensors_come_back_wherever_they_are(tmp_path: Path) -> None:
    mine = {"a": [torch.arange(6).view(2, 3).T, (torch.tensor(0.1), 7)], 3: torch.zeros(0)}
    state_file.write_state(tmp_path, mine)
    found = state_file.read_state(tmp_path)
    assert torch.equal(found["a"][0], mine["a"][0])
    assert torch.equal(found["a"][1][0], torch.tensor(0.1))
    assert found["a"][1][1] == 7
    assert found[3].shape == (0,)


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        state_file.flatten_state({"a": [1, {2}]}, {})


def test_every_generator_is_put_back(tmp_path: Path) -> None:
    def drawn() -> list[float]:
        return [random.random(), np.random.random(), torch.rand(1).item()]  # noqa: NPY002

    states = state_file.random_states()
    expected = drawn()
    state_file.write_state(tmp_path, states)
    assert drawn() != expected
    state_file.set_random_states(state_file.read_state(tmp_path))
    assert drawn() == expected


def test_the_newest_state_has_the_model_in_it(run: Path) -> None:
    state = checkpoint.newest_state(run)
    assert state is not None
    assert (state["steps_done"], state["rate"]) == (3, 0.5)
    assert torch.equal(state["weight"], torch.arange(5.0))
    assert torch.equal(state["model"]["table"], torch.ones(2, 3))
    assert checkpoint.newest_state(run / "checkpoints") is None


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "model/model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_named(name: str, damage: str, run: Path) -> None:
    path = run / "checkpoints" / "step-3" / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.unlink()
    with pytest.raises(ValueError, match="step-3"):
        checkpoint.newest_state(run)


@pytest.mark.parametrize("version", [1, state_file.VERSION + 1, "2", None])
def test_a_state_of_another_version_says_so(version: object, run: Path) -> None:
    path = run / "checkpoints" / "step-3" / "state.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["version"] == state_file.VERSION == 2
    path.write_text(json.dumps({**content, "version": version}), encoding="utf-8")
    pattern = rf"step-3 was made by another version of mini_gpt \(its format is {version}"
    with pytest.raises(ValueError, match=pattern):
        checkpoint.newest_state(run)


def test_the_model_for_use_is_a_copy_of_the_checkpoints(run: Path) -> None:
    """And after a kill between the two it is made so again."""
    stored = run / "checkpoints" / "step-3" / "model" / "model.safetensors"
    published = run / "checkpoint" / "model.safetensors"
    assert published.read_bytes() == stored.read_bytes()
    published.unlink()
    (run / "checkpoints" / ".step-4.0123456789ab.partial").mkdir()
    (run / "checkpoints" / ".mine.partial").mkdir()  # somebody else's
    checkpoint.remove_our_fragments(run)
    checkpoint.publish_best(run, [])
    assert published.read_bytes() == stored.read_bytes()
    assert not published.samefile(stored)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"step-3", ".mine.partial"}


def test_only_what_is_named_as_a_checkpoint_counts(run: Path) -> None:
    for name in ("step-12", "step-x", "step-7.old", "notes"):
        (run / "checkpoints" / name).mkdir()
        (run / "checkpoints" / name / "state.json").touch()
    (run / "checkpoints" / "step-99").mkdir()  # there is nothing of ours in it
    assert checkpoint.saved_steps(run) == [3, 12]
    checkpoint.delete_checkpoints(run)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"step-x", "step-7.old", "notes", "step-99"}
