"""OpenAI's Python package, unchanged but for its address: every operation, and every way to fail."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam
from tests.live.both_hosts import CLIENT_KEY, NAMED, OPEN, UPSTREAM_KEY, Host, Hosts
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

VERSION = "2025-04-01-preview"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "repeat: Streams flow,\n 中継 \U0001f30a."}]
TEXT = "Streams flow,\n 中継 \U0001f30a."
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def make(flavour: str, host: Host, **options: Any) -> OpenAI:
    """Make a client as its users do: only the address is the relay's."""
    options = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": 20, **options}
    match flavour:
        case "openai":
            return OpenAI(base_url=host.base_url, **options)
        case "azure":
            return AzureOpenAI(azure_endpoint=host.url, api_version=VERSION, **options)
        case "azure_deployment":
            return AzureOpenAI(azure_endpoint=host.url, api_version=VERSION, azure_deployment="gpt-4o", **options)
    raise AssertionError(flavour)


EVERY_FLAVOUR = ["openai", "azure", "azure_deployment"]
"""They differ in addresses only, which matters where an operation has a path of its own or its body names the model."""


@pytest.fixture(params=["openai", "azure_deployment"])
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(flavour: str, hosts: Hosts, upstream: Upstream) -> Iterator[OpenAI]:
    """A client; afterwards its key must not have reached the upstream, nor anything but the relay's own key.

    One flavour asks Functions: how a host reads a path has nothing to do with what it says.
    """
    with make(flavour, hosts.get("functions" if flavour == "azure_deployment" else "server", OPEN)) as made:
        yield made
    for exchange in upstream.exchanges:
        assert CLIENT_KEY not in f"{exchange.headers} {exchange.path} {exchange.query}"
        assert exchange.headers["api-key"] == UPSTREAM_KEY
        assert "authorization" not in exchange.headers


