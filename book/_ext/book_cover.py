"""The cover's figure: the model that the book builds, each part linked to its chapters.

It is drawn here, as SVG inside the page, so that it takes the colors of the light or dark theme,
stays sharp at every size, and can be read aloud and followed by keyboard. In a page: the directive
`{book-cover}`, without content.

Numbers, titles and addresses come from `_toc.yml` and the notebooks. Only where a chapter's disc
stands is said here, in DISCS; a chapter that is not named there is in the page's table alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from math import exp
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from book_languages import speaker

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from chapters import chapters

WIDTH, TOP, HEIGHT = 460, -70, 668  # from TOP to HEIGHT
LEFT, RIGHT = 80, 360  # the boxes of the model
MIDDLE = (LEFT + RIGHT) / 2
STREAM = 112  # the residual stream runs up here
INNER_LEFT, INNER_RIGHT = 150, 344  # the boxes beside it, in a block
TEXT = "To be"  # five positions
READ, WRITTEN = 30, 416  # the two loops beside the model: training, writing

# What is done with the finished model, in the row above it.
USES = {
    "evaluation": "measure",
    "inspection": "look inside",
    "finetuning": "teach",
    "reinforcement": "reward",
    "speedrun": "race",
    "popular_account": "check",
}

# Where each chapter's disc stands, by the chapter's stem.
DISCS = {
    "characters": (128, 646),
    "bpe": (158, 646),
    "tokenizer": (188, 646),
    "data": (READ, 560),
    "loss": (READ, 312),
    "config": (66, 574),
    "embedding": (LEFT, 520),
    "position": (RIGHT, 520),
    "attention": (INNER_RIGHT, 322),
    "multi_head": (INNER_RIGHT, 446),
    "decoder": (RIGHT, 196),
    "model": (66, 100),
    "diagnostics": (66, 340),
    "gpt2": (374, 100),
    "optimizer": (READ, 228),
    "trainer": (READ, 84),
    "run": (74, 54),
    "sampling": (WRITTEN, 260),
    "generation": (WRITTEN, 340),
    "speculative": (WRITTEN, 560),
    **{stem: (65 + 66 * place, -44) for place, stem in enumerate(USES)},
}

DESCRIPTION = (
    "From bottom to top: text is cut into tokens. Each token becomes a vector, and its position "
    "adds another. The sum passes through L decoder blocks. Each block adds to it, first, the "
    "result of causal attention, in which a position sees itself and the past only, and then the "
    "result of a feed-forward network. The output head gives a probability to every possible next "
    "token. On the right, one token is sampled and appended to the text, and the loop begins "
    "again. On the left, training compares the probabilities with what really came next in the "
    "data. Above, the finished model is measured, looked into, taught, rewarded, made in less "
    "time, and used to check what is said of such models."
)


# The drawing's words, which another language may say otherwise.
LABELS = (
    "append it, and go on",
    "sample a token",
    "what really came next",
    "compare",
    "improve, and go on",
    "the whole GPT",
    "GPT-2’s weights",
    "text, cut into tokens",
    "embedding",
    "position",
    "decoder block, L times",
    "feed-forward",
    "causal",
    "attention",
    "several heads",
    "norm, output head",
    "a probability for every next token",
    "The model that this book builds, part by part",
    DESCRIPTION,
)


def element(name: str, kind: str, content: str = "", **attributes: float | str) -> str:
    """An SVG element of the class `kind`."""
    written = "".join(
        f' {key.replace("_", "-")}="{value if isinstance(value, str) else round(value, 1)}"'
        for key, value in attributes.items()
    )
    return f'<{name} class="{kind}"{written}>{content}</{name}>'


def words(x: float, y: float, line: str, kind: str = "label", anchor: str = "middle") -> str:
    """A line of text."""
    return element("text", kind, escape(line), x=x, y=y, text_anchor=anchor)


def upward(x: float, y: float, line: str) -> str:
    """A line of text that reads from bottom to top, centered on (x, y)."""
    place = f"translate({x} {y}) rotate(-90)"
    return element("text", "note", escape(line), transform=place, text_anchor="middle")


def box(x: float, y: float, width: float, height: float, kind: str = "part") -> str:
    """A rectangle with soft corners."""
    return element("rect", kind, x=x, y=y, width=width, height=height, rx=6)


def flow(steps: str) -> str:
    """A line along SVG path steps, with an arrowhead at its end."""
    return element("path", "flow", d=steps, marker_end="url(#cover-arrow)")


def plus(x: float, y: float) -> str:
    """The sign for adding to the residual stream."""
    cross = element("path", "flow", d=f"M{x - 5} {y}h10M{x} {y - 5}v10")
    return element("circle", "plus", cx=x, cy=y, r=9) + cross


class Link(NamedTuple):
    """Where a chapter is found, and what a screen reader says of it."""

    number: int
    title: str
    address: str


def chapter(stem: str, links: Mapping[str, Link], *drawn: str) -> str:
    """What belongs to a chapter, as one link, with the chapter's number in its disc."""
    (x, y), link = DISCS[stem], links[stem]
    disc = element("circle", "disc", cx=x, cy=y, r=13) + words(x, y + 5, str(link.number), "number")
    label = escape(f"Chapter {link.number}: {link.title}")
    href = escape(link.address)
    return element("a", "chapter", "".join(drawn) + disc, href=href, aria_label=label)


