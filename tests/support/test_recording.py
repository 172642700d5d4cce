"""Writing by steps of a fixed shape: the same texts, for every rule, stop and position."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mini_gpt.generation import InferenceSession, generate_rows
from mini_gpt.model import GPT
from mini_gpt.multi_head import LayerCache
from mini_gpt.sampling import SampleConfig
from mini_gpt.support import recording
from mini_gpt.support.recording import Recorder, write_ahead
from mini_gpt.support.step_writer import StaticCache, StepWriter
from shapes import without_shape_checks
from writing import BYTES, LETTERS, SCHEMES, lively_model

PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5], [2, 7]]  # of different lengths
Texts = list[tuple[list[int], str, str | None]]


def texts(model: GPT, config: SampleConfig, prompts: list[list[int]], recorded: bool) -> Texts:
    """What each row becomes, and why it ends."""
    found, growing = generate_rows(model, LETTERS, prompts, config, recorded=recorded)
    parts = [""] * len(prompts)
    for row, part in growing:
        parts[row] += part
    assert parts == [text.text for text in found]
    return [(text.ids, text.text, text.finish_reason) for text in found]


@pytest.mark.parametrize("position", SCHEMES)
@pytest.mark.parametrize(
    "rules",
    [
        {"temperature": 0.0},
        {"temperature": 1.3},
        {"top_k": 5, "repetition_penalty": 1.7},
        {"top_p": 0.8, "min_p": 0.02},
        {"typical_p": 0.9, "past_context": "slide", "max_new_tokens": 7},
        {"stop": ("b", "ca"), "stop_ids": ((4, 4), (7,))},
    ],
)
def test_texts_are_those_of_the_plain_loop(position: str, rules: dict[str, Any]) -> None:
    model = lively_model(position)
    config = SampleConfig(**{"max_new_tokens": 9, "seed": 5, "temperature": 1.0, **rules})
    expected = texts(model, config, PROMPTS, recorded=False)
    assert texts(model, config, PROMPTS, recorded=True) == expected
    assert len({tuple(ids) for ids, _, _ in expected}) > 1


def test_the_context_ends_a_text_as_in_the_plain_loop() -> None:
    model, config = lively_model(), SampleConfig(max_new_tokens=99, temperature=1.0)
    plain, fast = (texts(model, config, PROMPTS, recorded) for recorded in (False, True))
    assert plain == fast
    assert [reason for _, _, reason in fast] == ["context"] * 4
    assert [len(ids) for ids, _, _ in fast] == [9, 11, 7, 10]  # one more than is read


@pytest.mark.slow
@given(
    seed=st.integers(0, 999),
    new=st.integers(0, 12),
    heads=st.sampled_from([1, 2]),
    lengths=st.lists(st.integers(1, 11), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=30)
def test_any_rows_are_those_of_the_plain_loop(
    seed: int, new: int, heads: int, lengths: list[int]
) -> None:
    model = lively_model("rotary", key_value_heads=heads, pad_vocab_to_multiple=8)
    prompts = [[(7 * seed + 3 * place) % 19 for place in range(length)] for length in lengths]
    config = SampleConfig(max_new_tokens=new, seed=seed, temperature=1.0, stop=("e", "no"))
    expected = texts(model, config, prompts, recorded=False)
    assert texts(model, config, prompts, recorded=True) == expected


def test_text_that_slides_is_written_by_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mini_gpt.generation.replay", None)
    config = SampleConfig(max_new_tokens=20, past_context="slide")
    assert len(texts(lively_model(), config, PROMPTS[:1], recorded=True)[0][0]) == 20


def test_an_end_of_text_ends_a_row_and_the_rest_is_not_seen() -> None:
    model = lively_model(vocab_size=257)
    with torch.no_grad():  # the end of text becomes likely
        likes = model.hidden(torch.tensor([[*PROMPTS[2], 77, 78]]))[0].mean(0)
        model.token_embedding.weight[256] = 4 * likes
    config = SampleConfig(max_new_tokens=8, temperature=1.0)
    both = []
    for recorded in (False, True):
        found, growing = generate_rows(model, BYTES, PROMPTS, config, recorded=recorded)
        list(growing)
        both.append([(text.ids, text.finish_reason) for text in found])
    assert both[0] == both[1]
    assert "end of text" in {reason for _, reason in both[0]}


def test_the_models_mode_is_as_it_was_whenever_control_comes_back() -> None:
    model = lively_model(dropout=0.5).train()
    config = SampleConfig(max_new_tokens=9, temperature=0.0)
    _, growing = generate_rows(model, LETTERS, PROMPTS, config, recorded=True)
    for _ in growing:
        assert all(module.training for module in model.modules())
    assert texts(model, config, PROMPTS, True) == texts(model, config, PROMPTS, False)


def test_scores_that_are_no_number_are_refused_where_the_plain_loop_does() -> None:
    config = SampleConfig(max_new_tokens=9, temperature=0.0)
    ends = []
    for recorded in (False, True):
        model = lively_model()
        with torch.no_grad():
            model.positions.weight[6, 2] = math.nan
        found, growing = generate_rows(model, LETTERS, PROMPTS, config, recorded=recorded)
        with pytest.raises(ValueError, match=r"highest score is .*nan.* not a finite number"):
            list(growing)
        ends.append([text.ids for text in found])
    assert ends[0] == ends[1]
    assert max(map(len, ends[0])) == 6


def test_random_numbers_drawn_at_once_are_those_drawn_one_by_one() -> None:
    one, many = (torch.Generator().manual_seed(3) for _ in range(2))
    single = [torch.rand(1, dtype=torch.double, generator=one) for _ in range(300)]
    assert torch.equal(torch.cat(single), torch.rand(300, dtype=torch.double, generator=many))


def writer(model: GPT, config: SampleConfig | None = None, last: int = 10) -> StepWriter:
    """One that has chosen its first ids."""
    session = InferenceSession(model)
    logits = session.feed([prompt[:1] for prompt in PROMPTS])[:, 0].clone()
    fed = [(cache.keys[:, :, :1], cache.values[:, :, :1]) for cache in session.caches]
    made = StepWriter(model, fed, PROMPTS, config or SampleConfig(), range(4), 19, last)
    made.choose(logits)
    return made


def written(one: StepWriter, step: Callable[[], None] | None = None) -> list[list[int]]:
    return [ids for _, ids in write_ahead(one, step)]


@pytest.mark.slow
@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_a_step_compiles_into_one_graph_and_writes_the_same(position: str) -> None:
    config = SampleConfig(temperature=1.0, top_k=9, top_p=0.9, repetition_penalty=1.2)
    expected = written(writer(lively_model(position), config))
    one = writer(lively_model(position), config)
    with without_shape_checks():
        step = torch.compile(one.step, backend="aot_eager", fullgraph=True, dynamic=False)
        assert written(one, step) == expected


def test_a_step_asks_nothing_of_its_device() -> None:
    """On the meta device there is nothing to ask, and nothing from elsewhere to mix with."""
    model = lively_model("rotary")
    one = writer(model, SampleConfig(top_p=0.9, min_p=0.1, repetition_penalty=1.2))
    for name in ("position", "places", "given", "darts", "seen", "ids", "highest"):
        setattr(one, name, getattr(one, name).to("meta"))
    for cache in one.caches:
        cache.length = one.position
        cache.keys, cache.values = cache.keys.to("meta"), cache.values.to("meta")
    one.model = model.to("meta")
    one.step()


def test_shapes_stay_from_step_to_step() -> None:
    one, shapes = writer(lively_model()), []
    for block in one.model.decoder.blocks:
        block.attention.register_forward_pre_hook(
            lambda module, given: shapes.append((given[0].shape, given[1].keys.shape))
        )
    written(one)
    assert len(set(shapes)) == 1
    assert shapes[0][1][2] == 11  # the whole memory


def test_a_static_cache_keeps_what_was_fed_and_writes_where_it_is_told() -> None:
    keys, values = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 3, 4)
    cache = StaticCache(keys, values, torch.tensor(3), capacity=5)
    assert isinstance(cache, LayerCache)
    key, value = torch.randn(2, 2, 1, 4), torch.randn(2, 2, 1, 4)
    found = cache.append(key, value)
    expected = [torch.cat(pair, 2) for pair in ((keys, key), (values, value))]
    for mine, other in zip(found, expected, strict=True):
        assert torch.equal(mine[:, :, :4], other)
        assert not mine[:, :, 4:].any()  # else what is hidden could still spoil a sum


def test_steps_on_a_cpu_are_done_as_they_are() -> None:
    done: list[int] = []
    step = Recorder(lambda: done.append(1), torch.device("cpu"))
    for _ in range(9):
        step()
    assert len(done) == 9
    assert step.graph is None


class FakeGraph:
    """What stands for a recorded step where there is no card."""

    made: ClassVar[list[FakeGraph]] = []

    def __init__(self) -> None:
        self.played = 0
        self.made.append(self)

    def replay(self) -> None:
        self.played += 1


@pytest.mark.parametrize("works", [True, False])
def test_a_step_is_recorded_after_a_warm_up_or_says_why_not(
    works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing:
        def __init__(self, *_: Any) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: Any) -> None: ...
        def wait_stream(self, _: Any) -> None: ...

    def record(graph: Any) -> Nothing:
        if not works:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return Nothing()

    monkeypatch.setattr(FakeGraph, "made", [])
    for name in ("Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, Nothing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    done: list[int] = []
    step = Recorder(lambda: done.append(1), torch.device("cuda"))
    for _ in range(3):
        step()
    assert (len(done), FakeGraph.made) == (3, [])
    if works:
        for _ in range(4):
            step()
        assert len(done) == 4  # the recording itself; on a card it does nothing
        assert FakeGraph.made[0].played == 4
        return
    with pytest.warns(RuntimeWarning, match="without a recorded step: operation not permitted.*g$"):
        step()
    for _ in range(3):
        step()
    assert len(done) == 7
    assert len(FakeGraph.made) == 1


@pytest.mark.parametrize("works", [True, False])
def test_a_step_that_does_not_compile_is_done_plainly_and_says_why(
    works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = written(writer(lively_model()))
    calls: list[int] = []

    def compile_(step: Callable[[], None], **how: Any) -> Callable[[], None]:
        def compiled() -> None:
            calls.append(1)
            step()
            if not works:
                raise TypeError("no such operation\nand so on")

        return compiled

    monkeypatch.setattr(torch, "compile", compile_)
    one = writer(lively_model())
    step = recording.compiled_step(one)
    if works:
        assert written(one, step) == expected
        assert len(calls) == 9
        return
    with pytest.warns(RuntimeWarning, match="without torch.compile.*: no such operation$"):
        assert written(one, step) == expected
    assert len(calls) == 1


def test_looks_are_few_and_the_first_one_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(context_length=70)
    counts: list[int] = []
    real = recording._look
    monkeypatch.setattr(
        recording, "_look", lambda step, n, model: counts.append(n) or real(step, n, model)
    )
    assert len(written(writer(model, last=60))) == 60
    assert counts == [1, 2, 4, 8, 16, 16, 12]
    assert isinstance(model, nn.Module)
