"""The JSON schema of the configuration and the loader refuse and accept the same."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import markdown
from tests.markdown import Fence
from tests.rows import rows

from chukei.config.load import read
from chukei.config.reader import Document, Problem
from chukei.configuring import toml_text
from chukei.configuring.schema import FILE, text_of

SCHEMA: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
TAPLO = Path(sys.executable).with_name("taplo")

Path_ = tuple[str, ...]


def test_the_published_schema_is_that_of_the_code_and_of_the_page() -> None:
    """After a change: ``python -m chukei.configuring.schema docs/configuration.md``."""
    assert FILE.read_text("utf-8") == text_of(markdown.read("docs/configuration.md"))


def test_the_schema_is_one_of_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == jsonschema.Draft7Validator.META_SCHEMA["$schema"]


def tables(node: dict[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """Yield each table of the schema and its path; names that users choose are ``x``, versions 2."""
    if node.get("type") == "object" and "maxProperties" not in node:
        yield path, node
        for name, below in node.get("properties", {}).items():
            yield from tables(below, (*path, name))
        of_names = node.get("additionalProperties")
        if isinstance(of_names, dict):
            name = "2" if path[-1] == "peppers" else "x"
            for each in of_names.get("anyOf", [of_names]):
                yield from tables(each, (*path, name))


TABLES = [*tables(SCHEMA)]
KEYS = [((*path, name), node) for path, table in TABLES for name, node in table.get("properties", {}).items()]


def test_every_key_has_a_description() -> None:
    leaves = {".".join(path) for path, node in KEYS if node.get("type") != "object"}
    assert len(leaves) > 150
    described = {".".join(path) for path, node in KEYS if node.get("description")}
    unexplained = {key for key in leaves - described if not re.search(r"prices\.(tiers|long|by_model)\.", key)}
    assert unexplained == set()


def test_no_description_has_markdown_in_it() -> None:
    texts = [node["description"] for _, node in KEYS if "description" in node]
    assert [text for text in texts if re.search(r"\]\(|\*\*|\*restart", text)] == []


@rows(("path", "node"), KEYS)
def test_every_default_is_a_valid_value(path: Path_, node: dict[str, Any]) -> None:
    if "default" in node:
        assert VALIDATOR.evolve(schema=node).is_valid(node["default"])


# What the loader says about a value, apart from how it goes with others, and whether a file or a variable is there.

SHAPE = re.compile(
    r"must be (a|true|one|between|the 64) |caps: \w+ must be a number|is not a known key|must hold strings|"
    r"must not be empty|a secret does not belong|must map |is no version|is not one of|is not a version"
)


def document_of(path: Path_, value: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    below = found
    for part in path[:-1]:
        below = below.setdefault(part, {})
    below[path[-1]] = value
    return found


def problems_at(path: Path_, value: object) -> list[Problem]:
    """Return what the loader finds wrong with a value, and not with what is missing beside it."""
    document = Document("", document_of(path, value), {"VARIABLE": "of-sixteen-and-more-characters-32"}, {})
    read(document, [])
    place = ".".join(path)
    return [each for each in document.problems if each.key == place or each.key.startswith(f"{place}.")]


def refused_by_schema(path: Path_, value: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document_of(path, value))]


def disagreement(path: Path_, value: object) -> str | None:
    """Say where loader and schema differ. The loader may refuse more: what no schema can know."""
    problems, errors = problems_at(path, value), refused_by_schema(path, value)
    shape = [each.message for each in problems if SHAPE.search(each.message)]
    if shape and not errors:
        return f"{'.'.join(path)} = {value!r}: only the loader refuses it: {shape}"
    if errors and not problems:
        return f"{'.'.join(path)} = {value!r}: only the schema refuses it: {errors}"
    return None


def candidates(node: dict[str, Any]) -> list[object]:
    """Return values of every type, and those at and around the bounds."""
    values: list[object] = [True, -1, 0, 1, 0.5, -0.5, 1e300, 2**62, "", " ", "x", "a,b", "redis://h", "redis://u:p@h"]
    values += [[], [""], ["x"], [1], {}, {"env": "VARIABLE"}, {"env": 1}, {"env": "VARIABLE", "file": "x"}, {"x": 1}]
    values += [
        {"2": {"env": "VARIABLE", "file": "x"}},
        {"x": {}},
        {"x": "x"},
        {"x": -1},
        {"x": True},
        {"zzzz": {"zzzz": 1}},
        {"2": {"env": "VARIABLE"}},
    ]
    for bound, step in (("minimum", -1), ("maximum", 1)):
        if bound in node:
            values += [node[bound], node[bound] + step]
            values += [float(node[bound]) + step + 0.25] if node[bound] < 2**50 else []
    return [*values, *node.get("enum", ())]


def test_for_every_key_the_schema_and_the_loader_agree_on_every_kind_of_value() -> None:
    tried = [(path, value) for path, node in KEYS for value in candidates(node)]
    assert len(tried) > 5000
    assert [found for path, value in tried if (found := disagreement(path, value)) is not None] == []


PLAIN = st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6).filter(lambda x: x % 1 != 0)
TEXT = st.text(st.characters(min_codepoint=9, max_codepoint=0x2FFF), max_size=8)
VALUE = st.recursive(
    PLAIN | TEXT | st.sampled_from(["v1", "2024-10-21", "memory", "json"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["env", "file", "x", "2"]), inner),
    max_leaves=4,
)


@given(st.sampled_from([path for path, _ in KEYS]), VALUE)
def test_the_schema_and_the_loader_agree_on_any_value(path: Path_, value: object) -> None:
    assert disagreement(path, value) is None


@rows(("path", "table"), [(path, table) for path, table in TABLES if table.get("additionalProperties") is False])
def test_a_key_that_the_loader_does_not_know_is_unknown_to_the_schema(path: Path_, table: dict[str, Any]) -> None:
    assert "is not a known key" in problems_at((*path, "zzzzzzzz"), 1)[0].message
    assert refused_by_schema((*path, "zzzzzzzz"), 1)


def test_the_schema_has_every_table_that_the_loader_reads() -> None:
    document = Document("", {"zzzzzzzz": 1}, {}, {})
    read(document, [])
    known = document.problems[-1].message.partition("known here: ")[2].split(", ")
    assert set(SCHEMA["properties"]) == set(known)


@rows("fence", markdown.configurations())
def test_every_sample_of_the_documentation_is_valid(fence: Fence) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(tomllib.loads(fence.text))] == []


# Taplo is what editors check TOML with (Even Better TOML).


def checked_by_taplo(folder: Path, *texts: str, directive: bool = False) -> list[str]:
    """Return what Taplo says about each text; nothing about a valid one."""
    if not TAPLO.exists():
        pytest.skip("Taplo is not on this machine")
    (folder / "chukei.schema.json").write_bytes(FILE.read_bytes())
    said = []
    for number, text in enumerate(texts):
        file = folder / f"{number}.toml"
        file.write_text(f"#:schema ./chukei.schema.json\n{text}" if directive else text, "utf-8")
        option = [] if directive else ["--schema", (folder / "chukei.schema.json").as_uri()]
        done = subprocess.run(
            [TAPLO, "check", *option, file], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        said.append("" if done.returncode == 0 else done.stderr)
    return said


def test_taplo_accepts_every_sample_of_the_documentation(tmp_path: Path) -> None:
    fences = markdown.configurations()
    said = checked_by_taplo(tmp_path, *(fence.text for fence in fences))
    assert {str(fence): text for fence, text in zip(fences, said, strict=True) if text} == {}


PLANTED = {
    '[server]\nport = "eighty"\n': '"eighty" is not of type "integer"',
    "[server]\nport = 70000\n": "70000 is greater than the maximum of 65535",
    "[server]\nport = 7221.5\n": '7221.5 is not of type "integer"',
    "[server]\nprot = 7221\n": "'prot' was unexpected",
    "[sever]\nport = 7221\n": "'sever' was unexpected",
    '[deployments.east]\napi_key = "0123456789abcdef"\n': 'is not of type "object"',
    '[log]\nformat = "xml"\n': '"xml" is not one of',
    '[models.chat]\ndeployments = ["east", ""]\n': "not valid under any of the schemas",
    "[models.chat.caps]\nmax_tokens = -1\n": "-1 is less than the minimum of 0",
    "[pool]\nretry_share = nan\n": 'null is not of type "number"',
    '[stores]\nquota = "redis://user:password@host"\n': "not valid under any of the schemas",
    '[models.c.prices.by_model.a.by_model.b]\ninput = "a"\n': '"a" is not of type "number"',
}


@pytest.mark.parametrize("directive", [False, True], ids=["by option", "by a line in the file"])
def test_taplo_finds_every_planted_mistake(directive: bool, tmp_path: Path) -> None:
    said = checked_by_taplo(tmp_path, *PLANTED, directive=directive)
    assert [text for text, found in zip(PLANTED.values(), said, strict=True) if text not in found] == []


@rows("text", ["[server]\nhost = 1979-05-27\n", "[server]\nport = 7221.0\n"])
def test_what_only_the_relay_finds(text: str, tmp_path: Path) -> None:
    """Taplo hands dates on as text, and to draft 7 a number without a fraction is whole, however it is written."""
    assert checked_by_taplo(tmp_path, text) == [""]
    document = Document("", tomllib.loads(text), {}, {})
    read(document, [])
    assert document.problems


def test_a_planted_mistake_is_one_for_the_relay_too() -> None:
    for text in PLANTED:
        document = Document("", tomllib.loads(text), {}, {})
        read(document, [])
        assert any(SHAPE.search(each.message) for each in document.problems), toml_text.value(text)


@rows(("deployments", "accepted"), [(["d"], True), ([], False), (["d", "d"], False), (["d", "e"], True)])
def test_a_model_has_deployments_and_each_once(deployments: list[str], accepted: bool) -> None:
    table = {"endpoint": "https://a.openai.azure.com", "api_key": {"env": "KEY"}}
    document = {"models": {"m": {"deployments": deployments}}, "deployments": {"d": table, "e": table}}

    assert VALIDATOR.is_valid(document) is accepted
