"""Credentials of requests, ephemeral keys of the realtime API, and its calls."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from chukei.simulator.exchanges import Head

EPHEMERAL = "ek_"  # what an ephemeral key begins with
MOST_KEPT = 4096  # keys and calls; the oldest are forgotten
_IN_SUBPROTOCOL = "openai-insecure-api-key."


@dataclass(slots=True)
class Ephemeral:
    """The ephemeral keys of a resource with their sessions, and its calls."""

    secrets: OrderedDict[str, tuple[int, dict[str, Any]]] = field(default_factory=OrderedDict)
    calls: OrderedDict[str, dict[str, Any]] = field(default_factory=OrderedDict)

    def session_of(self, key: str, now: int) -> dict[str, Any] | None:
        """Return the session for which a key was made; None if it is unknown or has expired."""
        expires_at, session = self.secrets.get(key, (0, {}))
        return session if now < expires_at else None

    def issue(self, key: str, expires_at: int, session: dict[str, Any]) -> None:
        """Keep a key."""
        self.secrets[key] = (expires_at, session)
        if len(self.secrets) > MOST_KEPT:
            self.secrets.popitem(last=False)

    def begin(self, call: str, session: dict[str, Any]) -> None:
        """Keep a call."""
        self.calls[call] = session
        if len(self.calls) > MOST_KEPT:
            self.calls.popitem(last=False)


def key_of(head: Head) -> str:
    """Return the key or token of a request; "" if there is none.

    A browser cannot set headers for a WebSocket: its credential is in the query or among the subprotocols.
    """
    headers = head.headers
    places = [headers.get("api-key"), headers.get("x-api-key"), _bearer(headers.get("authorization", ""))]
    if head.wants_socket:
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
        places += [head.query.get("api-key"), _bearer(head.query.get("Authorization", ""))]
        places += [name.removeprefix(_IN_SUBPROTOCOL) for name in offered if name.startswith(_IN_SUBPROTOCOL)]
    return next((key for key in places if key), "")


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
