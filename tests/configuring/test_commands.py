"""`chukei init`, `chukei config schema` and `chukei completion` as they are run."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.live.relays import clean_environment, in_process
from tests.live.terminal import TerminalProcess
from tests.rows import rows

from chukei.accounts.limits import Limit
from chukei.cli import main
from chukei.config.load import read
from chukei.config.reader import Document
from chukei.configuring import answers, commands
from chukei.configuring.schema import FILE

CONTOSO = "https://contoso.openai.azure.com"
KEY = "0123456789abcdef0123456789abcdef"
PASSWORD = "not-to-be-shown"


def test_its_file_passes_check_once_the_variables_are_set(tmp_path: Path) -> None:
    file = str(tmp_path / "chukei.toml")
    status, shown = in_process(
        "init", "--output", file, "--endpoint", CONTOSO, "--deployment", "o3", "--access", "shared"
    )
    assert status == 0
    assert "Set AZURE_OPENAI_API_KEY, CHUKEI_API_KEY first" in shown
    variables = {"AZURE_OPENAI_API_KEY": "one", "CHUKEI_API_KEY": "two"}
    status, shown = in_process("check", "--config", file, environment=variables)
    assert (status, shown) == (0, f"o3 (default) -> o3 ({CONTOSO})\nThe configuration is valid.\n")


def test_it_says_what_to_do_next(tmp_path: Path) -> None:
    file = str(tmp_path / "a b.toml")
    status, shown = in_process("init", "--output", file, "--endpoint", CONTOSO, "--deployment", "o3")
    following = shown.partition("Next:\n")[2].splitlines()
    assert status == 0
    assert [line.partition("#")[0].strip() for line in following] == [
        f"chukei {command} --config '{file}'" for command in ("check", "doctor", "serve")
    ]


@rows(
    ("flags", "line"),
    [
        (["--access", "keys"], "A key for a caller: chukei keys create NAME"),
        (["--host", "0.0.0.0"], "Without a key only this machine is served"),
        ([], "the simulator answers"),
    ],
)
def test_it_says_what_the_answers_mean(flags: list[str], line: str) -> None:
    assert line in in_process("init", "--output", "-", *flags)[1]


def test_with_a_dash_the_file_is_printed_and_all_else_goes_to_the_other_stream() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chukei", "init", "--output", "-", "--endpoint", CONTOSO, "--deployment", "o3"],
        env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert tomllib.loads(done.stdout)["deployments"]["o3"]["endpoint"] == CONTOSO
    assert "Next:" in done.stderr
    assert "Next:" not in done.stdout


def test_a_file_that_exists_is_refused_and_the_status_says_so(tmp_path: Path) -> None:
    file = tmp_path / "chukei.toml"
    file.write_text("mine")
    status, shown = in_process("init", "--output", str(file))
    assert (status, file.read_text()) == (1, "mine")
    assert "--force replaces it" in shown
    status, _ = in_process("init", "--output", str(file), "--force")
    assert (status, file.read_text() != "mine") == (0, True)


@rows(
    ("flags", "advice"),
    [
        (["--endpoint", KEY, "--deployment", "o3"], "looks like a key"),
        (["--endpoint", f"{CONTOSO}?api-key={KEY}", "--deployment", "o3"], "has a key in it"),
        (["--endpoint", CONTOSO, "--deployment", KEY], "looks like a key"),
        (["--endpoint", CONTOSO, "--deployment", "o3", "--key-env", KEY], "looks like a key"),
        (["--endpoint", CONTOSO], "which deployments"),
        (["--deployment", "o3"], "needs the --endpoint"),
        (["--identity"], "needs the --endpoint"),
        (["--client-id", "x"], "only with --identity"),
        (["--limit", "requests=1"], "there are requests_per_minute"),
        (["--redis", f"http://u:{PASSWORD}@h"], "not an address of that kind"),
        (["--ledger", f"mysql://u:{PASSWORD}@h"], "not an address of that kind"),
        (["--redis", "redis://h:port"], "stores.quota"),
        (["--access", "everybody"], "is not one of"),
        (["--port", "70000"], "is not in the range"),
    ],
)
def test_wrong_flags_are_refused_with_advice_and_nothing_is_written(
    flags: list[str], advice: str, tmp_path: Path
) -> None:
    status, shown = in_process("init", "--output", str(tmp_path / "chukei.toml"), *flags)
    assert status == 2
    assert advice in shown
    assert KEY not in shown
    assert PASSWORD not in shown
    assert [*tmp_path.iterdir()] == []


def test_a_password_in_an_address_is_neither_written_nor_shown() -> None:
    status, shown = in_process("init", "--output", "-", "--redis", f"rediss://:{PASSWORD}@h:6380")
    assert status == 0
    assert 'quota = { env = "REDIS_URL" }' in shown
    assert PASSWORD not in shown


NASTY = st.sampled_from(
    ['"', "'", "]", "\n", "#", "\\", "\x00", "=", ",", "é", "🙂", "${X}", "a.b", "", " ", "-", "--"]
)
WORD = st.lists(NASTY | st.sampled_from(["gpt-4o", "chat", "o3"]), max_size=3).map("".join)
ENDPOINT = st.sampled_from([CONTOSO, f"{CONTOSO}/openai/deployments/o3", "contoso.cognitiveservices.azure.com"])
FLAGS = st.lists(
    st.one_of(
        st.tuples(st.just("--endpoint"), ENDPOINT | ENDPOINT | WORD),
        st.tuples(st.just("--deployment"), st.sampled_from(["gpt-4o", "chat=o3", "a,b"]) | WORD),
        st.tuples(st.just("--key-env"), st.sampled_from(["KEY", "OTHER_KEY"]) | WORD),
        st.tuples(st.just("--access"), st.sampled_from(commands.ACCESS)),
        st.tuples(st.just("--limit"), st.builds("{}={}".format, st.sampled_from([*Limit]), st.integers(-1, 10**6))),
        st.tuples(st.just("--redis"), st.sampled_from(["redis://h", "rediss://:p@h:1/0", "redis://h:x"]) | WORD),
        st.tuples(st.just("--ledger"), st.sampled_from(["none", "sqlite:///a.db", "postgresql://u:p@h/d"]) | WORD),
        st.tuples(st.just("--host"), st.sampled_from(["0.0.0.0", "::1"]) | WORD),
        st.tuples(st.just("--port"), st.integers(-1, 65_536).map(str)),
        st.tuples(st.just("--client-id"), st.just("0f8fad5b-d9cb-469f-a165-70867728950e") | WORD),
        st.just(("--identity",)),
    ),
    max_size=7,
)


FOREIGN: dict[str, str | None] = dict.fromkeys(os.environ.keys() - clean_environment().keys())
"""What would configure a relay; the runner takes it out of the environment."""


@given(FLAGS)
def test_whatever_the_flags_the_relay_accepts_the_file_or_there_is_none(flags: Sequence[tuple[str, ...]]) -> None:
    words = [part for flag in flags for part in flag]
    result = CliRunner(env=FOREIGN | clean_environment()).invoke(main, ["init", "--output", "-", *words])
    assert result.exit_code in (0, 2), result.output
    if result.exit_code == 2:
        assert "Error: " in result.stderr
        assert result.stdout == ""
        return
    text = result.stdout
    values = {"REDIS_URL": "redis://:p@h", "LEDGER_URL": "postgresql://u:p@h/d"}
    named = re.findall(r'^[^#\n].*\{ env = "(\w+)" \}', text, re.MULTILINE)
    document = Document("", tomllib.loads(text), {name: values.get(name, "value") for name in named})
    read(document, [])
    assert document.problems == []


def test_the_flag_has_the_choices_of_the_question() -> None:
    assert commands.ACCESS == answers.ACCESS


# On a terminal.


async def shown_by(terminal: TerminalProcess, text: str) -> None:
    """Wait until the terminal shows a text."""
    with anyio.fail_after(120):
        while text.encode() not in terminal.drawn:
            await anyio.sleep(0.02)


@pytest.mark.anyio
async def test_on_a_terminal_it_asks_and_the_last_answer_writes_the_file(tmp_path: Path) -> None:
    file = tmp_path / "chukei.toml"
    async with TerminalProcess(clean_environment(), "init", "--output", str(file), columns=200) as terminal:
        await shown_by(terminal, "Address of the Azure OpenAI resource")
        terminal.press(f"{CONTOSO}\n".encode())
        for question, answer in {
            "Its deployments": "o3\n",
            "or with an Entra ID": "\n",
            "Variable that has the key": "\n",
            "Address of another resource": "\n",
            "Who calls": "\n",
        }.items():
            await shown_by(terminal, question)
            terminal.press(answer.encode())
        await shown_by(terminal, "Ledger of usage")
        assert not file.exists()
        terminal.press(b"\n")
        assert await terminal.ends() == 0
    assert tomllib.loads(file.read_text())["models"] == {"o3": {"deployments": ["o3"]}}


@pytest.mark.anyio
async def test_ctrl_c_at_a_question_leaves_no_file(tmp_path: Path) -> None:
    async with TerminalProcess(clean_environment(), "init", "--output", str(tmp_path / "chukei.toml")) as terminal:
        await shown_by(terminal, "Address of the Azure OpenAI resource")
        assert await terminal.interrupted() == 130
        assert b"nothing is written" in terminal.drawn
    assert [*tmp_path.iterdir()] == []


@pytest.mark.anyio
async def test_a_file_that_exists_is_refused_before_the_first_question(tmp_path: Path) -> None:
    (tmp_path / "chukei.toml").write_text("mine")
    async with TerminalProcess(clean_environment(), "init", "--output", str(tmp_path / "chukei.toml")) as terminal:
        assert await terminal.ends() == 1
        assert b"Address of" not in terminal.drawn


# For tools.


def test_the_schema_is_printed_as_it_is_published() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chukei", "config", "schema"], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == FILE.read_bytes()


# Completion, by the shells themselves.

COMPLETIONS = [
    ("chukei ini", {"init"}),
    ("chukei config ", {"schema"}),
    ("chukei init --key", {"--key-env"}),
    ("chukei init --access ", {"local", "shared", "keys"}),
    ("chukei init --limit req", {"requests_per_minute="}),
    ("chukei completion f", {"fish"}),
    ("chukei serve --config rel", {"relay.toml"}),
]

SOME = [COMPLETIONS[0], COMPLETIONS[3], COMPLETIONS[-1]]
"""For fish, whose script is click's as well; each line starts a process."""


