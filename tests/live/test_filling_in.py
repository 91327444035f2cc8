"""What the relay adds to a request, and that it adds nothing else: the bytes the upstream received, compared whole."""

import json

import pytest
from tests.live.both_hosts import NAMED, Host, Hosts
from tests.live.plain_http import Answer, ask, post
from tests.live.simulated import Upstream

from chukei.simulator.exchanges import Exchange

pytestmark = pytest.mark.anyio

CLASSIC = "/openai/deployments/{}/chat/completions?api-version={}"
SYSTEM = '{"role":"system","content":"You are a helpful assistant. 中継"}'.encode()
HELLO = b'{"role":"user","content":"hello"}'


@pytest.fixture
def named(hosts: Hosts) -> Host:
    """The relay with named models."""
    return hosts.get("server", NAMED)


async def sent(host: Host, upstream: Upstream, body: bytes, target: str = "/v1/chat/completions") -> bytes:
    """Post a body and return what the upstream received."""
    answer = await post(host.url, target, body)
    assert answer.status == 200, answer
    return upstream.only.body


def parts(exchange: Exchange, boundary: bytes) -> list[bytes]:
    """Return a form's parts as they went up, under the relay's own boundary, which stands for the client's."""
    own = exchange.headers["content-type"].partition("boundary=")[2].encode()
    assert own not in (b"", boundary)
    return exchange.body.split(b"--" + own)


class TestBytes:
    """What the client wrote stays as it wrote it: order, spelling of numbers, white space, escapes."""

    ODD = (
        b' \r\n{\t"messages" : [ {"role":"user","content":"caf\\u00e9 \\ud83c\\udf0a \\/ \xe4\xb8\xad\\n"} ] ,\n'
        b'  "top_p":1.0E+0,"seed":-0,"logit_bias":{"50256":-1e2,"1":0.10},"user":"a\\"}{b" , "x":[{"model":"y"}] }\n'
    )

    async def test_only_the_model_is_added(self, host: Host, upstream: Upstream) -> None:
        assert await sent(host, upstream, self.ODD) == self.ODD.replace(b"{", b'{"model":"gpt-4o",', 1)

    async def test_nothing_is_added(self, host: Host, upstream: Upstream) -> None:
        body = self.ODD.replace(b"{", b'{"model" : "gpt-4o" ,', 1)
        assert await sent(host, upstream, body) == body

    async def test_a_classic_request_is_left_as_it_is(self, host: Host, upstream: Upstream) -> None:
        """The path names the deployment, and Azure ignores the body's model."""
        body = self.ODD.replace(b"{", b'{"model":"something else",', 1)
        assert await sent(host, upstream, body, CLASSIC.format("gpt-4o", "2024-10-21")) == body

    async def test_escaped_names_are_known(self, host: Host, upstream: Upstream) -> None:
        body = b'{"\\u006dodel":"gpt-4o-mini","mess\\u0061ges":[' + HELLO + b"]}"
        assert await sent(host, upstream, body) == body

    async def test_a_null_model_is_filled_in(self, host: Host, upstream: Upstream) -> None:
        body = b'{"messages":[' + HELLO + b'],"model": null }'
        assert await sent(host, upstream, body) == body.replace(b"null", b'"gpt-4o"')

    async def test_a_large_body(self, host: Host, upstream: Upstream) -> None:
        body = b'{"messages":[{"role":"user","content":"' + "語 ".encode() * 500_000 + b'"}]}'
        assert await sent(host, upstream, body) == body.replace(b"{", b'{"model":"gpt-4o",', 1)

    async def test_a_form(self, host: Host, upstream: Upstream) -> None:
        file = bytes(range(256)) * 8
        rest = (
            b'--b--x\r\nContent-Disposition: form-data; name="file"; filename="b--x"\r\n\r\n'
            + file
            + b"\r\n--b--x--\r\n"
        )
        fields = [("content-type", 'multipart/form-data; charset=utf-8; boundary="b--x"')]
        answer = await ask(host.url, "POST", "/v1/audio/transcriptions", fields, rest)
        assert answer.status == 200
        added = b'--b--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n'
        assert sorted(parts(upstream.only, b"b--x")) == sorted((added + rest).split(b"--b--x"))

    async def test_a_forms_model_is_translated(self, named: Host, upstream: Upstream) -> None:
        form = (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nmodel\r\n--b--\r\n'
        )
        fields = [("content-type", "multipart/form-data; boundary=b")]
        answer = await ask(named.url, "POST", "/v1/audio/transcriptions", fields, form % b"team a/chat b")
        assert answer.status == 200
        assert parts(upstream.only, b"b") == (form % "gpt 4o/β".encode()).split(b"--b")


