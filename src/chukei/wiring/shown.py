"""What metrics and the live view read of a relay, also after a reload."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chukei.adapters.http.client import HttpClient
from chukei.config import Settings
from chukei.gateway.gateway import Gateway
from chukei.pool import Pool
from chukei.ports import Clock, Hook, Peers

if TYPE_CHECKING:
    from chukei.liveview.window import Window


class Serving(Protocol):
    """The parts of a relay that are shown."""

    @property
    def gateway(self) -> Gateway:
        """Its gateway."""
        ...

    @property
    def pool(self) -> Pool:
        """Its deployments."""
        ...

    @property
    def upstream(self) -> HttpClient:
        """Its connections to Azure."""
        ...


@dataclass(slots=True)
class Shown:
    """The relay that serves new requests.

    ``window`` is what the live view counts in, if there are administrators.
    """

    relay: Serving | None = None
    window: "Window | None" = None

    def dialled(self, endpoint: str, seconds: float) -> None:
        """Count the time that a new connection has taken."""
        if self.window is not None:
            self.window.dialled(endpoint, seconds)


def watched(settings: Settings, shown: Shown, peers: Peers, clock: Clock) -> list[Hook]:
    """Begin to count for the live view, if administrators can look and it does not count yet. Return what counts."""
    if settings.admin.api_key is None or shown.window is not None:
        return []
    from chukei.admin.feed import SUBJECT
    from chukei.liveview.window import Window
    from chukei.liveview.worker import LiveWorker

    window = shown.window = Window(clock)

    def now() -> Serving:
        if shown.relay is None:
            raise RuntimeError("the relay has not been wired yet")
        return shown.relay

    worker = LiveWorker(
        window,
        lambda: now().pool,
        clock,
        running=lambda: now().gateway.running(),
        connections=lambda: sum(int(count) for _, _, count in now().upstream.readings()),
        draining=lambda: now().gateway.draining,
    )
    peers.answer(SUBJECT, worker.answer)
    return [window]
