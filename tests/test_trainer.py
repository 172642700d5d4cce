"""The trainer: a step in all its variants, and what is measured."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
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

from learning import (
    QUICK,
    TOKENIZER,
    TRAINING,
    VALIDATION,
    recheck,
    small,
    stepper,
    weights,
)
from mini_gpt.checks import trainer as checks
from mini_gpt.data import BatchLoader
from mini_gpt.diagnostics import flops_per_token
from mini_gpt.loss import IGNORE_INDEX, evaluate, next_token_loss
from mini_gpt.optimizer import learning_rate_at
from mini_gpt.support.device import autocast
from mini_gpt.support.model_folder import from_pretrained, save_pretrained
from mini_gpt.trainer import (
    MAX_SKIPPED_STEPS,
    Stepper,
    TrainConfig,
    Trainer,
    micro_batches,
    model_flops_utilization,
)


def trainer(**changes: Any) -> Trainer:
    return Trainer(small(), TRAINING, VALIDATION, replace(QUICK, **changes))


def finish(one: Trainer) -> list[dict[str, int | float]]:
    """Take the steps that are left; returns what was measured on the way."""
    return [found for found in one.steps(progress=False) if found is not None]


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


# The settings


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", -1), ("accumulation_steps", 0), ("eval_every", 0), ("eval_tokens", 0)],
)
def test_a_bad_setting_is_named_with_its_value(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} {value} must be at least 1"):
        replace(TrainConfig(), **{name: value})


def test_the_optimizers_settings_are_checked_too() -> None:
    with pytest.raises(ValueError, match="warmup_steps -2 must be at least 0"):
        TrainConfig(warmup_steps=-2)
    with pytest.raises(ValueError, match="seed -1 must be at least 0"):
        TrainConfig(seed=-1)
    with pytest.raises(TypeError, match=r"seed 1\.9 must be a whole number"):
        recheck(TrainConfig(), seed=1.9)
    with pytest.raises(ValueError, match="order 'shuffled' must be 'random' or 'epochs'"):
        recheck(TrainConfig(), order="shuffled")
    with pytest.raises(ValueError, match=r"precision 'int8' must be 'auto', .* or 'float16'"):
        recheck(TrainConfig(), precision="int8")


def test_settings_at_the_edge_are_allowed() -> None:
    TrainConfig(steps=1, batch_size=1, accumulation_steps=1, eval_every=1, eval_tokens=1, seed=0)


def test_more_parts_than_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="accumulation_steps 7 must be at most 6"):
        replace(QUICK, accumulation_steps=7)


# A step


def test_two_steps_are_adamw_by_the_formula_with_clipping_and_schedule() -> None:
    config = replace(QUICK, steps=2, batch_size=3, max_grad_norm=0.2, weight_decay=0.3)
    model, twin = small(1).double(), small(1).double()
    one = Stepper(model, TRAINING, config)
    batches = BatchLoader(TRAINING, batch_size=3, context_length=6, seed=config.seed)
    memories = [[torch.zeros_like(p), torch.zeros_like(p)] for p in twin.parameters()]
    for step in (1, 2):
        inputs, targets = next(batches)
        twin.zero_grad()
        loss = next_token_loss(twin(inputs), targets)
        loss.backward()
        assert one.step().item() == pytest.approx(loss.item(), rel=1e-12)
        length = math.sqrt(sum(g.square().sum().item() for g in gradients(twin)))
        assert length > config.max_grad_norm  # else the test would not see the clipping
        rate = (0.005, 0.01)[step - 1]
        with torch.no_grad():
            for p, (m, v) in zip(twin.parameters(), memories, strict=True):
                assert p.grad is not None
                gradient = p.grad * config.max_grad_norm / (length + 1e-6)
                m.mul_(0.9).add_(0.1 * gradient)
                v.mul_(0.99).add_(0.01 * gradient**2)
                p.mul_(1 - rate * 0.3 if p.ndim == 2 else 1)
                p.sub_(rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.99**step)).sqrt() + 1e-8))
    torch.testing.assert_close(weights(model), weights(twin), rtol=1e-9, atol=1e-12)


@given(rows=st.integers(1, 9), time=st.integers(1, 5), parts=st.integers(1, 9))
@settings(deadline=None, max_examples=30)
def test_micro_batches_are_the_rows_in_order(rows: int, time: int, parts: int) -> None:
    parts = min(rows, parts)
    inputs, targets = (torch.randint(99, (rows, time)) for _ in range(2))
    some_inputs, some_targets = zip(*micro_batches(inputs, targets, parts), strict=True)
    assert torch.equal(torch.cat(some_inputs), inputs)
    assert torch.equal(torch.cat(some_targets), targets)
    sizes = [len(some) for some in some_inputs]
    assert len(sizes) == parts
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
@given(parts=st.integers(1, 6), hidden=st.integers(0, 30), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_parts_have_the_gradient_of_the_whole_batch(parts: int, hidden: int, seed: int) -> None:
    """Also where they have unequal numbers of counted tokens, and do not divide the batch."""
    generator = torch.Generator().manual_seed(seed)
    one = stepper(small().double(), accumulation_steps=parts, max_grad_norm=1e9)
    inputs, targets = next(one.batches)
    places = torch.randperm(targets.numel(), generator=generator)[:hidden]
    targets.view(-1)[places] = IGNORE_INDEX
    one.batches = iter([(inputs, targets)])  # type: ignore[assignment]
    model = copy.deepcopy(one.model)
    logits = model(inputs)
    counted = targets != IGNORE_INDEX
    surprisal = -logits.log_softmax(-1)[counted].gather(1, targets[counted][:, None])
    surprisal.mean().backward()
    found = one.step()
    assert found.item() == pytest.approx(surprisal.mean().item(), rel=1e-12)
    for mine, expected in zip(gradients(one.model), gradients(model), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_both_optimizers_follow_one_schedule_to_their_own_peaks(schedule: str) -> None:
    one = stepper(steps=9, optimizer="muon", schedule=schedule, muon_learning_rate=0.03)
    muon, adamw = one.optimizers
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
    assert seen[-1] == pytest.approx(3e-4)  # the lowest rate of 1e-4, three times


def test_the_same_seed_gives_the_same_run_with_dropout() -> None:
    ends = []
    for seed in (1, 1, 2):
        one = stepper(small(dropout=0.3), seed=seed)
        for _ in range(7):
            one.step()
        ends.append(weights(one.model))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_batches_sent_ahead_change_no_run_and_no_checkpoint() -> None:
    plain, ahead = trainer(), trainer()
    ahead.ahead.cuda = True
    ahead.ahead._send = lambda pair: pair  # type: ignore[method-assign, assignment]
    for _ in range(3):
        assert torch.equal(plain.step(), ahead.step())
    assert plain.batches.state_dict() == ahead.batches.state_dict()
    assert ahead.batches.drawn == ahead.steps_done == 3


def test_graphs_are_for_one_process_that_takes_a_batch_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def watch(device: torch.device, wanted: bool | None, graphs: bool) -> Any:
        return lambda function: asked.append(graphs) or function

    monkeypatch.setattr("mini_gpt.trainer.compiler", watch)
    stepper(cuda_graphs=True)
    stepper(cuda_graphs=True, accumulation_steps=2)
    stepper()
    stepper(cuda_graphs=True, optimizer="muon")  # the model, and Muon's products
    assert asked == [True, False, False, True, True]


# Numbers that are not finite


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("place", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(optimizer: str, place: str) -> None:
    one = stepper(optimizer=optimizer)
    one.step()
    before = [copy.deepcopy(o.state_dict()) for o in one.optimizers]
    start = [p.detach().clone() for p in one.model.parameters()]

    def poison(*arguments: Any) -> Tensor:
        return torch.full_like(arguments[-1], math.nan)

    if place == "loss":
        handle = one.model.register_forward_hook(lambda module, given, out: out * math.inf)
    else:
        handle = one.model.decoder.final_norm.weight.register_hook(poison)
    loss = one.step()
    handle.remove()
    assert bool(loss.isfinite()) is (place == "gradient")
    assert all(map(torch.equal, start, one.model.parameters()))
    for mine, other in zip(before, one.optimizers, strict=True):
        assert mine["state"].keys() == other.state_dict()["state"].keys()
        for key, memory in other.state_dict()["state"].items():
            for name, value in memory.items():
                assert torch.equal(mine["state"][key][name], value), name
    assert (one.steps_done, int(one.skipped), int(one.consecutive_skipped)) == (2, 1, 1)
    assert one.step().isfinite()
    assert not all(map(torch.equal, start, one.model.parameters()))
    assert (int(one.skipped), int(one.consecutive_skipped)) == (1, 0)
    assert one.meter.read()[0] == pytest.approx(3.3, abs=0.4)  # the skipped one does not count


def test_a_skipped_step_is_reported() -> None:
    one = trainer()
    one.step()
    handle = one.model.register_forward_hook(lambda module, given, out: out * math.nan)
    one.step()
    handle.remove()
    one.step()
    assert one.measure()["skipped_steps"] == 1
    assert finish(one)[-1]["skipped_steps"] == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("weight", "the weight decoder.final_norm.bias is not finite"),
        ("output", "the weights are finite, but the output of decoder.blocks.1.feed_forward is"),
        ("gradient", "the gradient overflows on its way back"),
    ],
)
def test_too_many_in_a_row_end_the_run_with_a_diagnosis(fault: str, words: str) -> None:
    one = trainer(steps=99, eval_every=99)
    model = one.model
    if fault == "weight":
        with torch.no_grad():
            model.decoder.final_norm.bias[2] = math.nan
    elif fault == "output":
        model.decoder.blocks[1].feed_forward.register_forward_hook(lambda m, i, out: out / 0)
    else:
        model.decoder.final_norm.weight.register_hook(lambda gradient: gradient * math.inf)
    pattern = rf"{MAX_SKIPPED_STEPS} steps in a row.*{words}.*lower learning_rate than 0\.01"
    with pytest.raises(FloatingPointError, match=pattern):
        finish(one)
    assert one.steps_done == MAX_SKIPPED_STEPS


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_measurement_that_is_no_number_ends_the_run(
    loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mini_gpt.trainer.evaluate", lambda *arguments, **options: loss)
    pattern = rf"the loss is {loss} at step 3.*learning_rate than 0\.01.*warmup_steps than 2"
    with pytest.raises(FloatingPointError, match=pattern):
        finish(trainer())


# Number formats, devices, the compiler


def test_bfloat16_is_for_products_not_for_weights_and_loss() -> None:
    model, cpu = small(), torch.device("cpu")
    ids = torch.from_numpy(TRAINING[None, :6].astype(np.int64))
    with autocast(cpu, "bfloat16"):
        logits = model(ids)
        loss = next_token_loss(logits, ids)
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    assert next(model.parameters()).dtype == torch.float32
    for precision in ("float32", "auto"):
        with autocast(cpu, precision):
            assert model(ids).dtype == torch.float32


def test_bfloat16_training_is_close_to_float32() -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        one = stepper(precision=precision)
        losses.append([one.step().item() for _ in range(7)])
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert losses[0] != losses[1]


def test_float16_is_scaled_and_finds_its_scale() -> None:
    one = stepper(precision="float16", learning_rate=1e-3)
    one.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # far too large
    for _ in range(60):
        one.step()
    assert 0 < int(one.skipped) < 40
    assert int(one.consecutive_skipped) == 0
    assert one.scaler.get_scale() < 2.0**40
    assert next(one.model.parameters()).dtype == torch.float32
    plain = stepper(learning_rate=1e-3)
    for _ in range(60 - int(one.skipped)):
        plain.step()
    losses = [evaluate(s.model, VALIDATION, context_length=6) for s in (one, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_without_a_compiler_training_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no compiler here\nand a long story")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.warns(UserWarning, match="without torch.compile.*no compiler here$"):
        one = stepper(compile=True)
    assert one.predict is one.model
    one.step()


@pytest.mark.slow
def test_compiled_and_plain_share_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation, saving and resuming see what the compiled model has learned."""
    before, real = jaxtyping.config.jaxtyping_disable, torch.compile
    jaxtyping.config.update("jaxtyping_disable", True)  # the tracer cannot see through the checks
    monkeypatch.setattr(torch, "compile", lambda model: real(model, backend="eager"))
    try:
        fast, slow = trainer(compile=True), trainer()
        assert type(fast.predict).__name__ == "OptimizedModule"
        for one in (fast, slow):
            finish(one)
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
    for mine, other in zip(fast.history, slow.history, strict=True):
        assert mine["validation_loss"] == pytest.approx(other["validation_loss"], abs=1e-6)
    assert list(fast.model.state_dict()) == list(slow.model.state_dict())
    save_pretrained(fast.model, TOKENIZER, tmp_path)
    kept, _ = from_pretrained(tmp_path)
    ids = torch.from_numpy(VALIDATION[None, :6].astype(np.int64))
    assert torch.equal(kept(ids), fast.model.eval()(ids))


