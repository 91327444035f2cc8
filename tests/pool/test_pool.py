"""Which model is meant and who answers for it."""

import pytest

from chukei.errors import CallerError
from chukei.model import Deployment, Model
from chukei.pool import Pool

EAST = Deployment("east", "https://east.example", "gpt-4o")
WEST = Deployment("west", "https://west.example", "gpt-4o-2", api_version="2024-10-21")
CHAT, FAST = Model("chat", (EAST, WEST)), Model("fast", (WEST,))
CLOSED = Pool({"fast": FAST, "chat": CHAT}, default="chat", open=None)
OPEN = Pool({}, default=None, open=Deployment("azure", "https://r.example", "", api_version="2024-10-21"))


def test_a_named_model_and_the_default() -> None:
    assert CLOSED.choose("fast").deployment == WEST
    assert CLOSED.choose(None).model == CHAT
    assert CLOSED.choose(None).deployment == EAST
    assert CLOSED.choose("chat").deployment_name == "gpt-4o"


def test_names_begin_with_the_default() -> None:
    assert CLOSED.names == ["chat", "fast"]
    assert Pool({"a": CHAT, "b": FAST}, default=None, open=None).names == ["a", "b"]


@pytest.mark.parametrize("name", ["gpt-5", "", "CHAT", "chat ", "../chat", "x" * 5000, "\n"])
def test_an_unknown_model_is_404_and_names_the_known(name: str) -> None:
    with pytest.raises(CallerError) as caught:
        CLOSED.choose(name)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert "chat, fast" in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


def test_without_a_default_a_name_is_needed() -> None:
    with pytest.raises(CallerError) as caught:
        OPEN.choose(None)
    assert (caught.value.status, caught.value.code) == (400, "missing_model")


@pytest.mark.parametrize("name", ["gpt-4o", "gpt.4_o-2", "A" * 128, "..."[:1] + "a"])
def test_an_open_resource_serves_any_deployments_name(name: str) -> None:
    choice = OPEN.choose(name)
    assert choice.deployment == Deployment("azure", "https://r.example", name, api_version="2024-10-21")
    assert choice.model.name == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "...", "a/b", "a b", "a?b", "a#b", "a%2F", "中", "a\n", "A" * 129, "a\x00"]
)
def test_a_name_that_could_change_an_address_is_refused(name: str) -> None:
    with pytest.raises(CallerError) as caught:
        OPEN.choose(name)
    assert (caught.value.status, caught.value.code) == (400, "invalid_model")


def test_readiness_and_repr() -> None:
    assert CLOSED.ready
    assert OPEN.ready
    assert not Pool({}, default=None, open=None).ready
    assert repr(CLOSED) == "<Pool [fast: west | chat: east]>"
    assert repr(OPEN) == "<Pool [] any>"
