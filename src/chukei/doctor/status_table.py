"""The status of a relay's deployments as a table."""

import msgspec


class State(msgspec.Struct):
    """The status of a deployment, as ``GET /health/deployments`` shows it. Times are in seconds."""

    deployment: str
    status: str
    priority: int = 1
    seconds: float = 0.0
    why: str | None = None
    outstanding: int = 0
    answered: int = 0
    failed: int = 0
    first_token_p50: float | None = None
    first_token_p95: float | None = None


class States(msgspec.Struct):
    """The status of all deployments, by model."""

    models: dict[str, list[State]]


_COLUMNS = ("model", "deployment", "priority", "state", "why", "outstanding", "answered", "failed", "first token")


def table(states: States) -> str:
    """Return a table with a line for each model and deployment."""
    rows = [_COLUMNS, *(_row(model, state) for model, some in states.models.items() for state in some)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(model: str, state: State) -> tuple[str, ...]:
    away = f"{state.status} {state.seconds:.0f} s" if state.seconds else state.status
    counts = (str(state.outstanding), str(state.answered), str(state.failed))
    pace = "-"
    if state.first_token_p50 is not None and state.first_token_p95 is not None:
        pace = f"{state.first_token_p50 * 1000:.0f} ms, 95 % in {state.first_token_p95 * 1000:.0f} ms"
    return (model, state.deployment, str(state.priority), away, state.why or "-", *counts, pace)
