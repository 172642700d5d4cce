"""What a reader's first model does, on the cover: `{first-run}`, without content.

What the model wrote before its first step stands beside what it writes after the last, with the
curve of its loss between them: all from `_static/first_run.json`, which `tools/first_run.py` wrote.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book_languages import speaker

WIDTH, HEIGHT = 420, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 12, 26
LINES, COLUMNS = 9, 38  # of a sample, at most


def sample(title: str, run: dict[str, Any], name: str) -> str:
    """A card with the first lines of a text."""
    shown = "".join(one if one.isprintable() or one == "\n" else "·" for one in run[name])
    lines: list[str] = []
    for line in (run["prompt"] + shown).split("\n"):
        lines += textwrap.wrap(line, COLUMNS) or [""]
    text = escape("\n".join(lines[:LINES]))
    return f'<div class="sample"><p>{escape(title)}</p><pre tabindex="0">{text}</pre></div>'


def note(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Small words in the drawing."""
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="note" {where}>{escape(words)}</text>'


def curve(losses: list[dict[str, float]], say: Callable[[str], str] = str) -> str:
    """The validation loss against the steps, as SVG."""
    steps = [entry["step"] for entry in losses]
    values = [entry["validation_loss"] for entry in losses]
    low, high = 1.0, max(3.0, max(values))

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / steps[-1]
        return x, TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, steps, values))
    drawn = []
    for value in (1, 2, 3):
        height = place(0, value)[1]
        drawn.append(note(LEFT - 8, height + 4, str(value), "end"))
        span = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"'
        drawn.append(f'<line class="grid" {span}/>')
    x, y = place(steps[-1], values[-1])
    drawn += [
        f'<polyline class="loss" points="{line}"/>',
        f'<circle class="end" cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        note(x, y + 20, say("{loss:.2f} nats a character").format(loss=values[-1]), "end"),
        note(LEFT, HEIGHT - 6, "0"),
        note(WIDTH - RIGHT, HEIGHT - 6, say("{steps:,} steps").format(steps=steps[-1]), "end"),
    ]
    first, last = (f"{values[i]:.2f} after {steps[i]:,} steps" for i in (0, -1))
    described = f'role="img" aria-label="Validation loss: {first}, {last}"'
    body = "".join(drawn)
    return f'<svg class="first-run" viewBox="0 0 {WIDTH} {HEIGHT}" {described}>{body}</svg>'


def figure(run: dict[str, Any], say: Callable[[str], str] = str) -> str:
    """The whole figure as HTML.

    Args:
        say: gives our words in the language of the book.
    """
    prompt = f"<em>{escape(run['prompt'].strip())}</em>"
    said = say(
        "The model of <code>{command}</code>, {parameters:,} parameters, trained on a processor "
        "without a graphics card. Below: its loss on plays that it has not read. Both texts go on "
        "from {prompt} with the same random numbers."
    ).format(command=escape(run["command"]), parameters=run["parameters"], prompt=prompt)
    cards = sample(say("Before the first step"), run, "before")
    cards += sample(say("After the last"), run, "after")
    return (
        f'<figure class="first-run"><figcaption>{said}</figcaption>'
        f'<div class="samples">{cards}</div>{curve(run["losses"], say)}</figure>'
    )


class FirstRun(SphinxDirective):
    """`{first-run}`: the figure at this place."""

    def run(self) -> list[nodes.Node]:
        stored = Path(self.env.srcdir, "book", "_static", "first_run.json")
        self.env.note_dependency(str(stored))
        run = json.loads(stored.read_text(encoding="utf-8"))
        return [nodes.raw("", figure(run, speaker(self.config)), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("first-run", FirstRun)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
