"""Drawings of how things flow, as SVG: the map of the machine, and each chapter's own.

`canvas` is the sheet that all are drawn on; `machine` the map that opens each chapter;
the other modules have a chapter's stem and hold that chapter's drawings.
"""