class TestOperations:
    def test_chat(self, client: OpenAI) -> None:
        completion = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert completion.choices[0].message.content == TEXT
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage is not None
        assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens

    @pytest.mark.parametrize("flavour", EVERY_FLAVOUR)
    def test_chat_stream(self, client: OpenAI, upstream: Upstream) -> None:
        with client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True) as stream:
            chunks = list(stream)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert all(chunk.usage is None for chunk in chunks), "a usage chunk for a client that did not ask"
        assert json.loads(upstream.only.body)["stream_options"] == {"include_usage": True}
        assert upstream.ending() == "completed"

    def test_chat_stream_with_usage(self, client: OpenAI) -> None:
        with client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        ) as stream:
            chunks = list(stream)
        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].choices == []

    def test_two_choices(self, client: OpenAI) -> None:
        with client.chat.completions.create(model="gpt-4o", messages=MESSAGES, n=2, stream=True) as stream:
            choices = [choice for chunk in stream for choice in chunk.choices]
        for index in (0, 1):
            own = [choice for choice in choices if choice.index == index]
            assert "".join(choice.delta.content or "" for choice in own) == TEXT
            assert own[-1].finish_reason == "stop"

    def test_tools(self, client: OpenAI) -> None:
        question: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Osaka?"}]
        whole = client.chat.completions.create(
            model="gpt-4o", messages=question, tools=[WEATHER], tool_choice="required"
        )
        calls = whole.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert json.loads(calls[0].function.arguments) == {"city": "Osaka"}
        with client.chat.completions.create(
            model="gpt-4o", messages=question, tools=[WEATHER], tool_choice="required", stream=True
        ) as stream:
            choices = [choice for chunk in stream for choice in chunk.choices]
        deltas = [call for choice in choices for call in choice.delta.tool_calls or ()]
        assert deltas[0].function is not None
        assert deltas[0].function.name == "weather"
        arguments = "".join(delta.function.arguments or "" for delta in deltas if delta.function is not None)
        assert json.loads(arguments) == {"city": "Osaka"}
        assert choices[-1].finish_reason == "tool_calls"

    def test_responses(self, client: OpenAI) -> None:
        response = client.responses.create(model="gpt-4o", input=f"repeat: {TEXT}")
        assert response.output_text == TEXT
        assert response.status == "completed"

    @pytest.mark.parametrize("flavour", EVERY_FLAVOUR)
    def test_responses_stream(self, client: OpenAI) -> None:
        with client.responses.create(model="gpt-4o", input=f"repeat: {TEXT}", stream=True) as stream:
            events = list(stream)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.usage is not None

    def test_completions(self, client: OpenAI) -> None:
        whole = client.completions.create(model="gpt-35-turbo-instruct", prompt=f"repeat: {TEXT}")
        with client.completions.create(model="gpt-35-turbo-instruct", prompt=f"repeat: {TEXT}", stream=True) as stream:
            streamed = "".join(choice.text for chunk in stream for choice in chunk.choices)
        assert whole.choices[0].text.strip() == streamed.strip() == TEXT

    def test_embeddings(self, client: OpenAI) -> None:
        """The package asks for base64 unless told otherwise; both must come through as the same numbers."""
        model = "text-embedding-3-small"
        packed = client.embeddings.create(model=model, input=["one", "two"])
        plain = client.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
        assert len(packed.data) == 2
        for one, other in zip(packed.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding, abs=1e-6)

    def test_images(self, client: OpenAI) -> None:
        images = client.images.generate(model="gpt-image-1", prompt="a relay")
        assert images.data is not None
        assert base64.b64decode(images.data[0].b64_json or "").startswith(b"\x89PNG\r\n")

    def test_image_edits(self, client: OpenAI) -> None:
        images = client.images.edit(model="gpt-image-1", prompt="a relay", image=("in.png", b"\x89PNG", "image/png"))
        assert images.data is not None

    @pytest.mark.parametrize("flavour", EVERY_FLAVOUR)
    def test_transcription(self, client: OpenAI, upstream: Upstream) -> None:
        sound = bytes(range(256)) * 64
        heard = client.audio.transcriptions.create(model="whisper", file=("über.wav", sound, "audio/wav"))
        assert "16,384 bytes" in heard.text
        assert sound in upstream.only.body

    @pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
    def test_translation(self, client: OpenAI) -> None:
        heard = client.audio.translations.create(model="whisper", file=("a.wav", b"RIFF" * 9, "audio/wav"))
        assert "36 bytes" in heard.text

    def test_speech(self, client: OpenAI, upstream: Upstream) -> None:
        spoken = client.audio.speech.create(model="tts", voice="alloy", input=TEXT).content
        upstream.ending()
        assert spoken == bytes(upstream.only.sent)
        assert spoken.startswith(b"RIFF")


class TestModels:
    @pytest.mark.parametrize("flavour", ["openai", "azure"])
    def test_list_and_retrieve(self, client: OpenAI, upstream: Upstream) -> None:
        assert [model.id for model in client.models.list()] == ["gpt-4o"]
        assert client.models.retrieve("gpt-4o").object == "model"
        page = client.models.list()
        assert (page.object, page.has_next_page()) == ("list", False)
        for model in (page.data[0], client.models.retrieve("gpt-4o")):
            assert model.to_dict()["chukei"] == {
                "description": None,
                "apis": ["chat", "responses"],
                "input": None,
                "context_tokens": None,
                "output_tokens": None,
                "max_images": None,
                "failure": False,
            }, "the client passes on what it does not know"
        assert upstream.exchanges == [], "the relay answers from its own configuration"

    @pytest.mark.parametrize("flavour", ["openai", "azure"])
    def test_names_with_spaces_and_slashes(self, flavour: str, hosts: Hosts, upstream: Upstream) -> None:
        """`AzureOpenAI` writes the name into the path, percent-encoded; the deployment's own name is as odd here."""
        with make(flavour, hosts.get("server", NAMED)) as client:
            completion = client.chat.completions.create(model="team a/chat b", messages=MESSAGES)
            assert client.models.retrieve("team a/chat b").id == "team a/chat b"
            assert "team a/chat b" in [model.id for model in client.models.list()]
        assert completion.choices[0].message.content == TEXT
        assert upstream.only.deployment == "gpt 4o/β"

    def test_unknown_names(self, hosts: Hosts, upstream: Upstream) -> None:
        with make("openai", hosts.get("server", NAMED)) as client:
            with pytest.raises(openai.NotFoundError) as caught:
                client.chat.completions.create(model="gpt-9", messages=MESSAGES)
            with pytest.raises(openai.NotFoundError):
                client.models.retrieve("gpt-9")
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert upstream.exchanges == []


