"""An error in one of several processes, or in the middle of a step, no longer loses the steps."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from learning import QUICK, TOKENIZER, TRAINING, VALIDATION, small
from mini_gpt import from_pretrained, train
from mini_gpt.support.checkpoint import newest_state, saved_steps
from mini_gpt.support.rescue import saving_on_error
from mini_gpt.trainer import Stepper, TrainConfig
from support.test_distributed import ENVIRONMENT, TORCHRUN

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
from dataclasses import replace
from learning import QUICK, TOKENIZER, TRAINING, VALIDATION, small
from mini_gpt import train
from mini_gpt.support.distributed import process_group, rank
from mini_gpt.support.rescue import saving_on_error
from mini_gpt.trainer import Stepper
victim, where, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
original = getattr(Stepper, where)
def fail(self, *rest):
    if rank() == victim and self.steps_done == 5:
        raise ArithmeticError("a fault of ours")
    return original(self, *rest)
setattr(Stepper, where, fail)
config = replace(QUICK, steps=9, eval_every=9)
with process_group(torch.device("cpu"), 20):
    train(small(dropout=0.1), TRAINING, VALIDATION, TOKENIZER, config, out=out)
"""


@pytest.mark.skipif(not dist.is_available(), reason="needs torch.distributed")
@pytest.mark.slow
@pytest.mark.parametrize(("victim", "where"), [(0, "step"), (1, "step"), (1, "update")])
def test_an_error_in_one_of_two_processes_lost_the_steps(
    victim: int, where: str, tmp_path: Path
) -> None:
    """Nothing was saved; now the first process saves, whoever failed, and the run goes on."""
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).resolve().parents[1])))
    result = subprocess.run(
        [*TORCHRUN, str(script), str(victim), where, str(out)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0
    assert "a fault of ours" in result.stderr
    # The second process fails before it takes part in the sixth step, or when that is summed:
    # then the first one may have taken it already.
    (step,) = saved_steps(out)
    assert step in ((5, 6) if where == "update" else (5,))
    state = newest_state(out)
    assert state is not None
    assert state["batches"]["drawn"] == state["steps_done"] == step
    config = TrainConfig(**{**vars(QUICK), "steps": 9, "eval_every": 9})
    gone_on = train(
        small(dropout=0.1), TRAINING, VALIDATION, TOKENIZER, config, out=out, resume=True
    )
    assert gone_on.history[-1]["step"] == 9
    assert from_pretrained(out / "checkpoint")[0].config.width == 8


def interrupted(out: Path, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    """A run of seven steps whose sixth ends with an error."""
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(MemoryError):
            train(small(), TRAINING, VALIDATION, TOKENIZER, QUICK, out=out)


def test_an_error_inside_a_step_lost_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are whole, so the step is taken again: as if there had been no error."""
    whole = small()
    train(whole, TRAINING, VALIDATION, TOKENIZER, QUICK)

    def fault(patch: pytest.MonkeyPatch) -> None:
        update = Stepper.update

        def fail(self: Stepper, loss: torch.Tensor) -> None:
            if self.steps_done == 5:
                raise MemoryError
            update(self, loss)

        patch.setattr(Stepper, "update", fail)

    out = tmp_path / "run"
    interrupted(out, monkeypatch, fault)
    assert saved_steps(out)[-1] == 5
    model = small()
    train(model, TRAINING, VALIDATION, TOKENIZER, QUICK, out=out, resume=True)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_that_an_error_left_half_changed_are_not_saved(
    optimizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(**{**vars(QUICK), "optimizer": optimizer})

    def fail(self: Stepper, loss: torch.Tensor) -> None:
        update(self, loss)
        if self.steps_done == 6:
            self.steps_done = 5  # the optimizers have begun, and have not finished
            raise MemoryError

    update = Stepper.update
    monkeypatch.setattr(Stepper, "update", fail)
    with pytest.raises(MemoryError):
        train(small(), TRAINING, VALIDATION, TOKENIZER, config, out=tmp_path / "run")
    assert saved_steps(tmp_path / "run") == [3]


def test_the_hooks_of_a_run_are_taken_off_again() -> None:
    stepper, saved = Stepper(small(), TRAINING, QUICK), []

    def run_into(fault: type[Exception]) -> None:
        with saving_on_error(stepper, lambda together: saved.append(together)):
            stepper.step()
            raise fault

    for fault in (LookupError, FloatingPointError):
        with pytest.raises(fault):
            run_into(fault)
        assert saved == [False]  # and a loss that is no number is not saved
    assert not any(each._optimizer_step_pre_hooks for each in stepper.optimizers)
