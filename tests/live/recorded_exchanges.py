"""Recorded exchanges with the real services, if they are beside the repository: requests and answers."""

import base64
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from _pytest.mark import ParameterSet
from tests.live import recordings

DIRECTORY = Path(__file__).parents[3] / "shared" / "exchanges"
_FRAMING = {"content-length", "transfer-encoding", "connection", "date"}
EVENT_STREAM = ("content-type", "text/event-stream; charset=utf-8")
_NOT_SENT = _FRAMING | {"content-encoding", "set-cookie"}  # the recorder wrote down what it had decoded


@dataclass(frozen=True)
class RecordedExchange:
    """One request and its answer. Header names are in lower case; those that only frame a body are left out."""

    name: str
    kind: str
    provider: str
    method: str
    path: str
    asked_with: tuple[tuple[str, str], ...]
    request: bytes
    status: int
    answered_with: tuple[tuple[str, str], ...]
    answer: bytes
    chunked: bool

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.header("content-type").startswith("text/event-stream")

    @cached_property
    def asked(self) -> Any:
        """The request's JSON, or None where it is something else."""
        return json.loads(self.request) if self.request[:1] == b"{" else None

    def header(self, name: str) -> str:
        """Return a field of the answer, or nothing."""
        return dict(self.answered_with).get(name, "")

    @property
    def head(self) -> bytes:
        """The answer's head as a server writes it, framed as it was recorded."""
        framing = "transfer-encoding: chunked" if self.chunked else f"content-length: {len(self.answer)}"
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Recorded')}", framing]
        lines += [f"{name}: {value}" for name, value in self.answered_with]
        return "\r\n".join([*lines, "", ""]).encode()


_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}


def _read(meta: Path) -> RecordedExchange:
    name = meta.name.removesuffix(".meta.json")
    told = json.loads(meta.read_bytes())
    asked = json.loads(meta.with_name(f"{name}.request.json").read_bytes())
    (answer,) = meta.parent.glob(f"{name}.response.*")
    headers = [(field.lower(), value) for field, value in told["headers"]]
    body = base64.b64decode(asked["body_base64"]) if "body_base64" in asked else asked.get("body", "").encode()
    return RecordedExchange(
        name=name,
        kind=told["kind"],
        provider=told["provider"],
        method=asked["method"],
        path=asked["path"],
        asked_with=tuple((field.lower(), value) for field, value in asked["headers"].items()),
        request=body,
        status=told["status"],
        answered_with=tuple(field for field in headers if field[0] not in _FRAMING),
        answer=answer.read_bytes(),
        chunked=("transfer-encoding", "chunked") in headers or "content-length" not in dict(headers),
    )


def _of_stream(stream: recordings.Recording) -> RecordedExchange:
    """Return a recorded stream as an exchange; one without its request is asked for as in other tests."""
    meta = recordings.DIRECTORY / f"{stream.name}.sse.meta.json"
    told = json.loads(meta.read_bytes()) if meta.exists() else {}
    address = urlsplit(told.get("url", stream.path))
    headers = [(name.lower(), value) for name, value in told.get("response_headers", {}).items()]
    asked = told.get("request_body")
    return RecordedExchange(
        name=stream.name,
        kind="responses stream" if stream.path == recordings.RESPONSES else "chat stream",
        provider="azure" if stream.name.startswith("az-") else "openai",
        method="POST",
        path=address._replace(scheme="", netloc="").geturl(),
        asked_with=(("content-type", "application/json"),),
        request=asked.encode() if isinstance(asked, str) else stream.request,
        status=200,
        answered_with=tuple(field for field in headers if field[0] not in _NOT_SENT) or (EVENT_STREAM,),
        answer=stream.stream,
        chunked=True,
    )


EXCHANGES = [_read(path) for path in sorted(DIRECTORY.glob("*.meta.json"))]
STREAMS = [_of_stream(stream) for stream in recordings.RECORDED]


def parameters() -> list[ParameterSet]:
    """Return every exchange as a test parameter, or one that is skipped where there are none."""
    if not EXCHANGES:
        reason = "the recorded exchanges are not beside the repository"
        return [pytest.param(None, id="recorded", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(each, id=each.name) for each in (*EXCHANGES, *STREAMS)]
