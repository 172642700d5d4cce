"""The order in which windows are used, over epochs and processes."""

from __future__ import annotations

from collections.abc import Sequence

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.data.style import COLORS
from mini_gpt.support.drawings.picture import Picture, Units


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