class TestModel:
    async def test_the_default(self, named: Host, upstream: Upstream) -> None:
        await sent(named, upstream, b'{"input":"a"}', "/v1/embeddings")
        assert upstream.only.body == b'{"model":"chat-on-azure","input":"a"}'

    async def test_a_name_becomes_the_deployments(self, named: Host, upstream: Upstream) -> None:
        body = b'{"messages":[' + HELLO + b'],"model":"zebra","n":1}'
        assert await sent(named, upstream, body) == body.replace(b"zebra", b"plain")

    async def test_in_the_path(self, named: Host, upstream: Upstream) -> None:
        """A name in the path is translated there, and wins over the body's, as on Azure."""
        body = b'{"model":"v1","messages":[' + HELLO + b"]}"
        assert await sent(named, upstream, body, CLASSIC.format("zebra", "2024-10-21")) == body
        assert upstream.only.path == "/openai/deployments/plain/chat/completions"


class TestSystemMessage:
    async def test_added_in_front(self, named: Host, upstream: Upstream) -> None:
        received = await sent(named, upstream, b'{"messages": [ ' + HELLO + b" ]}")
        assert b'"messages": [' + SYSTEM + b", " + HELLO + b" ]" in received

    @pytest.mark.parametrize("role", ["system", "developer"])
    async def test_not_beside_the_clients_own(self, named: Host, upstream: Upstream, role: str) -> None:
        own = b'{"messages":[' + HELLO + b',{"role":"%s","content":"Be brief."}]}' % role.encode()
        received = await sent(named, upstream, own)
        assert SYSTEM not in received
        assert own[1:] in received

    async def test_in_responses(self, named: Host, upstream: Upstream) -> None:
        received = json.loads(await sent(named, upstream, b'{"input":"hello"}', "/v1/responses"))
        assert received["instructions"] == "You are a helpful assistant. 中継"

    async def test_not_beside_own_instructions(self, named: Host, upstream: Upstream) -> None:
        body = b'{"input":"hello","instructions":"Be brief."}'
        assert json.loads(await sent(named, upstream, body, "/v1/responses"))["instructions"] == "Be brief."

    async def test_in_the_simple_form(self, named: Host, upstream: Upstream) -> None:
        received = await sent(named, upstream, b'{"messages":[' + HELLO + b"]}", "/api/chat-stream")
        assert SYSTEM in received


class TestParameters:
    async def test_whole(self, named: Host, upstream: Upstream) -> None:
        """Everything at once, byte for byte: parameters, cap, model and usage in front, the system message inside."""
        received = await sent(named, upstream, b'{"messages":[' + HELLO + b'],"stream":true}')
        assert received == (
            b'{"temperature":0.3,"seed":7,"stop":["\\n\\n"],"max_completion_tokens":4096,"model":"chat-on-azure",'
            b'"stream_options":{"include_usage":true},"messages":[' + SYSTEM + b"," + HELLO + b'],"stream":true}'
        )

    async def test_the_clients_own_win(self, named: Host, upstream: Upstream) -> None:
        own = b'{"temperature":1.50,"seed":null,"stop":"x","max_tokens":10,"messages":[' + HELLO + b"]}"
        received = json.loads(await sent(named, upstream, own))
        assert (received["temperature"], received["stop"], received["max_tokens"]) == (1.5, "x", 10)
        assert received["seed"] == 7, "null is what a client sends that has no wish"
        assert "max_completion_tokens" not in received

    async def test_not_for_embeddings(self, named: Host, upstream: Upstream) -> None:
        body = b'{"model":"chat","input":"a"}'
        assert await sent(named, upstream, body, "/v1/embeddings") == body.replace(b'"chat"', b'"chat-on-azure"')


