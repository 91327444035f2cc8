"""What comes in with a request for stored objects: the query, a JSON body, or a form that flows."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

from chukei.config import Settings
from chukei.errors import CallerError
from chukei.gateway.object_request import ObjectRequest
from chukei.gateway.reading import decompressed
from chukei.model import MEBIBYTE, header
from chukei.objects.references import references_of
from chukei.request import codings
from chukei.request.fields import Fields
from chukei.request.object_routes import ObjectBody, ObjectRoute
from chukei.request.routes import MAX_PARAMETERS
from chukei.upstream.object_client import Query

MAX_JSON = 32 * MEBIBYTE
"""Bytes of a JSON body: items of a conversation may contain pictures, as a response's input may."""

UNREAD = 64 * 1024
"""Bytes of a body that a route does not have; clients send an empty object at most."""


async def read_body(request: ObjectRequest, settings: Settings) -> None:
    """Read the body and what it refers to, or prepare to let it flow.

    Raises:
        CallerError: it is too large, too slow, malformed, or of another content type.
        ClientGone: the client disconnected.
    """
    record, incoming, route, server = request.exchange.record, request.incoming, request.object, settings.server
    given = (header(incoming.headers, b"content-type") or b"").partition(b";")[0].strip().lower()
    if route.body is ObjectBody.FLOW and given != b"application/json":
        _let_flow(request, settings, given)
        return
    limit = (server.max_body_bytes or MAX_JSON) if route.body is not ObjectBody.NONE else UNREAD
    raw = await incoming.body(limit, server.body_seconds, request.reach)
    incoming.watch(request.exchange.client_left)
    record.received, record.request_bytes = request.exchange.elapsed, len(raw)
    if route.body is ObjectBody.NONE or not raw:
        return
    if given != b"application/json":
        raise CallerError(415, "unsupported_media_type", "Send the request as 'Content-Type: application/json'.")
    if (coding := codings.coding_of(incoming.headers)) is not None:
        raw = await decompressed(raw, coding, limit, request.reach)
    # What is searched for ids must be what the resource reads: JSON in UTF-8, with each field once.
    request.body, request.references = raw, references_of(Fields(raw))


def _let_flow(request: ObjectRequest, settings: Settings, given: bytes) -> None:
    incoming = request.incoming
    if given != b"multipart/form-data" or codings.coding_of(incoming.headers) is not None:
        message = "Send the file as 'Content-Type: multipart/form-data', without a content encoding."
        raise CallerError(415, "unsupported_media_type", message)
    length = header(incoming.headers, b"content-length")
    request.length = int(length) if length is not None else None
    request.parts = _flow(request, incoming.parts(settings.objects.max_upload_bytes, settings.server.body_seconds))
    if request.object.only_file:
        _let_file_flow(request, request.parts)


def _let_file_flow(request: ObjectRequest, parts: AsyncIterator[bytes]) -> None:
    """Let only a form flow that has nothing but a file: another field may name a file that is not the caller's.

    The form is written anew, since the resource could find other fields in the client's framing than the relay.
    """
    from chukei.request.flowing_form import Begin, FormReader, FormWriter  # only such uploads need it

    reader, writer = FormReader(header(request.incoming.headers, b"content-type") or b""), FormWriter()

    async def written() -> AsyncIterator[bytes]:
        async for part in parts:
            events = reader.feed(part)
            for event in events:
                if isinstance(event, Begin) and event.part.name != "file":
                    message = "The form may have only the field 'file'. To name a file, send JSON with its 'file_id'."
                    raise CallerError(400, "unknown_parameter", message, param=event.part.name[:80])
            if events:
                yield b"".join(writer.write(event) for event in events)
        reader.end()

    request.parts, request.length, request.content_type = written(), None, writer.content_type


async def _flow(request: ObjectRequest, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body's parts, counted on their way."""
    record = request.exchange.record
    async for part in parts:
        record.request_bytes += len(part)
        yield part
    record.received = request.exchange.elapsed


def passed_query(route: ObjectRoute, query: str) -> Query:
    """Return the parameters of a query that pass upstream.

    Raises:
        CallerError: 400, there are too many.
    """
    try:
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        message = f"The query has more than {MAX_PARAMETERS} parameters."
        raise CallerError(400, "invalid_query", message) from None
    return [(name, value) for name, value in given if name.partition("[")[0] in route.query]
