"""One request to one deployment: written for its API, sent with its credential, up to the first output."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from chukei.accounts.estimate import output_of
from chukei.azure import NOTHING_MORE, Passing, version_for
from chukei.config import StreamSettings
from chukei.errors import CallerError, UpstreamError
from chukei.model import Deployment, Headers
from chukei.pool import Lease, judge
from chukei.pool.verdicts import Cost
from chukei.ports import Answer, Clock, Credential, Upstream
from chukei.record import Attempt
from chukei.request.call import Call
from chukei.request.fields import Fields
from chukei.stream.events import Item
from chukei.trace import TraceContext
from chukei.trace import write as write_context
from chukei.upstream.capabilities import LearntCapabilities
from chukei.upstream.connect import Opened, Waits, connect
from chukei.upstream.writing import write
from chukei.usage import Usage

CANCELLED = "cancelled"
"""The code of an attempt that was cancelled: the client left, or another deployment was faster."""


@dataclass(slots=True)
class LeasedAnswer:
    """An answer that has begun, and its lease of the deployment, which ``close`` or ``drop`` releases.

    ``made`` is called at its end with the answer itself and the items of a response, if they are to be recorded.
    """

    opened: Opened
    lease: Lease
    attempt: Attempt
    clock: Clock
    made: "Callable[[LeasedAnswer, Sequence[Item]], None] | None" = None

    def broke(self, error: UpstreamError) -> None:
        """Report that the answer failed after it had begun. Only the first report counts."""
        if self.attempt.code is None:
            self.attempt.code = error.code
            self.lease.failed(self.clock(), judge(error))

    def close(self) -> None:
        """Release the lease after the answer was read to its end, which has already released the connection."""
        self.lease.release(self.clock())

    def drop(self) -> None:
        """Release the lease and close the connection."""
        self.opened.answer.abort()
        self.close()


class DeploymentClient:
    """Sends requests to deployments. What it learns of their capabilities is added to ``known``.

    ``passing`` says what of a client's request is sent with it.
    """

    def __init__(
        self,
        upstream: Upstream,
        credentials: Mapping[str, Credential],
        settings: StreamSettings,
        clock: Clock,
        known: LearntCapabilities | None = None,
        passing: Passing = NOTHING_MORE,
    ) -> None:
        self.upstream = upstream
        self.credentials = credentials
        self._cap = settings.max_event_bytes
        self._clock = clock
        self.known = known or LearntCapabilities()
        self._passing = passing

    def credential(self, deployment: Deployment) -> Coroutine[None, None, tuple[bytes, bytes]]:
        """Return the header field with the relay's credential for a deployment.

        Raises:
            UpstreamError: no token is available.
        """
        return self.credentials[deployment.name].header()

    async def ask(
        self,
        lease: Lease,
        call: Call,
        request_id: str,
        attempt: Attempt,
        waits: Waits,
        trace: TraceContext | None = None,
        through: Upstream | None = None,
    ) -> LeasedAnswer:
        """Return the answer once it has begun.

        On failure the lease is released and the pool is notified. ``attempt`` is filled in either way. The request to
        the deployment is sent within ``trace``, and by ``through`` if that is given.

        Raises:
            UpstreamError: the deployment failed.
            CallerError: the call cannot be written for it.
        """
        clock = self._clock
        started = clock()
        try:
            passed = passed_on(trace, attempt)
            opened = await self._send(through or self.upstream, lease, call, request_id, attempt, waits, passed)
        except UpstreamError as error:
            attempt.code = error.code
            verdict = judge(error)
            if verdict.cost is Cost.NOTHING:
                attempt.usage = None
            elif error.usage is not None:
                attempt.usage = error.usage
            lease.failed(clock(), verdict)
            lease.release(clock())
            raise
        except BaseException as error:
            attempt.code = error.code if isinstance(error, CallerError) else CANCELLED
            lease.release(clock())
            raise
        finally:
            attempt.seconds = clock() - started
        return LeasedAnswer(opened, lease, attempt, clock)

    async def _send(
        self,
        upstream: Upstream,
        lease: Lease,
        call: Call,
        request_id: str,
        attempt: Attempt,
        waits: Waits,
        passed: Headers,
    ) -> Opened:
        """Send the call; rewrite and resend it if a refusal shows which parameters the deployment supports."""
        deployment, started = lease.deployment, self._clock()

        def sent() -> None:
            if call.operation.free:
                return
            attempt.usage = Usage(output=output_of(call, lease.model), estimated=True)  # may be generated unseen

        version = version_for(deployment, call.api_version, self._passing.previews)
        while True:
            known = self.known.of(deployment, call.operation, version)
            credential = await self.credential(deployment)
            try:
                return await connect(
                    upstream,
                    write(call, lease.model, deployment, known, version, credential, request_id, passed, self._passing),
                    call.operation,
                    wants_stream=call.stream,
                    waits=waits.after(self._clock() - started),
                    cap=self._cap,
                    sent=sent,
                    answered=partial(note_answer, attempt),
                )
            except UpstreamError as error:
                names = call.body.names if isinstance(call.body, Fields) else ()
                if error.status != 400 or not self.known.learn(
                    deployment, call.operation, version, error.body, used=known, names=names
                ):
                    raise
                attempt.usage = None  # the refusal cost nothing, and the next request may not be sent


def note_answer(attempt: Attempt, answer: Answer) -> None:
    """Record what the head of an answer tells about an attempt."""
    headers = dict(reversed(answer.headers))  # the first of several fields of one name counts
    attempt.status = answer.status
    attempt.upstream_request_id = _text(headers.get(b"apim-request-id"))
    attempt.region = _text(headers.get(b"x-ms-region"))
    attempt.spilled = _has_spilled(headers)


def passed_on(trace: TraceContext | None, attempt: Attempt) -> Headers:
    """Return the fields that place an attempt's requests in a trace."""
    return [] if trace is None else write_context(trace, attempt.span_id)


def _has_spilled(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a provisioned deployment let another one answer (Microsoft: "Manage traffic with spillover").

    The documented header names the deployment that the request came from. An undocumented one says true or false.
    """
    said = headers.get(b"x-ms-is-spilled-over", b"")
    return said.lower() == b"true" or b"x-ms-spillover-from-deployment" in headers


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None
