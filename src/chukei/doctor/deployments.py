"""Asks a deployment: with its credential, and by the operations that it may serve. Each question costs a few tokens."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from chukei.adapters.http.client import HttpClient
from chukei.adapters.identity.credentials import TokenSource, credential_for
from chukei.azure import ALL_V1, CHAT, MESSAGES, OPERATIONS, RESPONSES, V1, version_for
from chukei.config import CredentialSettings, Settings
from chukei.doctor.finding import Finding, Kind, Status, Subject, milliseconds
from chukei.doctor.machine import date_of
from chukei.doctor.refusals import BROKEN, MAX_SHOWN, is_unable, row_of, words_of
from chukei.errors import RelayError
from chukei.model import Deployment, Headers, Model, Operation, header
from chukei.ports import Answer, Clock, Socket, SocketLimits
from chukei.request.call import read
from chukei.request.routes import Route
from chukei.stream.redaction import Redactor
from chukei.upstream.capabilities import LearntCapabilities
from chukei.upstream.connect import Opened, Waits, connect
from chukei.upstream.refusals import MAX_ERROR_BYTES
from chukei.upstream.writing import write
from chukei.usage import DECODE_ERRORS

_INPUT = b'{"input":"Answer with the word ready.","stream":true,"store":false}'
QUESTIONS: dict[Operation, bytes] = {
    CHAT: b'{"messages":[{"role":"user","content":"Answer with the word ready."}],"stream":true}',
    OPERATIONS["embeddings"]: b'{"input":"ready"}',
    RESPONSES: _INPUT,
    OPERATIONS["completions"]: b'{"prompt":"ready","max_tokens":1,"stream":true}',
}
"""The question for each operation. An answer is dropped at its first output, which stops the model."""

CLAUDE: dict[Operation, bytes] = {
    MESSAGES: b'{"max_tokens":16,"messages":[{"role":"user","content":"Answer with the word ready."}],"stream":true}'
}
"""The question for a deployment of Claude."""

RESPONSES_SINCE = "2025-03-01-preview"
"""The first dated version with the Responses API."""

TOKEN_SECONDS = 30.0

_VARIABLES = {
    "endpoint": "AZURE_OPENAI_ENDPOINT",
    "deployment": "AZURE_OPENAI_DEPLOYMENT",
    "api_version": "AZURE_OPENAI_API_VERSION",
    "api_key": "AZURE_OPENAI_API_KEY",
    "scope": "AZURE_OPENAI_AD_TOKEN or the identity",
}
"""The settings of a deployment that a remedy may name, as variables."""

Identity = Callable[[str | None], TokenSource]


@dataclass(slots=True)
class Times:
    """The differences between this machine's clock and others, in seconds, by the source."""

    wall: Clock
    differences: dict[str, float] = field(default_factory=dict)

    def heard(self, source: str, headers: Headers) -> None:
        """Note the Date field of an answer."""
        told = date_of(header(headers, b"date"))
        if told is not None:
            self.differences[source] = self.wall() - told


