"""Checks for the exercises of the chapter on runs that stop and go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mini_gpt.checks.report import NotYet, expect, run_check
from mini_gpt.config import GPTConfig
from mini_gpt.data import BatchLoader
from mini_gpt.loss import next_token_loss
from mini_gpt.model import GPT


def best_interval(function: Callable[[float, float], float]) -> None:
    """Exercise "How often to save"."""

    def cases() -> None:
        for save, kill, interval, hint in (
            (2.0, 10_000.0, 200.0, "where is the derivative of the lost share zero?"),
            (0.5, 10_000.0, 100.0, "a quarter of the cost is worth twice as many"),
            (2.0, 40_000.0, 400.0, "the rarer the kills, the rarer the checkpoints"),
        ):
            case = f"saving in {save} s, a kill every {kill:,.0f} s"
            expect(case, function(save, kill), interval, hint)

    run_check(cases, "saving costs as much as it saves, and no interval loses less.")


def state(
    snapshot: Callable[..., Any], restore: Callable[[Any, Any, Any, Any], Any]
) -> None:
    """Exercise "A state of your own"."""

    def cases() -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            shape = GPTConfig(11, context_length=5, layers=1, heads=2, width=6)
            model = GPT(GPTConfig(**{**vars(shape), "dropout": 0.3}))
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)
            tokens = np.arange(400) ** 2 % 11
            batches = BatchLoader(
                tokens, batch_size=3, context_length=5, order="epochs"
            )

            def losses(steps: int) -> list[float]:
                found = []
                for _ in range(steps):
                    inputs, targets = next(batches)
                    loss = next_token_loss(model(inputs), targets)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    found.append(loss.item())
                return found

            losses(6)
            kept = snapshot(model, optimizer, batches)
            if kept is None:
                raise NotYet(
                    "snapshot returned nothing. Hint: return all that is kept."
                )
            first = losses(4)
            for time, hint in (
                ("once", "what else does the next step depend on?"),
                ("twice", "a snapshot must not change when the run goes on"),
            ):
                restore(model, optimizer, batches, kept)
                again = losses(4)
                where = next((n for n in range(4) if again[n] != first[n]), None)
                if where is not None:
                    raise NotYet(
                        f"restored {time}, step {where + 1} has the loss "
                        f"{again[where]:.4f}, the first time {first[where]:.4f}. Hint: "
                        f"{hint}"
                    )
            expect("all steps", again, first, "they should be equal", 0.0)

    run_check(cases, "as if it had never stopped, to the last bit.")
