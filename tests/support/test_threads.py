"""How many threads are taken, that they are given back, and that trying changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mini_gpt.characters import CharTokenizer
from mini_gpt.config import GPTConfig
from mini_gpt.generation import InferenceSession, generate_stream
from mini_gpt.model import GPT
from mini_gpt.run import train
from mini_gpt.sampling import SampleConfig
from mini_gpt.support import threads
from mini_gpt.support.threads import candidates, choose_threads, fastest, fitting_threads
from mini_gpt.trainer import Stepper, TrainConfig
from tiny import tiny_config


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def middling() -> GPT:
    """A model whose passes of 50 tokens are worth a trial."""
    return GPT(GPTConfig(97, 25, 2, 4, 128, dropout=0.5))


class Machine:
    """A machine on which work takes as long as the number of threads makes it take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.now, self.seconds, self.worked = 0.0, seconds, [0] * 100
        monkeypatch.setattr(threads.time, "perf_counter", lambda: self.now)

    def work(self) -> None:
        count = torch.get_num_threads()
        self.worked[count] += 1
        self.now += self.seconds(count)


class TestFastest:
    def test_all_where_all_are_free(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(monkeypatch, lambda count: 0.012 / count)
        assert fastest([1, 2, 3], machine.work) == 3
        assert torch.get_num_threads() == 3

    def test_fewer_where_the_last_one_is_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine(monkeypatch, lambda count: 0.5 if count == 3 else 0.012 / count)
        assert fastest([1, 2, 3], machine.work) == 2

    def test_one_where_others_work_too_and_that_is_soon_clear(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine = Machine(monkeypatch, lambda count: 0.005 * 14 ** (count - 1))
        assert fastest([1, 2], machine.work) == 1
        assert machine.worked[2] == 1  # a single one tells enough
        assert torch.get_num_threads() == 3

    def test_the_smaller_number_of_two_that_are_alike(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine = Machine(monkeypatch, lambda count: 0.011 - 0.0005 * count)
        assert fastest([1, 2, 3], machine.work) == 1

    def test_a_fault_gives_the_threads_back(self) -> None:
        with pytest.raises(ZeroDivisionError):
            fastest([1, 2], lambda: 1 // 0)
        assert torch.get_num_threads() == 3

    @pytest.mark.parametrize(
        ("most", "tried"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 5, 6]), (8, [1, 2, 4, 7, 8])]
    )
    def test_numbers_that_are_tried(self, most: int, tried: list[int]) -> None:
        assert candidates(most) == tried


class TestChoice:
    def test_small_passes_take_one_and_need_no_trial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "fastest", lambda *_: pytest.fail("tried"))
        assert choose_threads(GPT(tiny_config()), tokens=35) == 1

    def test_who_asked_for_one_gets_one(
        self, middling: GPT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threads, "fastest", lambda *_: pytest.fail("tried"))
        torch.set_num_threads(1)
        assert choose_threads(middling, tokens=50) == 1

    def test_on_another_device_all_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "fastest", lambda *_: pytest.fail("tried"))
        with torch.device("meta"):
            model = GPT(tiny_config())
        assert choose_threads(model, tokens=10**9) == 3

    def test_larger_ones_are_tried_with_passes_of_that_size(
        self, middling: GPT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shapes: list[torch.Size] = []
        middling.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))

        def once(counts: list[int], work: Callable[[], object]) -> int:
            work()
            return counts[1]

        monkeypatch.setattr(threads, "fastest", once)
        assert choose_threads(middling, tokens=50) == 2
        assert shapes == [(2, 25)]

    @pytest.mark.slow
    def test_trying_changes_nothing(self, middling: GPT) -> None:
        next(middling.children()).eval()  # a part that is off on purpose
        modes = [module.training for module in middling.modules()]
        state = torch.get_rng_state()
        before = {name: value.clone() for name, value in middling.state_dict().items()}
        assert choose_threads(middling, tokens=50) in (1, 2, 3)
        assert torch.equal(torch.get_rng_state(), state)
        assert modes == [module.training for module in middling.modules()]
        assert all(torch.equal(value, before[n]) for n, value in middling.state_dict().items())
        assert all(parameter.grad is None for parameter in middling.parameters())


