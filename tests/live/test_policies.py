"""Policies of callers: models, defaults, system, parameters, caps, and visibility of deployments.

Rules stand in a caller's own table, in those of its groups and in everybody's; what is compared is what the upstream
received.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.live.both_hosts import Host, Hosts, Setup
from tests.live.plain_http import Answer, ask, post
from tests.live.simulated import Upstream

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
CLASSIC = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
HELLO = b'{"role":"user","content":"hello"}'


def key_of(name: str) -> str:
    return f"the key of {name}".replace(" ", "-")


def _caller(name: str, rules: str) -> str:
    digest = hashlib.sha256(key_of(name).encode()).hexdigest()
    return f'[callers.{name}]\nkey_sha256 = "{digest}"\n{rules}\n'


def _deployment(name: str) -> str:
    return f'[deployments.{name}]\nendpoint = "{{simulator}}"\napi_key = {{ env = "TEST_UPSTREAM_KEY" }}\n'


POLICIES = Setup(
    "policies",
    toml="\n".join(
        [
            "[pool]\ndeployment_header = true\n",
            '[defaults]\nmodel = "chat"\n',
            '[models.chat]\ndeployments = ["chat-on-azure"]\nsystem = "You are the model\'s."',
            "parameters = { temperature = 0.3, top_p = 0.5 }\ncaps = { max_completion_tokens = 700 }\n",
            '[models.fast]\ndeployments = ["fast-on-azure"]\n',
            '[models.pro]\ndeployments = ["pro-on-azure"]\n',
            _deployment("chat-on-azure"),
            _deployment("fast-on-azure"),
            _deployment("pro-on-azure"),
            # All callers.
            '[groups.everybody]\nsystem = "You are everybody\'s."\nparameters = { seed = 1 }',
            "caps = { max_completion_tokens = 900 }\n",
            # Groups.
            '[groups.research]\nmodels = ["chat", "fast"]\ndefault_model = "fast"\nsee_deployment = false',
            'system = "You are the researchers\'."\nparameters = { temperature = 0.2 }\n',
            '[groups.staff]\nmodels = ["pro"]\ndefault_model = "pro"\nsee_deployment = true',
            "caps = { max_tokens = 500, n = 1 }\n",
            # Callers.
            _caller("plain", ""),
            _caller("researcher", 'groups = ["research"]'),
            _caller("both", 'groups = ["staff", "research"]'),
            _caller("other-way-round", 'groups = ["research", "staff"]'),
            _caller(
                "own",
                'groups = ["research"]\nmodels = ["pro", "chat"]\ndefault_model = "chat"\nsystem = "You are my own."\n'
                "parameters = { max_tokens = 50 }\ncaps = { max_completion_tokens = 100 }\nsee_deployment = true\n",
            ),
            _caller("shut-out", "models = []"),
        ]
    ),
)


@pytest.fixture
def relay(hosts: Hosts) -> Host:
    """The relay with these policies."""
    return hosts.get("server", POLICIES)


def bearer(caller: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key_of(caller)}")


async def asked(relay: Host, caller: str, target: str = CHAT, **more: Any) -> Answer:
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}], **more}).encode()
    return await post(relay.url, target, body, [bearer(caller)])


async def received(relay: Host, upstream: Upstream, caller: str, **more: Any) -> dict[str, Any]:
    """Ask as a caller and return what the upstream received."""
    answer = await asked(relay, caller, **more)
    assert answer.status == 200, answer
    body: dict[str, Any] = json.loads(upstream.only.body)
    return body


def system_of(body: Mapping[str, Any]) -> object:
    first = body["messages"][0]
    return first["content"] if first["role"] == "system" else None


class TestModels:
    @pytest.mark.parametrize(
        ("caller", "model", "rule"),
        [
            ("researcher", "pro", "groups.research.models allows chat, fast"),
            ("both", "chat", "groups.staff.models allows pro"),
            ("other-way-round", "pro", "groups.research.models allows chat, fast"),
            ("own", "fast", "callers.own.models allows pro, chat"),
            ("shut-out", "chat", "callers.shut-out.models allows none"),
        ],
    )
    async def test_others_are_refused_and_the_rule_is_named(
        self, relay: Host, upstream: Upstream, caller: str, model: str, rule: str
    ) -> None:
        for answer in (
            await asked(relay, caller, model=model),
            await asked(relay, caller, model=model, stream=True),
            await asked(relay, caller, CLASSIC.format(model)),
            await asked(relay, caller, "/api/chat-stream", model=model),
            await ask(relay.url, "GET", f"/v1/models/{model}", [bearer(caller)]),
        ):
            assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
            assert (answer.error["type"], answer.error["param"]) == ("permission_error", "model")
            assert answer.error["message"] == f"You may not use the model '{model}': {rule}."
        assert upstream.exchanges == []

    @pytest.mark.parametrize("target", ["/v1/responses", "/v1/embeddings", "/v1/completions", "/v1/images/generations"])
    async def test_for_every_operation(self, relay: Host, upstream: Upstream, target: str) -> None:
        body = b'{"model":"chat","input":"a","prompt":"a"}'
        answer = await post(relay.url, target, body, [bearer("shut-out")])
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
        assert upstream.exchanges == []

    async def test_in_a_form(self, relay: Host, upstream: Upstream) -> None:
        form = (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\npro\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
        )
        fields = [("content-type", "multipart/form-data; boundary=b"), bearer("researcher")]
        answer = await ask(relay.url, "POST", "/v1/audio/transcriptions", fields, form)
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        ("caller", "deployment"),
        [
            ("plain", "chat-on-azure"),
            ("researcher", "fast-on-azure"),
            ("both", "pro-on-azure"),
            ("other-way-round", "fast-on-azure"),
            ("own", "chat-on-azure"),
        ],
    )
    async def test_the_default_is_the_callers(
        self, relay: Host, upstream: Upstream, caller: str, deployment: str
    ) -> None:
        assert (await received(relay, upstream, caller))["model"] == deployment

    async def test_a_null_is_no_wish(self, relay: Host, upstream: Upstream) -> None:
        assert (await received(relay, upstream, "researcher", model=None))["model"] == "fast-on-azure"

    async def test_the_relays_default_is_not_everybodys(self, relay: Host, upstream: Upstream) -> None:
        answer = await asked(relay, "shut-out")
        assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        ("caller", "names"),
        [
            ("plain", ["chat", "fast", "pro"]),
            ("researcher", ["chat", "fast"]),
            ("both", ["pro"]),
            ("own", ["chat", "pro"]),
            ("shut-out", []),
        ],
    )
    async def test_only_the_callers_are_listed(self, relay: Host, caller: str, names: list[str]) -> None:
        for path in ("/v1/models", "/openai/v1/models"):
            answer = await ask(relay.url, "GET", path, [bearer(caller)])
            assert [model["id"] for model in answer.json()["data"]] == names
        for name in names:
            answer = await ask(relay.url, "GET", f"/v1/models/{name}", [bearer(caller)])
            assert (answer.status, answer.json()["id"]) == (200, name)

    async def test_what_does_not_exist_is_not_found(self, relay: Host, upstream: Upstream) -> None:
        for caller in ("plain", "researcher"):
            answer = await asked(relay, caller, model="nonsense")
            assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert upstream.exchanges == []

    @pytest.mark.parametrize(
        ("caller", "known"),
        [
            ("plain", "Known models: chat, fast, pro."),
            ("researcher", "Known models: chat, fast."),
            ("both", "Known models: pro."),
            ("shut-out", "There is none that you may use."),
        ],
    )
    async def test_an_error_names_no_model_that_is_hidden_from_the_caller(
        self, relay: Host, caller: str, known: str, upstream: Upstream
    ) -> None:
        answers = [await asked(relay, caller, CLASSIC.format("nonsense"))]
        for path in ("/v1/chat/completions", "/v1/responses"):
            answers.append(await asked(relay, caller, path, model="nonsense"))
        for path in ("/v1/models/nonsense", "/openai/v1/models/nonsense", "/openai/models/nonsense"):
            answers.append(await ask(relay.url, "GET", path, [bearer(caller)]))
        for answer in answers:
            assert answer.status == 404
            assert answer.error["message"] == f"There is no model 'nonsense' here. {known}"
        assert upstream.exchanges == []


class TestSystem:
    @pytest.mark.parametrize(
        ("caller", "model", "system"),
        [
            ("plain", "chat", "You are everybody's."),
            ("researcher", "chat", "You are the researchers'."),
            ("both", "pro", "You are the researchers'."),  # of which the first group says nothing
            ("own", "pro", "You are my own."),
        ],
    )
    async def test_the_most_specific_one(
        self, relay: Host, upstream: Upstream, caller: str, model: str, system: str
    ) -> None:
        assert system_of(await received(relay, upstream, caller, model=model)) == system

    async def test_the_clients_own_wins(self, relay: Host, upstream: Upstream) -> None:
        own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
        assert (await received(relay, upstream, "own", messages=own))["messages"] == own

    async def test_of_responses(self, relay: Host, upstream: Upstream) -> None:
        answer = await post(relay.url, "/v1/responses", b'{"input":"hello"}', [bearer("own")])
        assert answer.status == 200
        assert json.loads(upstream.only.body)["instructions"] == "You are my own."


class TestParameters:
    async def test_tables_are_not_mixed_but_the_models_own_are_kept_beside(
        self, relay: Host, upstream: Upstream
    ) -> None:
        """The most specific table of parameters decides, and fills in before the model's."""
        body = await received(relay, upstream, "researcher", model="chat")
        assert (body["temperature"], body["top_p"]) == (0.2, 0.5)
        assert "seed" not in body

    async def test_everybodys(self, relay: Host, upstream: Upstream) -> None:
        body = await received(relay, upstream, "plain", model="chat")
        assert (body["temperature"], body["top_p"], body["seed"]) == (0.3, 0.5, 1)

    async def test_the_clients_own_win(self, relay: Host, upstream: Upstream) -> None:
        body = await received(relay, upstream, "researcher", model="chat", temperature=1.5)
        assert body["temperature"] == 1.5


