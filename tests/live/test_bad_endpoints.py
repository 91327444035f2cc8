"""Endpoints that differ from their configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.both_hosts import Hosts, Setup
from tests.live.misleading_upstreams import MisleadingUpstreams
from tests.live.plain_http import post

pytestmark = pytest.mark.anyio

HELLO = b'[{"role":"user","content":"a"}]'

ENDPOINTS = {
    "refused": (502, "connect_error"),
    "unresolvable": (502, "connect_error"),
    "plain-port": (502, "tls_error"),
    "certificate": (502, "tls_unverified"),
    "page": (502, "unexpected_content_type"),
    "login": (502, "unexpected_redirect"),
    "noise": (502, "unexpected_answer"),
    "silent": (504, "upstream_timeout"),
}


@pytest.fixture(scope="module")
def misleading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MisleadingUpstreams]:
    with MisleadingUpstreams(tmp_path_factory.mktemp("authority")) as running:
        yield running


def elsewhere(misleading: MisleadingUpstreams, name: str, ca_file: Path | None = None) -> Setup:
    """A configuration in which each of those endpoints is a model, and `good` is a real one."""
    key = 'api_key = { env = "TEST_UPSTREAM_KEY" }'
    urls = {**misleading.urls, "good": "{simulator}"}
    tables = [f'[deployments.{model}]\nendpoint = "{url}"\n{key}\n' for model, url in urls.items()]
    limits = "[upstream]\nanswer_seconds = 0.5\n" + (f'ca_file = "{ca_file}"\n' if ca_file else "")
    stream = "[stream]\nfirst_token_seconds = 0.5\n"
    return Setup(name, toml="\n".join(["[auth]\nanonymous = true\n", limits, stream, *tables]))


class TestEndpoints:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("name", ENDPOINTS)
    async def test_that_are_none(self, hosts: Hosts, misleading: MisleadingUpstreams, name: str, stream: bool) -> None:
        host = hosts.get("server", elsewhere(misleading, "elsewhere"))
        body = b'{"model":"%s","messages":%s,"stream":%s}' % (name.encode(), HELLO, b"true" if stream else b"false")
        answer = await post(host.url, "/v1/chat/completions", body)
        assert (answer.status, answer.error["code"]) == ENDPOINTS[name]
        assert answer.header("content-type") == "application/json"
        assert b"<h1>" not in answer.body
        assert b"elsewhere" not in answer.body
        assert misleading.elsewhere == 0, "the redirect was followed"
        good = b'{"model":"good","messages":%s}' % HELLO
        assert (await post(host.url, "/v1/chat/completions", good)).status == 200

    async def test_with_their_own_authority(self, hosts: Hosts, misleading: MisleadingUpstreams) -> None:
        """With `ca_file` the certificate is good; one for another name still is not."""
        host = hosts.get("server", elsewhere(misleading, "authority", misleading.ca_file))
        chat = b'{"model":"%s","messages":%s}'
        assert (await post(host.url, "/v1/chat/completions", chat % (b"certificate", HELLO))).status == 200
        answer = await post(host.url, "/v1/chat/completions", chat % (b"misnamed", HELLO))
        assert (answer.status, answer.error["code"]) == (502, "tls_unverified")
