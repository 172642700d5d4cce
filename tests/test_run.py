"""A run: it stops and goes on as if it had never stopped, and says what came of it."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learning import (
    QUICK,
    RUN,
    TEXT,
    TOKENIZER,
    TRAINING,
    VALIDATION,
    assert_same,
    fresh,
    run,
    small,
    weights,
)
from mini_gpt.checks import run as checks
from mini_gpt.config import GPTConfig
from mini_gpt.data import BatchLoader
from mini_gpt.loss import evaluate
from mini_gpt.model import GPT
from mini_gpt.run import TrainResult, load_training_state, train, training_state
from mini_gpt.support import state_file
from mini_gpt.support.checkpoint import newest_state, saved_steps
from mini_gpt.support.model_folder import from_pretrained
from mini_gpt.support.signals import TrainingStopped
from mini_gpt.tokenizer import BPETokenizer
from mini_gpt.trainer import TrainConfig, Trainer

ROOT = Path(__file__).resolve().parents[1]


def quick_train(model: GPT | None = None, **options: Any) -> TrainResult:
    model, config = small() if model is None else model, options.pop("config", QUICK)
    return train(model, TRAINING, VALIDATION, TOKENIZER, config, **{"progress": False, **options})


def run_until(trainer: Trainer, step: int) -> None:
    for _ in trainer.steps(progress=False):
        if trainer.steps_done == step:
            break


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Runs are compared to the last bit, and some sums depend on how threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Stopping and going on


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulation_steps": 3},
    "across an epoch": {"order": "epochs"},
    "muon": {"optimizer": "muon", "muon_learning_rate": 0.03, "schedule": "wsd"},
    "float16 with a scaler": {"precision": "float16", "accumulation_steps": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
@pytest.mark.parametrize("pause", [4, 7])  # at a measurement, and between two
def test_a_paused_run_ends_as_if_it_had_not_paused(
    changes: dict[str, Any], pause: int, tmp_path: Path
) -> None:
    config = replace(RUN, **changes)
    whole = run(config, tmp_path / "whole")
    first = Trainer(fresh(), TRAINING, VALIDATION, config)
    run_until(first, pause)
    folder = tmp_path / "state"
    folder.mkdir()
    state_file.write_state(folder, training_state(first))
    # All generators move on before the run does.
    random.random(), np.random.random(), torch.rand(3)  # noqa: NPY002
    second = Trainer(fresh(seed=9), TRAINING, VALIDATION, config)
    load_training_state(second, state_file.read_state(folder))
    assert second.steps_done == pause
    run_until(second, 14)
    assert_same(training_state(second), whole)


def test_a_run_is_not_the_same_if_a_part_of_the_state_is_lost(tmp_path: Path) -> None:
    """The comparison can fail: without any one of these the run goes on differently."""
    config = replace(RUN, eval_every=14)
    whole = run(config, tmp_path)
    first = Trainer(fresh(), TRAINING, VALIDATION, config)
    run_until(first, 7)
    state = training_state(first)
    blank = training_state(Trainer(fresh(), TRAINING, VALIDATION, config))
    for lost in ("model", "optimizers", "batches", "random", "steps_done"):
        second = Trainer(fresh(), TRAINING, VALIDATION, config)
        load_training_state(second, {**state, lost: blank[lost]})
        run_until(second, 14)
        ends = training_state(second)["model"], whole["model"]
        assert not all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0]), lost


def test_a_compiled_run_has_the_state_of_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the compiled model is another module, with the model inside."""
    wrap = lambda some: torch.nn.Sequential(some) if isinstance(some, GPT) else some  # noqa: E731
    monkeypatch.setattr(torch, "compile", wrap)
    fast = Trainer(small(), TRAINING, VALIDATION, replace(QUICK, compile=True))
    assert isinstance(fast.predict, torch.nn.Sequential)
    slow = Trainer(small(), TRAINING, VALIDATION, QUICK)
    assert list(training_state(fast)["model"]) == list(training_state(slow)["model"])


