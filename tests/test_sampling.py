"""The sampling loop: equal to the naive loop, drawn from the right distribution, well-mannered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    RepetitionPenaltyLogitsProcessor,
    TypicalLogitsWarper,
)

import mini_gpt.sampling as sampling
from mini_gpt import checks
from mini_gpt.attention import KeyValueCache, causal_attention
from mini_gpt.decoder import FeedForward
from mini_gpt.gpt2 import from_gpt2_names
from mini_gpt.model import GPT, GPTConfig
from mini_gpt.sampling import (
    Continuation,
    Reader,
    SampleConfig,
    beam_search,
    choose,
    draw,
    generate,
    generate_ids,
    judge,
    min_p,
    plain_hidden,
    repetition_penalty,
    speculative_generate,
    start_ids,
    stream,
    temperature,
    top_k,
    top_p,
    typical,
)
from mini_gpt.tokenizer import BPETokenizer, CharTokenizer

SCHEMES = ("learned", "sinusoidal", "rotary", "none")
LETTERS = CharTokenizer("abcdefghijklmnopqrs")  # 19 of them
BYTES = BPETokenizer([bytes([byte]) for byte in range(256)])  # id 256 ends a text
slow = settings(deadline=None, max_examples=30)


def make_model(position: Any = "learned", vocab_size: int = 19, **changes: Any) -> GPT:
    """A tiny GPT, all sizes different, whose logits differ clearly from token to token."""
    shape = {"context_length": 11, "layers": 3, "heads": 2, "width": 12, **changes}
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=vocab_size, position=position, **shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6) if parameter.ndim > 1 else None
    return model.eval()


def random_ids(*shape: int, size: int = 19) -> Tensor:
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(7))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def naive_ids(model: GPT, prompt: Sequence[int], new: int, config: SampleConfig) -> list[int]:
    """The loop without a cache: everything is computed anew for each token."""
    ids, generator = list(prompt), seeded(config.seed)
    for _ in range(new):
        logits = model(torch.tensor([ids[-model.config.context_length :]]))[:, -1]
        ids += choose(logits, config, [generator])
    return ids[len(prompt) :]


def chi_square(observed: Tensor, probabilities: Tensor) -> float:
    """How far counts are from what probabilities let expect; infinite where nothing may be."""
    expected = probabilities.double() * observed.sum()
    possible = expected > 0
    if observed[~possible].sum():
        return math.inf
    return ((observed - expected)[possible] ** 2 / expected[possible]).sum().item()


def limit(freedom: int) -> float:
    """A chi-square that right draws exceed about once in 100,000 (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + 4.265 * math.sqrt(spread)) ** 3


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the tests' type checks, which take most of the time of tiny models.

    For many repetitions of what other tests run with the checks.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


