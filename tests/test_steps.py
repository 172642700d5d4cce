"""A step in all its variants: in pieces, skipped, by Muon, in float16, compiled, measured."""

from __future__ import annotations

import copy
import json
import math
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mini_gpt import runtime
from mini_gpt.gpt2 import from_pretrained, save_pretrained
from mini_gpt.model import GPT, GPTConfig, flops_per_token
from mini_gpt.tokenizer import CharTokenizer
from mini_gpt.training import (
    IGNORED,
    PATIENCE,
    Stepper,
    TrainConfig,
    Trainer,
    evaluate,
    learning_rate_at,
    make_optimisers,
    next_token_loss,
    train,
    training_state,
)

TEXT = "the quick brown fox jumps over the lazy dog.\n" * 40
TOKENIZER = CharTokenizer.train(TEXT)
TOKENS = np.array(TOKENIZER.encode(TEXT), dtype=np.uint8)
TRAINING, VALIDATION = TOKENS[:-250], TOKENS[-250:]
QUICK = TrainConfig(
    steps=9, batch=6, warmup_steps=2, evaluate_every=3, learning_rate=0.01, device="cpu"
)


def tiny(**changes: Any) -> GPT:
    shape = {"context_length": 6, "layers": 2, "heads": 2, "width": 8, **changes}
    torch.manual_seed(0)
    return GPT(GPTConfig(vocab_size=TOKENIZER.vocab_size, **shape))


def stepper(changes: dict[str, Any] | None = None, model: GPT | None = None) -> Stepper:
    return Stepper(model or tiny(), TRAINING, replace(QUICK, **(changes or {})))


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


# In pieces


@given(pieces=st.integers(1, 6), hidden=st.integers(0, 30), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_pieces_have_the_gradient_of_the_whole_batch(pieces: int, hidden: int, seed: int) -> None:
    """Also where they have unequal numbers of counted tokens, and do not divide the batch."""
    generator = torch.Generator().manual_seed(seed)
    one = stepper({"accumulate": pieces, "clip": 1e9}, tiny().double())
    inputs, targets = next(one.batches)
    places = torch.randperm(targets.numel(), generator=generator)[:hidden]
    targets.view(-1)[places] = IGNORED
    one.batches = iter([(inputs, targets)])  # type: ignore[assignment]
    model = copy.deepcopy(one.model)
    logits = model(inputs)
    counted = targets != IGNORED
    surprise = -logits.log_softmax(-1)[counted].gather(1, targets[counted][:, None])
    surprise.mean().backward()
    found = one.step()
    assert found.item() == pytest.approx(surprise.mean().item(), rel=1e-12)
    for mine, expected in zip(gradients(one.model), gradients(model), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12)


def test_more_pieces_than_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="accumulate 7 must be at most batch 6"):
        replace(QUICK, accumulate=7)


# Numbers that are not finite


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("place", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(optimiser: str, place: str) -> None:
    one = stepper({"optimiser": optimiser})
    one.step()
    before = [copy.deepcopy(o.state_dict()) for o in one.optimisers]
    weights = [p.detach().clone() for p in one.model.parameters()]

    def poison(*arguments: Any) -> Tensor:
        return torch.full_like(arguments[-1], math.nan)

    if place == "loss":
        handle = one.model.register_forward_hook(lambda module, given, out: out * math.inf)
    else:
        handle = one.model.decoder.final_norm.weight.register_hook(poison)
    loss = one.step()
    handle.remove()
    assert bool(loss.isfinite()) is (place == "gradient")
    assert all(map(torch.equal, weights, one.model.parameters()))
    for mine, other in zip(before, one.optimisers, strict=True):
        assert mine["state"].keys() == other.state_dict()["state"].keys()
        for key, memory in other.state_dict()["state"].items():
            for name, value in memory.items():
                assert torch.equal(mine["state"][key][name], value), name
    assert (one.steps_done, int(one.skipped), int(one.in_a_row)) == (2, 1, 1)
    assert one.step().isfinite()
    assert not all(map(torch.equal, weights, one.model.parameters()))
    assert (int(one.skipped), int(one.in_a_row)) == (1, 0)
    assert one.meter.read()[0] == pytest.approx(3.3, abs=0.4)  # the skipped one does not count


def test_a_skipped_step_is_reported(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), TRAINING, VALIDATION, QUICK)
    trainer.step()
    handle = trainer.model.register_forward_hook(lambda module, given, out: out * math.nan)
    trainer.step()
    handle.remove()
    trainer.step()
    assert trainer.look()["skipped_steps"] == 1
    trainer.run(progress=False)
    assert trainer.history[-1]["skipped_steps"] == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("weight", "the weight decoder.final_norm.bias is not finite"),
        ("output", "the weights are finite, but the output of decoder.blocks.1.feed_forward is"),
        ("gradient", "the gradient overflows on its way back"),
    ],
)
def test_too_many_in_a_row_end_the_run_with_a_diagnosis(fault: str, words: str) -> None:
    trainer = Trainer(tiny(), TRAINING, VALIDATION, replace(QUICK, steps=99, evaluate_every=99))
    model = trainer.model
    if fault == "weight":
        with torch.no_grad():
            model.decoder.final_norm.bias[2] = math.nan
    elif fault == "output":
        model.decoder.blocks[1].feed_forward.register_forward_hook(lambda m, i, out: out / 0)
    else:
        model.decoder.final_norm.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(FloatingPointError, match=rf"{PATIENCE} steps in a row.*{words}.*lower"):
        trainer.run(progress=False)
    assert trainer.steps_done == PATIENCE


