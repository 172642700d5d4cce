"""Models and states from strangers, and damaged ones: noticed, bounded, in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_gpt import from_pretrained, save_pretrained
from mini_gpt.support.checkpoint import read_state, write_state
from peers import TOKENIZER, build

STATE = {"steps_done": 7, "rate": 0.1, "moments": torch.arange(24.0), "names": ("a", None)}


def flip(path: Path, place: int, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(bytes(data))


def zero(path: Path, place: int, length: int) -> None:
    """Set some bytes of a file to zero, as a disk that fails does."""
    data = bytearray(path.read_bytes())
    start = place % len(data)
    end = min(len(data), start + length)
    data[start:end] = bytes(end - start)
    path.write_bytes(bytes(data))


class TestDamage:
    """Row 9: bits that flip and bytes that are zeroed never give other numbers."""

    @settings(
        deadline=None,
        max_examples=150,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_of_a_model_is_noticed(self, tmp_path: Path, data: st.DataObject) -> None:
        folder, model = tmp_path / "model", build()
        save_pretrained(model, TOKENIZER, folder)
        names = sorted(path.name for path in folder.iterdir())
        self.damage(folder / data.draw(st.sampled_from(names)), data)
        try:
            loaded, tokenizer = from_pretrained(folder)
        except (ValueError, OSError):
            return
        assert loaded.config == model.config, "damage changed the shape"
        assert tokenizer.to_dict() == TOKENIZER.to_dict()
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name

    @settings(
        deadline=None,
        max_examples=150,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_of_a_training_state_is_noticed(self, tmp_path: Path, data: st.DataObject) -> None:
        write_state(tmp_path, STATE)
        name = data.draw(st.sampled_from(["state.json", "state.safetensors"]))
        self.damage(tmp_path / name, data)
        try:
            state = read_state(tmp_path)
        except ValueError as fault:
            assert "is not a whole checkpoint" in str(fault) or "another version" in str(fault)
            return
        assert str(state) == str(STATE)

    def damage(self, path: Path, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, 10**6), "place")
        if data.draw(st.booleans(), "zeroed"):
            zero(path, place, data.draw(st.integers(1, 600), "length"))
        else:
            flip(path, place, data.draw(st.integers(0, 7), "bit"))

    @pytest.mark.parametrize("name", ["model.safetensors", "mini_gpt_tokenizer.json"])
    def test_the_message_names_the_file(self, name: str, tmp_path: Path) -> None:
        save_pretrained(build(), TOKENIZER, tmp_path / "model")
        path = tmp_path / "model" / name
        damaged = path.read_bytes()
        if name.endswith("json"):
            damaged = damaged.replace(b"abc", b"abd").replace(b"abd", b"acb")
        path.write_bytes(damaged[:-2] + damaged[-2:].replace(damaged[-2:], b"\0\0"))
        if name.endswith("json"):
            path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{re.escape(name)} changed after it was saved"):
            from_pretrained(tmp_path / "model")

    def test_another_number_of_heads_is_noticed(self, tmp_path: Path) -> None:
        """No shape depends on it, so that only the digest can tell."""
        save_pretrained(build(), TOKENIZER, tmp_path)
        rewrite(tmp_path, lambda content: content | {"heads": 2})
        with pytest.raises(ValueError, match="shape changed after it was saved"):
            from_pretrained(tmp_path)

    def test_a_state_does_not_follow_its_file(self, tmp_path: Path) -> None:
        """Rows 10 and 20: what was read is a copy, not a view of the file."""
        write_state(tmp_path, {"big": torch.ones(5000)})
        state = read_state(tmp_path)
        with open(tmp_path / "state.safetensors", "r+b") as file:
            file.truncate(0)
        assert torch.equal(state["big"], torch.ones(5000))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change what a folder's `config.json` says."""
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
