"""Files of other gateways are read safely, whatever they hold, and no message repeats what they hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import rows

from chukei.configuring.import_source import MAX_BYTES, MAX_DEPTH, Node, SourceError, below, printable, read

SECRET = "hunter2"


def found(text: str) -> dict[str, object]:
    """Return all values of a YAML text by their paths."""
    return {leaf.path: leaf.value for leaf in read(text.encode()).root.leaves()}


def test_every_value_knows_its_path_and_its_line() -> None:
    root = read(b"one:\n  - two: 3\n    'a.b': x\n\nfour: []\n").root

    leaves = [(leaf.path, leaf.line, leaf.value) for leaf in root.leaves()]
    assert leaves == [("one[0].two", 2, 3), ('one[0]."a.b"', 3, "x"), ("four", 5, [])]


def test_json_is_read_without_yaml_and_gives_the_same_tree() -> None:
    text = {"a": [1, None, True, "x"], "b": {"c": 0.5, "d": {}}}

    from_json = read(json.dumps(text).encode(), as_json=True).root
    from_yaml = read(json.dumps(text).encode()).root

    assert [(leaf.path, leaf.value) for leaf in from_json.leaves()] == [
        (leaf.path, leaf.value) for leaf in from_yaml.leaves()
    ]


@rows(
    ("text", "value"),
    [
        ("2024-10-21", "2024-10-21"),
        ("60_000", 60_000),
        ("0.5", 0.5),
        ("yes", True),
        ("~", None),
        ("'007'", "007"),
        ("!!str 12", "12"),
    ],
)
def test_scalars_are_what_yaml_says_except_dates_which_stay_text(text: str, value: object) -> None:
    assert found(f"a: {text}") == {"a": value}


@rows(("text", "number"), [("1e-6", 1e-6), ("'3'", 3), ("nan", None), (".inf", None), ("true", None), ("x", None)])
def test_numbers_may_be_written_as_text(text: str, number: float | None) -> None:
    assert read(f"a: {text}".encode()).root.table["a"].number == number


def test_merged_keys_stand_where_they_count_and_own_keys_come_first() -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nitem:\n  <<: [*b, *o]\n  x: 5\n"

    source = read(text.encode())

    assert {path: value for path, value in found(text).items() if path.startswith("item")} == {
        "item.x": 5,
        "item.y": 2,
        "item.z": 4,
    }
    assert source.anchors == {"base", "other", "item"}


def test_a_key_that_stands_twice_is_noted_and_the_last_one_counts() -> None:
    assert read(b"a: 1\nb: {c: 1, c: 2}\na: 3\n").repeated == [("a", 3), ("b.c", 2)]
    assert read(b'{"a": 1, "a": 2}', as_json=True).repeated == [("a", None)]
    assert found("a: 1\na: 3\n") == {"a": 3}


def test_a_byte_order_mark_is_no_content() -> None:
    assert read(b"\xef\xbb\xbfa: 1").root.table["a"].value == 1


DEEP = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
MERGES = "a: &a {k: v}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} {{'<<': x, <<: [{', '.join(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(8)
)

REFUSED = [
    (b"a" * (MAX_BYTES + 1), "larger than 1 MiB"),
    (b"a: \xff", "not UTF-8"),
    (b"", "is empty"),
    (b"# only a comment", "is empty"),
    (b"- a\n- b", "not a mapping"),
    (f"{SECRET}".encode(), "not a mapping"),
    (f"a: 1\n---\nb: {SECRET}".encode(), "line 2, column 1: a second document"),
    (f"a: {DEEP}".encode(), "deeper than 60 levels"),
    (b"a: " + b"[" * 5_000, "deeper than 60 levels"),
    (BOMB.encode(), "more than 10000 values"),
    (MERGES.encode(), "more than 10000 values"),
    (("[" + "1," * 30_000 + "]").encode(), "more than 10000 values"),
    (b"a: &a [*a]", "line 1: an alias repeats the value that contains it"),
    (b"a: &a {<<: *a}", "must name other mappings"),
    (f"a:\n\tb: {SECRET}".encode(), "line 2, column 1: is not valid YAML: a tab stands"),
    (f"key: *{SECRET}".encode(), "line 1, column 6: is not valid YAML: found undefined alias …"),
    (f"key: !{SECRET} x".encode(), "line 1: a value has a tag of its own"),
    (b"key: !!binary aGk=", "line 1: a value has a tag of its own"),
    (f"key: @{SECRET}".encode(), "line 1, column 6: is not valid YAML: found character … that cannot start any token"),
    (f'key: "{SECRET}'.encode(), "is not valid YAML: found unexpected end of stream"),
    (f"key: {{{SECRET}: 1".encode(), "is not valid YAML"),
    (f"key: {SECRET}: x".encode(), "is not valid YAML: mapping values are not allowed here"),
    (f"a: 1\n{SECRET}".encode(), "is not valid YAML: could not find expected ':'"),
    (f"a: 1\nb: {SECRET}\x07".encode(), "line 2: holds a character that YAML does not allow"),
    (f"? [{SECRET}]\n: 1".encode(), "line 1: a key is a list or a mapping"),
    (b'a: "\\ud800"', "line 1: a text holds half a character"),
    (b"a: !!int x", "line 1: a number or truth value is none"),
]


@rows(("data", "message"), REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place_and_without_its_content(data: bytes, message: str) -> None:
    with pytest.raises(SourceError) as raised:
        read(data)
    assert message in str(raised.value)
    assert SECRET not in str(raised.value)


@rows(
    ("data", "message"),
    [
        (f'{{"a": "{SECRET}'.encode(), "line 1, column 7: is not valid JSON"),
        (b'{"a": NaN}', "is not valid JSON"),
        (b"[" * 100_000, "deeper than 60 levels"),
        (("[" * 70 + "]" * 70).encode(), "deeper than 60 levels"),
        (b"[]", "not a mapping"),
        (b'{"a": ' + b"1" * 5000 + b"}", "is not valid JSON"),
    ],
)
def test_json_that_cannot_be_read_is_refused_alike(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        read(data, as_json=True)
    assert SECRET not in str(raised.value)


@given(st.text(st.sampled_from("ab01:-[]{}&*!|>'\"%@`#,? \n\t<é\x85\u202e"), max_size=60))
def test_no_text_does_anything_but_be_read_or_be_refused(text: str) -> None:
    try:
        root = read(text.encode()).root
    except SourceError:
        return
    paths = [leaf.path for leaf in root.leaves()]
    assert len(set(paths)) == len(paths)
    assert all(printable(path) == path for path in paths)


def test_paths_cannot_steer_a_terminal() -> None:
    assert below("a", "b\x1b[31m\u202e") == 'a."b\\u001b[31m\\u202e"'


def test_values_have_forms() -> None:
    node = Node("a", None, " x ")
    assert (node.text, node.flag, node.items, node.table) == ("x", None, [], {})
    assert Node("a", None, "False").flag is False
    assert [read(f"a: {text}".encode()).root.table["a"].empty for text in ("~", "''", "[]", "{}", "0", "no")] == [
        *[True] * 4,
        *[False] * 2,
    ]


def test_without_yaml_the_message_names_the_command_that_installs_it_and_json_works(tmp_path: Path) -> None:
    params = {"model": "azure/d", "api_base": "https://a.openai.azure.com"}
    text = json.dumps({"model_list": [{"model_name": "m", "litellm_params": params}]})
    for name in ("config.yaml", "config.json"):
        (tmp_path / name).write_text(text)
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from click.testing import CliRunner; from chukei.configuring.import_commands import imports\n"
        "for name in ('config.json', 'config.yaml'):\n"
        "    found = CliRunner().invoke(imports, ['litellm', name]); print(found.exit_code, found.output)\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    as_json, _, as_yaml = ran.stdout.partition("\n1 ")
    assert as_json.startswith("0 ")
    assert "[models.m]" in as_json
    assert as_yaml.startswith("chukei: config.yaml: is read as YAML, which needs one more package: ")
    assert as_yaml.rstrip().endswith(("requirements/yaml.txt", "'chukei[yaml]'"))
