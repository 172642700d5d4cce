"""What three runs of the demo's recipe made of the exam: `python -m bench evaluation`.

The runs differ in nothing but the seed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mini_gpt.support.stored_results import stored_result

BLOCK = 1000  # bytes; the first byte of the text is not predicted


def demo_bits(
    seed: int,
) -> tuple[Float[np.ndarray, " blocks"], Float[np.ndarray, " blocks"]]:
    """The bits of each block by the model of a seed from 1 to 3, and its bytes."""
    runs = {run["seed"]: run for run in stored_result("evaluation")["runs"]}
    bits = np.array(runs[seed]["bits_in_blocks"], dtype=np.float64)
    sizes = np.full(len(bits), float(BLOCK))
    sizes[0] -= 1
    return bits, sizes