# Measuring


def test_measurements_come_when_they_should_and_change_nothing() -> None:
    runs = {}
    for every in (3, 100):
        config = replace(QUICK, eval_every=every)
        one = Trainer(small(dropout=0.3), TRAINING, VALIDATION, config)
        assert finish(one) == one.history
        runs[every] = one
    assert [found["step"] for found in runs[3].history] == [3, 6, 7]
    assert [found["step"] for found in runs[100].history] == [7]
    assert torch.equal(weights(runs[3].model), weights(runs[100].model))


def test_control_comes_back_after_every_step() -> None:
    one = trainer()
    seen = [(one.steps_done, found is not None) for found in one.steps(progress=False)]
    assert seen == [(n, n in (3, 6, 7)) for n in range(1, 8)]
    assert list(one.steps(progress=False)) == []  # none is left


def test_what_the_caller_does_with_a_measurement_takes_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    one = trainer()
    real = one.step

    def step() -> Tensor:
        now[0] += 1.0
        return real()

    monkeypatch.setattr(one, "step", step)
    for found in one.steps(progress=False):
        if found is not None:
            now[0] += 100.0
    assert one.seconds == 7.0
    assert one.history[-1]["tokens_per_second"] == 6 * 6


def test_a_measurement_reports_what_was_trained() -> None:
    one = trainer(eval_tokens=99)
    losses = [one.step().item() for _ in range(5)]
    found = one.measure()
    assert found["training_loss"] == pytest.approx(sum(losses) / 5, rel=1e-5)
    expected = evaluate(one.model, VALIDATION[:100], context_length=6)
    assert found["validation_loss"] == pytest.approx(expected, rel=1e-5)
    assert found["learning_rate"] == learning_rate_at(4, one.config)
    assert found["tokens_per_second"] > 0
    with pytest.raises(ValueError, match="no step was taken"):
        one.measure()