class TestCaps:
    @pytest.mark.parametrize(
        ("caller", "model", "own", "limits"),
        [
            # Everybody's 900 and the model's 700: the lower one.
            ("plain", "chat", {"max_completion_tokens": 5000}, {"max_completion_tokens": 700}),
            ("plain", "chat", {}, {"max_completion_tokens": 700}),
            ("plain", "pro", {"max_completion_tokens": 5000}, {"max_completion_tokens": 900}),
            ("plain", "pro", {"max_tokens": 5000}, {"max_tokens": 900}),
            ("plain", "pro", {"max_completion_tokens": 20}, {"max_completion_tokens": 20}),
            # The staff's 500, by the other name.
            ("both", "pro", {"max_completion_tokens": 5000, "n": 3}, {"max_completion_tokens": 500, "n": 1}),
            ("both", "pro", {}, {"max_tokens": 500}),
            # A caller's own 100, beside the model's 700; its parameter of 50 where the client is silent.
            ("own", "chat", {"max_tokens": 600}, {"max_tokens": 100}),
            ("own", "chat", {}, {"max_tokens": 50}),
            ("own", "chat", {"max_completion_tokens": 70}, {"max_completion_tokens": 70}),
        ],
    )
    async def test_what_a_client_may_not_raise(
        self,
        relay: Host,
        upstream: Upstream,
        caller: str,
        model: str,
        own: dict[str, int],
        limits: dict[str, int],
    ) -> None:
        body = await received(relay, upstream, caller, model=model, **own)
        names = ("max_tokens", "max_completion_tokens", "n")
        assert {name: body[name] for name in names if name in body} == limits

    async def test_of_responses(self, relay: Host, upstream: Upstream) -> None:
        answer = await post(relay.url, "/v1/responses", b'{"input":"hello","max_output_tokens":800}', [bearer("own")])
        assert answer.status == 200
        assert json.loads(upstream.only.body)["max_output_tokens"] == 100


