"""A model as two programs: equal logits at any length and batch, whole files or none."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.generation import KVCache
from mini_gpt.model import GPT
from mini_gpt.multi_head import LayerCache
from mini_gpt.support import export_programs
from mini_gpt.support.export_programs import (
    GrownCache,
    Prefill,
    Step,
    check_programs,
    largest_difference,
    trace_programs,
    write_torch_programs,
)
from shapes import without_shape_checks
from tiny import tiny_config, tiny_gpt

TOKENIZER = CharTokenizer("abcdefghijklmnopq")  # 17
SHAPES: dict[str, dict[str, Any]] = {
    "GPT-2's": {"pad_vocab_to_multiple": 8, "dropout": 0.5},
    "newer": {
        "position": "rotary",
        "heads": 4,
        "width": 16,
        "key_value_heads": 2,
        "normalization": "rms",
        "bias": False,
    },
}


@pytest.fixture(scope="module", autouse=True)
def symbols_for_sizes() -> Iterator[None]:
    """While a program is traced, a size is a symbol, which the checks take for no number."""
    with without_shape_checks():
        yield


@pytest.fixture(scope="module", params=SHAPES)
def traced(request: pytest.FixtureRequest) -> tuple[GPT, dict[str, Any]]:
    model = tiny_gpt(**SHAPES[request.param])
    return model, trace_programs(model)


@pytest.mark.slow
@torch.no_grad()
def test_logits_are_the_models_at_every_length(traced: tuple[GPT, dict[str, Any]]) -> None:
    """Also in training mode, which neither asks for dropout nor is changed."""
    model, programs = traced[0], {name: each.module() for name, each in traced[1].items()}
    config = model.config
    for rows in (1, 5):
        ids = torch.randint(17, (rows, 8), generator=torch.Generator().manual_seed(rows))
        expected = model.eval()(ids)  # at all of the 8 places
        model.train()
        for length in range(1, 9):
            logits, keys, values = programs["prefill"](ids[:, :length])
            torch.testing.assert_close(logits, expected[:, length - 1], atol=1e-6, rtol=1e-5)
            for place in range(length, 8):
                logits, keys, values = programs["step"](ids[:, place : place + 1], keys, values)
                torch.testing.assert_close(logits, expected[:, place], atol=1e-6, rtol=1e-5)
            kept = (config.layers, rows, config.kv_heads, 8, config.head_width)
            assert keys.shape == values.shape == kept
    assert largest_difference(model, programs) < 1e-6
    assert model.training
    with pytest.raises(AssertionError, match="8"):
        programs["prefill"](torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(AssertionError, match="7"):
        programs["step"](ids[:, :1], keys, values)


@pytest.mark.slow
def test_the_weights_are_those_of_the_model(traced: tuple[GPT, dict[str, Any]]) -> None:
    model, programs = traced
    for program in programs.values():
        found = {name.removeprefix("model."): x for name, x in program.state_dict.items()}
        for name, weight in model.state_dict().items():
            assert torch.equal(found[name], weight)


def test_a_program_is_the_one_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes it changes what is exported."""
    model, seen = tiny_gpt(), []
    forward = GPT.forward

    def noted(self: GPT, *arguments: Any, **named: Any) -> torch.Tensor:
        seen.append(named)
        return forward(self, *arguments, **named)

    monkeypatch.setattr(GPT, "forward", noted)
    _, keys, values = Prefill(model)(torch.tensor([[1, 2, 3]]))
    Step(model)(torch.tensor([[4]]), keys, values)
    assert seen == [{"last": 1}, {"last": 1}]


def test_a_cache_that_grows_keeps_what_one_with_a_capacity_keeps() -> None:
    grown, fixed = GrownCache(), KVCache(7)
    assert isinstance(grown, LayerCache)
    for new in (3, 1, 2):
        key, value = torch.randn(2, 3, new, 5), torch.randn(2, 3, new, 5)
        for ours, theirs in zip(grown.append(key, value), fixed.append(key, value), strict=True):
            assert torch.equal(ours, theirs)
        assert grown.length == fixed.length


def test_other_logits_are_refused() -> None:
    model = tiny_gpt()
    right: dict[str, Any] = {"prefill": Prefill(model), "step": Step(model)}
    check_programs(model, right)

    def wrong(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, keys, values = right["step"](*inputs)
        return logits + 0.01, keys, values

    with pytest.raises(ValueError, match=r"differ from the model's by .* nothing was written"):
        check_programs(model, {**right, "step": wrong})


def test_a_context_without_room_for_a_past_is_refused() -> None:
    with pytest.raises(ValueError, match=r"context of 3 leaves no room .* at least 4"):
        trace_programs(tiny_gpt(context_length=3))


@pytest.mark.slow
def test_the_folder_is_written_whole_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = tiny_gpt(vocab_size=17), tmp_path / "out"
    write_torch_programs(model, TOKENIZER, folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("prefill.pt2", "step.pt2", "export.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    for name in ("prefill.pt2", "step.pt2"):
        with zipfile.ZipFile(folder / name) as archive:
            parts = [archive.read(part) for part in archive.namelist()]
        assert len(parts) > 20
        # A pickle begins with its protocol; torch puts its own into archives inside.
        assert not any(part.startswith((b"\x80", b"PK")) for part in parts if len(part) > 8)
    prefill = torch.export.load(folder / "prefill.pt2").module()
    with pytest.raises(RuntimeError, match="to be <= 8, but got 9"):
        prefill(torch.zeros(1, 9, dtype=torch.long))
    said = json.loads((folder / "export.json").read_text())
    assert said["context_length"] == 8
    assert (said["layers"], said["kv_heads"], said["head_width"]) == (2, 3, 4)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(export_programs, "largest_difference", lambda *given: float("nan"))
    with pytest.raises(ValueError, match="nothing was written"):
        write_torch_programs(tiny_gpt(seed=1), TOKENIZER, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        write_torch_programs(model, TOKENIZER, folder)
    with pytest.raises(ValueError, match="17"):
        write_torch_programs(GPT(tiny_config(vocab_size=5)), TOKENIZER, tmp_path / "other")
    assert not (tmp_path / "other").exists()
