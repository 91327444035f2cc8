"""Endpoints that are not what a configuration takes them for, on a thread of their own."""

import asyncio
import socket
import ssl
import threading
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from chukei.simulator import Simulator, SimulatorSettings

PAGE = b"<!doctype html><title>Welcome</title><h1>nginx</h1>"
ANSWERS = {
    "page": b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n" % len(PAGE) + PAGE,
    "login": b"HTTP/1.1 302 Found\r\nlocation: {elsewhere}/login\r\ncontent-length: 0\r\n\r\n",
    "noise": b"220 mail.example ESMTP ready\r\n",
    "silent": b"",
}


class MisleadingUpstreams:
    """Several servers; ``urls`` names them. ``elsewhere`` counts what reached the host that the redirect names."""

    def __init__(self, directory: Path) -> None:
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.urls: dict[str, str] = {}
        self.elsewhere = 0
        authority = trustme.CA()
        self.ca_file = directory / "authority.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._trusted)
        self._misnamed = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("elsewhere.example").configure_cert(self._misnamed)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        elsewhere = await asyncio.start_server(self._count, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}"
        servers = [elsewhere]
        for name, answer in ANSWERS.items():
            sent = answer.replace(b"{elsewhere}", address.encode())
            server = await asyncio.start_server(partial(self._answer, sent), "127.0.0.1", 0)
            servers.append(server)
            self.urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.urls["plain-port"] = self.urls["page"].replace("http:", "https:")
        settings = SimulatorSettings(first_token_seconds=0, inter_token_seconds=0)
        async with Simulator(settings) as unknown, Simulator(settings) as misnamed:
            await unknown.stop()
            self.urls["certificate"] = await unknown.start(ssl_context=self._trusted)
            await misnamed.stop()
            self.urls["misnamed"] = await misnamed.start(ssl_context=self._misnamed)
            self._started.set()
            await self._stop.wait()
        for server in servers:
            server.close()

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.elsewhere += 1
        writer.close()

    @staticmethod
    async def _answer(sent: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.read(65536) and sent:
                writer.write(sent)
                await writer.drain()
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(60):
            raise RuntimeError("the misleading upstreams did not start")
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        self.urls["refused"] = f"http://127.0.0.1:{self._closed.getsockname()[1]}"
        self.urls["unresolvable"] = "https://no-such-resource.invalid"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
