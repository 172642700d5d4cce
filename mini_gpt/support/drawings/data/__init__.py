"""Drawings of the chapter on data."""

from mini_gpt.support.drawings.data.documents import packed_rows, who_sees_whom
from mini_gpt.support.drawings.data.files import shards, token_file, way_of_the_data
from mini_gpt.support.drawings.data.order import (
    across_epochs,
    epochs,
    loader_flow,
    ranks,
    stop_and_resume,
)
from mini_gpt.support.drawings.data.split import met_in_training, shares, two_cuts
from mini_gpt.support.drawings.data.windows import (
    added,
    covered,
    one_window,
    overlap,
    row_to_batch,
    shifted,
    side_by_side,
)

__all__ = [
    "across_epochs",
    "added",
    "covered",
    "epochs",
    "loader_flow",
    "met_in_training",
    "one_window",
    "overlap",
    "packed_rows",
    "ranks",
    "row_to_batch",
    "shards",
    "shares",
    "shifted",
    "side_by_side",
    "stop_and_resume",
    "token_file",
    "two_cuts",
    "way_of_the_data",
    "who_sees_whom",
]
