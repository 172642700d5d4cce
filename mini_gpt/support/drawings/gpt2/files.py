"""Folders and files of weights, read and written."""

from __future__ import annotations

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def loading(megabytes: int) -> Picture:
    """Memory while weights are read: all at once, and a few rows at a time."""
    sheet = Drawing(
        f"Memory while {megabytes} MB of weights are read, over time. The naive way "
        "builds a model, then reads all tensors beside it, so that for a moment it "
        "holds twice the weights. The other way starts with an empty model and fills "
        "it a few rows at a time; it never holds more than the weights and those rows."
    )
    for place, (title, steps) in enumerate(
        {
            "a dictionary, then load_state_dict": (50, 50, 75, 100, 100, 50),
            "load_weights: rows into an empty model": (2, 14, 26, 38, 50, 50),
        }.items()
    ):
        y = place * 150
        sheet.text((0, y - 116), title, size=13, anchor="start", bold=True)
        color = "red" if not place else "green"
        for number, height in enumerate(steps):
            sheet.box(number * 62, y - height, 62, height, color=color, round=0)
        sheet.line([(0, y), (384, y)])
        top = max(steps)
        said = f"{megabytes * top // 50:,} MB"
        sheet.line([(372, y - top), (384, y - top)])
        sheet.text((390, y - top), said, size=12, anchor="start")
    sheet.text((186, 168), "time", size=12, color="gray")
    return sheet.finish()


def saving() -> Picture:
    """A folder is written beside its place, and takes it only when it is complete."""
    sheet = Drawing(
        "Saving in three steps. First the three files are written into a temporary "
        "folder beside the target. When all are complete, the folder is renamed and "
        "takes the target's place. A program that stops before that leaves the old "
        "checkpoint as it was."
    )
    files = ("config.json", "model.safetensors", "tokenizer")
    for place, (title, color, done) in enumerate(
        (("temporary", "gray", 2), ("temporary", "gray", 3), ("checkpoint", "green", 3))
    ):
        x = place * 158
        sheet.box(x, 0, 138, 136, "", color=color, dashed=color == "gray")
        sheet.text((x + 69, -14), title, size=13, bold=True)
        for number, name in enumerate(files):
            there = number < done
            fill = "blue" if there else "plain"
            y = 10 + number * 40
            text = name if there else "…"
            sheet.box(x + 6, y, 126, 32, text, color=fill, size=12)
        if place:
            sheet.arrow([(x - 19, 68), (x - 1, 68)], width=2)
    sheet.text((69, 152), "being written", size=12, color="gray")
    sheet.text((227, 152), "complete", size=12, color="gray")
    sheet.text((385, 152), "renamed", size=12, color="gray")
    return sheet.finish()


def exchange() -> Picture:
    """A folder that two programs read: ours and transformers, with equal logits."""
    sheet = Drawing(
        "Our model is written by to_huggingface as a folder. From the folder "
        "from_pretrained makes our model again, and transformers makes a "
        "GPT2LMHeadModel. Both must give the same logits as the model at the start."
    )
    model = sheet.box(0, 60, 100, 40, "our GPT", color="blue", bold=True)
    folder = sheet.box(170, 50, 100, 60, "a folder in\nGPT-2's form", color="yellow")
    ours = sheet.box(330, 0, 128, 40, "our GPT again", color="blue", size=13)
    theirs = sheet.box(330, 120, 128, 40, "GPT2LMHeadModel", color="orange", size=12)
    sheet.arrow([model.right, folder.left])
    sheet.text((135, 38), "to_huggingface", size=12)
    sheet.arrow([folder.right, (298, 80), (298, 20), ours.left])
    sheet.arrow([folder.right, (298, 80), (298, 140), theirs.left])
    sheet.text((394, 52), "from_pretrained", size=12, color="gray")
    sheet.text((394, 108), "transformers", size=12, color="gray")
    sheet.text((394, 80), "= same logits =", size=13, bold=True, color="green")
    return sheet.finish()


def safetensors(header: int, total: int, first: int, last: int) -> Picture:
    """A file of safetensors as a ruler: its length, its header, its numbers.

    Args:
        header: Bytes of the header.
        total: Bytes of the file.
        first: Where the numbers of wte.weight begin, counted from the header's end.
        last: Where they end.
    """
    sheet = Drawing(
        f"A safetensors file of {total} bytes as a ruler: 8 bytes with the length of "
        f"the header, {header} bytes of header in JSON, then the numbers. The header "
        f"says that wte.weight has the numbers from byte {first} to byte {last}."
    )
    sheet.box(0, 0, 50, 40, "8", color="yellow")
    names = sheet.box(50, 0, 130, 40, "header, JSON", color="blue", size=13)
    sheet.box(180, 0, 240, 40, "numbers", color="gray")
    scale = 240 / (total - 8 - header)
    left, right = 180 + first * scale, 180 + last * scale
    part = sheet.box(left, 0, max(right - left, 6), 40, "", color="orange", round=0)
    sheet.curve((115, 40), ((115 + left) / 2, 100), part.bottom, color="orange")
    sheet.text((190, 96), f"wte.weight: {first} to {last}", size=12)
    for x, place in ((0, 0), (50, 8), (180, 8 + header), (420, total)):
        sheet.text((x, -12), f"{place:,}", size=12)
    assert names.width > 0
    return sheet.finish()
