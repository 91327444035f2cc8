"""Batches: no model is used that the caller may not use, and each batch is charged once.

A file's lines are checked and written while it is uploaded. What they contain is remembered in memory. A file of which
nothing is remembered, such as one of another process or one that was sent in pieces, is read through when a batch is
made of it. Its lines must then be as this relay would have written them.
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar

from chukei import azure
from chukei.accounts.admission import NONE, Kept
from chukei.accounts.entries import BATCH as OPERATION
from chukei.accounts.policy import Policy
from chukei.errors import CallerError
from chukei.gateway.batch_lines import (
    OPERATION_AT,
    Contents,
    LineReader,
    Target,
    Targets,
    targets_at,
    targets_for,
)
from chukei.gateway.batch_upload import BatchUpload, joined
from chukei.gateway.delivery import parts_of
from chukei.gateway.object_homes import Homes, Wanted
from chukei.gateway.object_request import Ask, ObjectRequest, Services
from chukei.model import Deployment, Model, header
from chukei.objects import errors
from chukei.objects.answers import Json
from chukei.objects.batch_report import OutputReader, state_of
from chukei.objects.kinds import BATCH
from chukei.objects.references import Reference
from chukei.request.fields import Fields
from chukei.request.object_routes import ROUTES, path_of
from chukei.stream.whole_answer import AnswerReport
from chukei.upstream.object_client import Asked
from chukei.usage import Usage

MOST_FILES = 10_000
"""Files of which it is remembered what they contain, and output files of which it is known whose batch they end."""

_MEMBERS = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
"""What a request for a batch may have. Others, such as Azure's ``input_blob``, name files that nobody has checked."""

_CONTENT = next(route for route in ROUTES if route.name == "file_content")


class _Known(NamedTuple):
    """What a file contains, by whose rules, and for which resource."""

    contents: Contents
    policy: Policy
    endpoint: str


class _Output(NamedTuple):
    batch: str
    report: AnswerReport


@dataclass(slots=True)
class Ticket:
    """A batch that may be made: what its file contains, and what is reserved. ``begun`` once it was made."""

    contents: Contents
    kept: Kept
    begun: bool = False


_Value = TypeVar("_Value")


