"""What the package index shows of the project: its addresses, and the README with links that work there.

The address of the repository stands in no file. A clone from github.com has it as its remote ``origin``; any other
clone has it in GITHUB_SERVER_URL and GITHUB_REPOSITORY, where a workflow builds it. A source distribution has the
result in PKG-INFO, so that a wheel built from it is the same. Without any of them the package has no addresses, and the
README's links stay as they are.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from email import message_from_string
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PLACEHOLDER = "https://github.com/YOUR-ACCOUNT/chukei"

_CODE = r"^```.*?^```$|`[^`\n]+`"
_LINK = r"(!?)\[((?:[^\[\]]|!?\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)"
_CODE_OR_LINK = re.compile(f"{_CODE}|{_LINK}", re.DOTALL | re.MULTILINE)
_ORIGIN = re.compile(r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_SERVER = re.compile(r"https://[\w.-]+(:\d+)?")


class Metadata(MetadataHookInterface):
    """Sets ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add to the metadata of pyproject.toml."""
        root = Path(self.root)
        built = root / "PKG-INFO"
        if built.is_file():
            text, urls = read_back(built.read_text("utf-8"))
        else:
            address = repository(os.environ, root)
            text = (root / "README.md").read_text("utf-8")
            text = text if address is None else absolute(text, address, f"v{metadata['version']}", root)
            urls = {} if address is None else addresses(address)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls


def read_back(package_information: str) -> tuple[str, dict[str, str]]:
    """Return the description and the addresses of a source distribution."""
    message = message_from_string(package_information)
    pairs = [str(value).partition(", ")[::2] for value in message.get_all("Project-URL", [])]
    text = message.get_payload()
    assert isinstance(text, str)
    return text, dict(pairs)


def repository(environment: Mapping[str, str], root: Path) -> str | None:
    """Return the address of the repository that is cloned at ``root``, or None if nobody says it.

    The variables alone say nothing: a workflow of another project may build this one.
    """
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
    try:
        origin = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - fixed words
    except (OSError, subprocess.CalledProcessError):
        origin = ""
    found = _ORIGIN.fullmatch(origin)
    if found is not None:
        return f"https://github.com/{found[1]}"
    server, name = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
    return f"{server}/{name}" if _SERVER.fullmatch(server) and _REPOSITORY.fullmatch(name) else None


def addresses(repository: str) -> dict[str, str]:
    """Return the project's addresses, by names that the package index knows."""
    return {
        "Homepage": repository,
        "Documentation": f"{repository}/tree/main/docs",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
        "Source": repository,
    }


def absolute(text: str, repository: str, tag: str, root: Path) -> str:
    """Return Markdown whose links and images are addresses of the repository at a tag. Code stays as it is."""

    def address(found: re.Match[str]) -> str:
        image, label, target = found.groups()
        if target is None:  # code
            return found[0]
        label = _CODE_OR_LINK.sub(address, label)  # an image may be a link
        if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
            return f"{image}[{label}]({target})"
        path, hash, anchor = target.partition("#")
        path = path.removeprefix("./").rstrip("/") or "README.md"
        kind = "raw" if image else "tree" if (root / path).is_dir() else "blob"
        return f"{image}[{label}]({repository}/{kind}/{tag}/{path}{hash}{anchor})"

    return _CODE_OR_LINK.sub(address, text).replace(PLACEHOLDER, repository)