def test_the_rate_that_is_reported_is_adamws() -> None:
    one = trainer(optimizer="muon", muon_learning_rate=0.5)
    one.step()
    assert one.measure()["learning_rate"] == learning_rate_at(0, one.config)


def test_splits_that_are_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match="1 tokens are too few to validate"):
        Trainer(small(), TRAINING, VALIDATION[:1], QUICK)
    with pytest.raises(ValueError, match="6 tokens are too few for a context of 6"):
        Trainer(small(), TRAINING[:6], VALIDATION, QUICK)


def test_utilization_is_shown_for_known_devices_only(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer()
    one.step()
    assert "model_flops_utilization" not in one.measure()
    assert model_flops_utilization(one.model.config, 9.0, one.device, "float32") is None
    monkeypatch.setattr("mini_gpt.trainer.device_peak", lambda device, precision: 2e9)
    one.step()
    found = one.measure()
    expected = found["tokens_per_second"] * flops_per_token(one.model.config) / 2e9
    assert found["model_flops_utilization"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"optimizer": "muon"}, {"schedule": "wsd"}])
def test_every_variant_learns_a_text_that_repeats_itself(changes: dict[str, Any]) -> None:
    config = replace(QUICK, steps=120, batch_size=16, learning_rate=0.02, eval_every=120, **changes)
    one = Trainer(small(width=16), TRAINING, VALIDATION, config)
    assert one.evaluate(VALIDATION) == pytest.approx(math.log(TOKENIZER.vocab_size), abs=0.05)
    finish(one)
    assert one.evaluate(VALIDATION) < 1.5
    assert int(one.skipped) == 0


