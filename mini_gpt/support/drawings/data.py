"""Drawings of the chapter on data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture, Units

COLORS = ("blue", "orange", "green", "purple")


def _visible(text: str) -> str:
    """A text whose white space can be seen."""
    return text.replace(" ", "␣").replace("\n", "⏎")


def row_to_batch(text: str, starts: Sequence[int], context_length: int) -> Picture:
    """One row of tokens, windows of it, and the batch that they are stacked into.

    Args:
        text: A letter for each token.
        starts: Where the windows start.
        context_length: Inputs of a window; it takes one token more.
    """
    long = context_length + 1
    rows = [text[start : start + long] for start in starts]
    sheet = Drawing(
        f"The row of tokens {text!r}; windows of {long} tokens start at "
        f"{', '.join(map(str, starts))}; stacked they are an array of {len(starts)} "
        f"rows and {long} columns: {' | '.join(rows)}."
    )
    size: Units = min(24, 452 / len(text))
    color: dict[int, str] = {}
    for start, name in zip(starts, COLORS, strict=False):
        color |= dict.fromkeys(range(start, start + long), name)
    colors = [color.get(place, "plain") for place in range(len(text))]
    sheet.row(
        0,
        0,
        [*_visible(text)],
        width=size,
        height=26,
        colors=colors,
        size=12,
        mono=True,
    )
    left: Units = 140
    for row, (start, letters) in enumerate(zip(starts, rows, strict=True)):
        y = 84 + 28 * row
        name = COLORS[row]
        boxes = sheet.row(
            left, y, [*_visible(letters)], width=24, height=28, colors=name, mono=True
        )
        sheet.brace((start * size, 30), ((start + long) * size, 30), color=name)
        middle = (start + long / 2) * size
        end = left + 24 * long + 18 + 14 * row
        if middle > left + 12 * long:
            sheet.arrow(
                [(middle, 37), (max(middle, end), 60), (end, y + 14), boxes[-1].right],
                color=name,
            )
        else:
            sheet.arrow(
                [
                    (middle, 37),
                    (min(middle, left - 18 - 14 * row), 60),
                    (left - 18 - 14 * row, y + 14),
                    boxes[0].left,
                ],
                color=name,
            )
    bottom = 84 + 28 * len(starts)
    sheet.brace((left, bottom + 4), (left + 24 * long, bottom + 4), "time + 1")
    sheet.text((left + 24 * long + 60, bottom - 6), "one row each", size=12)
    return sheet.finish()


def shifted(inputs: str, targets: str) -> Picture:
    """Inputs above targets, with an arrow from each input to itself as a target."""
    sheet = Drawing(
        f"Two rows of boxes: the inputs {inputs!r}, and below them the targets "
        f"{targets!r}. At each position the target is the next input; arrows lead from "
        "each input to the same letter one place to the left among the targets."
    )
    for place in range(len(inputs)):
        sheet.text((74 + 32 * place, -10), str(place), size=12, color="gray")
    sheet.text((0, 16), "input", size=13, anchor="start")
    sheet.text((0, 96), "target", size=13, anchor="start")
    above = sheet.row(
        58, 2, [*_visible(inputs)], width=32, height=28, colors="blue", mono=True
    )
    below = sheet.row(
        58, 82, [*_visible(targets)], width=32, height=28, colors="yellow", mono=True
    )
    for box, left in zip(above[1:], below, strict=False):
        sheet.arrow([box.bottom, left.top])
    return sheet.finish()


def added(starts: Sequence[int], steps: int) -> Picture:
    """A column of starts and a row of steps, added to a table of places."""
    table = [[start + step for step in range(steps)] for start in starts]
    sheet = Drawing(
        f"The column of starts {', '.join(map(str, starts))} and the row of steps 0 to "
        f"{steps - 1} are added: each start with each step, which gives the table "
        f"{'; '.join(', '.join(map(str, row)) for row in table)}."
    )
    wide, high = 27, 26
    sheet.text((wide / 2, -30), "starts", size=12)
    sheet.text((wide / 2, -14), "(batch, 1)", size=11, color="gray")
    for row, start in enumerate(starts):
        color = COLORS[row % 4]
        sheet.box(
            0, high * row, wide, high, str(start), color=color, mono=True, round=2
        )
    sheet.text((50, high), "+", size=16)
    places = [str(step) for step in range(steps)]
    sheet.text((74 + wide * steps / 2, -30), "steps", size=12)
    sheet.text((74 + wide * steps / 2, -14), "(time + 1)", size=11, color="gray")
    sheet.row(74, high / 2, places, width=wide, height=high, colors="gray", mono=True)
    left = 74 + wide * steps + 40
    sheet.text((left - 20, high), "=", size=16)
    sheet.text((left + wide * steps / 2, -30), "places", size=12)
    sheet.text(
        (left + wide * steps / 2, -14), "(batch, time + 1)", size=11, color="gray"
    )
    for row, numbers in enumerate(table):
        sheet.row(
            left,
            high * row,
            [str(number) for number in numbers],
            width=wide,
            height=high,
            colors=COLORS[row % 4],
            mono=True,
        )
    return sheet.finish()


def epochs(
    length: int, context_length: int, orders: Sequence[Sequence[int]]
) -> Picture:
    """For each epoch its windows side by side, numbered in the order of their use."""
    told = "; ".join(
        f"epoch {epoch}: {', '.join(map(str, starts))}"
        for epoch, starts in enumerate(orders)
    )
    sheet = Drawing(
        f"{length} positions in a row for each epoch, cut into windows of "
        f"{context_length}. Where they start, in the order of their use: {told}."
    )
    size: Units = 19
    for place in range(0, length, 5):
        sheet.text((66 + (place + 0.5) * size, -10), str(place), size=12, color="gray")
    for epoch, starts in enumerate(orders):
        y = 40 * epoch
        sheet.text((0, y + 13), f"epoch {epoch}", size=13, anchor="start")
        sheet.box(66, y, length * size, 26, color="gray", dashed=True, round=0)
        for use, start in enumerate(starts):
            name = COLORS[use % 4]
            words = f"used {use + 1}."
            wide = context_length * size
            sheet.box(66 + start * size, y, wide, 26, words, color=name, size=13)
    return sheet.finish()


def ranks(batch_size: int, world_size: int) -> Picture:
    """The rows of one batch, and which process takes which."""
    rows = batch_size // world_size
    sheet = Drawing(
        f"A batch of {batch_size} rows is shared by {world_size} processes: rank 0 "
        f"takes the first {rows} rows, the next the next, and no row is taken twice."
    )
    sheet.text((90, -12), f"batch of {batch_size} rows", size=13)
    for row in range(batch_size):
        rank = row // rows
        sheet.box(
            0, 26 * row, 180, 26, f"window {row}", color=COLORS[rank % 4], size=13
        )
    for rank in range(world_size):
        top, high = 26 * rows * rank, 26 * rows
        box = sheet.box(
            270,
            top + 4,
            150,
            high - 8,
            f"rank {rank}",
            color=COLORS[rank % 4],
            size=13,
            bold=True,
        )
        sheet.brace((186, top + 3), (186, top + high - 3))
        sheet.arrow([(197, top + high / 2), box.left])
    return sheet.finish()


def stop_and_resume(batches: int, stopped: int) -> Picture:
    """A run that goes through, and one that stops and is continued."""
    sheet = Drawing(
        f"Two rows of batches 0 to {batches - 1}. The first runs through. The second "
        f"stops after {stopped} batches, keeps two numbers, and goes on with batch "
        f"{stopped}: the same batches as the first."
    )
    numbers = [str(number) for number in range(batches)]
    sheet.text((0, 14), "one run", size=13, anchor="start")
    sheet.row(78, 0, numbers, width=36, height=28, colors="blue")
    sheet.text((0, 74), "stopped", size=13, anchor="start")
    sheet.row(78, 60, numbers[:stopped], width=36, height=28, colors="blue")
    x = 78 + 36 * stopped
    note = sheet.box(x - 60, 116, 120, 40, f"seed 0\ndrawn {stopped}", color="yellow")
    sheet.arrow([(x - 18, 88), (x - 18, 116)])
    sheet.row(x + 8, 60, numbers[stopped:], width=36, height=28, colors="green")
    sheet.arrow([(x + 26, 116), (x + 26, 88)])
    sheet.text((x + 70, note.center[1]), "go on", size=13, anchor="start")
    return sheet.finish()


def two_cuts(
    lengths: Sequence[int], inside: int, between: int | None = None
) -> Picture:
    """Documents in a row, cut where a share says, and cut between two of them.

    Args:
        lengths: Of the documents, the last ones of the corpus.
        inside: Where the first cut falls, counted from the first of these.
        between: Where the second falls; None: only the first is drawn.
    """
    total = sum(lengths)
    below = "" if between is None else "; below, it falls between two"
    sheet = Drawing(
        f"The last {len(lengths)} documents of the corpus in a row. The cut between "
        f"training and validation falls inside a document{below}."
    )
    scale = 440 / total
    rows = [(0, inside, "one cut")]
    if between is not None:
        rows.append((84, between, "between documents"))
    for y, cut, name in rows:
        sheet.text((0, y), name, size=13, anchor="start")
        left = 0
        for length in lengths:
            parts = [(left, min(cut, left + length)), (max(cut, left), left + length)]
            for (start, end), color in zip(parts, ("blue", "orange"), strict=True):
                if end > start:
                    wide = (end - start) * scale
                    sheet.box(start * scale, y + 14, wide, 26, color=color, round=0)
            left += length
        sheet.line([(cut * scale, y + 8), (cut * scale, y + 48)], color="red")
        sheet.text((cut * scale - 6, y + 54), "training", size=12, anchor="end")
        sheet.text((cut * scale + 6, y + 54), "validation", size=12, anchor="start")
    return sheet.finish()


def loader_flow() -> Picture:
    """From the seed and a number to inputs and targets."""
    sheet = Drawing(
        "The seed and the number n of a batch give the starts of all rows; a rank "
        "takes its share of them; each start becomes a window of time + 1 tokens; all "
        "but the last are the inputs, all but the first the targets."
    )
    seed = sheet.box(0, 20, 76, 40, "seed, n", color="yellow", size=13)
    starts = sheet.box(104, 20, 76, 40, "starts\n(batch,)", size=12)
    mine = sheet.box(208, 20, 84, 40, "own rows\n(rows,)", color="blue", size=12)
    windows = sheet.box(320, 20, 138, 40, "windows\n(rows, time + 1)", size=12)
    inputs = sheet.box(208, 104, 110, 40, "inputs\n(rows, time)", color="blue", size=12)
    targets = sheet.box(
        348, 104, 110, 40, "targets\n(rows, time)", color="yellow", size=12
    )
    for one, other in ((seed, starts), (starts, mine), (mine, windows)):
        sheet.arrow([one.right, other.left])
    sheet.arrow([(360, 60), (360, 82), (263, 82), inputs.top])
    sheet.arrow([(403, 60), targets.top])
    sheet.text((256, 74), "[:, :-1]", size=12, mono=True, anchor="end")
    sheet.text((407, 82), "[:, 1:]", size=12, mono=True, anchor="start")
    return sheet.finish()


def across_epochs(windows: int, batch_size: int, batches: int) -> Picture:
    """Windows counted through all epochs, and the batches that they fill.

    Args:
        windows: In an epoch.
    """
    needed = batches * batch_size
    sheet = Drawing(
        f"Windows are counted through all epochs of {windows}; every {batch_size} of "
        f"them are a batch, also where an epoch ends in the middle of one. Drawn: "
        f"{batches} batches."
    )
    size: Units = min(34, 440 / needed)
    for number in range(needed):
        epoch, place = divmod(number, windows)
        color = COLORS[epoch % 4]
        sheet.box(
            number * size, 24, size, 28, str(place), color=color, size=13, round=0
        )
    for epoch in range(-(-needed // windows)):
        end = min((epoch + 1) * windows, needed)
        middle = (epoch * windows + end) / 2 * size
        sheet.text((middle, 10), f"epoch {epoch}", size=12)
    for batch in range(batches):
        left, right = batch * batch_size * size + 2, (batch + 1) * batch_size * size - 2
        sheet.brace((left, 58), (right, 58), f"batch {batch}")
    return sheet.finish()


def shares(values: Mapping[str, float]) -> Picture:
    """Shares between 0 and 1 as bars."""
    told = ", ".join(f"{name} {share:.1%}" for name, share in values.items())
    sheet = Drawing(f"Bars, the share of right answers of a table: {told}.")
    for place, (name, share) in enumerate(values.items()):
        y, long = 36 * place, max(1.0, 180 * share)
        sheet.text((0, y + 12), name, size=13, anchor="start")
        sheet.box(200, y, 180, 24, color="gray", dashed=True, round=0)
        sheet.box(200, y, long, 24, color="blue", round=0)
        sheet.text((390, y + 12), f"{share:.1%}", size=13, anchor="start")
    return sheet.finish()


def met_in_training(one_cut: Mapping[str, int], strict: Mapping[str, int]) -> Picture:
    """How often names stand in the training part, for two splits."""
    told = ", ".join(f"{name} {one_cut[name]} and {strict[name]}" for name in one_cut)
    sheet = Drawing(
        "Pairs of bars: how often a name stands in the training part with one cut, and "
        f"with a cut between documents: {told}."
    )
    scale = 220 / max(one_cut.values())
    for place, name in enumerate(one_cut):
        y = 62 * place
        sheet.text((0, y + 24), name, size=13, anchor="start", mono=True)
        for down, count, color in (
            (0, one_cut[name], "blue"),
            (25, strict[name], "green"),
        ):
            long = max(1.0, count * scale)
            sheet.box(84, y + down, long, 22, color=color, round=0)
            sheet.text((92 + long, y + down + 11), str(count), size=13, anchor="start")
    y = 62 * len(one_cut)
    for x, words, color in (
        (84, "one cut", "blue"),
        (180, "between documents", "green"),
    ):
        sheet.box(x, y, 14, 14, color=color)
        sheet.text((x + 20, y + 7), words, size=12, anchor="start")
    return sheet.finish()


def one_window(tokens: Sequence[int], start: int, context_length: int) -> Picture:
    """A short row of tokens with the inputs and the targets of one window."""
    end = start + context_length
    inputs = ", ".join(map(str, tokens[start:end]))
    targets = ", ".join(map(str, tokens[start + 1 : end + 1]))
    sheet = Drawing(
        f"The tokens {', '.join(map(str, tokens))}; the window at {start} with a "
        f"context of {context_length} has the inputs {inputs} and the targets "
        f"{targets}."
    )
    sheet.row(0, 0, [str(token) for token in tokens], width=44)
    for place in range(len(tokens)):
        sheet.text((44 * place + 22, 40), str(place), size=12, color="gray")
    sheet.brace(
        (44 * start + 2, -6), (44 * end - 2, -6), "inputs", color="blue", below=False
    )
    sheet.brace((44 * start + 46, 50), (44 * end + 42, 50), "targets", color="orange")
    return sheet.finish()


def covered(starts: Sequence[int], context_length: int, length: int) -> Picture:
    """Windows that were drawn at random, and which positions they have covered."""
    seen = {place for start in starts for place in range(start, start + context_length)}
    sheet = Drawing(
        f"Windows of {context_length} positions start at {', '.join(map(str, starts))} "
        f"in a text of {length}. Together they cover {len(seen)} positions; the others "
        "have not been seen."
    )
    size: Units = 19
    for row, start in enumerate(starts):
        sheet.text((0, 26 * row + 11), f"window {row}", size=13, anchor="start")
        left, wide = 70 + start * size, context_length * size
        sheet.box(left, 26 * row, wide, 22, color="blue")
    y = 26 * len(starts) + 8
    sheet.text((0, y + 12), "seen", size=13, anchor="start")
    colors = ["green" if place in seen else "plain" for place in range(length)]
    sheet.row(70, y, [""] * length, width=size, height=24, colors=colors)
    return sheet.finish()


def side_by_side(text: str, windows: Sequence[str]) -> Picture:
    """Evaluation windows: the targets of each, below the text that they come from."""
    sheet = Drawing(
        f"The text {text!r} with windows below it, side by side. Their targets are "
        f"{' | '.join(windows)}: every letter but the first, once."
    )
    size: Units = 452 / len(text)
    sheet.row(0, 0, [*_visible(text)], width=size, height=28, size=12, mono=True)
    place = 1
    for number, window in enumerate(windows):
        sheet.row(
            place * size,
            50,
            [*_visible(window)],
            width=size,
            height=28,
            colors=COLORS[number % 4],
            size=12,
            mono=True,
        )
        ends = (place * size + 2, 84), ((place + len(window)) * size - 2, 84)
        sheet.brace(*ends, f"window {number}")
        place += len(window)
    sheet.text((size / 2, 64), "–", size=13, color="gray")
    return sheet.finish()


def token_file(tokens: int) -> Picture:
    """A file of tokens as a ruler: a header, then two bytes for each token."""
    sheet = Drawing(
        "A file of tokens as a ruler. Bytes 0 to 63 are the header with the number of "
        "tokens, bytes each, fingerprint and digest; then every token takes two bytes, "
        f"the last one ends at byte {64 + 2 * tokens}. Only the pages that a batch "
        "touches are read."
    )
    sheet.box(0, 0, 112, 34, "header", color="yellow")
    cells = ["t0", "t1", "t2", "t3", "…", f"t{tokens - 1:,}"]
    x: Units = 112
    for cell in cells:
        wide = 96 if len(cell) > 4 else 44
        sheet.box(x, 0, wide, 34, cell, size=12, round=0, mono=True)
        x += wide
    for place, byte in ((0, "0"), (112, "64"), (156, "66"), (200, "68")):
        sheet.line([(place, 34), (place, 42)])
        sheet.text((place, 52), byte, size=12, color="gray")
    sheet.line([(x, 34), (x, 42)])
    sheet.text((x, 52), f"{64 + 2 * tokens:,}", size=12, anchor="end", color="gray")
    names = ("tokens, bytes each", "fingerprint", "SHA-256 of the tokens")
    for number, name in enumerate(names):
        sheet.text((0, 82 + 17 * number), name, size=12, anchor="start")
    sheet.brace(
        (158, -8), (286, -8), "a window, read when it is asked for", below=False
    )
    return sheet.finish()


def packed_rows(
    rows: Sequence[Sequence[str]], documents: Sequence[Sequence[int]]
) -> Picture:
    """Rows of tokens, colored by document.

    Args:
        rows: The text of each token; empty where a document ends.
        documents: The number of the document of each.
    """
    told = "; ".join(" ".join(part or "END" for part in row) for row in rows)
    sheet = Drawing(
        f"Rows of tokens, one color for each document, with END marks: {told}. Some "
        "rows hold the end of one document and the beginning of the next."
    )
    widest = max(len(row) for row in rows)
    size: Units = 456 / widest
    for number, (row, owners) in enumerate(zip(rows, documents, strict=True)):
        colors = [
            COLORS[owner % 4] if part else "red"
            for part, owner in zip(row, owners, strict=True)
        ]
        labels = [_visible(part)[:5] or "END" for part in row]
        sheet.row(0, 36 * number, labels, width=size, height=28, colors=colors, size=11)
    return sheet.finish()


def who_sees_whom(mask: Sequence[Sequence[int]], labels: Sequence[str]) -> Picture:
    """A mask as a grid: each row is a position, lit where it may look.

    Args:
        mask: 1 where the position of the row may look at that of the column.
        labels: The token of each position; empty where a document ends.
    """
    sheet = Drawing(
        "A grid, one row for each position of a packed row of tokens, lit where it may "
        "look: triangles along the diagonal, one for each document."
    )
    size = 28
    names = [_visible(label)[:5] or "END" for label in labels]
    for row, (line, name) in enumerate(zip(mask, names, strict=True)):
        sheet.text((-6, size * (row + 0.5)), name, size=11, anchor="end")
        for column, sees in enumerate(line):
            color = "blue" if sees else "plain"
            sheet.box(size * column, size * row, size, size, color=color, round=0)
    sheet.text((size * len(names) / 2, -12), "positions that it may look at", size=12)
    return sheet.finish()


def overlap(training: Sequence[int], validation: Sequence[int], long: int) -> Picture:
    """Windows of training above windows of validation, on one line of positions."""
    sheet = Drawing(
        f"Windows of {long} positions on a line: training windows start at "
        f"{', '.join(map(str, training))}, validation windows at "
        f"{', '.join(map(str, validation))}. What is below both is the leak."
    )
    size = 30
    last = max(*training, *validation) + long
    for place in range(last):
        sheet.text((104 + (place + 0.5) * size, -10), str(place), size=12, color="gray")
    rows = [("training", start, "blue") for start in training]
    rows += [("validation", start, "orange") for start in validation]
    for row, (name, start, color) in enumerate(rows):
        y = 4 + 30 * row
        sheet.text((0, y + 12), name, size=13, anchor="start")
        sheet.box(104 + start * size, y, long * size, 24, color=color)
    return sheet.finish()


def way_of_the_data() -> Picture:
    """From documents to batches: what the chapter has built, in its order."""
    sheet = Drawing(
        "Documents become a row of tokens; train_val_split cuts it; BatchLoader takes "
        "batches for training from the first part, evaluation_batches windows for "
        "measuring from the second."
    )
    documents = sheet.box(0, 50, 84, 34, "documents", color="gray", size=13)
    tokens = sheet.box(108, 50, 84, 34, "tokens", color="gray", size=13)
    first = sheet.box(216, 14, 92, 34, "training", color="blue", size=13)
    second = sheet.box(216, 86, 92, 34, "validation", color="orange", size=13)
    loader = sheet.box(334, 14, 124, 34, "BatchLoader", color="blue", size=12)
    measure = sheet.box(334, 86, 124, 34, "evaluation_batches", color="orange", size=12)
    sheet.arrow([documents.right, tokens.left])
    sheet.arrow([tokens.right, (204, 67), (204, 31), first.left])
    sheet.arrow([(204, 67), (204, 103), second.left])
    sheet.arrow([first.right, loader.left])
    sheet.arrow([second.right, measure.left])
    sheet.text((204, 136), "train_val_split", size=12, color="green")
    return sheet.finish()
