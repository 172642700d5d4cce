"""Training: loss and units, optimiser, schedule, evaluation, the trainer, the files it writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mini_gpt import runtime
from mini_gpt.checks import training as checks
from mini_gpt.data import BatchSource
from mini_gpt.gpt2 import from_pretrained
from mini_gpt.model import GPT, GPTConfig
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer
from mini_gpt.training import (
    Meter,
    Stepper,
    TrainConfig,
    Trainer,
    autocast,
    bits_per_byte,
    evaluate,
    evaluating,
    learning_rate_at,
    make_optimiser,
    next_token_loss,
    require_finite,
    resolve_device,
    train,
)

TEXT = "the quick brown fox jumps over the lazy dog; é is two bytes.\n" * 40
TOKENIZER = CharTokenizer.train(TEXT)
TOKENS = np.array(TOKENIZER.encode(TEXT), dtype=np.uint8)
TRAINING, VALIDATION = TOKENS[:-250], TOKENS[-250:]
QUICK = TrainConfig(
    steps=7, batch=3, warmup_steps=2, evaluate_every=3, learning_rate=0.01, device="cpu"
)


def tiny(seed: int = 0, **changes: object) -> GPT:
    shape = {"context_length": 6, "layers": 2, "heads": 2, "width": 8, **changes}
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab_size=TOKENIZER.vocab_size, **shape))  # type: ignore[arg-type]


def weights(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


# The loss


def test_loss_is_the_mean_surprise() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, generator=generator)
    targets = torch.randint(5, (2, 3), generator=generator)
    surprises = [
        -math.log(logits[row, time].softmax(0)[targets[row, time]])
        for row in range(2)
        for time in range(3)
    ]
    assert next_token_loss(logits, targets).item() == pytest.approx(sum(surprises) / 6, rel=1e-5)
    total = next_token_loss(logits, targets, reduction="sum").item()
    assert total == pytest.approx(sum(surprises), rel=1e-5)


@given(vocabulary=st.integers(2, 300), time=st.integers(1, 7))
@settings(deadline=None, max_examples=20)
def test_a_uniform_guess_loses_the_logarithm_of_the_vocabulary(vocabulary: int, time: int) -> None:
    targets = torch.arange(time)[None] % vocabulary
    loss = next_token_loss(torch.zeros(1, time, vocabulary), targets)
    assert loss.item() == pytest.approx(math.log(vocabulary), rel=1e-5)


def test_bits_per_byte_of_known_texts() -> None:
    assert bits_per_byte(math.log(2), tokens=10, utf8_bytes=10) == pytest.approx(1)
    assert bits_per_byte(math.log(256), tokens=10, utf8_bytes=10) == pytest.approx(8)
    assert bits_per_byte(math.log(256), tokens=5, utf8_bytes=20) == pytest.approx(2)


def test_bits_per_byte_needs_a_text() -> None:
    with pytest.raises(ValueError, match="utf8_bytes 0"):
        bits_per_byte(1.0, 3, 0)


# The settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch", -1),
        ("evaluate_every", 0),
        ("evaluation_tokens", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("muon_learning_rate", 0.0),
        ("muon_learning_rate", -0.02),
        ("clip", -0.5),
        ("final_learning_rate", -1e-9),
        ("warmup_steps", -2),
        ("weight_decay", -0.1),
        ("beta1", 1.0),
        ("beta2", -0.3),
    ],
)
def test_a_bad_setting_is_named_with_its_value(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} {value} must be"):
        replace(TrainConfig(), **{name: value})


def test_settings_at_the_edge_are_allowed() -> None:
    TrainConfig(
        steps=1, batch=1, warmup_steps=0, weight_decay=0.0, final_learning_rate=0.0, beta1=0.0
    )


# The schedule


def test_schedule_at_known_steps() -> None:
    config = TrainConfig(steps=101, warmup_steps=10, learning_rate=0.5, final_learning_rate=0.1)
    assert learning_rate_at(0, config) == pytest.approx(0.05)
    assert learning_rate_at(9, config) == 0.5
    assert learning_rate_at(10, config) == 0.5
    assert learning_rate_at(55, config) == pytest.approx(0.3)
    assert learning_rate_at(100, config) == pytest.approx(0.1)
    assert learning_rate_at(1000, config) == pytest.approx(0.1)


@given(steps=st.integers(1, 60), warmup=st.integers(0, 80), final=st.floats(0, 1))
@settings(deadline=None, max_examples=100)
def test_schedule_rises_then_falls_within_its_bounds(steps: int, warmup: int, final: float) -> None:
    config = TrainConfig(
        steps=steps, warmup_steps=warmup, learning_rate=1.0, final_learning_rate=final
    )
    rates = [learning_rate_at(step, config) for step in range(steps)]
    assert all(0 < rate <= 1 + 1e-12 or rate == final for rate in rates)
    top = min(warmup, steps)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps > warmup + 1:
        assert rates[-1] == pytest.approx(final, abs=1e-12)


# The optimiser


def test_matrices_decay_and_vectors_do_not() -> None:
    model = tiny()
    groups = make_optimiser(model, replace(QUICK, weight_decay=0.3)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert {id(p) for p in groups[0]["params"]} == {
        id(p) for p in model.parameters() if p.ndim == 2
    }
    assert {id(p) for p in groups[1]["params"]} == {
        id(p) for p in model.parameters() if p.ndim == 1
    }
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_model_without_vectors_has_one_group() -> None:
    optimiser = make_optimiser(nn.Linear(3, 5, bias=False), QUICK)
    assert len(optimiser.param_groups) == 1


def test_two_steps_are_adamw_by_the_formula_with_clipping_and_schedule() -> None:
    config = replace(QUICK, steps=2, clip=0.2, weight_decay=0.3)
    model, copy = tiny(1).double(), tiny(1).double()
    stepper = Stepper(model, TRAINING, config)
    batches = BatchSource(TRAINING, batch=3, context_length=6, seed=config.seed)
    memories = [[torch.zeros_like(p), torch.zeros_like(p)] for p in copy.parameters()]
    for step in (1, 2):
        inputs, targets = next(batches)
        copy.zero_grad()
        loss = next_token_loss(copy(inputs), targets)
        loss.backward()
        assert stepper.step().item() == pytest.approx(loss.item(), rel=1e-12)
        gradients = [p.grad for p in copy.parameters()]
        length = math.sqrt(sum(g.square().sum().item() for g in gradients if g is not None))
        assert length > config.clip  # else the test would not see the clipping
        rate = (0.005, 0.01)[step - 1]
        with torch.no_grad():
            for p, (m, v) in zip(copy.parameters(), memories, strict=True):
                assert p.grad is not None
                gradient = p.grad * config.clip / (length + 1e-6)
                m.mul_(0.9).add_(0.1 * gradient)
                v.mul_(0.99).add_(0.01 * gradient**2)
                p.mul_(1 - rate * 0.3 if p.ndim == 2 else 1)
                p.sub_(rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.99**step)).sqrt() + 1e-8))
    torch.testing.assert_close(weights(model), weights(copy), rtol=1e-9, atol=1e-12)


# Devices


@pytest.mark.parametrize("name", ["nonsense", "", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"device '{name}' is not available"):
        resolve_device(name)


def test_auto_finds_a_device_that_computes() -> None:
    assert torch.ones(2, device=resolve_device()).sum().item() == 2
    assert resolve_device("cpu") == torch.device("cpu")


def test_bfloat16_is_for_products_not_for_weights_and_loss() -> None:
    model, cpu = tiny(), torch.device("cpu")
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
        stepper = Stepper(tiny(), TRAINING, replace(QUICK, precision=precision))  # type: ignore[arg-type]
        losses.append([stepper.step().item() for _ in range(7)])
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    assert losses[0] != losses[1]


def test_without_a_compiler_training_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no compiler here\nand a long story")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.warns(UserWarning, match="without torch.compile.*no compiler here$"):
        stepper = Stepper(tiny(), TRAINING, replace(QUICK, compile=True))
    assert stepper.predict is stepper.model
    stepper.step()


def test_the_cpu_does_not_compile_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda model: asked.append(model) or model)
    model, cpu = tiny(), torch.device("cpu")
    assert runtime.compiled(model, cpu) is model
    assert runtime.compiled(model, cpu, False) is model
    assert asked == []
    assert runtime.compiled(model, cpu, True) is model
    assert asked[-1] is model


# Evaluation


@given(tokens=st.integers(2, 60), batch=st.integers(1, 5), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=25)
def test_evaluation_counts_every_token_once(tokens: int, batch: int, seed: int) -> None:
    model, split = tiny(seed, dropout=0.5), VALIDATION[:tokens]
    surprise = 0.0
    model.eval()
    with torch.no_grad():
        for start in range(0, tokens - 1, 6):
            window = torch.from_numpy(split[start : start + 7].astype(np.int64))[None]
            logits = model(window[:, :-1]).log_softmax(-1)
            surprise -= logits.gather(2, window[:, 1:, None]).sum().item()
    model.train()
    found = evaluate(model, split, context_length=6, batch=batch)
    assert found == pytest.approx(surprise / (tokens - 1), rel=1e-4)
    assert model.training


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_even_after_an_error(training: bool) -> None:
    model, inside = tiny(dropout=0.5).train(training), []

    def fail() -> None:
        with evaluating(model):
            inside.append((model.training, torch.is_grad_enabled()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [(False, False)]
    assert model.training is training
    assert torch.is_grad_enabled()


def test_evaluation_is_deterministic_and_leaves_the_weights() -> None:
    model = tiny(dropout=0.5)
    before = weights(model)
    losses = {evaluate(model, VALIDATION, context_length=6) for _ in range(3)}
    assert len(losses) == 1
    assert torch.equal(before, weights(model))


def test_evaluation_needs_two_tokens() -> None:
    with pytest.raises(ValueError, match="1 tokens"):
        evaluate(tiny(), VALIDATION[:1], context_length=6)


# The trainer


def test_the_meter_averages_since_its_restart() -> None:
    meter = Meter(torch.device("cpu"), 10)
    with pytest.raises(ValueError, match="no step was taken"):
        meter.read()
    for loss in (1.0, 2.0, 6.0):
        meter.add(torch.tensor(loss))
    loss, seconds, speed = meter.read()
    assert loss == 3.0
    assert speed == pytest.approx(3 * 10 / seconds)
    meter.restart()
    meter.add(torch.tensor(5.0))
    assert meter.read()[0] == 5.0


def test_the_same_seed_gives_the_same_run_with_dropout() -> None:
    ends = []
    for seed in (1, 1, 2):
        trainer = Trainer(tiny(dropout=0.3), TRAINING, VALIDATION, replace(QUICK, seed=seed))
        trainer.run(progress=False)
        ends.append(weights(trainer.model))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_looks_come_when_they_should_and_change_nothing() -> None:
    runs = {}
    for every in (3, 100):
        config = replace(QUICK, evaluate_every=every)
        trainer = Trainer(tiny(dropout=0.3), TRAINING, VALIDATION, config)
        seen: list[dict[str, int | float]] = []
        trainer.run(progress=False, on_look=seen.append)
        assert seen == trainer.history
        runs[every] = trainer
    assert [entry["step"] for entry in runs[3].history] == [3, 6, 7]
    assert [entry["step"] for entry in runs[100].history] == [7]
    assert torch.equal(weights(runs[3].model), weights(runs[100].model))


def test_a_look_reports_what_was_trained() -> None:
    trainer = Trainer(tiny(), TRAINING, VALIDATION, replace(QUICK, evaluation_tokens=99))
    losses = [trainer.step().item() for _ in range(5)]
    entry = trainer.look()
    assert entry["training_loss"] == pytest.approx(sum(losses) / 5, rel=1e-5)
    split = VALIDATION[:100]
    expected = evaluate(trainer.model, split, context_length=6)
    assert entry["validation_loss"] == pytest.approx(expected, rel=1e-5)
    assert entry["learning_rate"] == learning_rate_at(4, trainer.config)
    assert entry["tokens_per_second"] > 0
    with pytest.raises(ValueError, match="no step was taken"):
        trainer.look()


def test_training_learns_a_text_that_repeats_itself() -> None:
    config = replace(QUICK, steps=150, batch=16, learning_rate=0.02, evaluate_every=150)
    model = tiny(width=16)
    before = evaluate(model, VALIDATION, context_length=6)
    result = train(model, TRAINING, VALIDATION, TOKENIZER, config, progress=False)
    assert before == pytest.approx(math.log(TOKENIZER.vocab_size), abs=0.05)
    assert result.validation_loss < 1.5


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model = tiny()

    def poison(entry: dict[str, int | float]) -> None:
        with torch.no_grad():
            model.token_embedding.weight[:] = math.nan

    with pytest.raises(FloatingPointError, match=r"nan at step 6.*learning_rate than 0\.01"):
        train(
            model,
            TRAINING,
            VALIDATION,
            TOKENIZER,
            QUICK,
            out=tmp_path,
            progress=False,
            on_evaluation=poison,
        )
    kept, _ = from_pretrained(tmp_path / "checkpoint")
    assert weights(kept).isfinite().all()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_only_numbers_are_finite(loss: float) -> None:
    assert require_finite(1.5, 3, QUICK) == 1.5
    with pytest.raises(FloatingPointError, match=f"{loss} at step 3"):
        require_finite(loss, 3, QUICK)


def test_splits_that_are_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match="1 tokens are too few to validate"):
        Trainer(tiny(), TRAINING, VALIDATION[:1], QUICK)
    with pytest.raises(ValueError, match="6 tokens are too few for a context of 6"):
        Trainer(tiny(), TRAINING[:6], VALIDATION, QUICK)


# What `train` returns and writes


def test_train_measures_the_whole_split_and_writes_it_down(tmp_path: Path) -> None:
    model = tiny()
    out = tmp_path / "new" / "run"
    config = replace(QUICK, evaluation_tokens=10)
    result = train(model, TRAINING, VALIDATION, TOKENIZER, config, out=out, progress=False)
    loss = evaluate(model, VALIDATION, context_length=6)
    assert result.validation_loss == pytest.approx(loss, rel=1e-5)
    utf8 = len(TOKENIZER.decode(VALIDATION[1:]).encode())
    assert utf8 > 249  # some characters have two bytes
    assert result.bits_per_byte == pytest.approx(loss * 249 / math.log(2) / utf8, rel=1e-5)
    assert result.training_loss == result.history[-1]["training_loss"]

    *looks, final = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    assert looks == result.history
    assert final["final"] is True
    assert final["validation_loss"] == result.validation_loss
    assert "history" not in final
    kept, tokenizer = from_pretrained(out / "checkpoint")
    assert torch.equal(weights(kept), weights(model))
    assert tokenizer.decode(VALIDATION) == TOKENIZER.decode(VALIDATION)
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint",
        "checkpoints",
        "metrics.jsonl",
    ]


def test_a_second_run_in_the_same_folder_replaces_the_first(tmp_path: Path) -> None:
    for seed in (0, 1):
        model = tiny(seed)
        train(model, TRAINING, VALIDATION, TOKENIZER, QUICK, out=tmp_path, progress=False)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert torch.equal(weights(from_pretrained(tmp_path / "checkpoint")[0]), weights(model))


def test_bits_per_byte_compare_tokenizers_on_the_same_bytes() -> None:
    bpe = BPETokenizer.train(TEXT, 256 + 1 + 20)
    ids = np.array(bpe.encode(TEXT), dtype=np.uint16)
    shape = GPTConfig(vocab_size=bpe.vocab_size, context_length=6, layers=1, heads=2, width=8)
    result = train(GPT(shape), ids[:-80], ids[-80:], bpe, QUICK, progress=False)
    utf8 = len(bpe.decode(ids[-79:]).encode())
    expected = result.validation_loss * 79 / (math.log(2) * utf8)
    assert result.bits_per_byte == pytest.approx(expected)


def test_the_progress_bar_goes_to_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny(), TRAINING, VALIDATION, TOKENIZER, QUICK, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "7/7 steps" in shown.err
    assert "loss 3." in shown.err  # also where a run is over before the bar is drawn again
    assert "tokens/s" in shown.err
    train(tiny(), TRAINING, VALIDATION, TOKENIZER, QUICK, progress=False)
    assert capsys.readouterr().err == ""


def test_the_bar_shows_loss_speed_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runtime.tqdm
    monkeypatch.setattr(
        runtime, "tqdm", lambda **options: real(**{**options, "mininterval": 0, "miniters": 1})
    )
    train(tiny(), TRAINING, VALIDATION, TOKENIZER, QUICK, progress=True)
    last = capsys.readouterr().err.rsplit("\r", 1)[-1]
    assert "loss 3." in last
    assert "tokens/s" in last
    assert "<00:00" in last


# The exercises


def wrong_accumulate(model: nn.Module, pieces: list[tuple[Tensor, Tensor]]) -> None:
    model.zero_grad()
    for inputs, targets in pieces:
        (next_token_loss(model(inputs), targets) / len(pieces)).backward()


def right_accumulate(model: nn.Module, pieces: list[tuple[Tensor, Tensor]]) -> None:
    model.zero_grad()
    tokens = sum(targets.numel() for _, targets in pieces)
    for inputs, targets in pieces:
        (next_token_loss(model(inputs), targets, reduction="sum") / tokens).backward()


def forgetful_accumulate(model: nn.Module, pieces: list[tuple[Tensor, Tensor]]) -> None:
    for inputs, targets in pieces:
        (next_token_loss(model(inputs), targets) / len(pieces)).backward()


def newton_schulz(matrix: Tensor, rounds: int) -> Tensor:
    found = matrix / matrix.norm()
    for _ in range(rounds):
        found = 1.5 * found - 0.5 * found @ found.T @ found
    return found


@pytest.mark.parametrize(
    ("check", "answer", "verdict"),
    [
        (checks.compressed_bytes, lambda nats, tokens: None, "not yet: for 1.3863 nats"),
        (
            checks.compressed_bytes,
            lambda nats, tokens: math.ceil(nats * tokens / 8),
            "not yet: for 1.3863 nats per token and 1,000",
        ),
        (
            checks.compressed_bytes,
            lambda nats, tokens: math.ceil((nats * tokens / math.log(2) + 2) / 8),
            "correct: ",
        ),
        (checks.hold_and_decay, lambda *arguments: None, "not yet: for step 0"),
        (
            checks.hold_and_decay,
            lambda step, steps, highest, warmup, decay: (
                highest * min(1, (step + 1) / warmup, (steps - 1 - step) / decay)
            ),
            "not yet: for step 15",
        ),
        (
            checks.hold_and_decay,
            lambda step, steps, highest, warmup, decay: (
                highest * min(1, (step + 1) / warmup, (steps - step) / decay)
            ),
            "correct: ",
        ),
        (checks.accumulate, lambda model, pieces: None, "not yet: for one piece"),
        (checks.accumulate, forgetful_accumulate, "not yet: for one piece"),
        (checks.accumulate, wrong_accumulate, "not yet: for pieces of 2 and 28 tokens"),
        (checks.accumulate, right_accumulate, "correct: "),
        (checks.orthogonalise, lambda matrix: None, "not yet: for a matrix of 3 by 3"),
        (checks.orthogonalise, lambda m: m / m.norm(), "not yet: for a matrix of 3 by 3"),
        (checks.orthogonalise, lambda m: newton_schulz(m, 40), "correct: "),
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


def test_a_check_leaves_the_random_numbers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    checks.accumulate(right_accumulate)
    assert torch.equal(before, torch.get_rng_state())