# The exercises


def wrong_accumulate(model: nn.Module, parts: Iterator[tuple[Tensor, Tensor]]) -> None:
    model.zero_grad()
    number = 0
    for inputs, targets in parts:
        number += 1
        next_token_loss(model(inputs), targets).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad /= number


def right_accumulate(model: nn.Module, parts: Iterator[tuple[Tensor, Tensor]]) -> None:
    model.zero_grad()
    tokens = 0
    for inputs, targets in parts:
        next_token_loss(model(inputs), targets, reduction="sum").backward()
        tokens += targets.numel()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad /= tokens


def forgetful_accumulate(model: nn.Module, parts: Iterator[tuple[Tensor, Tensor]]) -> None:
    for inputs, targets in parts:
        next_token_loss(model(inputs), targets).backward()


def right_stop(losses: list[float], patience: int) -> int:
    lowest = 0
    for place, loss in enumerate(losses):
        lowest = place if loss < losses[lowest] else lowest
        if place - lowest >= patience:
            return place
    return len(losses) - 1


def stop_at_any_rise(losses: list[float], patience: int) -> int:
    rises = [place for place in range(1, len(losses)) if losses[place] > losses[place - 1]]
    return rises[0] if rises else len(losses) - 1


def some_loop(
    clear: bool = True, longest: float = 1.0, groups: int = 2, careful: bool = True
) -> Callable[..., list[float]]:
    """The loop of the page, or one that lacks something."""

    def loop(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Iterator[tuple[Tensor, Tensor]],
        rate: Callable[[int], float],
        steps: int,
    ) -> list[float]:
        losses = []
        for step in range(steps):
            inputs, targets = next(batches)
            loss = next_token_loss(model(inputs), targets)
            if clear:
                optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), longest)
            for group in optimizer.param_groups[:groups]:
                group["lr"] = rate(step)
            if not careful or (loss.isfinite() and norm.isfinite()):
                optimizer.step()
            losses.append(loss.item())
        return losses

    return loop


