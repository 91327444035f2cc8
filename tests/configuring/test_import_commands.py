"""`chukei import`, as it is typed."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests import markdown
from tests.configuring.imported import IMPORTS
from tests.live.relays import in_process
from tests.rows import rows

from chukei.cli import main

REGIONS = str(IMPORTS / "regions.yaml")
KEYS = {"FABRIKAM_EAST_API_KEY": "k", "FABRIKAM_WEST_API_KEY": "k", "RELAY_KEY": "k"}


def run(*arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> Result:
    return CliRunner(env=environment).invoke(main, ["import", *arguments], input=stdin)


def test_the_configuration_goes_to_standard_output_and_the_report_to_standard_error() -> None:
    found = run("litellm", REGIONS)

    assert found.exit_code == 0
    assert list(tomllib.loads(found.stdout)) == ["auth", "models", "deployments", "pool"]
    assert found.stderr.startswith("29 values: 18 mapped, 7 approximated, 4 dropped\n")


def test_check_accepts_the_result_once_its_variables_are_set(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    made = run("litellm", REGIONS, "--output", str(file))
    assert (made.exit_code, made.stdout) == (0, "")

    assert in_process("check", "--config", str(file), environment=KEYS)[0] == 0
    status, output = in_process("check", "--config", str(file))
    assert (status, output.count("the environment variable")) == (3, 4)


def test_the_report_as_json_takes_standard_output(tmp_path: Path) -> None:
    found = run("litellm", REGIONS, "--output", str(tmp_path / "relay.toml"), "--report", "json")

    assert json.loads(found.stdout)["counts"] == {"mapped": 18, "approximated": 7, "dropped": 4}
    assert run("litellm", REGIONS, "--report", "json").exit_code == 2


@rows("name", ["report.txt", "report.json"])
def test_the_report_goes_to_a_file_in_the_form_of_its_name(name: str, tmp_path: Path) -> None:
    found = run("litellm", REGIONS, "--report", str(tmp_path / name))

    text = (tmp_path / name).read_text("utf-8")
    assert (text[0] == "{") == name.endswith(".json")
    assert found.stderr == f"29 values: 18 mapped, 7 approximated, 4 dropped; the report is in {tmp_path / name}\n"


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("mine")
    for option in ("--output", "--report"):
        found = run("litellm", REGIONS, option, str(file))
        assert (found.exit_code, "exists already" in found.stderr) == (2, True)
    assert file.read_text() == "mine"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    found = run("litellm", REGIONS, "--output", str(tmp_path / "none" / "relay.toml"))
    assert (found.exit_code, found.stderr.endswith("cannot be written: No such file or directory\n")) == (1, True)


def test_standard_input_is_a_file_too() -> None:
    found = run("litellm", "-", stdin=Path(REGIONS).read_bytes())
    assert (found.exit_code, "Made from - by" in found.stdout) == (0, True)


def test_values_that_are_no_secrets_can_be_stated() -> None:
    arguments = [
        "--value",
        "AZURE_API_BASE=https://contoso.openai.azure.com",
        "--value",
        "AZURE_API_VERSION=2024-10-21",
    ]
    found = run("litellm", str(IMPORTS / "variables.yaml"), *arguments)

    deployments = tomllib.loads(found.stdout)["deployments"]
    assert {(each["endpoint"], each["api_version"]) for each in deployments.values()} == {
        ("https://contoso.openai.azure.com", "2024-10-21")
    }
    assert "CHUKEI_" not in found.stderr


def test_a_value_that_is_stated_for_a_secret_is_not_copied() -> None:
    found = run("litellm", str(IMPORTS / "variables.yaml"), "--value", "AZURE_API_KEY=hunter2")
    assert (found.exit_code, "hunter2" in found.output) == (0, False)


def test_a_value_for_a_variable_that_the_file_does_not_name_is_noticed() -> None:
    found = run("litellm", REGIONS, "--value", "AZURE_API_BSAE=https://contoso.openai.azure.com")
    assert "a value for AZURE_API_BSAE was stated, and the file names no such variable" in found.stderr


@rows("value", ["NAME", "=x", "NAME="])
def test_a_value_needs_a_name_and_a_value(value: str) -> None:
    assert run("litellm", REGIONS, "--value", value).exit_code == 2


@pytest.mark.parametrize("command", ["litellm", "powerproxy"])
def test_what_cannot_be_read_is_named_with_its_place_and_without_its_content(command: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\nb: [hunter2\n")

    found = run(command, str(file))
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith(f"chukei: {file}: line 3, column 1: is not valid YAML")
    assert "hunter2" not in found.stderr
    assert "cannot be read: No such file" in run(command, str(tmp_path / "gone.yaml")).stderr
    assert "cannot be read: Is a directory" in run(command, str(tmp_path)).stderr


def test_a_source_without_a_deployment_of_azure_gives_a_report_and_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    found = run("litellm", "-", "--output", str(file), stdin=b"model_list: []")

    assert (found.exit_code, file.exists()) == (1, False)
    assert found.stderr.endswith("there is no Azure OpenAI deployment to import, so no configuration was written\n")


def test_no_variable_that_the_source_names_is_read() -> None:
    planted = dict.fromkeys(("AZURE_API_BASE", "AZURE_API_KEY", "LITELLM_MASTER_KEY"), "https://hunter2.example")
    assert "hunter2" not in run("litellm", str(IMPORTS / "variables.yaml"), environment=planted).output


def test_powerproxy_is_read_from_a_file_or_from_its_variable() -> None:
    text = (IMPORTS / "powerproxy.yaml").read_text("utf-8")
    as_json = json.dumps({"aoai": {"endpoints": [{"name": "a", "url": "https://a.openai.azure.com"}]}})

    from_file = run("powerproxy", str(IMPORTS / "powerproxy.yaml"))
    from_variable = run("powerproxy", environment={"POWERPROXY_CONFIG_STRING": text})
    from_json = run("powerproxy", "--deployment", "chat", environment={"POWERPROXY_CONFIG_STRING": as_json})

    assert tomllib.loads(from_variable.stdout) == tomllib.loads(from_file.stdout)
    assert list(tomllib.loads(from_json.stdout)["models"]) == ["chat"]
    assert run("powerproxy").exit_code == 2


def test_the_run_in_the_documentation_is_what_happens(tmp_path: Path) -> None:
    [text, toml, report] = [
        fence.text for fence in markdown.fences("yaml", "toml", "text") if fence.page == "docs/migrate.md"
    ]
    (tmp_path / "config.yaml").write_text(text, "utf-8")

    found = run("litellm", str(tmp_path / "config.yaml"))

    assert found.stdout == toml
    assert found.stderr.strip() == report.strip()
