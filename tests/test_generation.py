"""Writing text: a cache that changes nothing but the time, rows side by side, good manners."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook
from transformers import GPT2Config, GPT2LMHeadModel

import mini_gpt.generation as generation_module
from mini_gpt import checks
from mini_gpt.config import GPTConfig
from mini_gpt.decoder import DecoderBlock, FeedForward
from mini_gpt.generation import (
    InferenceSession,
    KVCache,
    generate,
    generate_ids,
    generate_stream,
)
from mini_gpt.gpt2 import from_gpt2_names
from mini_gpt.model import GPT
from mini_gpt.multi_head import LayerCache
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.text_streamer import settled
from writing import BYTES, LETTERS, SCHEMES, lively_model, naive_ids, random_ids, seeded

few = settings(deadline=None, max_examples=30)
SHAPES = (
    {},
    {"bias": False},
    {"normalization": "rms"},
    {"heads": 4, "width": 16, "key_value_heads": 2},
    {"pad_vocab_to_multiple": 8, "hidden_width": 7},
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


class TestKVCache:
    def test_is_a_layer_cache_that_returns_what_it_was_given(self) -> None:
        cache = KVCache(5)
        assert isinstance(cache, LayerCache)
        keys, values = random(2, 2, 3, 5, 4)
        assert torch.equal(cache.append(keys[:, :, :2], values[:, :, :2])[0], keys[:, :, :2])
        found = cache.append(keys[:, :, 2:], values[:, :, 2:])
        assert torch.equal(found[0], keys)
        assert torch.equal(found[1], values)
        assert cache.length == 5

    def test_takes_its_memory_once(self) -> None:
        cache = KVCache(5)
        cache.append(*torch.zeros(2, 2, 3, 1, 4))
        assert cache.keys is not None
        assert cache.keys.shape == (2, 3, 5, 4)
        before = cache.keys.data_ptr()
        keys, _ = cache.append(*torch.zeros(2, 2, 3, 2, 4))
        assert cache.keys.data_ptr() == before == keys.data_ptr()

    def test_refuses_what_does_not_fit(self) -> None:
        cache = KVCache(5)
        cache.append(*torch.zeros(2, 2, 3, 4, 4))
        with pytest.raises(ValueError, match="6 positions exceed a cache for 5"):
            cache.append(*torch.zeros(2, 2, 3, 2, 4))
        fresh = r" in torch\.\w+ do not fit a cache of \(2, 3\) in torch\.float32; use a fresh"
        for found, said in (
            (torch.zeros(2, 1, 3, 1, 4), r"\(1, 3\)"),  # other rows
            (torch.zeros(2, 2, 1, 1, 4), r"\(2, 1\)"),  # other heads
            (torch.zeros(2, 2, 3, 1, 4).bfloat16(), r"\(2, 3\)"),  # other numbers
        ):
            with pytest.raises(ValueError, match=f"rows and heads {said}{fresh}"):
                cache.append(*found)
        assert cache.length == 4

    def test_keeps_rows(self) -> None:
        cache = KVCache(5)
        keys, values = random(2, 3, 2, 4, 4)
        cache.append(keys, values)
        cache.select_rows([2, 0, 2, 1])
        found, _ = cache.append(*torch.ones(2, 4, 2, 1, 4, dtype=torch.float64))
        assert torch.equal(found[:, :, :4], keys[[2, 0, 2, 1]])

    def test_forgets_the_newest_positions(self) -> None:
        cache = KVCache(5)
        keys, values = random(2, 2, 3, 4, 4)
        cache.append(keys, values)
        cache.crop(1)
        assert cache.length == 1
        newer = random(2, 2, 3, 2, 4, seed=1)
        found = cache.append(*newer)
        assert torch.equal(found[0], torch.cat([keys[:, :, :1], newer[0]], dim=2))
        assert torch.equal(found[1], torch.cat([values[:, :, :1], newer[1]], dim=2))
        cache.crop(0)
        assert cache.append(*newer)[0].shape == (2, 3, 2, 4)

    @pytest.mark.parametrize("length", [-1, 3])
    def test_cannot_forget_what_it_does_not_have(self, length: int) -> None:
        cache = KVCache(5)
        cache.append(*random(2, 2, 3, 2, 4))
        with pytest.raises(ValueError, match=f"cannot keep {length} positions of 2"):
            cache.crop(length)
        assert cache.length == 2


class TestCache:
    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 11])
    def test_logits_are_those_without_a_cache(self, position: str, size: int) -> None:
        model, ids = lively_model(position), random_ids(4, 11)
        caches = [KVCache(11) for _ in range(3)]
        with torch.no_grad():
            found = torch.cat([model(part, caches) for part in ids.split(size, dim=1)], dim=1)
            torch.testing.assert_close(found, model(ids), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("position", SCHEMES)
    def test_in_bfloat16_too(self, position: str) -> None:
        model, ids = lively_model(position).bfloat16(), random_ids(4, 11)
        caches = [KVCache(11) for _ in range(3)]
        with torch.no_grad():
            found = torch.cat([model(part, caches) for part in ids.split(2, dim=1)], dim=1)
            torch.testing.assert_close(found, model(ids), rtol=0.05, atol=0.05)
        assert caches[0].append(*torch.zeros(2, 4, 2, 0, 6).bfloat16())[0].dtype == torch.bfloat16

    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("key_value_heads", [1, 2])
    def test_with_heads_that_share_keys_and_values(
        self, position: str, key_value_heads: int
    ) -> None:
        model = lively_model(position, heads=4, width=16, key_value_heads=key_value_heads)
        ids = random_ids(4, 11)
        for size in (1, 3, 11):
            caches = [KVCache(11) for _ in range(3)]
            with torch.no_grad():
                found = torch.cat([model(part, caches) for part in ids.split(size, dim=1)], dim=1)
                torch.testing.assert_close(found, model(ids), rtol=1e-5, atol=1e-5)
        assert caches[0].keys is not None
        assert caches[0].keys.shape[1] == key_value_heads
        config = SampleConfig(max_new_tokens=6, temperature=1.0)
        rows = generate(model, LETTERS, ["abc", "a"], config)
        assert rows[0] == generate(model, LETTERS, ["abc"], config)[0]

    def test_a_forgotten_offset_is_noticed_where_there_are_positions(self) -> None:
        class Forgetful(KVCache):
            def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
                self.length = self.kept
                everything = super().append(key, value)
                self.kept, self.length = self.length, 0
                return everything

            kept = 0

        for position in SCHEMES:
            model, ids = lively_model(position), random_ids(4, 11)
            caches = [Forgetful(11) for _ in range(3)]
            with torch.no_grad():
                found = torch.cat([model(part, caches) for part in ids.split(3, dim=1)], dim=1)
                assert torch.allclose(found, model(ids), atol=1e-3) == (position == "none")

    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("changes", SHAPES, ids=str)
    def test_in_models_of_every_shape(self, position: str, changes: dict[str, Any]) -> None:
        model, ids = lively_model(position, **changes), random_ids(3, 11)
        with torch.inference_mode():
            for size in (1, 4, 11):
                caches = [KVCache(11) for _ in range(3)]
                parts = [model.hidden(part, caches) for part in ids.split(size, dim=1)]
                torch.testing.assert_close(
                    torch.cat(parts, dim=1), model.hidden(ids), rtol=1e-5, atol=1e-5
                )


class TestInferenceSession:
    @pytest.mark.parametrize("position", SCHEMES)
    def test_equals_the_naive_loop_far_beyond_the_context(self, position: str) -> None:
        model, config = (
            lively_model(position),
            SampleConfig(temperature=1.0, top_k=15, seed=4, past_context="slide"),
        )
        found = list(islice(generate_ids(model, [3, 1, 4], config), 40))
        assert found == naive_ids(model, [3, 1, 4], 40, config)
        assert len(set(found)) > 4

    def test_a_prompt_longer_than_the_context_counts_with_its_end(self) -> None:
        model, prompt = lively_model(), random_ids(30).tolist()
        config = SampleConfig(temperature=0.0, past_context="slide")
        assert list(islice(generate_ids(model, prompt, config), 9)) == naive_ids(
            model, prompt, 9, config
        )

    @pytest.mark.slow
    @few
    @given(st.lists(st.integers(1, 4), min_size=1, max_size=9))
    def test_parts_make_no_difference(self, parts: list[int]) -> None:
        model, session, done = lively_model("rotary"), InferenceSession(lively_model("rotary")), 0
        ids = random_ids(2, sum(parts))
        for part in parts:
            found = session.feed(ids[:, done : done + part].tolist())[:, 0]
            done += part
            with torch.no_grad():
                expected = model(ids[:, max(0, done - 11) : done])[:, -1]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert session.length == done

    def test_within_the_context_each_position_is_computed_once(self) -> None:
        model, positions = lively_model(), []
        model.decoder.register_forward_pre_hook(
            lambda _, inputs: positions.append(inputs[0].shape[1])
        )
        list(islice(generate_ids(model, [1, 2, 3, 4]), 6))
        assert positions == [4, 1, 1, 1, 1, 1]

    def test_nothing_is_computed_in_vain(self) -> None:
        model, calls = lively_model(), []
        model.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
        generate(model, LETTERS, ["ab"], SampleConfig(max_new_tokens=0))
        assert calls == []
        generate(model, LETTERS, ["ab"], SampleConfig(max_new_tokens=3))
        assert len(calls) == 3
        calls.clear()
        next(generate_stream(model, LETTERS, "ab"))
        assert len(calls) == 1

    def test_keeps_rows(self) -> None:
        model, session, ids = lively_model(), InferenceSession(lively_model()), random_ids(3, 6)
        session.feed(ids[:, :4].tolist())
        session.select_rows([2, 0])
        found = session.feed(ids[[2, 0], 4:].tolist())[:, 0]
        torch.testing.assert_close(found, model(ids[[2, 0]])[:, -1].detach(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("rows", [[[1], [1, 2]], [[], []], []])
    def test_rows_must_be_equally_long(self, rows: list[list[int]]) -> None:
        with pytest.raises(ValueError, match="give each equally many, at least one"):
            InferenceSession(lively_model()).feed(rows)

    def test_rows_must_stay_as_many(self) -> None:
        session = InferenceSession(lively_model())
        session.feed([[1], [2]])
        with pytest.raises(ValueError, match=r"rows of \[1\] new tokens after 2 rows"):
            session.feed([[1]])

    def test_agrees_with_transformers(self) -> None:
        torch.manual_seed(0)
        shape = GPT2Config(
            vocab_size=37, n_positions=23, n_layer=3, n_head=2, n_embd=10, initializer_range=0.4
        )
        peer = GPT2LMHeadModel(shape).eval()
        ours = GPT(GPTConfig(vocab_size=37, context_length=23, layers=3, heads=2, width=10))
        ours.load_state_dict(from_gpt2_names(peer.state_dict(), layers=3))
        prompt = random_ids(1, 5, size=37)
        expected = peer.generate(
            prompt, max_new_tokens=18, do_sample=False, pad_token_id=0, eos_token_id=None
        )
        found = islice(generate_ids(ours, prompt[0].tolist(), SampleConfig(temperature=0.0)), 18)
        assert list(found) == expected[0, 5:].tolist()

    def test_drops_what_it_is_told_to(self) -> None:
        model, ids = lively_model(), random_ids(1, 9)
        session = InferenceSession(model)
        session.feed([[*ids[0, :4].tolist(), 7, 7]])
        session.crop(4)
        found = session.feed(ids[:, 4:].tolist(), last=3)
        torch.testing.assert_close(found, model(ids)[:, 6:].detach(), rtol=1e-4, atol=1e-5)
        assert session.ids == ids.tolist()
        with pytest.raises(ValueError, match="cannot keep 10 positions of 9"):
            session.crop(10)


@contextmanager
def nothing_changed(model: GPT) -> Iterator[None]:
    yield


def rolled(stream: Tensor) -> Tensor:
    """Another stream of the same size: every feature in its neighbor's place."""
    return stream.roll(1, dims=-1)


