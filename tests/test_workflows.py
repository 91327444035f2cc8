"""What GitHub runs and shows: workflows, updates, forms, the notes of a release, how to contribute."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from tests import markdown
from tests.rows import rows

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
if not GITHUB.is_dir():
    pytest.skip("this is a source distribution, which has no .github/", allow_module_level=True)
FILES = sorted((GITHUB / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[Any, Any]] = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FILES}
DEPENDABOT = yaml.safe_load((GITHUB / "dependabot.yml").read_text("utf-8"))
PLACEHOLDER = "YOUR-ACCOUNT"


class Job(NamedTuple):
    """A job of a workflow."""

    workflow: str
    name: str
    body: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.workflow}.{self.name}"


class Block(NamedTuple):
    """Commands that a job runs."""

    job: Job
    text: str

    def __repr__(self) -> str:
        return f"{self.job!r}: {self.text!r}"


JOBS = [Job(workflow, name, body) for workflow, all in WORKFLOWS.items() for name, body in all["jobs"].items()]
BLOCKS = [Block(job, step["run"]) for job in JOBS for step in job.body.get("steps", ()) if "run" in step]


def tool(name: str) -> str:
    """Return where an installed program is, or skip."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}") or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def zizmor(folder: Path) -> list[str]:
    """Return the kinds of what zizmor finds, at its strictest and without the network."""
    command = [tool("zizmor"), "--offline", "--no-progress", "--persona=auditor", "--format=json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return [f"{found['ident']}: {found['desc']}" for found in json.loads(done.stdout)]


class TestWorkflows:
    def test_zizmor_finds_nothing(self) -> None:
        assert zizmor(GITHUB) == []

    def test_zizmor_would_find_what_is_unsafe(self, tmp_path: Path) -> None:
        """So that nothing found means something."""
        folder = tmp_path / ".github" / "workflows"
        folder.mkdir(parents=True)
        job = {"runs-on": "ubuntu-24.04", "steps": [{"run": "echo ${{ github.event.issue.title }}"}]}
        (folder / "unsafe.yml").write_text(yaml.safe_dump({"on": "issues", "jobs": {"one": job}}))
        kinds = {found.partition(":")[0] for found in zizmor(tmp_path)}
        assert {"template-injection", "excessive-permissions"} <= kinds

    @rows("job", JOBS)
    def test_a_job_ends_and_says_what_it_may(self, job: Job) -> None:
        assert WORKFLOWS[job.workflow]["permissions"] == {}
        assert "permissions" in job.body
        assert "timeout-minutes" in job.body or job.body["uses"].startswith("$/")

    def test_only_these_jobs_may_write(self) -> None:
        may_write = {
            repr(job): sorted(scope for scope, access in job.body["permissions"].items() if access == "write")
            for job in JOBS
        }
        signed = ["attestations", "id-token"]
        assert {job: scopes for job, scopes in may_write.items() if scopes} == {
            "codeql.analyse": ["security-events"],
            "dependencies.propose": ["actions", "contents", "pull-requests"],
            "pages.publish": ["id-token", "pages"],
            "release.package": signed,
            "release.pypi": ["id-token"],
            "release.image": [*signed, "packages"],
            "release.chart": [*signed, "packages"],
            "release.page": ["contents"],
        }

    def test_no_workflow_gives_strangers_its_rights(self) -> None:
        triggers = {name: set(workflow[True]) for name, workflow in WORKFLOWS.items()}  # YAML reads on: as true
        assert {name for name, on in triggers.items() if on & {"pull_request_target", "workflow_run"}} == set()

    def test_actions_are_pinned_to_a_commit_that_names_its_version(self) -> None:
        used = [line for path in FILES for line in path.read_text("utf-8").splitlines() if "uses: " in line]
        pins: dict[str, set[str]] = {}
        for line in used:
            if "uses: $/" in line:
                continue
            found = re.fullmatch(r" +(?:- )?uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
            assert found, line
            owner, repository = found[1].split("/")[:2]
            pins.setdefault(f"{owner}/{repository}", set()).add(f"{found[2]} {found[3]}")
        assert len(pins) > 5
        assert {action: versions for action, versions in pins.items() if len(versions) > 1} == {}

    @rows("block", BLOCKS)
    def test_commands_are_sound(self, block: Block) -> None:
        shell = tool("shellcheck")
        script = f"#!/usr/bin/env bash\n{block.text}"
        done = subprocess.run([shell, "-"], input=script, capture_output=True, text=True, timeout=60)
        assert done.stdout == ""

    @rows("block", BLOCKS)
    def test_every_file_that_is_run_or_read_exists(self, block: Block) -> None:
        named = re.findall(r"(?<![\w/.-])(?:\.ci|charts|functions|requirements|scripts|tests)/[\w./*-]*\w", block.text)
        for name in named:
            if name.startswith("charts/") and not (ROOT / "charts").is_dir():
                pytest.skip("this checkout has no charts/")
            assert list(ROOT.glob(name)), name

    def test_scripts_are_sound(self) -> None:
        shell = tool("shellcheck")
        folders = [ROOT / "scripts", ROOT / ".ci", ROOT / ".githooks"]
        scripts = [path for folder in folders for path in folder.iterdir() if path.is_file()]
        written_for_a_shell = [path for path in scripts if re.match(rb"#!.*sh\n", path.read_bytes())]
        assert len(written_for_a_shell) > 5
        done = subprocess.run([shell, *written_for_a_shell], capture_output=True, text=True, timeout=60)
        assert done.stdout == ""

    def test_every_supported_python_is_tested(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        supported = [found[1] for each in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", each))]
        assert WORKFLOWS["test"]["jobs"]["python"]["strategy"]["matrix"]["python"] == supported
        others = re.search(r"set -- (.+) default", (ROOT / ".ci" / "run").read_text("utf-8"))
        assert others is not None
        assert ["3.11", *others[1].split()] == supported

    def test_nothing_is_published_before_the_tests_have_passed(self) -> None:
        jobs = WORKFLOWS["release"]["jobs"]

        def before(name: str) -> set[str]:
            needs = jobs[name].get("needs", [])
            direct = {needs} if isinstance(needs, str) else set(needs)
            return direct.union(*(before(each) for each in direct))

        for name in ("pypi", "image", "chart"):
            assert {"notes", "test", "package"} <= before(name)
        assert {"pypi", "image", "chart"} <= before("page")


class TestUpdates:
    def test_scripts_lock_makes_every_lock(self) -> None:
        """The weekly workflow removes all of them before."""
        script = (ROOT / "scripts" / "lock").read_text("utf-8")
        looped = re.findall(r"^ *for (?:other|extra) in (.+); do$", script, re.MULTILINE)
        made = set(re.findall(r"requirements/([\w-]+)\.txt", script)) | set(" ".join(looped).split())
        assert {path.stem for path in (ROOT / "requirements").glob("*.txt")} <= made

    @rows("update", DEPENDABOT["updates"])
    def test_there_is_something_to_update_and_a_cool_down(self, update: dict[str, Any]) -> None:
        kept = {
            "devcontainers": ".devcontainer/devcontainer.json",
            "docker": "Dockerfile",
            "github-actions": ".github/workflows",
            "npm": "package-lock.json",
        }
        assert (ROOT / update["directory"].lstrip("/") / kept[update["package-ecosystem"]]).exists()
        assert update["cooldown"]["default-days"] >= 7


FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
SCHEMAS = {
    "vendor.github-workflows": FILES,
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": [path for path in FORMS if path.stem != "config"],
    "vendor.github-issue-config": [path for path in FORMS if path.stem == "config"],
}


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed here")
@rows("schema", SCHEMAS)
def test_files_are_what_their_schema_says(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, SCHEMAS[schema])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


class TestPlaceholders:
    def test_addresses_of_the_repository_are_those_of_the_readme(self) -> None:
        """One replacement everywhere gives the repository its address."""
        address = re.search(r"https://github\.com/[\w-]+/[\w-]+", markdown.read("README.md"))
        assert address is not None
        named = {
            found
            for path in GITHUB.rglob("*")
            if path.is_file()
            for found in re.findall(r"https://github\.com/[\w-]+/[\w-]+", path.read_text("utf-8"))
        }
        assert named == {address[0]}

    def test_the_owner_of_the_code_is_the_account_of_the_repository(self) -> None:
        account = markdown.read("README.md").partition("https://github.com/")[2].partition("/")[0]
        rules = [line.split() for line in (GITHUB / "CODEOWNERS").read_text("utf-8").splitlines() if line[:1] != "#"]
        assert rules == [["*", f"@{account}"]]


CHANGES = """# Changelog

## 0.2.0 – 2026-12-01

### Added

- One thing, which takes
  two lines ([why](docs/quotas.md#the-limits), [rule](https://example.org/)).
- Another.

## 0.1.0 – 2026-11-22

- All.
"""


class Repository(NamedTuple):
    """What a release is made of."""

    tag: str = "v0.2.0"
    changes: str = CHANGES
    package: str = "0.2.0"
    chart: str = "0.2.0"


class TestReleaseNotes:
    def notes(self, tmp_path: Path, given: Repository, **environment: str) -> subprocess.CompletedProcess[str]:
        for name, text in {
            "CHANGELOG.md": given.changes,
            "src/chukei/__init__.py": f'"""The relay."""\n\n__version__ = "{given.package}"\n',
            "charts/chukei/Chart.yaml": f'name: chukei\nversion: 9.9.9\nappVersion: "{given.chart}"\n',
        }.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        command = [sys.executable, str(ROOT / "scripts" / "release-notes"), given.tag, "--root", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    def test_the_notes_are_the_section_of_the_version(self, tmp_path: Path) -> None:
        done = self.notes(tmp_path, Repository())
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("### Added\n\n- One thing, which takes two lines ([why](docs/")
        assert done.stdout.endswith("\n- Another.\n")

    def test_links_lead_to_the_files_of_the_tag(self, tmp_path: Path) -> None:
        done = self.notes(tmp_path, Repository(), GITHUB_REPOSITORY="o/r", GITHUB_SERVER_URL="https://git.example")
        assert "([why](https://git.example/o/r/blob/v0.2.0/docs/quotas.md#the-limits)" in done.stdout
        assert "[rule](https://example.org/)" in done.stdout

    @rows(
        ("given", "complaint"),
        [
            (Repository(tag="0.2.0"), "is no tag of a release"),
            (Repository(tag="v0.2"), "is no tag of a release"),
            (Repository(tag="v0.3.0", package="0.3.0", chart="0.3.0"), "has no section for 0.3.0"),
            (Repository(tag="v0.1.0", package="0.1.0", chart="0.1.0"), "has a newer section, 0.2.0"),
            (Repository(package="0.2.1"), "src/chukei/__init__.py has version 0.2.1, the tag 0.2.0"),
            (Repository(chart="0.1.0"), "charts/chukei/Chart.yaml has version 0.1.0, the tag 0.2.0"),
            (Repository(changes=CHANGES.replace("2026-12-01", "unreleased (2026-12-01)")), "says 'unreleased"),
            (Repository(changes=CHANGES.replace(" – 2026-12-01", "")), "says '' where the day"),
            (Repository(changes=re.sub(r"- One(?s:.)+?Another\.\n", "", CHANGES)), "says nothing about 0.2.0"),
        ],
    )
    def test_what_disagrees_is_no_release(self, tmp_path: Path, given: Repository, complaint: str) -> None:
        done = self.notes(tmp_path, given)
        assert (done.returncode, done.stdout) == (1, "")
        assert complaint in done.stderr

    def test_this_repository_agrees_except_for_the_day(self) -> None:
        """The check of a release, before there is one: only the heading's date may be missing."""
        from chukei import __version__

        command = [sys.executable, str(ROOT / "scripts" / "release-notes"), f"v{__version__}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert [line for line in done.stderr.splitlines() if "says 'unreleased" not in line] == []


class TestContributing:
    def test_each_test_that_it_names_exists(self) -> None:
        calls = re.findall(r"scripts/test ([^`\n]*)`", markdown.read("CONTRIBUTING.md"))
        named = [(word, call) for call in calls for word in call.split() if word.startswith("tests/")]
        assert len(named) > 4
        for file, call in named:
            text = (ROOT / file).read_text("utf-8")
            expression = re.search(r"-k (\w+)", call)
            assert expression is None or re.search(rf"def test_\w*{expression[1]}", text), call
