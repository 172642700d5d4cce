"""Which query may look at which key, and what happens if it may look at none."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool
from torch import Tensor

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Picture


def masks(
    named: Mapping[str, Bool[Tensor, "queries keys"]], *, first: int = 0
) -> Picture:
    """Masks side by side: a filled cell where a query may look at a key."""
    described = "; ".join(
        f"{name}: "
        + ", ".join(
            f"query {query} sees "
            + (" ".join(map(str, row.nonzero().flatten().tolist())) or "nothing")
            for query, row in enumerate(mask, mask.shape[1] - len(mask))
        )
        for name, mask in named.items()
    )
    sheet = Drawing(f"Masks of queries in rows and keys in columns. {described}.")
    cell = 26
    x: float = 0
    for name, mask in named.items():
        sheet.text((x, -38), name, size=13, anchor="start", bold=True)
        sheet.text((x + 26, -17), "keys", size=11, anchor="end", color="gray")
        for key in range(mask.shape[1]):
            place = x + 32 + cell * (key + 0.5), -17
            sheet.text(place, str(key), size=12, color="gray")
        for row, seen in enumerate(mask.tolist()):
            query = row + mask.shape[1] - len(mask)
            middle = row * cell + cell / 2
            sheet.text(
                (x + 22, middle), str(query), size=12, color="gray", anchor="end"
            )
            sheet.row(
                x + 32, row * cell, ["•" if one else "" for one in seen],
                width=cell, height=cell,
                colors=["blue" if one else "gray" for one in seen],
            )  # fmt: skip
        x += 32 + cell * mask.shape[1] + 30
    return sheet.finish()


def nothing_to_share() -> Picture:
    """How the nan of one query reaches the gradient of every value."""
    sheet = Drawing(
        "Backward pass of three queries and two values. Queries 0 and 2 send gradients "
        "to the values that they saw. Query 1 may see nothing and its weights are nan; "
        "although its output is not used, it sends nan times 0, which is nan, to both "
        "values, and their gradients become nan."
    )
    sheet.text((60, -16), "weights", size=13)
    sheet.text((365, -16), "gradient of the values", size=13)
    queries = [
        ("query 0:  1, 0", "blue"),
        ("query 1:  nan, nan", "red"),
        ("query 2:  ½, ½", "blue"),
    ]
    rows = [
        sheet.box(0, place * 52, 140, 30, text, color=color, size=13)
        for place, (text, color) in enumerate(queries)
    ]
    values = [
        sheet.box(300, 20 + place * 64, 130, 30, f"value {place}:  nan", color="red")
        for place in range(2)
    ]
    for place, row in enumerate(rows):
        for which, value in enumerate(values):
            if place == 0 and which == 1:
                continue
            bad = place == 1
            end = value.x, value.y + 6 + 9 * place
            options = {"color": "red" if bad else "blue", "width": 2.5 if bad else 1.2}
            sheet.arrow([row.right, end], **options)  # type: ignore[arg-type]
    sheet.text((230, 154), "red: upstream gradient 0, but nan × 0 = nan", size=13)
    return sheet.finish()