async def test_whole(relay: Host, upstream: Upstream) -> None:
    """Everything at once, byte for byte: what the client wrote stays as it wrote it."""
    body = b'{"messages" : [' + HELLO + b' ],"top_p":1.0E+0}'
    answer = await post(relay.url, CHAT, body, [bearer("researcher")])
    assert answer.status == 200
    system = b'{"role":"system","content":"You are the researchers\'."}'
    assert upstream.only.body == (
        b'{"temperature":0.2,"max_completion_tokens":900,"model":"fast-on-azure","messages" : ['
        + system
        + b","
        + HELLO
        + b' ],"top_p":1.0E+0}'
    )


class TestDeployments:
    @pytest.mark.parametrize(
        ("caller", "seen"),
        [
            ("plain", "chat-on-azure"),  # as [pool] says
            ("researcher", None),
            ("both", "pro-on-azure"),
            ("own", "chat-on-azure"),
        ],
    )
    async def test_who_answered_is_told_to_those_who_may_know(self, relay: Host, caller: str, seen: str | None) -> None:
        for stream in (True, False):
            answer = await asked(relay, caller, stream=stream)
            assert (answer.status, answer.header("x-chukei-deployment")) == (200, seen)

    async def test_their_state_is_shown_to_those_who_may_see_it(self, relay: Host) -> None:
        for caller in ("plain", "own"):
            answer = await ask(relay.url, "GET", "/health/deployments", [bearer(caller)])
            assert set(answer.json()["models"]) == {"chat", "fast", "pro"}
        answer = await ask(relay.url, "GET", "/health/deployments", [bearer("researcher")])
        assert (answer.status, answer.error["code"]) == (403, "not_allowed")
        assert answer.error["message"] == "You may not see the deployments: groups.research.see_deployment is false."


class TestCallers:
    @pytest.mark.parametrize("headers", [[], [("authorization", "Bearer of-nobody")], [("api-key", "of-nobody")]])
    async def test_others_are_turned_away(
        self, relay: Host, upstream: Upstream, headers: list[tuple[str, str]]
    ) -> None:
        answer = await post(relay.url, CHAT, b'{"messages":[' + HELLO + b"]}", headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert upstream.exchanges == []

    async def test_a_callers_key_stays_here(self, relay: Host, upstream: Upstream) -> None:
        await asked(relay, "plain")
        assert key_of("plain") not in repr(upstream.only.headers)
        assert key_of("plain") not in relay.log()
