"""Devices, number formats and the compiler: what is there is found, what is not is named."""

from __future__ import annotations

import pytest
import torch

from mini_gpt.support import device
from mini_gpt.support.device import resolve_device, resolve_precision
from tiny import tiny_gpt

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


@pytest.mark.parametrize("name", ["nonsense", "", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}' is not available"):
        resolve_device(name)


def test_auto_finds_a_device_that_computes() -> None:
    assert torch.ones(2, device=resolve_device()).sum().item() == 2
    assert resolve_device("cpu") == CPU


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision(CPU) == resolve_precision(MPS) == "float32"
    for native, expected in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: native)  # noqa: B023
        assert resolve_precision(CUDA) == expected
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="no bfloat16 instructions"):
        assert resolve_precision(CPU, "bfloat16") == "bfloat16"


def test_peaks_are_known_by_the_name_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, peak in (("NVIDIA A100-SXM4-80GB", 312e12), ("Some Card 9000", None)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)  # noqa: B023
        assert device.device_peak(CUDA, "bfloat16") == peak
        assert device.device_peak(CUDA, "float32") is None
    assert device.device_peak(CPU, "bfloat16") is None


def test_the_cpu_does_not_compile_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda model: asked.append(model) or model)
    model = tiny_gpt()
    assert device.compile_model(model, CPU) is model
    assert device.compile_model(model, CPU, False) is model
    assert asked == []
    assert device.compile_model(model, CPU, True) is model
    assert asked[-1] is model


def test_graphs_are_for_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda model, **how: asked.append(how) or model)
    monkeypatch.setattr(device.F, "silu", torch.zeros_like)
    monkeypatch.setattr(torch, "ones", lambda *size, **where: torch.zeros(size))
    model = tiny_gpt()
    for place, graphs, expected in (
        (CPU, True, {}),
        (CUDA, False, {}),
        (CUDA, True, {"mode": "reduce-overhead"}),
    ):
        assert device.compile_model(model, place, True, graphs) is model
        assert asked[-1] == expected


def test_coarse_products_are_for_who_asks_and_end() -> None:
    before = torch.get_float32_matmul_precision()
    for precision, expected in (("float32", before), ("bfloat16", "high"), ("float16", "high")):
        with device.coarse_products(precision):
            assert torch.get_float32_matmul_precision() == expected
        assert torch.get_float32_matmul_precision() == before
    with pytest.raises(KeyError), device.coarse_products("bfloat16"):
        raise KeyError
    assert torch.get_float32_matmul_precision() == before == "highest"