class TestCache:
    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("piece", [1, 2, 3, 5, 11])
    def test_logits_are_those_without_a_cache(self, position: str, piece: int) -> None:
        model, ids = make_model(position), random_ids(4, 11)
        caches = [KeyValueCache(11) for _ in range(3)]
        with torch.no_grad():
            found = torch.cat([model(part, caches) for part in ids.split(piece, dim=1)], dim=1)
            torch.testing.assert_close(found, model(ids), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("position", SCHEMES)
    def test_in_bfloat16_too(self, position: str) -> None:
        model, ids = make_model(position).bfloat16(), random_ids(4, 11)
        caches = [KeyValueCache(11) for _ in range(3)]
        with torch.no_grad():
            found = torch.cat([model(part, caches) for part in ids.split(2, dim=1)], dim=1)
            torch.testing.assert_close(found, model(ids), rtol=0.05, atol=0.05)
        assert caches[0].append(*torch.zeros(2, 4, 2, 0, 6).bfloat16())[0].dtype == torch.bfloat16

    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("key_value_heads", [1, 2])
    def test_with_heads_that_share_keys_and_values(
        self, position: str, key_value_heads: int
    ) -> None:
        model = make_model(position, heads=4, width=16, key_value_heads=key_value_heads)
        ids = random_ids(4, 11)
        for piece in (1, 3, 11):
            caches = [KeyValueCache(11) for _ in range(3)]
            with torch.no_grad():
                found = torch.cat([model(part, caches) for part in ids.split(piece, dim=1)], dim=1)
                torch.testing.assert_close(found, model(ids), rtol=1e-5, atol=1e-5)
        assert caches[0].keys is not None
        assert caches[0].keys.shape[1] == key_value_heads
        config = SampleConfig(max_new_tokens=6, temperature=1.0)
        rows = generate(model, LETTERS, ["abc", "a"], config)
        assert rows[0] == generate(model, LETTERS, ["abc"], config)[0]

    def test_a_forgotten_offset_is_noticed_where_there_are_positions(self) -> None:
        class Forgetful(KeyValueCache):
            def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
                self.length = self.kept
                everything = super().append(key, value)
                self.kept, self.length = self.length, 0
                return everything

            kept = 0

        for position in SCHEMES:
            model, ids = make_model(position), random_ids(4, 11)
            caches = [Forgetful(11) for _ in range(3)]
            with torch.no_grad():
                found = torch.cat([model(part, caches) for part in ids.split(3, dim=1)], dim=1)
                assert torch.allclose(found, model(ids), atol=1e-3) == (position == "none")


class TestSamplers:
    LOGITS = torch.tensor([0.5, -1.0, 3.0, 2.5, -7.0, 0.5, 1.0])

    def test_temperature(self) -> None:
        found = temperature(self.LOGITS, 2.0).softmax(-1)
        expected = self.LOGITS.softmax(-1).sqrt()
        torch.testing.assert_close(found, expected / expected.sum())

    @pytest.mark.parametrize("degree", [0.0, -1.0, math.nan])
    def test_temperature_must_be_above_0(self, degree: float) -> None:
        with pytest.raises(ValueError, match=f"temperature {degree} must be above 0"):
            temperature(self.LOGITS, degree)

    def test_top_k(self) -> None:
        assert top_k(self.LOGITS, 2).tolist() == [*[-math.inf] * 2, 3.0, 2.5, *[-math.inf] * 3]

    @slow
    @given(st.lists(st.integers(-2, 2), min_size=1, max_size=9), st.integers(1, 12))
    def test_top_k_keeps_exactly_k_of_the_highest(self, values: list[int], k: int) -> None:
        logits = torch.tensor(values).float()
        found = top_k(logits, k)
        kept = found > -math.inf
        assert kept.sum() == min(k, len(values))
        assert torch.equal(found[kept], logits[kept])
        if not kept.all():
            assert logits[kept].min() >= logits[~kept].max()

    def test_top_p(self) -> None:
        logits = torch.tensor([0.125, 0.5, 0.125, 0.25]).log()
        for p, kept in ((0.01, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.999, 4), (1.0, 4)):
            found = top_p(logits, p)
            assert (found > -math.inf).sum() == kept, p
            assert torch.equal(found[1], logits[1])

    @slow
    @given(
        st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9),
        st.floats(0.001, 1, exclude_max=True),
    )
    def test_top_p_keeps_no_more_than_it_needs(self, values: list[float], p: float) -> None:
        logits = torch.tensor(values)
        probabilities = logits.double().softmax(-1)
        kept = top_p(logits, p) > -math.inf
        assert probabilities[kept].sum() >= p - 1e-9
        assert probabilities[kept].sum() - probabilities[kept].min() < p + 1e-9
        if not kept.all():
            assert logits[kept].min() >= logits[~kept].max()

    def test_top_p_of_1_keeps_even_what_rounding_would_lose(self) -> None:
        logits = torch.tensor([60.0, 0.0, -60.0])
        assert torch.equal(top_p(logits, 1.0), logits)

    def test_min_p(self) -> None:
        logits = torch.tensor([0.4, 0.2, 0.19, 0.1, 0.11]).log()
        assert (min_p(logits, 0.49) > -math.inf).tolist() == [True, True, False, False, False]
        assert (min_p(logits, 1.0) > -math.inf).tolist() == [True, *[False] * 4]
        assert (min_p(logits, 1e-6) > -math.inf).all()

    @pytest.mark.parametrize("p", [0.0, -0.1, 1.1, math.nan])
    def test_shares_must_be_shares(self, p: float) -> None:
        for rule in (top_p, min_p, typical):
            with pytest.raises(
                ValueError, match=rf"{rule.__name__} {p} must be above 0 and at most 1"
            ):
                rule(self.LOGITS, p)

    def test_typical_as_transformers(self) -> None:
        logits = torch.randn(50, 31, generator=seeded()) * 3
        for p in (0.05, 0.4, 0.9):
            expected = TypicalLogitsWarper(p)(torch.zeros(50, 1, dtype=torch.long), logits)
            assert torch.equal(typical(logits, p), expected)

    def test_typical_may_cut_the_likeliest(self) -> None:
        logits = torch.tensor([0.3, *[0.1] * 7]).log()
        assert (typical(logits, 0.65) > -math.inf).tolist() == [False, *[True] * 7]
        assert (typical(logits, 0.95) > -math.inf).all()

    def test_a_penalty_as_transformers_and_never_a_reward(self) -> None:
        logits = torch.randn(50, 31, generator=seeded()) * 3
        ids = torch.randint(31, (50, 9), generator=seeded(1))
        seen = torch.zeros(50, 31, dtype=torch.bool).scatter(1, ids, True)
        found = repetition_penalty(logits, seen, 1.3)
        torch.testing.assert_close(found, RepetitionPenaltyLogitsProcessor(1.3)(ids, logits))
        assert (logits[seen] < 0).any()
        assert (found[seen] < logits[seen]).all()
        assert torch.equal(found[~seen], logits[~seen])
        with pytest.raises(ValueError, match=r"repetition_penalty 0\.5 must be at least 1"):
            repetition_penalty(logits, seen, 0.5)

    @pytest.mark.parametrize("rule", [top_p, min_p, typical])
    def test_a_filter_that_would_leave_nothing_keeps_the_best(self, rule: Any) -> None:
        for logits in (self.LOGITS, torch.zeros(7), torch.tensor([-math.inf, 0.0, -math.inf])):
            share = 1.0 if rule is min_p else 1e-12
            kept = rule(logits, share) > -math.inf
            assert kept.sum() == 1 or (rule is min_p and len(set(logits.tolist())) == 1)
            if rule is not typical:
                assert kept[logits.argmax()]
            assert (logits[kept] > -math.inf).all()

    def test_k_must_be_at_least_1(self) -> None:
        with pytest.raises(ValueError, match="top_k 0 must be at least 1"):
            top_k(self.LOGITS, 0)

    @pytest.mark.parametrize(
        "rule",
        [
            lambda logits: temperature(logits, 0.7),
            lambda logits: top_k(logits, 3),
            lambda logits: top_p(logits, 0.8),
            lambda logits: min_p(logits, 0.2),
            lambda logits: typical(logits, 0.7),
        ],
        ids=["temperature", "top_k", "top_p", "min_p", "typical"],
    )
    def test_rows_are_treated_one_by_one(self, rule: Callable[[Tensor], Tensor]) -> None:
        logits = torch.randn(2, 3, 7, generator=seeded())
        before = logits.clone()
        found = rule(logits)
        assert torch.equal(logits, before)
        for i in range(2):
            for j in range(3):
                assert torch.equal(found[i, j], rule(logits[i, j]))


