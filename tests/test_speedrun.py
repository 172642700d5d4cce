"""The speed-run: recipes, the average of weights, the rules of the ledger, what was found."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mini_gpt.checks import speedrun as checks
from mini_gpt.config import GPTConfig
from mini_gpt.diagnostics import check_model, count_parameters
from mini_gpt.generation import InferenceSession
from mini_gpt.loss import evaluate
from mini_gpt.model import GPT
from mini_gpt.speedrun import (
    RECORD,
    SHAPE,
    TARGET,
    Recipe,
    WeightAverage,
    run_recipe,
    steps_to,
)
from mini_gpt.support import stored_speedrun
from mini_gpt.support.drawings import speedrun as drawings
from mini_gpt.support.stored_results import stored_result
from mini_gpt.trainer import Stepper, TrainConfig

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # bench/ is no part of the installed package

from bench import records as ledger  # noqa: E402
from bench import speedrun as bench  # noqa: E402

TINY = GPTConfig(11, context_length=7, layers=2, heads=3, width=12)
TOKENS = np.random.default_rng(0).integers(0, 11, 400)
FEW: dict[str, Any] = {"steps": 5, "warmup_steps": 2, "batch_size": 3}


def numbers(model: nn.Module) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class TestRecipe:
    def test_changes_leave_the_recipe_as_it_was(self) -> None:
        other = RECORD.with_training(steps=7, beta1=0.5).with_model(bias=False)
        assert (other.training.steps, other.training.beta1) == (7, 0.5)
        assert other.model == {**RECORD.model, "bias": False}
        assert (RECORD.training.beta1, "bias" in RECORD.model) == (0.8, False)

    @pytest.mark.slow
    def test_a_run_is_that_of_a_stepper(self) -> None:
        recipe = RECORD.with_training(**FEW)
        seen: list[tuple[int, float]] = []

        def watch(step: int, model: GPT) -> None:
            seen.append((step, evaluate(model, TOKENS, context_length=7)))

        found, seconds = run_recipe(recipe, TOKENS, TINY, 4, watch)
        torch.manual_seed(4)
        model = GPT(replace(TINY, **recipe.model))
        stepper = Stepper(model, TOKENS, replace(recipe.training, seed=4))
        losses = []
        for _ in range(5):
            stepper.step()
            losses.append(evaluate(model, TOKENS, context_length=7))
        assert equal(numbers(found), numbers(model))
        assert seen == [*enumerate(losses, start=1)]
        assert seconds > 0

    def test_the_model_is_prepared_before_the_optimizer_sees_it(self) -> None:
        def grow(model: GPT) -> None:
            model.more = nn.Embedding(11, 12)
            model.token_embedding.register_forward_hook(
                lambda _, given, out: out + model.more(given[0])
            )

        recipe = replace(RECORD.with_training(**FEW), prepare=(grow,))
        model, _ = run_recipe(recipe, TOKENS, TINY, 4)
        torch.manual_seed(4)
        fresh = GPT(replace(TINY, **recipe.model))
        grow(fresh)
        assert not torch.equal(model.more.weight, fresh.more.weight)

    def test_the_average_is_the_result_and_training_goes_on_without_it(self) -> None:
        plain = RECORD.with_training(**FEW)
        path: list[list[torch.Tensor]] = []
        last, _ = run_recipe(plain, TOKENS, TINY, 4, lambda _, m: path.append(numbers(m)))
        averaged, _ = run_recipe(replace(plain, average=0.99), TOKENS, TINY, 4)
        means = [torch.stack(values).mean(0) for values in zip(*path, strict=True)]
        for found, mean in zip(numbers(averaged), means, strict=True):
            torch.testing.assert_close(found, mean, rtol=1e-5, atol=1e-6)
        watched: list[list[torch.Tensor]] = []
        run_recipe(
            replace(plain, average=0.0), TOKENS, TINY, 4, lambda _, m: watched.append(numbers(m))
        )
        assert equal(watched[-1], numbers(last))  # a decay of 0 keeps the newest only


class TestStepsTo:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [(3.0, 10), (3.5, 10), (2.6, 20), (2.5, 25), (2.4, 30), (2.0, None)],
    )
    def test_between_two_measurements_the_curve_is_straight(
        self, target: float, expected: float | None
    ) -> None:
        found = steps_to(target, [10, 20, 30], [3.0, 2.6, 2.4])
        assert found == (None if expected is None else pytest.approx(expected))

    def test_the_first_time_counts(self) -> None:
        assert steps_to(2.0, [1, 2, 3, 4], [3.0, 1.0, 4.0, 1.0]) == pytest.approx(1.5)


class TestWeightAverage:
    def test_is_the_formula(self) -> None:
        layer = nn.Linear(3, 2)
        average, values = WeightAverage(layer, 0.8), []
        generator = torch.Generator().manual_seed(0)
        for _ in range(12):
            with torch.no_grad():
                layer.weight.copy_(torch.randn(2, 3, generator=generator))
            values.append(layer.weight.detach().double().clone())
            average.update()
        mean = torch.stack(values[:5]).mean(0)  # 1/5 = 1 - 0.8: from here on it is exponential
        for value in values[5:]:
            mean = 0.8 * mean + 0.2 * value
        with average.applied():
            torch.testing.assert_close(layer.weight.double(), mean, rtol=1e-5, atol=1e-6)
        assert torch.equal(layer.weight.double(), values[-1])

    def test_the_model_keeps_its_tensors(self) -> None:
        model = GPT(TINY)
        average = WeightAverage(model, 0.9)
        where = [weight.data_ptr() for weight in model.parameters()]
        average.update()
        average.swap()
        assert where == [weight.data_ptr() for weight in model.parameters()]
        assert all(weight.requires_grad for weight in model.parameters())

    def test_an_error_inside_brings_the_weights_back(self) -> None:
        layer = nn.Linear(2, 2)
        average = WeightAverage(layer, 0.5)
        average.update()
        nn.init.zeros_(layer.weight)
        with pytest.raises(KeyError), average.applied():
            raise KeyError("measured wrongly")
        assert (layer.weight == 0).all()

    def test_what_cannot_be_is_refused(self) -> None:
        layer = nn.Linear(2, 2)
        for decay in (1.0, -0.1, 1.5):
            with pytest.raises(ValueError, match=rf"decay {decay} must be from 0"):
                WeightAverage(layer, decay)
        before = numbers(layer)
        with (
            pytest.raises(RuntimeError, match="nothing is averaged yet"),
            WeightAverage(layer, 0.5).applied(),
        ):
            pass
        assert equal(before, numbers(layer))


class TestIdeas:
    """What the chapter does to models: values, one forward pass, and causality."""

    IDEAS = bench.chapter_ideas()

    def model(self, *names: str, **changes: Any) -> GPT:
        torch.manual_seed(0)
        model = GPT(replace(TINY, position="rotary", heads=2, **changes)).eval()
        for name in names:
            self.IDEAS[name](model)
        return model

    @pytest.mark.parametrize("name", bench.IDEAS)
    def test_it_writes_with_a_cache_as_it_reads(self, name: str) -> None:
        model = self.model(name)
        with torch.no_grad():  # zeros would hide what the blocks do
            for weight in model.parameters():
                weight += 0.3 * torch.randn_like(weight)
        row = [3, 1, 4, 1, 5, 9]
        with torch.no_grad():
            whole = model(torch.tensor([row]))[0]
        session = InferenceSession(model)
        first = session.feed([row[:3]])[0, 0]
        rest = [session.feed([[token]])[0, 0] for token in row[3:]]
        for found, expected in zip([first, *rest], whole[2:], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("name", bench.IDEAS)
    @pytest.mark.slow
    def test_it_is_allowed_in_the_race(self, name: str) -> None:
        ledger.check_entry(replace(RECORD, prepare=(self.IDEAS[name],)))

    def test_scores_are_bounded(self) -> None:
        model = self.model("normalize_queries_and_keys")
        attention = model.decoder.blocks[0].attention
        query, key, value = attention.project(torch.randn(2, 5, 12))
        for vectors in (query, key):
            long = torch.full((2, 2, 5), 6**0.5)  # up to the normalization's epsilon
            torch.testing.assert_close(vectors.norm(dim=-1), long, rtol=1e-3, atol=0)
        plain = self.model().decoder.blocks[0].attention
        stream = torch.randn(2, 5, 12)
        torch.testing.assert_close(attention.project(stream)[2], plain.project(stream)[2])
        assert value.shape == (2, 2, 5, 6)

    def test_squared_relu(self) -> None:
        activation = self.model("square_relu").decoder.blocks[1].feed_forward.activation
        assert activation(torch.tensor([-3.0, 0.0, 0.5, 3.0])).tolist() == [0, 0, 0.25, 9]

    def test_blocks_begin_as_the_identity(self) -> None:
        model = self.model("zero_outputs")
        stream = torch.randn(2, 5, 12)
        assert torch.equal(model.decoder.blocks[0](stream), stream)

    def test_value_tables_are_added_to_the_values_alone(self) -> None:
        model, plain = self.model("add_value_tables"), self.model()
        ids = torch.tensor([[1, 2, 3, 2]])
        model(ids)
        stream = torch.randn(1, 4, 12)
        attention = model.decoder.blocks[1].attention
        other = plain.decoder.blocks[1].attention
        for place, (found, before) in enumerate(
            zip(attention.project(stream), other.project(stream), strict=True)
        ):
            more = model.value_tables[1](ids).unflatten(-1, (2, 6)).transpose(1, 2)
            torch.testing.assert_close(found, before + more if place == 2 else before)


class TestLedger:
    def test_the_text_must_be_the_races(self, tmp_path: Path) -> None:
        other = tmp_path / "other.txt"
        other.write_text("to be or not to be", encoding="utf-8")
        with pytest.raises(ValueError, match="18 characters that are not tiny Shakespeare"):
            ledger.Track(other)
        with pytest.raises(ValueError, match="--corpus FILE"):
            ledger.Track(None)

    @pytest.mark.slow
    def test_the_record_keeps_its_own_rules(self) -> None:
        ledger.check_entry(RECORD)
        model = GPT(replace(SHAPE, **RECORD.model))
        assert check_model(model) == {}

    @pytest.mark.parametrize(
        ("model", "said"),
        [({"layers": 5}, "layers 5 must stay 4"), ({"width": 256}, "width 256 must stay 128")],
    )
    def test_another_size_is_refused(self, model: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            ledger.check_entry(RECORD.with_model(**model))

    def test_too_many_parameters_are_refused(self) -> None:
        def grow(model: GPT) -> None:
            model.pairs = nn.Embedding(65 * 65, 128)

        with pytest.raises(ValueError, match="are more than 850,000"):
            ledger.check_entry(replace(RECORD, prepare=(grow,)))

    @pytest.mark.slow
    def test_a_look_at_the_next_character_is_refused(self) -> None:
        def peek(model: GPT) -> None:
            model.token_embedding.register_forward_hook(
                lambda _, given, out: out + out.roll(-1, dims=1)
            )

        with pytest.raises(AssertionError, match="position"):
            ledger.check_entry(replace(RECORD, prepare=(peek,)))

    @pytest.mark.parametrize(
        ("losses", "seconds", "good", "said"),
        [
            ((1.89, 1.90, 1.91), (9.0, 9.0, 30.0), True, "a record"),
            ((1.89, 1.90, 1.92), (5.0, 5.0, 5.0), False, "above the target"),
            ((1.80, 1.80, 1.80), (10.0, 10.0, 10.0), False, "no faster"),
        ],
    )
    def test_the_verdict(
        self, losses: tuple[float, ...], seconds: tuple[float, ...], good: bool, said: str
    ) -> None:
        entry = [{"loss": a, "seconds": b} for a, b in zip(losses, seconds, strict=True)]
        record = [{"loss": 1.9, "seconds": 10.0}] * 3
        found = ledger.verdict(entry, record)
        assert (found[0], said in found[1]) == (good, True)

    @pytest.mark.slow
    def test_an_entry_joins_the_ledger(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        entry = tmp_path / "mine.py"
        entry.write_text(
            "from mini_gpt.speedrun import RECORD\nRECIPE = RECORD.with_training(beta1=0.9)\n",
            encoding="utf-8",
        )
        words = ["--quick", "--out", str(tmp_path), "--entry", str(entry), "--keep", "Ada: beta1"]
        assert ledger.main(words) == 1  # minuscule runs do not reach the target
        kept = json.loads((tmp_path / "records.json").read_text(encoding="utf-8"))["records"]
        assert [(one["what"], len(one["runs"])) for one in kept] == [("Ada: beta1", 3)]
        assert "Ada: beta1" in (tmp_path / "records.md").read_text(encoding="utf-8")
        entry.write_text("x = 1\n", encoding="utf-8")
        assert ledger.main(words) == 2
        assert "defines no RECIPE" in capsys.readouterr().err

    def test_the_page_is_what_the_ledger_says(self) -> None:
        found = stored_speedrun.records()
        page = (ROOT / "bench/results/records.md").read_text(encoding="utf-8")
        assert page == ledger.page(found)

    def test_each_record_keeps_the_rules_and_beats_the_one_before(self) -> None:
        found = stored_speedrun.records()
        assert found
        for place, record in enumerate(found):
            losses = [run["loss"] for run in record["runs"]]
            assert [run["seed"] for run in record["runs"]] == [1, 2, 3]
            assert record["loss"] == round(statistics.mean(losses), 4) <= TARGET
            assert record["ratio"] < 1 or place == 0  # the first has none before it
            assert {run["steps"] for run in record["runs"]} == {record["steps"]}
        assert found[-1]["steps"] == RECORD.training.steps


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    words = ["--quick", "--out", str(tmp_path), "--seeds", "2", "--only"]
    assert bench.main([*words, "RMS, no clipping", "squared ReLU", "clock"]) == 0
    found = json.loads((tmp_path / "speedrun.json").read_text(encoding="utf-8"))
    assert list(found["runs"]["ladder"]) == ["RMS, no clipping"]
    assert list(found["runs"]["added"]) == ["squared ReLU"]
    assert [run["seed"] for run in found["runs"]["added"]["squared ReLU"]] == [2]
    assert "as it is" in found["clock"]["steps"]
    assert "squared ReLU" in (tmp_path / "speedrun.md").read_text(encoding="utf-8")


class TestFound:
    """What the chapter says of the large track, against what the benchmark has found."""

    def mean(self, kind: str, name: str) -> float:
        return statistics.mean(run["loss"] for run in stored_speedrun.runs(kind)[name])

    def test_all_runs_are_there(self) -> None:
        for kind, recipes in bench.kinds().items():
            found = stored_speedrun.runs(kind)
            assert list(found) == list(recipes)
            for name, runs in found.items():
                assert [run["seed"] for run in runs] == [1, 2, 3], name
                assert {run["steps"] for run in runs} == {recipes[name].training.steps}, name
                small = count_parameters(GPT(replace(SHAPE, **recipes[name].model)))
                assert all(run["parameters"] >= small for run in runs)

    def test_what_the_published_recipe_needs(self) -> None:
        path = ROOT / "bench/results/time_to_loss.json"
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        published = [run for run in runs if run["recipe"] == "published"]
        (reached,) = [run for run in published if run["reached"]]
        assert (reached["steps"], round(reached["processor_seconds"])) == (1850, 111)
        others = [run for run in published if not run["reached"]]
        assert sorted(round(run["loss"], 3) for run in others) == [1.901, 1.927]
        assert {run["steps"] for run in others} == {2000}

    def test_what_the_ladder_gains(self) -> None:
        means = {name: self.mean("ladder", name) for name in stored_speedrun.runs("ladder")}
        gains = dict(zip(list(means)[1:], pairwise(means.values()), strict=True))
        gain = {name: before - after for name, (before, after) in gains.items()}
        largest = sorted(gain, key=lambda name: -gain[name])[:2]
        assert set(largest) == {"rotary positions", "rates, shorter memory"}
        assert gain["Muon for the matrices"] > 0.1
        assert gain["biases"] == pytest.approx(0.03, abs=0.005)
        assert gain["RMS, no clipping"] == pytest.approx(0.011, abs=0.001)
        losses = [run["loss"] for run in stored_speedrun.runs("ladder")["RMS, no clipping"]]
        assert max(losses) - min(losses) == pytest.approx(0.027, abs=0.001)

    def test_what_is_taken_back_costs(self) -> None:
        record = self.mean("ladder", "RMS, no clipping")
        for name in stored_speedrun.runs("taken back"):
            assert self.mean("taken back", name) - record > 0.1, name
        assert self.mean("taken back", "no biases") - record > 4 * 0.03

    def test_what_is_added_does_not_gain(self) -> None:
        own = [run["loss"] for run in stored_speedrun.runs("ladder")["RMS, no clipping"]]
        added = {
            name: [run["loss"] for run in runs]
            for name, runs in stored_speedrun.runs("added").items()
        }
        for name in ("normalized queries and keys", "squared ReLU"):
            assert min(added[name]) > max(own)
            assert statistics.mean(added[name]) - statistics.mean(own) == pytest.approx(
                0.03, abs=0.005
            )
        zero = added["outputs that begin at zero"]
        assert sum(loss < max(own) for loss in zero) == 1
        assert statistics.mean(zero) - statistics.mean(own) == pytest.approx(0.03, abs=0.005)
        for name in ("value tables", "average of weights"):
            assert abs(statistics.mean(added[name]) - statistics.mean(own)) < 0.002
        constant = self.mean("taken back", "a constant rate")
        averaged = self.mean("added", "average, constant rate")
        assert constant - averaged > 0.7 * (constant - statistics.mean(own))

    def test_the_last_rung_is_no_record(self) -> None:
        lower, own, ratio = stored_speedrun.race()
        assert lower < own <= TARGET
        assert ratio >= 1
        record, entry = stored_result("speedrun")["race"].values()
        assert ledger.verdict(entry, record)[0] is False
        assert [run["steps"] for run in entry + record] == [175] * 3 + [180] * 3

    def test_what_a_step_costs(self) -> None:
        found = stored_speedrun.clock()
        assert found["AdamW in place of Muon"] < 0.97
        assert found["RMS normalization"] > 1.01
        for name in ("loss outside the model", "compiled"):
            assert found[name] == pytest.approx(1, abs=0.1), name

    def test_the_table_is_that_of_the_runs(self) -> None:
        page = (ROOT / "bench/results/speedrun.md").read_text(encoding="utf-8")
        assert page == bench.table(stored_result("speedrun"))


class TestChecks:
    def said(self, capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
        check(answer)
        return capsys.readouterr().out

    def test_a_mean_of_ratios_is_not_the_median(self, capsys: pytest.CaptureFixture[str]) -> None:
        def by_means(losses: Any, own: Any, other: Any, target: float) -> bool:
            return statistics.mean(losses) <= target and sum(own) < sum(other)

        found = self.said(capsys, checks.verdict, by_means)
        assert found.startswith("not yet: for one disturbed run of three")

    def test_rounding_down_is_one_seed_too_few(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = self.said(
            capsys, checks.seeds_needed, lambda s, d: max(1, int(8 * (s / d) ** 2 + 1e-9))
        )
        assert found.startswith("not yet: for a spread of 0.02 and a difference of 0.013")

    def test_an_average_that_begins_at_zero(self, capsys: pytest.CaptureFixture[str]) -> None:
        class FromZero(WeightAverage):
            @torch.no_grad()
            def update(self) -> None:
                self.updates += 1
                for mean, weight in zip(self._means, self._weights, strict=True):
                    mean.lerp_(weight, 1 - self.decay)

        found = self.said(capsys, checks.average, FromZero)
        assert found.startswith("not yet: for decay 0.9 and the values [8.0]")

    def test_an_average_that_exchanges_tensors(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Replacing(WeightAverage):
            def swap(self) -> None:
                for weight, mean in zip(self._weights, self._means, strict=True):
                    weight.data, mean.data = mean.data, weight.data

            def __init__(self, model: nn.Module, decay: float) -> None:
                super().__init__(model, decay)
                self._weights = list(model.parameters())

            def update(self) -> None:
                with torch.no_grad():
                    super().update()

        found = self.said(capsys, checks.average, Replacing)
        assert "has other tensors after swap()" in found

    def test_the_package_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.said(capsys, checks.average, WeightAverage).startswith("correct: ")

    def test_the_neighbor_on_the_other_side(self, capsys: pytest.CaptureFixture[str]) -> None:
        def wrong(model: GPT, share: float) -> None:
            model.token_embedding.register_forward_hook(
                lambda _, __, out: out + share * out.roll(1, dims=1)
            )

        found = self.said(capsys, checks.mix_with_previous, wrong)
        assert found.startswith("not yet: for a share of 0.5, the first position")


class TestDrawings:
    @pytest.mark.parametrize(
        ("picture", "told"),
        [
            (drawings.clock(), "clock stands"),
            (drawings.gains({"one": 0.02, "two": -0.5}), "two −0.500"),
            (drawings.leak("to be"), "the character after it"),
            (drawings.leak("to be", shift=1), "the character before it"),
            (drawings.updates([8.0, 4.0], [8.0, 6.0]), "4 gives 6"),
            (drawings.pairs([9.0], [10.0]), "9 against 10"),
            (drawings.two_by_two([[2.25, 2.0], [2.0, 1.0]], ("a", "b"), ("c", "d")), "a, c 2.250"),
        ],
    )
    def test_numbers_stand_in_the_description(self, picture: Any, told: str) -> None:
        assert told in picture.svg


def test_a_recipe_may_be_built_by_hand() -> None:
    recipe = Recipe({}, TrainConfig(**FEW, device="cpu", precision="float32"))
    model, _ = run_recipe(recipe, TOKENS, TINY, 1)
    assert count_parameters(model) == count_parameters(GPT(TINY))
