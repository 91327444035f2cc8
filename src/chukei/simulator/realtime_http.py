"""What the realtime API does over HTTP: ephemeral keys, and calls of WebRTC without their media."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chukei.simulator.azure import ApiError, invalid_value, missing_parameter, model_error, out_of_range
from chukei.simulator.calls import Call
from chukei.simulator.exchanges import Head, Reply, whole
from chukei.simulator.media import fields as form_fields
from chukei.simulator.prompts import fields_of
from chukei.simulator.realtime_session import SESSION_SECONDS, Session

SECRET_SECONDS = (10, 7200)  # the least and the most that a client may ask for
DEFAULT_SECRET_SECONDS = 600
SESSIONS_SECRET_SECONDS = 60  # of the preview's keys

TRANSCRIPTION = "transcription"  # what a session that only transcribes is called

_MID = re.compile(r"^a=mid:(\S+)", re.M)
_SDP = "application/sdp"


class _ExpiresAfter(msgspec.Struct):
    seconds: int = DEFAULT_SECRET_SECONDS
    anchor: str = "created_at"


class SecretRequest(msgspec.Struct):
    """The body of a request for an ephemeral key."""

    session: dict[str, Any] = {}
    expires_after: _ExpiresAfter | None = None


def model_of_session(body: bytes, content_type: str) -> str | None:
    """Return the deployment that a request of this module names in its session; None if it names none."""
    if content_type.startswith("multipart/"):
        part = form_fields(body, content_type).get("session")
        body = part.data if part else b"{}"
    elif content_type.startswith(_SDP):
        return None
    try:
        given = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # the operation itself refuses it
    given = fields_of(given)
    model = (fields_of(given.get("session")) or given).get("model")
    return model if isinstance(model, str) else None


def client_secrets(call: Call) -> Reply:
    """Answer with an ephemeral key for a session."""
    request = call.read(SecretRequest)
    seconds = (request.expires_after or _ExpiresAfter()).seconds
    least, most = SECRET_SECONDS
    if not least <= seconds <= most:
        raise out_of_range("expires_after.seconds", seconds, least, most)
    given = {"type": "realtime", **request.session}
    session = Session(
        call.id("sess_", 21),
        call.deployment,
        call.created + SESSION_SECONDS,
        transcribes=given["type"] == TRANSCRIPTION,
    )
    session.update(given)
    key = call.id("ek_", 32)
    call.ephemeral.issue(key, call.created + seconds, given)
    return _json({"value": key, "expires_at": call.created + seconds, "session": session.fields})


def sessions(call: Call) -> Reply:
    """Answer with a session of the preview that has an ephemeral key."""
    given = call.object()
    transcribes = call.operation.endswith("transcription_sessions")
    session = Session(
        call.id("sess_", 21), call.deployment, call.created + SESSION_SECONDS, beta=True, transcribes=transcribes
    )
    session.update(given)
    key = call.id("ek_", 32)
    expires_at = call.created + SESSIONS_SECRET_SECONDS
    call.ephemeral.issue(key, expires_at, given)
    return _json({**session.fields, "client_secret": {"value": key, "expires_at": expires_at}})


def _json(body: dict[str, Any]) -> Reply:
    return whole(msgspec.json.encode(body))


def calls(call: Call) -> Reply:
    """Answer the SDP offer of a WebRTC client. No media flows: only a socket can join the call, by its id."""
    offer, session = _offer(call)
    if not offer.lstrip().startswith("v=0"):
        raise invalid_value("Invalid SDP offer: it must begin with 'v=0'.", "sdp", "invalid_offer")
    id_ = call.hex_id("rtc_u1_", 32)
    transcribes = session.get("type") == TRANSCRIPTION
    if transcribes and (call.query.get("model") or "model" in session):
        raise _has_no_model()
    call.ephemeral.begin(id_, session if transcribes else {"model": call.deployment, **session})
    reply = whole(_answer_to(offer, call).encode(), status=201, content_type=_SDP)
    reply.headers["location"] = f"/openai/v1/realtime/calls/{id_}"
    return reply


def _offer(call: Call) -> tuple[str, dict[str, Any]]:
    """Return the offer of a call, and the session that the form gives with it."""
    if call.content_type.startswith(_SDP):
        return call.body.decode(errors="replace"), {}
    if not call.content_type.startswith("multipart/"):
        raise model_error(400, "The content type must be application/sdp or multipart/form-data.", param="sdp")
    form = form_fields(call.body, call.content_type)
    if "sdp" not in form:
        raise missing_parameter("sdp")
    try:
        session = msgspec.json.decode(form["session"].data) if "session" in form else {}
    except msgspec.MsgspecError:
        raise invalid_value("Invalid 'session': it must be a JSON object.", "session") from None
    return form["sdp"].data.decode(errors="replace"), session if isinstance(session, dict) else {}


def _answer_to(offer: str, call: Call) -> str:
    """Write an answer with the offer's media lines (RFC 8866, RFC 8829)."""
    lines = offer.replace("\r\n", "\n").split("\n")
    media = [line for line in lines if line.startswith("m=")]
    mids = _MID.findall(offer.replace("\r\n", "\n")) or [str(at) for at in range(len(media))]
    fingerprint = ":".join(f"{byte:02X}" for byte in call.dice.randbytes(32))
    answer = ["v=0", f"o=- {call.dice.getrandbits(62)} 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    answer += [f"a=group:BUNDLE {' '.join(mids)}", "a=ice-lite"]
    for line, mid in zip(media, mids, strict=False):
        answer += [
            line.replace("m=audio 9 ", "m=audio 3478 "),
            "c=IN IP4 127.0.0.1",
            f"a=mid:{mid}",
            f"a=ice-ufrag:{call.id('', 8)}",
            f"a=ice-pwd:{call.id('', 24)}",
            f"a=fingerprint:sha-256 {fingerprint}",
            "a=setup:passive",
            *(["a=sendrecv", "a=rtcp-mux"] if line.startswith("m=audio") else ["a=sctp-port:5000"]),
        ]
    return "\r\n".join((*answer, ""))


def hangup(call: Call) -> Reply:
    """End a call; ApiError 404 if there is none with this id."""
    (id_,) = call.ids
    if call.ephemeral.calls.pop(id_, None) is None:
        raise no_call(id_)
    return whole(b"")


def no_call(id_: str) -> Exception:
    """Return the 404 for an unknown call."""
    return model_error(404, f"No call with id '{id_}' was found.", param="call_id", code="call_id_not_found")


def _has_no_model() -> ApiError:
    """Return the 400 for a session that only transcribes and names a model of its own."""
    what = "You must not provide a model parameter for transcription sessions."
    return model_error(400, what, param="model", code="invalid_parameter")


def session_of(given: dict[str, Any], head: Head, model: str, now: int, id_: str) -> Session:
    """Return the session of a new socket, as configured by its address and by its ephemeral key or call."""
    beta = head.path.rstrip("/") == "/openai/realtime" or "realtime=v1" in head.headers.get("openai-beta", "")
    beta = beta or "openai-beta.realtime-v1" in head.headers.get("sec-websocket-protocol", "")
    transcribes = TRANSCRIPTION in (head.query.get("intent"), given.get("type"))
    if transcribes and {"model", "deployment"} & set(head.query):
        raise _has_no_model()
    session = Session(id_, model, now + SESSION_SECONDS, beta=beta, transcribes=transcribes)
    if given:
        session.update(given if beta else {"type": TRANSCRIPTION if transcribes else "realtime", **given})
    return session
