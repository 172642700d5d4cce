"""Checkpoints: a run that stops and goes on is the run that never stopped, to the last bit."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mini_gpt import checkpoints
from mini_gpt.checkpoints import newest_state, saved_steps
from mini_gpt.gpt2 import from_pretrained
from mini_gpt.model import GPT, GPTConfig
from mini_gpt.runtime import TrainingStopped
from mini_gpt.tokenizer import CharTokenizer
from mini_gpt.training import TrainConfig, Trainer, load_training_state, train, training_state

ROOT = Path(__file__).resolve().parents[1]
TEXT = "the quick brown fox jumps over the lazy dog; é is two bytes.\n" * 12
TOKENIZER = CharTokenizer.train(TEXT)
TOKENS = np.array(TOKENIZER.encode(TEXT), dtype=np.uint8)
TRAINING, VALIDATION = TOKENS[:-150], TOKENS[-150:]
# 581 tokens are 96 windows of 6: with batches of 10 an epoch ends within the tenth batch.
BASE = TrainConfig(
    steps=14, batch=10, warmup_steps=3, evaluate_every=4, learning_rate=0.01, device="cpu"
)


def fresh(seed: int = 0) -> GPT:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    shape = {"context_length": 6, "layers": 2, "heads": 2, "width": 8, "dropout": 0.3}
    return GPT(GPTConfig(vocab_size=TOKENIZER.vocab_size, **shape))  # type: ignore[arg-type]


def tensors(value: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a nested state, with its place."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from tensors(item, f"{place}/{key}")


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Two states are equal by torch.equal on every tensor, and in all else but the clock's."""
    one, other = dict(tensors(first)), dict(tensors(second))
    assert one.keys() == other.keys()
    assert len(one) > 50
    for place, tensor in one.items():
        assert torch.equal(tensor, other[place]), place

    def timeless(state: dict[str, Any]) -> Any:
        state = {name: value for name, value in state.items() if name not in ("seconds", "model")}
        state["meter"] = state["meter"]["steps"]
        state["history"] = [{**look, "tokens_per_second": 0} for look in state["history"]]
        # beartype, which checks types in these tests, draws from Python's generator itself.
        state["random"] = [{**states, "python": None} for states in state["random"]]
        return checkpoints.taken_apart(state, {})

    one, other = timeless(first), timeless(second)
    for (name, value), (same, expected) in zip(one["pairs"], other["pairs"], strict=True):
        assert (name, value) == (same, expected)


def run(config: TrainConfig, out: Path, **options: Any) -> dict[str, Any]:
    """Train in a folder, and return the newest state in it."""
    train(fresh(), TRAINING, VALIDATION, TOKENIZER, config, out=out, **options)
    state = newest_state(out)
    assert state is not None
    return state


VARIANTS = {
    "plain": {},
    "accumulated": {"accumulate": 3},
    "across an epoch": {"order": "epochs"},
    "muon": {"optimiser": "muon", "muon_learning_rate": 0.03, "schedule": "hold"},
    "float16 with a scaler": {"precision": "float16", "accumulate": 2},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
@pytest.mark.parametrize("pause", [4, 7])  # at a look, and between two
def test_a_paused_run_ends_as_if_it_had_not_paused(
    changes: dict[str, Any], pause: int, tmp_path: Path
) -> None:
    config = replace(BASE, **changes)
    whole = run(config, tmp_path / "whole")

    def stop_at(trainer: Trainer) -> None:
        trainer.run(progress=False, stop=lambda: trainer.steps_done == pause)

    first = Trainer(fresh(), TRAINING, VALIDATION, config)
    stop_at(first)
    folder = tmp_path / "state"
    folder.mkdir()
    checkpoints.write_state(folder, training_state(first))
    # All generators move on before the run does.
    random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002
    second = Trainer(fresh(seed=9), TRAINING, VALIDATION, config)
    load_training_state(second, checkpoints.read_state(folder))
    assert second.steps_done == pause
    second.run(progress=False)
    assert_same(training_state(second), whole)


def test_a_run_is_not_the_same_if_a_part_of_the_state_is_lost(tmp_path: Path) -> None:
    """The comparison can fail: without any one of these the run goes on differently."""
    whole = run(replace(BASE, evaluate_every=14), tmp_path)
    first = Trainer(fresh(), TRAINING, VALIDATION, BASE)
    first.run(progress=False, stop=lambda: first.steps_done == 7)
    state = training_state(first)
    for lost in ("model", "optimisers", "batches", "random", "steps_done"):
        second = Trainer(fresh(), TRAINING, VALIDATION, replace(BASE, evaluate_every=14))
        blank = training_state(Trainer(fresh(), TRAINING, VALIDATION, BASE))
        copied = {**state, lost: blank[lost], "history": []}
        load_training_state(second, copied)
        second.run(progress=False)
        ends = training_state(second)["model"], whole["model"]
        assert not all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0]), lost


