"""Drawings of the chapter on runs that stop and go on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units


def through_a_crash() -> Picture:
    """A run's checkpoints along time, through a crash and after it."""
    sheet = Drawing(
        "A time line of steps 0 to 160 with checkpoints after steps 40, 80 and 120. At "
        "step 130 the run is killed. A second time line below begins at the checkpoint "
        "of step 120 and goes on to the end; the ten steps between are taken again."
    )
    scale: Units = 2.5
    for row, (first, last) in enumerate(((0, 130), (120, 160))):
        y = 92 * row
        sheet.line([(first * scale, y), (last * scale, y)], color="blue")
        for step in range(first, last + 1, 40):
            if step and (row == 0 or step > first):
                x = step * scale
                sheet.box(x - 22, y + 10, 44, 22, f"{step}", color="green", size=13)
                sheet.line([(x, y - 5), (x, y + 10)], color="green")
    sheet.text((0, -20), "first start", size=13, anchor="start")
    sheet.text((130 * scale + 8, 0), "✗ killed", size=14, anchor="start", color="red")
    sheet.arrow([(120 * scale, 34), (120 * scale, 88)], color="green")
    sheet.text((120 * scale + 8, 62), "goes on from 120", size=12, anchor="start")
    sheet.text((120 * scale - 10, 92), "resumed", size=13, anchor="end")
    sheet.text(
        (0, 48), "checkpoints, after steps", size=12, anchor="start", color="green"
    )
    return sheet.finish()


def parts_of_a_state() -> Picture:
    """What the next step depends on, and what each part decides."""
    parts = (
        ("model", "where the weights are", "blue"),
        ("optimizers", "how far and whereto they move", "orange"),
        ("steps_done", "the learning rate of this step", "green"),
        ("batches", "which text comes next", "purple"),
        ("random", "what dropout leaves out", "yellow"),
    )
    sheet = Drawing(
        "Five parts of a state, each with an arrow to the next step: "
        + "; ".join(f"{name} decides {what}" for name, what, _ in parts)
        + "."
    )
    step = sheet.box(390, 60, 70, 60, "step\n21", color="gray")
    for row, (name, what, color) in enumerate(parts):
        y = 36 * row
        sheet.box(0, y, 110, 28, name, color=color, size=13, mono=True)
        sheet.text((120, y + 14), what, size=13, anchor="start")
        end = step.x, step.y + 10 + 10 * row
        sheet.arrow([(338, y + 14), end], color=color)
    return sheet.finish()


def folder(names: Sequence[tuple[str, str]]) -> Picture:
    """A run's folder as a tree.

    Args:
        names: Files and folders with what they hold; a name that begins with a space
            lies in the folder above it.
    """
    told = "; ".join(f"{name.strip()}: {what}" for name, what in names)
    sheet = Drawing(f"The folder of a run as a tree. {told}.")
    for row, (name, what) in enumerate(names):
        y = 30 * row
        inside = 24 if name.startswith(" ") else 0
        color = "yellow" if name.endswith("/") else "plain"
        sheet.box(inside, y, 136, 24, name.strip(), color=color, size=12, mono=True)
        sheet.text((inside + 146, y + 12), what, size=12, anchor="start")
        if inside:
            sheet.line([(10, y - 6), (10, y + 12), (24, y + 12)])
    return sheet.finish()


def written_aside() -> Picture:
    """Three moments of saving: before, while writing, and after the renaming."""
    sheet = Drawing(
        "Three moments. Before: step-80 is there. While step-120 is written it has "
        "another name that nobody reads, and step-80 is still there. After one "
        "renaming, step-120 is there and whole. A kill at any moment leaves a whole "
        "checkpoint."
    )
    columns = (
        ("before", (("step-80", "green", False),)),
        ("writing", (("step-80", "green", False), ("partial", "red", True))),
        ("renamed", (("step-80", "green", False), ("step-120", "green", False))),
    )
    for place, (title, boxes) in enumerate(columns):
        x = 158 * place
        sheet.text((x + 56, -14), title, size=13, bold=True)
        for row, (name, color, dashed) in enumerate(boxes):
            sheet.box(
                x,
                34 * row,
                112,
                28,
                name,
                color=color,
                dashed=dashed,
                size=13,
                mono=True,
            )
        if place:
            sheet.arrow([(x - 40, 14), (x - 6, 14)])
    sheet.text((56, 84), "resume: 80", size=12, color="gray")
    sheet.text((214, 84), "resume: 80", size=12, color="gray")
    sheet.text((372, 84), "resume: 120", size=12, color="gray")
    return sheet.finish()


