"""What must never be emitted is planted in every place from which it could come, and looked for in all that is emitted.

The relay is a process, its log at its finest level, the audit off. ``WHAT_IS_EMITTED`` lists the pages that are
searched as well; a page that a relay does not have answers 404, which is searched too.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Close, Reset, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.loopback import refusing_port
from tests.live.processes import end
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import CHAT, DONE, FINISH, delta
from tests.live.relays import STEADY, clean_environment

pytestmark = pytest.mark.anyio

PROMPT = "planted-prompt-7c1f"
COMPLETION = "planted-completion-93ab"
CALLERS_KEY = "planted-callers-key-51de"
WRONG_KEY = "chk_plantedWrong_0123456789abcdefghijklmnopqrstuvwxyz"
UPSTREAM_KEY = "planted-upstream-key-2e77"
ADMIN_KEY = "planted-admin-key-88f04d"
QUERY = "planted-query-c0de"
FIELD = "planted-field-4d1a"
TOOL = "planted-tool-argument-b7f0"
PROXY = "planted-proxy-password-19c3"
STORE = "planted-store-password-e6a2"
COLLECTOR = "planted-collector-password-0b5d"

WHAT_IS_EMITTED = (
    "/metrics",
    "/health/ready",
    "/health/deployments",
    "/admin/deployments",
    "/admin/ledger",
    "/admin/log-level",
    "/admin/usage?by=caller,model",
    "/admin/keys",
    "/admin/configuration",
    "/v1/models",
    "/v1/usage",
)
"""Pages for operators and callers. Administrators' key and callers' key are sent along."""

COMMANDS = {
    "check": ("check",),
    "doctor": ("doctor",),
    "doctor as JSON": ("doctor", "--json"),
    "top": ("top", "--once", "URL"),
    "top as JSON": ("top", "--once", "--json", "URL"),
    "usage": ("usage",),
}
"""Commands that an operator runs beside the relay, with its environment."""

PROGRAM = """
import logging
from chukei.cli import main
from chukei.hosts import server
from chukei.hosts.asgi import Application, checked_settings
from chukei.adapters.logs.process_log import start_log

def fails(record):
    raise RuntimeError(f"a hook that shows all it has: {record!r}")

def application():
    made = Application(checked_settings(None), hooks=[fails])
    start_log(made.settings.log)
    return made

server.worker_application = application
main(["serve", "--port", "0"])
"""


class PlantedRelay:
    """A relay whose hook fails at each request. ``emitted`` has what was written, by where it was written."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = clean_environment(environment)
        self.emitted: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self.url = ""
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=self._environment, stdout=pipe, stderr=pipe, text=True
        )
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()
        assert self._listening.wait(60), self.emitted
        return self

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.emitted[name].append(line)
                if found := re.search(r"listening on (http:[^\s\"]+)", line):
                    self.url = found[1]
                    self._listening.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        for reader in self._readers:
            reader.join(60)


def echo(visit: Visit) -> str:
    """Return what a careless upstream repeats: the prompt, the key, and some of its own answer."""
    return f"{PROMPT} {visit.headers.get('api-key', '')} {COMPLETION}"


def error(visit: Visit, status: str) -> Script:
    body = json.dumps({"error": {"message": echo(visit), "code": "invalid", "param": PROMPT}}).encode()
    return [Send(head("application/json", status=status, length=len(body)) + body)]


def whole(visit: Visit, content_type: str = "application/json", status: str = "200 OK") -> Script:
    body = json.dumps({"choices": [{"index": 0, "message": {"content": echo(visit)}}]}).encode()
    return [Send(head(content_type, status=status, length=len(body)) + body)]


def redirect(visit: Visit) -> Script:
    place = f"location: http://127.0.0.1/{QUERY}?key={UPSTREAM_KEY}"
    return [Send(head("text/plain", place, status="302 Found", length=0))]


def stream(visit: Visit) -> Script:
    return [Send(head() + chunk(delta(echo(visit)) + FINISH + DONE) + LAST_CHUNK)]


def broken(visit: Visit) -> Script:
    return [Send(head() + chunk(delta(COMPLETION)) + b"zz" + echo(visit).encode()), Close()]


def error_event(visit: Visit) -> Script:
    event = json.dumps({"error": {"message": echo(visit), "code": "oops"}}).encode()
    return [Send(head() + chunk(delta("x")) + chunk(b"data: " + event + b"\n\n")), Reset()]


def first_error_event(visit: Visit) -> Script:
    event = json.dumps({"error": {"message": echo(visit), "code": "oops"}}).encode()
    return [Send(head() + chunk(b"data: " + event + b"\n\n") + LAST_CHUNK)]


