"""Fifty replicas, ten deployments, a thousand requests a second: what becomes of 429s and outages, with and without
shared state. ``python -m benchmarks.replicas`` prints the tables of docs/replicas.md and draws its plots.
"""

import argparse
from pathlib import Path

from benchmarks.fleet import COOL_SECONDS, REPLICAS, WARM_SECONDS, Case, Figures, Simulation
from benchmarks.plot import lines
from benchmarks.report import table

DOCS = Path(__file__).parents[1] / "docs"

LOADS = (0.7, 0.95, 1.2)


def cases(*, quick: bool = False) -> dict[str, list[Case]]:
    """Return what is simulated, by the section of the page."""
    short, long = (15.0, 22.0) if quick else (42.0, 62.0)
    of = [(load, f"{load * 100:.0f} %") for load in LOADS]
    return {
        "alike": [Case(f"ten alike, {name}", load, short) for load, name in of],
        "tiers": [Case(f"two first, {name}", load, short, first=0.4) for load, name in of],
        "window": [Case(f"two first, 10 s, {name}", load, long, first=0.4, window=10.0) for load, name in of],
        "leaky": [Case(f"two first, leaky, {name}", load, short, first=0.4, leaky=True) for load, name in of],
        "sizes": [Case(f"alike, some large, {name}", load, short, large=0.02) for load, name in of[:2]],
    }


def outage(*, quick: bool = False) -> Case:
    """Return the case in which one of ten deployments fails for half a minute."""
    return Case("one fails", 0.7, 45.0 if quick else 110.0, outage=(15.0, 20.0 if quick else 45.0))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"


def row(case: Case, *, shared: bool, figures: Figures) -> list[str]:
    """Return a case's line of the table."""
    seconds = case.seconds - WARM_SECONDS - COOL_SECONDS
    ended = sum(figures.met.values())
    several = sum(number for met, number in figures.met.items() if met)
    late = sorted(figures.waits)[int(0.99 * len(figures.waits))]
    return [
        case.name,
        "yes" if shared else "no",
        f"{figures.refused / seconds:,.1f}",
        _share(several, ended),
        str(max(figures.met)),
        f"{1000 * late:.0f}",
        _share(figures.wrongly, ended),
        _share(figures.rightly, ended),
        f"{figures.answered / seconds:,.0f}",
    ]


HEAD = [
    "case",
    "shared",
    "429s a second",
    "requests that met one",
    "most met by one",
    "delay p99 ms",
    "refused though free",
    "refused, all full",
    "answered a second",
]
OUTAGE_HEAD = ["shared", "requests wasted", "errors to clients", "first knew", "all knew", "half back", "all back"]


def outage_row(case: Case, *, shared: bool, figures: Figures) -> list[str]:
    """Return the outage's line of its table; times in seconds from its beginning, and from its end."""
    assert case.outage is not None
    start, end = case.outage
    knew = sorted(moment - start for moment in figures.knew.values())
    back = sorted(moment - end for moment in figures.back.values())
    everybody = len(back) == REPLICAS
    return [
        "yes" if shared else "no",
        str(figures.wasted),
        str(figures.errors),
        f"{knew[0]:.2f}",
        f"{knew[-1]:.2f}" if len(knew) == REPLICAS else f"{len(knew)} of {REPLICAS}",
        f"{back[len(back) // 2]:.1f}" if back else "–",
        f"{back[-1]:.1f}" if everybody else f"{len(back)} of {REPLICAS}",
    ]


def _run(case: Case, *, shared: bool, seed: int, replicas: int = REPLICAS) -> Figures:
    return Simulation(case, shared=shared, seed=seed, replicas=replicas).run()


def _name(what: str, *, shared: bool) -> str:
    return f"{what}, {'shared' if shared else 'each for itself'}"


def plot_loads(path: Path, seed: int, seconds: float) -> None:
    """Draw 429s over load."""
    series: dict[str, list[tuple[float, float]]] = {}
    for what, first in (("two deployments first", 0.4), ("ten alike", 0.0)):
        for shared in (False, True):
            points = series.setdefault(_name(what, shared=shared), [])
            for percent in range(60, 131, 10):
                case = Case(what, percent / 100, seconds, first=first)
                points.append((percent, _per_second(case, _run(case, shared=shared, seed=seed))))
    lines(path, "What Azure refuses", "demand, % of capacity", "429s a second", series)


def plot_counts(path: Path, seed: int, seconds: float) -> None:
    """Draw 429s over the number of replicas."""
    series: dict[str, list[tuple[float, float]]] = {}
    case = Case("two deployments first, 95 %", 0.95, seconds, first=0.4)
    for shared in (False, True):
        points = series.setdefault(_name(case.name, shared=shared), [])
        for number in (1, 2, 5, 10, 20, 50, 100):
            points.append((number, _per_second(case, _run(case, shared=shared, seed=seed, replicas=number))))
    lines(path, "What Azure refuses as replicas grow in number", "replicas", "429s a second", series, log_x=True)


def plot_outage(path: Path, case: Case, both: dict[bool, Figures]) -> None:
    """Draw what an outage wastes, second by second."""
    assert case.outage is not None
    start = int(case.outage[0])
    series = {
        "shared" if shared else "each for itself": [
            (float(second - start), float(figures.wasted_per_second[second])) for second in range(start, start + 41)
        ]
        for shared, figures in both.items()
    }
    lines(path, "Sent to a deployment that fails for 30 s", "seconds since its beginning", "requests a second", series)


def _per_second(case: Case, figures: Figures) -> float:
    return figures.refused / (case.seconds - WARM_SECONDS - COOL_SECONDS)


def main() -> None:
    """Simulate, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description="Simulate many replicas.")
    parser.add_argument("--quick", action="store_true", help="little virtual time and no plots, for a look")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plots", type=Path, default=DOCS, metavar="DIR", help="where plots go (default: docs)")
    arguments = parser.parse_args()
    seed = arguments.seed
    for found in cases(quick=arguments.quick).values():
        rows = [
            row(case, shared=shared, figures=_run(case, shared=shared, seed=seed))
            for case in found
            for shared in (False, True)
        ]
        print(table(HEAD, rows), end="\n\n", flush=True)
    case = outage(quick=arguments.quick)
    both = {shared: _run(case, shared=shared, seed=seed) for shared in (False, True)}
    rows = [outage_row(case, shared=shared, figures=found) for shared, found in both.items()]
    print(table(OUTAGE_HEAD, rows), flush=True)
    if not arguments.quick:
        plot_loads(arguments.plots / "replicas-load.svg", seed, 26.0)
        plot_counts(arguments.plots / "replicas-count.svg", seed, 26.0)
        plot_outage(arguments.plots / "replicas-outage.svg", case, both)


if __name__ == "__main__":
    main()
