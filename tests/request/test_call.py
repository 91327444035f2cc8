"""A call read from a client's bytes, and written for a deployment."""

import json
from collections.abc import Mapping

import pytest
from tests.rows import rows

from chukei.azure import version_for
from chukei.errors import CallerError
from chukei.model import Deployment, Headers, Model
from chukei.request import call as calls
from chukei.request.form import Form
from chukei.request.routes import Route, find
from chukei.upstream import writing
from chukei.upstream.capabilities import Capabilities, documented

JSON: Headers = [(b"content-type", b"application/json; charset=utf-8")]
FORM: Headers = [(b"content-type", b"multipart/form-data; boundary=cut")]
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
CREDENTIAL = (b"api-key", b"secret")


def read(raw: bytes, path: str = "/v1/chat/completions", headers: Headers = JSON, query: str = "") -> calls.Call:
    route = find("POST", path, query)
    assert route.operation is not None
    return calls.read(route, route.operation, headers, raw)


def written(
    call: calls.Call,
    version: str | None = None,
    name: str = "gpt-4o",
    *,
    known: Capabilities | None = None,
    caps: Mapping[str, int | float] | None = None,
) -> writing.UpstreamRequest:
    deployment = Deployment("east", "https://east.openai.azure.com", name, api_version=version)
    used = version_for(deployment, call.api_version)
    known = known or documented(call.operation, used)
    return writing.write(call, Model("chat", (deployment,), caps=caps), deployment, known, used, CREDENTIAL, "req_1")


def test_a_plain_call() -> None:
    call = read(b'{"model":"chat","stream":true,' + MESSAGES + b"}")
    assert (call.model, call.stream, call.simple, call.api_version) == ("chat", True, False, None)
    assert call.size == 74


def test_a_call_that_says_nothing_is_not_streamed_and_names_no_model() -> None:
    call = read(b"{" + MESSAGES + b"}")
    assert (call.model, call.stream) == (None, False)


def test_the_name_in_the_path_wins() -> None:
    path = "/openai/deployments/path-model/chat/completions"
    assert read(b'{"model":"body-model",' + MESSAGES + b"}", path).model == "path-model"


@rows("model", [b'""', b'"  "'])
def test_an_empty_model_is_refused(model: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        read(b'{"model":' + model + b"," + MESSAGES + b"}")
    assert (caught.value.code, caught.value.param) == ("missing_model", "model")


@rows("field", [b'"model":5', b'"model":["chat"]', b'"stream":"true"', b'"stream":1'])
def test_fields_of_another_type_are_refused(field: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        read(b"{" + field + b"," + MESSAGES + b"}")
    assert (caught.value.status, caught.value.code) == (400, "invalid_type")


@rows(
    "headers",
    [
        [],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"multipart/form-data; boundary=cut")],
        [(b"content-type", b"application/jsonx")],
    ],
)
def test_another_content_type_is_refused(headers: Headers) -> None:
    with pytest.raises(CallerError) as caught:
        read(b"{" + MESSAGES + b"}", headers=headers)
    assert caught.value.status == 415
    assert "application/json" in caught.value.message


def test_audio_wants_a_form() -> None:
    with pytest.raises(CallerError, match="multipart/form-data"):
        read(b"{}", "/v1/audio/transcriptions")


def test_an_image_edit_takes_either() -> None:
    assert read(b'{"model":"i"}', "/v1/images/edits").model == "i"
    form = b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\ni\r\n--cut--'
    assert read(form, "/v1/images/edits", FORM).model == "i"


# The simple form.


def test_the_simple_form_always_streams() -> None:
    call = read(b"{" + MESSAGES + b"}", "/api/chat-stream")
    assert call.simple
    assert call.stream
    assert json.loads(written(call).body)["stream"] is True


@rows(("field", "param"), [(b'"stream":false', "stream"), (b'"n":2', "n")])
def test_the_simple_form_refuses_what_it_cannot_show(field: bytes, param: str) -> None:
    with pytest.raises(CallerError) as caught:
        read(b"{" + field + b"," + MESSAGES + b"}", "/api/chat-stream")
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


# What goes to the deployment.


def test_on_v1_the_body_names_the_deployment_and_usage_is_asked_for() -> None:
    request = written(read(b'{"model":"chat","stream":true,' + MESSAGES + b"}"))
    assert request.endpoint == "https://east.openai.azure.com"
    assert request.target == "/openai/v1/chat/completions"
    sent = json.loads(request.body)
    assert sent["model"] == "gpt-4o"
    assert sent["stream_options"] == {"include_usage": True}
    assert request.strip_usage


def test_on_the_classic_api_the_path_names_the_deployment_and_the_body_keeps_its_bytes() -> None:
    raw = b'{ "model" : "chat" ,' + MESSAGES + b"}"
    request = written(read(raw), "2024-10-21")
    assert request.target == "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    assert request.body is raw
    assert not request.strip_usage


def test_a_body_that_already_names_the_deployment_keeps_its_bytes() -> None:
    raw = b'{"model":"gpt-4o",' + MESSAGES + b"}"
    assert written(read(raw)).body is raw


