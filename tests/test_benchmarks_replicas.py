"""The simulation of many replicas runs, is the same under a seed, and sharing makes nothing worse where it is usual."""

from benchmarks.fleet import HEARD_SECONDS, Case, Figures, Simulation
from benchmarks.replicas import OUTAGE_HEAD, cases, outage, outage_row

REPLICAS = 20


def run(case: Case, *, shared: bool) -> Figures:
    return Simulation(case, shared=shared, replicas=REPLICAS).run()


def test_the_same_seed_gives_the_same_figures_and_sharing_saves_refusals_and_costs_no_answers() -> None:
    usual = cases(quick=True)["tiers"][1]
    alone, together = run(usual, shared=False), run(usual, shared=True)
    assert run(usual, shared=True) == together
    assert alone.requests > 2000
    assert together.refused < alone.refused
    assert together.answered == together.requests == alone.requests == alone.answered
    assert (together.wrongly, together.rightly) == (0, 0)


def test_beyond_capacity_as_much_is_answered_with_sharing_as_without() -> None:
    case = cases(quick=True)["alike"][2]
    alone, together = run(case, shared=False), run(case, shared=True)
    assert alone.rightly > 0
    assert together.refused < alone.refused
    assert together.answered > 0.97 * alone.answered


def test_an_outage_reaches_everybody_at_once() -> None:
    alone, together = run(outage(quick=True), shared=False), run(outage(quick=True), shared=True)
    assert (alone.errors, together.errors) == (0, 0)
    assert together.wasted < alone.wasted
    assert len(together.knew) == len(together.back) == REPLICAS
    assert max(together.knew.values()) - min(together.knew.values()) <= 1.001 * HEARD_SECONDS
    for shared, figures in ((False, alone), (True, together)):
        cells = outage_row(outage(quick=True), shared=shared, figures=figures)
        assert len(cells) == len(OUTAGE_HEAD)
        assert cells[:3] == ["yes" if shared else "no", str(figures.wasted), "0"]
