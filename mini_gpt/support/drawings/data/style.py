"""Colors that tell rows and documents apart."""

from __future__ import annotations

COLORS = ("blue", "orange", "green", "purple")
