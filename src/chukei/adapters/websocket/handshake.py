"""The handshakes of both sides (RFC 6455 §4). No extension is negotiated, so frames are never compressed."""

import logging
from collections.abc import Sequence

from websockets.client import ClientProtocol
from websockets.datastructures import Headers as LibraryHeaders
from websockets.exceptions import InvalidHandshake, InvalidHeader
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from chukei.errors import CallerError, UpstreamError
from chukei.model import End, Headers
from chukei.ports import Answer, SocketLimits
from chukei.stream.redaction import Redactor
from chukei.upstream.connect import read_refusal
from chukei.upstream.refusals import OPERATORS, failure

VERSION = b"13"
"""The version of the protocol (RFC 6455 §4.1)."""

_quiet = logging.getLogger(__name__)  # for the library, which otherwise logs each connection
_quiet.setLevel(logging.ERROR)
_NOWHERE = WebSocketURI(False, "", 80, "/", "")  # the request is written by the HTTP client


def accept(
    target: str, headers: Headers, subprotocol: str | None, limits: SocketLimits
) -> tuple[ServerProtocol, Headers]:
    """Check a client's handshake; return the protocol of the open socket and the fields of the answer 101.

    Raises:
        CallerError: 426 if the version is another one, 400 if the handshake is malformed.
    """
    chosen = Subprotocol(subprotocol) if subprotocol is not None else None
    protocol = ServerProtocol(
        select_subprotocol=lambda _, offered: chosen, state=State.OPEN, max_size=_sizes(limits), logger=_quiet
    )
    response = protocol.accept(Request(target, _from(headers)))
    fault = protocol.handshake_exc
    if isinstance(fault, InvalidHeader) and fault.name == "Sec-WebSocket-Version" and fault.value is not None:
        fields = [(b"sec-websocket-version", VERSION), (b"upgrade", b"websocket")]
        message = f"The relay speaks version {VERSION.decode()} of the WebSocket protocol."
        raise CallerError(426, "websocket_version_not_supported", message, headers=fields)
    if fault is not None:
        raise CallerError(400, "invalid_websocket_handshake", f"The WebSocket handshake is malformed: {fault}.")
    names = ("Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol")
    return protocol, [
        (name.lower().encode(), response.headers[name].encode()) for name in names if name in response.headers
    ]


def propose(subprotocols: Sequence[str], limits: SocketLimits) -> tuple[ClientProtocol, Headers]:
    """Return the protocol of a socket to an upstream, and the fields of its handshake."""
    offered = [Subprotocol(name) for name in subprotocols]
    protocol = ClientProtocol(
        _NOWHERE, subprotocols=offered or None, state=State.OPEN, max_size=_sizes(limits), logger=_quiet
    )
    fields = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-key", protocol.key.encode()),
        (b"sec-websocket-version", VERSION),
    ]
    if offered:
        fields.append((b"sec-websocket-protocol", ", ".join(offered).encode()))
    return protocol, fields


def check(protocol: ClientProtocol, headers: Headers) -> None:
    """Check the upstream's answer 101 to a handshake.

    Raises:
        UpstreamError: it does not answer this handshake, or has extensions or a subprotocol that were not offered.
    """
    try:
        protocol.process_response(Response(101, "", _from(headers)))
    except InvalidHandshake:
        message = "The upstream's answer broke the rules of WebSocket."
        raise UpstreamError(End.UNEXPECTED_ANSWER.value, message, end=End.UNEXPECTED_ANSWER) from None


async def refused(answer: Answer, sent: Headers) -> UpstreamError:
    """Return the error for an upstream's answer to a handshake that is not 101. ``sent`` has the relay's credential."""
    if answer.status < 300:
        message = f"The upstream answered a WebSocket handshake with status {answer.status}. {OPERATORS}"
        return failure("unexpected_status", message)
    return await read_refusal(answer, Redactor(sent))


def overdue(seconds: float) -> UpstreamError:
    """Return the error for an upstream that does not answer a handshake."""
    return failure("upstream_timeout", f"The upstream did not answer a WebSocket handshake within {seconds:g} s.")


def _sizes(limits: SocketLimits) -> tuple[int, int]:
    return limits.message_bytes, limits.frame_bytes


def _from(headers: Headers) -> LibraryHeaders:
    return LibraryHeaders([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
