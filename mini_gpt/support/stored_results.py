"""Results of runs that take longer than a reader waits; chapters show them.

`stored/NAME.json` is what `python -m bench NAME` wrote; nothing else writes there, and
it stands nowhere else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("stored")


def stored_result(name: str) -> dict[str, Any]:
    """What the benchmark of this name found."""
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    record: dict[str, Any] = json.loads(text)
    return record
