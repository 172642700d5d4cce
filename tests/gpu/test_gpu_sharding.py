"""A sharded model on a card: a group of one process, which shares with nobody but goes the way.

`tests/support/test_sharding.py` has several processes, on the processor.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu

SCRIPT = """
import json
import sys
from dataclasses import replace
import numpy as np
import torch
import mini_gpt.trainer
from mini_gpt import GPT, GPTConfig, TrainConfig
from mini_gpt.support.distributed import process_group
from mini_gpt.support.sharding import is_sharded, shard, whole_model
from mini_gpt.trainer import Stepper
device = torch.device(sys.argv[1])
shape = GPTConfig(vocab_size=65, context_length=32, layers=3, heads=4, width=128)
base = TrainConfig(
    batch_size=16, accumulation_steps=2, device=sys.argv[1], precision="bfloat16",
    warmup_steps=2, learning_rate=0.01, steps=9, compile=False,
)
tokens = np.cumsum(np.random.default_rng(0).integers(3, size=9999)) % 65
plain = mini_gpt.trainer.parallel_model

def sharded(model, device, precision, config):
    if not config.shard:
        return plain(model, device, precision, config)
    shard(model, device, precision)
    return model

mini_gpt.trainer.parallel_model = sharded
found = {}
with process_group(device):
    for optimizer in ("adamw", "muon"):
        for shared in (False, True):
            torch.manual_seed(0)
            model = GPT(shape)
            config = replace(base, optimizer=optimizer, shard=shared)
            stepper = Stepper(model, tokens, config)
            losses = [stepper.step().item() for _ in range(4)]
            predict = stepper.predict  # one step without a number changes nothing
            stepper.predict = lambda *given, **named: float("nan") * predict(*given, **named)
            before = [weight.cpu() for weight in whole_model(model).state_dict().values()]
            before = [weight.clone() for weight in before]
            stepper.step()
            after = [weight.cpu() for weight in whole_model(model).state_dict().values()]
            kept = all(map(torch.equal, before, after)) and int(stepper.skipped) == 1
            found[f"{optimizer} {shared}"] = [losses, kept, is_sharded(model)]
print(json.dumps(found))
"""


def test_a_sharded_model_has_the_losses_of_a_whole_one(tmp_path: Path) -> None:
    compare(tmp_path, "cuda")


def compare(tmp_path: Path, device: str) -> None:
    """A sharded and a whole model on some device, side by side."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = [*torchrun, "--nproc-per-node=1", str(script), device]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    for optimizer in ("adamw", "muon"):
        (whole, *rest), (shared, *others) = (found[f"{optimizer} {s}"] for s in (False, True))
        assert (rest, others) == ([True, False], [True, True])
        assert whole == pytest.approx(shared, abs=2e-2)