class _Witness:
    """An upstream that keeps the status and body of a refusal, of which the relay's own errors leave out parts."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.status = 0
        self.body = b""

    async def request(
        self,
        method: str,
        endpoint: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes],
        sent: Callable[[], None],
        length: int | None = None,
    ) -> Answer:
        answer = await self._client.request(method, endpoint, target, headers, body, sent, length)
        self.status, self.body = answer.status, b""
        return answer if answer.status == 200 else _Kept(answer, self)

    async def open_socket(
        self, endpoint: str, target: str, headers: Headers, subprotocols: Sequence[str], limits: SocketLimits
    ) -> Socket:
        return await self._client.open_socket(endpoint, target, headers, subprotocols, limits)

    async def close(self) -> None:
        await self._client.close()


class _Kept:
    """The answer of a refusal, whose body the witness keeps while it is read."""

    def __init__(self, answer: Answer, witness: _Witness) -> None:
        self._answer, self._witness = answer, witness
        self.status, self.headers, self.until_close = answer.status, answer.headers, answer.until_close
        self.wake, self.divert, self.finish, self.abort = answer.wake, answer.divert, answer.finish, answer.abort

    async def read(self) -> bytes | None:
        data = await self._answer.read()
        self._witness.body = (self._witness.body + (data or b""))[:MAX_ERROR_BYTES]
        return data


class Examiner:
    """Asks deployments. ``clock`` measures, ``times`` collects the Date fields of answers."""

    def __init__(self, settings: Settings, client: HttpClient, clock: Clock, times: Times) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._times = times
        self._learnt = LearntCapabilities()

    async def examine(self, model: Model, deployment: Deployment, credential: tuple[bytes, bytes]) -> list[Finding]:
        """Ask a deployment for a chat, then for the other operations that it may serve."""
        subject = Subject(Kind.DEPLOYMENT, name_of(model, deployment))
        if deployment.api == "anthropic":
            found = await self._ask(subject, model, deployment, credential, MESSAGES)
            return [found or subject.skipped("deployment", "it does not serve messages")]
        first = await self._ask(subject, model, deployment, credential, CHAT)
        if first is not None and first.status is not Status.OK:
            return [first]
        if first is not None:
            return [first, await self._also_responses(subject, model, deployment, credential)]
        for operation in list(QUESTIONS)[1:]:
            found = await self._ask(subject, model, deployment, credential, operation)
            if found is not None:
                return [found]
        seen = "it serves neither text nor embeddings: images and sound are not asked for, because they cost more"
        return [subject.skipped("deployment", seen)]

    async def _also_responses(
        self, subject: Subject, model: Model, deployment: Deployment, credential: tuple[bytes, bytes]
    ) -> Finding:
        version = version_for(deployment, None)
        if version not in ALL_V1 and version < RESPONSES_SINCE:
            seen = f"not in {version}; it takes {self._setting(deployment, 'api_version')} = {V1!r}"
            return subject.skipped("responses", seen)
        found = await self._ask(subject, model, deployment, credential, RESPONSES)
        if found is None or found.status is Status.FAILED:
            return subject.skipped("responses", f"not served: {found.seen if found else 'not by this model'}")
        return found

    async def _ask(
        self,
        subject: Subject,
        model: Model,
        deployment: Deployment,
        credential: tuple[bytes, bytes],
        operation: Operation,
    ) -> Finding | None:
        """Ask for one operation; None if the deployment cannot do it."""
        witness, begun = _Witness(self._client), self._clock()
        try:
            opened = await self._opened(witness, model, deployment, credential, operation)
        except RelayError as error:
            return self._failure(subject, deployment, credential, operation, witness, error)
        spent = milliseconds(self._clock() - begun)
        headers = opened.answer.headers
        opened.answer.abort()
        region = (header(headers, b"x-ms-region") or b"").decode("latin-1")
        where = f" in {region}" if region else ""
        measured: dict[str, float | str] = {"first_output_ms": spent} | ({"region": region} if region else {})
        return subject.ok(operation.name, f"answers{where}, first output after {spent:.0f} ms", **measured)

    async def _opened(
        self,
        witness: _Witness,
        model: Model,
        deployment: Deployment,
        credential: tuple[bytes, bytes],
        operation: Operation,
    ) -> Opened:
        settings = self._settings
        question = CLAUDE.get(operation) or QUESTIONS[operation]
        call = read(Route(operation), operation, [(b"content-type", b"application/json")], question)
        version = version_for(deployment, call.api_version)
        seconds = settings.stream.first_token_seconds if call.stream else settings.upstream.answer_seconds
        while True:
            known = self._learnt.of(deployment, operation, version)
            try:
                return await connect(
                    witness,
                    write(call, model, deployment, known, version, credential, "doctor"),
                    operation,
                    wants_stream=call.stream,
                    waits=Waits(seconds, seconds, seconds),
                    cap=settings.stream.max_event_bytes,
                    sent=lambda: None,
                    answered=lambda answer: self._times.heard(deployment.endpoint, answer.headers),
                )
            except RelayError:  # the relay itself learns from a refused parameter and asks again
                if not self._learnt.learn(deployment, operation, version, witness.body, used=known):
                    raise

    def _failure(
        self,
        subject: Subject,
        deployment: Deployment,
        credential: tuple[bytes, bytes],
        operation: Operation,
        witness: _Witness,
        error: RelayError,
    ) -> Finding | None:
        if witness.status < 400:
            remedy = BROKEN.get(error.code, "look at what stands between the relay and Azure")
            make = subject.warning if error.code == "not_a_stream" else subject.failed
            return make(operation.name, error.message, self._filled(remedy, deployment))
        code, message = words_of(witness.body)
        if is_unable(code, message):
            return None
        row = row_of(witness.status, code, message)
        said = Redactor([credential]).text(f"{code}: {message}" if code and message else code or message)[:MAX_SHOWN]
        seen = f"status {witness.status}" + (f", {said}" if said else " without words")
        remedy = self._filled(row.remedy, deployment)
        make = subject.warning if row.level is Status.WARNING else subject.failed
        return make(row.check, seen, remedy, status=witness.status)

    def _filled(self, remedy: str, deployment: Deployment) -> str:
        return remedy.format(**{key: self._setting(deployment, key) for key in _VARIABLES})

    def _setting(self, deployment: Deployment, key: str) -> str:
        """Return the name of a deployment's setting, as the operator wrote it."""
        if deployment is self._settings.open:
            return _VARIABLES[key]
        return f"deployments.{deployment.name}.{key}"


