"""Which deployment is asked about an object."""

from chukei.model import Deployment, Model
from chukei.objects.resources import Resources

EAST, WEST = "https://east.example", "https://west.example"
A, B, C = Deployment("a", EAST, "gpt-a"), Deployment("b", WEST, "gpt-b"), Deployment("c", WEST, "gpt-c")
RESOURCES = Resources({"chat": Model("chat", (A, B)), "fast": Model("fast", (C,))})


def test_a_home_is_a_deployment_or_any_of_its_resource() -> None:
    assert RESOURCES.at(f"{WEST}/gpt-c") is C
    assert RESOURCES.at(f"{WEST}/retired") is RESOURCES.at(f"{WEST}/") is B
    assert RESOURCES.at("https://other.example/gpt-a") is None


def test_where_every_name_is_a_model_the_resource_is_enough() -> None:
    anything = Deployment("azure", EAST, "")
    assert Resources({}, anything).at(f"{EAST}/gpt-x") is anything
    assert Resources({}, anything).each(lambda _: False) == [anything]


def test_each_resource_is_asked_once_where_the_caller_may_use_it() -> None:
    assert RESOURCES.each(lambda _: True) == [A, B]
    assert RESOURCES.each(lambda _: True, first=C) == [C, A]
    assert RESOURCES.each(lambda name: name == "fast") == [C]
