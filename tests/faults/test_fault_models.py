"""Models and states from strangers, and damaged ones: noticed, bounded, in one line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mini_gpt import GPT, from_huggingface, from_pretrained, save_pretrained, to_huggingface
from mini_gpt.support.checkpoint import MODEL
from mini_gpt.support.state_file import read_state, write_state
from mini_gpt.support.weights import stored_tensors
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

    @pytest.mark.slow
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
        with contextlib.suppress(ValueError):
            assert str(read_state(tmp_path)) == str(STATE)

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
        if name.endswith("json"):  # two letters change places
            path.write_bytes(path.read_bytes().replace(b"abc", b"acb"))
        else:
            zero(path, -2, 2)
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


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours") / "model"
    save_pretrained(build(), TOKENIZER, folder)
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs") / "model"
    to_huggingface(build(), TOKENIZER, folder)
    return folder


def copy_of(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a model's folder whose `config.json` says something else."""
    target.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    rewrite(target, lambda content: content | changes)
    return target


OURS = ["vocab_size", "context_length", "layers", "heads", "width", "hidden_width", "dropout"]
OURS += ["bias", "position", "normalization", "pad_vocab_to_multiple", "key_value_heads"]
OURS += ["activation", "norm_epsilon", "format", "version", "sha256"]
THEIRS = ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "resid_pdrop"]
THEIRS += ["activation_function", "layer_norm_epsilon", "model_type", "tie_word_embeddings"]
LARGE = [10**8, 10**9, 2**31, 2**63 - 1, 2**63, 10**30, 10**4000]
ODD = [None, 1.0, 2.5, -1, 0, True, "", "2", "x" * 10**6, [], [[]], {}, 1e308, float("nan")]


