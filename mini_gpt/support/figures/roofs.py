"""How fast something is, below what a machine could do."""

from __future__ import annotations

from mini_gpt.support.figures.charts import MARKERS
from mini_gpt.support.figures.style import BLACK, PALETTE


def roofline(
    products: float, memory: float, points: dict[str, tuple[float, float]]
) -> None:
    """Plot ways of working below the two limits of a machine, on logarithmic axes.

    Args:
        products: Calculations a second at most.
        memory: Bytes a second at most, read and written.
        points: By name: calculations for each byte, and calculations a second.
    """
    import matplotlib.pyplot as plt

    # From a decade left of all points (and of the corner) to a decade right of them.
    places = [x for x, _ in points.values()] + [products / memory]
    ends = min(places) / 10, max(places) * 10
    x = [ends[0], products / memory, ends[1]]
    roof = [min(products, place * memory) / 1e9 for place in x]
    _, axes = plt.subplots(figsize=(5.8, 3.2), layout="constrained")
    axes.loglog(x, roof, color=BLACK)
    for number, (name, (place, speed)) in enumerate(points.items()):
        marker, color = MARKERS[number % len(MARKERS)], PALETTE[number % len(PALETTE)]
        axes.plot(place, speed / 1e9, marker, color=color, ms=8, label=name)
    axes.set(xlabel="calculations for each byte", ylabel="10⁹ calculations a second")
    axes.legend(fontsize=8)
    plt.show()
