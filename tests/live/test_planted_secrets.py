"""What must never be emitted is planted in every place from which it could come, and looked for in all that is emitted.

The relay is a process, its log at its finest level, the audit off. ``WHAT_IS_EMITTED`` lists the pages that are
searched as well; a page that a relay does not have answers 404, which is searched too.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pytest
from tests.live.fault_scripts import LAST_CHUNK, Close, Reset, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.raw_client import Cut, RawClient
from tests.live.recordings import DONE, FINISH, delta
from tests.live.relays import STEADY, clean_environment

pytestmark = pytest.mark.anyio

PROMPT = "planted-prompt-7c1f"
COMPLETION = "planted-completion-93ab"
CALLERS_KEY = "planted-callers-key-51de"
WRONG_KEY = "chk_plantedWrong_0123456789abcdefghijklmnopqrstuvwxyz"
UPSTREAM_KEY = "planted-upstream-key-2e77"
ADMIN_KEY = "planted-admin-key-88f04d"
QUERY = "planted-query-c0de"

WHAT_IS_EMITTED = (
    "/metrics",
    "/health/ready",
    "/health/deployments",
    "/admin/deployments",
    "/admin/ledger",
    "/admin/log-level",
    "/admin/usage?by=caller,model",
    "/admin/keys",
)
"""Pages for operators. Administrators' key and callers' key are sent along."""

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
        assert self._listening.wait(30), self.emitted
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
        self._process.terminate()
        self._process.wait(30)
        for reader in self._readers:
            reader.join(30)


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
    return UPSTREAMS[json.loads(visit.body)["model"]](visit)


KEY = ("authorization", f"Bearer {CALLERS_KEY}")


def chat(model: str, *, streams: bool) -> bytes:
    content = {"model": model, "stream": streams, "messages": [{"role": "user", "content": PROMPT}]}
    return json.dumps(content | {"user": PROMPT}).encode()


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
        await send(relay, "/v1/chat/completions", chat(name, streams=True), KEY)
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
    await send(relay, "/v1/chat/completions", chat("stream", streams=True), ("authorization", f"Bearer {made['key']}"))
    for page in WHAT_IS_EMITTED:
        key = admin if page.startswith("/admin") else KEY
        relay.emitted[page] = [(await send(relay, page, b"", key, method="GET")).decode()]
    return str(made["key"]).rpartition("_")[2]


@pytest.mark.parametrize("form", ["json", "text"])
async def test_nothing_planted_is_emitted(form: str, tmp_path: Path) -> None:
    async with FaultUpstream(answer) as upstream:
        environment = STEADY | {
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
    emitted = {name: "".join(lines) for name, lines in relay.emitted.items()}
    assert asked >= 2 * len(UPSTREAMS)
    assert emitted["stderr"].count("a hook failed for request") > len(UPSTREAMS)
    assert emitted["stdout"] == ""
    assert "team-a" in emitted["/admin/keys"]
    assert "chukei_requests_total" in emitted["/metrics"]
    for secret in (PROMPT, COMPLETION, CALLERS_KEY, WRONG_KEY, UPSTREAM_KEY, ADMIN_KEY, QUERY, made):
        assert {name for name, text in emitted.items() if secret in text} == set(), secret
    if form == "json":
        assert [json.loads(line)["level"] for line in emitted["stderr"].splitlines()]
