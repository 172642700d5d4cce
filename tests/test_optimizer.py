"""The optimizer: its settings, AdamW and Muon, the schedule."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from learning import recheck
from mini_gpt.checks import optimizer as checks
from mini_gpt.optimizer import (
    Muon,
    OptimizerConfig,
    learning_rate_at,
    make_adamw,
    make_optimizers,
    orthogonalize,
    set_learning_rate,
)
from shapes import without_shape_checks
from tiny import tiny_gpt

# The settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("decay_steps", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("muon_learning_rate", 0.0),
        ("muon_learning_rate", -0.02),
        ("max_grad_norm", -0.5),
        ("min_lr", -1e-9),
        ("warmup_steps", -2),
        ("weight_decay", -0.1),
        ("beta1", 1.0),
        ("beta2", -0.3),
    ],
)
def test_a_bad_setting_is_named_with_its_value(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} {value} must be"):
        OptimizerConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 30.5), ("steps", True), ("beta1", "much"), ("decay_steps", 2.0)]
)
def test_a_setting_of_another_kind_is_named(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} {value!r} must be a"):
        recheck(OptimizerConfig(), **{name: value})


def test_settings_at_the_edge_are_allowed() -> None:
    OptimizerConfig(steps=1, warmup_steps=0, weight_decay=0.0, min_lr=0.0, beta1=0.0)


def test_other_optimizers_and_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="optimizer 'sgd' must be 'adamw' or 'muon'"):
        recheck(OptimizerConfig(), optimizer="sgd")
    with pytest.raises(ValueError, match="schedule 'hold' must be 'cosine' or 'wsd'"):
        recheck(OptimizerConfig(), schedule="hold")


# The schedule


def test_schedule_at_known_steps() -> None:
    config = OptimizerConfig(steps=101, warmup_steps=10, learning_rate=0.5, min_lr=0.1)
    assert learning_rate_at(0, config) == pytest.approx(0.05)
    assert learning_rate_at(9, config) == 0.5
    assert learning_rate_at(10, config) == 0.5
    assert learning_rate_at(55, config) == pytest.approx(0.3)
    assert learning_rate_at(100, config) == pytest.approx(0.1)
    assert learning_rate_at(1000, config) == pytest.approx(0.1)


@given(steps=st.integers(1, 60), warmup=st.integers(0, 80), final=st.floats(0, 1))
@settings(deadline=None, max_examples=100)
def test_schedule_rises_then_falls_within_its_bounds(steps: int, warmup: int, final: float) -> None:
    config = OptimizerConfig(steps=steps, warmup_steps=warmup, learning_rate=1.0, min_lr=final)
    rates = [learning_rate_at(step, config) for step in range(steps)]
    assert all(0 < rate <= 1 + 1e-12 or rate == final for rate in rates)
    top = min(warmup, steps)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps > warmup + 1:
        assert rates[-1] == pytest.approx(final, abs=1e-12)


def test_warm_up_stay_and_decay() -> None:
    config = OptimizerConfig(
        schedule="wsd", steps=21, warmup_steps=5, decay_steps=4, learning_rate=1.0
    )
    rates = [learning_rate_at(step, config) for step in range(21)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:17] == [1.0] * 12
    assert rates[17:] == pytest.approx([0.75, 0.5, 0.25, 1e-4], abs=1e-3)
    long = replace(config, decay_steps=999)  # all that follow the warm-up
    rates_of_long = [learning_rate_at(step, long) for step in range(21)]
    assert rates_of_long[:5] == rates[:5]
    assert rates_of_long[5:] == pytest.approx([(15 - n) / 16 for n in range(16)], abs=1e-3)
    default = replace(config, decay_steps=None)  # a fifth of the steps
    assert [learning_rate_at(step, default) for step in range(21)] == rates


# The optimizers


def test_matrices_decay_and_vectors_do_not() -> None:
    model = tiny_gpt()
    groups = make_adamw(model, OptimizerConfig(weight_decay=0.3)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    for group, axes in zip(groups, (2, 1), strict=True):
        assert {id(p) for p in group["params"]} == {
            id(p) for p in model.parameters() if p.ndim == axes
        }
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_model_without_vectors_has_one_group() -> None:
    optimizer = make_adamw(nn.Linear(3, 5, bias=False), OptimizerConfig())
    assert len(optimizer.param_groups) == 1


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    model = tiny_gpt()
    muon, adamw = make_optimizers(model, OptimizerConfig(optimizer="muon", beta1=0.7))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert isinstance(muon, Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert by_muon == {
        n for n, p in model.decoder.named_parameters(prefix="decoder") if p.ndim == 2
    }
    assert by_muon | by_adamw == set(names.values())
    assert not by_muon & by_adamw
    assert "token_embedding.weight" in by_adamw
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.1, 0.0]
    assert {group["momentum"] for group in muon.param_groups} == {0.7}
    assert {group["betas"][0] for group in adamw.param_groups} == {0.7}


def test_a_step_of_muon_moves_every_direction_by_about_its_rate() -> None:
    model = tiny_gpt(width=48)
    config = OptimizerConfig(optimizer="muon", weight_decay=0.0, muon_learning_rate=0.03)
    muon, _ = make_optimizers(model, config)
    weight = model.decoder.blocks[0].feed_forward.expand.weight
    before = weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(17, (5, 8), generator=generator)
    model(ids).logsumexp(-1).square().sum().backward()
    muon.step()
    moved = torch.linalg.svdvals(weight.detach() - before)
    middle = (moved / (0.03 * 4**0.5)).median().item()  # twice as far where width times 4 comes out
    assert 0.6 < middle < 1.3


SHAPES = ((5, 3), (3, 5), (5, 3), (4, 4), (5, 3), (3, 5))


def matrices(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def give_gradients(some: list[nn.Parameter], seed: int) -> None:
    for parameter, gradient in zip(some, matrices(seed), strict=True):
        parameter.grad = gradient.detach()


@pytest.mark.parametrize("at_once", [True, False])
def test_muon_takes_the_steps_of_pytorchs(at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a cache holds only one matrix, and where one has no gradient."""
    ours, theirs = matrices(), matrices()
    mine = Muon(ours, 0.03, 0.8, 0.2)
    other = torch.optim.Muon(theirs, lr=0.03, momentum=0.8, weight_decay=0.2)
    if not at_once:
        monkeypatch.setattr("mini_gpt.optimizer._CACHED", 16)
    for step in range(4):
        for some in (ours, theirs):
            give_gradients(some, seed=step + 1)
            some[2].grad = None
        mine.step()
        other.step()
        for one, two, start in zip(ours, theirs, matrices(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=3e-4)  # of steps of 0.03
            assert torch.equal(one, start) is (one is ours[2])
            if one is not ours[2]:
                memory = mine.state[one]["momentum_buffer"]
                torch.testing.assert_close(memory, other.state[two]["momentum_buffer"])


def test_muon_and_pytorchs_share_their_states() -> None:
    ours, theirs = matrices(), matrices()
    mine, other = Muon(ours, 0.03, 0.8, 0.2), torch.optim.Muon(theirs, lr=0.5)
    give_gradients(ours, 1)
    mine.step()
    other.load_state_dict(copy.deepcopy(mine.state_dict()))  # else they would share tensors
    for one, two in zip(ours, theirs, strict=True):
        two.data.copy_(one.data)
    for some in (ours, theirs):
        give_gradients(some, 2)
    mine.step()
    other.step()
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=3e-4)


