"""The way to an address: names, connections, proxies; tests/live/test_doctor.py has certificates."""

import ssl

import pytest
import trustme
from tests.adapters.servers import LocalServer, Peer, Proxy, answers
from tests.doctor.ways import way
from tests.live.loopback import refusing_port
from tests.rows import rows

from chukei.doctor.finding import Finding, Kind, Status, Subject
from chukei.doctor.network import reach, refusal

pytestmark = pytest.mark.anyio

SUBJECT = Subject(Kind.ENDPOINT, "the endpoint")
NOWHERE = answers(b"")


def checks(findings: list[Finding]) -> dict[str, Status]:
    return {finding.check: finding.status for finding in findings}


@rows(
    ("error", "seen", "advice"),
    [
        (ConnectionRefusedError(111, "x"), "nothing listens on port 443 of relay.example", "chukei serve"),
        (TimeoutError("x"), "relay.example does not answer on port 443", "firewalls"),
        (ConnectionResetError(104, "x"), "relay.example closed the connection on port 443", "firewall"),
        (OSError(113, "No route to host"), "cannot be reached on port 443: No route to host", "routes"),
        (OSError("no words"), "cannot be reached on port 443: no words", "routes"),
    ],
)
def test_errors_of_connections(error: OSError, seen: str, advice: str) -> None:
    text, remedy = refusal(error, "relay.example", 443)
    assert seen in text
    assert advice in remedy


async def test_a_name_that_does_not_exist() -> None:
    findings, reached = await reach(SUBJECT, f"https://{'x' * 64}.invalid", way())
    assert (checks(findings), reached) == ({"dns": Status.FAILED}, None)
    assert "correct the name" in findings[0].remedy


async def test_the_stages_of_a_way() -> None:
    async with LocalServer(NOWHERE) as server:
        findings, reached = await reach(SUBJECT, f"http://127.0.0.1:{server.port}", way())
        assert checks(findings) == {"dns": Status.OK, "connect": Status.OK}
        assert reached is not None
        assert reached.seconds.keys() == {"dns", "connect"}
        assert reached.absolute == ""
        reached.close()


async def test_a_proxy_is_used_and_named_without_its_password() -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("contoso.example").configure_cert(context)
    async with LocalServer(NOWHERE, context) as server, Proxy(server.port) as proxy:
        proxies = {"https": f"http://user:planted-secret@127.0.0.1:{proxy.port}"}
        findings, reached = await reach(SUBJECT, "https://contoso.example", way(authority, proxies))
        assert list(checks(findings).values()) == [Status.OK] * 4, findings
        assert list(checks(findings)) == ["proxy", "dns", "connect", "tls"]
        assert reached is not None
        reached.close()
    assert proxy.heads[0].startswith(b"CONNECT contoso.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " in proxy.heads[0]
    assert "planted" not in str(findings)


async def test_a_proxy_that_refuses() -> None:
    async def forbids(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    async with LocalServer(forbids) as proxy:
        proxies = {"https": f"http://127.0.0.1:{proxy.port}"}
        findings, reached = await reach(SUBJECT, "https://contoso.example", way(proxies=proxies))
    assert (findings[-1].check, findings[-1].status, reached) == ("tls", Status.FAILED, None)
    assert "refuses a tunnel to contoso.example:443: status 407" in findings[-1].seen
    assert "http://USER:PASSWORD@HOST:PORT" in findings[-1].remedy


async def test_a_proxy_that_is_away() -> None:
    proxies = {"https": f"http://127.0.0.1:{refusing_port()}"}
    findings, _ = await reach(SUBJECT, "https://contoso.example", way(proxies=proxies))
    assert checks(findings) == {"proxy": Status.OK, "dns": Status.OK, "connect": Status.FAILED}
    assert "HTTPS_PROXY" in findings[-1].remedy


async def test_a_server_without_tls() -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 X\r\n\r\n")

    async with LocalServer(plain) as server:
        findings, _ = await reach(SUBJECT, f"https://127.0.0.1:{server.port}", way())
    assert (findings[-1].check, findings[-1].status) == ("tls", Status.FAILED)
