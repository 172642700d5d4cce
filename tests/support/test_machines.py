"""Two "machines" on one: torchrun with a rendezvous, a SLURM script, and a machine that is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch.distributed as dist

from mini_gpt.support.checkpoint import saved_steps
from mini_gpt.support.model_folder import from_pretrained
from support.test_distributed import ENVIRONMENT, HOW, ROOT, children
from training_command import SHAPE, complaint, metrics, quick_run, write_corpus

together = pytest.mark.skipif(
    not dist.is_available() or os.name != "posix", reason="needs torch.distributed and a shell"
)
SCRIPT = ROOT / "tools" / "train.slurm"
# What stands for a cluster: srun starts its command twice, each time in a session of its own,
# which a test can end as a whole; scontrol knows one name.
SRUN = """#!/bin/bash
[[ $1 == --* ]] && shift
for machine in 0 1; do setsid "$@" & echo $! > "$MACHINES/$machine"; done
wait -n; code=$?; wait || code=$?; exit $code
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """Environment variables as a job of SLURM has them, and the programs that it calls."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "scontrol").write_text("#!/bin/bash\necho 127.0.0.1\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    search = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {
        **ENVIRONMENT,
        "PATH": os.pathsep.join(search),
        "MACHINES": str(programs),
        "SLURM_JOB_NAME": "job",
        "SLURM_JOB_ID": str(port),
        "SLURM_JOB_NODELIST": "any",
        "SLURM_NNODES": "2",
        "RDZV_PORT": str(port),
        "PROCESSES_PER_NODE": "1",
        "RUN": str(tmp_path / "run"),
    }


def submitted(cluster: dict[str, str], corpus: Path, steps: int) -> subprocess.Popen[str]:
    """The job, always by the same words but for the number of its steps."""
    words = ["--corpus", str(corpus), *SHAPE, *HOW, "--batch-size", "4", "--steps", str(steps)]
    words += ["--checkpoint-every", "4", "--timeout", "20", "--sample-tokens", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    job = ["bash", str(SCRIPT), *words]
    return subprocess.Popen(job, text=True, cwd=ROOT, env=cluster, start_new_session=True, **pipes)


def machine(cluster: dict[str, str], number: int) -> int:
    return int(Path(cluster["MACHINES"], str(number)).read_text())


@together
@pytest.mark.slow
def test_a_lost_machine_ends_the_run_and_the_same_words_go_on(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    corpus, run = write_corpus(tmp_path), Path(cluster["RUN"])
    job = submitted(cluster, corpus, 1_000_000)
    try:
        deadline = time.monotonic() + 60
        while not saved_steps(run):
            assert time.monotonic() < deadline
            assert job.poll() is None, job.communicate()
            time.sleep(0.05)
        lost = machine(cluster, 1)
        workers = children(lost)
        for pid in (lost, *workers):  # as when the power is gone: nobody says good-bye
            os.kill(pid, signal.SIGKILL)
        said, _ = job.communicate(timeout=30)
    finally:
        for number in (0, 1):
            for pid in (machine(cluster, number), *children_of(machine(cluster, number))):
                end(pid)
        end(job.pid)
    assert job.returncode != 0
    assert said.count("of 2 lost the others: one of them ended or hangs") == 1
    kept = saved_steps(run)
    assert len(kept) <= 3  # the newest two and the best; of older ones nothing is left
    folders = {path.name for path in (run / "checkpoints").iterdir() if path.name[0] != "."}
    assert folders == {f"step-{step}" for step in kept}
    steps = kept[-1] + 5
    again = submitted(cluster, corpus, steps)
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert "2 processes that share it" in said
    assert f"steps {steps} (it was 1000000)" in said
    assert metrics(run)[-2]["step"] == steps
    assert from_pretrained(run / "checkpoint")[0].config.width == 12


def children_of(pid: int) -> list[int]:
    try:
        return children(pid)
    except OSError:
        return []


def end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# Going on by the same words


@pytest.mark.slow
def test_the_same_words_start_a_run_and_go_on_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = write_corpus(tmp_path), tmp_path / "run"
    quick_run(corpus, out, "--go-on", "--sample-tokens", "0")
    before = metrics(out)
    assert [found.get("step") for found in before] == [3, 6, None]
    quick_run(corpus, out, "--go-on", "--sample-tokens", "0", "--steps", "9")
    assert [found.get("step") for found in metrics(out)] == [3, 6, 9, None]
    assert metrics(out)[:2] == before[:2]
    assert "go_on" not in (out / "settings.toml").read_text()


@pytest.mark.slow
def test_a_run_that_was_lost_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path), tmp_path / "run"
    quick_run(corpus, out, "--go-on", "--sample-tokens", "0")
    kept = metrics(out)
    for folder in ("checkpoint", "checkpoints"):
        subprocess.run(["rm", "-r", str(out / folder)], check=True)
    quick_run(corpus, out, "--go-on", "--sample-tokens", "0")
    again = metrics(out)
    assert [found.get("step") for found in again][-3:] == [3, 6, None]
    assert again[-1]["validation_loss"] == kept[-1]["validation_loss"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--go-on"], "--go-on needs --out: the folder that a run may be in"),
        (["--go-on", "--out", "x", "--overwrite"], "give only one of --go-on and --overwrite"),
    ],
)
def test_going_on_nowhere_is_refused(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in complaint(["train", *options], capsys)


def test_a_job_script_gives_on_what_it_is_given(cluster: dict[str, str], tmp_path: Path) -> None:
    """One torchrun for each machine, all by the same words."""
    Path(cluster["MACHINES"], "srun").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    job = ["bash", str(SCRIPT), "--width", "12"]
    said = subprocess.run(job, capture_output=True, text=True, env=cluster, check=True).stdout
    words = said.split()
    port = cluster["RDZV_PORT"]
    assert words[:2] == ["--kill-on-bad-exit=1", "torchrun"]
    assert words[words.index("--nnodes") + 1] == "2"
    assert words[words.index("--rdzv-endpoint") + 1] == f"127.0.0.1:{port}"
    assert words[words.index("-m") + 1 :] == [
        *("mini_gpt", "train", "--out", cluster["RUN"], "--go-on", "--shard", "--width", "12")
    ]
