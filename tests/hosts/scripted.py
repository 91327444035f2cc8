"""For tests of the relay's own server: an application that a test controls, and requests to it."""

from collections.abc import Awaitable, Callable

from tests.live.relays import settings_for
from uvicorn import Config
from uvicorn.server import ServerState

from chukei.hosts.asgi import Application
from chukei.hosts.http.protocol import StrictProtocol
from chukei.model import Headers
from chukei.ports import Incoming, Reply

Handler = Callable[[Incoming, Reply], Awaitable[None]]
SETTINGS = settings_for(
    "http://127.0.0.1:9",
    {
        "CHUKEI_SERVER__HEADER_SECONDS": "10",
        "CHUKEI_SERVER__KEEPALIVE_SECONDS": "75",
        "CHUKEI_STREAM__WRITE_SECONDS": "0.1",
    },
)
LIMIT = 1_000_000


class Scripted(Application):
    """Serves with what the test gives it. ``paths`` are those that were asked for, in order."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(SETTINGS, hooks=())
        self._handler = handler
        self.paths: list[str] = []
        self.state = ServerState()

    async def serve(self, incoming: Incoming, reply: Reply) -> None:
        self.paths.append(incoming.raw_path)
        await self._handler(incoming, reply)


def configured(application: Application) -> Config:
    config = Config(application, http=StrictProtocol, ws="none", lifespan="off", log_config=None, interface="asgi3")
    config.load()
    config.loaded_app = application
    return config


def get(path: str = "/", *fields: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"GET " + path.encode() + b" HTTP/" + version, b"Host: a", *fields, b"", b""]
    return b"\r\n".join(lines)


def post(path: str, body: bytes, *fields: bytes, length: int | None = None, version: bytes = b"1.1") -> bytes:
    size = len(body) if length is None else length
    head = get(path, b"Content-Length: %d" % size, *fields, version=version)
    return head.replace(b"GET", b"POST", 1) + body


def fields(size: int) -> Headers:
    return [(b"content-length", str(size).encode())]


async def echo(incoming: Incoming, reply: Reply) -> None:
    """Answer with the path and the body."""
    body = incoming.raw_path.encode() + await incoming.body(LIMIT, 5)
    await reply.start(200, fields(len(body)))
    await reply.finish(body)