class Batches:
    """Serves the requests for batches and their files, under one configuration."""

    def __init__(self, services: Services, homes: Homes, ask: Ask, idle_seconds: float) -> None:
        self._services = services
        self._homes = homes
        self._ask = ask
        self._idle_seconds = idle_seconds
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._outputs: OrderedDict[str, _Output] = OrderedDict()

    # The input file.

    async def upload(self, request: ObjectRequest, deployment: Deployment) -> None:
        """Prepare the upload of a file. If it is a batch's, its lines are checked and written on their way.

        Raises:
            CallerError: its first lines are not valid, or not for this caller.
        """
        parts, policy = request.parts, request.policy
        assert parts is not None
        model_of = partial(self._services.pool.model, may_see=policy.allows)
        lines = self._reader(request, targets_for(policy, model_of, deployment.endpoint), "file")
        content_type = header(request.incoming.headers, b"content-type") or b""
        upload = BatchUpload(content_type, lines, partial(self._own, request, deployment), request.reach)
        read, events = await upload.begin(parts)
        if events is None:
            request.parts = joined(read, parts)
            return
        request.parts, request.length = upload.written(events, parts), None
        request.content_type = upload.content_type

        def made(answer: Json) -> None:
            if isinstance(answer.get("id"), str):
                _remember(self._known, answer["id"], _Known(lines.contents, policy, deployment.endpoint))

        request.told = made

    def _reader(self, request: ObjectRequest, targets: Targets, param: str, *, exact: bool = False) -> LineReader:
        return LineReader(
            targets, request.policy, self._services.admission.estimator, request.caller, param, exact=exact
        )

    async def _own(self, request: ObjectRequest, deployment: Deployment, named: Sequence[Reference]) -> None:
        """Check the objects that lines name.

        Raises:
            CallerError: 404, one is another caller's; 400, one is at another resource.
        """
        wanted = [Wanted(each.kind, each.id, each.param, each.needed) for each in named]
        for each, found in zip(wanted, await self._homes.find(wanted, request), strict=True):
            if found is not None and not deployment.keeps(found.identity):
                raise errors.elsewhere(each.id, each.param or "file")

    # Making a batch.

    async def admit(self, request: ObjectRequest, deployment: Deployment) -> Ticket:
        """Return leave to make the batch that a request asks for.

        Raises:
            CallerError: 400 or 403, the file has not been checked and is not as it must be, or was made for another
                address; 403, a quota is used up.
            Unavailable: see ``Admission.set_aside``.
        """
        fields = Fields(request.body)
        for name in fields.names:
            if name not in _MEMBERS:
                message = f"This relay makes batches of files only, so {name[:80]!r} is none of {', '.join(_MEMBERS)}."
                raise CallerError(400, "invalid_batch", message, param=name[:80])
        id = fields.text("input_file_id")
        if not id:
            raise CallerError(400, "invalid_batch", "'input_file_id' is missing.", param="input_file_id")
        known = self._known.get(id)
        if known is None or known.policy is not request.policy or known.endpoint != deployment.endpoint:
            known = _Known(await self._read(id, request, deployment), request.policy, deployment.endpoint)
            _remember(self._known, id, known)
        contents = known.contents
        endpoint = fields.text("endpoint") or ""
        if OPERATION_AT.get(endpoint) is not OPERATION_AT[contents.url]:
            message = f"The file's lines are for {contents.url!r}, so 'endpoint' must be that."
            raise CallerError(400, "invalid_batch", message, param="endpoint")
        assert contents.target is not None
        request.exchange.record.model = contents.target.model.name
        most = Usage(contents.input, contents.output, estimated=True)
        kept = await self._services.admission.set_aside(request.policy, contents.amounts, most)
        ticket = Ticket(contents, kept)
        request.told = partial(self._begin, request, deployment, ticket)
        return ticket

    def release(self, ticket: Ticket) -> None:
        """Give back what is reserved, if no batch was made."""
        if not ticket.begun and ticket.kept.id is not None:
            self._services.admission.settle(ticket.kept.id, NONE)

    async def _read(self, id: str, request: ObjectRequest, deployment: Deployment) -> Contents:
        """Read a file at the resource through, and return what it contains."""
        targets = targets_at(request.policy, self._models, deployment.endpoint)
        lines = self._reader(request, targets, "input_file_id", exact=True)
        opened = await self._ask(request, Asked(_CONTENT, deployment, path_of(_CONTENT, (("file", id),))))
        try:
            async for part in parts_of(opened, self._idle_seconds):
                await self._own(request, deployment, lines.feed(part)[1])
                request.reach(lines.held)
            await self._own(request, deployment, lines.end()[1])
        except BaseException:
            opened.answer.abort()
            raise
        opened.answer.finish()
        return lines.contents

    def _models(self, deployment: str) -> Sequence[Model]:
        """Return the models of which one may have a deployment of this name."""
        pool = self._services.pool
        models = [pool.model(name) for name in pool.names]
        if deployment not in pool.names:
            with suppress(CallerError):  # unless a resource serves any deployment by its name
                models.append(pool.model(deployment))
        return models

    def _begin(self, request: ObjectRequest, deployment: Deployment, ticket: Ticket, answer: Json) -> None:
        """Take up a batch that was made."""
        jobs, record, id = self._services.jobs, request.exchange.record, answer.get("id")
        if jobs is None or not isinstance(id, str):
            return
        ticket.begun = True
        contents, version = ticket.contents, azure.version_for(deployment, request.route.api_version)
        name = _configured(contents.target, deployment.endpoint) if contents.target is not None else None
        made = replace(record, operation=OPERATION, deployment=name, count=contents.lines)
        jobs.begin(id, deployment.resource, version, made, ticket.kept, BATCH)

    # The end of a batch.

    def seen(self, batch: Json) -> None:
        """Take note of an answer that describes a batch."""
        jobs, id = self._services.jobs, batch.get("id")
        if jobs is None or not isinstance(id, str):
            return
        report, output = state_of(batch)
        if output is None and (report.usage is not None or report.pending):
            jobs.seen(id, report)
        elif output is not None:
            _remember(self._outputs, output, _Output(id, report))

    def output(self, file: str) -> OutputReader | None:
        """Return who reads the content of a file, if it is the output of a batch that has told no usage."""
        known = self._outputs.get(file)
        return OutputReader(known.report) if known is not None else None

    def read(self, file: str, reader: OutputReader) -> None:
        """Take note that all of an output file was passed on."""
        known, jobs = self._outputs.pop(file, None), self._services.jobs
        if known is not None and jobs is not None:
            jobs.seen(known.batch, reader.report())


def _configured(target: Target, endpoint: str) -> str:
    """Return the configuration's name of a deployment for batches, if it has one."""
    deployments = target.model.deployments
    named = (each.name for each in deployments if (each.endpoint, each.deployment) == (endpoint, target.deployment))
    return next(named, target.deployment)


def _remember(known: OrderedDict[str, _Value], id: str, value: _Value) -> None:
    known[id] = value
    known.move_to_end(id)
    if len(known) > MOST_FILES:
        known.popitem(last=False)
