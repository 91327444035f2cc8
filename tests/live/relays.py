"""Relays for tests: one in the test's own loop, to inspect it, and one as a process, as users run it."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from click.testing import CliRunner
from tests.live.processes import end
from uvicorn import Config, Server

from chukei.adapters.http.client import HttpClient
from chukei.cli import main
from chukei.config import Settings, load
from chukei.hosts.asgi import Application
from chukei.record import RequestRecord
from chukei.wiring.build import Relay

# Variables of the machine that would configure a relay under test.
_OURS = re.compile(
    r"(CHUKEI_|AZURE_|OPENAI_|OTEL_|APPLICATIONINSIGHTS_|IDENTITY_|MSI_|(HTTPS?|NO|ALL)_PROXY$)", re.IGNORECASE
)


STEADY = {
    "CHUKEI_POOL__MAX_COOLDOWN_SECONDS": "0",
    "CHUKEI_POOL__BREAKER_FAILURES": "0",
    "CHUKEI_POOL__MISCONFIGURED_SECONDS": "0",
}
"""Leaves no deployment alone: for tests that make their only one fail again and again, and look at each failure."""


GRACE_SECONDS = 5.0
"""Seconds for which a relay in a test's own loop waits at its end for what runs."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without anything that configures a relay, and ``extra``.

    The ledger that a relay keeps by default is switched off: tests leave nothing in the user's folders. So is the drain
    period, which no balancer needs here.
    """
    own = {key: value for key, value in os.environ.items() if not _OURS.match(key)}
    return own | {"CHUKEI_STORES__LEDGER": "none", "CHUKEI_SERVER__DRAIN_SECONDS": "0"} | dict(extra or {})


def in_process(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command that starts nothing in this process, which saves it a second; return its status and its output."""
    foreign = dict.fromkeys(os.environ.keys() - clean_environment().keys())
    found = CliRunner(env=foreign | clean_environment(environment)).invoke(main, arguments)
    return found.exit_code, found.output


def settings_for(endpoint: str, extra: Mapping[str, str] | None = None, path: str | None = None) -> Settings:
    """Return the settings of a steady relay to one resource, as the environment would give them."""
    environment = STEADY | {
        "AZURE_OPENAI_ENDPOINT": endpoint,
        "AZURE_OPENAI_API_KEY": "upstream-secret-key",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
    }
    return load(path, environment | dict(extra or {}))


class _Server(Server):
    """uvicorn's server, but told of its end and of its connections' end at once, where uvicorn looks every 100 ms."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """End as after a signal."""
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        """Keep the ``date`` field until the end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._leaving.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close idle connections, wait for the others, end what takes too long, and stop the application."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        state = self.server_state
        for connection in tuple(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            await eventually(lambda: not state.connections and not state.tasks, GRACE_SECONDS)
        for task in tuple(state.tasks):
            task.cancel()
        await self.lifespan.shutdown()


class InProcessRelay:
    """A relay on a real socket, served by uvicorn in the running loop. ``records`` collects what hooks hear.

    ``source`` reads the settings again for a reload. The relay listens on a free port, or where ``place`` does.
    """

    def __init__(
        self,
        settings: Settings,
        source: Callable[[], Settings] | None = None,
        place: socket.socket | None = None,
    ) -> None:
        self._place = place
        stores = replace(settings.stores, ledger_by_default=False)
        self._settings = replace(settings, server=replace(settings.server, port=0), stores=stores)
        self.records: list[RequestRecord] = []
        self.application = Application(self._settings, hooks=[self._record], source=source)
        self.url = ""

    def _record(self, record: RequestRecord) -> None:
        self.records.append(record)

    @property
    def relay(self) -> Relay:
        """The running relay."""
        assert self.application.relay is not None
        return self.application.relay

    @property
    def upstream(self) -> HttpClient:
        """Its client to the upstream."""
        return self.relay.upstream

    async def __aenter__(self) -> Self:
        if self._place is None:
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
        else:
            listener = self._place.dup()
        config = Config(
            self.application,
            http="chukei.hosts.http.protocol:StrictProtocol",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self.server = _Server(config)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        await eventually(lambda: self.server.started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.leave()
        await self._serving

    async def record(self, count: int = 1) -> RequestRecord:
        """Wait until that many requests have ended and return the last of them."""
        await eventually(lambda: len(self.records) >= count)
        return self.records[count - 1]


class RelayProcess:
    """``python -m chukei serve`` in a process of its own. ``log`` holds the lines it wrote to standard error."""

    def __init__(self, environment: Mapping[str, str] | None = None, *arguments: str, stdin: int | None = None) -> None:
        self._environment = clean_environment(environment)
        self._stdin = stdin
        self._arguments = arguments
        self.log: list[str] = []
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "chukei", "serve", "--port", "0", *self._arguments]
        self.process = subprocess.Popen(
            command, env=self._environment, stdin=self._stdin, stderr=subprocess.PIPE, text=True
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(60) or not self.url:
            self.stop()
            raise RuntimeError("the relay did not start:\n" + "\n".join(self.log))
        return self

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            found = re.search(r"listening on (http:[^\s\"]+)", line)
            if found:
                self.url = found[1]
                self._listening.set()
        self._listening.set()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status; fail where it had to be killed."""
        try:
            return end(self.process, how)
        except AssertionError as error:
            error.add_note("\n".join(self.log))
            raise
        finally:
            self._reader.join(60)
            # What another process has inherited is read on: to close it would wait for the one that reads.
            if self.process.stderr is not None and not self._reader.is_alive():
                self.process.stderr.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds that no event tells of, looking often; fail when it does not come to hold."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def until_refused(url: str) -> None:
    """Wait until nothing listens any more."""
    address = urlsplit(url)
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(address.hostname, address.port)
            except ConnectionError:
                return
            writer.close()
            await asyncio.sleep(0.02)
