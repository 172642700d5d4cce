"""A model that several processes hold together: the losses of one, the memory of the planner."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from mini_gpt.commands.cli import main
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import training_bytes_by_part
from mini_gpt.support import distributed, sharding
from mini_gpt.support.checkpoint import best_step, saved_steps
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.state_file import SHARES
from support.test_distributed import ENVIRONMENT, HOW, ROOT, TORCHRUN
from training_command import SHAPE, complaint, metrics, write_corpus

together = pytest.mark.skipif(not dist.is_available(), reason="needs torch.distributed")
# Rows that two processes cannot share evenly: 11 tokens, 7 positions, 9 numbers wide.
ODD = {"vocab_size": 11, "context_length": 7, "layers": 2, "heads": 3, "width": 9}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


# Alone


def test_alone_nothing_is_sharded(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 3)
    assert not sharding.is_sharded(model)
    assert sharding.mesh_of(model) is None
    assert sharding.all_of(model.weight) is model.weight
    state = {"a": [torch.ones(2)], 3: 0.5}
    assert sharding.shares_of(state, None) is state
    doubled = sharding.of_whole_matrices(lambda function: lambda value: 2 * function(value))
    assert torch.equal(doubled(torch.neg)(torch.ones(1, 2, 2)), torch.full((1, 2, 2), -2.0))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_of_batches_all_processes_get_equally_many(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sharded model computes only where all do, and every target counts once."""
    batches = [(torch.full((2, 3), n), torch.full((2, 3), n)) for n in range(count)]
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    shares = []
    for number in range(3):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        shares.append(list(distributed.shared_out(iter(batches), -7)))
    assert {len(share) for share in shares} == {-(-count // 3)}
    counted = [int(y[0, 0]) for share in shares for _, y in share if int(y[0, 0]) != -7]
    assert sorted(counted) == list(range(count))


def test_a_folder_that_not_all_machines_see_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "world_size", lambda: 4)
    monkeypatch.setattr(sharding, "_SEEN_AFTER", 0.0)
    (tmp_path / "one.safetensors").touch()
    with pytest.raises(OSError, match=r"only 1 of 3 shares .* all machines must see the same"):
        sharding._wait_for_shares(tmp_path, [torch.zeros(5, 2), torch.zeros(2)])
    for name in ("two", "three"):  # of five rows in chunks of two, the fourth process has none
        (tmp_path / f"{name}.safetensors").touch()
    sharding._wait_for_shares(tmp_path, [torch.zeros(5, 2), torch.zeros(2)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_share_that_cannot_be_written_is_an_error_like_others(tmp_path: Path) -> None:
    """PyTorch's own is no Exception: it would pass through all that saves a run."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        sharding.write_shares(tmp_path / "file" / "folder", {"a": torch.ones(2, 3)})


# Two of them

STEPS = """
import copy
import json
import sys
from dataclasses import replace
import numpy as np
import torch
from mini_gpt import GPT, GPTConfig, TrainConfig
from mini_gpt.support.distributed import process_group, rank, world_size
from mini_gpt.support.sharding import is_sharded, whole_model
from mini_gpt.trainer import Trainer
real = torch.compile
torch.compile = lambda function, **how: real(function, backend="aot_eager")
tokens = np.cumsum(np.random.default_rng(0).integers(3, size=999)) % 11
shape = GPTConfig(**json.loads(sys.argv[1]))
BASE = TrainConfig(
    batch_size=12, accumulation_steps=2, device="cpu", warmup_steps=2, learning_rate=0.01,
    steps=4, max_grad_norm=0.5, shard=True, eval_tokens=99,
)
WAYS = {
    "adamw": {},
    "muon": {"optimizer": "muon"},
    "recomputed": {"checkpoint_activations": True},
    "both": {"checkpoint_activations": True, "compile": True},
    "bfloat16": {"precision": "bfloat16"},
}

def local(tensor):
    return tensor.to_local() if is_sharded(tensor) else tensor

def held(trainer):
    weights = list(trainer.model.parameters())
    averages = [v for o in trainer.optimizers for s in o.state.values() for v in s.values()]
    parts = {
        "parameters": weights,
        "gradients": [p.grad for p in weights],
        "averages": [v for v in averages if v.ndim],
    }
    return {n: sum(local(t).nbytes for t in parts[n]) for n in parts}

found = {}
with process_group(torch.device("cpu"), 60):
    for name, changes in WAYS.items():
        torch.manual_seed(rank())  # those of the first process count
        model = GPT(shape)
        trainer = Trainer(model, tokens[:600], tokens[600:], replace(BASE, **changes))
        losses = [trainer.step().item() for _ in range(3)]
        found[name] = {"losses": losses, "sharded": is_sharded(model), "held": held(trainer)}
        noted = copy.deepcopy(model.state_dict())
        found[name]["validation"] = trainer.evaluate(tokens[600:])
        found[name]["later"] = [trainer.step().item(), trainer.evaluate(tokens[600:])]
        model.load_state_dict(noted)
        found[name]["put back"] = trainer.evaluate(tokens[600:])
        if name == "adamw":  # one process has no number: all must leave the step out
            before = [local(p).clone() for p in model.parameters()]
            predict, bad = trainer.predict, rank() == world_size() - 1
            factor = float("nan") if bad else 1.0
            trainer.predict = lambda *given, **named: factor * predict(*given, **named)
            trainer.step()
            trainer.predict = predict
            same = all(torch.equal(b, local(p)) for b, p in zip(before, model.parameters()))
            found[name]["skipped"] = [int(trainer.skipped), same]
        alone = whole_model(model)
        if rank() == 0:
            found[name]["norms"] = [p.norm().item() for p in alone.parameters()]
    if rank() == 0:
        print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What one process finds, and what the first of two that shard finds."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(STEPS)
    found = []
    for words in ([sys.executable], TORCHRUN):
        result = subprocess.run(
            [*words, str(script), json.dumps(ODD)],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        found.append(json.loads(result.stdout))
    return found


@together
@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "tolerance"),
    [
        ("adamw", 1e-5),
        ("recomputed", 1e-5),
        ("both", 1e-5),
        # Both round to bfloat16, which blows up the rounding of another order of summing.
        ("muon", 2e-3),
        ("bfloat16", 2e-2),
    ],
)
def test_two_that_share_a_model_have_the_losses_of_one(
    way: str, tolerance: float, both: list[dict[str, Any]]
) -> None:
    one, two = (found[way] for found in both)
    assert (one["sharded"], two["sharded"]) == (False, True)
    assert one["losses"] == pytest.approx(two["losses"], abs=tolerance)
    for measured in ("validation", "later", "put back"):
        assert one[measured] == pytest.approx(two[measured], abs=tolerance)
    for found in (one, two):
        assert found["later"][1] != found["validation"] == found["put back"]
    assert one["norms"] == pytest.approx(two["norms"], rel=max(100 * tolerance, 1e-3))
    assert len(set(one["losses"])) == 3


@together
@pytest.mark.slow
@pytest.mark.parametrize("way", ["adamw", "muon"])
def test_what_a_process_holds_is_what_the_planner_says(
    way: str, both: list[dict[str, Any]]
) -> None:
    for processes, found in enumerate(both, start=1):
        assert found[way]["held"] == training_bytes_by_part(GPTConfig(**ODD), processes, way)
    whole, share = (sum(found[way]["held"].values()) for found in both)
    assert 0.5 < share / whole < 0.57  # eleven rows are six and five


@together
@pytest.mark.slow
def test_a_step_without_a_number_in_one_process_is_left_out_in_all(
    both: list[dict[str, Any]],
) -> None:
    assert [found["adamw"]["skipped"] for found in both] == [[1, True], [1, True]]


@together
@pytest.mark.slow
def test_recomputed_activations_change_nothing(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert found["adamw"]["losses"] == found["recomputed"]["losses"]


# The command


def processes(count: int, *arguments: str) -> str:
    """`mini-gpt train` with so many processes; returns what it printed."""
    words = [*TORCHRUN[:-1], f"--nproc-per-node={count}", "-m", "mini_gpt", "train", *arguments]
    result = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "UserWarning" not in result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def halves(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Eight steps of one process and of two that share the model, to go on from."""
    folder = tmp_path_factory.mktemp("runs")
    options = ["--corpus", str(corpus), *SHAPE, *HOW, "--batch-size", "12", "--schedule", "wsd"]
    options += ["--decay-steps", "1", "--min-lr", "0.01", "--optimizer", "adamw"]
    options += ["--steps", "8", "--sample-tokens", "9", "--sample-every", "4", "--shard"]
    assert main(["train", *options, "--out", str(folder / "one")]) == 0
    said = processes(2, *options, "--out", str(folder / "two"))
    assert "2 processes that share it" in said
    assert "9 characters written by the model" in said
    return {1: folder / "one", 2: folder / "two"}


@pytest.fixture(scope="module")
def whole_run(halves: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sixteen steps by one process."""
    return gone_on(halves[1], tmp_path_factory.mktemp("whole") / "run", 1)


def gone_on(half: Path, out: Path, count: int) -> Path:
    """A copy of a run that so many processes have brought to its sixteenth step."""
    shutil.copytree(half, out)
    options = ["--resume", str(out), "--steps", "16", "--sample-tokens", "0"]
    if count > 1:
        processes(count, *options)
    else:
        assert main(["train", *options]) == 0
    return out


@together
@pytest.mark.slow
def test_a_sharded_run_leaves_an_ordinary_folder(halves: dict[int, Path]) -> None:
    one, two = halves.values()
    for name in ("metrics.jsonl", "samples.txt", "settings.toml", "loss.png", "run.json"):
        assert (one / name).is_file() == (two / name).is_file() is True
    assert (two / "samples.txt").read_text().count("--- step") == 2
    assert len(list((two / "checkpoints" / "step-8" / SHARES).iterdir())) == 2
    assert not (one / "checkpoints" / "step-8" / SHARES).exists()
    hidden = [path.name for path in (two / "checkpoints").iterdir() if path.name[0] == "."]
    assert hidden == []


@together
@pytest.mark.slow
def test_a_share_that_is_damaged_or_gone_is_named(
    halves: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(halves[2], run)
    share = min((run / "checkpoints" / "step-8" / SHARES).iterdir())
    content = share.read_bytes()
    share.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    told = complaint(["train", "--resume", str(run)], capsys)
    assert f"{SHARES}/{share.name} changed after it was saved" in told
    share.unlink()
    assert share.name in complaint(["train", "--resume", str(run)], capsys)


@together
@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 4)])
def test_a_sharded_run_goes_on_with_another_number_of_processes(
    before: int, after: int, halves: dict[int, Path], whole_run: Path, tmp_path: Path
) -> None:
    """All come to where one process would have come."""
    run = gone_on(halves[before], tmp_path / "run", after)
    expected, found = metrics(whole_run), metrics(run)
    assert [entry.get("step") for entry in found] == [4, 8, 12, 16, None]
    for first, second in zip(expected, found, strict=True):
        assert first.keys() == second.keys()
        for name in ("training_loss", "validation_loss"):
            assert first[name] == pytest.approx(second[name], abs=1e-5)
    # One ordinary file, whichever number of processes wrote it.
    models = [from_pretrained(each / "checkpoint")[0].state_dict() for each in (whole_run, run)]
    for name, weight in models[0].items():
        torch.testing.assert_close(models[1][name], weight, rtol=1e-3, atol=1e-4)
    assert saved_steps(run)[-1] == 16 >= (best_step(found[:-1]) or 0)