class TestAsynchronous:
    @pytest.mark.parametrize("azure", [False, True])
    async def test_streams(self, host: Host, azure: bool) -> None:
        made = (
            AsyncAzureOpenAI(azure_endpoint=host.url, api_version=VERSION, api_key=CLIENT_KEY, max_retries=0)
            if azure
            else AsyncOpenAI(base_url=host.base_url, api_key=CLIENT_KEY, max_retries=0)
        )
        async with made as client:
            chat = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in chat if c.choices])
            response = await client.responses.create(model="gpt-4o", input=f"repeat: {TEXT}", stream=True)
            events = [event async for event in response]
        assert text == TEXT
        assert events[-1].type == "response.completed"

    async def test_leaving_in_mid_stream_stops_the_upstream(self, host: Host, upstream: Upstream) -> None:
        async with AsyncOpenAI(base_url=host.base_url, api_key=CLIENT_KEY) as client:
            stream = await client.chat.completions.create(model="left--stall-5", messages=MESSAGES, stream=True)
            await anext(aiter(stream))
            assert upstream.only.ended is None
            await stream.close()
            assert upstream.ending() == "client_left"

    @pytest.mark.parametrize(
        ("stall", "stream"),
        [
            ("stall-before-headers", False),
            ("stall-before-first", False),
            ("stall-role", True),
        ],
    )
    async def test_leaving_before_any_output_stops_the_upstream(
        self, host: Host, upstream: Upstream, stall: str, stream: bool
    ) -> None:
        patience = openai.Timeout(20, read=0.3)
        async with AsyncOpenAI(base_url=host.base_url, api_key=CLIENT_KEY, max_retries=0, timeout=patience) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.chat.completions.create(model=f"left--{stall}", messages=MESSAGES, stream=stream)
        assert upstream.ending() == "client_left"


class TestHeaders:
    def test_of_an_answer(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=MESSAGES, extra_headers={"x-request-id": "asked-for.1"}
        )
        headers = raw.headers
        assert raw.parse().choices[0].message.content == TEXT
        assert headers["x-request-id"] == raw.request_id == "asked-for.1"
        assert headers["x-ms-region"] == "East US 2"
        assert len(headers["apim-request-id"]) == 36
        assert headers["x-ratelimit-remaining-tokens"].isdigit()
        assert headers["x-ratelimit-limit-requests"] == "120"
        assert headers["x-chukei-simulator"] == "true"
        assert UPSTREAM_KEY not in f"{headers} {raw.text}"

    def test_of_a_stream(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES, stream=True)
        assert raw.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert raw.request_id is not None
        assert raw.headers["x-ms-region"] == "East US 2"
        with raw.parse() as stream:
            assert len(list(stream)) > 2

    @pytest.mark.parametrize("flavour", ["openai", "azure"])
    def test_of_an_error(self, client: OpenAI) -> None:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="fault-429-3-requests", messages=MESSAGES)
        headers = caught.value.response.headers
        assert headers["retry-after"] == "3"
        assert headers["retry-after-ms"] == "3000"
        assert headers["x-ms-region"] == "East US 2"
        assert len(headers["apim-request-id"]) == 36
        assert caught.value.request_id is not None
        assert UPSTREAM_KEY not in f"{headers} {caught.value.response.text}"


