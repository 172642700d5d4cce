"""`mini-gpt plan`: each number from the recipe, the shape, or a measurement; none guessed."""

from __future__ import annotations

import re

import pytest
import torch

from mini_gpt.commands import plan
from mini_gpt.commands.cli import main
from mini_gpt.commands.train_options import RECIPES
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.diagnostics import activation_bytes, flops_per_token, training_bytes
from mini_gpt.model import GPT
from mini_gpt.support.speed_records import Speed
from tiny import tiny_config

SIZES = {"vocab_size": 50_257, "context_length": 1024, "layers": 12, "heads": 12, "width": 768}
CARD = Speed(
    device="Test Card 9",
    card=True,
    torch="2.99",
    date="2027-01-02",
    source="this test",
    **SIZES,
    batch_size=32,
    optimizer="adamw",
    precision="bfloat16",
    compiled=True,
    tokens_per_second=100_000,
    peak_gigabytes=12.25,
)


@pytest.fixture(autouse=True)
def one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "known_speeds", lambda: [CARD])


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """The plan by its headings, each in one line."""
    capsys.readouterr()
    assert main(["plan", *words]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 79
    joined = re.sub(r"\n {8,}", " ", out)
    return {line[:8].strip(): line[8:] for line in joined.splitlines()}


@pytest.mark.slow
def test_gpt2_on_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--card", "test card")
    assert found["model"] == "gpt2, 124,475,904 parameters, context 1,024"
    assert found["tokens"].startswith("10 billion, 80.3 for each parameter (Chinchilla had 20:")
    assert found["steps"] == (
        "19,073 of 524,288 tokens: 512 sequences, 512 on each card in 32 parts of 16"
    )
    config = RECIPES["gpt2"][0].closed(50_257)
    work = 19_073 * 524_288 * flops_per_token(config)
    assert found["work"] == f"{work:.3g} floating-point operations"
    assert found["memory"].startswith(
        "1.99 GB: parameters 0.50 GB, gradients 0.50 GB, averages 1.00 GB and "
    )
    pace = 100_000 * flops_per_token(GPTConfig(**SIZES)) / flops_per_token(config)
    hours = 19_073 * 524_288 / pace / 3600
    assert pace == pytest.approx(99_974.8, abs=1)
    assert found["time"].startswith(f"{hours:.1f} hours on Test Card 9, at 100,000 tokens/s")
    assert "torch 2.99, 2027-01-02 (this test)" in found["time"]
    assert "that step took 12.2 GiB at most" in found["time"]
    assert "brought to this model" not in found["time"], "padding is less than a hundredth"


@pytest.mark.slow
def test_several_cards_share(capsys: pytest.CaptureFixture[str]) -> None:
    one = printed(capsys, "--card", "test")
    eight = printed(capsys, "--card", "test", "--cards", "8", "--shard")
    assert "512 sequences, 64 on each card in 4 parts of 16" in eight["steps"]
    share = training_bytes(RECIPES["gpt2"][0].closed(50_257), 8)
    assert eight["memory"].startswith(f"{share / 1e9:.2f} GB on each card:")
    assert "the whole embedding and one block" in eight["memory"]
    assert "at best: if 8 do the work of 8" in eight["time"]
    assert "at best" not in one["time"]
    hours = [float(each["time"].split()[0]) for each in (one, eight)]
    assert hours[0] / hours[1] == pytest.approx(8, rel=0.05)
    alike = printed(capsys, "--card", "test", "--cards", "8")
    assert alike["memory"].startswith("1.99 GB on each card:"), "each holds everything"


@pytest.mark.slow
def test_a_model_without_a_recipe_takes_chinchillas_tokens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(capsys, "--preset", "gpt2-medium", "--card", "test")
    assert found["tokens"].startswith("7.1 billion, 20 for each parameter")
    assert "brought to this model by the operations for each token" in found["time"]
    fewer = printed(capsys, "--preset", "gpt2-medium", "--card", "test", "--tokens", "1e9")
    assert fewer["tokens"].startswith("1 billion, 2.82 for each parameter")
    assert fewer["steps"].startswith(f"{-(-(10**9) // 524_288):,} of 524,288 tokens")


@pytest.mark.slow
def test_another_optimizer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "--preset", "shakespeare-large", "--card", "test")
    assert "the recipe has muon, not measured there" in found["time"]
    assert "64 sequences, 64 on each card" in found["steps"]
    assert "parts" not in found["steps"]
    assert (
        "12 sequences"
        in printed(capsys, "--preset", "shakespeare-small", "--card", "test")["steps"]
    )


def test_what_is_kept_for_the_backward_pass_is_measured() -> None:
    """It grows with rows, layers and positions, and is most of what a whole pass keeps."""
    config = tiny_config(layers=6, width=48, vocab_size=2, context_length=64)
    kept = plan.kept_bytes(config, rows=3)
    whole = activation_bytes(GPT(config), 3, 64)
    assert 0.9 * whole < kept < whole
    assert plan.kept_bytes(config, rows=6) == 2 * kept


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--card", "a100"], r"not measured how fast 'a100' .* known are Test Card 9\. .*make gpu"),
        (["--preset", "gpt3", "--card", "test"], "no preset 'gpt3'; there are gpt2, "),
        (["--card", "test", "--cards", "0"], "cards 0"),
        (["--card", "test", "--rows", "0"], "rows 0"),
        (["--card", "test", "--tokens", "0"], "tokens 0.0 must be at least 1"),
        (["--card", "test", "--tokens", "nan"], "tokens nan must be at least 1"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert re.search(complaint, found.err)


@pytest.mark.slow
def test_without_a_name_the_card_of_the_machine_is_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["plan"]) == 2
    assert "no card in this machine; name one with --card (known: Test Card 9)" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Test Card 9")
    assert "on Test Card 9" in printed(capsys)["time"]


def test_the_help_names_every_preset() -> None:
    from mini_gpt.commands.help_texts import explanations

    assert all(name in explanations(plan.Plan)["preset"] for name in PRESETS)
