"""The requests that prepare a realtime session by HTTP: ephemeral keys and WebRTC calls.

The service's ephemeral key stays here, since whoever holds it could use the service past the relay. The client gets a
key of the relay's own, with the same lifetime and the same beginning, which only this relay and its replicas know.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import msgspec

from chukei.azure import TRANSCRIPTION
from chukei.errors import CallerError, shutting_down
from chukei.gateway.sockets import events
from chukei.gateway.sockets.calls import watch_call
from chukei.gateway.sockets.opening import first_to_open
from chukei.gateway.sockets.places import model_at
from chukei.gateway.sockets.preparation import MOST_BYTES, SECRETS, Preparation
from chukei.gateway.sockets.secrets import CALL_SECONDS, Held
from chukei.model import Deployment, End, Headers, Model, header
from chukei.pool import Lease
from chukei.ports import Incoming, Reply
from chukei.record import Attempt
from chukei.request.form import Form
from chukei.request.routes import Route, parameters
from chukei.upstream.refusals import failure
from chukei.usage import DECODE_ERRORS

logger = logging.getLogger(__name__)

KEY_SECONDS, SESSION_SECONDS, LONGEST_KEY = 600.0, 60.0, 7200.0
"""Seconds for which a key is valid: a client secret's by default, that of a preview's session, and at most (OpenAI,
"Client secrets")."""

_CALL_ID = re.compile(rb"/calls/([\w-]{1,128})\Z", re.ASCII)


async def prepare(made: Preparation, route: Route, incoming: Incoming, reply: Reply) -> None:
    """Serve the request.

    Raises:
        RelayError: it is refused, or no deployment could serve it.
    """
    gateway, exchange = made.gateway, made.exchange
    settings, record = gateway.settings, exchange.record
    record.operation = f"realtime_{route.realtime}"
    if gateway.draining:
        raise shutting_down()
    if not settings.sockets.enabled or (route.realtime in ("calls", "hangup") and not settings.sockets.calls):
        message = "This relay does not serve this route; its operator can change that in the section [sockets]."
        raise CallerError(404, "route_not_served", message)
    if route.realtime != "hangup":
        await made.services.admission.count(made.policy)
    body = await incoming.body(MOST_BYTES, settings.server.body_seconds)
    incoming.watch(exchange.client_left)
    record.received, record.request_bytes = exchange.elapsed, len(body)
    if route.realtime == "calls":
        with ExitStack() as place:
            place.enter_context(made.place())
            status, headers, answer = await _call(made, incoming, body, place)
    elif route.realtime == "hangup":
        status, headers, answer = await _hang_up(made, route.name)
    else:
        status, headers, answer = await _secret(made, route, body)
    record.status, record.end, record.answer_bytes = status, End.COMPLETED, len(answer)
    fields = [*headers, (b"content-length", str(len(answer)).encode()), (b"x-request-id", record.request_id.encode())]
    await reply.start(status, [*fields, *gateway.cors(incoming)])
    await reply.finish(answer)


# Ephemeral keys.


def _object(body: bytes, param: str | None = None) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body or b"{}")
    except DECODE_ERRORS:
        raise CallerError(400, "invalid_json", "The request body is not valid JSON.", param=param) from None
    if not isinstance(value, dict):
        raise CallerError(400, "invalid_json", f"'{param or 'The request body'}' must be a JSON object.", param=param)
    return value


async def _secret(made: Preparation, route: Route, body: bytes) -> tuple[int, Headers, bytes]:
    if made.held is not None:
        raise CallerError(401, "invalid_api_key", "An ephemeral key cannot make another one.")
    sent = _object(body)
    nested = route.realtime == SECRETS
    session = sent.get("session", {}) if nested else sent
    if not isinstance(session, dict):
        raise CallerError(400, "invalid_type", "'session' must be an object.", param="session")
    transcribes = route.realtime == "transcription_sessions" or session.get("type") == TRANSCRIPTION
    asked = made.asked(session, transcribes=transcribes)
    model = made.model(asked)
    named = asked is not None

    async def ask(lease: Lease, attempt: Attempt) -> tuple[dict[str, Any], dict[str, Any]]:
        written = made.written(session, model, lease.deployment, transcribes=transcribes, named=named)
        whole = {**sent, "session": written} if nested else written
        return await made.make_key(lease, route.realtime, route.api_version, whole)

    lease, (answer, place) = await first_to_open(made.services.failover, made.exchange, model, ask)
    lease.release(made.services.clock())
    theirs = place["value"]
    _show_names(made, answer.get("session") if nested else answer, model, lease.deployment)
    who = made.exchange.record.who
    assert who is not None
    now = made.services.wall()
    until = now + _lifetime(sent, KEY_SECONDS if nested else SESSION_SECONDS)
    ours = made.known.mint.new(until)
    place["value"] = ours.decode()
    credential = made.services.gatekeeper.credential_of(who)
    intent = TRANSCRIPTION if transcribes else None
    held = Held(who, model.name, lease.deployment.identity, until, theirs.encode(), credential, intent)
    made.known.keys.keep(ours, held, now)
    return 200, [(b"content-type", b"application/json")], msgspec.json.encode(answer)


def _show_names(made: Preparation, session: object, model: Model, at: Deployment) -> None:
    """Name the models in an answer as the client does."""
    if not isinstance(session, dict):
        return
    if "model" in session:
        session["model"] = model.name
    for holder in events.transcriptions(session):
        named = holder.get("model")
        known = model_at(made.services.pool, named, at) if isinstance(named, str) else None
        if known is not None:
            holder["model"] = known.name


def _lifetime(sent: Mapping[str, Any], usual: float) -> float:
    """Return the seconds for which a key is valid, as it was asked for."""
    after = sent.get("expires_after")
    seconds = after.get("seconds") if isinstance(after, dict) else None
    return min(seconds, LONGEST_KEY) if isinstance(seconds, int | float) and seconds > 0 else usual


# Calls.


async def _call(made: Preparation, incoming: Incoming, body: bytes, place: ExitStack) -> tuple[int, Headers, bytes]:
    content_type = header(incoming.headers, b"content-type") or b""
    kind = content_type.partition(b";")[0].strip().lower()
    query = parameters(incoming.query)
    form, session = None, None
    if kind == b"multipart/form-data":
        form = Form(body, content_type)
        text = form.text("session", MOST_BYTES)
        session = _object(text.encode(), "session") if text is not None else None
    elif kind != b"application/sdp":
        message = "Send the offer as 'Content-Type: application/sdp' or 'multipart/form-data'."
        raise CallerError(415, "unsupported_media_type", message)
    transcribes = session is not None and session.get("type") == TRANSCRIPTION
    asked = made.asked(session or {}, query.get("model"), transcribes=transcribes)
    model = made.model(asked)
    held = made.held[1] if made.held is not None else None
    filtered = "&webrtcfilter=on" if query.get("webrtcfilter") == "on" else ""

    async def ask(lease: Lease, attempt: Attempt) -> tuple[int, Headers, bytes]:
        deployment = lease.deployment
        sent, sent_type = body, b"application/sdp"
        if form is not None:
            replaced = {}
            if session is not None:
                written = made.written(session, model, deployment, transcribes=transcribes, named=asked is not None)
                replaced["session"] = msgspec.json.encode(written).decode()
            sent, sent_type = form.write(replaced), form.content_type
        named = "" if held is not None or transcribes else f"&model={deployment.deployment}"
        target = f"/openai/v1/realtime/calls?{(named + filtered).removeprefix('&')}".removesuffix("?")
        return await made.ask(lease, target, sent, sent_type, own=True)

    home = held.identity if held is not None else None
    lease, (status, fields, answer) = await first_to_open(made.services.failover, made.exchange, model, ask, home)
    found = _CALL_ID.search(header(fields, b"location") or b"")
    if found is None:
        lease.release(made.services.clock())
        raise failure("unexpected_answer", "The upstream's answer does not name the call.")
    first = events.first_update(model, preview=False) if held is None and session is None else None
    await watch_call(made, lease, model, found[1].decode(), first, place)
    who = made.exchange.record.who
    assert who is not None
    now = made.services.wall()
    made.known.owners.keep(found[1], Held(who, model.name, lease.deployment.identity, now + CALL_SECONDS), now)
    shown = [(b"content-type", header(fields, b"content-type") or b"application/sdp")]
    return status, [*shown, (b"location", b"/v1/realtime/calls/" + found[1])], answer


async def _hang_up(made: Preparation, call_id: str) -> tuple[int, Headers, bytes]:
    owned = await made.known.owners.find(call_id.encode(), made.services.wall())
    who = made.exchange.record.who
    if owned is None or who is None or (owned.caller.kind, owned.caller.name) != (who.kind, who.name):
        raise CallerError(404, "call_not_found", f"There is no call {call_id[:80]!r}.")
    model = made.model(owned.model)

    async def ask(lease: Lease, attempt: Attempt) -> tuple[int, Headers, bytes]:
        return await made.ask(lease, f"/openai/v1/realtime/calls/{call_id}/hangup", b"", b"application/json")

    lease, (status, _, answer) = await first_to_open(made.services.failover, made.exchange, model, ask, owned.identity)
    lease.release(made.services.clock())
    return status, [(b"content-type", b"application/json")], answer
