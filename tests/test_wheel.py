"""What is published: a wheel that is whole, a source distribution that makes the same one, and what they say of us."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from packaging.metadata import Metadata
from tests import markdown
from tests.live.processes import running
from tests.live.relays import clean_environment
from tests.rows import rows

from chukei import __version__

ROOT = markdown.ROOT
ADDRESS = "https://github.com/example/chukei"
TAG = f"v{__version__}"
# A clone may have its user's credential in the address of its origin.
CREDENTIAL = "".join(("not-to-be-", "published"))  # this file is part of what is published
ORIGIN = f"https://user:{CREDENTIAL}@github.com/example/chukei.git"


def environment_of_build(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GIT_", "COV"))}
    return own | dict(extra or {})


def build(folder: Path, target: Path, *kinds: str, extra: Mapping[str, str] | None = None) -> list[Path]:
    """Build as pip and uv do, with the backend of pyproject.toml; return what was made."""
    chosen = [part for kind in kinds for part in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", *chosen, "-d", str(target)]
    done = subprocess.run(
        command, cwd=folder, env=environment_of_build(extra), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return sorted(target.iterdir())


def files() -> list[str]:
    """Return the names of the clone's own files."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a clone, and only a clone is published")
    return [name for name in listed if (ROOT / name).is_file()]


@dataclass(frozen=True)
class Built:
    clone: Path
    wheel: Path
    sdist: Path

    def names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def metadata(self) -> Metadata:
        return metadata_of(self.wheel)