class TestCaps:
    @pytest.mark.parametrize(
        ("own", "name", "value"),
        [
            ("", "max_completion_tokens", 4096),
            (',"max_completion_tokens":100', "max_completion_tokens", 100),
            (',"max_completion_tokens":4096', "max_completion_tokens", 4096),
            (',"max_completion_tokens":4097', "max_completion_tokens", 4096),
            (',"max_completion_tokens":1e9', "max_completion_tokens", 4096),
            (',"max_completion_tokens":99999999999999999999999', "max_completion_tokens", 4096),
            (',"max_completion_tokens":null', "max_completion_tokens", 4096),
            (',"max_tokens":100', "max_tokens", 100),
            (',"max_tokens":5000', "max_tokens", 4096),
            (',"max_\\u0074okens":5000', "max_tokens", 4096),
        ],
    )
    async def test_of_chat(self, named: Host, upstream: Upstream, own: str, name: str, value: int) -> None:
        received = json.loads(await sent(named, upstream, b'{"messages":[' + HELLO + b"]" + own.encode() + b"}"))
        limits = {key: received[key] for key in ("max_tokens", "max_completion_tokens") if key in received}
        assert limits == {name: value}

    async def test_both_names_at_once(self, named: Host, upstream: Upstream) -> None:
        body = b'{"messages":[' + HELLO + b'],"max_tokens":9000,"max_completion_tokens":8000}'
        received = json.loads(await sent(named, upstream, body))
        assert (received["max_tokens"], received["max_completion_tokens"]) == (4096, 4096)

    @pytest.mark.parametrize(
        ("own", "value"), [("", 4096), (',"max_output_tokens":9000', 4096), (',"max_output_tokens":20', 20)]
    )
    async def test_of_responses(self, named: Host, upstream: Upstream, own: str, value: int) -> None:
        received = json.loads(await sent(named, upstream, b'{"input":"a"' + own.encode() + b"}", "/v1/responses"))
        assert received["max_output_tokens"] == value
        assert "max_completion_tokens" not in received

    @pytest.mark.parametrize(("own", "value"), [("", 4096), (',"max_tokens":9000', 4096), (',"max_tokens":20', 20)])
    async def test_of_completions(self, named: Host, upstream: Upstream, own: str, value: int) -> None:
        received = json.loads(await sent(named, upstream, b'{"prompt":"a"' + own.encode() + b"}", "/v1/completions"))
        assert received["max_tokens"] == value

    @pytest.mark.parametrize(
        ("own", "tokens", "choices"),
        [("", 50, 2), (',"max_tokens":500', 100, 2), (',"max_tokens":70,"n":1', 70, 1), (',"n":9', 50, 2)],
    )
    async def test_with_a_parameter_below_the_cap(
        self, named: Host, upstream: Upstream, own: str, tokens: int, choices: int
    ) -> None:
        body = b'{"model":"capped","messages":[' + HELLO + b"]" + own.encode() + b"}"
        received = json.loads(await sent(named, upstream, body))
        assert received["max_tokens"] == tokens
        assert received.get("n", 1) <= choices

    @pytest.mark.parametrize("value", [b'"9000"', b"true", b"[1]", b'{"a":1}'])
    async def test_not_to_be_evaded_by_type(self, named: Host, upstream: Upstream, value: bytes) -> None:
        answer = await post(
            named.url, "/v1/chat/completions", b'{"messages":[' + HELLO + b'],"max_tokens":' + value + b"}"
        )
        assert (answer.status, answer.error["param"]) == (400, "max_tokens")
        assert upstream.exchanges == []