UPSTREAMS: dict[str, Callable[[Visit], Script]] = {
    "stream": stream,
    "whole": whole,
    "bad-request": lambda visit: error(visit, "400 Bad Request"),
    "unauthorized": lambda visit: error(visit, "401 Unauthorized"),
    "not-found": lambda visit: error(visit, "404 Not Found"),
    "busy": lambda visit: error(visit, "429 Too Many Requests"),
    "failing": lambda visit: error(visit, "500 Internal Server Error"),
    "html": lambda visit: whole(visit, "text/html"),
    "html-error": lambda visit: whole(visit, "text/html", "502 Bad Gateway"),
    "redirect": redirect,
    "broken": broken,
    "no-http": lambda visit: [Send(f"{echo(visit)}\r\n\r\n".encode()), Close()],
    "error-event": error_event,
    "first-error-event": first_error_event,
    "reset": lambda visit: [Reset()],
}
"""Ways in which an upstream answers; the model of a request names one."""


def answer(visit: Visit) -> Script:
    if PROMPT.encode() not in visit.body:  # of another caller
        return [Reset()]
    return UPSTREAMS[json.loads(visit.body)["model"]](visit)


KEY = ("authorization", f"Bearer {CALLERS_KEY}")
FIELDS = tuple((name, FIELD) for name in ("user-agent", "cookie", "referer", "x-forwarded-for", "baggage", "x-own"))


def chat(model: str, *, streams: bool) -> bytes:
    content: dict[str, Any] = {"model": model, "stream": streams, "messages": [{"role": "user", "content": PROMPT}]}
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"q": TOOL})}}
    content["messages"] += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": TOOL}]
    return json.dumps(content | {"user": PROMPT, "metadata": {"note": TOOL}}).encode()


REFUSED: list[tuple[str, bytes, tuple[tuple[str, str], ...]]] = [
    ("/v1/chat/completions", chat("whole", streams=False)[:-2], (KEY,)),
    ("/v1/chat/completions", json.dumps([PROMPT]).encode(), (KEY,)),
    ("/v1/chat/completions", json.dumps({"messages": PROMPT, "model": "whole"}).encode(), (KEY,)),
    ("/v1/chat/completions", json.dumps({"messages": [PROMPT], "model": "whole", "stream": PROMPT}).encode(), (KEY,)),
    ("/v1/chat/completions", PROMPT.encode() + b"\xff\x00", (KEY,)),
    ("/v1/chat/completions", PROMPT.encode(), (KEY, ("content-encoding", "gzip"))),
    ("/v1/chat/completions", PROMPT.encode() * 1000, (KEY,)),
    ("/v1/audio/transcriptions", f"--x\r\n\r\n{PROMPT}".encode(), (KEY,)),
    ("/v1/chat/completions", chat("whole", streams=False), (("authorization", f"Bearer {WRONG_KEY}"),)),
    ("/v1/chat/completions", chat("whole", streams=False), (("api-key", WRONG_KEY),)),
    ("/v1/chat/completions", chat("whole", streams=False), (KEY, ("api-key", WRONG_KEY))),
    ("/v1/chat/completions", chat("whole", streams=False), (("authorization", f"Basic {WRONG_KEY}"),)),
    ("/v1/chat/completions", chat("whole", streams=False), (("authorization", f"Bearer e30.{WRONG_KEY}.x"),)),
    (f"/v1/chat/completions?code={QUERY}&api-key={WRONG_KEY}", chat("whole", streams=False), ()),
    (f"/openai/deployments/whole/chat/completions?api-version={QUERY}", chat("whole", streams=False), (KEY,)),
    ("/admin/keys", json.dumps({"caller": "x", "note": PROMPT, "more": 1}).encode(), (KEY,)),
    (f"/admin/keys?key={QUERY}", PROMPT.encode(), (("authorization", f"Bearer {ADMIN_KEY}"),)),
]


async def send(relay: PlantedRelay, path: str, body: bytes, *fields: tuple[str, str], method: str = "POST") -> bytes:
    async with RawClient(relay.url) as client:
        try:
            await client.request(method, path, body, *fields)
            return await client.rest()
        except (Cut, ConnectionError):
            return client.body