class TestChoice:
    LOGITS = torch.tensor([0.5, -1.0, 3.0, 2.5, -7.0, 0.4, 1.0, 2.0, 1.5, -0.5, 0.0])

    @pytest.mark.parametrize(
        ("settings", "rule"),
        [
            ({"temperature": 1.0}, lambda x: x),
            ({"temperature": 0.6}, lambda x: temperature(x, 0.6)),
            ({"temperature": 1.9}, lambda x: temperature(x, 1.9)),
            ({"temperature": 1.0, "top_k": 4}, lambda x: top_k(x, 4)),
            ({"temperature": 1.0, "top_k": 99}, lambda x: x),
            ({"temperature": 1.0, "top_p": 0.85}, lambda x: top_p(x, 0.85)),
            ({"temperature": 1.0, "min_p": 0.15}, lambda x: min_p(x, 0.15)),
            ({"temperature": 1.0, "typical": 0.6}, lambda x: typical(x, 0.6)),
            (
                {"temperature": 1.5, "top_k": 7, "top_p": 0.9, "min_p": 0.1},
                lambda x: min_p(top_p(top_k(temperature(x, 1.5), 7), 0.9), 0.1),
            ),
        ],
    )
    def test_follows_the_distribution(
        self, settings: dict[str, Any], rule: Callable[[Tensor], Tensor]
    ) -> None:
        config, generator = SampleConfig(**settings), seeded(3)
        drawn = [choose(self.LOGITS[None], config, [generator])[0] for _ in range(4000)]
        probabilities = rule(self.LOGITS).softmax(-1)
        observed = torch.bincount(torch.tensor(drawn), minlength=11)
        freedom = int((probabilities > 0).sum()) - 1
        assert chi_square(observed, probabilities) < limit(freedom)

    def test_a_penalised_choice_follows_its_distribution(self) -> None:
        config, generator = SampleConfig(temperature=0.9, repetition_penalty=1.6), seeded(3)
        text = [[2, 3, 3, 9, 1]]
        drawn = [choose(self.LOGITS[None], config, [generator], text)[0] for _ in range(4000)]
        seen = torch.zeros(11, dtype=torch.bool)
        seen[text[0]] = True
        probabilities = (repetition_penalty(self.LOGITS, seen, 1.6) / 0.9).softmax(-1)
        observed = torch.bincount(torch.tensor(drawn), minlength=11)
        assert chi_square(observed, probabilities) < limit(10)
        assert chi_square(observed, (self.LOGITS / 0.9).softmax(-1)) > limit(10)

    def test_the_test_can_fail(self) -> None:
        config, generator = SampleConfig(temperature=1.2), seeded(3)
        drawn = [choose(self.LOGITS[None], config, [generator])[0] for _ in range(4000)]
        observed = torch.bincount(torch.tensor(drawn), minlength=11)
        assert chi_square(observed, self.LOGITS.softmax(-1)) > limit(10)

    def test_neighbouring_seeds_are_independent(self) -> None:
        rows = self.LOGITS.expand(4000, -1)
        observed = torch.bincount(
            torch.tensor(draw(rows, [seeded(seed) for seed in range(4000)])), minlength=11
        )
        assert chi_square(observed, self.LOGITS.softmax(-1)) < limit(10)

    def test_each_row_has_its_own_randomness(self) -> None:
        rows = torch.randn(5, 11, generator=seeded())
        config = SampleConfig(temperature=1.2, top_p=0.9)
        together = choose(rows, config, [seeded(seed) for seed in range(5)])
        alone = [choose(rows[i : i + 1], config, [seeded(i)])[0] for i in range(5)]
        assert together == alone

    @pytest.mark.parametrize("degree", [0.0, 1.5])
    def test_many_rows_of_a_large_vocabulary_are_chosen_as_alone(self, degree: float) -> None:
        logits, rows = torch.randn(7, 30_000, generator=seeded(4)), range(7)
        logits[:, 0] = 6.0  # the best of most rows, until the penalty
        config = SampleConfig(temperature=degree, repetition_penalty=3.0)
        seen = [[row, 0] if row % 2 else [row + 8] for row in rows]
        together = choose(logits, config, [seeded(row) for row in rows], seen)
        alone = [choose(logits[[r]], config, [seeded(r)], [seen[r]])[0] for r in rows]
        assert together == alone
        assert len(set(together)) > 3

    def test_temperature_0_is_greedy_and_needs_no_randomness(self) -> None:
        generator = seeded()
        before = generator.get_state()
        config = SampleConfig(temperature=0.0, top_k=5)
        assert choose(torch.stack([self.LOGITS, -self.LOGITS]), config, [generator] * 2) == [2, 4]
        assert torch.equal(generator.get_state(), before)

    @pytest.mark.parametrize("degree", [1e-30, 1e-320, 1e30])
    def test_extreme_temperatures_stay_finite(self, degree: float) -> None:
        (id,) = choose(1000 * self.LOGITS[None], SampleConfig(temperature=degree), [seeded()])
        assert id == 2 or degree > 1

    def test_what_is_impossible_is_never_drawn(self) -> None:
        logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]])
        generator = seeded()
        assert {draw(logits, [generator])[0] for _ in range(500)} == {1, 3}

    @pytest.mark.parametrize("dart", [0.0, 1 - 2**-53])
    def test_the_outermost_darts_hit(self, dart: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            torch, "rand", lambda *_, **__: torch.tensor([dart], dtype=torch.float64)
        )
        for weights in ([0.0, 0.3, 0.7, 0.0], [0.0, 1.0, 1e-12, 0.0], [0.0, *[1 / 3] * 3, 0.0]):
            (id,) = draw(torch.tensor([weights]).log(), [seeded()])
            assert weights[id] > 0

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_scores_that_are_no_numbers_are_an_error(self, bad: float) -> None:
        logits = torch.stack([self.LOGITS, self.LOGITS])
        logits[1, 3] = bad
        with pytest.raises(ValueError, match=f"{bad}.*not a finite number"):
            choose(logits, SampleConfig(), [seeded(), seeded()])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"max_new_tokens": -1}, "max_new_tokens -1"),
            ({"temperature": -0.5}, "temperature -0.5"),
            ({"temperature": math.nan}, "temperature nan"),
            ({"temperature": math.inf}, "temperature inf"),
            ({"top_k": 0}, "top_k 0"),
            ({"top_p": 0.0}, "top_p 0.0"),
            ({"top_p": 1.5}, "top_p 1.5"),
            ({"min_p": 0.0}, "min_p 0.0"),
            ({"typical": 1.5}, "typical 1.5"),
            ({"repetition_penalty": 0.9}, "repetition_penalty 0.9"),
            ({"stop_ids": ((1,), ())}, "stop_ids"),
            ({"stop": ("a", "")}, "stop"),
            ({"stop": "END"}, "stop 'END'"),
            ({"past_context": "jump"}, "past_context 'jump'"),
        ],
    )
    def test_configuration_names_what_is_wrong(self, change: dict[str, Any], message: str) -> None:
        # Past the checks of types that these tests switch on: a user has none.
        fields = SimpleNamespace(**{**vars(SampleConfig()), **change})
        with pytest.raises(ValueError, match=message) as fault:
            SampleConfig.__post_init__(fields)
        assert "must" in str(fault.value)