def test_a_name_with_quotes_is_escaped() -> None:
    request = written(read(b"{" + MESSAGES + b"}"), name='a"b')
    assert json.loads(request.body)["model"] == 'a"b'


def test_old_versions_are_not_asked_for_usage() -> None:
    request = written(read(b'{"stream":true,' + MESSAGES + b"}"), "2024-06-01")
    assert b"stream_options" not in request.body
    assert not request.strip_usage


def test_the_clients_version_is_used_where_the_deployment_has_none() -> None:
    path = "/openai/deployments/m/chat/completions"
    call = read(b"{" + MESSAGES + b"}", path, query="api-version=2024-06-01")
    assert written(call).target.endswith("?api-version=2024-06-01")


def test_the_request_says_its_version() -> None:
    path = "/openai/deployments/m/chat/completions"
    assert written(read(b"{" + MESSAGES + b"}")).version == "v1"
    assert written(read(b"{" + MESSAGES + b"}", path, query="api-version=2024-06-01")).version == "2024-06-01"
    assert written(read(b"{" + MESSAGES + b"}", path, query="api-version=2024-06-01"), "v1").version == "v1"


def test_one_call_is_written_for_deployments_of_different_versions() -> None:
    """Whatever the order: each request is what it would have been alone."""
    raw = b'{ "stream":true, "max_completion_tokens" : 9 , "model":"chat", ' + MESSAGES + b" }"
    wanted = {
        ("v1", "a"): b'{"stream_options":{"include_usage":true}, "stream":true, "max_completion_tokens" : 9 ,'
        b' "model":"a", ' + MESSAGES + b" }",
        ("2024-06-01", "b"): raw.replace(b"max_completion_tokens", b"max_tokens"),
        ("2024-10-21", "c"): b'{"stream_options":{"include_usage":true},' + raw[1:],
    }
    for order in (list(wanted), list(reversed(wanted))):
        call = read(raw)
        for version, name in (*order, *order):
            request = written(call, version, name)
            assert request.body == wanted[version, name]
            assert request.strip_usage is (version != "2024-06-01")


def test_a_client_gets_no_usage_where_the_deployment_has_none() -> None:
    raw = b'{"stream":true,"stream_options":{"include_usage":true},' + MESSAGES + b"}"
    request = written(read(raw), "2024-06-01")
    assert request.body == b'{"stream":true,' + MESSAGES + b"}"
    assert not request.strip_usage
    learnt = written(read(raw), "2024-10-21", known=Capabilities(stream_options=False))
    assert learnt.body == request.body


@rows("sent", [b"", b'"max_tokens":50,', b'"max_completion_tokens":50,', b'"max_tokens":null,'])
@rows("known_as", ["max_tokens", "max_completion_tokens"])
def test_a_cap_goes_up_under_the_name_that_the_deployment_knows(sent: bytes, known_as: str) -> None:
    call = read(b"{" + sent + MESSAGES + b"}")
    body = json.loads(written(call, "v1", known=Capabilities(output_limit=known_as), caps={"max_tokens": 20}).body)
    assert body == {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], known_as: 20}


def test_without_limits_and_stream_options_nothing_is_edited() -> None:
    raw = b'{ "temperature":0.50, ' + MESSAGES + b" }"
    for version in ("2024-06-01", "2024-10-21"):
        assert written(read(raw), version, known=Capabilities(False, "max_tokens")).body is raw


def test_headers_carry_the_relays_credential_and_never_the_clients() -> None:
    headers = [*JSON, (b"authorization", b"Bearer relay-key"), (b"api-key", b"relay-key"), (b"cookie", b"c")]
    request = written(read(b"{" + MESSAGES + b"}", headers=headers))
    assert CREDENTIAL in request.headers
    assert (b"x-ms-client-request-id", b"req_1") in request.headers
    assert b"relay-key" not in b"".join(value for _, value in request.headers)
    assert [name for name, _ in request.headers].count(b"content-type") == 1


FIELDS = b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n--cut--\r\n'


def test_a_forms_model_is_replaced_only_where_the_body_must_name_it() -> None:
    call = read(FIELDS, "/v1/audio/transcriptions", FORM)
    assert call.model == "whisper"
    for version, name, model in ((None, "w-1", "w-1"), ("2024-10-21", "w-1", "whisper")):
        up = written(call, version, name=name) if version else written(call, name=name)
        types = [value for field, value in up.headers if field == b"content-type"]
        assert len(types) == 1
        assert Form(up.body, types[0]).text("model") == model


@rows(("value", "stream"), [(b"true", True), (b"True", True), (b"1", True), (b"false", False)])
def test_a_form_can_ask_for_a_stream(value: bytes, stream: bool) -> None:
    form = b'--cut\r\nContent-Disposition: form-data; name="stream"\r\n\r\n' + value + b"\r\n--cut--"
    assert read(form, "/v1/audio/transcriptions", FORM).stream is stream


def test_routes_without_an_operation_are_no_calls() -> None:
    assert find("GET", "/", "") == Route(page=find("GET", "/", "").page)
