"""The benchmark harness: fair turns, honest medians, complete records. No time is asserted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chapters import chapter
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # bench/ is no part of the installed package

from bench import __main__ as command  # noqa: E402
from bench import attention as attention_bench  # noqa: E402
from bench import (  # noqa: E402  # noqa: E402
    batching,
    generation,
    gpu,
    harness,
    health,
    overfitting,
    time_to_loss,
    training_step,
)
from bench import tokenizer as tokenizer_bench  # noqa: E402
from mini_gpt.characters import CharTokenizer  # noqa: E402
from mini_gpt.config import GPTConfig  # noqa: E402
from mini_gpt.diagnostics import count_parameters  # noqa: E402
from mini_gpt.model import GPT  # noqa: E402
from mini_gpt.trainer import Stepper  # noqa: E402


def snapshot() -> dict[str, bytes]:
    """What is in bench/, byte for byte."""
    files = (ROOT / "bench").rglob("*")
    return {str(f): f.read_bytes() for f in files if f.is_file() and "__pycache__" not in f.parts}


@pytest.fixture(autouse=True)
def repository_stays_as_it_is() -> Any:
    before = snapshot()
    yield
    assert snapshot() == before


class Clock:
    """A clock that only runs while somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(harness, "time", fake)
    return fake


def test_contestants_take_turns_and_each_begins(clock: Clock) -> None:
    log: list[str] = []

    def worker(name: str, seconds: float) -> Any:
        def work() -> None:
            clock.now += seconds
            log.append(name)

        return work

    contestants = {name: worker(name, 1.0) for name in "abc"}
    harness.contest(contestants, harness.Effort(rounds=6, turn_seconds=1.0, warm_up=2))
    assert "".join(log[:6]) == "aabbcc"  # the warm-up
    assert "".join(log[6:]) == "abc" + "bca" + "cab" + "abc" + "bca" + "cab"


def test_short_work_is_repeated_and_the_median_is_of_one_run(clock: Clock) -> None:
    delays = iter([0.25] * 2 + [0.25] * 4 + [0.5] * 4 + [0.25] * 4 + [9.0] * 4 + [0.375] * 4)

    def work() -> None:
        clock.now += next(delays)

    effort = harness.Effort(rounds=5, turn_seconds=1.0, warm_up=2)
    timing = harness.contest({"a": work}, effort)["a"]
    assert timing.repeats == 4
    assert timing.seconds == [0.25, 0.5, 0.25, 9.0, 0.375]
    assert timing.median == 0.375


def test_ratios_are_taken_round_by_round() -> None:
    # In every round the peer needs twice as long, though the machine slows down in between.
    timings = {
        "mini_gpt": harness.Timing([1.0, 4.0, 1.0, 4.0, 4.0], 1),
        "peer": harness.Timing([2.0, 8.0, 2.0, 8.0, 2.0], 1),
    }
    own, peer = harness.speed_rows(timings, amount=100)
    assert own == ["mini_gpt", "25", "25 to 100", "1.00"]
    assert peer == ["peer", "50", "12 to 50", "2.00"]


def test_too_few_rounds_and_nobody_to_time_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds 4 must be at least 5"):
        harness.Effort(rounds=4)
    with pytest.raises(ValueError, match="no contestants"):
        harness.contest({})


def test_an_error_in_a_contestant_is_not_hidden_and_leaves_the_collector_on() -> None:
    import gc

    def work() -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        harness.contest({"a": work}, harness.QUICK)
    assert gc.isenabled()


def test_environment_names_the_machine_and_no_place() -> None:
    machine = harness.environment()
    names = {"date", "processor", "cores", "threads", "system", "python", "torch", "load_before"}
    assert set(machine) == names
    assert machine["cores"] >= 1
    assert machine["processor"]
    assert "/" not in json.dumps(machine)


def test_table_is_markdown() -> None:
    assert harness.table(["who", "n"], [["a", "1"], ["longer", "23"]]).splitlines() == [
        "| who    |  n |",
        "| :----- | -: |",
        "| a      |  1 |",
        "| longer | 23 |",
    ]


