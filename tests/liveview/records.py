"""Records of requests as the gateway leaves them, and a window on a clock of the test's own."""

from typing import Any

from tests.fakes import FakeClock

from chukei.liveview import worker
from chukei.liveview.part import Part, PoolMember
from chukei.liveview.window import Window
from chukei.model import Caller, CallerKind, End
from chukei.pool.member import Status
from chukei.record import Attempt, RequestRecord, RunningRequest
from chukei.usage import Usage

START = 10_000.0


def record(
    *,
    caller: str | None = "team-a",
    deployment: str = "east",
    seconds: float = 0.5,
    stream: bool = True,
    duration: float = 1.0,
    usage: Usage | None = None,
    lost: tuple[Attempt, ...] = (),
    **fields: Any,
) -> RequestRecord:
    """Return the record of an answered request; ``fields`` and ``lost`` attempts make it another one."""
    answering = Attempt(
        deployment, seconds=seconds, started=fields.pop("started", 0.002), code=fields.pop("attempt_code", None)
    )
    made = RequestRecord(
        "req_1",
        "POST",
        "/v1/chat/completions",
        who=Caller(caller, CallerKind.KEY) if caller is not None else None,
        operation="chat",
        model="gpt-4o",
        deployment=deployment,
        stream=stream,
        status=200,
        end=End.COMPLETED,
        usage=usage or Usage(input=10, output=11),
        first_token=seconds + 0.002 if stream else None,
        duration=duration,
        received=0.001,
        tries=[*lost, answering],
        answering=answering,
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def refused(code: str = "rate_limit_exceeded", status: int = 429, **fields: Any) -> RequestRecord:
    """Return the record of a request that the relay refused."""
    shown = {"usage": None, "first_token": None, "stream": False, "deployment": None, "received": None} | fields
    made = record(status=status, end=End.REFUSED, code=code, tries=[], answering=None, **shown)
    made.usage = None
    return made


def failed(code: str = "upstream_500", **fields: Any) -> RequestRecord:
    """Return the record of a request whose only attempt failed."""
    made = record(status=502, end=End.UPSTREAM_STATUS, code=code, attempt_code=code, first_token=None, **fields)
    made.usage = None
    return made


def running(**fields: Any) -> RunningRequest:
    """Return a running stream."""
    shown: dict[str, Any] = {
        "caller": "team-a",
        "deployment": "east",
        "age": 3.0,
        "stream": True,
        "first_token": 1.0,
    } | fields
    return RunningRequest(**shown)


def member(status: Status = Status.READY, **fields: Any) -> PoolMember:
    """Return a deployment of a pool."""
    shown: dict[str, Any] = {
        "models": ["gpt-4o"],
        "seconds": 0.0,
        "why": None,
        "outstanding": 0,
        "weight": 1,
        "priority": 1,
    } | fields
    return PoolMember(status=status, **shown)


class Watched:
    """A window, its clock, and its part as other processes get it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.now = START
        self.window = Window(self.clock)
        self.running: list[RunningRequest] = []
        self.pool: dict[str, PoolMember] = {}

    def heard(self, *records: RequestRecord) -> "Watched":
        for each in records:
            self.window(each)
        return self

    def after(self, seconds: float) -> "Watched":
        self.clock.now += seconds
        return self

    def part(self, **state: Any) -> Part:
        return worker.decode(worker.encode(self.window.part(self.running, self.pool, **state)))