def causal_triangle(x: float, y: float, size: float) -> str:
    """Which position (row) sees which (column): computed as the model computes it."""
    positions = range(len(TEXT))
    return "".join(
        element(
            "rect",
            "seen" if key <= query else "unseen",
            x=x + key * size,
            y=y + query * size,
            width=size - 2,
            height=size - 2,
        )
        for query in positions
        for key in positions
    )


def probabilities(x: float, y: float, width: float, height: float) -> str:
    """Bars that stand on (x, y): the softmax of some scores, the largest as high as `height`."""
    exponentials = [exp(score) for score in (0.2, 1.1, 0.4, 2.6, 0.7, 1.9, 0.1, 1.3, 0.9, 0.3)]
    step = width / len(exponentials)
    bars = [height * value / max(exponentials) for value in exponentials]
    return "".join(
        element("rect", "seen", x=x + place * step, y=y - bar, width=step - 5, height=bar)
        for place, bar in enumerate(bars)
    )


def cover(links: Mapping[str, Link]) -> str:
    """The figure as SVG.

    Args:
        links: for the stem of each chapter, where it leads.
    """
    inner, inner_middle = INNER_RIGHT - INNER_LEFT, (INNER_LEFT + INNER_RIGHT) / 2
    tokens = "".join(
        box(MIDDLE - 98 + 40 * position, 596, 36, 30, "token")
        + words(MIDDLE - 80 + 40 * position, 616, "␣" if letter == " " else letter, "code")
        for position, letter in enumerate(TEXT)
    )
    heads = "".join(box(INNER_LEFT + 5 * n, 322 - 5 * n, inner - 5 * n, 128) for n in (2, 1))
    attention = (
        box(INNER_LEFT, 322, inner, 128)
        + words(INNER_LEFT + 10, 380, "causal", anchor="start")
        + words(INNER_LEFT + 10, 400, "attention", anchor="start")
        + causal_triangle(INNER_RIGHT - 104, 342, 18)
    )
    parts = [
        # the two loops beside the model
        flow(f"M{MIDDLE + 104} 54H{WRITTEN}V611H{MIDDLE + 104}"),
        upward(438, 450, "append it, and go on"),
        upward(438, 180, "sample a token"),
        flow(f"M{MIDDLE - 104} 611H{READ}V54H{MIDDLE - 104}"),
        upward(14, 430, "what really came next"),
        upward(14, 270, "compare"),
        upward(14, 156, "improve, and go on"),
        # the model as a whole, then its parts from the bottom up
        box(66, 100, 308, 474, "frame whole"),
        chapter("config", links),
        chapter("diagnostics", links),
        chapter("model", links, words(86, 124, "the whole GPT", "note", "start")),
        chapter("gpt2", links, words(354, 124, "GPT-2’s weights", "note", "end")),
        tokens,
        chapter("characters", links),
        chapter("bpe", links),
        chapter("tokenizer", links, words(210, 650, "text, cut into tokens", "note", "start")),
        flow("M138 594V566"),
        flow("M292 594V566"),
        chapter("embedding", links, box(LEFT, 522, 122, 40), words(LEFT + 61, 547, "embedding")),
        chapter(
            "position", links, box(RIGHT - 122, 522, 122, 40), words(RIGHT - 61, 547, "position")
        ),
        flow(f"M292 522V504H{STREAM + 13}"),
        chapter(
            "decoder",
            links,
            box(LEFT, 196, RIGHT - LEFT, 288, "frame"),
            words(INNER_LEFT, 220, "decoder block, L times", "label", "start"),
            box(INNER_LEFT, 236, inner, 46),
            words(inner_middle, 264, "feed-forward"),
        ),
        flow(f"M{STREAM} 522V176"),
        flow(f"M{STREAM} 468H{inner_middle}V454"),
        flow(f"M{STREAM} 298H{inner_middle}V286"),
        heads,
        chapter("attention", links, attention),
        chapter("multi_head", links, words(INNER_LEFT + 10, 444, "several heads", "note", "start")),
        flow(f"M{INNER_LEFT} 386H{STREAM + 13}"),
        flow(f"M{INNER_LEFT} 259H{STREAM + 13}"),
        plus(STREAM, 504),
        plus(STREAM, 386),
        plus(STREAM, 259),
        box(LEFT, 136, RIGHT - LEFT, 36),
        words(MIDDLE, 159, "norm, output head"),
        # what comes out
        flow(f"M{MIDDLE} 136V92"),
        probabilities(MIDDLE - 98, 66, 200, 52),
        element("path", "flow", d=f"M{MIDDLE - 100} 66H{MIDDLE + 100}"),
        words(MIDDLE, 84, "a probability for every next token", "note"),
        box(18, TOP + 4, WIDTH - 36, 60, "frame"),
        *(
            chapter(stem, links, words(DISCS[stem][0], -16, use, "note"))
            for stem, use in USES.items()
        ),
        # the discs on the loops
        *(chapter(stem, links) for stem in ("data", "loss", "optimizer", "trainer", "run")),
        *(chapter(stem, links) for stem in ("sampling", "generation", "speculative")),
    ]
    head = element("path", "head", d="M0 0L8 4L0 8z")
    return (
        f'<svg class="book-cover" viewBox="0 {TOP} {WIDTH} {HEIGHT - TOP}" role="group" '
        'aria-labelledby="cover-title" aria-describedby="cover-description">'
        '<title id="cover-title">The model that this book builds, part by part</title>'
        f'<desc id="cover-description">{escape(DESCRIPTION)}</desc>'
        '<defs><marker id="cover-arrow" viewBox="0 0 8 8" refX="7" refY="4" '
        f'markerWidth="7" markerHeight="7" orient="auto-start-reverse">{head}</marker></defs>'
        f"{''.join(parts)}</svg>"
    )


class CoverNode(nodes.General, nodes.Element):
    """Stands for the figure until the addresses of the chapters are known."""


class CoverDirective(SphinxDirective):
    """`{book-cover}`: the figure at this place."""

    def run(self) -> list[nodes.Node]:
        return [CoverNode(docname=self.env.docname)]


def visit_cover(translator: HTML5Translator, node: CoverNode) -> None:
    """Write the figure into the page. A disc of a chapter that is not in the book is an error."""
    builder, here = translator.builder, node["docname"]
    links = {
        one.stem: Link(one.number, one.title(), builder.get_relative_uri(here, one.page))
        for one in chapters(Path(builder.srcdir))
    }
    if missing := [stem for stem in DISCS if stem not in links]:
        raise ValueError(
            f"the cover has discs for {', '.join(missing)}, not in the book; see _toc.yml and DISCS"
        )
    drawn, say = cover(links), speaker(builder.config)
    for label in LABELS:
        drawn = drawn.replace(f">{escape(label)}<", f">{escape(say(label))}<")
    translator.body.append(f'<figure class="book-cover">{drawn}</figure>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(CoverNode, html=(visit_cover, None))
    app.add_directive("book-cover", CoverDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