@pytest.mark.slow
def test_training_step_runs_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["training_step", "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "training_step.json").read_text(encoding="utf-8"))
    (result,) = record["results"]
    assert result["shape"] == dict(
        zip(training_step.FIELDS, training_step.QUICK_SHAPES[0], strict=True)
    )
    assert {"mini_gpt", "transformers GPT2LMHeadModel"} <= set(result["timings"])
    timed = {name for name in result["timings"] if not name.endswith(training_step.BFLOAT16)}
    assert timed | set(record["missing"]) == set(training_step.CONTESTANTS)
    for timing in result["timings"].values():
        assert len(timing["seconds"]) == 5
        assert timing["median"] == sorted(timing["seconds"])[2] > 0
    # The same architecture: as many parameters, unless the head is not tied to the embedding.
    parameters = result["parameters"]
    assert parameters["transformers GPT2LMHeadModel"] == parameters["mini_gpt"]
    table = (tmp_path / "training_step.md").read_text(encoding="utf-8")
    assert table.count("\n| mini_gpt  ") == 1
    assert record["environment"]["processor"] in table
    assert all(name in table for name in record["missing"])
    assert str(tmp_path) not in capsys.readouterr().out + table


def test_a_contestant_that_does_other_work_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def lazy(*shape: int) -> Any:
        model = training_step.mini_gpt(*shape)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        model.token_embedding.weight.requires_grad_(True)
        model.register_forward_hook(lambda _, inputs, logits: logits * 0)
        return model

    monkeypatch.setitem(training_step.CONTESTANTS, "lazy", ("lazy", lazy))
    with pytest.raises(RuntimeError, match="lazy does not learn"):
        training_step.measure(training_step.QUICK_SHAPES[0], ["lazy"], harness.QUICK)


@pytest.mark.slow
def test_bfloat16_has_a_row_where_the_processor_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for here in (False, True):
        monkeypatch.setattr(training_step, "has_bfloat16", lambda here=here: here)
        assert training_step.main(["--quick", "--out", str(tmp_path)]) == 0
        record = json.loads((tmp_path / "training_step.json").read_text(encoding="utf-8"))
        (result,) = record["results"]
        assert ("mini_gpt in bfloat16" in result["timings"]) is here
    # The same weights and batch: close to float32's losses, but in fewer digits.
    losses = result["first_losses"]
    assert losses["mini_gpt in bfloat16"] == pytest.approx(losses["mini_gpt"], abs=0.05)
    assert losses["mini_gpt in bfloat16"] != losses["mini_gpt"]


@pytest.mark.slow
def test_a_shape_alone_leaves_the_results_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_step, "SHAPES", ((1, 2, 8, 5, 3, 7), (1, 2, 12, 5, 3, 7)))
    monkeypatch.setattr(training_step, "installed", lambda: ({"mini_gpt": "1"}, []))
    monkeypatch.setattr(harness, "prepare", lambda options: harness.QUICK)
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda model: compiled.append(model))
    seen = []
    for shape in ("1", "0", "1"):
        assert training_step.main(["--shape", shape, "--out", str(tmp_path)]) == 0
        record = json.loads((tmp_path / "training_step.json").read_text(encoding="utf-8"))
        seen.append([result["shape"]["width"] for result in record["results"]])
    assert seen == [[12], [8, 12], [8, 12]]
    assert len(compiled) == 3  # ours, in a row of its own
    assert {"mini_gpt", "mini_gpt, compiled"} <= set(record["results"][0]["timings"])


@pytest.mark.slow
def test_time_to_loss_runs_and_adds_seeds(tmp_path: Path) -> None:
    quick = ["time_to_loss", "--quick", "--out", str(tmp_path), "--seeds"]
    assert command.main([*quick, "2"]) == 0
    assert command.main([*quick, "1", "--add"]) == 0
    record = json.loads((tmp_path / "time_to_loss.json").read_text(encoding="utf-8"))
    turns = [(run["seed"], run["recipe"]) for run in record["runs"]]
    assert turns == [(1, "published"), (1, "mini_gpt"), (2, "published"), (2, "mini_gpt")]
    for run in record["runs"]:
        assert run["reached"]
        assert run["curve"][-1] == [run["steps"], run["seconds"], run["loss"]]
        assert run["loss"] <= record["target"] < min([9.0, *(c[2] for c in run["curve"][:-1])])
    table = (tmp_path / "time_to_loss.md").read_text(encoding="utf-8")
    assert table.count("\n| mini_gpt ") == 2
    assert "mini_gpt: 2 of 2 runs get there" in table


