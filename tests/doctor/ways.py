"""The way to addresses for tests, and servers whose answers are fixed."""

import ssl
import time
from collections.abc import Mapping

import trustme
from tests.adapters.servers import Handler, Peer

from chukei.doctor.network import Way


def way(authority: trustme.CA | None = None, proxies: Mapping[str, str] | None = None) -> Way:
    """Return a way that trusts an authority."""

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context()
        if authority is not None:
            authority.configure_trust(made)
        return made

    return Way(context, "THE_SETTING", time.monotonic, time.time, seconds=60.0, proxies=proxies or {})


def by_path(answers: Mapping[str, bytes]) -> Handler:
    """Answer each path with its bytes, and any other with a 404; one request for each connection."""

    async def handle(peer: Peer) -> None:
        await peer.send(answer_of(await peer.head(), answers))

    return handle


def answer_of(head: bytes, answers: Mapping[str, bytes]) -> bytes:
    """Return the answer to a request, by its path."""
    path = head.split(b" ")[1].decode().partition("?")[0]
    return answers.get(path, answer(404, b"{}"))


def answer(status: int, body: bytes, *fields: bytes, kind: bytes = b"application/json") -> bytes:
    """Return a whole answer."""
    head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\ncontent-type: %b\r\n" % (status, len(body), kind)
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body
