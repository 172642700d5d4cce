"""What a run measures: the meter, the progress bar, lines of JSON, TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path

import pytest
import torch

from learning import QUICK, TOKENIZER, TRAINING, VALIDATION, small
from mini_gpt.run import TrainResult, train
from mini_gpt.support import metrics
from mini_gpt.support.metrics import Meter, Metrics


def quick_train(out: Path | None = None, progress: bool | None = False) -> TrainResult:
    return train(small(), TRAINING, VALIDATION, TOKENIZER, QUICK, out=out, progress=progress)


# The meter


def test_the_meter_averages_since_its_restart() -> None:
    meter = Meter(torch.device("cpu"), 10)
    with pytest.raises(ValueError, match="no step was taken"):
        meter.read()
    for loss in (1.0, 2.0, 6.0):
        meter.add(torch.tensor(loss))
    loss, seconds, speed = meter.read()
    assert loss == 3.0
    assert speed == pytest.approx(3 * 10 / seconds)
    meter.restart()
    meter.add(torch.tensor(5.0))
    assert meter.read()[0] == 5.0


def test_a_step_without_a_loss_has_no_say_in_the_mean() -> None:
    meter = Meter(torch.device("cpu"), 10)
    meter.add(torch.tensor(2.0))
    meter.add(torch.tensor(math.inf))
    meter.add(torch.tensor(7.0), healthy=torch.tensor(False))  # its gradient was not finite
    assert (meter.steps, meter.read()[0]) == (3, 2.0)


def test_the_meter_does_not_count_while_it_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    meter = Meter(torch.device("cpu"), 10)
    now[0] += 2
    with meter.paused():
        now[0] += 100
    now[0] += 3
    meter.add(torch.tensor(1.0))
    assert meter.read() == (1.0, 5.0, 2.0)
    other = Meter(torch.device("cpu"), 10)
    other.load_state(meter.state())
    now[0] += 1
    assert other.read() == (1.0, 6.0, 10 / 6)


# The progress bar


def test_the_progress_bar_goes_to_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    quick_train(progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "7/7 steps" in shown.err
    assert "loss 3." in shown.err  # also where a run is over before the bar is drawn again
    assert "tokens/s" in shown.err
    quick_train(progress=False)
    assert capsys.readouterr().err == ""


def test_the_bar_shows_loss_speed_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metrics.ProgressBar
    eager = {"mininterval": 0, "miniters": 1}
    monkeypatch.setattr(metrics, "ProgressBar", lambda **options: real(**{**options, **eager}))
    quick_train(progress=True)
    last = capsys.readouterr().err.rsplit("\r", 1)[-1]
    assert "loss 3." in last
    assert "tokens/s" in last
    assert "<00:00" in last


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_is_for_terminals(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    quick_train(progress=None)
    assert ("tokens/s" in capsys.readouterr().err) is terminal


# What is written down


def test_metrics_are_json_lines(tmp_path: Path) -> None:
    lines = Metrics(tmp_path / "new", [{"step": 1, "loss": 2.0}])
    lines.add({"step": 2, "loss": None, "history": [1]})
    written = (tmp_path / "new" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == [{"step": 1, "loss": 2.0}, {"step": 2}]
    Metrics(None).add({"step": 1})


def test_metrics_go_to_tensorboard_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            pass

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: stand_in)
    result = quick_train(tmp_path)
    losses = [(value, step) for name, value, step in written if name == "validation_loss"]
    assert losses == [(found["validation_loss"], found["step"]) for found in result.history]


def test_without_tensorboard_only_lines_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    quick_train(tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4
