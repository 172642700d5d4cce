"""The map of the whole machine that opens each chapter, its own part lit."""

from __future__ import annotations

from mini_gpt.support.drawings.canvas import Drawing
from mini_gpt.support.drawings.picture import Box, Picture, Units

# What each chapter lights, by its stem.
PARTS = {
    "characters": ("tokens",),
    "bpe": ("tokens",),
    "tokenizer": ("tokens",),
    "data": ("batches",),
    "loss": ("loss",),
    "config": ("model",),
    "embedding": ("embedding",),
    "position": ("position",),
    "attention": ("attention",),
    "multi_head": ("attention",),
    "decoder": ("attention", "feed-forward", "block"),
    "model": ("model", "embedding", "position", "block", "norm", "head"),
    "diagnostics": ("model",),
    "gpt2": ("model", "embedding", "position", "block", "norm", "head"),
    "optimizer": ("update",),
    "trainer": ("batches", "loss", "update"),
    "run": ("batches", "loss", "update"),
    "sampling": ("choice",),
    "generation": ("choice", "again"),
    "speculative": ("choice", "again"),
    "evaluation": ("loss",),
    "inspection": ("model",),
    "finetuning": ("batches", "loss", "update"),
    "reinforcement": ("loss", "update", "choice"),
    "speedrun": ("model", "batches", "loss", "update"),
    "popular_account": ("model", "position", "attention", "feed-forward", "block"),
}
NAMES = {
    "tokens": "text to tokens",
    "batches": "batches of windows",
    "loss": "the loss",
    "model": "the model as a whole",
    "embedding": "the embedding table",
    "position": "the positions",
    "attention": "attention",
    "feed-forward": "the feed-forward layer",
    "block": "the decoder block",
    "norm": "the last normalization",
    "head": "the output head",
    "update": "the optimizer's update",
    "choice": "the choice of the next token",
    "again": "the loop that writes on",
}


def machine_map(stem: str) -> Picture:
    """The way of a text through the machine, with what a chapter builds lit.

    Args:
        stem: The chapter's stem, as in "attention".
    """
    if stem not in PARTS:
        raise ValueError(f"no part of the map is lit for {stem!r}; add it to PARTS")
    lit = PARTS[stem]
    named = [NAMES[part] for part in lit]
    names = " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)
    sheet = Drawing(
        "Map of the machine: text becomes tokens and batches; the model has an "
        "embedding table, positions, a stack of blocks with attention and "
        "feed-forward, a normalization and an output head; its scores go to the loss, "
        "which the optimizer lowers, or to the choice of the next token, which is "
        f"written behind the text. This chapter builds what is lit: {names}."
    )

    def part(
        name: str, x: Units, y: Units, width: Units, height: Units, text: str
    ) -> Box:
        bright = name in lit
        color = "orange" if bright else "plain"
        return sheet.box(x, y, width, height, text, color=color, size=13, bold=bright)

    # left: from text to batches; middle: the model; right: what becomes of its scores
    text = sheet.box(0, 16, 78, 30, "text", color="gray", size=13)
    tokens = part("tokens", 0, 76, 78, 36, "tokens")
    batches = part("batches", 0, 208, 78, 36, "batches")
    whole = "orange" if "model" in lit else "gray"
    sheet.box(106, 0, 208, 300, color=whole, dashed=True)
    sheet.text((210, 288), "the model", size=12, bold="model" in lit)
    head = part("head", 120, 12, 180, 28, "output head")
    norm = part("norm", 120, 54, 180, 28, "normalization")
    ground = "orange" if "block" in lit else "plain"
    sheet.box(114, 96, 192, 118, color=ground)
    sheet.text((122, 107), "block, L times", size=11, anchor="start", color="gray")
    forward = part("feed-forward", 136, 120, 148, 32, "feed-forward")
    attention = part("attention", 136, 168, 148, 32, "attention")
    embedding = part("embedding", 118, 236, 90, 38, "embedding")
    position = part("position", 220, 236, 82, 38, "positions")
    loss = part("loss", 350, 76, 86, 36, "loss")
    update = part("update", 350, 142, 86, 36, "optimizer")
    choice = part("choice", 350, 8, 86, 38, "next token")

    sheet.arrow([text.bottom, tokens.top])
    sheet.arrow([tokens.bottom, batches.top])
    sheet.arrow([batches.right, (92, 226), (92, 255), embedding.left])
    sheet.text((214, 255), "+", size=14)
    sheet.line([position.top, (261, 226), (210, 226)])
    sheet.arrow([embedding.top, (163, 226), (210, 226), attention.bottom])
    sheet.arrow([attention.top, forward.bottom])
    sheet.arrow([forward.top, norm.bottom])
    sheet.arrow([norm.top, head.bottom])
    sheet.arrow([head.right, (332, 26), choice.left])
    sheet.arrow([(330, 26), (330, 94), loss.left])
    sheet.arrow([loss.bottom, update.top])
    sheet.arrow([update.bottom, (393, 230), (314, 230)])
    sheet.text((326, 243), "better weights", size=11, color="gray", anchor="start")
    again = "orange" if "again" in lit else "gray"
    wide = 2.5 if "again" in lit else 1.5
    sheet.arrow([choice.top, (393, -16), (39, -16), text.top], color=again, width=wide)
    sheet.text((216, -27), "written behind the text", size=11, color=again)
    return sheet.finish()
