"""The description of a GPT: its defaults, its presets, and all that it refuses."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mini_gpt import checks
from mini_gpt.config import PRESETS, GPTConfig
from tiny import tiny_config

TINY = tiny_config()


class TestDefaults:
    def test_are_the_smallest_gpt2(self) -> None:
        config = GPTConfig()
        assert config == GPTConfig.preset("gpt2")
        assert dataclasses.asdict(config) == {
            "vocab_size": 50_257,
            "context_length": 1024,
            "layers": 12,
            "heads": 12,
            "width": 768,
            "hidden_width": None,
            "dropout": 0.0,
            "bias": True,
            "position": "learned",
            "normalization": "layer",
            "pad_vocab_to_multiple": 1,
            "key_value_heads": None,
            "activation": "gelu_tanh",
            "norm_epsilon": 1e-5,
            "embedding_dropout": None,
            "attention_dropout": None,
        }

    def test_that_follow_from_other_fields_are_worked_out_each_time(self) -> None:
        """A copy with another width is as good as a description written anew."""
        config = dataclasses.replace(TINY, width=24, heads=2, vocab_size=19)
        assert config == GPTConfig(vocab_size=19, context_length=8, layers=2, heads=2, width=24)
        assert (config.feed_forward_width, config.head_width, config.kv_heads) == (96, 12, 2)
        given = dataclasses.replace(TINY, hidden_width=7, key_value_heads=1)
        assert (given.feed_forward_width, given.kv_heads) == (7, 1)

    @pytest.mark.parametrize(
        ("vocab_size", "multiple", "rows"),
        [(50_257, 64, 50_304), (64, 64, 64), (65, 64, 128), (1, 64, 64), (17, 1, 17)],
    )
    def test_rows_are_rounded_up(self, vocab_size: int, multiple: int, rows: int) -> None:
        config = GPTConfig(vocab_size=vocab_size, pad_vocab_to_multiple=multiple)
        assert config.padded_vocab_size == rows


class TestPresets:
    @pytest.mark.parametrize(
        ("name", "layers", "heads", "width"),
        [
            ("gpt2", 12, 12, 768),
            ("gpt2-medium", 24, 16, 1024),
            ("gpt2-large", 36, 20, 1280),
            ("gpt2-xl", 48, 25, 1600),
        ],
    )
    def test_of_gpt2_are_the_released_sizes(
        self, name: str, layers: int, heads: int, width: int
    ) -> None:
        config = GPTConfig.preset(name)
        assert (config.layers, config.heads, config.width) == (layers, heads, width)
        assert (config.head_width, config.feed_forward_width) == (64, 4 * width)

    def test_unknown_one_lists_the_known(self) -> None:
        with pytest.raises(ValueError, match="no preset 'gpt3'") as fault:
            GPTConfig.preset("gpt3")
        assert len(PRESETS) == 6
        for name in PRESETS:
            assert name in str(fault.value)

    def test_of_the_book_are_what_the_command_trains(self) -> None:
        from mini_gpt.commands.train_options import CPU_MODEL, GPU_MODEL

        for name, model in (("shakespeare-small", CPU_MODEL), ("shakespeare-large", GPU_MODEL)):
            preset = GPTConfig.preset(name)
            assert preset.vocab_size == 84
            assert model.closed(84) == preset


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "kind", "message"),
        [
            ({"vocab_size": 0}, ValueError, "vocab_size 0 must be at least 1"),
            ({"context_length": -1}, ValueError, "context_length -1 must be at least 1"),
            ({"layers": 0}, ValueError, "layers 0 must be at least 1"),
            ({"heads": 0}, ValueError, "heads 0 must be at least 1"),
            ({"width": 0}, ValueError, "width 0 must be at least 1"),
            ({"hidden_width": 0}, ValueError, "hidden_width 0 must be at least 1"),
            ({"hidden_width": 2.0}, TypeError, "hidden_width 2.0 must be a whole number"),
            ({"layers": 2.0}, TypeError, "layers 2.0 must be a whole number"),
            ({"layers": True}, TypeError, "layers True must be a whole number"),
            ({"layers": None}, TypeError, "layers None must be a whole number"),
            ({"width": "768"}, TypeError, "width '768' must be a whole number"),
            ({"heads": 5}, ValueError, "heads 5 must divide width 768; try width 320"),
            ({"dropout": 1.0}, ValueError, "dropout 1.0 must be at least 0 and less than 1"),
            ({"dropout": -0.1}, ValueError, "dropout -0.1 must be at least 0"),
            ({"dropout": math.nan}, ValueError, "dropout nan must be a finite number"),
            ({"dropout": "0.1"}, TypeError, "dropout '0.1' must be a number"),
            ({"dropout": False}, TypeError, "dropout False must be a number"),
            ({"embedding_dropout": 1.0}, ValueError, "embedding_dropout 1.0 must be at least 0"),
            ({"attention_dropout": -0.1}, ValueError, "attention_dropout -0.1 must be at least"),
            ({"attention_dropout": "0"}, TypeError, "attention_dropout '0' must be a number"),
            ({"bias": "false"}, TypeError, "bias 'false' must be True or False"),
            ({"position": "rope"}, ValueError, "position 'rope' must be 'learned', 'sinusoidal'"),
            ({"normalization": "batch"}, ValueError, "normalization 'batch' must be 'layer' or"),
            ({"key_value_heads": 5}, ValueError, "key_value_heads 5 must divide heads 12"),
            ({"key_value_heads": 0}, ValueError, "key_value_heads 0 must be at least 1"),
            ({"key_value_heads": 2.0}, TypeError, "key_value_heads 2.0 must be a whole number"),
            (
                {"pad_vocab_to_multiple": 0},
                ValueError,
                "pad_vocab_to_multiple 0 must be at least 1",
            ),
            (
                {"pad_vocab_to_multiple": 64.0},
                TypeError,
                "pad_vocab_to_multiple 64.0 must be a whole number",
            ),
            (
                {"position": "rotary", "width": 9, "heads": 3},
                ValueError,
                "even head width, not 3; try width 18",
            ),
            (
                {"position": "sinusoidal", "width": 9, "heads": 3},
                ValueError,
                "even width, not 9; try width 18",
            ),
        ],
    )
    def test_name_field_value_and_remedy(
        self, fields: dict[str, Any], kind: type[Exception], message: str
    ) -> None:
        # Past the type checks of the tests' import hook, which users do not have.
        config = copy.copy(GPTConfig())
        for name, value in fields.items():
            object.__setattr__(config, name, value)
        with pytest.raises(kind, match=message):
            config.__post_init__()

    def test_come_when_it_is_made(self) -> None:
        with pytest.raises(ValueError, match="layers 0 must be at least 1"):
            GPTConfig(layers=0)

    @pytest.mark.parametrize("heads", [5, 7, 12, 100])
    def test_name_a_width_that_works(self, heads: int) -> None:
        with pytest.raises(ValueError) as fault:
            GPTConfig(width=heads * 64 + 1, heads=heads)
        assert GPTConfig(width=int(str(fault.value).split()[-1]), heads=heads).head_width == 64

    @given(
        heads=st.integers(1, 6),
        width=st.integers(1, 24),
        position=st.sampled_from(["learned", "sinusoidal", "rotary", "none"]),
        key_value_heads=st.none() | st.integers(1, 6),
    )
    @settings(deadline=None)
    def test_are_for_what_does_not_fit_and_for_nothing_else(
        self, heads: int, width: int, position: Any, key_value_heads: int | None
    ) -> None:
        fits = (
            width % heads == 0
            and heads % (key_value_heads or heads) == 0
            and not (position == "rotary" and (width // heads) % 2)
            and not (position == "sinusoidal" and width % 2)
        )
        try:
            GPTConfig(heads=heads, width=width, position=position, key_value_heads=key_value_heads)
        except ValueError:
            assert not fits
        else:
            assert fits

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            TINY.layers = 2  # type: ignore[misc]


def right_shapes(config: GPTConfig, batch: int, time: int) -> dict[str, tuple[int, ...]]:
    stream = (batch, time, config.width)
    return {
        "ids": (batch, time),
        "table": (config.vocab_size, config.width),
        "stream": stream,
        "after the blocks": stream,
        "logits": (batch, time, config.vocab_size),
    }


@dataclasses.dataclass(frozen=True)
class Description:
    layers: int
    heads: int
    width: int
    hidden_width: int | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} must be at least 1")
        if self.width % self.heads:
            raise ValueError("heads must divide the width")

    @property
    def feed_forward_width(self) -> int:
        return 4 * self.width if self.hidden_width is None else self.hidden_width


@dataclasses.dataclass(frozen=True)
class NoChecks:
    layers: int
    heads: int
    width: int
    hidden_width: int | None = None


@dataclasses.dataclass
class CanChange:
    layers: int
    heads: int
    width: int
    hidden_width: int | None = None


@dataclasses.dataclass(frozen=True)
class FilledIn(Description):
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_width is None:
            object.__setattr__(self, "hidden_width", 4 * self.width)


@dataclasses.dataclass(frozen=True)
class Vague(Description):
    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except ValueError:
            raise ValueError("something is wrong") from None


class TestExercises:
    def test_shapes(self, capsys: pytest.CaptureFixture[str]) -> None:
        def with_one_wrong(name: str, shape: Any) -> Any:
            return lambda config, batch, time: {
                **right_shapes(config, batch, time),
                name: shape(config, batch, time),
            }

        checks.config.shapes(lambda config, batch, time: None)
        checks.config.shapes(lambda config, batch, time: {})
        checks.config.shapes(with_one_wrong("table", lambda c, b, t: (c.width, c.vocab_size)))
        checks.config.shapes(with_one_wrong("logits", lambda c, b, t: (b, 5, c.vocab_size)))
        checks.config.shapes(
            lambda *sizes: {name: list(shape) for name, shape in right_shapes(*sizes).items()}
        )
        nothing, empty, turned, fixed, solution = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: expected a dictionary with the keys ids, table,")
        assert empty.startswith(
            "not yet: for 'ids' at vocabulary 17, width 12, batch 2, time 5 nothing comes back"
        )
        assert turned.startswith("not yet: for 'table' at vocabulary 17")
        assert fixed.startswith("not yet: for 'logits' at vocabulary 50257, width 768, batch 4")
        assert solution.startswith("correct: ")

    def test_with_heads(self, capsys: pytest.CaptureFixture[str]) -> None:
        def solution(config: GPTConfig, heads: int) -> GPTConfig:
            return dataclasses.replace(config, heads=heads, width=heads * config.head_width)

        def of_width_64(config: GPTConfig, heads: int) -> GPTConfig:
            return dataclasses.replace(config, heads=heads, width=heads * 64)

        def anew(config: GPTConfig, heads: int) -> GPTConfig:
            sizes = config.vocab_size, config.context_length, config.layers
            return GPTConfig(*sizes, heads, heads * config.head_width)

        checks.config.with_heads(lambda config, heads: None)
        checks.config.with_heads(lambda config, heads: dataclasses.replace(config, heads=heads))
        checks.config.with_heads(of_width_64)
        checks.config.with_heads(anew)
        checks.config.with_heads(solution)
        nothing, not_divided, wide, defaults, right = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for more heads expected a GPTConfig, got None")
        assert not_divided.startswith("not yet: your code raised ValueError: heads 5 must divide")
        assert wide.startswith("not yet: for more heads (from 3 to 5), field width expected 20")
        assert defaults.startswith("not yet: for other fields set (from 3 to 7), field bias")
        assert right.startswith("correct: ")

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (dataclasses.make_dataclass("Empty", []), "not yet: for the names of the fields"),
            (CanChange, "not yet: after small.layers = 4 the shape has changed"),
            (NoChecks, "not yet: for layers 0, refused expected True, got False"),
            (Vague, "not yet: for layers 0, in the message expected True, got False"),
            (FilledIn, "not yet: for width 12 replaced by 24 expected 96, got 48"),
            (Description, "correct: "),
        ],
    )
    def test_description(
        self, answer: type[Any], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        checks.config.description(answer)
        assert capsys.readouterr().out.startswith(said)

    def test_replacing(self, capsys: pytest.CaptureFixture[str]) -> None:
        def means(stream: Tensor) -> Tensor:
            return stream.cumsum(1) / torch.arange(1, stream.shape[1] + 1)[:, None]

        def solution(ids: Tensor, table: Tensor, layers: int) -> Tensor:
            stream = table[ids]
            for _ in range(layers):
                stream = means(stream)
            return stream @ table.T

        def adds(ids: Tensor, table: Tensor, layers: int) -> Tensor:
            stream = table[ids]
            for _ in range(layers):
                stream = stream + means(stream)
            return stream @ table.T

        checks.config.replacing(lambda ids, table, layers: None)
        checks.config.replacing(adds)
        checks.config.replacing(lambda ids, table, layers: solution(ids, table, min(layers, 1)))
        checks.config.replacing(solution)
        nothing, added, once, right = capsys.readouterr().out.splitlines()
        assert nothing.startswith("not yet: for no blocks nothing comes back")
        assert added.startswith("not yet: for one block expected")
        assert once.startswith("not yet: for three blocks expected")
        assert right.startswith("correct: ")
