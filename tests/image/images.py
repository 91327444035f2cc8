"""Images built by buildah, which needs no daemon, in a folder of their own."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import markdown
from tests.image.bases import run

TIMESTAMP = "1700000000"
"""The time that every file of the image gets."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image. ``root`` is its file system, ``config`` what it says about how to run it, in Docker's words."""

    root: Path
    config: dict[str, Any]
    layers: list[str]
    history: list[dict[str, Any]]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it sets."""
        return dict(each.split("=", 1) for each in self.config["Env"])


class Storage:
    """Where buildah keeps what it makes. Nothing is pulled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        place = ("--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")
        self._buildah = ("buildah", *place)

    def add_base(self, name: str, user: str, make: Callable[[Path], None]) -> None:
        """Make an image of the file system that ``make`` puts into a folder."""
        container = run(*self._buildah, "from", "scratch").strip()
        make(Path(run(*self._buildah, "mount", container).strip()))
        run(*self._buildah, "config", "--user", user, container)
        run(*self._buildah, "commit", "--quiet", "--format", "docker", "--rm", container, name)

    def build(self, *arguments: str) -> Image:
        """Build the Dockerfile, with this machine's package index and authorities as its secrets."""
        (self._folder / "pip.conf").write_text(pip_configuration(), "utf-8")
        secrets = (f"id=pip,src={self._folder / 'pip.conf'}", f"id=ca,src={authorities()}")
        name = run(
            *self._buildah, "build", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never",
            "--layers=false", "--timestamp", TIMESTAMP, *(f"--secret={each}" for each in secrets), *arguments,
            markdown.ROOT,
        ).strip().splitlines()[-1]  # fmt: skip
        container = run(*self._buildah, "from", "--pull-never", name).strip()
        described = json.loads(run(*self._buildah, "inspect", "--type", "image", name))
        return Image(
            Path(run(*self._buildah, "mount", container).strip()),
            described["Docker"]["config"],
            described["OCIv1"]["rootfs"]["diff_ids"],
            described["OCIv1"]["history"],
        )


def authorities() -> Path:
    """Return the file of this machine's certificate authorities, which a proxy on the way may need."""
    named = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return Path(named or "/etc/ssl/certs/ca-certificates.crt")


def pip_configuration() -> str:
    """Return the pip.conf for the build: this machine's index, if it has one of its own."""
    known = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    lines = [line.partition(".")[2].replace("'", "") for line in known.splitlines()]
    own = [line for line in lines if line.startswith(("index-url=http", "proxy=", "trusted-host="))]
    return "\n".join(["[global]", "cert = /run/secrets/ca", *own, ""])
