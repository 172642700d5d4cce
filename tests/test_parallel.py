"""Several processes: the same losses as one, checkpoints for each other, no silent death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mini_gpt.checkpoints import saved_steps
from mini_gpt.gpt2 import from_pretrained

ROOT = Path(__file__).resolve().parents[1]
TEXT = "What light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n" * 20
SHAPE = ["--context-length", "7", "--layers", "2", "--heads", "3", "--width", "12"]
HOW = ["--warmup-steps", "2", "--learning-rate", "0.01", "--device", "cpu", "--evaluate-every", "4"]

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="needs torch.distributed")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def command(processes: int, arguments: list[str]) -> list[str]:
    python = [sys.executable, "-m"]
    if processes > 1:
        python += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return [*python, "mini_gpt", "train", *arguments, "--sample-tokens", "0"]


def train(processes: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(processes, arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
        check=False,
    )


def looks(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_are_one_with_the_whole_batch(corpus: Path, tmp_path: Path) -> None:
    """And each goes on from the other's checkpoint, to where the other would have come."""
    one, two = tmp_path / "one", tmp_path / "two"
    options = ["--corpus", str(corpus), *SHAPE, *HOW, "--batch", "12", "--schedule", "hold"]
    options += ["--decay-steps", "1", "--final-learning-rate", "0.01", "--accumulate", "2"]
    # Muon works in bfloat16 inside, which blows up the rounding of another order of summing.
    options += ["--optimiser", "adamw", "--position", "learned", "--beta1", "0.9"]
    options += ["--weight-decay", "0.1", "--clip", "1.0"]
    for processes, out in ((1, one), (2, two)):
        result = train(processes, [*options, "--steps", "8", "--out", str(out)])
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("loss on the whole validation split") == 1  # one speaks
        assert ("2 processes" in result.stdout) == (processes == 2)
    for processes, out in ((2, one), (1, two)):  # now the other way round
        result = train(processes, ["--resume", str(out), "--steps", "16"])
        assert result.returncode == 0, result.stderr
    for first, second in zip(looks(one), looks(two), strict=True):
        assert first.keys() == second.keys()
        for name in ("training_loss", "validation_loss"):
            assert first[name] == pytest.approx(second[name], abs=1e-5)
    assert [look.get("step") for look in looks(one)] == [4, 8, 12, 16, None]
    models = [from_pretrained(out / "checkpoint")[0].state_dict() for out in (one, two)]
    for name, weight in models[0].items():
        torch.testing.assert_close(weight, models[1][name], rtol=1e-3, atol=1e-4)


@contextmanager
def running(corpus: Path, out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Two processes that train without end, the first checkpoint saved."""
    arguments = ["--corpus", str(corpus), *SHAPE, *HOW, "--batch", "4", "--steps", "1000000"]
    run = subprocess.Popen(
        command(2, [*arguments, *options, "--checkpoint-every", "10", "--out", str(out)]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 60
        while not saved_steps(out):
            assert time.monotonic() < deadline
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        yield run
    finally:
        run.kill()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_run_with_a_message(
    victim: int, corpus: Path, tmp_path: Path
) -> None:
    """Within seconds: it is the connection that breaks, and no time-out that runs out."""
    out = tmp_path / "run"
    with running(corpus, out) as run:
        workers = children(run.pid)
        assert len(workers) == 2
        os.kill(next(pid for pid in workers if rank_of(pid) == victim), signal.SIGKILL)
        _, said = run.communicate(timeout=25)
    assert run.returncode != 0
    survivor = f"process {1 - victim} of 2"
    assert f"mini-gpt: {survivor} lost the others: one of them ended or hangs" in said
    assert saved_steps(out)  # what was saved is still there
    assert all(not Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_process_that_hangs_ends_the_run_after_the_time_out(corpus: Path, tmp_path: Path) -> None:
    with running(corpus, tmp_path / "run", "--timeout", "3") as run:
        workers = children(run.pid)
        waiting, stuck = sorted(workers, key=lambda pid: rank_of(pid) or 0)
        os.kill(stuck, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + 25
            while waiting in children(run.pid):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.kill(stuck, signal.SIGCONT)  # it dies now; torchrun would kill it after 30 seconds
        _, said = run.communicate(timeout=25)
    assert run.returncode != 0
    assert "mini-gpt: process 0 of 2 lost the others: one of them ended or hangs" in said
    assert all(not Path(f"/proc/{pid}").exists() for pid in workers)


def children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found]


def rank_of(pid: int) -> int | None:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    ranks = [int(v.removeprefix(b"RANK=")) for v in variables if v.startswith(b"RANK=")]
    return ranks[0] if ranks else None


def test_a_signal_to_torchrun_saves_in_all_processes(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with running(corpus, out, "--keep", "1") as run:
        os.kill(run.pid, signal.SIGTERM)
        _, said = run.communicate(timeout=60)
    assert said.count("mini-gpt: stopped by SIGTERM after step") == 1
    step = int(said.split("after step ")[1].split(" of ")[0].replace(",", ""))
    assert saved_steps(out)[-1] == step


SYNCHRONISED = """
import os
import numpy as np
import torch
import torch.distributed as dist
from mini_gpt import GPT, GPTConfig, TrainConfig
from mini_gpt.parallel import process_group
from mini_gpt.training import Stepper
sent = []
with process_group(torch.device("cpu")):
    config = TrainConfig(batch=12, accumulate=3, device="cpu")
    shape = GPTConfig(vocab_size=11, context_length=6, layers=1, heads=2, width=8)
    stepper = Stepper(GPT(shape), np.arange(999) % 11, config)
    def hook(state, bucket):
        sent.append(stepper.pieces)
        work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
        return work.then(lambda done: done.value()[0] / dist.get_world_size())
    stepper.pieces = 0
    stepper.model.register_forward_hook(
        lambda *_: setattr(stepper, "pieces", stepper.pieces + 1)
    )
    stepper.replica.register_comm_hook(None, hook)
    for _ in range(2):
        stepper.step()
    if os.environ["RANK"] == "0":
        print(sent)
"""


def test_gradients_are_sent_with_the_last_piece_only(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SYNCHRONISED)
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    result = subprocess.run(
        [sys.executable, "-m", *launch],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    sent = json.loads(result.stdout)
    assert set(sent) == {3, 6}  # pieces seen when gradients went out, over two steps of three
