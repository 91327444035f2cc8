"""The cost of each relay compared with nginx, as bars in an SVG. matplotlib draws them, in the style of plot.py."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Result
from benchmarks.plot import _STYLE, COLOURS, INK
from benchmarks.report import YARDSTICKS, ratios, rounds

_DRAWN = "chukei", "Envoy", "LiteLLM"
_WORKLOADS = {"A": "paced", "A-TLS": "paced, TLS", "B": "short", "B-TLS": "short, TLS", "C": "flood"}


def heights(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return CPU time as a multiple of nginx's, by relay and workload."""
    found: dict[str, dict[str, float]] = {}
    for workload in _WORKLOADS:
        by_relay = rounds(results, workload)
        yardstick = by_relay.pop(YARDSTICKS[0], None)
        for relay, runs in by_relay.items():
            if yardstick and relay in _DRAWN:
                found.setdefault(relay, {})[workload] = statistics.median(ratios(runs, yardstick))
    return found


def draw(path: Path, results: Sequence[Result]) -> None:
    """Draw the bars on a logarithmic scale: a colour per relay, a group per workload. Draw nothing without nginx.

    Raises:
        ImportError: matplotlib is not installed.
    """
    found = heights(results)
    if not found:
        return
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    groups = [workload for workload in _WORKLOADS if any(workload in one for one in found.values())]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_yscale("log")
        for number, (relay, costs) in enumerate(found.items()):
            width = 0.8 / len(found)
            places = [groups.index(workload) - 0.4 + (number + 0.5) * width for workload in costs]
            bars = axes.bar(
                places, list(costs.values()), width * 0.92, label=relay, color=COLOURS[number % len(COLOURS)]
            )
            axes.bar_label(bars, fmt=lambda y: f"{y:,.{1 if y < 20 else 0}f}", fontsize=8, padding=1, color=INK)
        axes.axhline(1.0, color=INK, linewidth=1.0, linestyle="--")
        axes.set_title("CPU time for an event or a request, beside nginx's", fontsize=11, loc="left")
        axes.set_ylabel("× nginx")
        axes.set_xticks(range(len(groups)), [_WORKLOADS[group] for group in groups])
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, axis="y")
        axes.set_axisbelow(True)
        figure.legend(frameon=False, ncols=len(found), loc="outside lower center")
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
