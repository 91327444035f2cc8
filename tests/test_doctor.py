"""The doctor against the simulator, and against relays with and without something that buffers in front."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme
from tests.live.relays import InProcessRelay, settings_for
from tests.rows import rows

from chukei.config import load
from chukei.doctor import Finding, examine, status_table, unreached, watch
from chukei.simulator import Simulator, SimulatorSettings

pytestmark = pytest.mark.anyio

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def findings(**deployments: str) -> dict[str, Finding]:
    """Examine deployments of one simulated resource; values are deployment names on it."""
    async with Simulator(SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)) as simulator:
        environment = {"KEY": "a-key-of-the-upstream"}
        for name, deployment in deployments.items():
            environment[f"CHUKEI_DEPLOYMENTS__{name.upper()}__ENDPOINT"] = simulator.url
            environment[f"CHUKEI_DEPLOYMENTS__{name.upper()}__DEPLOYMENT"] = deployment
            environment[f"CHUKEI_DEPLOYMENTS__{name.upper()}__API_KEY"] = '{ env = "KEY" }'
        found = await examine(load(None, environment))
    return {finding.deployment: finding for finding in found}


async def test_each_deployment_is_asked_and_each_trouble_named() -> None:
    found = await findings(good="gpt-4o", busy="fault-429", denied="fault-401", gone="fault-404")
    assert found["good"].problem is None
    assert found["good"].first_token is not None
    assert found["good"].region == "East US 2"
    assert re.fullmatch(
        r"good -> good \(http://127\.0\.0\.1:\d+\): ok, first output after \d+ ms, .+", str(found["good"])
    )
    assert "upstream_429" in str(found["busy"])
    assert "upstream_unauthorized" in str(found["denied"])
    assert "DeploymentNotFound" in str(found["gone"])
    assert "a-key-of-the-upstream" not in "".join(map(str, found.values()))


async def test_an_unreachable_endpoint_is_named() -> None:
    found = await examine(settings_for("http://127.0.0.1:1"))
    assert [finding.problem for finding in found] == ["connect_error: The upstream could not be reached."]


async def test_a_deployment_that_does_not_chat_is_asked_for_an_embedding() -> None:
    refusals = (
        b'{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work"}}',
        400,
    )
    async with resource({"/chat/completions": refusals, "/embeddings": (b'{"data":[]}', 200)}) as url:
        found = await examine(settings_for(url))
    assert found[0].problem is None


async def test_a_stream_that_nothing_buffers() -> None:
    async with InProcessRelay(settings_for("http://127.0.0.1:1")) as relay:
        pace = await asyncio.to_thread(watch, relay.url, None)
    assert not pace.buffered
    assert "Nothing on the way buffers" in str(pace)


async def test_a_buffer_on_the_way_is_seen() -> None:
    async with InProcessRelay(settings_for("http://127.0.0.1:1")) as relay, collector(relay.url) as url:
        pace = await asyncio.to_thread(watch, url, None)
    assert pace.buffered
    assert "Something on the way collects" in str(pace)


NO_ADDRESSES = [
    "ftp://x",
    "http://",
    "/relative",
    "http://a b",
    "http://[::1",
    "http://a:99999",
    "http://a..b",
    "http://a/b c",
]


@rows("url", NO_ADDRESSES)
async def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="is not an http"):
        watch(url, None)


@rows("key", ["sk-secret\n", "sk-secret\r\nx: y", "sk-secret…"])
async def test_a_key_that_no_header_can_hold_is_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="CHUKEI_API_KEY has a line end") as caught:
        watch("http://127.0.0.1:1", key)
    assert "sk-secret" not in str(caught.value)


UNREACHED: list[tuple[OSError, str]] = [
    (ConnectionRefusedError(111, "Connection refused"), "nothing listens on port 7221 of relay.example; start the"),
    (socket.gaierror(-2, "Name or service not known"), "there is no host 'relay.example'; correct its name"),
    (TimeoutError("timed out"), "relay.example does not answer on port 7221; look at firewalls"),
    (ConnectionResetError(104, "Connection reset by peer"), "relay.example closed the connection on port 7221"),
    (OSError(113, "No route to host"), "relay.example cannot be reached on port 7221: No route to host"),
    (OSError("no words"), "relay.example cannot be reached on port 7221: no words"),
]


@rows(("error", "said"), UNREACHED, ids=[type(error).__name__ for error, _ in UNREACHED])
def test_why_a_relay_cannot_be_reached_is_told_in_words(error: OSError, said: str) -> None:
    assert unreached("relay.example", 7221, error).startswith(said)


async def test_what_answers_in_another_way() -> None:
    """A port where nothing listens, a server without TLS, one that hangs up, one whose certificate nobody knows, and
    one that speaks something else."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def another(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async def said(url: str) -> str:
        with pytest.raises(ValueError, match=r".") as caught:
            await asyncio.to_thread(status_table, url, None)
        return str(caught.value)

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "nothing listens on port" in await said(f"http://127.0.0.1:{bound.getsockname()[1]}")
    async with serving(plain) as url:
        assert "does not speak TLS on port" in await said(url.replace("http://", "https://"))
    async with serving(silent) as url:
        assert "closed the connection on port" in await said(url)
    async with serving(another) as url:
        assert "does not speak HTTP as a relay does" in await said(url)
    unknown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(unknown)
    async with serving(silent, unknown) as url:
        assert "is not trusted: " in await said(url.replace("http://", "https://"))


async def test_a_relay_that_wants_a_key() -> None:
    settings = settings_for("http://127.0.0.1:1", {"CHUKEI_API_KEY": "the-access-key"})
    async with InProcessRelay(settings) as relay:
        with pytest.raises(ValueError, match="status 401; set CHUKEI_API_KEY"):
            await asyncio.to_thread(watch, relay.url, None)


# What stands in for resources and proxies.


@asynccontextmanager
async def resource(answers: dict[str, tuple[bytes, int]]) -> AsyncIterator[str]:
    """Serve fixed answers by the end of the path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            path = head.split(b" ")[1].decode().partition("?")[0]
            body, status = next(value for end, value in answers.items() if path.endswith(end))
            kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            writer.write(b"HTTP/1.1 %d X\r\n" % status + kind + body)

    async with serving(answer) as url:
        yield url


@asynccontextmanager
async def collector(upstream: str) -> AsyncIterator[str]:
    """A proxy that passes an answer on only when it has all of it."""
    host, port = upstream.removeprefix("http://").split(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        up_writer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        writer.write(await up_reader.read())
        up_writer.close()
        await writer.drain()
        writer.close()

    async with serving(answer) as url:
        yield url


@asynccontextmanager
async def serving(answer: Answerer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve connections on a port of their own."""

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
