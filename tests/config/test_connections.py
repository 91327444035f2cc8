"""What may pass to Azure besides the usual header fields; proxies and the rest are with every other key."""

from pathlib import Path

import pytest

from chukei.config import ConfigError, load


def test_only_harmless_headers_and_previews_may_pass(tmp_path: Path) -> None:
    names = ["authorization", "X-MS-Spillover-Deployment", "aoai-evals", "foundry-features", "no name"]
    text = f'[upstream]\npass_headers = {names}\npass_versions = ["preview", "2024-10-21"]\n'
    path = tmp_path / "chukei.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    said = [problem.message.partition(" ")[0] for problem in caught.value.problems]
    assert said == ["'authorization'", "'x-ms-spillover-deployment'", "'no", "'2024-10-21'"]