class TestAddresses:
    """Which API is used upstream: what the deployment's settings say, else what the client's own form says."""

    @pytest.mark.parametrize(
        ("target", "model", "path", "version"),
        [
            ("/v1/chat/completions", "plain", "/openai/v1/chat/completions", None),
            ("/openai/v1/chat/completions?api-version=preview", "plain", "/openai/v1/chat/completions", None),
            ("/v1/chat/completions", "v1", "/openai/v1/chat/completions", None),
            ("/v1/chat/completions", "classic", "/openai/deployments/classic/chat/completions", "2024-10-21"),
            (CLASSIC.format("plain", "2024-10-21"), None, "/openai/deployments/plain/chat/completions", "2024-10-21"),
            (
                CLASSIC.format("plain", "2025-04-01-preview"),
                None,
                "/openai/deployments/plain/chat/completions",
                "2025-04-01-preview",
            ),
            (CLASSIC.format("plain", "preview"), None, "/openai/v1/chat/completions", None),
            (CLASSIC.format("plain", "latest"), None, "/openai/v1/chat/completions", None),
            ("/openai/deployments/plain/chat/completions", None, "/openai/v1/chat/completions", None),
            (CLASSIC.format("v1", "2024-10-21"), None, "/openai/v1/chat/completions", None),
            (
                CLASSIC.format("classic", "2025-04-01-preview"),
                None,
                "/openai/deployments/classic/chat/completions",
                "2024-10-21",
            ),
            (
                CLASSIC.format("team%20a%2Fchat%20b", "2024-10-21"),
                None,
                "/openai/deployments/gpt%204o%2F%CE%B2/chat/completions",
                "2024-10-21",
            ),
        ],
    )
    async def test_of_chat(
        self, named: Host, upstream: Upstream, target: str, model: str | None, path: str, version: str | None
    ) -> None:
        name = b'"model":"%s",' % model.encode() if model else b""
        await sent(named, upstream, b"{" + name + b'"messages":[' + HELLO + b"]}", target)
        exchange = upstream.only
        assert exchange.path == path
        assert exchange.query == ({"api-version": version} if version else {})
        if version is None:
            assert json.loads(exchange.body)["model"] == exchange.deployment

    async def test_of_responses(self, named: Host, upstream: Upstream) -> None:
        body = b'{"model":"zebra","input":"a"}'
        received = await sent(named, upstream, body, "/openai/responses?api-version=2025-04-01-preview")
        assert received == body.replace(b"zebra", b"plain")
        assert upstream.only.path == "/openai/responses"
        assert upstream.only.query == {"api-version": "2025-04-01-preview"}

    @pytest.mark.parametrize(
        "query",
        [
            "api-version=",
            "api-version=1",
            "api-version=2024-10-21%26x=y",
            "api-version=a&api-version=b",
            "api-version=%0d%0a",
        ],
    )
    async def test_versions_that_are_none(self, named: Host, upstream: Upstream, query: str) -> None:
        answer = await post(
            named.url, f"/openai/deployments/plain/chat/completions?{query}", b'{"messages":[' + HELLO + b"]}"
        )
        assert (answer.status, answer.error["code"]) == (400, "invalid_api_version")
        assert upstream.exchanges == []