BEFORE_OUTPUT = {
    "401": (openai.InternalServerError, 502, "upstream_unauthorized"),
    "403": (openai.InternalServerError, 502, "upstream_forbidden"),
    "404": (openai.NotFoundError, 404, "DeploymentNotFound"),
    "408": (openai.APIStatusError, 408, "Timeout"),
    "429-3": (openai.RateLimitError, 429, "RateLimitReached"),
    "429-3-no_capacity": (openai.RateLimitError, 429, "no_capacity"),
    "500": (openai.InternalServerError, 500, None),
    "503": (openai.InternalServerError, 503, "503"),
    "html": (openai.InternalServerError, 502, "unexpected_content_type"),
    "html-502": (openai.InternalServerError, 502, "upstream_502"),
    "redirect": (openai.InternalServerError, 502, "unexpected_redirect"),
}
BEFORE_STREAM = {
    "error-first": (openai.InternalServerError, 500, None),
    "reset-0": (openai.InternalServerError, 502, "upstream_lost"),
    "truncate-0": (openai.InternalServerError, 502, "upstream_lost"),
    "truncate-clean-role": (openai.InternalServerError, 502, "upstream_lost"),
    "gzip": (openai.InternalServerError, 502, "unexpected_encoding"),
}
CASES = [(fault, stream) for fault in BEFORE_OUTPUT for stream in (False, True)] + [
    (name, True) for name in BEFORE_STREAM
]


def by_turns(*cases: Any) -> list[Any]:
    """Add the client's class, of which either makes its errors by the same code."""
    return [(*case, number % 3 == 2) for number, case in enumerate(cases)]


BROKEN = ["truncate-6", "truncate-clean-6", "reset-6", "mid-event-6", "badchunk-6"]
BROKEN_RESPONSES = ["truncate-6", "truncate-clean-6", "reset-6", "no-done", "error-event-6"]