def test_every_generator_is_put_back(tmp_path: Path) -> None:
    def drawn() -> list[float]:
        return [random.random(), np.random.random(), torch.rand(1).item()]  # noqa: NPY002

    states = checkpoints.random_states()
    expected = drawn()
    checkpoints.write_state(tmp_path, states)
    assert drawn() != expected
    checkpoints.set_random_states(checkpoints.read_state(tmp_path))
    assert drawn() == expected


def test_resuming_in_a_folder_appends_to_its_metrics(tmp_path: Path) -> None:
    whole = run(BASE, tmp_path / "whole")
    out = tmp_path / "paused"
    looks = []

    def interrupt(entry: dict[str, Any]) -> None:
        looks.append(entry["step"])
        if entry["step"] == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped, match=r"SIGTERM after step 9 of 14.*--resume .*paused$"):
        run(BASE, out, on_evaluation=interrupt)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # as it was
    assert saved_steps(out)[-1] == 9
    with (out / "metrics.jsonl").open("a") as file:  # a look after the last checkpoint
        file.write('{"step": 12, "training_loss": 99}\n')
    resumed = run(BASE, out, resume=True)
    assert_same(resumed, whole)
    for folder in (out, tmp_path / "whole"):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line).get("step") for line in lines] == [4, 8, 12, 14, None]
        assert "99" not in lines[2].split(",")[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(number: signal.Signals, tmp_path: Path) -> None:
    config = replace(BASE, steps=100_000, evaluate_every=100_000)
    timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), number))
    timer.start()
    with pytest.raises(TrainingStopped, match=f"{number.name} after step .*, and saved"):
        run(config, tmp_path)
    state = newest_state(tmp_path)
    assert state is not None
    assert 0 < state["steps_done"] < 100_000
    model, _ = from_pretrained(tmp_path / "checkpoint")
    assert all(
        torch.equal(model.state_dict()[name], state["model"][name]) for name in state["model"]
    )


def test_the_last_and_the_best_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.6, 2.7, 2.8, 2.0])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, tokens: next(losses))
    train(
        fresh(),
        TRAINING,
        VALIDATION,
        TOKENIZER,
        replace(BASE, evaluate_every=2, keep=2),
        out=tmp_path,
    )
    assert saved_steps(tmp_path) == [4, 12, 14]
    for step in (4, 12, 14):
        assert from_pretrained(tmp_path / "checkpoints" / f"step-{step}" / "model")


def test_checkpoints_come_as_often_as_asked(tmp_path: Path) -> None:
    run(replace(BASE, checkpoint_every=3, keep=99), tmp_path)
    assert saved_steps(tmp_path) == [3, 6, 9, 12, 14]


def test_resuming_where_nothing_was_saved_starts_anew(tmp_path: Path) -> None:
    assert_same(run(BASE, tmp_path / "new", resume=True), run(BASE, tmp_path / "whole"))


def test_resuming_a_finished_run_only_measures_it_again(tmp_path: Path) -> None:
    before = run(BASE, tmp_path)
    assert_same(run(BASE, tmp_path, resume=True), before)


