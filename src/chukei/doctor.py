"""Diagnosis: asks each deployment for a token, or a relay for the status of its deployments and its buffering test."""

import http.client
import socket
import ssl
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import msgspec

from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.credentials import credential_for
from chukei.azure import CHAT, OPERATIONS, version_for
from chukei.config import Settings
from chukei.errors import RelayError
from chukei.gateway.pages import TEST_SECONDS, TEST_TEXT
from chukei.model import Deployment, Model, Operation, header
from chukei.ports import Clock
from chukei.request.call import read
from chukei.request.routes import Route
from chukei.upstream.capabilities import documented
from chukei.upstream.connect import Opened, Waits, connect
from chukei.upstream.writing import write

_QUESTION = b'{"messages":[{"role":"user","content":"Answer with the word ready."}],"stream":true}'
_TEXT = b'{"input":"ready"}'
_TELLING = ("server", "via", "content-encoding", "x-cache", "cf-ray", "x-azure-ref")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one deployment. ``first_token`` is in seconds, or None if no answer came."""

    model: str
    deployment: str
    endpoint: str
    first_token: float | None = None
    region: str | None = None
    problem: str | None = None

    def __str__(self) -> str:
        place = f"{self.model} -> {self.deployment} ({self.endpoint})"
        if self.first_token is None:
            return f"{place}: FAILED: {self.problem}"
        where = f", {self.region}" if self.region else ""
        return f"{place}: ok, first output after {self.first_token * 1000:.0f} ms{where}"


async def examine(settings: Settings, clock: Clock = time.monotonic) -> list[Finding]:
    """Ask every deployment of every model for a first token, one after another. Each costs a few tokens.

    A deployment that refuses chats is asked for an embedding instead.
    """
    upstream = HttpClient(settings.upstream)
    places = [(model, deployment) for model in settings.models.values() for deployment in model.deployments]
    try:
        return [await _examine_one(settings, upstream, *place, clock) for place in places]
    finally:
        await upstream.close()


async def _examine_one(
    settings: Settings, upstream: HttpClient, model: Model, deployment: Deployment, clock: Clock
) -> Finding:
    place = (model.name, deployment.name, deployment.endpoint)
    credential = credential_for(settings.credentials[deployment.name])
    started = clock()
    try:
        header_field = await credential.header()
        try:
            opened = await _ask(settings, upstream, model, deployment, header_field, CHAT, _QUESTION)
        except RelayError as error:
            if error.status != 400:
                raise
            opened = await _ask(settings, upstream, model, deployment, header_field, OPERATIONS["embeddings"], _TEXT)
    except RelayError as error:
        said = error.message or error.body.decode(errors="replace")
        return Finding(*place, problem=f"{error.code}: {said}")
    finally:
        await credential.close()
    opened.answer.abort()
    region = header(opened.answer.headers, b"x-ms-region")
    return Finding(*place, clock() - started, region.decode("latin-1") if region is not None else None)


async def _ask(
    settings: Settings,
    upstream: HttpClient,
    model: Model,
    deployment: Deployment,
    credential: tuple[bytes, bytes],
    operation: Operation,
    question: bytes,
) -> Opened:
    call = read(Route(operation), operation, [(b"content-type", b"application/json")], question)
    known = documented(operation, version_for(deployment, call.api_version))
    seconds = settings.stream.first_token_seconds if call.stream else settings.upstream.answer_seconds
    return await connect(
        upstream,
        write(call, model, deployment, known, credential, "doctor"),
        operation,
        wants_stream=call.stream,
        waits=Waits(seconds, seconds, seconds),
        cap=settings.stream.max_event_bytes,
        sent=lambda: None,
        answered=lambda _: None,
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """The arrival of a relay's test stream: for each event the seconds since the request."""

    arrivals: list[float]
    headers: dict[str, str]

    @property
    def buffered(self) -> bool:
        """Whether events arrived in fewer, larger pieces than they were sent."""
        gaps = [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:], strict=False)]
        return not gaps or sum(gap < TEST_SECONDS / 4 for gap in gaps) > len(gaps) / 4

    def __str__(self) -> str:
        gaps = [later - earlier for earlier, later in zip(self.arrivals, self.arrivals[1:], strict=False)]
        median = statistics.median(gaps) * 1000 if gaps else 0.0
        first = self.arrivals[0] * 1000 if self.arrivals else 0.0
        lines = [
            f"{len(self.arrivals)} of {len(TEST_TEXT)} characters, sent {TEST_SECONDS * 1000:.0f} ms apart: "
            f"first after {first:.0f} ms, then one every {median:.0f} ms (median)"
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(
            "Something on the way collects the stream before passing it on: look at the proxies in front of the relay."
            if self.buffered
            else "Nothing on the way buffers: every character came by itself."
        )
        return "\n".join(lines)


class _State(msgspec.Struct):
    deployment: str
    status: str
    priority: int = 1
    seconds: float = 0.0
    why: str | None = None
    outstanding: int = 0
    answered: int = 0
    failed: int = 0
    first_token_p50: float | None = None
    first_token_p95: float | None = None


class _States(msgspec.Struct):
    models: dict[str, list[_State]]


def status_table(url: str, key: str | None) -> str:
    """Return a table of the status of the deployments of the relay at ``url``.

    Raises:
        ValueError: see ``watch``.
    """
    with _request(url, "/health/deployments", key) as answer:
        body = answer.read()
    try:
        models = msgspec.json.decode(body, type=_States).models
    except msgspec.DecodeError:
        raise ValueError(f"{url} does not tell of its deployments as a relay does") from None
    rows = [_COLUMNS, *(_row(model, state) for model, states in models.items() for state in states)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


_COLUMNS = ("model", "deployment", "priority", "state", "why", "outstanding", "answered", "failed", "first token")


def _row(model: str, state: _State) -> tuple[str, ...]:
    away = f"{state.status} {state.seconds:.0f} s" if state.seconds else state.status
    counts = (str(state.outstanding), str(state.answered), str(state.failed))
    pace = "-"
    if state.first_token_p50 is not None and state.first_token_p95 is not None:
        pace = f"{state.first_token_p50 * 1000:.0f} ms, 95 % in {state.first_token_p95 * 1000:.0f} ms"
    return (model, state.deployment, str(state.priority), away, state.why or "-", *counts, pace)


def watch(url: str, key: str | None, clock: Clock = time.monotonic) -> Pace:
    """Read the test stream of the relay at ``url`` and record when each character arrives.

    Raises:
        ValueError: the address is invalid, the relay cannot be reached, or it does not serve this caller.
    """
    started = clock()
    with _request(url, "/api/test-stream", key) as answer:
        lines = (line for line in _lines(answer) if line.startswith(b"data: ") and b"[DONE]" not in line)
        arrivals = [clock() - started for _ in lines]
        return Pace(arrivals, {name: value for name in _TELLING if (value := answer.getheader(name))})


@contextmanager
def _request(url: str, path: str, key: str | None) -> Iterator[http.client.HTTPResponse]:
    """Send a request to the relay at ``url``. An HTTP failure, also while the answer is read, becomes a ValueError."""
    connection, prefix = _connection(url)
    if key and not (key.isascii() and key.isprintable()):
        raise ValueError("CHUKEI_API_KEY has a line end or another character that no access key has")
    headers = {"accept": "*/*"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request("GET", prefix + path, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            advice = "; set CHUKEI_API_KEY to the relay's access key" if answer.status == 401 else ""
            raise ValueError(f"{url} answered with status {answer.status}{advice}")
        yield answer
    except OSError as error:  # first, because RemoteDisconnected is both an OSError and an HTTPException
        raise ValueError(unreached(connection.host, connection.port, error)) from None
    except http.client.HTTPException as error:
        raise ValueError(f"{url} does not speak HTTP as a relay does: {type(error).__name__}") from None
    finally:
        connection.close()


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """Return an unopened connection to an address, and the prefix of the relay's paths."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[parts.scheme]
        name = (parts.hostname or "").encode("idna").decode()
        if not name or not f"{name}{parts.path}".isprintable() or " " in f"{name}{parts.path}":
            raise ValueError
        return kind(name, parts.port, timeout=30), quote(parts.path.rstrip("/"), safe="/%")
    except (KeyError, ValueError):
        raise ValueError(f"{url!r} is not an http:// or https:// address") from None


def unreached(host: str, port: int, error: OSError) -> str:
    """Return why a relay could not be reached, and advice."""
    match error:
        case ConnectionRefusedError():
            return f"nothing listens on port {port} of {host}; start the relay with chukei serve, or correct the port"
        case socket.gaierror():
            return f"there is no host {host!r}; correct its name, or look at this machine's DNS"
        case TimeoutError():
            return f"{host} does not answer on port {port}; look at firewalls and proxies on the way"
        case ssl.SSLCertVerificationError():
            return f"the certificate of {host} is not trusted: {error.verify_message}; SSL_CERT_FILE names others"
        case ssl.SSLError():
            return f"{host} does not speak TLS on port {port}; write http:// where there is none"
        case ConnectionResetError() | BrokenPipeError():
            return f"{host} closed the connection on port {port}; look at what stands in front of the relay"
    return f"{host} cannot be reached on port {port}: {error.strerror or error}"


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield lines as they arrive. The response's own line reader would wait for more bytes."""
    rest = b""
    while data := answer.read1(65536):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