@contextmanager
def forward_replaced_on_the_class(model: GPT) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        before = DecoderBlock.forward
        patch.setattr(DecoderBlock, "forward", lambda self, *inputs: rolled(before(self, *inputs)))
        yield


@contextmanager
def forward_replaced_on_an_instance(model: GPT) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        block = model.decoder.blocks[1]
        before = block.forward
        patch.setattr(block, "forward", lambda *inputs: rolled(before(*inputs)))
        yield


@contextmanager
def forward_hook_on_a_block(model: GPT) -> Iterator[None]:
    block = model.decoder.blocks[1]
    with block.register_forward_hook(lambda block, inputs, output: rolled(output)):
        yield


@contextmanager
def forward_hook_on_the_model(model: GPT) -> Iterator[None]:
    with model.register_forward_hook(lambda model, inputs, logits: logits.roll(1, dims=-1)):
        yield


@contextmanager
def global_module_hook(model: GPT) -> Iterator[None]:
    def hook(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        return rolled(output) if isinstance(module, DecoderBlock) else None

    with register_module_forward_hook(hook):
        yield


CHANGES = (
    forward_replaced_on_the_class,
    forward_replaced_on_an_instance,
    forward_hook_on_a_block,
    forward_hook_on_the_model,
    global_module_hook,
)


class TestOneForwardPass:
    """Whoever changes a part of the model changes what it writes; there is no second path."""

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
    @pytest.mark.parametrize("position", ["learned", "rotary"])
    def test_a_change_changes_what_is_written(
        self, change: Callable[[GPT], Any], position: str
    ) -> None:
        """With a cache, beyond the context where there is none, and in the loop without one."""
        config = SampleConfig(max_new_tokens=18, temperature=1.0, seed=3, past_context="slide")
        texts = {}
        for how in (nothing_changed, change):
            model = lively_model(position)
            with how(model):
                (written,) = generate(model, LETTERS, ["fed"], config)
                naive = naive_ids(model, LETTERS.encode("fed"), 18, config)
                logits = model(torch.tensor([[5, 4, 3]])).detach()
                session = InferenceSession(model)
                cached = [session.feed([[id]]) for id in (5, 4, 3)]
            assert written.ids == naive  # the window slides after 9 of them
            torch.testing.assert_close(torch.cat(cached, dim=1), logits, rtol=1e-4, atol=1e-5)
            texts[how] = written.ids
        before, after = texts.values()
        assert before[:8] != after[:8]  # while the cache is in use
        assert before[9:] != after[9:]
        (again,) = generate(lively_model(position), LETTERS, ["fed"], config)
        assert again.ids == before  # every change is undone

    @pytest.mark.parametrize("before", [False, True], ids=["forward", "pre"])
    def test_every_hook_is_called_as_often_as_by_the_model(self, before: bool) -> None:
        for name, _ in lively_model("rotary").named_modules():
            model, calls = lively_model("rotary"), []
            module = model.get_submodule(name)
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            register(lambda *_, calls=calls: calls.append(1))
            with torch.inference_mode():
                model(torch.tensor([[1, 2]]))
            expected = len(calls)
            InferenceSession(model).feed([[1, 2]])
            assert len(calls) == 2 * expected, name

    def test_a_replaced_method_is_honored(self) -> None:
        """An output head of one's own, say; it was passed over once."""
        head = torch.randn(12, 19, generator=seeded(1))

        def another_head(model: GPT) -> None:
            model.token_embedding.logits = lambda stream: stream @ head  # type: ignore[method-assign]

        def another_look_up(model: GPT) -> None:
            model.token_embedding.forward = lambda ids: head.T[ids]  # type: ignore[method-assign]

        def another_projection(model: GPT) -> None:
            attention = model.decoder.blocks[1].attention
            before = attention.project
            attention.project = lambda stream, offset: before(2 * stream, offset)

        def another_body(model: GPT) -> None:
            before = model.hidden
            model.hidden = lambda *inputs: -before(*inputs)  # type: ignore[method-assign]

        for change in (another_head, another_look_up, another_projection, another_body):
            model, ids = lively_model(), [[1, 2, 3]]
            usual = InferenceSession(model).feed(ids)
            change(model)
            with torch.inference_mode():
                expected = model.token_embedding.logits(model.hidden(torch.tensor(ids)))[:, -1:]
            assert not torch.allclose(expected, usual, atol=1e-3), change.__name__
            torch.testing.assert_close(InferenceSession(model).feed(ids), expected)

    def test_a_part_of_another_class_is_run_as_it_is(self) -> None:
        class Doubled(torch.nn.Linear):
            def forward(self, stream: Tensor) -> Tensor:
                return 2 * super().forward(stream)

        class Twice(FeedForward):
            def forward(self, stream: Tensor) -> Tensor:
                return super().forward(super().forward(stream))

        def another_map(model: GPT) -> None:
            model.decoder.blocks[1].feed_forward.expand.__class__ = Doubled

        def another_part(model: GPT) -> None:
            model.decoder.blocks[1].feed_forward.__class__ = Twice

        def another_activation(model: GPT) -> None:
            model.decoder.blocks[1].feed_forward.activation = torch.nn.ReLU()

        def exact_gelu(model: GPT) -> None:
            model.decoder.blocks[1].feed_forward.activation = torch.nn.GELU()

        def other_epsilon(model: GPT) -> None:
            model.decoder.final_norm.eps = 0.1

        def replaced_forward(model: GPT) -> None:
            model.decoder.blocks[0].attention.forward = lambda stream, cache, mask: 0 * stream

        usual = InferenceSession(lively_model()).feed([[1, 2, 3]])
        changes = (another_map, another_part, another_activation, exact_gelu, other_epsilon)
        for change in (*changes, replaced_forward):
            model = lively_model()
            change(model)
            found = InferenceSession(model).feed([[1, 2, 3]])
            expected = model(torch.tensor([[1, 2, 3]]))[:, -1:]
            torch.testing.assert_close(found, expected.detach(), rtol=0, atol=2e-6)
            assert not torch.allclose(found, usual, rtol=0, atol=4e-5), change.__name__

    def test_a_session_sees_weights_that_change(self) -> None:
        model = lively_model()
        session = InferenceSession(model)
        before = session.feed([[1, 2, 3]]).clone()
        session.crop(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.mul_(1.5 if "norm" not in name else 0.5)
        after = session.feed([[1, 2, 3]])
        expected = model(torch.tensor([[1, 2, 3]]))[:, -1:].detach()
        torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(before, after)


class TestManners:
    def test_leaves_mode_gradients_and_state_as_found(self) -> None:
        model = lively_model(dropout=0.5).train()
        model.decoder.blocks[1].eval()
        before = {name: module.training for name, module in model.named_modules()}
        attributes = set(vars(model)) | set(vars(model.decoder.blocks[0].attention))
        ids = generate_ids(model, [1, 2, 3])
        first = [next(ids), next(ids)]
        assert {name: module.training for name, module in model.named_modules()} == before
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert attributes == set(vars(model)) | set(vars(model.decoder.blocks[0].attention))
        assert all(parameter.grad is None for parameter in model.parameters())
        assert first == list(islice(generate_ids(model.eval(), [1, 2, 3]), 2))  # no dropout

    def test_dropout_is_off_in_training_mode_too(self) -> None:
        model, ids = lively_model(dropout=0.5).train(), random_ids(2, 6)
        found = InferenceSession(model).feed(ids.tolist(), last=6)
        assert not torch.allclose(found, model(ids).detach(), atol=1e-3)
        torch.testing.assert_close(found, model.eval()(ids).detach(), rtol=1e-5, atol=1e-5)

    def test_mode_is_restored_after_an_error(self) -> None:
        model = lively_model().train()
        with torch.no_grad():
            model.token_embedding.weight.fill_(math.nan)
        with pytest.raises(ValueError, match="not a finite number"):
            next(generate_ids(model, [1]))
        assert model.training
        assert model.decoder.training

    def test_a_model_can_be_trained_between_tokens(self) -> None:
        model = lively_model().train()
        ids = generate_ids(model, [1, 2, 3])
        next(ids)
        model(random_ids(2, 5)).sum().backward()
        next(ids)
        assert model.token_embedding.weight.grad is not None

    def test_two_generators_take_turns(self) -> None:
        model, config = lively_model(), SampleConfig(temperature=1.0, past_context="slide")
        alone = [list(islice(generate_ids(model, prompt, config), 20)) for prompt in ([1], [2, 3])]
        first, second = generate_ids(model, [1], config), generate_ids(model, [2, 3], config)
        turns = [(next(first), next(second)) for _ in range(20)]
        assert [list(ids) for ids in zip(*turns, strict=True)] == alone

    def test_global_randomness_is_left_alone(self) -> None:
        model = lively_model()
        before = torch.get_rng_state()
        generate(model, LETTERS, ["ab", "c"])
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("prompt", "config", "message"),
        [
            ([], SampleConfig(), "the prompt is empty"),
            ([1, 19, 2], SampleConfig(), r"id 19 .* outside the model's vocabulary \(0 to 18\)"),
            ([-1], SampleConfig(), "id -1"),
            ([1] * 12, SampleConfig(past_context="stop"), "12 tokens does not fit.* 11.*slide"),
        ],
    )
    def test_bad_prompts_are_refused_at_once(
        self, prompt: list[int], config: SampleConfig, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            generate_ids(lively_model(), prompt, config)

    def test_streaming_refuses_at_once(self) -> None:
        with pytest.raises(ValueError, match="does not know 'z'"):
            generate_stream(lively_model(), LETTERS, "az")

    def test_one_string_is_not_a_list_of_prompts(self) -> None:
        with pytest.raises(TypeError, match=r"\[prompt\]"):
            generate(lively_model(), LETTERS, "abc")


class TestGenerate:
    PROMPTS = ("abc", "a", "hgfedcba", "abc", "abcdefghijklmnopqrs")

    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("past_context", ["slide", "stop"])
    def test_each_row_is_what_it_is_alone(self, position: str, past_context: Any) -> None:
        model = lively_model(position)
        config = SampleConfig(
            max_new_tokens=14,
            temperature=1.0,
            seed=2,
            stop=("ba", "q"),
            stop_ids=((3, 4),),
            past_context=past_context,
        )
        prompts = self.PROMPTS[: 5 if past_context == "slide" else 4]
        together = generate(model, LETTERS, prompts, config)
        for row, prompt in enumerate(prompts):
            alone = SampleConfig(**{**vars(config), "seed": 2 + row})
            assert generate(model, LETTERS, [prompt], alone) == [together[row]]
            assert "".join(generate_stream(model, LETTERS, prompt, alone)) == together[row].text
        assert together[0].ids != together[3].ids  # same prompt, another seed
        assert len({len(generation.ids) for generation in together}) > 1

    def test_finished_rows_cost_nothing(self) -> None:
        model, rows = lively_model(vocab_size=257, context_length=99), []
        model.decoder.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[0]))
        config = SampleConfig(max_new_tokens=60, temperature=1.5, stop=tuple("abcdefghij "))
        together = generate(model, BYTES, ["x", "yyyy", "zz"], config)
        lengths = [len(generation.ids) for generation in together]
        assert len(set(lengths)) == 3
        # A row takes part until its last token is drawn; the first reading was of one token.
        steps = [
            len("xyyyyzz"[a:b]) + n - 1
            for (a, b), n in zip([(0, 1), (1, 5), (5, 7)], lengths, strict=True)
        ]
        assert rows == [sum(step > i for step in steps) for i in range(max(steps))]

    @pytest.mark.slow
    def test_ids_and_text_belong_together(self) -> None:
        model = lively_model(vocab_size=257)
        for generation in generate(
            model, BYTES, ["né"] * 20, SampleConfig(temperature=2.0, past_context="slide")
        ):
            assert generation.text == BYTES.decode(generation.ids)
            assert 256 not in generation.ids
            assert (len(generation.ids) == 200) == (generation.finish_reason == "length")

    def test_end_of_text_ends(self) -> None:
        model = lively_model(vocab_size=257)
        with torch.no_grad():
            model.token_embedding.weight[256] = 1e3 * model(torch.tensor([[256]]))[0, 0, :12]
        (generation,) = generate(
            model, BYTES, [""], SampleConfig(temperature=0.0, past_context="slide")
        )
        ids = naive_ids(model, [256], 200, SampleConfig(temperature=0.0))
        assert (256 in ids) == (generation.finish_reason == "end of text")
        assert generation.ids == ids[: ids.index(256) if 256 in ids else None]

    def test_past_the_context_it_can_stop(self) -> None:
        config = SampleConfig(temperature=1.0)  # "stop" is the default
        (generation,) = generate(lively_model(), LETTERS, ["abcd"], config)
        assert generation.finish_reason == "context"
        assert len(generation.ids) == 11 - 4 + 1  # the last one is drawn from a full window
        assert generation.ids == naive_ids(lively_model(), LETTERS.encode("abcd"), 8, config)
        assert list(generate_ids(lively_model(), LETTERS.encode("abcd"), config)) == generation.ids

    @pytest.mark.slow
    def test_ids_that_the_tokenizer_does_not_know_are_never_drawn(self) -> None:
        model = lively_model(vocab_size=64)
        config = SampleConfig(temperature=5.0, max_new_tokens=300, past_context="slide")
        (generation,) = generate(model, LETTERS, ["a"], config)
        assert set(generation.ids) == set(range(19))
        assert max(islice(generate_ids(model, [0], config), 300)) > 18

    def test_no_prompts_no_work(self) -> None:
        assert generate(lively_model(), LETTERS, []) == []

    def test_no_new_tokens(self) -> None:
        (generation,) = generate(lively_model(), LETTERS, ["a"], SampleConfig(max_new_tokens=0))
        assert (generation.ids, generation.text, generation.finish_reason) == ([], "", "length")

    def test_the_same_seed_gives_the_same_text(self) -> None:
        model = lively_model()
        texts = [generate(model, LETTERS, ["a"], SampleConfig(seed=s))[0].text for s in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]

    def test_neighboring_seeds_share_texts(self) -> None:
        """What the docstring warns of: rows have the seeds seed, seed + 1, and so on."""
        model = lively_model(vocab_size=257, context_length=40)
        first, second, apart = (
            generate(model, BYTES, ["a"] * 4, SampleConfig(max_new_tokens=20, seed=seed))
            for seed in (0, 1, 4)
        )
        assert first[1:] == second[:3]
        assert len({text.text for text in first + apart}) == 8

    def test_the_parts_of_a_stream_are_whole_characters(self) -> None:
        model = lively_model(vocab_size=257, context_length=99)
        config = SampleConfig(max_new_tokens=60, temperature=1.5, seed=2)
        parts = list(generate_stream(model, BYTES, "a", config))
        (whole,) = generate(model, BYTES, ["a"], config)
        assert "".join(parts) == whole.text
        assert all(parts)


