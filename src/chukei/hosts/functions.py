"""The relay as an Azure Function: one HTTP function that passes every request to the ASGI application.

The platform's worker runs a plain uvicorn with one catch-all route and pairs each HTTP request with an invocation
that arrives beside it. The function answers the invocation at once with a response object that *is* the
application, so that the application gets the connection itself: `receive()` brings the body and, at any time,
`http.disconnect`; `send()` writes to the socket and waits when the reader is slow. Lifespan never runs here, which
is why `from_environment` builds an application that starts itself on its first request.

`create()` is what `functions/function_app.py` calls. A configuration that cannot be used does not stop the function
from loading, which the platform would report as an app without functions and a bare 404: it serves an error in the
shape clients read, and the problems themselves go to the log.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import azure.functions as func
from azurefunctions.extensions.http.fastapi import WebApp
from fastapi import FastAPI, Request, Response  # the very classes that the extension re-exports, but typed
from starlette import types as starlette

from chukei.adapters.logs import requests
from chukei.adapters.logs.formats import JsonFormatter
from chukei.adapters.logs.levels import LEVELS
from chukei.config import ConfigError
from chukei.errors import RelayError, Unavailable
from chukei.hosts.asgi import Receive, Scope, Send, from_environment
from chukei.request.head import request_id

__all__ = ["create", "function_app"]

logger = logging.getLogger(__name__)

ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

# The keys of an HTTP connection scope (ASGI HTTP specification 2.5). FastAPI leaves its router, its exit stacks and
# its matched route beside them, and `state` would be that of a lifespan which is not ours.
_SCOPE_KEYS = frozenset(
    {
        "type",
        "asgi",
        "http_version",
        "method",
        "scheme",
        "path",
        "raw_path",
        "query_string",
        "headers",
        "client",
        "server",
        "extensions",
    }
)

UNUSABLE = "the relay's configuration cannot be used, every request is refused:\n%s"
MISCONFIGURED = Unavailable(
    "misconfigured", "The relay is misconfigured. Its operator finds the reason in its log.", status=500
)
FAILED = Unavailable("internal_error", "The relay failed to answer this request.", status=500)


def create() -> func.FunctionApp:
    """The function app for the configuration found in the environment.

    Loopback peers are not trusted as local callers: on Functions every connection comes from the host beside the
    worker. An unusable configuration is logged in full and answered with `misconfigured` (HTTP 500).
    """
    try:
        relay = from_environment(behind_platform=True)
    except ConfigError as problems:
        logger.critical(UNUSABLE, problems)
        application: ASGIApplication = misconfigured
    else:
        application = relay
        LEVELS.configure(relay.settings.log.level, relay.settings.log.levels, libraries=False)
    _spell_out_request_lines()
    return function_app(application)


def function_app(application: ASGIApplication) -> func.FunctionApp:
    """A v2-model function app whose only function passes every path and method to `application`.

    The trigger's own level is anonymous, because the relay authenticates its callers itself. host.json must set
    `routePrefix` to the empty string.
    """
    _take_every_path()
    _silence_access_log()
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    @app.function_name("relay")
    @app.route(route="{*path}", methods=METHODS)
    async def relay(req: Request) -> Response:
        return ApplicationResponse(application)

    return app


class ApplicationResponse(Response):
    """A response which is written by an ASGI application on the connection it was asked on.

    Nothing is raised outwards: the worker would answer in plain text. A failure before the response has started
    becomes an OpenAI-shaped 500; after that the body is left unfinished, which uvicorn turns into a cut connection,
    so that a client cannot take it for a complete answer.
    """

    def __init__(self, application: ASGIApplication) -> None:
        super().__init__()
        self._application = application

    async def __call__(self, scope: starlette.Scope, receive: starlette.Receive, send: starlette.Send) -> None:
        """Runs the application with a scope that holds what ASGI defines and nothing of FastAPI's."""
        started = False
        failure = FAILED

        async def send_noting_start(message: dict[str, Any]) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        inner = {key: value for key, value in scope.items() if key in _SCOPE_KEYS}
        inner["root_path"] = ""
        try:
            await self._application(inner, cast(Receive, receive), send_noting_start)
        except ConfigError as problems:  # found only at the start, such as a library that is not installed
            logger.critical(UNUSABLE, problems)
            failure = MISCONFIGURED
        except Exception:  # last resort: the client must get a readable answer
            logger.exception("the application failed %s its response had started", "after" if started else "before")
        if not started:
            await _answer(send, failure)


async def misconfigured(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request with an error that refers callers to the operator, without details."""
    await _answer(send, MISCONFIGURED)


async def _answer(send: Send, error: RelayError) -> None:
    """Sends a whole error. A retry would fail too, so a header tells SDKs not to retry."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(error.body)).encode()),
        (b"x-should-retry", b"false"),
        (b"x-request-id", request_id([]).encode()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": error.body})


def _take_every_path() -> None:
    """Keeps FastAPI from answering in the application's place: on /docs, and on paths that its pattern does not match.

    Such an answer never meets the invocation that arrived with its request: the worker would wait for the rest of
    its life, and the platform would count the invocation as running until `functionTimeout` ends the worker. The
    extension builds its FastAPI itself and offers no setting, so its constructor is replaced.
    """

    def matching_everything(self: WebApp) -> None:
        self.web_app = FastAPI(openapi_url=None)
        self.web_app.add_middleware(_OneLine)

    WebApp.__init__ = matching_everything


class _OneLine:
    """Hides line ends (`%0A`) from the worker's router, whose pattern `{path:path}` matches none.

    The relay reads `raw_path`, which stays as it is.
    """

    def __init__(self, app: starlette.ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: starlette.Scope, receive: starlette.Receive, send: starlette.Send) -> None:
        if "\n" in scope.get("path", ""):
            scope = {**scope, "path": scope["path"].replace("\n", " ")}
        await self._app(scope, receive, send)


def _spell_out_request_lines() -> None:
    """Puts the fields of the relay's line for each request into its message: the platform keeps no more of a record."""
    formatter = JsonFormatter()

    def spell_out(record: logging.LogRecord) -> bool:
        record.msg, record.args = formatter.format(record), ()
        return True

    requests.logger.addFilter(spell_out)


def _silence_access_log() -> None:
    """Drops uvicorn's line for each request: it repeats the query string, where function keys travel (`?code=`).

    The relay writes its own line for each request. A filter survives uvicorn's configuration of its loggers, which
    happens after this; a level would not.
    """
    logging.getLogger("uvicorn.access").addFilter(lambda record: False)
