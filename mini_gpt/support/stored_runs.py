"""What longer training runs found, stored for the chapter that shows them.

Each ran once, on one core of a shared machine, so its seconds are an upper bound. The
chapter on the trainer gives the recipe; the text is 50,000 characters of the training
part from its character 1,000,000 on, and 8,192 characters of the validation part.
"""

from __future__ import annotations

from typing import TypedDict


class Losses(TypedDict):
    """Losses at every 100th step, in nats per character."""

    training: list[float]
    validation: list[float]


FIFTY_KB: dict[str, Losses] = {
    "as it was": {
        "training": [
            2.741,
            2.256,
            1.938,
            1.755,
            1.572,
            1.423,
            1.242,
            1.08,
            0.906,
            0.788,
        ],
        "validation": [
            2.596,
            2.367,
            2.327,
            2.281,
            2.323,
            2.392,
            2.537,
            2.714,
            2.906,
            3.008,
        ],
    },
    "dropout 0.2": {
        "training": [
            2.803,
            2.496,
            2.372,
            2.268,
            2.163,
            2.096,
            2.009,
            1.969,
            1.916,
            1.892,
        ],
        "validation": [
            2.643,
            2.576,
            2.472,
            2.371,
            2.325,
            2.314,
            2.271,
            2.234,
            2.23,
            2.234,
        ],
    },
    "weight decay 1.0": {
        "training": [
            2.788,
            2.538,
            2.449,
            2.308,
            2.169,
            2.09,
            1.987,
            1.906,
            1.786,
            1.657,
        ],
        "validation": [
            2.648,
            2.617,
            2.54,
            2.434,
            2.378,
            2.325,
            2.262,
            2.225,
            2.163,
            2.126,
        ],
    },
}
MINUTES = {"as it was": 3.4, "dropout 0.2": 4.1, "weight decay 1.0": 2.5}

# Where the plain run repeated its text longest, of 98 starts: the place of the 16
# characters that it was given, in the 50,000, and how many it went on with.
RECITED = (34_500, 18)