class TestUsage:
    """The wish for usage: asked for where the API knows it, and its event removed where the client did not ask."""

    async def stream(self, host: Host, model: str, more: bytes = b"", target: str = "/v1/chat/completions") -> Answer:
        body = b'{"model":"%s","messages":[%s],"stream":true%s}' % (model.encode(), HELLO, more)
        answer = await post(host.url, target, body)
        assert answer.status == 200, answer
        return answer

    async def test_asked_for_and_removed(self, named: Host, upstream: Upstream) -> None:
        answer = await self.stream(named, "plain")
        assert b'"stream_options":{"include_usage":true}' in upstream.only.body
        assert upstream.ending() == "completed"
        kept = bytes(upstream.only.sent).split(b"\n\n")
        usage = [event for event in kept if b'"usage":{' in event]
        assert len(usage) == 1
        kept.remove(usage[0])
        assert answer.body == b"\n\n".join(kept), "the one event is gone, and not a byte besides"

    @pytest.mark.parametrize(
        "options", [b'{"include_usage":true}', b'{ "include_usage" : true, "include_obfuscation":false}']
    )
    async def test_wanted_by_the_client(self, named: Host, upstream: Upstream, options: bytes) -> None:
        answer = await self.stream(named, "plain", b',"stream_options":' + options)
        assert b'"stream_options":' + options in upstream.only.body
        upstream.ending()
        assert answer.body == bytes(upstream.only.sent)

    async def test_other_options_stay(self, named: Host, upstream: Upstream) -> None:
        answer = await self.stream(named, "plain", b',"stream_options":{"include_obfuscation": false}')
        assert b'"stream_options":{"include_usage":true,"include_obfuscation": false}' in upstream.only.body
        assert b'"usage":{' not in answer.body
        assert b"obfuscation" not in answer.body

    @pytest.mark.parametrize("options", [b"null", b"{}", b'{"include_usage":false}', b'{"include_usage":null}'])
    async def test_not_wanted_by_the_client(self, named: Host, upstream: Upstream, options: bytes) -> None:
        answer = await self.stream(named, "plain", b',"stream_options":' + options)
        assert json.loads(upstream.only.body)["stream_options"]["include_usage"] is True
        assert b'"usage":{' not in answer.body

    @pytest.mark.parametrize(
        ("model", "target", "asks"),
        [
            ("classic", "/v1/chat/completions", True),
            ("old", "/v1/chat/completions", False),
            ("v1", "/v1/chat/completions", True),
            ("plain", CLASSIC.format("plain", "2024-10-21"), True),
            ("plain", CLASSIC.format("plain", "2024-09-01-preview"), True),
            ("plain", CLASSIC.format("plain", "2024-08-01-preview"), False),
            ("plain", CLASSIC.format("plain", "2024-06-01"), False),
        ],
    )
    async def test_by_version(self, named: Host, upstream: Upstream, model: str, target: str, asks: bool) -> None:
        answer = await self.stream(named, model, target=target)
        assert (b"stream_options" in upstream.only.body) is asks
        assert answer.body.endswith(b"data: [DONE]\n\n")
        if not asks:
            upstream.ending()
            assert answer.body == bytes(upstream.only.sent)

    async def test_not_asked_for_without_a_stream(self, named: Host, upstream: Upstream) -> None:
        assert b"stream_options" not in await sent(named, upstream, b'{"model":"plain","messages":[' + HELLO + b"]}")

    async def test_not_asked_for_on_your_data(self, named: Host, upstream: Upstream) -> None:
        await self.stream(named, "plain", b',"data_sources":[]')
        assert b"stream_options" not in upstream.only.body

    async def test_responses_have_it_anyway(self, named: Host, upstream: Upstream) -> None:
        body = b'{"model":"v1","input":"repeat: a","stream":true}'
        assert await sent(named, upstream, body, "/v1/responses") == body

    async def test_the_simple_form_reports_it(self, named: Host) -> None:
        answer = await post(named.url, "/api/chat-stream", b'{"messages":[' + HELLO + b"]}")
        finish = answer.body.partition(b"event: finish\ndata: ")[2].partition(b"\n")[0]
        summary = json.loads(finish)
        assert summary["finish_reason"] == "stop"
        assert summary["usage"]["total_tokens"] > 0