@pytest.mark.slow
def test_a_run_that_misses_the_loss_is_said_to(tmp_path: Path) -> None:
    arguments = ["time_to_loss", "--quick", "--target", "0.0", "--seeds", "1"]
    assert command.main([*arguments, "--out", str(tmp_path)]) == 1
    record = json.loads((tmp_path / "time_to_loss.json").read_text(encoding="utf-8"))
    assert [(run["reached"], run["steps"]) for run in record["runs"]] == [(False, 60)] * 2
    table = (tmp_path / "time_to_loss.md").read_text(encoding="utf-8")
    assert "published: none of 1 runs gets there; mini_gpt: none of 1 runs gets there" in table


def test_both_recipes_train_models_of_one_size() -> None:
    models = [
        GPT(GPTConfig(65, **time_to_loss.FULL_SHAPE, **one.recipe.model))
        for one in time_to_loss.CONTESTANTS.values()
    ]
    published, ours = (count_parameters(model) for model in models)
    assert ours == pytest.approx(published, rel=0.02)
    # Muon has the matrices of the blocks, all of them, and AdamW the rest, each once.
    recipe = time_to_loss.CONTESTANTS["mini_gpt"].recipe
    stepper = Stepper(models[1], np.arange(500) % 65, recipe.training)
    muon, adamw = (
        [p for group in optimizer.param_groups for p in group["params"]]
        for optimizer in stepper.optimizers
    )
    assert len(muon) == 4 * 4
    assert all(p.ndim == 2 for p in muon)
    assert sum(p.numel() for p in muon + adamw) == ours
    stepper.step()
    rates = [optimizer.param_groups[0]["lr"] for optimizer in stepper.optimizers]
    assert rates == pytest.approx([0.5 * 8e-2 / 15, 8e-2 / 15])


def test_a_missing_peer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"mini-gpt": "1", "transformers": None, "llms-from-scratch": None}
    monkeypatch.setattr(training_step, "version_of", versions.__getitem__)
    assert training_step.main(["--quick", "--out", str(tmp_path)]) == 0
    table = (tmp_path / "training_step.md").read_text(encoding="utf-8")
    assert "Not installed, so not measured: transformers GPT2LMHeadModel, llms-from-" in table


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nonsense"]) == 2
    assert "no benchmark 'nonsense'; there are training_step" in capsys.readouterr().err


@pytest.mark.slow
def test_generation_runs_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["generation", "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "generation.json").read_text(encoding="utf-8"))
    assert [result["batch"] for result in record["results"]] == [1, 16]
    for result in record["results"]:
        assert set(result["timings"]) == {"mini_gpt", "transformers generate"}
        assert len(result["first_token"]["mini_gpt"]["seconds"]) == 5
        assert result["bound_tokens_per_second"] > 0
    table = (tmp_path / "generation.md").read_text(encoding="utf-8")
    assert table.count("\n| 1 layers, width 8, batch 16") == 1
    assert generation.chapter_table(record["results"]) in table
    assert str(tmp_path) not in capsys.readouterr().out + table


def test_the_table_of_generation_gives_the_medians_and_their_ratios() -> None:
    """Three turns, told by hand; the ratio is that of the turn in the middle."""
    seconds = {
        generation.OURS: [1.0, 2.0, 4.0],
        generation.PEER: [3.0, 4.0, 4.0],
    }
    result = {"layers": 3, "width": 12, "batch": 5, "new_tokens": 20}
    result |= {"bound_tokens_per_second": 4321}
    result |= {"timings": {name: {"seconds": turns} for name, turns in seconds.items()}}
    (row,) = generation.chapter_table([result]).splitlines()[2:]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("3 × 12", "5", "50 (2.00)", "25", "4,321"),
    ]


def test_the_chapter_shows_the_table_of_generation() -> None:
    record = json.loads((ROOT / "bench/results/generation.json").read_text(encoding="utf-8"))
    notebook = json.loads(chapter("generation").notebook.read_text(encoding="utf-8"))
    prose = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert any(generation.chapter_table(record["results"]) in cell for cell in prose)