def name_of(model: Model, deployment: Deployment) -> str:
    """Return how a deployment is named in a report."""
    place = (
        deployment.name if deployment.name == deployment.deployment else f"{deployment.name} ({deployment.deployment})"
    )
    return f"{model.name} -> {place}"


async def header_of(
    subject: Subject, settings: CredentialSettings, identity: Identity
) -> tuple[Finding, tuple[bytes, bytes] | None]:
    """Return the finding about a credential, and the header field; None if there is none."""
    if settings.scope is None:
        what = "an API key" if settings.api_key is not None else "a fixed token"
        return subject.ok("credential", f"{what} is set; its use shows whether it is right"), await credential_for(
            settings
        ).header()
    source = identity(settings.client_id)
    try:
        token = (await source.get_token(settings.scope)).token
    except Exception as error:  # noqa: BLE001 - each of the library's errors means that there is no token
        said = f"{type(error).__name__}: {error}".splitlines()[0][:MAX_SHOWN]
        remedy = (
            "on Azure, turn on a managed identity (with client_id for a user-assigned one); elsewhere run az login, or "
            "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; set AZURE_LOG_LEVEL for details"
        )
        return subject.failed("credential", f"no Entra ID token: {said}", remedy), None
    finally:
        await source.close()
    return _token(subject, token, settings.scope), (b"authorization", f"Bearer {token}".encode())


class _Claims(msgspec.Struct):
    aud: object = None
    appid: object = None
    azp: object = None
    oid: object = None


_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _token(subject: Subject, token: str, scope: str) -> Finding:
    """Describe a token by its claims, never by itself."""
    try:
        part = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=_Claims)
    except (IndexError, binascii.Error, ValueError, *DECODE_ERRORS):
        return subject.ok("credential", "an Entra ID token was obtained")
    audience, wanted = str(claims.aud or ""), scope.removesuffix("/.default")
    who = f"object {claims.oid or 'unknown'}, application {claims.appid or claims.azp or 'unknown'}"
    seen = f"an Entra ID token for {audience or 'no audience'} was obtained ({who})"
    if audience.rstrip("/") != wanted.rstrip("/") and not _GUID.fullmatch(audience):
        return subject.warning("credential", seen, f"correct scope, so that the token's audience is {wanted}")
    return subject.ok("credential", seen)
