"""Drawings: they measure themselves, say what they show, and refuse what a phone cannot show."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from types import ModuleType
from xml.etree import ElementTree

import chapters as toc
import pytest

from mini_gpt.support import drawings
from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.machine import PARTS, machine_map
from mini_gpt.support.drawings.picture import FILLS, LINES, Picture, text_width

SVG = "{http://www.w3.org/2000/svg}"
ALT = "two boxes and an arrow between"


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


class TestDrawing:
    def test_the_sheet_holds_all_that_was_drawn(self) -> None:
        sheet = Drawing(ALT)
        first = sheet.box(-30, 5, 60, 24, "ids")
        second = sheet.box(90, 70, 70, 40, "vectors\nof 6")
        sheet.arrow([first.bottom, (0, 90), second.left], "looked up")
        sheet.curve(second.top, (200, 0), first.right)
        sheet.brace((90, 115), (160, 115), "width")
        sheet.bars(0, 250, [0.5, 0.25], ["a", "b"])
        root = ElementTree.fromstring(sheet.finish().svg)
        left, top, width, height = numbers(root.attrib["viewBox"])
        for shape in root.iter():
            points = numbers(shape.attrib.get("points", ""))
            xs, ys = points[::2], points[1::2]
            if shape.tag in (f"{SVG}rect", f"{SVG}text"):
                xs, ys = [float(shape.attrib["x"])], [float(shape.attrib["y"])]
                xs.append(xs[0] + float(shape.attrib.get("width", 0)))
                ys.append(ys[0] + float(shape.attrib.get("height", 0)))
            assert all(left - 0.6 <= x <= left + width + 0.6 for x in xs), shape.attrib
            assert all(top - 0.6 <= y <= top + height + 0.6 for y in ys), shape.attrib

    def test_boxes_tell_where_arrows_may_end(self) -> None:
        box = Drawing(ALT).box(10, 20, 30, 40)
        assert box.center == (25, 40)
        assert (box.top, box.bottom) == ((25, 20), (25, 60))
        assert (box.left, box.right) == ((10, 40), (40, 40))

    def test_an_arrows_head_ends_at_its_last_point(self) -> None:
        sheet = Drawing(ALT)
        sheet.arrow([(0, 0), (50, 0)])
        head = ElementTree.fromstring(sheet.finish().svg).find(f"{SVG}polygon")
        assert head is not None
        assert numbers(head.attrib["points"])[:2] == [50, 0]

    def test_bars_are_as_long_as_their_values(self) -> None:
        boxes = Drawing(ALT).bars(0, 100, [0.2, 0.8, 0.0], height=50)
        assert [box.height for box in boxes] == [12.5, 50, 0]
        assert all(box.y + box.height == 100 for box in boxes)

    def test_texts_are_escaped(self) -> None:
        sheet = Drawing('what <|endoftext|> & "quotes" look like')
        sheet.text((0, 0), "<|endoftext|> & 你")
        root = ElementTree.fromstring(sheet.finish().svg)
        assert root.attrib["aria-label"] == 'what <|endoftext|> & "quotes" look like'
        assert root.findtext(f"{SVG}text") == "<|endoftext|> & 你"

    def test_what_a_phone_cannot_show_is_refused(self) -> None:
        with pytest.raises(ValueError, match="describe the drawing in a sentence"):
            Drawing("a box")
        sheet = Drawing(ALT)
        with pytest.raises(ValueError, match="does not fit a box 20 units wide"):
            sheet.box(0, 0, 20, 30, "normalization")
        with pytest.raises(ValueError, match="does not fit a box 20 units high"):
            sheet.box(0, 0, 90, 20, "two\nlines")
        with pytest.raises(ValueError, match="cannot be read on a phone"):
            sheet.text((0, 0), "small", size=9)
        with pytest.raises(ValueError, match="nothing was drawn"):
            sheet.finish()
        sheet.line([(0, 0), (900, 0)])
        with pytest.raises(ValueError, match="920 units wide cannot be read on a phone"):
            sheet.finish()
        with pytest.raises(ValueError, match="ends where its last stretch begins"):
            sheet.arrow([(1, 1), (1, 1)])
        with pytest.raises(ValueError, match="no negative values"):
            sheet.bars(0, 0, [-1.0])

    def test_a_notebook_gets_it_inline_as_an_image_and_as_text(self) -> None:
        sheet = Drawing(ALT)
        sheet.box(0, 0, 30, 20, "a")
        picture = sheet.finish()
        bundle = picture._repr_mimebundle_()
        assert list(bundle) == ["text/html", "image/svg+xml", "text/plain"]
        assert bundle["text/html"] == f'<div class="drawing">{picture}</div>'
        assert bundle["text/plain"] == f"Drawing: {ALT}"

    def test_wide_letters_are_measured_wider(self) -> None:
        assert text_width("你好", 10) > 1.5 * text_width("no", 10)

    def test_names_faces_for_scripts_that_the_usual_ones_may_lack(self) -> None:
        sheet = Drawing("the word for cat in three scripts")
        for row, word in enumerate(("cat", "बिल्ली", "แมว", "猫")):
            sheet.text((50, 20 * row), word)
        usual, hindi, thai, chinese = re.findall('font-family="([^"]*)"', str(sheet.finish()))
        assert usual == "system-ui, sans-serif"
        assert hindi.startswith("'Noto Sans Devanagari', ")
        assert thai.startswith("'Noto Sans Thai', ")
        assert chinese.startswith("'Noto Sans CJK SC', ")
        assert all(faces.endswith(usual) for faces in (hindi, thai, chinese))

    def test_words_can_be_read_on_every_ground(self) -> None:
        """WCAG's contrast of at least 4.5 between ink and grounds, and lines and the paper."""

        def luminance(color: str) -> float:
            parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
            linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        for ground in FILLS.values():
            assert (luminance(ground) + 0.05) / (luminance(LINES["plain"]) + 0.05) >= 4.5
        for color in LINES.values():
            assert 1.05 / (luminance(color) + 0.05) >= 4.5, color