def test_generation_compares_equal_texts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "from_gpt2_names", lambda tensors, layers: {})
    monkeypatch.setattr(generation.GPT, "load_state_dict", lambda self, state: None)
    with pytest.raises(RuntimeError, match="greedy texts differ"):
        generation.contestants((1, 2, 8, 16, 11), 2, 3, 9)


@pytest.mark.slow
def test_tokenizer_runs_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["tokenizer", "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert set(record["training"]["timings"]) == {"mini_gpt", "tokenizers"}
    assert {"mini_gpt", "tiktoken", "tokenizers"} < set(record["encoding"]["timings"])
    assert [row["vocab_size"] for row in record["sizes"]][1:] == [300, 50_257]
    table = (tmp_path / "tokenizer.md").read_text(encoding="utf-8")
    assert tokenizer_bench.chapter_table(record["sizes"]) in table
    assert str(tmp_path) not in capsys.readouterr().out + table


def test_encoders_with_other_ids_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_bench, "GPT2_PATTERN", r"(?s:.)")
    with pytest.raises(RuntimeError, match="mini_gpt gives other ids than tiktoken"):
        tokenizer_bench.encoding("the cat")


def test_the_chapter_shows_the_benchmarks_table() -> None:
    record = json.loads((ROOT / "bench/results/tokenizer.json").read_text(encoding="utf-8"))
    notebook = json.loads(chapter("tokenizer").notebook.read_text(encoding="utf-8"))
    prose = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert any(tokenizer_bench.chapter_table(record["sizes"]) in cell for cell in prose)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_batching_runs_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["batching", "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "batching.json").read_text(encoding="utf-8"))
    assert len(record["timings"]) == 5
    for seen in record["resident_megabytes"].values():
        assert len(seen) == 11
        assert max(seen) < seen[0] + 100
    assert record["file_bytes"] == 64 + 2 * 300_000
    assert str(tmp_path) not in capsys.readouterr().out


def test_the_large_file_is_a_token_file(tmp_path: Path) -> None:
    batching.write_large_file(tmp_path / "large", 2**24 + 3)
    tokens = batching.open_token_file(tmp_path / "large", batching.TOKENIZER)
    assert len(tokens) == 2**24 + 3
    assert 0 < int(tokens[-3:].max()) < batching.TOKENIZER.vocab_size


@pytest.mark.slow
def test_attention_runs_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["attention", "--quick", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "attention.json").read_text(encoding="utf-8"))
    assert list(record["rungs"]) == [
        "attention_by_loops",
        "attention_by_products",
        "attention_by_names",
        "causal_attention",
        "one query, cached",
    ]
    for row in record["rungs"].values():
        assert row["lengths"] == [4, 8, 16]
        assert len(row["seconds"]) == len(row["bytes_kept"]) == len(row["spread"]) == 3
        for seconds, (low, high) in zip(row["seconds"], row["spread"], strict=True):
            assert 0 < low <= seconds <= high
    table = (tmp_path / "attention.md").read_text(encoding="utf-8")
    assert attention_bench.chapter_table(record["rungs"]) in table
    assert record["environment"]["processor"] in table
    assert str(tmp_path) not in capsys.readouterr().out + table


@pytest.mark.parametrize(("power", "scale"), [(1.0, 3.0), (2.0, 0.01), (0.0, 7.0)])
def test_a_slope_is_the_exponent_of_the_longest_contexts(power: float, scale: float) -> None:
    lengths = [128, 256, 512, 1024]
    amounts = [99.0, *(scale * n**power for n in lengths[1:])]
    assert attention_bench.slope(lengths, amounts) == pytest.approx(power, abs=1e-9)


def test_memory_kept_grows_with_the_square_without_the_kernel() -> None:
    by_products = attention_bench.chapter_rungs()["attention_by_products"]
    lengths = [256, 512, 1024]
    slopes = [
        attention_bench.slope(lengths, [attention_bench.bytes_kept(rung, n) for n in lengths])
        for rung in (by_products, attention_bench.causal_attention)
    ]
    assert slopes == [pytest.approx(1.9, abs=0.1), pytest.approx(1.0, abs=0.02)]