@pytest.mark.parametrize("place", ["cpu", "card"])
def test_muon_is_told_on_the_device_to_change_nothing(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = matrices()
    muon = Muon(some, 0.03, 0.8, 0.2)
    give_gradients(some, 1)
    if place == "card":  # what would be done there, where the verdict is not read
        monkeypatch.setattr(Muon, "step", torch.no_grad()(lambda self: self._change_all()))
    muon.found_inf = torch.tensor(0.0)
    muon.step()
    told = [p.detach().clone() for p in some]
    memory = [muon.state[p]["momentum_buffer"].clone() for p in some]
    give_gradients(some, 2)
    some[0].grad[1, 1], some[3].grad[0, 0] = math.nan, math.inf
    muon.found_inf = torch.tensor(1.0)
    muon.step()
    assert all(map(torch.equal, told, some))
    assert all(
        torch.equal(m, muon.state[p]["momentum_buffer"]) for p, m in zip(some, memory, strict=True)
    )
    # Being told that all is well is the same as not being told.
    plain = matrices()
    give_gradients(plain, 1)
    Muon(plain, 0.03, 0.8, 0.2).step()
    assert all(map(torch.equal, plain, told))


@pytest.mark.parametrize("shape", [(3, 5, 7), (3, 7, 5), (2, 4, 4), (1, 1, 6)])
def test_orthogonalized_matrices_stretch_all_directions_alike(shape: tuple[int, ...]) -> None:
    some = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalize(some)
    assert found.shape == shape
    stretched = torch.linalg.svdvals(found.float())
    assert ((stretched > 0.5) & (stretched < 1.3)).all()
    for one, alone in zip(found, some, strict=True):  # each for itself
        torch.testing.assert_close(orthogonalize(alone[None])[0], one, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_orthogonalize_compiles_into_one_graph() -> None:
    some = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    with without_shape_checks():
        compiled = torch.compile(orthogonalize, backend="aot_eager", fullgraph=True)(some)
    torch.testing.assert_close(compiled, orthogonalize(some), rtol=0.02, atol=0.02)


def test_each_optimizer_keeps_its_ratio_to_the_rate() -> None:
    config = OptimizerConfig(optimizer="muon", learning_rate=0.01, muon_learning_rate=0.03)
    muon, adamw = optimizers = make_optimizers(tiny_gpt(), config)
    for rate in (0.01, 0.0025):
        set_learning_rate(optimizers, rate)
        assert {group["lr"] for group in adamw.param_groups} == {rate}  # exactly
        assert [group["lr"] for group in muon.param_groups] == pytest.approx([3 * rate])
    (alone,) = make_optimizers(tiny_gpt(), OptimizerConfig())
    set_learning_rate([alone], 0.123)
    assert [group["lr"] for group in alone.param_groups] == [0.123, 0.123]


# The exercises


class WrittenAdamW:
    """An answer to the exercise; each flag is a mistake that readers make."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        *,
        corrects: bool = True,
        decay_in_gradient: bool = False,
        one_count: bool = False,
    ) -> None:
        self.groups, self.lr, self.betas, self.eps = groups, lr, betas, eps
        self.corrects, self.in_gradient = corrects, decay_in_gradient
        self.one_count, self.steps = one_count, 0
        self.state: dict[Tensor, tuple[int, Any, Any]] = {}

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for group in self.groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient, decay = weight.grad, group["weight_decay"]
                if self.in_gradient:
                    gradient = gradient + decay * weight
                else:
                    weight *= 1 - self.lr * decay
                t, m, v = self.state.get(weight, (0, 0, 0))
                m = self.betas[0] * m + (1 - self.betas[0]) * gradient
                v = self.betas[1] * v + (1 - self.betas[1]) * gradient**2
                self.state[weight] = t + 1, m, v
                t = self.steps if self.one_count else t + 1
                if self.corrects:
                    m, v = m / (1 - self.betas[0] ** t), v / (1 - self.betas[1] ** t)
                weight -= self.lr * m / (v.sqrt() + self.eps)


def clipped(gradients: list[Tensor], limit: float) -> list[Tensor]:
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return [gradient * min(1.0, limit / max(length.item(), 1e-12)) for gradient in gradients]


def clipped_each(gradients: list[Tensor], limit: float) -> list[Tensor]:
    return [clipped([gradient], limit)[0] for gradient in gradients]


def always_scaled(gradients: list[Tensor], limit: float) -> list[Tensor]:
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    return [gradient * limit / length for gradient in gradients]


def by_inverses(matrix: Tensor, rounds: int = 40) -> Tensor:
    for _ in range(rounds):
        matrix = (matrix + torch.linalg.inv(matrix).T) / 2
    return matrix


@pytest.mark.parametrize(
    ("check", "answer", "verdict"),
    [
        (checks.clip, lambda gradients, limit: None, "not yet: for the gradients 3 and 4"),
        (checks.clip, clipped_each, "not yet: for the gradients 3 and 4 and a limit of 1 "),
        (checks.clip, always_scaled, "not yet: for the gradients 3 and 4 and a limit of 10 "),
        (checks.clip, clipped, "correct: "),
        (checks.adamw, WrittenAdamW, "correct: "),
        (checks.adamw, partial(WrittenAdamW, corrects=False), "not yet: for one step"),
        (checks.adamw, partial(WrittenAdamW, decay_in_gradient=True), "not yet: for one step"),
        (checks.adamw, partial(WrittenAdamW, one_count=True), "not yet: for five steps"),
        (checks.even_out, lambda matrix: None, "not yet: for a diagonal matrix"),
        (checks.even_out, lambda m: by_inverses(m, 9), "not yet: for one that stretches"),
        (checks.even_out, by_inverses, "correct: "),
    ],
)
def test_check_tells_right_from_wrong(
    check: Callable[[object], None],
    answer: object,
    verdict: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check(answer)
    assert capsys.readouterr().out.startswith(verdict)