def test_resuming_in_a_folder_appends_to_its_metrics(tmp_path: Path) -> None:
    whole = run(RUN, tmp_path / "whole")
    out = tmp_path / "paused"

    def interrupt(found: dict[str, Any]) -> None:
        if found["step"] == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped, match=r"SIGTERM after step 9 of 14.*--resume .*paused$"):
        run(RUN, out, on_eval=interrupt)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # as it was
    assert saved_steps(out)[-1] == 9
    with (out / "metrics.jsonl").open("a") as file:  # measured after the last checkpoint
        file.write('{"step": 12, "training_loss": 99}\n')
    resumed = run(RUN, out, resume=True)
    assert_same(resumed, whole)
    for folder in (out, tmp_path / "whole"):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line).get("step") for line in lines] == [4, 8, 12, 14, None]
        assert "99" not in lines[2].split(",")[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_saves(number: signal.Signals, tmp_path: Path) -> None:
    config = replace(RUN, steps=100_000, eval_every=50)

    def interrupt(found: dict[str, Any]) -> None:
        if found["step"] == 50:  # by then the run listens; the signal comes in some later step
            threading.Timer(0.05, lambda: os.kill(os.getpid(), number)).start()

    with pytest.raises(TrainingStopped, match=f"{number.name} after step .*, and saved"):
        run(config, tmp_path, on_eval=interrupt)
    state = newest_state(tmp_path)
    assert state is not None
    assert 0 < state["steps_done"] < 100_000
    saved = tmp_path / "checkpoints" / f"step-{state['steps_done']}"
    model, _ = from_pretrained(saved / "model")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, state["model"][name])


def test_a_run_that_writes_nothing_is_not_deaf_to_signals() -> None:
    """There is nothing to save, so that Ctrl-C means what it always means."""

    def interrupt(found: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        quick_train(on_eval=interrupt)


def test_resuming_where_nothing_was_saved_starts_anew(tmp_path: Path) -> None:
    assert_same(run(RUN, tmp_path / "new", resume=True), run(RUN, tmp_path / "whole"))


def test_resuming_a_finished_run_only_measures_it_again(tmp_path: Path) -> None:
    before = run(RUN, tmp_path)
    assert_same(run(RUN, tmp_path, resume=True), before)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    run(RUN, tmp_path)

    def complaint(model: GPT, config: TrainConfig) -> str:
        with pytest.raises(ValueError) as caught:
            train(model, TRAINING, VALIDATION, TOKENIZER, config, out=tmp_path, resume=True)
        return str(caught.value)

    other = GPT(GPTConfig(vocab_size=50, context_length=6, layers=1, heads=2, width=8))
    assert "vocab_size 31 (50), layers 2 (1)" in complaint(other, RUN)
    assert "batch_size 10, here it is 5" in complaint(fresh(), replace(RUN, batch_size=5))
    assert "another optimizer" in complaint(fresh(), replace(RUN, optimizer="muon"))


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    run(RUN, tmp_path)
    path = tmp_path / "checkpoints" / "step-14" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 1}))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"step-14 was made by another version of mini_gpt"):
        run(RUN, tmp_path, resume=True)
    assert path.read_bytes() == before  # it is still there, for the program that can read it


# Checkpoints


def test_the_last_and_the_best_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.6, 2.7, 2.8, 2.0, 1.0])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, tokens: next(losses))
    quick_train(fresh(), config=replace(RUN, eval_every=2), out=tmp_path, keep_checkpoints=2)
    assert saved_steps(tmp_path) == [4, 12, 14]
    for step in (4, 12, 14):
        assert from_pretrained(tmp_path / "checkpoints" / f"step-{step}" / "model")


def test_checkpoints_come_as_often_as_asked_and_at_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.5, 2.5])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, tokens: next(losses))
    run(RUN, tmp_path, checkpoint_every=3, keep_checkpoints=99)
    assert saved_steps(tmp_path) == [3, 4, 6, 8, 9, 12, 14]


@pytest.mark.parametrize("name", ["checkpoint_every", "keep_checkpoints"])
def test_checkpoints_can_not_be_fewer_than_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} 0 must be at least 1"):
        quick_train(out=tmp_path / "run", **{name: 0})
    assert not (tmp_path / "run").exists()


def test_a_new_run_does_not_take_up_an_older_one(tmp_path: Path) -> None:
    run(replace(RUN, steps=20), tmp_path)
    run(RUN, tmp_path, overwrite=True)
    assert saved_steps(tmp_path) == [12, 14]


