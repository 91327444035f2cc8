"""What is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """Clients that each keep one connection and send ``requests`` requests on it, one after the other.

    With ``seconds`` they stop after that time, with the answer that they are getting. ``events`` is the number of
    content events of each answer, 0 for a short answer that is no stream; ``gap`` is the time between two events in
    microseconds, 0 for as fast as they come; ``ramp`` the time in milliseconds between the starts of two clients;
    ``still`` asks for the memory while all streams are open. The prompt is padded to ``prompt_bytes`` at least.
    Requests take the keys of ``callers`` callers in turn, which the relay must have been made for. ``tls`` means an
    upstream with TLS: again the relay must have been made for it. ``share`` is what a relay gets that cannot carry the
    whole.
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
    seconds: float = 0.0
    share: "Workload | None" = None

    @property
    def streams(self) -> bool:
        """Whether answers are streams."""
        return self.events > 0


_UNTIL_TIME_IS_UP = 1_000_000
_EVERY_20_MS = 20_000


def workloads(*, quick: bool, files: int = 65536) -> dict[str, Workload]:
    """Return all workloads by name; quick ones are for a look, their figures are coarse.

    ``files`` is how many a process may have open: a relay needs two for each stream.
    """
    paced, busy = (2, 1.0) if quick else (8, 3.0)
    slow, gap = (500, 1_000_000) if quick else (5000, 2_500_000)
    slow = min(slow, files // 2 - 100)

    def pace(name: str, title: str, streams: int, *, tls: bool = False, share: Workload | None = None) -> Workload:
        events = 50 * paced if streams > 20 else 25 * paced
        return Workload(name, title, streams, 1, events, _EVERY_20_MS, 370 / streams, tls=tls, share=share)

    def short(name: str, title: str, *, tls: bool = False) -> Workload:
        return Workload(name, title, 32, _UNTIL_TIME_IS_UP, tls=tls, seconds=busy)

    def still(title: str, streams: int, share: Workload | None = None) -> Workload:
        return Workload("D", title, streams, 1, 6, gap, 1.5, still=True, share=share)

    found = (
        pace("A", "paced: 100 streams × 50 events/s", 100, share=pace("A", "10 streams × 50 events/s", 10)),
        short("B", "short: 32 clients, answers that are no streams"),
        Workload(
            "C", "flood: 20 clients, answers of 400 events as fast as they come", 20, _UNTIL_TIME_IS_UP, 400,
            seconds=busy, share=Workload("C", "4 clients", 4, _UNTIL_TIME_IS_UP, 400, seconds=busy),
        ),
        still(f"open: {slow:,} slow streams at once", slow, still("100 streams", 100)),
        pace("A-TLS", "paced, from an upstream with TLS", 100, tls=True),
        short("B-TLS", "short, from an upstream with TLS", tls=True),
    )  # fmt: skip
    return {workload.name: workload for workload in found}