class TestMachineMap:
    @pytest.mark.parametrize("stem", [chapter.stem for chapter in toc.chapters()])
    def test_every_chapter_lights_its_part_of_one_drawing(self, stem: str) -> None:
        def words(picture: Picture) -> list[str]:
            return [
                text.text or "" for text in ElementTree.fromstring(picture.svg).iter(f"{SVG}text")
            ]

        picture = machine_map(stem)
        assert words(picture) == words(machine_map("characters"))
        root = ElementTree.fromstring(picture.svg)
        lit = [s for s in root.iter() if "orange" in s.attrib.get("class", "")]
        assert lit
        assert "what is lit: " in picture.alt

    def test_a_chapter_without_a_part_is_named(self) -> None:
        with pytest.raises(ValueError, match="no part of the map is lit for 'cooking'"):
            machine_map("cooking")
        assert set(PARTS) >= {chapter.stem for chapter in toc.chapters()}


@pytest.mark.slow
def test_every_module_of_drawings_belongs_to_a_chapter() -> None:
    stems = {chapter.stem for chapter in toc.chapters()}
    found = {module.name for module in pkgutil.iter_modules(drawings.__path__)}
    assert found - {"canvas", "machine", "picture", "sheet"} <= stems
    for name in found & stems:
        module = importlib.import_module(f"mini_gpt.support.drawings.{name}")
        for thing in offered(module):
            assert inspect.signature(thing).return_annotation == "Picture", thing.__name__


def offered(module: ModuleType) -> list[Callable[..., object]]:
    """The functions that chapters draw with: of a module its own, of a package what it lists."""
    if hasattr(module, "__path__"):
        return [getattr(module, name) for name in module.__all__]
    things = [thing for thing in vars(module).values() if inspect.isfunction(thing)]
    own = [thing for thing in things if thing.__module__ == module.__name__]
    return [thing for thing in own if not thing.__name__.startswith("_")]


def test_a_package_offers_every_drawing_that_its_modules_have() -> None:
    """Else a chapter would have to know in which of them it stands."""
    packages = [m.name for m in pkgutil.iter_modules(drawings.__path__) if m.ispkg]
    assert "attention" in packages
    for name in packages:
        package = importlib.import_module(f"mini_gpt.support.drawings.{name}")
        rooms = [m.name for m in pkgutil.iter_modules(package.__path__)]
        functions = [
            thing
            for room in rooms
            for thing in offered(importlib.import_module(f"{package.__name__}.{room}"))
            if inspect.signature(thing).return_annotation == "Picture"
        ]
        assert sorted(function.__name__ for function in functions) == sorted(package.__all__)
