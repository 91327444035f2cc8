"""A relay's events over HTTP: cut anywhere, refused in words, and the difference between refused and away."""

import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest
from tests.rows import rows

from chukei.admin.live_example import LIVE
from chukei.top.source import Away, Refused, Source, read

EVENT = msgspec.json.encode(LIVE)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class Server:
    """Answers each connection with the same pieces, one write each, and keeps what was asked."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.asked = b""
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/prefix/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while b"\r\n\r\n" not in self.asked:
                self.asked += connection.recv(65536)
            for piece in self._pieces:
                connection.sendall(piece)

    def close(self) -> None:
        self._thread.join(60)
        self._listener.close()


def heard(*pieces: bytes) -> tuple[list[bytes], str, bytes]:
    """Return the events of an answer, why it ended, and what was asked."""
    server = Server(*pieces)
    events: list[bytes] = []
    try:
        events.extend(collected(Source(server.url, "the-key"), events))
    except Away as error:
        return events, str(error), server.asked
    finally:
        server.close()
    raise AssertionError("a stream always ends with an error")


def collected(source: Source, into: list[bytes]) -> Iterator[bytes]:
    for event in source.events():
        into.append(event)
    yield from ()


def test_events_are_read_wherever_they_are_cut() -> None:
    body = b"event: live\ndata: " + EVENT + b"\n\n: comment\r\nevent: live\r\ndata: {}\r\n\r\n"
    for size in (1, 7, 1000, len(body)):
        events, why, asked = heard(HEAD, *[body[at : at + size] for at in range(0, len(body), size)])
        assert events == [EVENT, b"{}"]
        assert "has ended the stream" in why
    assert asked.startswith(b"GET /prefix/admin/live/events HTTP/1.1\r\n")
    assert b"authorization: Bearer the-key\r\n" in asked.lower().replace(b"bearer", b"Bearer")


@rows(
    ("status", "error", "words"),
    [
        (401, Refused, "set CHUKEI_ADMIN__API_KEY"),
        (404, Refused, "has no live view"),
        (400, Refused, "status 400"),
        (301, Refused, "status 301"),
        (429, Away, "status 429"),
        (502, Away, "status 502"),
        (503, Away, "status 503"),
    ],
)
def test_a_refusal_is_explained(status: int, error: type[Exception], words: str) -> None:
    server = Server(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
    with pytest.raises(error, match=words):
        list(Source(server.url, "k").events())
    server.close()


def test_what_is_no_relay_is_away() -> None:
    server = Server(b"SSH-2.0-OpenSSH_9.2\r\n")
    with pytest.raises(Away, match="does not speak HTTP"):
        list(Source(server.url, "k").events())
    server.close()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Away, match="cannot be reached"):
        list(Source(f"127.0.0.1:{port}", "k").events())


@rows("url", ["ftp://relay", "http://", "http://[::1", "http://relay:port", "http://re\x1blay/"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Refused, match="is not an http"):
        Source(url, "k")


def test_a_key_that_no_header_can_carry() -> None:
    with pytest.raises(Refused, match="has a character"):
        Source("http://relay", "鍵")


def test_an_address_is_shown_without_a_password() -> None:
    assert Source("http://user:secret@relay:7221/x/", "k").url == "http://relay:7221/x"


def test_a_view_of_another_version_is_refused() -> None:
    assert read(EVENT) == LIVE
    for event in (b"{}", b"nonsense", EVENT.replace(b'"workers":2', b'"workers":"two"')):
        with pytest.raises(Refused, match="another version"):
            read(event)