# Schedules and optimisers


def test_hold_and_decay() -> None:
    config = TrainConfig(
        schedule="hold", steps=21, warmup_steps=5, decay_steps=4, learning_rate=1.0
    )
    rates = [learning_rate_at(step, config) for step in range(21)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:17] == [1.0] * 12
    assert rates[17:] == pytest.approx([0.75, 0.5, 0.25, 1e-4], abs=1e-3)
    long = replace(config, decay_steps=999)  # all that follow the warm-up
    rates_of_long = [learning_rate_at(step, long) for step in range(21)]
    assert rates_of_long[:5] == rates[:5]
    assert rates_of_long[5:] == pytest.approx([(15 - n) / 16 for n in range(16)], abs=1e-3)
    default = replace(config, decay_steps=None)  # a fifth of the steps
    assert [learning_rate_at(step, default) for step in range(21)] == rates


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    model = tiny()
    muon, adamw = make_optimisers(model, replace(QUICK, optimiser="muon"))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert isinstance(muon, torch.optim.Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert by_muon == {
        n for n, p in model.decoder.named_parameters(prefix="decoder") if p.ndim == 2
    }
    assert by_muon | by_adamw == set(names.values())
    assert not by_muon & by_adamw
    assert "token_embedding.weight" in by_adamw
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0.0]


def test_a_step_of_muon_moves_every_direction_by_about_its_rate() -> None:
    changes = {"optimiser": "muon", "weight_decay": 0.0, "warmup_steps": 0}
    one = stepper({**changes, "muon_learning_rate": 0.03}, tiny(width=48))
    feed_forward = one.model.decoder.blocks[0].feed_forward
    before = feed_forward.expand.weight.detach().clone()
    one.step()
    moved = torch.linalg.svdvals(feed_forward.expand.weight.detach() - before)
    middle = (moved / (0.03 * 4**0.5)).median().item()  # twice as far where width times 4 comes out
    assert 0.6 < middle < 1.3


@pytest.mark.parametrize("schedule", ["cosine", "hold"])
def test_both_optimisers_follow_one_schedule_to_their_own_peaks(schedule: str) -> None:
    changes = {"optimiser": "muon", "schedule": schedule, "muon_learning_rate": 0.03, "beta1": 0.7}
    one = stepper(changes)
    muon, adamw = one.optimisers
    assert {group["momentum"] for group in muon.param_groups} == {0.7}
    assert {group["betas"][0] for group in adamw.param_groups} == {0.7}
    seen = []
    for step in range(one.config.steps):
        one.step()
        rate = learning_rate_at(step, one.config)
        assert {group["lr"] for group in adamw.param_groups} == {rate}  # exactly
        muons = [group["lr"] for group in muon.param_groups]
        assert muons == pytest.approx([3 * rate] * len(muons))
        seen.append(muons[0])
    assert seen[0] == pytest.approx(0.015)  # half of the warm-up
    assert seen[1] == pytest.approx(0.03)  # the peak
    assert seen[-1] == pytest.approx(3e-4)  # the final rate of 1e-4, three times


def test_the_rate_that_is_reported_is_adamws() -> None:
    changes = {"optimiser": "muon", "muon_learning_rate": 0.5}
    trainer = Trainer(tiny(), TRAINING, VALIDATION, replace(QUICK, **changes))
    trainer.step()
    assert trainer.look()["learning_rate"] == learning_rate_at(0, trainer.config)


@pytest.mark.parametrize("changes", [{}, {"optimiser": "muon"}, {"schedule": "hold"}])
def test_every_variant_learns(changes: dict[str, Any]) -> None:
    config = replace(QUICK, steps=120, batch=16, learning_rate=0.02, evaluate_every=120, **changes)
    result = train(tiny(width=16), TRAINING, VALIDATION, TOKENIZER, config, progress=False)
    assert result.validation_loss < 1.5
    assert result.skipped_steps == 0


