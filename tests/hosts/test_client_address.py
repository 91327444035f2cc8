"""The address of a client that a host reports; failures are counted by it."""

from typing import Any

from tests.rows import rows

from chukei.hosts.asgi import AsgiRequest
from chukei.model import Headers

PEER = "10.0.0.4"


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def source(headers: Headers, *, client: object = (PEER, 5000), behind_platform: bool) -> str:
    scope = {
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": headers,
        "client": client,
    }
    return AsgiRequest(scope, nothing, behind_platform=behind_platform).source


@rows("name", [b"x-forwarded-for", b"client-ip", b"x-real-ip", b"forwarded", b"x-azure-clientip"])
def test_the_server_believes_nobody_but_the_socket(name: bytes) -> None:
    assert source([(name, b"192.0.2.1")], behind_platform=False) == PEER


@rows("client", [None, ("", 0)])
def test_a_socket_without_addresses(client: object) -> None:
    assert source([], client=client, behind_platform=False) == ""


@rows(
    ("headers", "expected"),
    [
        ([], PEER),
        ([(b"client-ip", b"192.0.2.1:4711")], "192.0.2.1"),
        ([(b"client-ip", b"192.0.2.1")], "192.0.2.1"),
        ([(b"client-ip", b"[2001:db8::1]:4711")], "2001:db8::1"),
        ([(b"client-ip", b"2001:db8::1")], "2001:db8::1"),
        ([(b"client-ip", b"192.0.2.1:4711"), (b"x-forwarded-for", b"198.51.100.1")], "192.0.2.1"),
        ([(b"x-forwarded-for", b"198.51.100.1, 192.0.2.1:4711")], "192.0.2.1"),
        ([(b"x-forwarded-for", b"127.0.0.1")], "127.0.0.1"),
        ([(b"x-forwarded-for", b"198.51.100.1, ")], PEER),
        ([(b"x-azure-clientip", b"198.51.100.1"), (b"x-real-ip", b"198.51.100.1")], PEER),
        ([(b"client-ip", b"\xff")], "\xff"),
    ],
)
def test_on_functions_what_the_platforms_front_wrote(headers: Headers, expected: str) -> None:
    assert source(headers, behind_platform=True) == expected
