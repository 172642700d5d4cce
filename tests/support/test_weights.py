"""Weights in files: their tensors come out as they went in, a few rows at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.gpt2 import to_huggingface
from mini_gpt.model import GPT
from mini_gpt.support import weights
from mini_gpt.support.model_folder import save_pretrained
from mini_gpt.support.weights import stored_tensors
from tiny import tiny_config

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = CharTokenizer("abcdefg")


class TestStoredTensors:
    @settings(
        deadline=None,
        max_examples=25,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(st.integers(1, 7), min_size=1, max_size=3),
        st.integers(1, 60),
        st.sampled_from([torch.float32, torch.bfloat16, torch.int64]),
    )
    def test_parts_make_the_whole(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        shape: list[int],
        at_once: int,
        dtype: torch.dtype,
    ) -> None:
        tensor = torch.randn(shape).to(dtype)
        save_file({"x": tensor, "other": torch.zeros(2)}, tmp_path / "model.safetensors")
        stored = stored_tensors(tmp_path)
        assert stored.keys() == {"x", "other"}
        assert stored["x"].shape == tuple(shape)
        monkeypatch.setattr(weights, "AT_ONCE", at_once)
        whole, seen = torch.zeros_like(tensor), 0
        for part, rows in stored["x"].parts():
            assert len(rows) == 1 or rows.numel() <= at_once
            whole[part], seen = rows, seen + len(rows)
        assert torch.equal(whole, tensor)
        assert seen == shape[0]

    def test_an_empty_tensor_has_no_parts_to_lose(self, tmp_path: Path) -> None:
        save_file({"x": torch.zeros(3, 0)}, tmp_path / "model.safetensors")
        assert sum(len(rows) for _, rows in stored_tensors(tmp_path)["x"].parts()) == 3

    def test_no_weights(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"has no model\.safetensors; its weights are missing"):
            stored_tensors(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}trailing"])
    def test_no_safetensors(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
            stored_tensors(tmp_path)

    def test_a_file_that_changes_while_it_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_file({"x": torch.zeros(5, 3)}, path)
        stored = stored_tensors(tmp_path)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ValueError, match="cannot be read"):
            consume(stored["x"].parts())


def consume(iterable: Any) -> None:
    for _ in iterable:
        pass


PEAK = """
import sys
from pathlib import Path
from mini_gpt.gpt2 import from_huggingface
from mini_gpt.support.model_folder import from_pretrained

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

load = from_huggingface if sys.argv[1] == "huggingface" else from_pretrained
load(sys.argv[2])  # a small one, so that the machinery is in memory
Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
before = status("VmRSS")
kept = load(sys.argv[3])
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("kind", ["pretrained", "huggingface"])
@pytest.mark.slow
def test_there_is_never_a_second_copy_in_memory(kind: str, tmp_path: Path) -> None:
    large = GPTConfig(vocab_size=40_000, context_length=64, layers=4, heads=4, width=512)
    for name, config in (("small", tiny_config()), ("large", large)):
        model = GPT(config)
        if kind == "pretrained":
            save_pretrained(model, TOKENIZER, tmp_path / name)
            continue
        to_huggingface(model, TOKENIZER, tmp_path / name)
    command = [sys.executable, "-c", PEAK, kind, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "large" / "model.safetensors").stat().st_size
    assert 0.9 < int(done.stdout) / size < 1.3, int(done.stdout) / size