def test_a_new_run_does_not_take_up_an_older_one(tmp_path: Path) -> None:
    run(replace(BASE, steps=20), tmp_path)
    run(BASE, tmp_path)
    assert saved_steps(tmp_path) == [12, 14]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    run(BASE, tmp_path)

    def complaint(model: GPT, config: TrainConfig) -> str:
        with pytest.raises(ValueError) as caught:
            train(model, TRAINING, VALIDATION, TOKENIZER, config, out=tmp_path, resume=True)
        return str(caught.value)

    other = GPT(GPTConfig(vocab_size=50, context_length=6, layers=1, heads=2, width=8))
    assert "'vocab_size': 50" in complaint(other, BASE)
    assert "batch 10, here it is 5" in complaint(fresh(), replace(BASE, batch=5))
    assert "another optimiser" in complaint(fresh(), replace(BASE, optimiser="muon"))


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "model/model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_named(name: str, damage: str, tmp_path: Path) -> None:
    run(BASE, tmp_path)
    path = tmp_path / "checkpoints" / "step-14" / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-60])
    else:
        path.unlink()
    with pytest.raises(ValueError, match="step-14"):
        newest_state(tmp_path)


def test_nothing_on_disk_is_pickled(tmp_path: Path) -> None:
    run(BASE, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors"}
    source = (ROOT / "mini_gpt" / "checkpoints.py").read_text(encoding="utf-8")
    assert "torch.load" not in source
    assert "import pickle" not in source


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        checkpoints.taken_apart({"a": [1, {2}]}, {})


# A full disk

FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
import test_resume as t
from dataclasses import replace
steps = []
def limit(entry):
    if entry["step"] == 8:  # from here on, no file may be longer than 3,000 bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    t.run(t.BASE, t.Path({out!r}), on_evaluation=limit)
except OSError as fault:
    print(fault)
"""


def test_a_disk_that_takes_no_more_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = FULL.format(tests=str(Path(__file__).parent), out=str(out))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "the checkpoint of step 12 could not be written" in result.stdout
    assert "the checkpoint of step 8 is whole. the disk is full: free some space" in result.stdout
    assert "--resume" in result.stdout
    assert saved_steps(out) == [4, 8]
    assert not list(out.rglob(".*"))  # no fragment is left
    assert from_pretrained(out / "checkpoint")
    assert_same(run(BASE, out, resume=True), run(BASE, tmp_path / "whole"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_the_fault_says_what_to_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    run(BASE, tmp_path)
    monkeypatch.setattr(checkpoints, "save_file", fail)
    remedy = "free some space" if number == errno.ENOSPC else "can be written"
    with pytest.raises(
        OSError, match=f"step 16 .*{os.strerror(number)}.*step 14 is whole.*{remedy}"
    ):
        run(replace(BASE, steps=16), tmp_path, resume=True)
    assert saved_steps(tmp_path) == [12, 14]


# Being killed


KILLED = """
import os, random, signal, sys, time
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import test_resume as t
from dataclasses import replace
t.run(t.BASE, t.Path({out!r} + "-warm-up"))  # so that children start fast
config = replace(t.BASE, steps=120, evaluate_every=10, checkpoint_every=1, accumulate=2,
                 order="epochs")
out, chance = t.Path({out!r}), random.Random(0)
kills = seen = 0
starts = []
while True:
    steps = t.saved_steps(out)
    starts.append(steps[-1] if steps else 0)
    child = os.fork()
    if not child:
        try:
            t.train(t.fresh(), t.TRAINING, t.VALIDATION, t.TOKENIZER, config, out=out, resume=True)
            os._exit(0)
        except BaseException as fault:
            print("fault", repr(fault), flush=True)
            os._exit(1)
    if kills < 20:
        time.sleep(chance.uniform(0.1, 0.6))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
    elif status == 0 and kills >= 20:
        break
    elif status == 0:  # finished before it could be killed: begin again
        t.shutil.rmtree(out)
    else:
        sys.exit("a resumed run failed")
print(kills, starts)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to be quick")
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    """SIGKILL at random moments, also while a checkpoint is being written."""
    out = tmp_path / "killed"
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    kills, starts = result.stdout.split(" ", 1)
    assert int(kills) == 20
    assert len(set(json.loads(starts))) > 5, starts  # it went on from many places
    config = replace(
        BASE, steps=120, evaluate_every=10, checkpoint_every=1, accumulate=2, order="epochs"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the killed processes: more would sum in another order
    try:
        whole = run(replace(config, checkpoint_every=120), tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    killed = newest_state(out)
    assert killed is not None
    assert_same(killed, whole)
    shutil.rmtree(out)