def metadata_of(wheel: Path) -> Metadata:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Metadata.from_email(archive.read(name), validate=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("published")
    clone = folder / "clone"
    for name in files():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    subprocess.run(["git", "init", "--quiet"], cwd=clone, check=True)
    subprocess.run(["git", "remote", "add", "origin", ORIGIN], cwd=clone, check=True)
    wheel, sdist = build(clone, folder / "dist", "wheel", "sdist")
    return Built(clone, wheel, sdist)


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(built: Built) -> None:
    ours = {name.removeprefix("src/") for name in files() if name.startswith("src/chukei/")}
    about = f"chukei-{__version__}.dist-info"
    told = {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert built.names() == ours | told
    assert {"chukei/py.typed", "chukei/web/index.html", "chukei/configuring/chukei.schema.json"} <= ours
    assert any(name.endswith(".sql") for name in ours)


def test_the_source_distribution_makes_the_same_wheel_elsewhere(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    foreign = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "somebody/else"}
    [wheel] = build(source, tmp_path / "dist", "wheel", extra=foreign)
    assert wheel.name == built.wheel.name
    assert wheel.read_bytes() == built.wheel.read_bytes()


def test_the_source_distribution_has_every_file_of_the_clone(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert set(files()) - inside == set()
    assert inside - set(files()) == {"PKG-INFO"}


def test_the_metadata_is_valid_and_complete(built: Built) -> None:
    said = built.metadata()
    assert (said.name, str(said.version), said.license_expression) == ("chukei", __version__, "MIT")
    assert said.summary
    assert "azure-openai" in (said.keywords or [])
    assert said.description_content_type == "text/markdown"
    assert str(said.requires_python) == ">=3.11"


def test_every_extra_is_explained_and_no_other(built: Built) -> None:
    table = markdown.section(markdown.read("docs/install.md"), "Extras").partition("| extra |")[2]
    explained = [row[0].strip("`") for row in markdown.rows(table) if row[0].startswith("`")]
    assert sorted(explained) == sorted(built.metadata().provides_extra or [])


def test_every_classifier_is_one_of_the_index(built: Built) -> None:
    from trove_classifiers import classifiers

    ours = built.metadata().classifiers or []
    assert set(ours) <= classifiers
    kinds = {each.partition(" :: ")[0] for each in ours}
    assert {"Development Status", "Environment", "Intended Audience", "Operating System", "Topic", "Typing"} <= kinds


def test_the_addresses_are_those_of_the_clone(built: Built) -> None:
    urls = built.metadata().project_urls or {}
    assert urls["Source"] == ADDRESS
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(ADDRESS) for url in urls.values())


def test_no_credential_of_the_clone_is_published(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        assert not any(CREDENTIAL.encode() in archive.read(name) for name in archive.namelist())
    with tarfile.open(built.sdist) as tar:
        parts = [part.read() for member in tar if (part := tar.extractfile(member)) is not None]
    assert not any(CREDENTIAL.encode() in part for part in parts)


def test_every_link_of_the_description_is_an_address_of_this_version(built: Built) -> None:
    text = built.metadata().description
    assert text is not None
    links = markdown.links(text)
    assert len(links) > 10
    assert "YOUR-ACCOUNT" not in text
    for link in links:
        assert re.match("https?://", link), link
        if link.startswith(ADDRESS):
            found = re.fullmatch(rf"{ADDRESS}/(blob|tree|raw)/{TAG}/([^#]+)(#.+)?", link)
            assert found is not None, link
            place = built.clone / found[2]
            assert place.is_dir() if found[1] == "tree" else place.is_file(), link


def test_without_an_address_the_package_has_none(tmp_path: Path) -> None:
    """As in an unpacked archive: nothing is invented."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py", "src/chukei/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    foreign = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "somebody/else"}
    [wheel] = build(tmp_path, tmp_path / "dist", "wheel", extra=foreign)
    said = metadata_of(wheel)
    assert not said.project_urls
    assert said.description is not None
    assert said.description.strip() == markdown.read("README.md").strip()


def test_the_image_has_what_a_build_of_the_package_needs() -> None:
    copied = re.findall(r"^COPY (?!--)(.+) \./?$", markdown.read("Dockerfile"), re.MULTILINE)
    assert {"pyproject.toml", "README.md", "LICENSE", "hatch_build.py"} <= set(" ".join(copied).split())


# The hook that sets addresses and links.


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    found = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@rows(
    ("origin", "variables", "address"),
    [
        ("https://github.com/example/chukei", {}, ADDRESS),
        ("https://github.com/example/chukei.git", {}, ADDRESS),
        ("https://user:token@github.com/example/chukei.git", {}, ADDRESS),
        ("git@github.com:example/chukei.git", {}, ADDRESS),
        ("ssh://git@github.com/example/chukei", {}, ADDRESS),
        ("https://github.com/example/chukei", {"GITHUB_REPOSITORY": "some/one"}, ADDRESS),
        ("https://git.example.com/chukei", {}, None),
        ("https://github.com.example.org/example/chukei", {}, None),
        ("../main", {}, None),
        ("", {}, None),
        ("", {"GITHUB_SERVER_URL": "https://ghe.example", "GITHUB_REPOSITORY": "a/b"}, "https://ghe.example/a/b"),
        ("", {"GITHUB_SERVER_URL": "https://ghe.example", "GITHUB_REPOSITORY": "a/b/../c"}, None),
        ("", {"GITHUB_SERVER_URL": "javascript:", "GITHUB_REPOSITORY": "a/b"}, None),
        ("", {"GITHUB_REPOSITORY": "a/b"}, None),
    ],
)
def test_the_address_comes_from_the_clone_or_the_workflow(
    origin: str, variables: dict[str, str], address: str | None, hook: ModuleType, tmp_path: Path
) -> None:
    clone = tmp_path / re.sub(r"\W", "_", origin + str(variables))[:80]
    clone.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=clone, check=True, env=environment_of_build())
    if origin:
        subprocess.run(["git", "remote", "add", "origin", origin], cwd=clone, check=True, env=environment_of_build())
    assert hook.repository(variables, clone) == address


@rows(
    ("text", "expected"),
    [
        ("[a](docs/a.md)", f"[a]({ADDRESS}/blob/v1/docs/a.md)"),
        ("[a](./docs/a.md#b-c)", f"[a]({ADDRESS}/blob/v1/docs/a.md#b-c)"),
        ("[a](docs)", f"[a]({ADDRESS}/tree/v1/docs)"),
        ("[a](docs/)", f"[a]({ADDRESS}/tree/v1/docs)"),
        ("[a](#b)", f"[a]({ADDRESS}/blob/v1/README.md#b)"),
        ("![a](docs/a.svg)", f"![a]({ADDRESS}/raw/v1/docs/a.svg)"),
        ("[![a](docs/a.svg)](docs/a.md)", f"[![a]({ADDRESS}/raw/v1/docs/a.svg)]({ADDRESS}/blob/v1/docs/a.md)"),
        ("[a](https://example.com/b)", "[a](https://example.com/b)"),
        ("[a](mailto:b@example.com)", "[a](mailto:b@example.com)"),
        ("`[a](docs/a.md)`", "`[a](docs/a.md)`"),
        ("```md\n[a](docs/a.md)\n```\n", "```md\n[a](docs/a.md)\n```\n"),
        ("[`a`](docs/a.md)", f"[`a`]({ADDRESS}/blob/v1/docs/a.md)"),
        ("git clone https://github.com/YOUR-ACCOUNT/chukei && x", f"git clone {ADDRESS} && x"),
    ],
)
def test_links_and_images_become_absolute_and_code_stays(text: str, expected: str, hook: ModuleType) -> None:
    assert hook.absolute(text, ADDRESS, "v1", ROOT) == expected


# The wheel at work: without its clone, in a folder that nobody can write to.


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(folder)
    return folder


def environment_with(unpacked: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    found = clean_environment({"PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1", **(extra or {})})
    return {name: value for name, value in found.items() if not name.startswith("COV")}


@pytest.fixture(scope="module")
def served(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    unwritable = "/proc" if Path("/proc/self").exists() else "/"
    state = tmp_path_factory.mktemp("state")
    environment = environment_with(unpacked, {"CHUKEI_STORES__LEDGER": f"sqlite:///{state}/ledger.db"})
    command = [sys.executable, "-m", "chukei", "serve", "--port", "0"]
    with running(command, cwd=unwritable, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = ""
        for line in process.stderr:
            seen += line
            if found := re.search(r"listening on (http://127\.0\.0\.1:\d+)", line):
                yield found[1]
                break
        else:
            raise RuntimeError(seen)


@rows(
    ("path", "part"),
    [
        ("/", b"<!doctype html>"),
        ("/web/main.js", b"import"),
        ("/web/styles/base.css", b"{"),
        ("/health/ready", b"ready"),
        ("/v1/models", b"chat"),
    ],
)
def test_an_installed_wheel_serves_its_pages(path: str, part: bytes, served: str) -> None:
    with urllib.request.urlopen(served + path, timeout=60) as answer:
        assert part in answer.read()


def test_an_installed_wheel_streams_an_answer_of_the_simulator(served: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Hello"}]}).encode()
    request = urllib.request.Request(f"{served}/api/chat-stream", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert b"[DONE]" in answer.read()


def test_an_installed_wheel_has_the_commands(unpacked: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "chukei", *arguments],
            cwd=tmp_path, env=environment_with(unpacked), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    assert run("--version").stdout.strip().endswith(__version__)
    assert json.loads(run("config", "schema").stdout)["title"] == "chukei"
    assert run("init").returncode == 0
    assert "is valid" in run("check", "--config", "chukei.toml").stdout
