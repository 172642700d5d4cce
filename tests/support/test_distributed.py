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

from mini_gpt.commands.cli import main
from mini_gpt.support import distributed
from mini_gpt.support.checkpoint import saved_steps
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.state_file import SHARES
from training_command import SHAPE, metrics, write_corpus

ROOT = Path(__file__).resolve().parents[2]
HOW = ["--warmup-steps", "2", "--learning-rate", "0.01", "--device", "cpu", "--eval-every", "4"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

together = pytest.mark.skipif(not dist.is_available(), reason="needs torch.distributed")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


# Alone


def test_alone_everything_does_nothing() -> None:
    assert not distributed.launched()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    model, value = torch.nn.Linear(2, 3), torch.tensor(5)
    assert distributed.data_parallel(model, torch.device("cpu")) is model
    assert distributed.all_reduce_sum(value) is value
    assert distributed.all_gather_objects("a") == ["a"]
    assert distributed.any_rank_stops(True, 7)
    assert not distributed.any_rank_stops(False, 10)
    with distributed.process_group(torch.device("cpu")):
        assert not dist.is_initialized()
    with distributed.no_sync(model, wanted=True):
        model(torch.ones(1, 2)).sum().backward()
    assert model.weight.grad is not None


def test_a_card_is_taken_by_its_number_among_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, second = torch.device("cpu"), torch.device("cuda", 1)
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert distributed.local_device(torch.device("cuda")) == torch.device("cuda")  # alone
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert distributed.local_device(torch.device("cuda")) == second
    assert distributed.local_device(cpu) == cpu
    assert distributed.local_device(torch.device("cuda", 3)) == torch.device("cuda", 3)  # chosen
    assert taken == [second]


# Two of them


def two_processes(*arguments: str) -> str:
    """`mini-gpt train` with two processes; returns what it printed."""
    words = [*TORCHRUN, "-m", "mini_gpt", "train", *arguments, "--sample-tokens", "0"]
    result = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@together
@pytest.mark.slow
def test_two_processes_are_one_with_the_whole_batch(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And each goes on from the other's checkpoint, to where the other would have come."""
    one, two = tmp_path / "one", tmp_path / "two"
    options = ["--corpus", str(corpus), *SHAPE, *HOW, "--batch-size", "12", "--schedule", "wsd"]
    options += ["--decay-steps", "1", "--min-lr", "0.01", "--accumulation-steps", "2"]
    # Muon works in bfloat16 inside, which blows up the rounding of another order of summing.
    options += ["--optimizer", "adamw", "--position", "learned", "--beta1", "0.9"]
    options += ["--weight-decay", "0.1", "--max-grad-norm", "1.0", "--steps", "8"]
    assert main(["train", *options, "--out", str(one), "--sample-tokens", "0"]) == 0
    alone = capsys.readouterr().out
    said = two_processes(*options, "--out", str(two))
    assert said.count("loss on the whole validation split") == 1  # one speaks
    assert "2 processes" in said
    assert "2 processes" not in alone
    # Now the other way round.
    two_processes("--resume", str(one), "--steps", "16")
    assert main(["train", "--resume", str(two), "--steps", "16", "--sample-tokens", "0"]) == 0
    for first, second in zip(metrics(one), metrics(two), strict=True):
        assert first.keys() == second.keys()
        for name in ("training_loss", "validation_loss"):
            assert first[name] == pytest.approx(second[name], abs=1e-5)
    assert [found.get("step") for found in metrics(one)] == [4, 8, 12, 16, None]
    models = [from_pretrained(out / "checkpoint")[0].state_dict() for out in (one, two)]
    for name, weight in models[0].items():
        torch.testing.assert_close(weight, models[1][name], rtol=1e-3, atol=1e-4)


@contextmanager
def running(corpus: Path, out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Two processes that train without end, the first checkpoint saved."""
    words = ["--corpus", str(corpus), *SHAPE, *HOW, "--batch-size", "4", "--steps", "1000000"]
    words += [*options, "--checkpoint-every", "10", "--out", str(out), "--sample-tokens", "0"]
    run = subprocess.Popen(
        [*TORCHRUN, "-m", "mini_gpt", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
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


@together
@pytest.mark.slow
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


@together
@pytest.mark.slow
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


@together
@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--shard"]])
def test_a_signal_to_torchrun_saves_in_all_processes(
    options: list[str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with running(corpus, out, "--keep-checkpoints", "1", *options) as run:
        os.kill(run.pid, signal.SIGTERM)
        _, said = run.communicate(timeout=60)
    assert said.count("mini-gpt: stopped by SIGTERM after step") == 1
    step = int(said.split("after step ")[1].split(" of ")[0].replace(",", ""))
    assert saved_steps(out)[-1] == step
    assert (out / "checkpoints" / f"step-{step}" / SHARES).exists() == bool(options)


SYNCHRONIZED = """
import json
import os
import numpy as np
import torch
import torch.distributed as dist
from mini_gpt import GPT, GPTConfig, TrainConfig
from mini_gpt.support.distributed import all_gather_objects, all_reduce_sum, process_group
from mini_gpt.trainer import Stepper
sent = []
with process_group(torch.device("cpu")):
    mine = torch.tensor(1 + dist.get_rank())
    summed = all_reduce_sum(mine).item(), mine.item(), all_gather_objects(mine.item())
    config = TrainConfig(batch_size=12, accumulation_steps=3, device="cpu")
    shape = GPTConfig(vocab_size=11, context_length=6, layers=1, heads=2, width=8)
    stepper = Stepper(GPT(shape), np.arange(999) % 11, config)
    def hook(state, bucket):
        sent.append(stepper.parts)
        work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
        return work.then(lambda done: done.value()[0] / dist.get_world_size())
    stepper.parts = 0
    stepper.model.register_forward_hook(
        lambda *_: setattr(stepper, "parts", stepper.parts + 1)
    )
    stepper.replica.register_comm_hook(None, hook)
    for _ in range(2):
        stepper.step()
    if os.environ["RANK"] == "0":
        print(json.dumps([summed, sent]))
"""


@together
@pytest.mark.slow
def test_gradients_are_sent_with_the_last_part_only(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SYNCHRONIZED)
    result = subprocess.run(
        [*TORCHRUN, str(script)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (total, own, gathered), sent = json.loads(result.stdout)
    assert (total, own, gathered) == (3, 1, [1, 2])  # and what was summed stays as it was
    assert set(sent) == {3, 6}  # parts seen when gradients went out, over two steps of three


COMPILED = """
import json
from functools import partial
import numpy as np
import torch
import mini_gpt.model
from mini_gpt import GPT, GPTConfig, TrainConfig
from mini_gpt.support.distributed import process_group, rank, world_size
from mini_gpt.trainer import Stepper
real, compiled = torch.compile, []
def compile(function, **how):
    compiled.append(getattr(function, "__name__", type(function).__name__))
    return real(function, backend="aot_eager")
torch.compile = compile
in_parts = partial(mini_gpt.model.linear_cross_entropy, at_once=100)
mini_gpt.model.linear_cross_entropy = in_parts
with process_group(torch.device("cpu")):
    config = TrainConfig(batch_size=12, accumulation_steps=2, device="cpu", compile=True)
    config = TrainConfig(**{**vars(config), "optimizer": "muon", "warmup_steps": 2})
    shape = GPTConfig(vocab_size=11, context_length=6, layers=2, heads=2, width=8)
    torch.manual_seed(0)
    tokens = np.random.default_rng(0).integers(11, size=999)
    stepper = Stepper(GPT(shape), tokens, config)
    losses = [stepper.step().item() for _ in range(2)]
    def poison(gradient):  # in the last process only: all must skip
        return gradient * float("nan") if rank() == world_size() - 1 else gradient
    handle = stepper.model.decoder.final_norm.weight.register_hook(poison)
    before = [p.detach().clone() for p in stepper.model.parameters()]
    stepper.step()
    handle.remove()
    kept = all(map(torch.equal, before, stepper.model.parameters()))
    losses += [stepper.step().item() for _ in range(3)]
    norms = [p.norm().item() for p in stepper.model.parameters()]
    said = [losses, norms, int(stepper.skipped), kept, "orthogonalize" in compiled]
    if rank() == 0:
        print(json.dumps(said))
"""


@together
@pytest.mark.slow
def test_compiled_loss_batched_muon_and_skipped_steps_agree(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(COMPILED)
    found = []
    for words in ([sys.executable, str(script)], [*TORCHRUN, str(script)]):
        result = subprocess.run(
            words, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr
        found.append(json.loads(result.stdout))
    (losses, norms, *rest), (other_losses, other_norms, *others) = found
    assert rest == others == [1, True, True]
    # Muon rounds to bfloat16, which blows up the rounding of another order of summing.
    assert losses == pytest.approx(other_losses, abs=2e-3)
    assert norms == pytest.approx(other_norms, rel=0.02)
    assert losses[:1] == pytest.approx(other_losses[:1], abs=1e-5)
