"""What an exercise's check says of answers, right and wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mini_gpt import checks


def verdicts(
    capsys: pytest.CaptureFixture[str], check: Callable[..., None], *answers: Any
) -> list[str]:
    """For each answer in turn the check's first line, with the hint behind it if one is due."""
    capsys.readouterr()
    said = []
    for answer in answers:
        check(answer)
        line = capsys.readouterr().out.splitlines()[0]
        checks.hint()
        hint = capsys.readouterr().out.strip()
        said.append(f"{line} {hint}" if hint.startswith("Hint: ") else line)
    return said
