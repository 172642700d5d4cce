"""Whether answers are drawn from the distribution that the model states."""

from __future__ import annotations

from typing import Any

from mini_gpt.sampling import SampleConfig

_FREE = ("max_new_tokens", "seed", "stop", "past_context")


def plain_sampling(**settings: Any) -> SampleConfig:
    """Draws from the model's own distribution: temperature 1, and no rules."""
    return SampleConfig(temperature=1.0, **settings)


def check_policy(config: SampleConfig) -> None:
    """Raise ValueError if tokens would be drawn from another distribution."""
    if config != plain_sampling(**{name: getattr(config, name) for name in _FREE}):
        raise ValueError(
            "draw with temperature 1 and without rules, and stop by `stop` only, since "
            "these are the choices whose probabilities the model states"
        )