class TestFittingThreads:
    def test_inside_as_many_as_fit_and_after_what_there_was(
        self, middling: GPT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threads, "choose_threads", lambda *_: 2)
        with fitting_threads(middling, tokens=50) as count:
            assert count == torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3

    def test_a_fault_gives_them_back(self, middling: GPT) -> None:
        def interrupted() -> None:
            with fitting_threads(middling, 1):
                assert torch.get_num_threads() == 1
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert torch.get_num_threads() == 3

    def test_a_run_that_goes_on_takes_as_many_as_before(
        self, middling: GPT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(threads, "choose_threads", lambda *_: pytest.fail("chosen anew"))
        with fitting_threads(middling, 50, count=2) as count:
            assert count == torch.get_num_threads() == 2


class TestThePackagesOwnLoops:
    """`train` and what writes: a fitting number inside, and after it the one there was."""

    def used_by(self, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str) -> list[int]:
        """The numbers of threads with which a method is called from here on."""
        used, real = [], getattr(owner, name)

        def method(self: Any, *given: Any, **named: Any) -> Any:
            used.append(torch.get_num_threads())
            return real(self, *given, **named)

        monkeypatch.setattr(owner, name, method)
        return used

    def run(self, out: Path | None, steps: int, resume: bool = False) -> None:
        tokens = np.arange(400) % 11
        config = TrainConfig(steps=steps, batch_size=5, eval_every=2, device="cpu")
        model = GPT(tiny_config(vocab_size=11))
        train(model, tokens, tokens, CharTokenizer("abcdefghijk"), config, out=out, resume=resume)

    def test_training(self, monkeypatch: pytest.MonkeyPatch) -> None:
        used = self.used_by(monkeypatch, Stepper, "step")
        monkeypatch.setattr(threads, "choose_threads", lambda model, tokens: 2)
        self.run(None, 3)
        assert used == [2] * 3
        assert torch.get_num_threads() == 3

    def test_a_run_that_goes_on_keeps_its_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used = self.used_by(monkeypatch, Stepper, "step")
        monkeypatch.setattr(threads, "choose_threads", lambda model, tokens: 2)
        self.run(tmp_path / "run", 2)
        monkeypatch.setattr(threads, "choose_threads", lambda model, tokens: 1)
        self.run(tmp_path / "run", 4, resume=True)
        assert used == [2] * 4
        self.run(tmp_path / "other", 1)
        assert used[4:] == [1]
        assert torch.get_num_threads() == 3

    def test_whoever_asks_further_out_is_obeyed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used = self.used_by(monkeypatch, Stepper, "step")
        monkeypatch.setattr(threads, "choose_threads", lambda model, tokens: 2)
        self.run(tmp_path / "run", 2)
        with fitting_threads(GPT(tiny_config()), 1, count=1):
            self.run(tmp_path / "run", 4, resume=True)
        assert used == [2, 2, 1, 1]

    def test_writing_with_a_small_model_takes_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        used = self.used_by(monkeypatch, GPT, "forward")
        model, tokenizer = GPT(tiny_config(vocab_size=3)), CharTokenizer("abc")
        for _ in generate_stream(model, tokenizer, "ab", SampleConfig(max_new_tokens=4)):
            assert torch.get_num_threads() == 3  # whoever reads has all of them meanwhile
        assert used == [1] * 4

    def test_larger_passes_take_what_there_is(
        self, middling: GPT, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        used = self.used_by(monkeypatch, GPT, "forward")
        session = InferenceSession(middling)
        session.feed([[1] * 12] * 2)
        session.select_rows([0])
        session.feed([[2]])
        assert used == [3, 1]
