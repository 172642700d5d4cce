"""Pictures of what a model holds: what stands in them is what was given."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest
import torch

from mini_gpt.support.figures import maps


@pytest.fixture(autouse=True)
def kept_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is shown, so that a test can look at the figure."""
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


def test_every_head_has_its_own_panel() -> None:
    weights = torch.rand(2, 3, 4, 5)
    maps.attention_grid(weights, ["a", " b", "c", "\n", "e"])
    panels = plt.gcf().axes
    assert [axes.get_title() for axes in panels[:6]] == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]
    for axes, expected in zip(panels, weights.flatten(0, 1), strict=True):
        shown = torch.tensor(axes.images[0].get_array().data)
        torch.testing.assert_close(shown.float(), expected)
    assert [label.get_text() for label in panels[3].get_xticklabels()] == ["a", "␣b", "c", "⏎", "e"]


def test_a_table_shows_each_token_where_its_share_is() -> None:
    shares = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.3, 0.4]])
    tokens = [["a", " b"], ["c", "d"], ["e", "\n"]]
    maps.token_table(tokens, shares, rows=["1", "2", "end"], columns=["x", " y"])
    axes = plt.gcf().axes[0]
    placed = {text.get_text(): text.get_position() for text in axes.texts}
    expected = {"a": (0, 0), "␣b": (1, 0), "c": (0, 1), "d": (1, 1), "e": (0, 2), "⏎": (1, 2)}
    assert placed == expected
    torch.testing.assert_close(torch.tensor(axes.images[0].get_array().data), shares)


def test_bars_of_a_group_lie_beside_those_of_the_other() -> None:
    maps.paired_bars({"ours": {"a": 1.5, "b": -0.5}, "theirs": {"b": 2.0, "a": 0.25}}, "nats")
    axes = plt.gcf().axes[0]
    ours, theirs = ([bar.get_width() for bar in group] for group in axes.containers)
    assert (ours, theirs) == ([1.5, -0.5], [0.25, 2.0])
    assert axes.get_xlabel() == "nats"


def test_a_named_head_is_written_at_its_dot() -> None:
    maps.weight_against_effect([0.2, 0.9, 0.4], [0.1, 0.3, 0.7], {2: "4.1"})
    axes = plt.gcf().axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[0.2, 0.1], [0.9, 0.3], [0.4, 0.7]]
    assert [(note.get_text(), note.xy) for note in axes.texts] == [("4.1", (0.4, 0.7))]
