"""Drawings of the chapter on GPT-2: its parts by name, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units, text_width


def dataflow() -> Picture:
    """The way through GPT-2 with the names that its file gives to the parts."""
    sheet = Drawing(
        "GPT-2 from bottom to top, with the names of its file. Rows of wte and wpe are "
        "added and make the residual stream. In each block h.0, h.1 and so on, ln_1, "
        "c_attn, the heads and attention's c_proj write to the stream; then ln_2, "
        "c_fc, GELU and the c_proj of mlp write to it. At the end stand ln_f and, once "
        "more, wte as the output head."
    )
    x = 60
    sheet.arrow([(x, 470), (x, 42)], color="blue", width=5)
    sheet.text((x, 26), "logits", size=13, bold=True)
    for name, y, color in (("wte (head)", 52, "yellow"), ("ln_f", 88, "green")):
        sheet.box(x - 50, y, 100, 28, name, color=color, size=13, mono=True)
    lower = (("wte", 470, "yellow"), ("wpe", 504, "green"))
    for name, y, color in lower:
        sheet.box(x - 50, y, 100, 28, name, color=color, size=13, mono=True)
    sheet.text((x + 62, 500), "added", size=12, anchor="start", color="gray")
    sheet.box(104, 126, 330, 332, color="gray", dashed=True)
    sheet.text((424, 142), "h.0, h.1, … each block", size=12, anchor="end")

    def branch(top: int, names: Sequence[tuple[str, str]], part: str) -> None:
        """One part: from the stream, through its steps, and back to the stream."""
        bottom = top + 118
        sheet.arrow([(x, bottom), (128, bottom)])
        steps = list(names)
        for place, (name, color) in enumerate(steps):
            y = bottom - 14 - place * 36
            mono = color != "plain"
            sheet.box(128, y, 116, 28, name, color=color, size=13, mono=mono)
            if place:
                sheet.arrow([(186, y + 36), (186, y + 28)])
        last = bottom - 14 - (len(steps) - 1) * 36 + 14
        sheet.arrow([(128, last), (x + 11, last)], color="orange", width=2.5)
        sheet.circle((x, last), 10, "+")
        sheet.text((256, bottom - 54), part, size=13, anchor="start", color="gray")

    mlp = [("ln_2", "green"), ("mlp.c_fc", "orange"), ("GELU", "plain")]
    branch(166, [*mlp, ("mlp.c_proj", "orange")], "feed-forward")
    attention = [("ln_1", "green"), ("attn.c_attn", "blue"), ("heads", "plain")]
    branch(322, [*attention, ("attn.c_proj", "blue")], "attention")
    return sheet.finish()


def turned(inputs: int, outputs: int) -> Picture:
    """One linear map in the orientation of GPT-2's file, and in that of nn.Linear."""
    sheet = Drawing(
        f"A linear map from {inputs} inputs to {outputs} outputs. GPT-2's file holds a "
        f"matrix of {inputs} rows and {outputs} columns, nn.Linear one of {outputs} "
        f"rows and {inputs} columns: the same numbers, turned over the diagonal."
    )
    cell = 34

    def matrix(x: Units, rows: int, columns: int, name: str, flipped: bool) -> None:
        for row in range(rows):
            texts = [
                f"w{column}{row}" if flipped else f"w{row}{column}"
                for column in range(columns)
            ]
            colors = [
                ("blue", "orange", "green")[(row if not flipped else column) % 3]
                for column in range(columns)
            ]
            y = row * cell
            sheet.row(x, y, texts, width=cell, height=cell, colors=colors, size=12)
        middle = x + columns * cell / 2
        sheet.text((middle, -34), name, size=13, bold=True)
        sheet.text((middle, -14), f"{rows} × {columns}", size=12, color="gray")

    matrix(0, inputs, outputs, "GPT-2's file", False)
    right = outputs * cell
    sheet.arrow([(right + 16, cell), (right + 84, cell)], "turned")
    matrix(right + 130, outputs, inputs, "nn.Linear", True)
    sheet.text((right / 2, inputs * cell + 16), "x @ weight", size=12, mono=True)
    below = outputs * cell + 16
    place = right + 130 + inputs * cell / 2
    sheet.text((place, below), "x @ weight.T", size=12, mono=True)
    return sheet.finish()


