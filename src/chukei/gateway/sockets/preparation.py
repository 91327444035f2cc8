"""A request that prepares a realtime session: its configuration by the policy, and what is sent to a deployment."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from chukei import azure
from chukei.accounts.policy import Policy
from chukei.errors import CallerError, UpstreamError
from chukei.gateway.exchange import Exchange
from chukei.gateway.sockets import events
from chukei.gateway.sockets.gate import Gate
from chukei.gateway.sockets.places import name_at, transcriber_of
from chukei.gateway.sockets.secrets import Held, Known
from chukei.model import MEBIBYTE, Deployment, Headers, Model
from chukei.pool import Lease
from chukei.ports import Answer
from chukei.stream.redaction import Redactor
from chukei.upstream.connect import read_refusal
from chukei.upstream.refusals import failure
from chukei.usage import DECODE_ERRORS

logger = logging.getLogger(__name__)

MOST_BYTES = MEBIBYTE
"""Bytes of a body in either direction; an SDP offer has a few kilobytes."""

SECRETS = "client_secrets"
"""The kind of request for an ephemeral key that has the session's configuration in ``session``."""


class Preparation:
    """One such request: its session's configuration, its model, and what the policy says about both."""

    def __init__(
        self,
        known: Known,
        gateway: Gate,
        exchange: Exchange,
        policy: Policy,
        held: tuple[bytes, Held] | None,
        place: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.place = place  # counts an open call like a WebSocket
        self.known, self.gateway, self.exchange, self.policy, self.held = known, gateway, exchange, policy, held
        self.services = gateway.services

    def asked(self, session: Mapping[str, Any], address: str | None = None, *, transcribes: bool) -> str | None:
        """Return the name of the model: for a session that only transcribes, that of its transcription.

        The session's own comes first, then that of the ``address``. A key or a call for transcriptions that names none
        is for the caller's first model that transcribes, as over a WebSocket.
        """
        name = session.get("model")
        if name is None and transcribes:
            for holder in events.transcriptions(session):
                name = holder.get("model") or name
        name = name if isinstance(name, str) else address
        if name is None and transcribes and self.held is None:
            name = transcriber_of(self.services.pool, self.policy)
        return name

    def model(self, asked: str | None) -> Model:
        """Return the model, with the policy applied.

        Raises:
            CallerError: it does not exist, or the caller may not use it.
        """
        belongs = self.held[1] if self.held is not None else None
        if belongs is not None:
            if asked not in (None, belongs.model):
                raise CallerError(400, "model_not_changeable", f"This key is for {belongs.model!r}.", param="model")
            asked = belongs.model
        policy, record = self.policy, self.exchange.record
        model = self.services.pool.model(policy.model_for(asked), policy.allows)
        record.model = model.name
        policy.check_model(model.name)
        return policy.applied_to(model)

    def written(
        self, session: Mapping[str, Any], model: Model, deployment: Deployment, *, transcribes: bool, named: bool
    ) -> dict[str, Any]:
        """Return a session's configuration for a deployment, with the policy applied.

        One that only ``transcribes`` has no model of its own, and no limit of the output. Its ``model`` transcribes if
        it was ``named`` or found, and the configuration names no other.
        """

        def name(other: str) -> str:
            found = self.services.pool.model(other, self.policy.allows)
            self.policy.check_model(found.name)
            return name_at(found, deployment)

        made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(session))
        first = events.first_update(model, preview="type" not in made) if not transcribes else None
        if first is not None:
            for key, value in msgspec.json.decode(first)["session"].items():
                made.setdefault(key, value)
        events.configure(made, model, deployment.deployment, name, transcribes=transcribes and named)
        if not transcribes:
            made["model"] = deployment.deployment
        return made

    async def make_key(
        self, lease: Lease, kind: str, api_version: str | None, body: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Have the service make an ephemeral key; return its answer, and the object in there that holds the ``value``.

        ``kind`` is the last part of the path of a client's request.

        Raises:
            UpstreamError: it failed, or refused.
        """
        target = azure.ephemeral_target(kind, azure.version_for(lease.deployment, api_version))
        _, _, raw = await self.ask(lease, target, msgspec.json.encode(body), b"application/json")
        try:
            answer = msgspec.json.decode(raw, type=dict[str, Any])
        except DECODE_ERRORS:
            raise failure("unexpected_answer", "The upstream's answer is no JSON object.") from None
        place = answer if kind == SECRETS else answer.get("client_secret")
        if not isinstance(place, dict) or not isinstance(place.get("value"), str):
            raise failure("unexpected_answer", "The upstream's answer contains no key.")
        return answer, place

    async def ask(
        self, lease: Lease, target: str, body: bytes, content_type: bytes, *, own: bool = False
    ) -> tuple[int, Headers, bytes]:
        """Send a request to a deployment; return the status, the fields and the body of its answer.

        With ``own`` the client's ephemeral key is sent, so that the session gets the key's configuration.

        Raises:
            UpstreamError: it failed, or refused.
        """
        client = self.services.failover.client
        credential = await client.credential(lease.deployment)
        if own and self.held is not None:
            credential = (b"authorization", b"Bearer " + self.held[1].secret)
        headers = [
            (b"content-type", content_type),
            azure.ANY,
            credential,
            (b"user-agent", b"chukei"),
            (b"x-ms-client-request-id", self.exchange.record.request_id.encode()),
        ]
        seconds = self.gateway.settings.stream.first_token_seconds
        try:
            async with asyncio.timeout(seconds):
                endpoint = lease.deployment.endpoint
                answer = await client.upstream.request("POST", endpoint, target, headers, body, lambda: None)
                return await _whole(answer, headers)
        except TimeoutError:
            raise failure("upstream_timeout", f"The upstream did not answer within {seconds:g} s.") from None


async def _whole(answer: Answer, asked: Headers) -> tuple[int, Headers, bytes]:
    try:
        if not 200 <= answer.status < 300:
            raise await read_refusal(answer, Redactor(asked))
        body = b""
        while (data := await answer.read()) != b"":
            body += data or b""
            if len(body) > MOST_BYTES:
                raise failure("event_too_large", "The upstream's answer is too large.")
    except BaseException:
        answer.abort()
        raise
    answer.finish()
    return answer.status, answer.headers, body


async def hang_up_quietly(made: Preparation, lease: Lease, call_id: str) -> None:
    """End a call that may not go on; a failure is logged."""
    try:
        await made.ask(lease, f"/openai/v1/realtime/calls/{call_id}/hangup", b"", b"application/json")
    except UpstreamError as error:
        logger.warning("a call could not be hung up at %s: %s", lease.deployment.name, error.code)
