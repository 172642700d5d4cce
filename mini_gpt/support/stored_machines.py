"""What `python -m bench popular_account` found, in the form that its chapter shows."""

from __future__ import annotations

from typing import Any

from mini_gpt.support.stored_results import stored_result


def kinds() -> list[str]:
    """The kinds of machine, in the order in which they are trained."""
    return list(stored_result("popular_account")["runs"])


def _seeds(kind: str) -> list[dict[str, Any]]:
    """The runs of a kind, one for each seed, in order."""
    runs: list[dict[str, Any]] = stored_result("popular_account")["runs"][kind]
    return runs


def parameters(kind: str) -> int:
    """How many parameters a machine of this kind has."""
    return int(_seeds(kind)[0]["parameters"])


def seeming(kind: str) -> list[float]:
    """For each seed the loss over whole windows of unseen text, in nats a token."""
    return [run["seeming"] for run in _seeds(kind)]


def honest(kind: str) -> list[float]:
    """For each seed the loss at the last positions of these windows."""
    return [run["honest"] for run in _seeds(kind)]


def written(kind: str, seed: int = 0) -> str:
    """What the machine of a seed wrote behind the common beginning."""
    return str(_seeds(kind)[seed]["written"])


def beginning() -> str:
    """Unseen text, a window long, that all of them went on from."""
    return str(_seeds("GPT-2")[0]["prompt"])