@pytest.mark.parametrize(
    ("check", "answer", "verdict"),
    [
        (checks.accumulate, lambda model, parts: None, "not yet: for one part"),
        (checks.accumulate, forgetful_accumulate, "not yet: for one part"),
        (checks.accumulate, wrong_accumulate, "not yet: for parts of 2 and 28 tokens"),
        (checks.accumulate, right_accumulate, "correct: "),
        (checks.stop_at, lambda losses, patience: None, "not yet: for losses that always fall"),
        (checks.stop_at, stop_at_any_rise, "not yet: for one rise, and a patience of 2"),
        (checks.stop_at, right_stop, "correct: "),
        (checks.loop, lambda *arguments: None, "not yet: for one step a list of 1 losses"),
        (checks.loop, some_loop(longest=9.0), "not yet: for one step, a weight after"),
        (checks.loop, some_loop(groups=1), "not yet: for one step, a weight after"),
        (checks.loop, some_loop(clear=False), "not yet: for three steps, "),
        (checks.loop, some_loop(careful=False), "not yet: for three steps, the second without"),
        (checks.loop, some_loop(), "correct: "),
    ],
)
def test_check_tells_right_from_wrong(
    check: Callable[[object], None],
    answer: object,
    verdict: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(answer)
    assert capsys.readouterr().out.startswith(verdict)


@pytest.mark.parametrize(
    ("check", "answer"), [(checks.accumulate, right_accumulate), (checks.loop, some_loop())]
)
def test_a_check_leaves_the_random_numbers_alone(
    check: Callable[[object], None], answer: object
) -> None:
    before = torch.get_rng_state()
    check(answer)
    assert torch.equal(before, torch.get_rng_state())