def side_by_side(names: Sequence[str], parts_at: int) -> Picture:
    """Two models on the same ids, compared part by part up to a difference."""
    said = (
        "equal" if parts_at >= len(names) else f"first different at {names[parts_at]}"
    )
    sheet = Drawing(
        "Two models get the same ids. Their parts stand in two columns in the order of "
        f"computation, {', '.join(names)}; each pair is compared: {said}."
    )
    for place, name in enumerate(names):
        y, good = -place * 40, place < parts_at
        color = "green" if good else ("red" if place == parts_at else "gray")
        sheet.box(0, y, 170, 30, name, color=color, size=13)
        sheet.box(250, y, 170, 30, name, color=color, size=13)
        sign = "=" if good else ("≠" if place == parts_at else "?")
        sheet.text((210, y + 15), sign, size=16, bold=True)
        if place:
            sheet.arrow([(85, y + 40), (85, y + 30)])
            sheet.arrow([(335, y + 40), (335, y + 30)])
    sheet.box(125, 52, 170, 28, "the same ids", color="yellow", size=13)
    sheet.arrow([(150, 52), (85, 30)])
    sheet.arrow([(270, 52), (335, 30)])
    sheet.text((85, -len(names) * 40 + 26), "ours", size=13, bold=True)
    sheet.text((335, -len(names) * 40 + 26), "theirs", size=13, bold=True)
    return sheet.finish()


def _shown(token: str) -> str:
    """A token with its spaces and line ends made visible, and not too long."""
    text = token.replace(" ", "␣").replace("\n", "⏎")
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= 12 else text[:11] + "…"


def top_tokens(title: str, tokens: Sequence[str], shares: Sequence[Units]) -> Picture:
    """The likeliest next tokens as bars, with their probabilities.

    Args:
        title: Which model, and after what.
    """
    said = ", ".join(
        f"{_shown(t)!r} {p:.3f}" for t, p in zip(tokens, shares, strict=True)
    )
    sheet = Drawing(f"{title}: the likeliest next tokens as bars: {said}.")
    sheet.text((0, -20), title, size=13, anchor="start", bold=True)
    for place, (token, share) in enumerate(zip(tokens, shares, strict=True)):
        y = place * 28
        sheet.text((104, y + 11), _shown(token), size=13, anchor="end", mono=True)
        wide = max(1.0, 250 * share)
        box = sheet.box(112, y, wide, 22, color="blue", round=0)
        sheet.text((box.right[0] + 8, y + 11), f"{share:.3f}", size=12, anchor="start")
    sheet.line([(112, -4), (112, len(tokens) * 28)])
    return sheet.finish()


def loss_row(title: str, tokens: Sequence[str], losses: Sequence[Units]) -> Picture:
    """A text in tokens, each colored by its loss in nats, which stands below it.

    Args:
        losses: One number for each token but the first, which nothing predicts.
    """
    known = [
        f"{_shown(t)!r} {loss:.1f}" for t, loss in zip(tokens[1:], losses, strict=True)
    ]
    sheet = Drawing(f"{title}. Loss in nats of each token: {', '.join(known)}.")
    sheet.text((0, -20), title, size=13, anchor="start", bold=True)
    x: Units = 0
    y = 0
    for place, token in enumerate(tokens):
        text = _shown(token)
        wide = max(30.0, text_width(text, 13, mono=True) + 8)
        if x + wide > 455:
            x, y = 0, y + 58
        if place == 0:
            sheet.box(x, y, wide, 28, text, color="gray", size=13, mono=True, round=2)
        else:
            loss = losses[place - 1]
            color = ("plain", "yellow", "orange", "red")[
                sum(loss >= bound for bound in (1, 3, 6))
            ]
            sheet.box(x, y, wide, 28, text, color=color, size=13, mono=True, round=2)
            sheet.text((x + wide / 2, y + 38), f"{loss:.1f}", size=11)
        x += wide + 2
    return sheet.finish()


def names(rows: Sequence[tuple[str, str, str, str]]) -> Picture:
    """What OpenAI, Hugging Face and we call each weight, with its shape."""
    said = "; ".join(" is ".join(row[:3]) for row in rows)
    sheet = Drawing(f"Names in OpenAI's files, in Hugging Face's, and ours: {said}.")
    heads = ("OpenAI", "Hugging Face", "ours")
    for place, (openai, theirs, ours, size) in enumerate(rows):
        y = place * 58
        inside = theirs.startswith("h.")
        color = "orange" if inside else "yellow"
        sheet.box(0, y, 460, 50, "", color=color)
        sheet.text((10, y + 15), openai, size=12, anchor="start", mono=True)
        sheet.text((10, y + 35), theirs, size=12, anchor="start", mono=True)
        sheet.text((450, y + 15), size, size=12, anchor="end", color="gray")
        sheet.text((450, y + 35), ours, size=12, anchor="end", mono=True, bold=True)
    first = f"above: {heads[0]}; below: {heads[1]}"
    sheet.text((10, -14), first, size=12, anchor="start", color="gray")
    sheet.text((450, -14), f"shape; {heads[2]}", size=12, anchor="end", color="gray")
    return sheet.finish()


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