class TestDamagedConfigurations:
    """Number 19 and rows 11 and 16: one ValueError with file and field, soon, and short."""

    @pytest.mark.slow
    @settings(
        deadline=5000,
        max_examples=150,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(of_ours=st.booleans(), data=st.data(), value=st.sampled_from([*LARGE, *ODD]))
    def test_fields_of_wrong_kinds_and_sizes(
        self, of_ours: bool, data: st.DataObject, value: Any, tmp_path: Path, request: Any
    ) -> None:
        source = request.getfixturevalue("ours" if of_ours else "theirs")
        field = data.draw(st.sampled_from(OURS if of_ours else THEIRS), "field")
        folder = copy_of(source, tmp_path / "copy", **{field: value})
        try:
            assert from_pretrained(folder)[0].config.width == 12
        except ValueError as fault:
            message = str(fault)
        else:
            return
        assert str(folder) in message
        assert len(message) < 1500

    @pytest.mark.slow
    def test_the_field_is_named(self, ours: Path, tmp_path: Path) -> None:
        """In a process of its own: the tests' checks of annotations have other words."""
        for field in OURS:
            copy_of(ours, tmp_path / field, **{field: {"a": 1}})
        code = (
            "import sys; from mini_gpt import from_pretrained\n"
            "for folder in sys.argv[1:]:\n"
            "    try: from_pretrained(folder)\n"
            "    except ValueError as fault: print(fault)"
        )
        done = run_python("-c", code, *(str(tmp_path / field) for field in OURS))
        lines = done.stdout.splitlines()
        assert len(lines) == len(OURS), done.stderr
        for field, line in zip(OURS, lines, strict=True):
            assert "config.json" in line
            # What has no format of ours is taken for a GPT-2, which needs other fields.
            assert ("n_positions" if field == "format" else field) in line

    @pytest.mark.parametrize(
        "changes",
        [
            {"position": "rotary", "context_length": 10**8},
            {"position": "sinusoidal", "context_length": 10**8},
            {"position": "rotary", "context_length": 10**18},
            {"layers": 10**9},
            {"vocab_size": 10**12},
            {"pad_vocab_to_multiple": 10**12},
            {"hidden_width": 10**12},
            {"width": 10**10, "heads": 1},
            {"context_length": 10**12},
        ],
    )
    def test_bombs(self, changes: dict[str, Any], ours: Path, tmp_path: Path) -> None:
        folder, start = copy_of(ours, tmp_path / "copy", **changes), time.monotonic()
        with pytest.raises(ValueError, match="is far too large for 28 tensors"):
            from_pretrained(folder)
        assert time.monotonic() - start < 2

    @pytest.mark.parametrize("field", ["n_layer", "n_positions", "vocab_size", "n_inner"])
    def test_bombs_of_others(self, field: str, theirs: Path, tmp_path: Path) -> None:
        folder = copy_of(theirs, tmp_path / field, **{field: 10**9})
        for read in (from_pretrained, from_huggingface):
            with pytest.raises(ValueError, match="is far too large for 28 tensors"):
                read(folder)

    def test_a_long_context_that_is_meant_is_no_bomb(self, tmp_path: Path) -> None:
        save_pretrained(build(position="rotary", context_length=100_000), TOKENIZER, tmp_path)
        assert from_pretrained(tmp_path)[0].config.context_length == 100_000

    @pytest.mark.parametrize(
        "changes",
        [{"layers": None}, {"layers": 1.0}, {"layers": 10**9}, {"color\x1b[31m": 1}],
    )
    @pytest.mark.slow
    def test_the_command_says_so_in_one_line(
        self, changes: dict[str, Any], ours: Path, tmp_path: Path
    ) -> None:
        folder = copy_of(ours, tmp_path / "copy", **changes)
        done = run_python("-m", "mini_gpt", "sample", str(folder), "--prompt", "a")
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert str(folder) in done.stderr
        assert next(iter(changes))[:5] in done.stderr
        assert "\x1b" not in done.stderr


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, as a user starts it."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def test_the_folder_of_a_run_gives_its_model(tmp_path: Path) -> None:
    model = build()
    save_pretrained(model, TOKENIZER, tmp_path / "run" / MODEL)
    loaded, _ = from_pretrained(tmp_path / "run")
    assert torch.equal(loaded.token_embedding.weight, model.token_embedding.weight)


class TestEscapeSequences:
    """Row 23: what a stranger wrote cannot steer a terminal."""

    @pytest.mark.parametrize("read", [from_pretrained, from_huggingface])
    def test_in_a_name_of_a_tensor(self, read: Any, theirs: Path, tmp_path: Path) -> None:
        folder = copy_of(theirs, tmp_path / "copy")
        tensors = load_file(folder / "model.safetensors")
        save_file({**tensors, "\x1b[2Jx\u202e": torch.zeros(1)}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=r"\\x1b\[2Jx\\u202e is not expected") as fault:
            read(folder)
        assert str(fault.value).isprintable()

    @pytest.mark.parametrize("field", ["model_type", "activation_function"])
    def test_in_a_configuration(self, field: str, theirs: Path, tmp_path: Path) -> None:
        folder = copy_of(theirs, tmp_path / "copy", **{field: "\x1b]0;x\a"})
        with pytest.raises(ValueError, match="x1b") as fault:
            from_pretrained(folder)
        assert str(fault.value).isprintable()

    def test_in_the_name_of_a_file(self, theirs: Path, tmp_path: Path) -> None:
        folder = copy_of(theirs, tmp_path / "copy")
        (folder / "model.safetensors").rename(folder / "\x1b[31mweights.bin")
        with pytest.raises(ValueError, match=r"\\x1b\[31mweights\.bin, a pickle") as fault:
            from_pretrained(folder)
        assert str(fault.value).isprintable()

    @pytest.mark.parametrize("shard", ["\x1b[31m", "a\0b", "x" * 10**6, "..", ""])
    def test_in_an_index(self, shard: str, theirs: Path, tmp_path: Path) -> None:
        folder = copy_of(theirs, tmp_path / "copy")
        (folder / "model.safetensors").unlink()
        index = {"weight_map": {"wte.weight": shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises((ValueError, OSError)) as fault:
            from_pretrained(folder)
        assert "\x1b" not in str(fault.value)
        assert len(str(fault.value)) < 1500


class TestFilesThatShrink:
    """Row 20: a file that is cut short while it is in use."""

    def test_while_it_is_read_is_an_error(self, ours: Path, tmp_path: Path) -> None:
        folder = copy_of(ours, tmp_path / "copy")
        stored = stored_tensors(folder)
        with open(folder / "model.safetensors", "r+b") as file:
            file.truncate(3000)
        for tensor in stored.values():
            with pytest.raises(ValueError, match="cannot be read"):
                list(tensor.parts())

    def test_a_loaded_model_does_not_follow_it(self, ours: Path, tmp_path: Path) -> None:
        folder = copy_of(ours, tmp_path / "copy")
        model, _ = from_pretrained(folder)
        with open(folder / "model.safetensors", "r+b") as file:
            file.truncate(0)
        reference: GPT = build()
        assert torch.equal(model.token_embedding.weight, reference.token_embedding.weight)
