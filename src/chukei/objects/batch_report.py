"""What a batch has used, from its own description or from its output file. Pure.

Newer versions of the API tell the usage in the batch; for others each line of the output has its own.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from chukei.accounts.cost import BATCH_TIER
from chukei.model import MEBIBYTE
from chukei.request.lines import Lines, TooLong
from chukei.stream.whole_answer import AnswerReport
from chukei.usage import DECODE_ERRORS, Usage, plus, reported

LONGEST_ANSWER = 32 * MEBIBYTE
"""Bytes of a line of an output file that is read; a list of 2,048 embeddings has about this."""

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""The states in which a batch stays."""

_PENDING = AnswerReport(finish_reasons={0: "in_progress"})


class BatchState(NamedTuple):
    """A batch's report, and the file that must be read because the report has no usage."""

    report: AnswerReport
    output: str | None = None


def state_of(batch: dict[str, Any]) -> BatchState:
    """Return the state of a batch, from the object that describes it."""
    status = batch.get("status")
    if status not in ENDED:
        return BatchState(_PENDING)
    counts, model, output = batch.get("request_counts"), batch.get("model"), batch.get("output_file_id")
    completed = counts.get("completed") if isinstance(counts, dict) else None
    answered = completed if isinstance(completed, int) and completed >= 0 else None
    usage = reported(msgspec.Raw(msgspec.json.encode(batch.get("usage"))))
    has_output = isinstance(output, str) and output != ""
    if usage is None and not answered and not (answered is None and has_output):
        usage = Usage()  # none of its requests was answered
    report = AnswerReport(
        usage, model if isinstance(model, str) else None, BATCH_TIER, {0: str(status)}, requests=answered or 0
    )
    return BatchState(report, output if usage is None and has_output else None)


class _Said(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    model: str | None = None


class _Response(msgspec.Struct):
    body: _Said | None = None


class _Line(msgspec.Struct):
    response: _Response | None = None


_decoder = msgspec.json.Decoder(_Line)


class OutputReader:
    """Sums the usage of a batch's output file as its bytes pass."""

    def __init__(self, report: AnswerReport) -> None:
        self._before = report
        self._lines: Lines | None = Lines(LONGEST_ANSWER)  # None after a line that is too long
        self._usage = Usage()
        self._model: str | None = report.model
        self._answers = 0
        self._odd = False  # not all of it could be read

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._lines is None:
            return
        try:
            for line in self._lines.feed(data):
                self._add(line)
        except TooLong:
            self._lines, self._odd = None, True

    def report(self) -> AnswerReport:
        """Return the batch's report at the end of the file. What could not be read makes it an estimate."""
        if self._lines is not None:
            self._add(self._lines.end())
        usage = replace(self._usage, estimated=self._odd)
        before = self._before
        return AnswerReport(
            usage,
            self._model,
            before.service_tier,
            before.finish_reasons,
            requests=max(before.requests, self._answers),
        )

    def _add(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            response = _decoder.decode(line).response
        except DECODE_ERRORS:
            self._odd = True
            return
        said = response.body if response is not None else None
        used = reported(said.usage) if said is not None else None
        if said is None or used is None:
            return
        self._answers += 1
        self._model = self._model or said.model
        self._usage = plus(self._usage, used)