@pytest.fixture(scope="module")
def shell_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a relay.toml, and the command on the path."""
    folder = tmp_path_factory.mktemp("shells")
    (folder / "relay.toml").touch()
    (folder / "bin").mkdir()
    command = folder / "bin" / "chukei"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m chukei "$@"\n')
    command.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return clean_environment({"PATH": path, "HOME": str(folder), "PWD": str(folder), "XDG_CONFIG_HOME": str(folder)})


def run_in_shell(shell: str, script: str, environment: dict[str, str], *options: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    done = subprocess.run(
        [shell, *options, "-c", script],
        cwd=environment["PWD"], env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_bash_completes_commands_options_and_choices(shell_environment: dict[str, str]) -> None:
    script = 'eval "$(chukei completion bash)"\n'
    lines = COMPLETIONS[:-1]  # files are completed by bash itself, which needs a terminal
    for line, _ in lines:
        words = line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        script += f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()\n"
        script += '_chukei_completion chukei "${COMP_WORDS[COMP_CWORD]}" ""\n'
        script += 'echo "${COMPREPLY[@]}"\n'
    found = [set(line.split()) for line in run_in_shell("bash", script, shell_environment, "--norc").splitlines()]
    assert [expected <= seen for (_, expected), seen in zip(lines, found, strict=True)] == [True] * len(found)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on this machine")
def test_bash_on_a_terminal_completes_a_file(shell_environment: dict[str, str]) -> None:
    here, there = pty.openpty()
    environment = shell_environment | {"PS1": "ready> ", "TERM": "dumb"}
    with subprocess.Popen(
        ["bash", "--norc", "-i"], cwd=environment["PWD"], env=environment, stdin=there, stdout=there, stderr=there,
        start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(there)
        try:
            seen = type_and_wait(here, b"", b"ready> ")
            seen = type_and_wait(here, b'eval "$(chukei completion bash)"\n', b"ready> ")
            seen = type_and_wait(here, b"chukei serve --config rel\t", b"relay.toml")
        finally:
            shell.kill()
            os.close(here)
    assert b"chukei serve --config relay.toml" in seen


def type_and_wait(terminal: int, keys: bytes, expected: bytes) -> bytes:
    """Press keys; return what is drawn from then on, up to the expected text."""
    os.write(terminal, keys)
    seen = b""
    while expected not in seen:
        readable, _, _ = select.select([terminal], [], [], 120)
        assert readable, seen
        seen += os.read(terminal, 65536)
    return seen


def test_fish_completes_commands_options_choices_and_files(shell_environment: dict[str, str]) -> None:
    script = "chukei completion fish | source\n"
    for line, _ in SOME:
        script += f"complete -C '{line}' | string split -f1 \\t | string join ' '; echo ---\n"
    shown = run_in_shell("fish", script, shell_environment, "--no-config").split("---\n")[:-1]
    found = [set(part.split()) for part in shown]
    assert [expected <= seen for (_, expected), seen in zip(SOME, found, strict=True)] == [True] * len(found)


def test_zsh_takes_the_script_after_compinit(shell_environment: dict[str, str]) -> None:
    script = 'autoload -Uz compinit && compinit -D -u\neval "$(chukei completion zsh)"\necho $_comps[chukei]'
    assert run_in_shell("zsh", script, shell_environment, "-f").strip() == "_chukei_completion"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_begins_as_its_shell_expects(shell: str) -> None:
    status, shown = in_process("completion", shell)
    assert status == 0
    assert shown.startswith("#compdef chukei") or shell != "zsh"
    assert "_CHUKEI_COMPLETE" in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
@pytest.mark.parametrize("command", [("config", "schema"), ("init", "--output", "-"), ("completion", "bash")])
def test_a_full_disk_behind_the_output_is_one_line_and_no_traceback(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "chukei", *command],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=clean_environment(),
        )

    assert found.returncode == 1
    assert found.stderr == "chukei: cannot write: No space left on device\n"