# Precision


def test_float16_is_scaled_and_finds_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    one = stepper({"precision": "float16", "learning_rate": 1e-3})
    one.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # far too large
    for _ in range(60):
        one.step()
    assert 0 < int(one.skipped) < 40
    assert int(one.in_a_row) == 0
    assert one.scaler.get_scale() < 2.0**40
    assert next(one.model.parameters()).dtype == torch.float32
    plain = stepper({"learning_rate": 1e-3})
    for _ in range(60 - int(one.skipped)):
        plain.step()
    losses = [evaluate(s.model, VALIDATION, context_length=6) for s in (one, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda, mps = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))
    assert runtime.resolve_precision(cpu) == runtime.resolve_precision(mps) == "float32"
    for native, expected in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: native)  # noqa: B023
        assert runtime.resolve_precision(cuda) == expected
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="no bfloat16 instructions"):
        assert runtime.resolve_precision(cpu, "bfloat16") == "bfloat16"


# What is measured


def test_utilisation_is_shown_for_known_devices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny(), TRAINING, VALIDATION, QUICK)
    trainer.step()
    assert "model_flops_utilisation" not in trainer.look()
    monkeypatch.setattr("mini_gpt.training.device_peak", lambda device, precision: 2e9)
    trainer.step()
    entry = trainer.look()
    expected = entry["tokens_per_second"] * flops_per_token(trainer.model.config) / 2e9
    assert entry["model_flops_utilisation"] == pytest.approx(expected)


def test_peaks_are_known_by_the_name_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    for name, peak in (("NVIDIA A100-SXM4-80GB", 312e12), ("Some Card 9000", None)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)  # noqa: B023
        assert runtime.device_peak(cuda, "bfloat16") == peak
        assert runtime.device_peak(cuda, "float32") is None
    assert runtime.device_peak(torch.device("cpu"), "bfloat16") is None


def test_metrics_go_to_tensorboard_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            pass

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: stand_in)
    result = train(tiny(), TRAINING, VALIDATION, TOKENIZER, QUICK, out=tmp_path, progress=False)
    losses = [(value, step) for name, value, step in written if name == "validation_loss"]
    assert losses == [(look["validation_loss"], look["step"]) for look in result.history]


def test_without_tensorboard_only_lines_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    train(tiny(), TRAINING, VALIDATION, TOKENIZER, QUICK, out=tmp_path, progress=False)
    assert not (tmp_path / "tensorboard").exists()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_for_terminals(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    train(tiny(), TRAINING, VALIDATION, TOKENIZER, QUICK)
    assert ("tokens/s" in capsys.readouterr().err) is terminal


# Compiled


def test_compiled_and_plain_share_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation, saving and resuming see what the compiled model has learnt."""
    before, real = jaxtyping.config.jaxtyping_disable, torch.compile
    jaxtyping.config.update("jaxtyping_disable", True)  # the tracer cannot see through the checks
    monkeypatch.setattr(torch, "compile", lambda model: real(model, backend="eager"))
    try:
        config = replace(QUICK, compile=True)
        fast = Trainer(tiny(), TRAINING, VALIDATION, config)
        assert type(fast.predict).__name__ == "OptimizedModule"
        slow = Trainer(tiny(), TRAINING, VALIDATION, QUICK)
        for trainer in (fast, slow):
            trainer.run(progress=False)
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
    for one, other in zip(fast.history, slow.history, strict=True):
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], abs=1e-6)
    assert list(training_state(fast)["model"]) == list(slow.model.state_dict())
    save_pretrained(fast.model, TOKENIZER, tmp_path)
    kept, _ = from_pretrained(tmp_path)
    ids = torch.from_numpy(VALIDATION[None, :6].astype(np.int64))
    assert torch.equal(kept(ids), fast.model.eval()(ids))


def test_ignored_targets_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, generator=generator)
    targets = torch.tensor([[1, IGNORED, 4], [IGNORED, IGNORED, 2]])
    kept = [(0, 0, 1), (0, 2, 4), (1, 2, 2)]
    surprise = sum(-logits[r, t].log_softmax(0)[i] for r, t, i in kept)
    torch.testing.assert_close(next_token_loss(logits, targets), surprise / 3)
    torch.testing.assert_close(next_token_loss(logits, targets, "sum"), surprise)


def test_metrics_are_json_lines(tmp_path: Path) -> None:
    metrics = runtime.Metrics(tmp_path / "new", [{"step": 1, "loss": 2.0}])
    metrics.add({"step": 2, "loss": None, "history": [1]})
    lines = (tmp_path / "new" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "loss": 2.0}, {"step": 2}]
    runtime.Metrics(None).add({"step": 1})