def test_an_attention_that_does_other_work_is_found_out() -> None:
    rungs = attention_bench.chapter_rungs()
    attention_bench.require_equal(rungs)
    first_corner = attention_bench.partial(
        attention_bench.torch.nn.functional.scaled_dot_product_attention, is_causal=True
    )
    with pytest.raises(RuntimeError, match="top left gives other numbers than causal_attention"):
        attention_bench.require_equal({**rungs, "top left": first_corner})


def test_a_chapter_without_its_rungs_is_named(tmp_path: Path) -> None:
    (tmp_path / "chapter.ipynb").write_text('{"cells": []}', encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"chapter\.ipynb defines no attention_by_loops, "):
        attention_bench.chapter_rungs(tmp_path / "chapter.ipynb")


def test_the_chapter_shows_the_table_of_attention() -> None:
    record = json.loads((ROOT / "bench/results/attention.json").read_text(encoding="utf-8"))
    notebook = json.loads(chapter("attention").notebook.read_text(encoding="utf-8"))
    prose = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert any(attention_bench.chapter_table(record["rungs"]) in cell for cell in prose)


@pytest.mark.slow
@pytest.mark.slow
def test_threads_are_measured_with_a_busy_program_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    words = ["threads", "--quick", "--threads", "1", "--out", str(tmp_path)]
    try:
        assert command.main(words) == 0
    finally:
        torch.set_num_threads(before)
    results = json.loads((tmp_path / "threads.json").read_text(encoding="utf-8"))["results"]
    assert [(each["busy"], each["chosen"]) for each in results] == [(0, 1)] * 3 + [(1, 1)] * 3
    assert all(set(each["ms"]) == {"1"} for each in results)
    assert "busy programs" in (tmp_path / "threads.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("part", [part for part in gpu.PARTS if part != "tests"])
def test_each_part_for_a_card_runs_alone_at_tiny_size(part: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(time_to_loss.QUICK_TEXT, encoding="utf-8")
    arguments = ["gpu", "--tiny", "--only", part, "--corpus", str(corpus), "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert list(record["parts"]) == [part]
    assert len(record["parts"][part]) >= (1 if part == "pretraining" else 2)
    assert set(record["environment"]) == {"card", "torch", "cuda", "python", "date"}
    assert all(result["name"] for result in record["parts"][part])
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.slow
def test_parts_for_a_card_join_the_results_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("card", "writing", "recipe"):
        assert command.main(["gpu", "--tiny", "--only", part, "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert list(record["parts"]) == ["card", "writing", "recipe"]  # in their own order
    assert record["parts"]["recipe"] == []
    assert record["left_out"] == ["the recipe: give the corpus as --corpus FILE"]
    ways = [(row["part"], row["name"]) for row in record["roofline"]]
    assert ("writing 16", "mini_gpt, recorded") in ways
    assert "the recipe: give the corpus" in (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "writing: {" in capsys.readouterr().out


def test_bounds_come_from_what_the_card_was_measured_to_do() -> None:
    parts = {
        "card": [
            {"name": "product", "teraflops": 700.0},
            {"name": "memory", "gigabytes_per_second": 4000.0},
        ],
        "step": [{"name": "a", "tokens_per_second": 500.0, "teraflops": 350.0}],
        "writing": [{"name": "b", "rows": 16, "tokens_per_second": 8e3, "bytes_a_step": 4 * 10**9}],
    }
    step, token = gpu.roofline(parts)
    assert (step["bound"], step["share"], step["bound_by"]) == (1000.0, 0.5, "products")
    assert (token["bound"], token["share"], token["bound_by"]) == (16e3, 0.5, "memory")
    assert gpu.roofline({"step": parts["step"]}) == []


def test_what_does_not_fit_the_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    late = gpu.Bench(gpu.torch.device("cpu"), False, None, deadline=0.0)
    assert list(gpu.pretraining(late)) == []
    assert late.left_out == ["pre-training: no time left"]


def test_a_part_that_fails_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bench: Any) -> Any:
        yield {"name": "half"}
        raise RuntimeError("no memory")

    monkeypatch.setitem(gpu.PARTS, "loss", fail)
    words = ["gpu", "--tiny", "--only", "loss", "card", "--out", str(tmp_path)]
    assert command.main(words) == 1
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [len(record["parts"][part]) for part in ("card", "loss")] == [2, 1]
    assert record["left_out"] == ["loss: RuntimeError"]


def test_without_a_card_the_real_sizes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert command.main(["gpu", "--out", str(tmp_path)]) == 2
    assert "there is no CUDA card here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_overfitting_runs_and_joins_the_results_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["overfitting", "--quick", "--out", str(tmp_path), "--only"]
    assert command.main([*words, "as it was", "make demo"]) == 0
    assert command.main([*words, "dropout 0.2"]) == 0
    record = json.loads((tmp_path / "overfitting.json").read_text(encoding="utf-8"))
    assert list(record["runs"]) == ["as it was", "dropout 0.2", "make demo"]  # in their own order
    for runs in record["runs"].values():
        assert [run["seed"] for run in runs] == [1]
        assert len(runs[0]["training"]) == len(runs[0]["validation"]) == 2
        assert runs[0]["by_heart"]["lines"] == runs[0]["unseen"]["lines"] == 20
    assert set(record["runs"]["make demo"][0]) - set(record["runs"]["as it was"][0]) == {"sample"}
    assert "| dropout 0.2 |" in (tmp_path / "overfitting.md").read_text(encoding="utf-8")
    capsys.readouterr()


class Reciter(GPT):
    """Says the next letter of the alphabet, after any letter."""

    def __init__(self) -> None:
        super().__init__(GPTConfig(27, context_length=24, layers=1, heads=1, width=2))

    def forward(self, ids: Any, *_: Any, **options: Any) -> Any:
        return nn.functional.one_hot((ids[:, -1:] + 1) % 27, 27).float()


def test_what_is_known_by_heart_is_counted_to_the_letter() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokenizer = CharTokenizer.train(letters + "\n")
    id_of = {letter: tokenizer.encode(letter)[0] for letter in letters}
    assert [id_of[letter] for letter in letters] == list(range(1, 27)), "the line break is 0"
    lines = [letters[:17] + "z" * 5, letters[:20], letters]
    # Of the first, one letter after the sixteen given is right; of the second all four, but not
    # its end; the third is longer than the context of 24, and right as far as that goes.
    found = overfitting.by_heart(Reciter(), tokenizer, lines)
    assert found == {"lines": 3, "whole": [2], "mean": 4.33, "longest": [2, 8]}


@pytest.mark.slow
def test_health_asks_each_preset_and_joins_the_results_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["health", "--quick", "--out", str(tmp_path), "--only"]
    assert command.main([*words, "shakespeare-small"]) == 0
    assert command.main([*words, "gpt2", "gpt2-xl"]) == 0
    record = json.loads((tmp_path / "health.json").read_text(encoding="utf-8"))
    assert list(record["presets"]) == ["gpt2", "gpt2-xl", "shakespeare-small"]
    assert all(found["faults"] == {} for found in record["presets"].values())
    assert health.shape_of("gpt2-xl") == GPTConfig(layers=9, heads=5, width=320)
    assert health.shape_of("gpt2") == GPTConfig.preset("gpt2")
    monkeypatch.setattr(health, "check_model", lambda model: {"one batch": "no"})
    assert command.main([*words, "gpt2"]) == 1
    assert "| gpt2 " in capsys.readouterr().out


def test_what_chapters_show_is_stored_in_the_package_alone(tmp_path: Path) -> None:
    for name in harness.SHOWN:
        assert harness.json_path(name, harness.RESULTS).is_file()
        assert not (harness.RESULTS / f"{name}.json").exists()
        assert harness.json_path(name, tmp_path) == tmp_path / f"{name}.json"
    assert harness.json_path("health", harness.RESULTS) == harness.RESULTS / "health.json"


@pytest.mark.slow
def test_starts_are_timed_up_to_the_first_step(tmp_path: Path) -> None:
    assert command.main(["first_step", "--quick", "--out", str(tmp_path)]) == 0
    (seconds,) = json.loads((tmp_path / "first_step.json").read_text())["seconds"].values()
    assert len(seconds) == 4
    assert all(len(found) == 1 and found[0] > 0 for found in seconds.values())
    table = (tmp_path / "first_step.md").read_text()
    assert all(f"| {kind}" in table for kind in seconds)
