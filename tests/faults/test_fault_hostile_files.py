"""Whatever stands in a file, its reader gives a result or one clear refusal, and soon.

`hostile.py` has the readers, and what is done to their files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.hostile import READERS, attack

HOSTILE = Path(__file__).with_name("hostile.py")
ROOT = HOSTILE.parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_few_spoiled_files(name: str) -> None:
    attack(name, 6, names_the_file=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_spoiled_files(name: str) -> None:
    """In a process of its own, so that the words are ours and the file is named."""
    result = subprocess.run(
        [sys.executable, str(HOSTILE), name, "60"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