class TestErrors:
    @pytest.mark.parametrize(("fault", "stream", "azure"), by_turns(*CASES))
    def test_before_output(self, host: Host, upstream: Upstream, fault: str, stream: bool, azure: bool) -> None:
        """A failure before any output is an error with a status, as if the client had asked Azure itself."""
        kind, status, code = (BEFORE_OUTPUT | BEFORE_STREAM)[fault]
        with make("azure" if azure else "openai", host) as client, pytest.raises(kind) as caught:
            client.chat.completions.create(model=f"fault-{fault}", messages=MESSAGES, stream=stream)
        error = caught.value
        assert isinstance(error, openai.APIStatusError)
        assert error.status_code == status
        assert error.code == code
        assert error.response.headers["content-type"] == "application/json"
        assert error.request_id is not None
        assert len(upstream.exchanges) == 1

    def test_the_relays_own_credentials_being_refused_is_not_tried_again(self, host: Host, upstream: Upstream) -> None:
        with make("openai", host, max_retries=2) as client, pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="fault-401", messages=MESSAGES)
        assert "operator" in str(caught.value)
        assert len(upstream.exchanges) == 1

    @pytest.mark.parametrize("stream", [False, True])
    def test_details_of_the_content_filter_arrive(self, host: Host, stream: bool) -> None:
        with make("azure", host) as client, pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="fault-filter-prompt", messages=MESSAGES, stream=stream)
        error = caught.value
        assert error.code == "content_filter"
        assert error.param == "prompt"
        assert isinstance(error.body, dict)
        inner = error.body["innererror"]
        assert inner["code"] == "ResponsibleAIPolicyViolation"
        assert inner["content_filter_result"]["jailbreak"] == {"filtered": True, "detected": True}

    @pytest.mark.parametrize("flavour", ["azure"])
    def test_a_filtered_completion_says_so(self, client: OpenAI) -> None:
        with client.chat.completions.create(
            model="fault-filter-completion-3", messages=MESSAGES, stream=True
        ) as stream:
            reasons = [choice.finish_reason for chunk in stream for choice in chunk.choices if choice.finish_reason]
        assert reasons == ["content_filter"]

    def test_retry_after_is_honoured(self, host: Host, upstream: Upstream) -> None:
        """One second is longer than the package's own first pause, which is half a second at most."""
        started = time.monotonic()
        with make("openai", host, max_retries=1) as client:
            completion = client.chat.completions.create(model="python--429-1-times-1", messages=MESSAGES)
        assert time.monotonic() - started >= 1
        assert completion.choices[0].message.content == TEXT
        assert [exchange.status for exchange in upstream.exchanges] == [429, 200]

    @pytest.mark.parametrize("fault", ["408", "429-0.01", "500"])
    def test_the_client_decides_how_often_to_try(self, host: Host, upstream: Upstream, fault: str) -> None:
        with make("openai", host, max_retries=1) as client, pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model=f"fault-{fault}", messages=MESSAGES, stream=True)
        assert len(upstream.exchanges) == 2

    def test_an_upstream_model_of_another_name(self, host: Host) -> None:
        with make("openai", host) as client, pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="../../secrets", messages=MESSAGES)
        assert caught.value.code == "invalid_model"

    @pytest.mark.parametrize(("fault", "azure"), by_turns(*((fault,) for fault in BROKEN)))
    def test_a_broken_stream_never_ends_silently(self, host: Host, fault: str, azure: bool) -> None:
        chunks: list[ChatCompletionChunk] = []
        with make("azure" if azure else "openai", host) as client:
            stream = client.chat.completions.create(model=f"fault-{fault}", messages=MESSAGES, stream=True)
            with stream, pytest.raises(openai.APIError) as caught:
                chunks.extend(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert caught.value.code == "stream_incomplete"
        assert text
        assert TEXT.startswith(text)

    def test_a_stream_that_finished_without_saying_so_is_whole(self, host: Host) -> None:
        """Its choices have their reason, and its body ends as its framing says: only `[DONE]` is missing."""
        with make("openai", host) as client:
            chat = client.chat.completions.create(model="fault-no-done", messages=MESSAGES, stream=True)
            chunks = list(chat)
            completion = client.completions.create(model="fault-no-done", prompt=f"repeat: {TEXT}", stream=True)
            assert list(completion)[-1].choices[0].finish_reason == "stop"
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert (text, chunks[-1].choices[0].finish_reason) == (TEXT, "stop")

    def test_an_error_event_in_a_chat_stream(self, host: Host) -> None:
        chunks: list[ChatCompletionChunk] = []
        with make("azure", host) as client:
            stream = client.chat.completions.create(model="fault-error-event-6", messages=MESSAGES, stream=True)
            with stream, pytest.raises(openai.APIError) as caught:
                chunks.extend(stream)
        assert len(chunks) == 6
        assert "server had an error" in str(caught.value)

    @pytest.mark.parametrize(("fault", "azure"), by_turns(*((fault,) for fault in BROKEN_RESPONSES)))
    def test_a_broken_responses_stream(self, host: Host, fault: str, azure: bool) -> None:
        seen: list[str] = []
        with make("azure" if azure else "openai", host) as client:
            stream = client.responses.create(model=f"fault-{fault}", input=f"repeat: {TEXT}", stream=True)
            with stream, pytest.raises(openai.APIError):
                seen.extend(event.type for event in stream)
        assert "response.output_text.delta" in seen or fault == "no-done"
        assert "response.completed" not in seen

    def test_a_broken_completions_stream(self, host: Host) -> None:
        with make("openai", host) as client:
            stream = client.completions.create(model="fault-truncate-6", prompt=f"repeat: {TEXT}", stream=True)
            with stream, pytest.raises(openai.APIError):
                list(stream)
