"""Callers with limits, an upstream that counts requests by caller, and many concurrent connections."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tests.live.fault_scripts import LAST_CHUNK, Hold, Script, Send, chunk, head
from tests.live.fault_upstream import FaultUpstream, Visit
from tests.live.plain_http import Answer, post
from tests.live.plain_http import ask as get
from tests.live.recordings import CHAT, DONE, FINISH, ROLE, delta
from tests.live.recordings import chunk as event

CONNECTIONS = 50
PROMPT, OUTPUT = 15, 80
"""Tokens that the upstream counts where the test says nothing else."""

ENVIRONMENT = {"UPSTREAM_KEY": "upstream-secret-key"}

Table = Mapping[str, Any]
Fields = Sequence[tuple[str, str]]


def key_of(name: str) -> str:
    """Return the key of a caller of that name."""
    return f"key-of-{name}-0123456789abcdef0123456789abcdef"


def bearer(name: str) -> tuple[str, str]:
    """Return the header field by which a caller is known."""
    return ("authorization", f"Bearer {key_of(name)}")


def config(
    path: Path, endpoint: str, callers: Mapping[str, Table], groups: Mapping[str, Table] | None = None, **sections: Any
) -> Path:
    """Write a configuration with one deployment, and return its path.

    Callers and groups are given by their tables; a caller's key is ``key_of(name)``. One deployment that fails is left
    in peace, so that each failure is one.
    """
    tables: dict[str, Any] = {
        "defaults": {"model": "chat"},
        "models": {"chat": {"deployments": ["only"], "prices": {"input": 2.5, "cached": 1.25, "output": 10.0}}},
        "deployments": {
            "only": {"endpoint": endpoint, "deployment": "gpt-4o", "api_key": {"env": "UPSTREAM_KEY"}},
        },
        "pool": {"max_cooldown_seconds": 0, "breaker_failures": 0, "misconfigured_seconds": 0},
        "callers": {
            name: {"key_sha256": sha256(key_of(name).encode()).hexdigest(), **table} for name, table in callers.items()
        },
        "groups": groups or {},
        **sections,
    }
    path.write_text("\n".join(_lines(tables, ())) + "\n")
    return path


def _lines(table: Table, place: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) or "env" in value}
    lines = [f"[{'.'.join(map(json.dumps, place))}]"] if place and plain else []
    lines += [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if key not in plain:
            lines += _lines(value, (*place, key))
    return lines


def _value(value: object) -> str:
    return f'{{ env = "{value["env"]}" }}' if isinstance(value, Mapping) else json.dumps(value)


def question(caller: str, *, stream: bool = False, **more: object) -> bytes:
    """Write a request that says for whom it is."""
    return json.dumps({"messages": [{"role": "user", "content": f"for {caller}."}], "stream": stream, **more}).encode()


def caller_of(visit: Visit) -> str:
    """Return for whom a request is."""
    text: str = json.loads(visit.body)["messages"][-1]["content"]
    return text.removeprefix("for ").removesuffix(".")


class CountingUpstream(FaultUpstream):
    """Answers each request with so many tokens, and counts them by caller. ``holding`` keeps all answers back."""

    def __init__(self, *, output: int = OUTPUT) -> None:
        super().__init__(self._answer)
        self.output = output
        self.tokens: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.holding: set[str] = set()

    def _answer(self, visit: Visit) -> Script:
        caller = caller_of(visit)
        self.requests[caller] += 1
        self.tokens[caller] += PROMPT + self.output
        body = answer(self.output, stream=json.loads(visit.body).get("stream", False))
        return (Hold(), Send(body)) if caller in self.holding else (Send(body),)

    def held(self, caller: str) -> list[Visit]:
        """Return the requests of a caller whose answers are being kept back."""
        return [visit for visit in self.visits if visit.held.is_set() and caller_of(visit) == caller]


def answer(output: int = OUTPUT, *, stream: bool) -> bytes:
    """Write an answer with so many tokens, in two events where it is a stream."""
    usage = {"prompt_tokens": PROMPT, "completion_tokens": output, "total_tokens": PROMPT + output}
    if stream:
        events = ROLE + delta("Hello") + FINISH + event(choices=[], usage=usage) + DONE
        return head() + chunk(events) + LAST_CHUNK
    message = {"role": "assistant", "content": "Hello"}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}).encode()
    return head("application/json", length=len(body)) + body


async def insist(url: str, caller: str, **more: Any) -> Answer:
    """Ask until Redis is not away."""
    async with asyncio.timeout(60):
        while (answer := await ask(url, caller, **more)).status == 503:
            assert answer.error["code"] == "quota_unavailable"
            await asyncio.sleep(0.1)
    return answer


async def ask(url: str, caller: str, *, stream: bool = False, headers: Fields = (), **more: object) -> Answer:
    """Ask as a caller, on a connection of its own."""
    return await post(url, CHAT, question(caller, stream=stream, **more), [bearer(caller), *headers])


async def hammer(
    urls: Sequence[str], caller: str, *, each: int = 4, connections: int = CONNECTIONS, **more: Any
) -> list[Answer]:
    """Ask as fast as can be from many clients, each of which asks all relays in turn, whatever they say."""

    async def client(number: int) -> list[Answer]:
        return [await ask(urls[(number + turn) % len(urls)], caller, **more) for turn in range(each)]

    answers = await asyncio.gather(*(client(number) for number in range(connections)))
    return [answer for some in answers for answer in some]


class Count(NamedTuple):
    """How many of a hammer's requests were served, and how many met a relay that took its Redis to be away.

    A machine on which nothing runs for a tenth of a second looks like that; who has a limit is then refused.
    """

    granted: int
    away: int


def count(answers: Sequence[Answer]) -> Count:
    """Count; all others must have been refused for a limit, and what was served must be whole."""
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 429, 403, 503}, statuses
    for answer in answers:
        if answer.status == 200 and answer.header("content-type") != "application/json":
            assert answer.body.endswith(DONE)
        if answer.status == 503:
            assert answer.error["code"] == "quota_unavailable"
    return Count(statuses[200], statuses[503])


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Ask again and again until it is so."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def left(url: str, caller: str, **amounts: int) -> dict[str, int]:
    """Wait until so much is left of some of a caller's limits, and return what is left of each.

    What has ended is settled beside its answer. To ask does not count as a request.
    """
    found: dict[str, int] = {}

    async def is_so() -> bool:
        answer = await get(url, "GET", "/v1/usage", [bearer(caller)])
        if answer.status == 200:
            found.update({each["limit"]: each["remaining"] for each in answer.json()["limits"]})
        return found.items() >= amounts.items()

    await until(is_so)
    return found


async def clear_of_midnight(seconds: float = 30.0) -> None:
    """Wait where a day of UTC is about to end, since quotas begin anew with it."""
    now = datetime.now(UTC)
    left = 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)
    if left < seconds:
        await asyncio.sleep(left + 1)
