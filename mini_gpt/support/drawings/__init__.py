"""Drawings of how things flow, as SVG: the map of the machine, and each chapter's own.

`sheet` is what all are drawn on, and `canvas` what they are drawn with; `machine` is
the map that opens each chapter. The other modules have a chapter's stem and hold that
chapter's drawings; where they are many, it is a package, its modules cut by subject.
"""
