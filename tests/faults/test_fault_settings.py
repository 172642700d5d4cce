"""Settings: from files, as NumPy's numbers, as fractions; what is written can be read back."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_gpt.commands.train_options import default_train
from mini_gpt.config import GPTConfig
from mini_gpt.model import GPT
from mini_gpt.sampling import SampleConfig
from mini_gpt.support.settings_file import override_settings, read_settings, to_toml
from mini_gpt.support.validation import whole_number
from mini_gpt.trainer import TrainConfig


@dataclass(frozen=True)
class Part:
    rate: float = 0.5
    rounds: int | None = 3


@dataclass(frozen=True)
class Whole:
    name: str = "a"
    where: Path = Path("here")
    kind: Literal["x", "y"] = "x"
    loud: bool = False
    limit: float | None = None
    part: Part = field(default_factory=Part)


@pytest.fixture(autouse=True)
def as_users_run_it() -> Iterator[None]:
    """Without the tests' own checks of annotations, which would refuse first."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", ".1e-2", "1e-03", "0.001", "10e-4"])
def test_yaml_took_a_rate_for_a_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"part:\n  rate: {text}\n", encoding="utf-8")
    found = override_settings(Whole(), read_settings(path), str(path))
    assert found.part.rate == pytest.approx(1e-3)


def test_yaml_still_knows_what_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('name: "1e-3"\nwhere: e5\nlimit: .inf\nloud: true\n', encoding="utf-8")
    assert read_settings(path) == {"name": "1e-3", "where": "e5", "limit": math.inf, "loud": True}
    path.write_text("limit: -2e+10\nname: 1e\nwhere: 1e5x\n", encoding="utf-8")
    assert read_settings(path) == {"limit": -2e10, "name": "1e", "where": "1e5x"}


@given(
    content=st.fixed_dictionaries(
        {
            "name": st.text(st.characters(exclude_categories=["Cs"])),
            "loud": st.booleans(),
            "limit": st.floats(allow_nan=False),
            "where": st.text("abc/ '\"\\é\x7f", min_size=1).map(Path),
            "part": st.fixed_dictionaries({"rate": st.floats(), "rounds": st.integers(-9, 2**60)}),
        }
    )
)
@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_we_write_we_can_read_back(content: dict[str, Any], tmp_path: Path) -> None:
    """Infinity was written in JSON's word, which TOML does not know; a run could not go on."""
    path = tmp_path / "settings.toml"
    path.write_bytes(to_toml(content).encode())
    expected = Whole(**{**content, "part": Part(**content["part"])})
    assert repr(override_settings(Whole(), read_settings(path), "it")) == repr(expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"part": 3}, "part in mine cannot be 3; it must be a part with names and values"),
        ({"part": None}, "part in mine cannot be None"),
        ({"name": ["a"]}, r"name in mine cannot be \['a'\]; it must be a text"),
        ({"limit": "x" * 1000}, r"limit in mine cannot be 'x{79}\.\.\.; it must be a number"),
        ({"kind": {}}, "kind in mine cannot be {}; it must be 'x' or 'y'"),
        ({"kind": [1]}, r"kind in mine cannot be \[1\]"),
        ({"part": {"rate": {}}}, "rate in mine, part part cannot be {}; it must be a number"),
        ({1: 2}, "mine has no setting '1'"),
    ],
)
def test_a_wrong_kind_is_called_by_its_field(content: dict[Any, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        override_settings(Whole(), content, "mine")


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
DEEP = sys.getrecursionlimit() * 4


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "name: a\nname: b\n", "line 2 has the name 'name' again"),
        ("a.yaml", "part:\n  rate: 1\n  rate: 2\n", "line 3 has the name 'rate' again"),
        ("a.yaml", "1: 2\n", "line 1 has the name 1, which is no text"),
        ("a.yaml", "null: 2\n", "the name None, which is no text"),
        ("a.yaml", "yes: 2\n", "the name True, which is no text"),
        ("a.yaml", "? [a, b]\n: 1\n", "which is no text"),
        ("a.yaml", "? {a: b}\n: 1\n", "which is no text"),
        ("a.yaml", BOMB, "line 2 has an alias"),
        ("a.yaml", "a: &a [*a]\n", "line 1 has an alias"),
        ("a.yaml", "a: !!python/object/apply:os.system [x]\n", "is not YAML"),
        ("a.yaml", "a: 2001-99-99\n", "is not YAML"),
        ("a.yaml", "[" * DEEP, "nested too deeply|is not YAML"),
        ("a.yaml", "a: " + "{b: " * DEEP, "nested too deeply|is not YAML"),
        ("a.toml", "a = 1\na = 2\n", "is not TOML"),
        ("a.toml", "a = " + "[" * DEEP, "nested too deeply|is not TOML"),
        ("a.toml", "a = 1979-99-99\n", "is not TOML"),
    ],
)
def test_files_that_mean_two_things_or_too_much(
    name: str, text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words) as fault:
        read_settings(path)
    assert name in str(fault.value)


def test_the_command_without_any_option_was_refused() -> None:
    """`mini-gpt train` alone, which is how everybody begins."""
    assert default_train([]).resume is None
    assert default_train(["--config"]).config is None  # its value is missed later, by name


def test_numpy_numbers_were_refused_as_sizes_and_rates() -> None:
    shape = {"vocab_size": 11, "context_length": 5, "layers": 2, "heads": 2, "width": 8}
    numpy = {name: np.int64(size) for name, size in shape.items()}
    config = GPTConfig(**numpy, dropout=np.float32(0.25))  # type: ignore[arg-type]
    assert config == GPTConfig(**shape, dropout=0.25)
    assert {type(value) for value in asdict(config).values()} <= {int, float, str, bool, type(None)}
    GPT(config)(torch.zeros(1, 5, dtype=torch.long))
    training = TrainConfig(steps=np.uint8(7), learning_rate=np.float64(1e-3), seed=np.int32(3))  # type: ignore[arg-type]
    assert training == TrainConfig(steps=7, learning_rate=1e-3, seed=3)
    assert type(training.learning_rate) is float
    assert SampleConfig(np.int16(3), top_p=np.float16(0.5)) == SampleConfig(3, top_p=0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="layers"):
        GPTConfig(layers=np.float64(2.0))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="layers"):
        GPTConfig(layers=np.bool_(True))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="width"):
        GPTConfig(width=np.array([8]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (TrainConfig, {"steps": 30.5}),
        (TrainConfig, {"steps": 30.0}),
        (TrainConfig, {"steps": math.inf}),
        (TrainConfig, {"seed": 1.9}),
        (TrainConfig, {"batch_size": True}),
        (TrainConfig, {"eval_every": "10"}),
        (SampleConfig, {"max_new_tokens": 2.5}),
        (SampleConfig, {"seed": 0.5}),
        (SampleConfig, {"top_k": 3.0}),
    ],
)
def test_a_fraction_as_a_count_failed_after_all_steps(make: Any, fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(TypeError, match=f"{name} .* must be a whole number"):
        make(**fields)


def test_counts_that_are_arguments() -> None:
    assert whole_number("keep", np.int64(2), at_least=1) == 2
    for wrong in (2.0, True, "2", None, math.inf):
        with pytest.raises(TypeError, match=r"keep .* must be a whole number"):
            whole_number("keep", wrong, at_least=1)
    with pytest.raises(ValueError, match="keep 0 must be at least 1"):
        whole_number("keep", 0, at_least=1)