def test_a_second_run_in_the_same_folder_replaces_the_first(tmp_path: Path) -> None:
    for seed in (0, 1):
        model = small(seed)
        quick_train(model, out=tmp_path, overwrite=True)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
    assert torch.equal(weights(from_pretrained(tmp_path / "checkpoint")[0]), weights(model))


def test_nothing_on_disk_is_pickled(tmp_path: Path) -> None:
    run(RUN, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors"}
    source = Path(state_file.__file__).read_text(encoding="utf-8")
    assert "torch.load" not in source
    assert "import pickle" not in source


# A full disk

FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import learning
def limit(found):
    if found["step"] == 8:  # from here on, no file may be longer than 3,000 bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    learning.run(learning.RUN, Path({out!r}), on_eval=limit)
except OSError as fault:
    print(fault)
"""


def run_script(code: str, out: Path) -> str:
    """What a script that trains in that folder prints."""
    code = code.format(tests=str(Path(__file__).parent), out=str(out))
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_disk_that_takes_no_more_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = run_script(FULL, out)
    assert "the checkpoint of step 12 could not be written" in said
    assert "the checkpoint of step 8 is whole. the disk is full: free some space" in said
    assert "--resume" in said
    assert saved_steps(out) == [4, 8]
    assert not list(out.rglob(".*"))  # no fragment is left
    assert from_pretrained(out / "checkpoint")
    assert_same(run(RUN, out, resume=True), run(RUN, tmp_path / "whole"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_the_fault_says_what_to_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    run(RUN, tmp_path)
    monkeypatch.setattr(state_file, "save_file", fail)
    remedy = "free some space" if number == errno.ENOSPC else "can be written"
    pattern = f"step 16 .*{os.strerror(number)}.*step 14 is whole.*{remedy}"
    with pytest.raises(OSError, match=pattern):
        run(replace(RUN, steps=16), tmp_path, resume=True)
    assert saved_steps(tmp_path) == [12, 14]


# Being killed


KILLED = """
import os, random, shutil, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import learning
from dataclasses import replace
from mini_gpt.support.checkpoint import saved_steps
learning.run(learning.RUN, Path({out!r} + "-warm-up"))  # so that children start fast
config = replace(
    learning.RUN, steps=120, eval_every=10, accumulation_steps=2, order="epochs"
)
out, chance = Path({out!r}), random.Random(0)
kills = seen = 0
starts = []
while True:
    steps = saved_steps(out)
    starts.append(steps[-1] if steps else 0)
    child = os.fork()
    if not child:
        try:
            learning.run(config, out, resume=True, checkpoint_every=1)
            os._exit(0)
        except BaseException as fault:
            print("fault", repr(fault), flush=True)
            os._exit(1)
    if kills < 20:
        time.sleep(chance.uniform(0.1, 0.5))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
    elif status == 0 and kills >= 20:
        break
    elif status == 0:  # finished before it could be killed: begin again
        shutil.rmtree(out)
    else:
        sys.exit("a resumed run failed")
print(kills, starts)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to be quick")
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    """SIGKILL at random moments, also while a checkpoint is being written."""
    out = tmp_path / "killed"
    kills, starts = run_script(KILLED, out).split(" ", 1)
    assert int(kills) == 20
    assert len(set(json.loads(starts))) > 5, starts  # it went on from many places
    config = replace(RUN, steps=120, eval_every=10, accumulation_steps=2, order="epochs")
    whole = run(config, tmp_path / "whole", checkpoint_every=120)
    killed = newest_state(out)
    assert killed is not None
    assert_same(killed, whole)
    shutil.rmtree(out)


# What `train` returns and writes


def test_train_measures_the_whole_split_and_writes_it_down(tmp_path: Path) -> None:
    model = small()
    out = tmp_path / "new" / "run"
    result = quick_train(model, config=replace(QUICK, eval_tokens=10), out=out)
    loss = evaluate(model, VALIDATION, context_length=6)
    assert result.validation_loss == pytest.approx(loss, rel=1e-5)
    utf8 = len(TOKENIZER.decode(VALIDATION[1:]).encode())
    assert utf8 > 149  # some characters have two bytes
    assert result.bits_per_byte == pytest.approx(loss * 149 / math.log(2) / utf8, rel=1e-5)
    assert result.training_loss == result.history[-1]["training_loss"]
    assert result.tokens_per_second == pytest.approx(7 * 6 * 6 / result.seconds)

    *measured, final = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    assert measured == result.history
    assert final["final"] is True
    assert final["validation_loss"] == result.validation_loss
    assert "history" not in final
    kept, tokenizer = from_pretrained(out / "checkpoint")
    assert torch.equal(weights(kept), weights(model))
    assert tokenizer.decode(VALIDATION) == TOKENIZER.decode(VALIDATION)
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint",
        "checkpoints",
        "metrics.jsonl",
        "run.json",
    ]


