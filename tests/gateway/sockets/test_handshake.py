"""What a handshake says, without any socket."""

import pytest

from chukei.errors import CallerError
from chukei.gateway.sockets import handshake
from chukei.model import Headers


@pytest.mark.parametrize(
    ("offered", "accepted"),
    [
        ("", None),
        ("realtime", "realtime"),
        ("openai-insecure-api-key.k, realtime", "realtime"),
        ("openai-insecure-api-key.k, openai-beta.realtime-v1", None),
        ("mine, openai-insecure-api-key.k", "mine"),
        ("mine, realtime", "realtime"),
    ],
)
def test_the_subprotocol_that_is_accepted_is_no_credential(offered: str, accepted: str | None) -> None:
    headers: Headers = [(b"sec-websocket-protocol", offered.encode())] if offered else []
    assert handshake.read(headers, None).subprotocol == accepted


def test_what_subprotocols_and_the_query_stand_for() -> None:
    headers: Headers = [(b"sec-websocket-protocol", b"realtime, openai-insecure-api-key.one, openai-beta.realtime-v1")]
    read = handshake.read(headers, "two")
    assert read.headers[1:] == [(b"api-key", b"two"), (b"api-key", b"one"), (b"openai-beta", b"realtime=v1")]


def test_too_many_subprotocols_are_refused() -> None:
    with pytest.raises(CallerError):
        handshake.read([(b"sec-websocket-protocol", b",".join([b"x"] * 17))], None)
