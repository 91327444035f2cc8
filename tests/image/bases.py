"""Stand-ins for the two base images of the Dockerfile, from Debian's packages, where their registries are out of reach.

``gcr.io/distroless/python3-debian13`` consists of the packages below, unpacked without their scripts, so the stand-in
differs in who packed it. ``python:3.13-slim-trixie`` has its own build of Python instead of Debian's; nothing of that
gets into the image.
"""

import subprocess
from pathlib import Path

import pytest

SUITE = "trixie"

RUN_PACKAGES = Path(__file__).with_name("run-packages.txt").read_text().split()
"""What distroless' ``private/repos/deb/trixie.yaml`` and ``python3/config.bzl`` name, in 2026-11."""

BUILD_PACKAGES = ("coreutils", "dash", "python3-pip")
"""What the Dockerfile's commands need besides, and their dependencies."""

HOME = Path("/", "home", "nonroot")
ACCOUNTS = (
    "root:x:0:0:root:/root:/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    f"nonroot:x:65532:65532:nonroot:{HOME}:/sbin/nologin\n"
)
UNREACHABLE = ("Could not resolve", "Could not connect", "Connection failed", "Temporary failure resolving")
"""What apt says of a mirror that it cannot reach."""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def run(*command: str | Path) -> str:
    """Run a program and return its output; its errors are shown if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def download(folder: Path) -> list[Path]:
    """Download the packages and what they depend on, of another release than this machine's, from the same mirror."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    mirror = next((each for each in targets if each.rstrip("/").endswith("/debian")), None)
    if mirror is None:
        pytest.skip("no mirror of Debian is configured for apt")
    for each in ("lists/partial", "cache/archives/partial"):
        (folder / each).mkdir(parents=True)
    (folder / "status").touch()  # nothing counts as installed
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
    places = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",  # it would go on without
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in places.items())]
    try:
        run(*apt, "update")
        run(*apt, "install", "--yes", "--download-only", "--no-install-recommends", *RUN_PACKAGES, *BUILD_PACKAGES)
    except AssertionError as error:
        if any(sign in str(error) for sign in UNREACHABLE):
            pytest.skip("the mirror of Debian is out of reach")
        raise
    found = list((folder / "cache/archives").glob("*.deb"))
    return sorted(found, key=lambda path: (name_of(path) != "base-files", path))  # that one has /bin and the like


def name_of(package: Path) -> str:
    """Return the name of a package."""
    return package.name.partition("_")[0]


def make_build_base(root: Path, packages: list[Path]) -> None:
    """Make a Debian with Python 3.13 and pip, where ``python:slim`` has them."""
    for package in packages:
        run("dpkg-deb", "--extract", package, root)
    (root / "usr/lib/python3.13/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/local/bin/python3").symlink_to("/usr/bin/python3.13")
    finish(root)


def make_run_base(root: Path, packages: list[Path]) -> None:
    """Make a distroless Python."""
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for package in packages:
        if name_of(package) in RUN_PACKAGES:
            run("dpkg-deb", "--extract", package, root)
            (status / name_of(package)).write_text(run("dpkg-deb", "--field", package), "utf-8")
    assert {path.name for path in status.iterdir()} == set(RUN_PACKAGES)
    for name in ("python", "python3"):
        (root / "usr/bin" / name).symlink_to("python3.13")
    finish(root)
    home = root / HOME.relative_to("/")
    home.mkdir(mode=0o700)
    run("chown", "65532:65532", home)


def finish(root: Path) -> None:
    """Do what the packages' scripts would: the list of users, and certificate authorities in one file."""
    authorities = sorted((root / "usr/share/ca-certificates/mozilla").iterdir())
    (root / "etc/ssl/certs/ca-certificates.crt").write_text("".join(each.read_text() for each in authorities))
    (root / "etc/passwd").write_text(ACCOUNTS)
