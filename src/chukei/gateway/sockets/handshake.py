"""The credential and the subprotocol of a WebSocket's handshake. Pure.

A page in a browser cannot send header fields with a handshake. OpenAI's clients send the key as a subprotocol there,
and Azure's as ``api-key`` in the query. Neither is logged or passed on.
"""

from typing import NamedTuple

from chukei.errors import CallerError
from chukei.model import Headers

_KEY = b"openai-insecure-api-key."
_BETA = b"openai-beta."
_OTHERS = (b"openai-organization.", b"openai-project.")
_PREFERRED = b"realtime"
MOST = 16
"""Subprotocols in one handshake; OpenAI's clients send four at most."""


class Handshake(NamedTuple):
    """What a handshake says. ``headers`` are the request's with the credential and ``openai-beta`` as fields.

    ``subprotocol`` is the one to accept: a browser fails the handshake if it offered some and none is accepted.
    """

    headers: Headers
    subprotocol: str | None


def read(headers: Headers, key: str | None) -> Handshake:
    """Read a handshake. ``key`` is the credential in the query.

    Raises:
        CallerError: 400 for too many subprotocols.
    """
    offered = [
        part.strip()
        for name, value in headers
        if name == b"sec-websocket-protocol"
        for part in value.split(b",")
        if part.strip()
    ]
    if len(offered) > MOST:
        raise CallerError(400, "invalid_websocket_handshake", f"The handshake offers more than {MOST} subprotocols.")
    made = list(headers)
    if key is not None:
        made.append((b"api-key", key.encode("latin-1", "replace")))
    plain = []
    for each in offered:
        if each.startswith(_KEY):
            made.append((b"api-key", each.removeprefix(_KEY)))
        elif each.startswith(_BETA):
            made.append((b"openai-beta", _beta(each)))
        elif not each.startswith(_OTHERS):
            plain.append(each)
    accepted = _PREFERRED if _PREFERRED in plain else next(iter(plain), None)
    return Handshake(made, accepted.decode("latin-1") if accepted is not None else None)


def _beta(protocol: bytes) -> bytes:
    """Return the value of ``OpenAI-Beta`` that stands for a subprotocol: ``realtime=v1`` for ``…realtime-v1``."""
    name, _, version = protocol.removeprefix(_BETA).rpartition(b"-")
    return name + b"=" + version if name else version
