"""`mini-gpt plan`: what a training run will take, before it is started."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass

import torch

from mini_gpt.commands.train_options import RECIPES
from mini_gpt.config import PRESETS, GPTConfig
from mini_gpt.diagnostics import (
    activation_bytes,
    flops_per_token,
    parameters_by_component,
    training_bytes_by_part,
)
from mini_gpt.model import GPT
from mini_gpt.support.recipes import GPT2_TRAINING, MICRO_BATCH
from mini_gpt.support.speed_records import (
    Speed,
    known_speeds,
    named_device,
    nearest_speed,
)
from mini_gpt.support.validation import whole_number
from mini_gpt.trainer import TrainConfig

# Chinchilla itself: 70 billion parameters, 1.4 trillion tokens (Hoffmann et al. 2022).
CHINCHILLA = 20
_COLUMNS = 79  # of a line
_UNITS = {"hours": 3600, "minutes": 60}


@dataclass(frozen=True)
class Plan:
    """Say what training takes: tokens, steps, memory, and hours on a card whose speed
    was measured. Trains nothing.
    """

    preset: str = "gpt2"
    """The model: gpt2, gpt2-medium, gpt2-large, gpt2-xl, shakespeare-small or
    shakespeare-large.
    """
    card: str | None = None
    """Name of a card or processor that was measured, or a part of it, for instance
    h200. If not said, the card of this machine.
    """
    cards: int = 1
    """How many of them, each with a process of its own."""
    tokens: float | None = None
    """Tokens to train on, for instance 10e9. If not said, those of the preset's recipe;
    where it has none, 20 for each parameter (Hoffmann et al. 2022).
    """
    shard: bool = False
    """Whether the cards share weights, gradients and averages, as in training with
    --shard.
    """
    rows: int | None = None
    """Sequences that a card takes at once. If not said, those of the recipe."""


def run_plan(command: Plan) -> None:
    """Print the plan."""
    config = _shape(command.preset)
    whole_number("cards", command.cards, at_least=1)
    if command.rows is not None:
        whole_number("rows", command.rows, at_least=1)
    if command.tokens is not None and not 1 <= command.tokens < 1e18:
        raise ValueError(f"tokens {command.tokens} must be at least 1, and below 1e18")
    speeds = known_speeds()
    device = named_device(command.card or _card_here(speeds), speeds)
    print(describe_plan(command, config, device, speeds))


def _shape(name: str) -> GPTConfig:
    """The shape of a preset, as its recipe has it where there is one."""
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    shape = GPTConfig.preset(name)
    return RECIPES[name][0].closed(shape.vocab_size) if name in RECIPES else shape


def _card_here(speeds: list[Speed]) -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    devices = "; ".join(dict.fromkeys(speed.device for speed in speeds))
    raise ValueError(
        f"there is no card in this machine; name one with --card (known: {devices})"
    )


def describe_plan(
    command: Plan, config: GPTConfig, device: str, speeds: list[Speed]
) -> str:
    """The plan, a line for each thing that a run takes."""
    parameters = sum(parameters_by_component(config).values())
    training = recipe_of(command.preset)
    a_step = training.batch_size * config.context_length
    tokens = command.tokens
    if tokens is None and command.preset in RECIPES:
        tokens = training.steps * a_step
    tokens = round(CHINCHILLA * parameters if tokens is None else tokens)
    steps = math.ceil(tokens / a_step)
    share = training.batch_size / command.cards
    rows = command.rows or max(1, min(MICRO_BATCH[command.preset], math.ceil(share)))
    parts = math.ceil(share / rows)
    in_parts = f" in {parts:,} parts of {rows:,}" if parts > 1 else ""
    found = {
        "model": [
            f"{command.preset}, {parameters:,} parameters, context "
            f"{config.context_length:,}"
        ],
        "tokens": [
            f"{_short(tokens)}, {tokens / parameters:.3g} for each parameter "
            f"(Chinchilla had {CHINCHILLA}: Hoffmann et al. 2022)"
        ],
        "steps": [
            f"{steps:,} of {a_step:,} tokens: {training.batch_size:,} sequences, "
            f"{math.ceil(share):,} on each card{in_parts}"
        ],
        "work": [f"{tokens * flops_per_token(config):.3g} floating-point operations"],
        "memory": _memory(command, config, training, rows),
        "time": _time(command, config, training, tokens, device, speeds),
    }
    rows_of_text = [(name, line) for name, lines in found.items() for line in lines]
    return "\n".join(
        textwrap.fill(
            line,
            _COLUMNS,
            initial_indent=f"{name if line is found[name][0] else '':<8}",
            subsequent_indent=" " * 10,
        )
        for name, line in rows_of_text
    )


def recipe_of(preset: str) -> TrainConfig:
    """The training of a preset; GPT-2's larger ones take the batch of its smallest."""
    return RECIPES[preset][1] if preset in RECIPES else GPT2_TRAINING


