"""Which addresses name a resource or a project, and which scope their tokens need."""

from pathlib import Path

import pytest
from tests.rows import rows

from chukei.config import ConfigError, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chukei.toml"
    path.write_text(text)
    return path


FOUNDRY = """
[deployments.d]
endpoint = "{endpoint}"
identity = true
{more}
"""


@rows(
    ("endpoint", "more", "clean", "version", "scope"),
    [
        ("https://r.openai.azure.com", "", "https://r.openai.azure.com", None, "cognitiveservices.azure.com"),
        ("https://r.openai.azure.us", "", "https://r.openai.azure.us", None, "cognitiveservices.azure.us"),
        ("https://r.openai.azure.cn", "", "https://r.openai.azure.cn", None, "cognitiveservices.azure.cn"),
        ("https://r.services.ai.azure.com/", 'api_version = "preview"', "https://r.services.ai.azure.com", "preview",
         "cognitiveservices.azure.com"),
        ("https://r.services.ai.azure.com/api/projects/p", "", "https://r.services.ai.azure.com/api/projects/p", "v1",
         "ai.azure.com"),
        ("https://r.services.ai.azure.us/api/projects/p", 'api_version = "latest"',
         "https://r.services.ai.azure.us/api/projects/p", "latest", "ai.azure.us"),
        ("https://r.services.ai.azure.com/anthropic", 'api = "anthropic"', "https://r.services.ai.azure.com", None,
         "ai.azure.com"),
    ],
)  # fmt: skip
def test_foundry_and_other_clouds(
    endpoint: str, more: str, clean: str, version: str | None, scope: str, tmp_path: Path
) -> None:
    settings = load(written(tmp_path, FOUNDRY.format(endpoint=endpoint, more=more)), {})
    deployment = settings.models["d"].deployments[0]
    assert (deployment.endpoint, deployment.api_version) == (clean, version)
    assert settings.credentials["d"].scope == f"https://{scope}/.default"


def test_a_project_of_the_environment_has_only_v1() -> None:
    environment = {"AZURE_OPENAI_ENDPOINT": "https://r.services.ai.azure.com/api/projects/p"}
    settings = load(None, environment | {"OPENAI_API_VERSION": "2024-10-21"})
    assert settings.open is not None
    assert settings.open.api_version == "v1"
    assert settings.credentials["azure"].scope == "https://ai.azure.com/.default"


@rows(
    ("endpoint", "more", "problem"),
    [
        ("https://r.services.ai.azure.com/api/projects/p", 'api_version = "2024-10-21"', "for a project"),
        ("https://r.services.ai.azure.com/api/projects/p", 'api = "anthropic"', "projects do not serve Claude"),
        ("https://r.services.ai.azure.com", 'api = "anthropic"\napi_version = "v1"', "has no meaning"),
        ("https://r.services.ai.azure.com/anthropic", "", 'write api = "anthropic"'),
        ("https://r.openai.azure.com", 'api = "anthropic"', "has no Claude"),
        ("https://r.services.ai.azure.com/openai/v1", 'api = "anthropic"', "has no Claude"),
        ("https://r.services.ai.azure.com", 'api = "bedrock"', "must be one of openai, anthropic"),
        ("https://r.services.ai.azure.com/api/projects/p/q", "", "or a project's"),
        ("https://r.openai.azure.com/api/projects/p", "", "or a project's: https://NAME.services.ai.azure.com"),
    ],
)
def test_what_foundry_does_not_have(endpoint: str, more: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, FOUNDRY.format(endpoint=endpoint, more=more)), {})
    assert problem in str(caught.value)
    assert len(caught.value.problems) == 1


def test_deployments_of_one_model_have_one_api(tmp_path: Path) -> None:
    text = FOUNDRY.format(endpoint="https://r.services.ai.azure.com", more='api = "anthropic"')
    other = '[deployments.e]\nendpoint = "https://r.openai.azure.com"\nidentity = true\n'
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f'{text}\n{other}[models.m]\ndeployments = ["d", "e"]\n'), {})
    assert "models.m.deployments: have different APIs" in str(caught.value)