class TestChecks:
    def said(self, capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
        check(answer)
        checks.hint()
        return capsys.readouterr().out

    def test_texts_that_fit(self, capsys: pytest.CaptureFixture[str]) -> None:
        def numbers(config: GPTConfig) -> int:
            return 2 * config.layers * config.context_length * config.kv_heads * config.head_width

        def right(config: GPTConfig, memory: int, size: int) -> int:
            return memory // (numbers(config) * size)

        def forgets_values(config: GPTConfig, memory: int, size: int) -> int:
            return memory // (numbers(config) // 2 * size)

        def rounds_up(config: GPTConfig, memory: int, size: int) -> int:
            return -(-memory // (numbers(config) * size))

        def takes_all_heads(config: GPTConfig, memory: int, size: int) -> int:
            return memory // (2 * config.layers * config.context_length * config.width * size)

        check = checks.generation.texts_that_fit
        for wrong in (lambda *_: None, forgets_values, rounds_up, takes_all_heads):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_positions_computed(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(prompt: int, new: int, context: int) -> int:
            """Counted in a real session."""
            model, counted = lively_model(context_length=context), []
            model.decoder.register_forward_pre_hook(
                lambda _, inputs: counted.append(inputs[0].shape[1])
            )
            config = SampleConfig(max_new_tokens=new, past_context="slide")
            generate(model, LETTERS, ["a" * prompt], config)
            return sum(counted)

        def naive(prompt: int, new: int, context: int) -> int:
            return sum(min(prompt + n, context) for n in range(new))

        def feeds_the_last(prompt: int, new: int, context: int) -> int:
            return right(prompt, new + 1, context)

        def never_slides(prompt: int, new: int, context: int) -> int:
            return prompt + new - 1

        check = checks.generation.positions_computed
        for wrong in (lambda *_: None, naive, feeds_the_last, never_slides):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_window_cache(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Right:
            def __init__(self, window: int) -> None:
                self.window, self.length = window, 0
                self.keys: list[Tensor] = []
                self.values: list[Tensor] = []

            def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
                self.length += 1
                self.keys = [*self.keys, key][-self.window :]
                self.values = [*self.values, value][-self.window :]
                return torch.cat(self.keys, dim=2), torch.cat(self.values, dim=2)

        class CountsWhatItKeeps(Right):
            def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
                found = super().append(key, value)
                self.length = len(self.keys)
                return found

        class KeepsAll(Right):
            def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
                self.length += 1
                self.keys.append(key)
                self.values.append(value)
                last = slice(-self.window, None)
                return torch.cat(self.keys[last], dim=2), torch.cat(self.values[last], dim=2)

        class OneTooMany(Right):
            def __init__(self, window: int) -> None:
                super().__init__(window + 1)

        class Nothing(Right):
            def append(self, key: Tensor, value: Tensor) -> None:  # type: ignore[override]
                return None

        check = checks.generation.window_cache
        for wrong in (Nothing, CountsWhatItKeeps, KeepsAll, OneTooMany):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, Right).startswith("correct: ")

    def test_cached_step(self, capsys: pytest.CaptureFixture[str]) -> None:
        def step(
            new: Tensor, maps: list[Tensor], kept: list[Tensor], *, scaled: bool, itself: bool
        ) -> tuple[Tensor, Tensor, Tensor]:
            query, key, value = (one @ new for one in maps)
            keys, values = torch.cat([kept[0], key[None]]), torch.cat([kept[1], value[None]])
            last = None if itself or len(keys) == 1 else -1
            scores = keys[:last] @ query / (keys.shape[1] ** 0.5 if scaled else 1)
            return scores.softmax(-1) @ values[:last], keys, values

        def answer(scaled: bool = True, itself: bool = True) -> Callable[..., Any]:
            return lambda new, q, k, v, keys, values: step(
                new, [q, k, v], [keys, values], scaled=scaled, itself=itself
            )

        def keeps_nothing(*given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return (answer()(*given)[0], given[4], given[5])

        check = checks.generation.cached_step
        for wrong, hint in (
            (lambda *_: None, "return the output, the keys and the values"),
            (keeps_nothing, "then the new one"),
            (answer(scaled=False), "square root"),
            (answer(itself=False), "itself too"),
        ):
            found = self.said(capsys, check, wrong)
            assert found.startswith("not yet: ")
            assert hint in found
        assert self.said(capsys, check, answer()).startswith("correct: ")

    def test_stop_buffer(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Right:
            def __init__(self, stops: list[str]) -> None:
                self.stops, self.done, self.held = stops, False, ""

            def first(self, text: str) -> int:
                """Where the stop begins that is complete first."""
                ends = [(text.find(s) + len(s), text.find(s)) for s in self.stops if s in text]
                return min(ends)[1]

            def add(self, text: str) -> str:
                if self.done:
                    return ""
                text = self.held + text
                if any(stop in text for stop in self.stops):
                    self.done, self.held = True, ""
                    return text[: self.first(text)]
                certain = settled(text, self.stops)
                self.held = text[len(certain) :]
                return certain

            def finish(self) -> str:
                return self.held

        class HoldsNothing(Right):
            def add(self, text: str) -> str:
                return text

        class TakesTheFirstToBegin(Right):
            def first(self, text: str) -> int:
                return min(text.find(stop) for stop in self.stops if stop in text)

        class GoesOn(Right):
            def add(self, text: str) -> str:
                return super().add(text) if not self.done else text

        class Loses(Right):
            def finish(self) -> str:
                return ""

        check = checks.generation.stop_buffer
        for wrong in (HoldsNothing, TakesTheFirstToBegin, GoesOn, Loses):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, Right).startswith("correct: ")


def test_the_module_has_no_state_of_its_own() -> None:
    for name, thing in vars(generation_module).items():
        assert not isinstance(thing, Tensor | torch.Generator | list | dict) or name in (
            "__all__",
            "__builtins__",
        ), name
