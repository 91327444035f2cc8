"""What sessions need of the gateway that serves them."""

from collections.abc import Callable, Coroutine
from typing import Protocol

from chukei.config import Settings
from chukei.gateway.exchange import Exchange, Turn
from chukei.gateway.services import Services
from chukei.model import Headers
from chukei.ports import Incoming, Reply
from chukei.record import RequestRecord


class Gate(Protocol):
    """A gateway, as the sessions see it."""

    @property
    def settings(self) -> Settings:
        """Its configuration."""
        ...

    @property
    def services(self) -> Services:
        """What it works with."""
        ...

    @property
    def draining(self) -> bool:
        """Whether new requests for models are refused."""
        ...

    @property
    def newest(self) -> "Gate":
        """The gateway with the newest configuration."""
        ...

    async def handle(self, incoming: Incoming, reply: Reply, turn: Turn | None = None) -> None:
        """Serve one turn of a session."""
        ...

    async def attend(self, record: RequestRecord, serve: Callable[[Exchange], Coroutine[None, None, None]]) -> None:
        """Do what is no client's request, but costs something and ends like one."""
        ...

    def account_turn(self, record: RequestRecord, asked: bytes = b"", answered: bytes = b"") -> None:
        """Pass a record on to the hooks, and what was asked and answered to the audit: JSON, or nothing."""
        ...

    def cors(self, incoming: Incoming) -> Headers:
        """Return the fields by which pages of allowed sites may read an answer."""
        ...