def test_the_bytes_of_the_text_are_counted_where_they_are_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = quick_train()
    predicted = len(TOKENIZER.decode(VALIDATION[1:]).encode())
    monkeypatch.setattr(type(TOKENIZER), "decode", lambda *arguments: pytest.fail("decoded"))
    given = quick_train(validation_bytes=predicted)
    assert given.bits_per_byte == found.bits_per_byte
    halved = quick_train(validation_bytes=2 * predicted)
    assert halved.bits_per_byte == pytest.approx(found.bits_per_byte / 2)


def test_bits_per_byte_compare_tokenizers_on_the_same_bytes() -> None:
    bpe = BPETokenizer.train(TEXT, 256 + 1 + 20)
    ids = np.array(bpe.encode(TEXT), dtype=np.uint16)
    shape = GPTConfig(vocab_size=bpe.vocab_size, context_length=6, layers=1, heads=2, width=8)
    result = train(GPT(shape), ids[:-80], ids[-80:], bpe, QUICK, progress=False)
    utf8 = len(bpe.decode(ids[-79:]).encode())
    expected = result.validation_loss * 79 / (math.log(2) * utf8)
    assert result.bits_per_byte == pytest.approx(expected)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model = small()

    def poison(found: dict[str, int | float]) -> None:
        with torch.no_grad():
            model.token_embedding.weight[:] = math.nan

    with pytest.raises(FloatingPointError, match=r"nan at step 6.*learning_rate than 0\.01"):
        quick_train(model, out=tmp_path, on_eval=poison)
    kept, _ = from_pretrained(tmp_path / "checkpoint")
    assert weights(kept).isfinite().all()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


# The exercises


def right_snapshot(model: Any, optimizer: Any, batches: BatchLoader) -> Any:
    parts = (model.state_dict(), optimizer.state_dict(), batches.state_dict())
    return copy.deepcopy((*parts, torch.get_rng_state()))


def right_restore(model: Any, optimizer: Any, batches: BatchLoader, state: Any) -> None:
    weights, memories, place, random_state = copy.deepcopy(state)
    model.load_state_dict(weights)
    optimizer.load_state_dict(memories)
    batches.load_state_dict(place)
    torch.set_rng_state(random_state)


def without(lost: int) -> Callable[..., None]:
    """A restore that leaves one of the four parts as it is."""

    def restore(model: Any, optimizer: Any, batches: BatchLoader, state: Any) -> None:
        mine = right_snapshot(model, optimizer, batches)
        parts = [mine[n] if n == lost else state[n] for n in range(4)]
        right_restore(model, optimizer, batches, parts)

    return restore


def uncopied(model: Any, optimizer: Any, batches: BatchLoader) -> Any:
    parts = (model.state_dict(), optimizer.state_dict(), batches.state_dict())
    return (*parts, torch.get_rng_state())


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ((lambda *arguments: None, right_restore), "not yet: snapshot returned nothing"),
        ((right_snapshot, lambda *arguments: None), "not yet: restored once, step 1"),
        *(((right_snapshot, without(lost)), "not yet: restored once, step") for lost in range(4)),
        ((uncopied, right_restore), "not yet: restored once, step 1"),
        ((right_snapshot, right_restore), "correct: "),
    ],
)
def test_a_state_is_told_from_half_a_state(
    answers: tuple[Any, Any], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_rng_state()
    checks.state(*answers)
    assert capsys.readouterr().out.startswith(verdict)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (lambda save, kill: None, "not yet: for saving in 2.0 s"),
        (lambda save, kill: (save * kill) ** 0.5, "not yet: for saving in 2.0 s"),
        (lambda save, kill: kill / 50, "not yet: for saving in 0.5 s"),
        (lambda save, kill: math.sqrt(2 * save * kill), "correct: "),
    ],
)
def test_an_interval_is_told_from_another(
    answer: Any, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checks.best_interval(answer)
    assert capsys.readouterr().out.startswith(verdict)