def two_ranks(rows: int) -> Picture:
    """A batch shared by two processes, and the one gradient that both use.

    Args:
        rows: Rows of the whole batch.
    """
    half = rows // 2
    sheet = Drawing(
        f"A batch of {rows} rows; {half} go to process 0 and {rows - half} to process "
        "1. Each has the same weights and computes its own gradient. The gradients are "
        "averaged, both take the same step, and the weights stay equal."
    )
    for row in range(rows):
        color = "blue" if row < half else "orange"
        sheet.box(0, 22 * row + 16, 74, 18, color=color, round=2)
    sheet.text((37, 0), "batch", size=13)
    for rank, color in ((0, "blue"), (1, "orange")):
        y = 16 + 66 * rank
        process = sheet.box(
            112, y, 104, 62, f"process {rank}\nsame weights\nown gradient", size=12
        )
        sheet.arrow([(76, y + 31), process.left], color=color)
        sheet.arrow([process.right, (244, 80 + (20 * rank - 10))], color=color)
        sheet.box(370, y, 84, 62, "same step,\nsame\nweights", color=color, size=12)
        sheet.arrow([(332, 80 + (20 * rank - 10)), (368, y + 31)], color=color)
    sheet.box(246, 50, 86, 62, "averaged\ngradient", color="green", size=13)
    return sheet.finish()


def what_train_does() -> Picture:
    """The loop of `train`, with the questions between two steps."""
    sheet = Drawing(
        "The loop of train: take a step; is it time to measure, then measure and keep "
        "the weights if they are the best so far; is it time to save or was a signal "
        "seen, then save; after a signal stop, else take the next step."
    )
    sheet.box(0, 40, 84, 44, "a step", color="blue")
    measure = sheet.box(
        128, 0, 150, 44, "time to measure?\nkeep if best", color="orange", size=12
    )
    save = sheet.box(
        128, 80, 150, 44, "time to save?\na signal came?", color="green", size=12
    )
    stop = sheet.box(330, 40, 110, 44, "a signal:\nsave and stop", color="red", size=12)
    sheet.arrow([(84, 52), measure.left])
    sheet.arrow([measure.bottom, save.top])
    sheet.arrow([save.left, (84, 72)])
    sheet.arrow([save.right, (385, 102), stop.bottom])
    sheet.text((70, 112), "no: again", size=12, color="gray")
    return sheet.finish()


def all_parts() -> Picture:
    """The five parts of a state, and what the package keeps besides."""
    sheet = Drawing(
        "Two rows of boxes. The five parts: model, optimizers, batches, random, "
        "steps_done. The package also keeps: shape, scaler, skipped, meter, history."
    )
    sheet.text((0, -12), "the five", size=13, anchor="start")
    five = ("model", "optimizers", "batches", "random", "steps_done")
    more = ("shape", "scaler", "skipped", "meter", "history")
    sheet.row(0, 0, five, width=90, colors="blue", size=12, mono=True)
    sheet.text((0, 50), "besides", size=13, anchor="start")
    sheet.row(0, 62, more, width=90, colors="gray", size=12, mono=True)
    return sheet.finish()


def stations() -> Picture:
    """What `train` does from its call to its result."""
    names = ("check", "lock", "go on", "steps", "result")
    sheet = Drawing(
        "Five boxes joined by arrows: check what was given, lock the folder, go on "
        "from the newest state, take the steps, measure and return the result."
    )
    below = (
        *("before any\nwriting", "one process\na folder", "newest\nstate"),
        *("save, stop\non a signal", "best weights\nput back"),
    )
    boxes = []
    for place, (name, told) in enumerate(zip(names, below, strict=True)):
        color = "green" if name == "steps" else "blue"
        boxes.append(sheet.box(94 * place, 0, 72, 30, name, color=color, size=13))
        for row, line in enumerate(told.split("\n")):
            sheet.text((94 * place + 36, 44 + 15 * row), line, size=11, color="gray")
    for left, right in pairwise(boxes):
        sheet.arrow([left.right, right.left])
    return sheet.finish()