def columns_of(heads: int) -> Picture:
    """The columns of c_attn: queries, keys and values, each head beside head."""
    sheet = Drawing(
        f"c_attn has as many rows as the stream is wide. Its columns are three thirds, "
        f"for queries, keys and values; in each third {heads} heads lie side by side."
    )
    wide = 414 / (3 * heads)
    colors = ("blue", "orange", "green")
    for third, name in enumerate(("queries", "keys", "values")):
        left = third * heads * wide
        for head in range(heads):
            text = f"head\n{head}"
            x = left + head * wide
            sheet.box(x, 0, wide, 84, text, color=colors[third], size=12, round=0)
        sheet.brace((left + 3, 92), (left + heads * wide - 3, 92), name)
    sheet.text((-8, 42), "width", size=12, anchor="end", color="gray")
    return sheet.finish()


def zero_bias() -> Picture:
    """A linear map without a bias, and one whose bias is 0: the same output."""
    sheet = Drawing(
        "The same vector goes into two linear maps with the same weight. One has no "
        "bias, the other has a bias of zeros. The outputs are equal."
    )
    given = sheet.box(0, 44, 70, 34, "x", color="blue", bold=True)
    for y, text in ((0, "weight"), (88, "the same weight,\nbias 0, 0, 0, …")):
        part = sheet.box(130, y, 140, 40, text, color="orange", size=13)
        out = sheet.box(330, y, 70, 40, "y", color="green", bold=True)
        sheet.arrow([given.right, (100, 61), (100, y + 20), part.left])
        sheet.arrow([part.right, out.left])
    sheet.text((365, 64), "equal", size=13, color="green")
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


def which_model() -> Picture:
    """Where the released weights come from, or what stands in for them."""
    sheet = Drawing(
        "Three questions in a row. Are the released weights in the cache? Then GPT-2 "
        "speaks. If not, is fetch set and the hub in reach? Then they are fetched, and "
        "GPT-2 speaks. If not, a small random model of the same form stands in."
    )
    cache = sheet.box(0, 0, 130, 44, "in the cache\nof this machine?", size=13)
    fetch = sheet.box(0, 84, 130, 44, "fetch = True, and\nthe hub answers?", size=13)
    sheet.box(260, 40, 130, 44, "GPT-2 speaks", color="green", bold=True)
    random = sheet.box(
        0, 168, 130, 44, "a random model\nstands in", color="gray", size=13
    )
    sheet.arrow([cache.right, (200, 22), (200, 52), (260, 52)])
    sheet.arrow([fetch.right, (200, 106), (200, 74), (260, 74)])
    sheet.arrow([cache.bottom, fetch.top], "no")
    sheet.arrow([fetch.bottom, random.top], "no")
    sheet.text((165, 12), "yes", size=12)
    sheet.text((165, 118), "yes", size=12)
    return sheet.finish()


def name_parts(theirs: Sequence[str], ours: Sequence[str]) -> Picture:
    """A name in its parts, before and after: which of them must be looked up?"""
    sheet = Drawing(
        f"The name {'.'.join(theirs)} in its parts above, and below it the name "
        f"{'.'.join(ours)} in its parts. The layer and the last part are the same."
    )
    for y, parts in ((0, theirs), (84, ours)):
        x: Units = 0
        for part in parts:
            wide = text_width(part, 13, mono=True) + 14
            known = part.isdigit() or part == parts[-1]
            color = "yellow" if known else "blue"
            sheet.box(x, y, wide, 30, part, color=color, size=13, mono=True)
            x += wide + 8
    sheet.arrow([(60, 34), (60, 80)], width=2)
    sheet.text((74, 57), "?", size=15, bold=True)
    return sheet.finish()


def sizes_from(
    vocab_size: int, width: int, context_length: int, layers: int
) -> Picture:
    """What the shapes and names of the tensors tell about a model."""
    rows = (
        ("wte.weight", f"{vocab_size} × {width}", "vocabulary and width"),
        ("wpe.weight", f"{context_length} × {width}", "context"),
        (f"h.{layers - 1}. …", "the last block", f"layers: {layers}"),
        ("heads", "in no tensor", "must be given"),
    )
    said = "; ".join(", ".join(row) for row in rows)
    sheet = Drawing(f"What the tensors of a checkpoint tell: {said}.")
    for place, (name, shape, tells) in enumerate(rows):
        y = place * 42
        known = place < 3
        color = "blue" if known else "gray"
        box = sheet.box(0, y, 110, 32, name, color=color, size=13, mono=known)
        sheet.text((122, y + 16), shape, size=13, anchor="start")
        told = sheet.box(
            270, y, 166, 32, tells, color="green" if known else "red", size=13
        )
        sheet.arrow([(225, y + 16), told.left])
        assert box.width > 0
    return sheet.finish()
