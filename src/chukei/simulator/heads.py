"""Heads of requests and answers: the request line and headers, as data."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from email.utils import formatdate
from uuid import UUID

from chukei.simulator.calls import served_model
from chukei.simulator.exchanges import Exchange
from chukei.simulator.settings import SimulatorSettings
from chukei.simulator.steps import Reply

REQUESTS_PER_MINUTE = 120
TOKENS_PER_MINUTE = 120_000


@dataclass(slots=True)
class Head:
    """A request line and its headers, lower-case names, repeated ones joined by ``", "``."""

    method: str
    path: str
    query: dict[str, str]
    http_1_1: bool = True
    keep_alive: bool = True
    headers: dict[str, str] = field(default_factory=dict)


def _guid(dice: random.Random) -> str:
    return str(UUID(int=dice.getrandbits(128), version=4))


def answer_headers(
    settings: SimulatorSettings, exchange: Exchange, reply: Reply, dice: random.Random
) -> dict[str, str]:
    """Return the headers of an answer, as recorded in 2026, with plausible values."""
    request_id = _guid(dice)
    headers = {
        "content-type": reply.content_type,
        "date": formatdate(usegmt=True),
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "apim-request-id": request_id,
        "x-content-type-options": "nosniff",
        "x-ms-region": settings.region,
        "x-request-id": _guid(dice),
        "x-chukei-simulator": "true",
    }
    if reply.streamed:
        headers["azureai-fe-is-streaming"] = "True"
    if reply.status == 200 and exchange.deployment is not None:
        headers["x-accel-buffering"] = "no"
        headers["x-ms-client-request-id"] = exchange.headers.get("x-ms-client-request-id", request_id)
        headers |= _served(exchange.deployment, reply.prompt_tokens, dice)
    return headers


def _served(deployment: str, tokens: int, dice: random.Random) -> dict[str, str]:
    return {
        "azureml-model-session": f"d20260330170902-{dice.getrandbits(48):012x}",
        "skip-error-remapping": "true",
        "x-ms-deployment-name": deployment,
        "x-ms-served-model": served_model(deployment) or deployment,
        "x-ms-is-spilled-over": "false",
        "x-ms-rai-invoked": "true",
        "x-ratelimit-abusepenalty-active": "False",
        "x-ratelimit-key": f"{dice.getrandbits(64):016x}",
        "x-ratelimit-limit-requests": str(REQUESTS_PER_MINUTE),
        "x-ratelimit-limit-tokens": str(TOKENS_PER_MINUTE),
        "x-ratelimit-remaining-requests": str(REQUESTS_PER_MINUTE - 1),
        "x-ratelimit-remaining-tokens": str(max(TOKENS_PER_MINUTE - tokens, 0)),
        "x-ratelimit-renewalperiod-requests": "60",
        "x-ratelimit-renewalperiod-tokens": "60",
        "x-ratelimit-reset-requests": "500",
        "x-ratelimit-reset-tokens": str(max(tokens * 60 // TOKENS_PER_MINUTE, 1)),
    }