class TestReader:
    @pytest.mark.parametrize("position", SCHEMES)
    def test_equals_the_naive_loop_far_beyond_the_context(self, position: str) -> None:
        model, config = (
            make_model(position),
            SampleConfig(temperature=1.0, top_k=15, seed=4, past_context="slide"),
        )
        found = list(islice(generate_ids(model, [3, 1, 4], config), 40))
        assert found == naive_ids(model, [3, 1, 4], 40, config)
        assert len(set(found)) > 4

    def test_a_prompt_longer_than_the_context_counts_with_its_end(self) -> None:
        model, prompt = make_model(), random_ids(30).tolist()
        config = SampleConfig(temperature=0.0, past_context="slide")
        assert list(islice(generate_ids(model, prompt, config), 9)) == naive_ids(
            model, prompt, 9, config
        )

    @slow
    @given(st.lists(st.integers(1, 4), min_size=1, max_size=9))
    def test_pieces_make_no_difference(self, pieces: list[int]) -> None:
        model, reader, done = make_model("rotary"), Reader(make_model("rotary")), 0
        ids = random_ids(2, sum(pieces))
        for piece in pieces:
            found = reader.read(ids[:, done : done + piece].tolist())
            done += piece
            with torch.no_grad():
                expected = model(ids[:, max(0, done - 11) : done])[:, -1]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert reader.length == done

    def test_within_the_context_each_position_is_computed_once(self) -> None:
        model, positions = make_model(), []
        model.decoder.register_forward_pre_hook(
            lambda _, inputs: positions.append(inputs[0].shape[1])
        )
        list(islice(generate_ids(model, [1, 2, 3, 4]), 6))
        assert positions == [4, 1, 1, 1, 1, 1]

    def test_nothing_is_computed_in_vain(self) -> None:
        model, calls = make_model(), []
        model.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
        generate(model, LETTERS, ["ab"], SampleConfig(max_new_tokens=0))
        assert calls == []
        generate(model, LETTERS, ["ab"], SampleConfig(max_new_tokens=3))
        assert len(calls) == 3
        calls.clear()
        next(stream(model, LETTERS, "ab"))
        assert len(calls) == 1

    def test_keeps_rows(self) -> None:
        model, reader, ids = make_model(), Reader(make_model()), random_ids(3, 6)
        reader.read(ids[:, :4].tolist())
        reader.keep([2, 0])
        found = reader.read(ids[[2, 0], 4:].tolist())
        torch.testing.assert_close(found, model(ids[[2, 0]])[:, -1].detach(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("rows", [[[1], [1, 2]], [[], []], []])
    def test_rows_must_be_equally_long(self, rows: list[list[int]]) -> None:
        with pytest.raises(ValueError, match="give each row equally many, at least one"):
            Reader(make_model()).read(rows)

    def test_rows_must_stay_as_many(self) -> None:
        reader = Reader(make_model())
        reader.read([[1], [2]])
        with pytest.raises(ValueError, match="1 rows after 2 rows"):
            reader.read([[1]])

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


class TestPlain:
    """Writing without module calls is the same computation, wherever it takes the model's place."""

    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"bias": False},
            {"normalisation": "rms"},
            {"heads": 4, "width": 16, "key_value_heads": 2},
            {"vocab_multiple": 8, "hidden_width": 7},
        ],
        ids=str,
    )
    def test_the_same_numbers_to_the_last_bit(self, position: str, changes: dict[str, Any]) -> None:
        model, ids = make_model(position, **changes), random_ids(3, 11)
        plain = plain_hidden(model)
        assert plain != model.hidden
        with torch.inference_mode():
            for piece in (1, 4, 11):
                caches = [[KeyValueCache(11) for _ in range(3)] for _ in range(2)]
                for part in ids.split(piece, dim=1):
                    found, expected = plain(part, caches[0]), model.hidden(part, caches[1])
                    assert torch.equal(found, expected)

    def test_weights_are_shared(self) -> None:
        model, ids = make_model(), random_ids(2, 4)
        plain = plain_hidden(model)
        with torch.inference_mode():
            before = plain(ids, [KeyValueCache(11) for _ in range(3)])
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.mul_(1.5 if "norm" not in name else 0.5)
        with torch.inference_mode():
            after = plain(ids, [KeyValueCache(11) for _ in range(3)])
            assert torch.equal(after, model.hidden(ids))
        assert not torch.allclose(before, after)

    def test_every_hook_is_called_as_often_as_by_the_model(self) -> None:
        for before in (False, True):
            for name, _ in make_model("rotary").named_modules():
                model, calls = make_model("rotary"), []
                module = model.get_submodule(name)
                register = (
                    module.register_forward_pre_hook if before else module.register_forward_hook
                )
                register(lambda *_, calls=calls: calls.append(1))
                with torch.inference_mode():
                    model.hidden(torch.tensor([[1, 2]]))
                expected = len(calls)
                Reader(model).read([[1, 2]])
                assert len(calls) == 2 * expected, name

    def test_a_replaced_method_is_honoured(self) -> None:
        """An output head of one's own, say, as chapter 9 gives one to its patient; it was not."""
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
            model.hidden = lambda ids, caches=None: -before(ids, caches)  # type: ignore[method-assign]

        for change in (another_head, another_look_up, another_projection, another_body):
            model, ids = make_model(), [[1, 2, 3]]
            usual = Reader(model).read(ids)
            change(model)
            with torch.inference_mode():
                expected = model.token_embedding.logits(model.hidden(torch.tensor(ids)))[:, -1]
            assert not torch.allclose(expected, usual, atol=1e-3), change.__name__
            torch.testing.assert_close(Reader(model).read(ids), expected)

    def test_what_is_not_the_book_s_is_run_as_it_is(self) -> None:
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

        plain = Reader(make_model()).read([[1, 2, 3]])
        changes = (another_map, another_part, another_activation, exact_gelu, other_epsilon)
        for change in (*changes, replaced_forward):
            model = make_model()
            change(model)
            found = Reader(model).read([[1, 2, 3]])
            expected = model(torch.tensor([[1, 2, 3]]))[:, -1]
            torch.testing.assert_close(found, expected.detach(), rtol=0, atol=2e-6)
            assert not torch.allclose(found, plain, rtol=0, atol=4e-5), change.__name__

    @pytest.mark.usefixtures("unchecked")
    def test_within_the_context_each_position_is_computed_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of the reader, here without a hook, which would bring the modules back."""
        read = []

        def noted(query: Tensor, *rest: Tensor) -> Tensor:
            read.append(query.shape[2])
            return causal_attention(query, *rest)

        monkeypatch.setattr(sampling, "causal_attention", noted)
        list(islice(generate_ids(make_model(), [1, 2, 3, 4]), 6))
        assert read == [length for length in (4, 1, 1, 1, 1, 1) for _ in range(3)]


class TestBeamSearch:
    def all_continuations(self, model: GPT, prompt: list[int], new: int, end: int | None) -> Any:
        """Every continuation and its log-probability, the likeliest first."""
        found, alive = [], [(0.0, [])]
        for _ in range(new):
            longer = []
            for score, ids in alive:
                logits = model(torch.tensor([prompt + ids]))[0, -1].detach().log_softmax(-1)
                longer += [(score + logits[id].item(), [*ids, id]) for id in range(len(logits))]
            found += [text for text in longer if text[1][-1] == end]
            alive = [text for text in longer if text[1][-1] != end]
        return sorted(found + alive, key=lambda text: -text[0])

    @pytest.mark.parametrize("end", [None, 0, 3])
    @pytest.mark.parametrize("beams", [25, 40])
    def test_with_beams_enough_it_finds_the_likeliest(self, end: int | None, beams: int) -> None:
        model = make_model(vocab_size=5)
        found = beam_search(model, [1, 2], 3, beams=beams, end_of_text=end)
        expected = self.all_continuations(model, [1, 2], 3, end)[:beams]
        assert [ids for _, ids in found] == [ids for _, ids in expected]
        assert [score for score, _ in found] == pytest.approx(
            [score for score, _ in expected], abs=1e-4
        )

    def test_one_beam_is_greedy(self) -> None:
        model = make_model()
        ((_, ids),) = beam_search(model, [3, 1], 30, beams=1)
        assert ids == naive_ids(model, [3, 1], 30, SampleConfig(temperature=0.0))

    def test_more_beams_find_likelier_text(self) -> None:
        model = make_model()
        scores = [beam_search(model, [3, 1], 9, beams=beams)[0][0] for beams in (1, 3, 30)]
        assert scores == sorted(scores)
        assert scores[0] < scores[-1]

    def test_refuses_what_makes_no_sense(self) -> None:
        with pytest.raises(ValueError, match="beams 0 and new_tokens 5 must be at least 1"):
            beam_search(make_model(), [1], 5, beams=0)
        with pytest.raises(ValueError, match="the prompt is empty"):
            beam_search(make_model(), [], 5)


class TestManners:
    def test_leaves_mode_gradients_and_state_as_found(self) -> None:
        model = make_model(dropout=0.5).train()
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

    def test_mode_is_restored_after_an_error(self) -> None:
        model = make_model().train()
        with torch.no_grad():
            model.token_embedding.weight.fill_(math.nan)
        with pytest.raises(ValueError, match="not a finite number"):
            next(generate_ids(model, [1]))
        assert model.training
        assert model.decoder.training

    def test_a_model_can_be_trained_between_tokens(self) -> None:
        model = make_model().train()
        ids = generate_ids(model, [1, 2, 3])
        next(ids)
        model(random_ids(2, 5)).sum().backward()
        next(ids)
        assert model.token_embedding.weight.grad is not None

    def test_two_generators_take_turns(self) -> None:
        model, config = make_model(), SampleConfig(temperature=1.0, past_context="slide")
        alone = [list(islice(generate_ids(model, prompt, config), 20)) for prompt in ([1], [2, 3])]
        first, second = generate_ids(model, [1], config), generate_ids(model, [2, 3], config)
        turns = [(next(first), next(second)) for _ in range(20)]
        assert [list(ids) for ids in zip(*turns, strict=True)] == alone

    def test_global_randomness_is_left_alone(self) -> None:
        model = make_model()
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
            generate_ids(make_model(), prompt, config)

    def test_streaming_refuses_at_once(self) -> None:
        with pytest.raises(ValueError, match="does not know 'z'"):
            stream(make_model(), LETTERS, "az")

    def test_one_string_is_not_a_list_of_prompts(self) -> None:
        with pytest.raises(TypeError, match=r"\[prompt\]"):
            generate(make_model(), LETTERS, "abc")


class TestContinuation:
    @slow
    @given(st.text(max_size=12), st.binary(max_size=12))
    def test_pieces_are_whole_characters_and_add_up(self, text: str, junk: bytes) -> None:
        text = text.encode("utf-8", errors="replace").decode()
        ids = [*BYTES.encode(text), *junk, *BYTES.encode(text)]
        growing = Continuation(BYTES, SampleConfig(max_new_tokens=1000))
        pieces = [growing.add(id) for id in ids]
        pieces.append(growing.end("length"))
        assert "".join(pieces) == growing.text == BYTES.decode(ids)

    def test_no_piece_is_a_broken_character(self) -> None:
        growing = Continuation(BYTES, SampleConfig())
        pieces = [growing.add(id) for id in BYTES.encode("aé€🙂\ufffd!")]
        assert pieces == ["a", "", "é", "", "", "€", "", "", "", "🙂", "", "", "", "\ufffd!"]

    @slow
    @given(
        st.text("ab", max_size=14),
        st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
        st.lists(st.integers(1, 4), min_size=14, max_size=14),
    )
    def test_stop_strings_end_the_text_however_the_tokens_are_cut(
        self, text: str, stops: list[str], cuts: list[int]
    ) -> None:
        # Read as one would by eye: at the first character that completes a stop string.
        ends = [i for i in range(len(text) + 1) if any(text[:i].endswith(stop) for stop in stops)]
        expected = text
        if ends:
            done = text[: ends[0]]
            expected = done[: -max(len(stop) for stop in stops if done.endswith(stop))]
        pieces, rest = [], text
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        pieces = [piece for piece in pieces if piece]
        words = Words(sorted(set(pieces)))
        growing = Continuation(words, SampleConfig(stop=tuple(stops)))
        shown = ""
        for piece in pieces:
            shown += growing.add(words.words.index(piece))
            assert expected.startswith(shown)
            if growing.stopped:
                break
        else:
            shown += growing.end("length")
        assert shown == growing.text == expected
        assert growing.stopped == ("stop string" if ends else "length")

    @slow
    @given(
        st.lists(st.integers(97, 98), max_size=14),
        st.lists(st.lists(st.integers(97, 98), min_size=1, max_size=4), min_size=1, max_size=3),
    )
    def test_stop_sequences_of_tokens_end_the_text(
        self, ids: list[int], stops: list[list[int]]
    ) -> None:
        ends = [i for i in range(len(ids) + 1) if any(ids[:i][-len(s) :] == s for s in stops)]
        kept = ids
        if ends:
            done = ids[: ends[0]]
            kept = done[: -max(len(s) for s in stops if done[-len(s) :] == s)]
        growing = Continuation(BYTES, SampleConfig(stop_ids=tuple(map(tuple, stops))))
        shown = ""
        for id in ids:
            shown += growing.add(id)
            assert BYTES.decode(kept).startswith(shown)
            if growing.stopped:
                break
        else:
            shown += growing.end("length")
        assert shown == growing.text == BYTES.decode(kept)
        assert growing.ids == kept
        assert growing.stopped == ("stop tokens" if ends else "length")

    def test_stop_tokens_beside_a_stop_string_and_inside_a_character(self) -> None:
        config = SampleConfig(stop=("ab",), stop_ids=((97, 98), (120, 121)))
        growing = Continuation(BYTES, config)
        assert [growing.add(id) for id in b"xzab"] == ["", "xz", "", ""]
        assert growing.stopped == "stop string"
        smile = list("🙂".encode())
        growing = Continuation(BYTES, SampleConfig(stop_ids=(tuple(smile[2:]),)))
        assert "".join(growing.add(id) for id in [97, *smile]) == "a\ufffd"
        assert (growing.ids, growing.stopped) == ([97, *smile[:2]], "stop tokens")

    def test_text_waits_only_while_it_must(self) -> None:
        growing = Continuation(BYTES, SampleConfig(stop=("END", "ENOUGH")))
        pieces = [growing.add(id) for id in b"THE ENTRY"]
        assert pieces == ["T", "H", "", "E ", "", "", "ENT", "R", "Y"]

    def test_stopping_at_a_length_gives_out_what_was_held_back(self) -> None:
        growing = Continuation(BYTES, SampleConfig(max_new_tokens=3, stop=("bcd",)))
        assert [growing.add(id) for id in b"abc"] == ["a", "", "bc"]
        assert growing.stopped == "length"

    def test_stopping_inside_a_character_shows_that(self) -> None:
        growing = Continuation(BYTES, SampleConfig(max_new_tokens=2))
        assert [growing.add(id) for id in "🙂".encode()[:2]] == ["", "\ufffd"]

    def test_end_of_text_is_no_text(self) -> None:
        growing = Continuation(BYTES, SampleConfig(stop=("bc",)))
        assert [growing.add(id) for id in (97, 98, 256)] == ["a", "", "b"]
        assert growing.ids == [97, 98]
        assert growing.stopped == "end of text"


class Words:
    """A tokenizer whose tokens are whole words; it only decodes."""

    end_of_text: int | None = None

    def __init__(self, words: list[str]) -> None:
        self.words = words

    @property
    def vocab_size(self) -> int:
        return len(self.words)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.words[id] for id in ids)

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def to_dict(self) -> dict[str, object]:
        raise NotImplementedError

    def save(self, path: object) -> None:
        raise NotImplementedError


class TestGenerate:
    PROMPTS = ("abc", "a", "hgfedcba", "abc", "abcdefghijklmnopqrs")

    @pytest.mark.parametrize("position", SCHEMES)
    @pytest.mark.parametrize("past_context", ["slide", "stop"])
    def test_each_row_is_what_it_is_alone(self, position: str, past_context: Any) -> None:
        model = make_model(position)
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
            assert "".join(stream(model, LETTERS, prompt, alone)) == together[row].text
        assert together[0].ids != together[3].ids  # same prompt, another seed
        assert len({len(generation.ids) for generation in together}) > 1

    def test_finished_rows_cost_nothing(self) -> None:
        model, rows = make_model(vocab_size=257, context_length=99), []
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

    def test_ids_and_text_belong_together(self) -> None:
        model = make_model(vocab_size=257)
        for generation in generate(
            model, BYTES, ["né"] * 20, SampleConfig(temperature=2.0, past_context="slide")
        ):
            assert generation.text == BYTES.decode(generation.ids)
            assert 256 not in generation.ids
            assert (len(generation.ids) == 200) == (generation.stopped == "length")

    def test_end_of_text_ends(self) -> None:
        model = make_model(vocab_size=257)
        with torch.no_grad():
            model.token_embedding.weight[256] = 1e3 * model(torch.tensor([[256]]))[0, 0, :12]
        (generation,) = generate(
            model, BYTES, [""], SampleConfig(temperature=0.0, past_context="slide")
        )
        ids = naive_ids(model, [256], 200, SampleConfig(temperature=0.0))
        assert (256 in ids) == (generation.stopped == "end of text")
        assert generation.ids == ids[: ids.index(256) if 256 in ids else None]

    def test_past_the_context_it_can_stop(self) -> None:
        config = SampleConfig(temperature=1.0)  # "stop" is the default
        (generation,) = generate(make_model(), LETTERS, ["abcd"], config)
        assert generation.stopped == "context"
        assert len(generation.ids) == 11 - 4 + 1  # the last one is drawn from a full window
        assert generation.ids == naive_ids(make_model(), LETTERS.encode("abcd"), 8, config)
        assert list(generate_ids(make_model(), LETTERS.encode("abcd"), config)) == generation.ids

    def test_an_empty_prompt_starts_a_document(self) -> None:
        assert start_ids(BYTES, "") == [256]
        assert start_ids(BYTES, "a") == [97]
        with pytest.raises(ValueError, match="no end-of-text token"):
            start_ids(LETTERS, "")

    def test_ids_that_the_tokenizer_does_not_know_are_never_drawn(self) -> None:
        model = make_model(vocab_size=64)
        config = SampleConfig(temperature=5.0, max_new_tokens=300, past_context="slide")
        (generation,) = generate(model, LETTERS, ["a"], config)
        assert set(generation.ids) == set(range(19))
        assert max(islice(generate_ids(model, [0], config), 300)) > 18

    def test_no_prompts_no_work(self) -> None:
        assert generate(make_model(), LETTERS, []) == []

    def test_no_new_tokens(self) -> None:
        (generation,) = generate(make_model(), LETTERS, ["a"], SampleConfig(max_new_tokens=0))
        assert (generation.ids, generation.text, generation.stopped) == ([], "", "length")

    def test_the_same_seed_gives_the_same_text(self) -> None:
        model = make_model()
        texts = [generate(model, LETTERS, ["a"], SampleConfig(seed=s))[0].text for s in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]


class TestSpeculative:
    """A draft changes the number of passes and nothing that can be read."""

    def draft(self, seed: int = 1, **changes: Any) -> GPT:
        model = make_model(**{"layers": 1, "width": 8, **changes})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed)))
        return model

    def lively(self, **changes: Any) -> GPT:
        """A model whose greedy text is not one letter again and again."""
        return self.draft(100, width=12, **changes)

    @pytest.mark.parametrize("rate", [1.0, 0.3])
    def test_judged_tokens_are_draws_from_the_target(self, rate: float) -> None:
        logits = torch.randn(4, 7, generator=seeded(2)).double() * 2
        logits[0, 3] = logits[1, 2] = -math.inf  # impossible for the draft, for the target
        draft, target = logits[[0, 1]].softmax(-1), logits[[1, 2, 3]].softmax(-1)
        draft = rate * draft + (1 - rate) * target[:2]
        generator, judged = seeded(5), []
        for _ in range(6000):
            proposals = draw(draft.log(), [generator, generator])
            judged.append(judge(proposals, target, draft, generator))
        for place in range(3):
            found = torch.tensor([ids[place] for ids in judged if len(ids) > place])
            assert chi_square(torch.bincount(found, minlength=7), target[place]) < limit(6)
        kept = sum(len(ids) > 1 for ids in judged)
        overlap = torch.minimum(draft[0], target[0]).sum().item()
        assert abs(kept / 6000 - overlap) < 0.03  # the share that is accepted, as proved

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        ("ahead", "settings"),
        [
            (2, {"temperature": 1.3, "top_k": 3, "top_p": 0.95, "repetition_penalty": 1.5}),
        ],
    )
    def test_texts_have_the_probabilities_of_the_target(
        self, ahead: int, settings: dict[str, Any]
    ) -> None:
        letters, prompt, size, new = CharTokenizer("abcd"), [2, 0], 4, 3
        model, draft = self.lively(vocab_size=size), self.draft(vocab_size=size)
        with torch.no_grad():
            for each in (model, draft):  # so that no text is hopeless
                each.token_embedding.weight.mul_(0.3)

        def texts(model: GPT) -> Tensor:
            """The exact probability of each of the texts, by the model alone."""
            total = []
            for number in range(size**new):
                ids = [number // size ** (new - 1 - place) % size for place in range(new)]
                chance = 1.0
                for place in range(new):
                    so_far = prompt + ids[:place]
                    with torch.no_grad():
                        logits = model(torch.tensor([so_far]))[:, -1]
                    marks = torch.zeros(1, size, dtype=torch.bool)
                    marks[0, so_far] = True
                    logits = repetition_penalty(
                        logits, marks, settings.get("repetition_penalty", 1.0)
                    )
                    logits = temperature(logits, settings["temperature"])
                    logits = top_k(logits, settings.get("top_k", size))
                    logits = top_p(logits, settings.get("top_p", 1.0))
                    chance *= logits.softmax(-1)[0, ids[place]].item()
                total.append(chance)
            return torch.tensor(total, dtype=torch.float64)

        numbers, kept = [], []
        for seed in range(2500):
            config = SampleConfig(max_new_tokens=new, seed=seed, **settings)
            found = speculative_generate(model, draft, letters, "ca", config, ahead)
            numbers.append(sum(id * size ** (new - 1 - i) for i, id in enumerate(found.ids)))
            kept.append(found.accepted / found.proposed)
        observed = torch.bincount(torch.tensor(numbers), minlength=size**new)
        expected = texts(model)
        assert expected.sum().item() == pytest.approx(1)
        # Texts of which fewer than five are expected are counted together.
        rare = expected * 2500 < 5
        together = [torch.cat([x[~rare], x[rare].sum()[None]]) for x in (observed, expected)]
        freedom = len(together[0]) - (1 if together[1][-1] > 0 else 2)
        assert chi_square(*together) < limit(freedom)
        alone = texts(draft)
        other = torch.cat([alone[~rare], alone[rare].sum()[None]])
        assert chi_square(together[0], other) > limit(freedom)  # the draft's own texts differ
        assert 0.1 < sum(kept) / 2500 < 0.97

    @given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 40), st.integers(0, 12))
    @slow
    def test_greedy_text_is_that_of_the_model_alone(
        self, seed: int, ahead: int, context: int, new: int
    ) -> None:
        model = self.lively(context_length=23)
        draft = self.draft(seed, context_length=context)
        for stops in ({}, {"stop": ("a", "bq"), "stop_ids": ((3, 4),)}):
            config = SampleConfig(temperature=0.0, max_new_tokens=2 * new, **stops)
            (alone,) = generate(model, LETTERS, ["hello"], config)
            found = speculative_generate(model, draft, LETTERS, "hello", config, ahead)
            assert (found.ids, found.text) == (alone.ids, alone.text)
            assert found.stopped == alone.stopped
            assert found.accepted <= found.proposed <= ahead * found.passes

    def test_a_draft_that_agrees_saves_passes(self) -> None:
        model = self.lively(context_length=40)
        config = SampleConfig(temperature=0.0, max_new_tokens=30)
        found = speculative_generate(model, model, LETTERS, "abc", config)
        assert (found.passes, found.proposed, found.accepted) == (6, 24, 24)
        assert len(set(found.ids)) > 3

    def test_each_position_is_read_once_unless_rejected(self) -> None:
        model, draft, read = self.lively(context_length=40), self.draft(context_length=40), []
        model.decoder.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].shape[1]))
        config = SampleConfig(temperature=1.0, max_new_tokens=20, seed=4)
        found = speculative_generate(model, draft, LETTERS, "abc", config, ahead=3)
        assert len(read) == found.passes <= 20
        assert sum(read) == 3 + found.proposed + found.passes - 1
        assert found.stopped == "length"

    def test_a_full_context_ends_as_it_does_alone(self) -> None:
        model, draft = self.lively(), self.draft()
        for seed in range(20):
            config = SampleConfig(temperature=1.0, seed=seed)
            found = speculative_generate(model, draft, LETTERS, "abcd", config)
            assert (found.stopped, len(found.ids)) == ("context", 8)
        full = speculative_generate(model, draft, LETTERS, "abcdefghijk", SampleConfig())
        assert (full.stopped, len(full.ids), full.proposed) == ("context", 1, 0)

    def test_end_of_text_ends(self) -> None:
        model = make_model(vocab_size=257)
        for seed in range(30):
            config = SampleConfig(temperature=9.0, seed=seed)
            found = speculative_generate(model, model, BYTES, "", config)
            assert 256 not in found.ids
            assert found.text == BYTES.decode(found.ids)
        with torch.no_grad():
            model.token_embedding.weight[256] = 1e3 * model.hidden(torch.tensor([[97]]))[0, 0]
        greedy = SampleConfig(temperature=0.0)
        (alone,) = generate(model, BYTES, ["a"], greedy)
        found = speculative_generate(model, self.draft(vocab_size=257), BYTES, "a", greedy)
        assert (found.ids, found.stopped) == (alone.ids, alone.stopped) == ([], "end of text")

    def test_padded_ids_are_never_drawn(self) -> None:
        model, draft = self.lively(vocab_size=64), self.draft(vocab_size=64)
        drawn = set()
        for seed in range(40):
            config = SampleConfig(temperature=9.0, seed=seed)
            drawn |= set(speculative_generate(model, draft, LETTERS, "a", config).ids)
        assert drawn == set(range(19))

    def test_leaves_both_models_as_found(self) -> None:
        model, draft = self.lively(dropout=0.5).train(), self.draft(dropout=0.5).train()
        draft.decoder.eval()
        modes = [module.training for each in (model, draft) for module in each.modules()]
        kept = [set(vars(module)) for each in (model, draft) for module in each.modules()]
        config, randomness = SampleConfig(temperature=1.0), torch.get_rng_state()
        found = speculative_generate(model, draft, LETTERS, "abc", config)
        assert modes == [module.training for each in (model, draft) for module in each.modules()]
        assert kept == [set(vars(module)) for each in (model, draft) for module in each.modules()]
        assert torch.equal(torch.get_rng_state(), randomness)
        assert all(p.grad is None for each in (model, draft) for p in each.parameters())
        again = speculative_generate(model.eval(), draft.eval(), LETTERS, "abc", config)
        assert found == again  # no dropout, and nothing remembered
        draft.train()
        with torch.no_grad():
            draft.token_embedding.weight.fill_(math.nan)
        with pytest.raises(ValueError, match="not a finite number"):
            speculative_generate(model, draft, LETTERS, "abc", config)
        assert draft.training

    @pytest.mark.parametrize(
        ("draft", "prompt", "config", "ahead", "message"),
        [
            ({"vocab_size": 23}, "a", {}, 4, "draft has a vocabulary of 23, the model one of 19"),
            ({}, "a", {}, 0, "ahead 0 must be at least 1"),
            ({}, "a", {"past_context": "slide"}, 4, "'slide'.*use past_context='stop'"),
            ({}, "", {}, 4, "no end-of-text token"),
            ({}, "a" * 12, {}, 4, "12 tokens does not fit"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self,
        draft: dict[str, Any],
        prompt: str,
        config: dict[str, Any],
        ahead: int,
        message: str,
    ) -> None:
        with pytest.raises(ValueError, match=message):
            speculative_generate(
                self.lively(), self.draft(**draft), LETTERS, prompt, SampleConfig(**config), ahead
            )

    def test_a_reader_forgets_what_it_is_told_to(self) -> None:
        model, ids = make_model(), random_ids(1, 9)
        reader = Reader(model)
        reader.read([[*ids[0, :4].tolist(), 7, 7]])
        reader.forget(4)
        found = reader.read_scoring(ids[:, 4:].tolist(), 3)
        torch.testing.assert_close(found, model(ids)[:, 6:].detach(), rtol=1e-4, atol=1e-5)
        assert reader.ids == ids.tolist()
        with pytest.raises(ValueError, match="cannot keep 10 positions of 9"):
            reader.forget(10)


class TestChecks:
    def said(self, capsys: pytest.CaptureFixture[str], check: Any, answer: Any) -> str:
        check(answer)
        return capsys.readouterr().out

    def test_texts_that_fit(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(config: GPTConfig, memory: int, size: int) -> int:
            return memory // (2 * config.layers * config.context_length * config.width * size)

        def forgets_values(config: GPTConfig, memory: int, size: int) -> int:
            return memory // (config.layers * config.context_length * config.width * size)

        def rounds_up(config: GPTConfig, memory: int, size: int) -> int:
            return -(-memory // (2 * config.layers * config.context_length * config.width * size))

        check = checks.sampling.texts_that_fit
        for wrong in (lambda *_: None, forgets_values, rounds_up):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_penalise(self, capsys: pytest.CaptureFixture[str]) -> None:
        def right(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            result = logits.clone()
            result[sorted(set(seen))] -= math.log(penalty)
            return result

        def divides(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            result = logits.clone()
            result[sorted(set(seen))] /= penalty
            return result

        def counts_twice(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            result = logits.clone()
            for id in seen:
                result[id] -= math.log(penalty)
            return result

        def in_place(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
            logits[sorted(set(seen))] -= math.log(penalty)
            return logits

        check = checks.sampling.penalise
        for wrong in (lambda *_: None, divides, counts_twice, in_place):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")

    def test_keep_or_redraw(self, capsys: pytest.CaptureFixture[str]) -> None:
        def throw(weights: Tensor, dart: float) -> int:
            ends = weights.double().cumsum(-1)
            return int(torch.searchsorted(ends, dart * ends[-1], right=True))

        def right(target: Tensor, draft: Tensor, token: int, first: float, second: float) -> int:
            if first * draft[token] < target[token]:
                return token
            return throw((target - draft).clamp(min=0), second)

        def redraws_from_target(
            target: Tensor, draft: Tensor, token: int, first: float, second: float
        ) -> int:
            return token if first * draft[token] < target[token] else throw(target, second)

        def always_keeps(
            target: Tensor, draft: Tensor, token: int, first: float, second: float
        ) -> int:
            return token

        check = checks.sampling.keep_or_redraw
        for wrong in (lambda *_: None, redraws_from_target, always_keeps):
            assert self.said(capsys, check, wrong).startswith("not yet: ")
        assert self.said(capsys, check, right).startswith("correct: ")


def test_the_module_has_no_state_of_its_own() -> None:
    for name, thing in vars(sampling).items():
        assert not isinstance(thing, Tensor | torch.Generator | list | dict) or name in (
            "__all__",
            "__builtins__",
        ), name
