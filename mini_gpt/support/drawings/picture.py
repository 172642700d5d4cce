"""What drawings are made of: colors, boxes, and the finished picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

INK, MUTED = "#1a1a1a", "#5a5a5a"
# Pale grounds for boxes and the lines that go with them: Okabe and Ito's colors.
FILLS = {
    "plain": "#ffffff",
    "gray": "#e8e8e8",
    "blue": "#cfe4f2",
    "orange": "#fbe2b5",
    "green": "#c8eadc",
    "red": "#f7d4c1",
    "purple": "#f2dae7",
    "yellow": "#f9f4b8",
}
LINES = {
    "plain": INK,
    "gray": MUTED,
    "blue": "#005a91",
    "orange": "#8a5d00",
    "green": "#006b4e",
    "red": "#a84700",
    "purple": "#8f4570",
    "yellow": "#6b6500",
}

# Faces that have the letters of scripts which a reader's usual face may lack, by the
# first and the last code point of the script: on Linux, macOS and Windows.
_SCRIPTS = {
    (0x0900, 0x097F): "'Noto Sans Devanagari', 'Kohinoor Devanagari', 'Nirmala UI'",
    (0x0E00, 0x0E7F): "'Noto Sans Thai', Thonburi, 'Leelawadee UI'",
    (0x2E80, 0x9FFF): "'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei'",
}

Units = int | float  # lengths on the sheet
Point = tuple[Units, Units]


class Box(NamedTuple):
    """A rectangle on the sheet, with the places where arrows may end."""

    x: Units
    y: Units
    width: Units
    height: Units

    @property
    def center(self) -> Point:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def top(self) -> Point:
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        return self.x + self.width / 2, self.y + self.height

    @property
    def left(self) -> Point:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> Point:
        return self.x + self.width, self.y + self.height / 2


def text_width(text: str, size: Units, *, mono: bool = False) -> float:
    """About how wide a text stands, in units; wide letters such as 你 count double."""
    wide = sum(ord(letter) >= 0x2E80 for letter in text)
    return size * ((0.61 if mono else 0.56) * (len(text) - wide) + 1.05 * wide)


def typeface(text: str, *, mono: bool = False) -> str:
    """The faces for a text, the first choice first; some scripts have their own."""
    usual = "ui-monospace, monospace" if mono else "system-ui, sans-serif"
    named = [
        faces
        for (first, last), faces in _SCRIPTS.items()
        if any(first <= ord(letter) <= last for letter in text)
    ]
    return ", ".join([*named, usual])


@dataclass(frozen=True)
class Picture:
    """A finished drawing; a notebook shows it, and `str` gives its SVG."""

    svg: str
    alt: str

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Drawing: {self.alt}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, str]:
        # In the page the SVG stands inline, so that its text can be searched and its
        # colors follow the mode; what shows images only takes the second.
        inline = f'<div class="drawing">{self.svg}</div>'
        return {
            "text/html": inline,
            "image/svg+xml": self.svg,
            "text/plain": repr(self),
        }


def visible(text: str) -> str:
    """A text whose white space can be seen."""
    return text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