def copies_and_shares(names: Sequence[str], processes: int) -> Picture:
    """What each process holds: copies of everything, or a share of everything.

    Args:
        names: What there is for each parameter.
        processes: How many there are.
    """
    held = ", ".join(names)
    sheet = Drawing(
        f"Left, copies: each of {processes} processes holds all of {held}. Right, "
        f"shares: each holds one part in {processes} of each of them, and together "
        "they hold all."
    )
    wide: Units = 196
    colors = ("blue", "orange", "green", "purple")
    for place, title in enumerate(("copies", "shares")):
        x = 262 * place
        sheet.text((x + wide / 2, -16), title, size=14, bold=True)
        for number in range(processes):
            y = 76 * number
            sheet.text((x, y + 2), f"process {number}", size=12, anchor="start")
            part = wide / processes
            for row, (_, color) in enumerate(zip(names, colors, strict=False)):
                top = y + 14 + 14 * row
                if place == 0:
                    sheet.box(x, top, wide, 11, color=color, round=2)
                    continue
                sheet.box(x, top, wide, 11, color="plain", dashed=True, round=2)
                sheet.box(x + part * number, top, part, 11, color=color, round=2)
    below = 76 * processes + 6
    for row, (name, color) in enumerate(zip(names, colors, strict=False)):
        x = 112 * row
        sheet.box(x, below, 12, 12, color=color, round=2)
        sheet.text((x + 18, below + 6), name, size=12, anchor="start")
    return sheet.finish()


def gather_and_scatter(rows: Sequence[int]) -> Picture:
    """A step of processes that share a matrix, from their shares and back to them.

    Args:
        rows: How many rows of the matrix each process holds.
    """
    shares = " and ".join(map(str, rows))
    sheet = Drawing(
        f"From left to right: two processes hold {shares} rows of a matrix. "
        "All-gather: both have all rows, for products with own inputs. Each then has a "
        "gradient of all rows. Reduce-scatter: the gradients are summed, and each gets "
        "the sum for its own rows, with which it takes its step."
    )
    size, gap = 15, 122

    def matrix(x: Units, y: Units, colors: Sequence[str]) -> None:
        for row, color in enumerate(colors):
            sheet.box(x, y + size * row, 52, size - 3, color=color, round=2)

    own = [["blue"] * rows[0], ["orange"] * rows[1]]
    everything = [color for part in own for color in part]
    for process, part in enumerate(own):
        y = 116 * process
        start = y + (0 if process == 0 else size * rows[0])
        matrix(0, start, part)
        matrix(gap, y, everything)
        matrix(2 * gap, y, ["gray"] * len(everything))
        matrix(3 * gap, start, ["green"] * len(part))
        middle = y + size * len(everything) / 2
        sheet.text((-12, middle), str(process), size=14, bold=True, anchor="end")
        for place, words in enumerate(
            ("all-\ngather", "own\ninputs", "reduce-\nscatter")
        ):
            x = gap * place + 56
            sheet.arrow([(x, middle), (x + 62, middle)])
            for line, word in enumerate(words.split("\n")):
                above = middle - 22 + 34 * line
                sheet.text((x + 30, above), word, size=12)
    titles = ("its share", "the matrix", "a gradient", "its rows of\nthe sum")
    for place, title in enumerate(titles):
        for line, word in enumerate(title.split("\n")):
            at = gap * place + 26, 208 + 15 * line
            sheet.text(at, word, size=13, color="gray")
    return sheet.finish()


def machines() -> Picture:
    """Two machines whose processes meet at one port, and share one folder."""
    sheet = Drawing(
        "Two machines. On each, torchrun has started two processes; those of both meet "
        "at the port of the first machine and are numbered 0 to 3. All of them see one "
        "folder, runs/big."
    )
    folder = sheet.box(
        180, 132, 110, 30, "runs/big", color="yellow", size=13, mono=True
    )
    meeting = sheet.box(171, 34, 110, 44, "FIRST:29500\nwho is there?", size=12)
    for number, x in enumerate((0, 312)):
        sheet.box(x, 0, 140, 112, color="plain")
        sheet.text((x + 70, 16), f"machine {number}: torchrun", size=12)
        for row in (0, 1):
            name = f"process {2 * number + row}"
            sheet.box(x + 18, 32 + 40 * row, 104, 28, name, color="blue", size=13)
        near = x + 140 if number == 0 else x
        sheet.arrow([(near, 56), meeting.left if number == 0 else meeting.right])
        side = folder.left if number == 0 else folder.right
        sheet.arrow([(x + 70, 112), (x + 70, 147), side], color="green")
    return sheet.finish()
