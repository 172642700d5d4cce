"""The gallery of faults: each run has its fault, and each check finds its own and no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mini_gpt.config import GPTConfig
from mini_gpt.support import symptoms
from mini_gpt.support.symptoms import FAULTS, Patient, examine, patient, signs

SHAPE = GPTConfig(11, context_length=16, layers=1, heads=4, width=64)
UNIGRAM = 1.6  # nats: half a nat below it, the healthy run ends well and the fast one does not


def text(seed: int, count: int) -> np.ndarray:
    """Ids that go up by one or two: easy to learn, and no two stretches of 60 are alike."""
    steps = np.random.default_rng(seed).integers(1, 3, size=count)
    return (np.cumsum(steps) % 11).astype(np.uint8)


TRAINING, VALIDATION = text(0, 8000), text(1, 1601)
EXPECTED = {
    "healthy": [],
    "no mask": ["early outputs depend on later tokens"],
    "targets not shifted": ["targets are not the right-hand neighbors"],
    "wrong softmax axis": ["early outputs depend on later tokens"],
    "untied copy": ["logits do not follow the embedding"],
    "learning rate × 30": ["hardly better than the unigram model"],
    "no warm-up": ["the first step is as long as the longest"],
    "dropout in evaluation": ["two evaluations differ"],
    "trained on validation": ["validation passages are in the training text"],
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symptoms, "STEPS", 60)


def one(fault: str) -> Patient:
    return patient(fault, SHAPE, TRAINING, VALIDATION)


def test_every_fault_is_expected() -> None:
    assert set(EXPECTED) == {"healthy", *FAULTS}
    found = {sign for some in EXPECTED.values() for sign in some}
    assert found == set(signs(UNIGRAM)), "a check that finds nothing here"


@pytest.mark.slow
@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_shows_its_sign(fault: str) -> None:
    run = one(fault)
    assert len(run.losses) == 60
    if fault != "targets not shifted":  # a tied head expects its input
        assert run.losses[0] == pytest.approx(np.log(11), abs=0.2)
    assert set(EXPECTED[fault]) <= set(examine(run, UNIGRAM))
    if fault in ("healthy", "no warm-up", "dropout in evaluation", "trained on validation"):
        assert examine(run, UNIGRAM) == EXPECTED[fault]


@pytest.mark.slow
def test_runs_are_the_same_at_every_call() -> None:
    assert one("healthy").losses == one("healthy").losses


@pytest.mark.slow
def test_the_fault_of_attention_ends_with_its_patient() -> None:
    real = F.scaled_dot_product_attention
    run = one("no mask")
    assert F.scaled_dot_product_attention is real
    with run.attention():
        assert F.scaled_dot_product_attention is not real
    assert F.scaled_dot_product_attention is real
    with pytest.raises(RuntimeError), run.attention():
        raise RuntimeError
    assert F.scaled_dot_product_attention is real


@pytest.mark.slow
def test_a_patient_is_measured_as_it_measures_itself() -> None:
    run = one("dropout in evaluation")
    torch.manual_seed(0)
    first = run.measure()
    torch.manual_seed(0)
    assert run.measure() == first, "its dropout comes from the generator alone"
    assert run.measure() != first
    dropping = replace(SHAPE, dropout=0.1)
    assert run.model.config == dropping


@pytest.mark.slow
def test_examining_leaves_the_model_as_it_was() -> None:
    run = one("untied copy")
    before = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    examine(run, UNIGRAM)
    for name, weight in run.model.state_dict().items():
        torch.testing.assert_close(weight, before[name])
