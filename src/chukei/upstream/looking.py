"""The relay's own look at work in the background that nobody asks about: a response, or a batch."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

from chukei import azure
from chukei.errors import UpstreamError, event_too_large
from chukei.model import MEBIBYTE, Deployment, End, Model
from chukei.objects import answers
from chukei.objects.batch_report import OutputReader, state_of
from chukei.objects.job import Job
from chukei.objects.kinds import BATCH
from chukei.ports import Credential, Upstream
from chukei.stream.whole_answer import AnswerReport, Reader

LOOK_SECONDS = 30.0
"""Most seconds of a look."""

OUTPUT_SECONDS = 1800.0
"""Most seconds for reading a batch's output file."""

MOST_BATCH_BYTES = 4 * MEBIBYTE
"""Bytes of the description of a batch; a list of errors may be long."""


class StatusClient:
    """Asks deployments how what they make is doing."""

    def __init__(self, models: Iterable[Model], upstream: Upstream, credentials: Mapping[str, Credential]) -> None:
        deployments = [each for model in models for each in model.deployments]
        self._deployments = {each.identity: each for each in reversed(deployments)}
        self._resources = {each.endpoint: each for each in reversed(deployments)}
        self._upstream = upstream
        self._credentials = credentials

    async def __call__(self, job: Job) -> AnswerReport | None:
        """Return how a job is doing; None if its deployment, or the resource, does not know it any more.

        Raises:
            UpstreamError: it could not be asked.
        """
        deployment = self._deployments.get(job.identity) or self._resources.get(job.identity.rpartition("/")[0])
        if deployment is None:  # no longer configured
            return None
        if job.kind != BATCH:
            reader = Reader()
            found = await self._read(job, deployment, f"responses/{quote(job.id, safe='')}", reader.feed)
            return reader.report() if found else None
        return await self._look_at_batch(job, deployment)

    async def _look_at_batch(self, job: Job, deployment: Deployment) -> AnswerReport | None:
        """Return how a batch is doing. If it has ended without telling its usage, its output file is read."""
        text = bytearray()
        if not await self._read(job, deployment, f"batches/{quote(job.id, safe='')}", text.extend, MOST_BATCH_BYTES):
            return None
        report, output = state_of(answers.read(bytes(text)))
        if output is None:
            return report
        reader = OutputReader(report)
        path = f"files/{quote(output, safe='')}/content"
        found = await self._read(job, deployment, path, reader.feed, seconds=OUTPUT_SECONDS)
        return reader.report() if found else report

    async def _read(
        self,
        job: Job,
        deployment: Deployment,
        path: str,
        feed: Callable[[bytes], None],
        most: int | None = None,
        seconds: float = LOOK_SECONDS,
    ) -> bool:
        """Read an answer, ``most`` bytes of it; return whether the resource knows the object.

        Raises:
            UpstreamError: it could not be asked.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(job, deployment, path, feed, most)
        except TimeoutError:
            message = f"The upstream did not answer within {seconds:g} s."
            raise UpstreamError("upstream_timeout", message, end=End.TIMEOUT, status=504) from None

    async def _ask(
        self, job: Job, deployment: Deployment, path: str, feed: Callable[[bytes], None], most: int | None
    ) -> bool:
        credential = await self._credentials[deployment.name].header()
        headers = [azure.ANY, credential, (b"user-agent", b"chukei")]
        target = azure.object_target(path, "", job.version)
        answer = await self._upstream.request("GET", deployment.endpoint, target, headers, b"", _nothing)
        complete, size = False, 0
        try:
            if answer.status == 404:
                return False
            if answer.status != 200:
                message = f"The upstream answered with status {answer.status}."
                raise UpstreamError(f"upstream_{answer.status}", message, end=End.UPSTREAM_STATUS)
            while (data := await answer.read()) != b"":
                feed(data or b"")
                size += len(data or b"")
                if most is not None and size > most:
                    raise event_too_large()
            complete = True
            return True
        finally:
            if complete or answer.status != 200:
                answer.finish()
            else:
                answer.abort()


def _nothing() -> None:
    """A look costs nothing, so it does not matter when it is on its way."""