async def mixed_load(relay: PlantedRelay) -> str:
    """Send everything; return the secret part of a key that an administrator made."""
    for name in UPSTREAMS:
        await send(relay, "/v1/chat/completions", chat(name, streams=True), KEY, *FIELDS)
        await send(relay, "/v1/chat/completions", chat(name, streams=False), KEY)
    assert COMPLETION.encode() in await send(relay, "/v1/chat/completions", chat("whole", streams=False), KEY)
    for path, body, fields in REFUSED:
        assert b'"error"' in await send(relay, path, body, *fields)
    async with RawClient(relay.url) as client:
        lines = f"host: x\r\nauthorization: {WRONG_KEY}\r\nbad header {PROMPT}\r\n\r\n"
        await client.send(f"GET / HTTP/1.1\r\n{lines}".encode())
        await client.closed()
    admin = ("authorization", f"Bearer {ADMIN_KEY}")
    made = json.loads(await send(relay, "/admin/keys", b'{"caller": "team-a"}', admin))
    other = ("authorization", f"Bearer {made['key']}")
    while b'"data"' not in await send(relay, "/v1/models", b"", other, method="GET"):
        await asyncio.sleep(0.5)  # a new key is known within some seconds
    await send(relay, CHAT, chat("stream", streams=True), other)
    relay.emitted[ANOTHER] = []
    for name in NAMES_ASKED_AGAIN:  # what upstreams have said to one caller is told to no other
        plain = json.dumps({"model": name, "messages": []}).encode()
        relay.emitted[ANOTHER].append((await send(relay, CHAT, plain, other)).decode())
    async with RawClient(relay.url) as client:
        await client.request("GET", "/admin/live/events", b"", admin)
        relay.emitted["/admin/live/events"] = [(await client.until(b"\n\n")).decode()]
    for page in WHAT_IS_EMITTED:
        key = admin if page.startswith("/admin") else KEY
        relay.emitted[page] = [(await send(relay, page, b"", key, method="GET")).decode()]
    return str(made["key"]).rpartition("_")[2]


PLANTED = (
    *(PROMPT, COMPLETION, CALLERS_KEY, WRONG_KEY, UPSTREAM_KEY, ADMIN_KEY, QUERY),
    *(FIELD, TOOL, PROXY, STORE, COLLECTOR),
)
NAMES_ASKED_AGAIN = ("bad-request", "failing", "first-error-event")
ANOTHER = "answers to another caller"
EXPORTED = ("/v1/chat/completions", "chukei.requests")


def output_of(arguments: list[str], environment: dict[str, str]) -> str:
    """Run a command with the relay's environment, and return all that it prints."""
    command = [sys.executable, "-m", "chukei", *arguments]
    done = subprocess.run(
        command, env=clean_environment(environment), capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("form", ["json", "text"])
async def test_nothing_planted_is_emitted(form: str, tmp_path: Path) -> None:
    taken = [Send(head("application/x-protobuf", length=0))]
    async with FaultUpstream(answer) as upstream, FaultUpstream(taken) as collector:
        environment = STEADY | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.replace("//", f"//user:{COLLECTOR}@"),
            "CHUKEI_AUTH__FAILURES_PER_MINUTE": "1000",
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={COLLECTOR}",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
            "HTTPS_PROXY": f"http://user:{PROXY}@127.0.0.1:{refusing_port()}",
            "CHUKEI_STORES__QUOTA": f"redis://user:{STORE}@127.0.0.1:{refusing_port()}",
            "AZURE_OPENAI_ENDPOINT": upstream.url,
            "AZURE_OPENAI_API_KEY": UPSTREAM_KEY,
            "CHUKEI_API_KEY": CALLERS_KEY,
            "CHUKEI_ADMIN__API_KEY": ADMIN_KEY,
            "CHUKEI_SERVER__MAX_BODY_BYTES": "10000",
            "CHUKEI_STORES__LEDGER": f"sqlite:///{tmp_path}/ledger.db",
            "CHUKEI_LOG__FORMAT": form,
            "CHUKEI_LOG__LEVEL": "debug",
            "CHUKEI_LOG__LEVELS": '{ root = "debug" }',
            "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        }
        with PlantedRelay(environment) as relay:
            made = await mixed_load(relay)
            asked = len(upstream.visits)
            for name, words in COMMANDS.items():
                arguments = [relay.url if word == "URL" else word for word in words]
                relay.emitted[name] = [await asyncio.to_thread(output_of, arguments, environment)]
        sent = b"".join(visit.body for visit in collector.visits)
    emitted = {name: "".join(lines) for name, lines in relay.emitted.items()}
    emitted["telemetry"] = sent.decode(errors="replace")
    assert asked >= 2 * len(UPSTREAMS)
    assert emitted["stderr"].count("a hook failed for request") > len(UPSTREAMS)
    assert emitted["stdout"] == ""
    assert "team-a" in emitted["/admin/keys"]
    assert "chukei_requests_total" in emitted["/metrics"]
    assert {"/v1/chat/completions", "chukei.requests"} <= {each for each in EXPORTED if each in emitted["telemetry"]}
    assert all(emitted[name].strip() for name in COMMANDS)
    assert emitted[ANOTHER].count('"error"') == len(NAMES_ASKED_AGAIN)
    assert "api_key" not in emitted[ANOTHER], "its key is known"
    for secret in (*PLANTED, made):
        assert {name for name, text in emitted.items() if secret in text} == set(), secret
    if form == "json":
        assert [json.loads(line)["level"] for line in emitted["stderr"].splitlines()]