def _memory(
    command: Plan, config: GPTConfig, training: TrainConfig, rows: int
) -> list[str]:
    holders = command.cards if command.shard else 1
    parts = training_bytes_by_part(config, holders, training.optimizer)
    held = ", ".join(f"{name} {_gigabytes(n)}" for name, n in parts.items())
    kept = kept_bytes(config, rows)
    each = " on each card" if command.cards > 1 else ""
    lines = [
        f"{_gigabytes(sum(parts.values()))}{each}: {held}",
        f"and {_gigabytes(kept)} that a part of {rows:,} keeps for its backward pass "
        "in float32, less in bfloat16",
    ]
    if command.shard:
        lines.append("and, while it works, the whole embedding and one block")
    return lines


def kept_bytes(config: GPTConfig, rows: int) -> int:
    """What the blocks keep of so many full sequences for the backward pass, in float32.

    A pass through two small models measures it, which differ by a block; what a block
    keeps grows as the number of positions. Logits do not count: of large batches they
    are never stored whole.
    """
    time = min(32, config.context_length)
    small = dataclasses.replace(config, vocab_size=2, context_length=time)
    one, two = (
        activation_bytes(GPT(dataclasses.replace(small, layers=layers)), 1, time)
        for layers in (1, 2)
    )
    return (two - one) * config.layers * rows * config.context_length // time


def _time(
    command: Plan,
    config: GPTConfig,
    training: TrainConfig,
    tokens: int,
    device: str,
    speeds: list[Speed],
) -> list[str]:
    speed = nearest_speed(device, config, training.optimizer, speeds)
    pace = command.cards * speed.tokens_per_second_of(config)
    place = device if command.cards == 1 else f"{command.cards:,} × {device}"
    said = float(f"{pace:.3g}")
    lines = [f"{_duration(tokens / pace)} on {place}, at {said:,.0f} tokens/s"]
    if command.cards > 1:
        lines.append(
            f"at best: if {command.cards:,} do the work of {command.cards:,}. What "
            "they say to each other was not measured"
        )
    lines.append(f"measured: {speed}")
    near = math.isclose(speed.flops_per_token, flops_per_token(config), rel_tol=0.01)
    if not near:
        way = "by the operations for each token"
        lines.append(f"brought to this model {way}, and not measured with it")
    if speed.optimizer != training.optimizer:
        lines.append(f"the recipe has {training.optimizer}, not measured there")
    if speed.peak_gigabytes is not None:
        lines.append(f"that step took {speed.peak_gigabytes:.1f} GiB at most")
    return lines


def _duration(seconds: float) -> str:
    for unit, length in _UNITS.items():
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def _short(count: int) -> str:
    for size, word in (12, "trillion"), (9, "billion"), (6, "million"):
        if count >= 10**size:
            return f"{count / 10**size:.3g} {word}"
    return f"{count:,}"
