"""What is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """Clients that each keep one connection and send ``requests`` requests on it, one after the other.

    ``events`` is the number of content events of each answer, 0 for a short answer that is no stream; ``gap`` is the
    time between two events in microseconds, 0 for as fast as they come; ``ramp`` the time in milliseconds between the
    starts of two clients; ``still`` asks for the memory while all streams are open. The prompt is padded to
    ``prompt_bytes`` at least. Requests take the keys of ``callers`` callers in turn, which the relay must have been
    made for. ``tls`` means an upstream with TLS: again the relay must have been made for it. ``share`` is what a relay
    gets that cannot carry the whole.
    """

    name: str
    title: str
    clients: int
    requests: int
    events: int = 0
    gap: int = 0
    ramp: float = 0.0
    still: bool = False
    prompt_bytes: int = 0
    callers: int = 1
    tls: bool = False
    share: "Workload | None" = None

    @property
    def streams(self) -> bool:
        """Whether answers are streams."""
        return self.events > 0


def workloads(*, quick: bool) -> dict[str, Workload]:
    """Return all workloads by name; quick ones are for a look, their figures are coarse."""
    seconds = 2 if quick else 10
    slow = 200 if quick else 2000
    found = (
        Workload("A", "paced: 100 streams × 50 events/s", 100, 1, events=50 * seconds, gap=20_000, ramp=3.7),
        Workload("B", "short: 32 clients, answers that are no streams", 32, 100 if quick else 500),
        Workload("C", "flood: 20 clients × 400 events", 20, 10 if quick else 40, events=400),
        Workload("D", f"open: {slow:,} slow streams", slow, 1, events=4, gap=2_500_000, ramp=1.0, still=True),
    )
    return {workload.name: workload for workload in found}
