"""Reads a relay's test stream and says what something on the way does to it."""

from collections.abc import Awaitable, Callable, Mapping

from chukei.doctor.exchange import Exchange, decompressed, readable
from chukei.doctor.finding import Finding, Kind, Status, Subject, bounded, milliseconds
from chukei.doctor.judgement import SLOW_ANSWER_SECONDS, SLOW_EVENT_SECONDS, Pace, pace_of
from chukei.doctor.products import Product, Symptom, recognised, remedy
from chukei.gateway.pages import TEST_BOUNDS, TEST_SECONDS, TEST_TEXT

PATH = "/api/test-stream"
OFFERED = ("accept-encoding", "gzip, deflate, br, zstd")
"""What browsers offer; OpenAI's clients offer a part of it."""

PLAIN = ("accept-encoding", "identity")
HEARTBEAT_SECONDS = 15.0
"""Seconds after which a relay interrupts a silence by default (``stream.heartbeat_seconds``)."""

SPARE_SECONDS = 30.0

Get = Callable[..., Awaitable[Exchange]]


class StreamTest:
    """Reads the test stream of a relay at ``host``.

    ``get`` sends a request. ``stages`` are the seconds that the stages of a connection took. ``pace`` are the seconds
    between two events, None for the relay's own.
    """

    def __init__(self, get: Get, host: str, stages: Mapping[str, float], pace: float | None = None) -> None:
        self._get = get
        self._host = host
        self._stages = stages
        self._pace = pace
        self._seconds = len(TEST_TEXT) * (pace or TEST_SECONDS)
        self._subject = Subject(Kind.STREAM, "the test stream")

    async def run(self, idle: float) -> list[Finding]:
        """Read the stream, and once more if it was disturbed; then one with ``idle`` seconds of silence in it."""
        limit = 2 * (self._seconds + SPARE_SECONDS)
        findings = await bounded(self._subject, "stream", limit, self._read())
        if idle:
            limit = idle + self._seconds + 2 * SPARE_SECONDS
            findings += await bounded(self._subject, "idle", limit, self._silence(min(idle, TEST_BOUNDS["silence"][1])))
        return findings

    async def _ask(self, coding: tuple[str, str], silence: float = 0.0) -> Exchange:
        query = [f"pace={self._pace:g}"] if self._pace is not None else []
        query += [f"silence={silence:g}"] if silence else []
        seconds = self._seconds + silence + SPARE_SECONDS
        return await self._get(PATH + ("?" + "&".join(query) if query else ""), [coding], seconds)

    async def _read(self) -> list[Finding]:
        subject = self._subject
        try:
            answer = await self._ask(OFFERED)
        except (ValueError, OSError) as error:
            return [subject.failed("answer", str(error), remedy(Symptom.CUT, []))]
        if answer.status != 200 or answer.media_type != "text/event-stream":
            kind = answer.media_type or "no content type"
            advice = (
                "set CHUKEI_API_KEY" if answer.status in {401, 403} else "look at what answers in the relay's place"
            )
            return [subject.failed("answer", f"status {answer.status} with {kind} instead of a stream", advice)]
        products = recognised(self._host, answer.headers)
        findings = [self._way(products), self._compression(answer, products), *self._framing(answer, products)]
        pace = pace_of(decompressed(answer)) if readable(answer) else None
        if pace is None or (pace.done and (pace.buffered or pace.merged)):
            again = await self._ask(PLAIN)  # a busy machine must not be taken for a buffer
            if readable(again):
                answer, pace = again, pace_of(decompressed(again))
        if pace is None:
            return [*findings, subject.skipped("pace", f"the doctor cannot read {answer.coding}")]
        return [*findings, self._end(answer, pace, products), *self._arrival(answer, pace, products)]

    def _way(self, products: list[tuple[Product, str]]) -> Finding:
        shown = ", ".join(f"{product.name} ({sign})" for product, sign in products)
        return self._subject.ok("on the way", shown or "nothing names itself in the answer's header fields")

    def _compression(self, answer: Exchange, products: list[tuple[Product, str]]) -> Finding:
        if not answer.coding:
            return self._subject.ok("compression", "none, although the client offered it")
        seen = f"the stream is compressed ({answer.coding}), although the relay sends no-transform"
        return self._subject.failed("compression", seen, remedy(Symptom.COMPRESSION, products), coding=answer.coding)

    def _framing(self, answer: Exchange, products: list[tuple[Product, str]]) -> list[Finding]:
        subject, headers, found = self._subject, answer.headers, []
        if "content-length" in headers:
            seen = (
                f"the answer has a content-length ({headers['content-length']}): it was collected before it was sent on"
            )
            found.append(subject.failed("framing", seen, remedy(Symptom.BUFFERING, products)))
        elif answer.version == "1.0" or "chunked" not in headers.get("transfer-encoding", ""):
            seen = f"HTTP/{answer.version} without chunks: clients cannot tell the end of an answer from a break"
            found.append(subject.warning("framing", seen, remedy(Symptom.PROTOCOL, products)))
        else:
            found.append(subject.ok("framing", f"HTTP/{answer.version}, chunked"))
        if "no-transform" not in headers.get("cache-control", ""):
            seen = (
                f"cache-control is {headers.get('cache-control', 'missing')!r}; the relay sends no-cache, no-transform"
            )
            advice = (
                "let the proxies in front of the relay pass on cache-control, which keeps others from changing streams"
            )
            found.append(subject.warning("headers", seen, advice))
        return found

    def _end(self, answer: Exchange, pace: Pace, products: list[tuple[Product, str]]) -> Finding:
        count, all_of_it = len(pace.arrivals), len(TEST_TEXT)
        if pace.done and count == all_of_it:
            return self._subject.ok("end", f"complete: {count} events and [DONE]", events=count)
        how = {"closed": "closed", "reset": "reset", "silent": "silent", "": "ended"}[answer.broken]
        seen = f"{count} of {all_of_it} events, no [DONE]: the connection is {how} after {answer.ended:.1f} s"
        seconds = round(answer.ended, 1)
        return self._subject.failed("end", seen, remedy(Symptom.CUT, products), events=count, cut_seconds=seconds)

    def _arrival(self, answer: Exchange, pace: Pace, products: list[tuple[Product, str]]) -> list[Finding]:
        subject, measured = self._subject, pace.measured()
        gaps = f"one event every {measured['gap_median_ms']:g} ms, sent every {measured['sent_gap_median_ms']:g} ms"
        if pace.buffered:
            arrived, sent = sum(pace.gaps) * 1000, sum(pace.sent_gaps)
            seen = f"held back: all events arrived within {arrived:.0f} ms, although they were sent over {sent:.1f} s"
            return [subject.failed("buffering", seen, remedy(Symptom.BUFFERING, products), **measured)]
        if pace.merged:
            seen = f"{measured['merged_percent']:g} % of the events arrived together with the one before: {gaps}"
            return [subject.failed("merging", seen, remedy(Symptom.MERGING, products), **measured)]
        return [subject.ok("buffering", f"none: {gaps}", **measured), self._latency(answer, pace)]

    def _latency(self, answer: Exchange, pace: Pace) -> Finding:
        measured = pace.measured()
        there_and_back = self._stages.get("connect", 0.0)
        added = max(answer.first_byte - there_and_back, 0.0)
        seen = (
            f"the answer began {added * 1000:.0f} ms after the request, not counting the way "
            f"({there_and_back * 1000:.0f} ms); events took up to {measured['delay_max_ms']:.0f} ms longer than the "
            "fastest one"
        )
        numbers = {"first_byte_ms": milliseconds(answer.first_byte), "connect_ms": milliseconds(there_and_back)}
        slow = added > SLOW_ANSWER_SECONDS or measured["delay_median_ms"] > SLOW_EVENT_SECONDS * 1000
        level, advice = (Status.WARNING, remedy(Symptom.LATENCY, [])) if slow else (Status.OK, "")
        return Finding(Kind.STREAM, self._subject.name, "latency", level, seen, advice, numbers)

    async def _silence(self, seconds: float) -> list[Finding]:
        subject = self._subject
        answer = await self._ask(PLAIN, seconds)
        pace = pace_of(decompressed(answer))
        if pace.done and max(pace.sent_gaps, default=0.0) < seconds / 2:
            return [subject.skipped("idle", "this relay's test stream does not know silence; update the relay")]
        if pace.done:
            return [subject.ok("idle", f"a silence of {seconds:g} s is not cut", silence_seconds=seconds)]
        quiet = answer.ended - (pace.arrivals[-1].at if pace.arrivals else 0.0)
        seen = f"the connection is {answer.broken or 'closed'} after {quiet:.1f} s of silence"
        advice = remedy(Symptom.IDLE, recognised(self._host, answer.headers))
        numbers = {"silence_seconds": seconds, "cut_seconds": round(quiet, 1)}
        if quiet > HEARTBEAT_SECONDS:
            seen += f"; the relay's heartbeat every {HEARTBEAT_SECONDS:g} s saves streams, but not long whole answers"
            return [subject.warning("idle", seen, advice, **numbers)]
        return [subject.failed("idle", seen, advice, **numbers)]
