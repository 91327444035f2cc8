"""Lines in a small SVG, drawn by matplotlib, which only whoever draws needs: ``pip install --group bench``.

The same figures give the same file, byte for byte: no date and nothing of the machine is in it.
"""

from pathlib import Path

INK = "#757d87"
"""A grey that can be read on white and on the dark of code hosts; the background is left transparent."""

COLOURS = ("#2f81c7", "#d9730d", "#2f9e6e", "#c2489a", "#8a6fd1", "#a8861a")
"""Each can be told from the others, by most of the colour-blind too, and seen on white and on black."""

MARKERS = "os^Dv*"

_STYLE = {
    "svg.fonttype": "none",  # text as text: it can be searched, and read aloud
    "svg.hashsalt": "chukei",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],  # matplotlib brings the first, so it can measure it
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.25,
}


def lines(
    path: Path,
    title: str,
    x_label: str,
    y_label: str,
    series: dict[str, list[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """Draw each of ``series``, points (x, y) by its name, into an SVG at ``path``.

    Axes begin at 0 unless they are logarithmic.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for number, (name, points) in enumerate(series.items()):
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                label=name,
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)] if len(points) <= 40 else None,
                markersize=4.5,
                linewidth=1.8,
            )
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        for is_log, axis, set_scale, set_low in (
            (log_x, axes.xaxis, axes.set_xscale, axes.set_xlim),
            (log_y, axes.yaxis, axes.set_yscale, axes.set_ylim),
        ):
            if is_log:
                set_scale("log")
            else:
                set_low(0)
            axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        if not log_y:  # room above lines that are flat, where matplotlib leaves a share of their range
            axes.set_ylim(0, max(axes.get_ylim()[1], 1.05 * max(y for points in series.values() for _, y in points)))
        axes.grid(visible=True)
        if len(series) > 1:
            axes.legend(frameon=False)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
