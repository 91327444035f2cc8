"""The nginx settings of docs/deploy-server.md, in a real nginx in front of a real relay: nothing buffers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import markdown
from tests.live.nginx import nginx
from tests.live.ports import free_port
from tests.live.relays import RelayProcess

from chukei.doctor.finding import Status
from chukei.doctor.inspection import inspect
from chukei.doctor.report import Report

KEY = "the-key-of-callers"


@contextmanager
def front(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a relay with nginx in front of it, on plain HTTP and another port, and give nginx's address."""
    printed = [fence.text for fence in markdown.fences("nginx")]
    assert len(printed) == 1
    port = free_port()
    lines = [line for line in printed[0].split("\n") if "ssl_certificate" not in line]
    text = "\n".join(lines).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    with RelayProcess(environment) as relay:
        text = text.replace("127.0.0.1:7221", relay.url.removeprefix("http://"))
        with nginx(folder, text, port):
            yield f"http://127.0.0.1:{port}"


def statuses(report: Report) -> dict[str, Status]:
    """Return the status of each check."""
    return {finding.check: finding.status for finding in report.findings}


def test_the_settings_are_valid_and_every_character_comes_by_itself(tmp_path: Path) -> None:
    with front(tmp_path, {"CHUKEI_API_KEY": KEY}) as url:
        report = asyncio.run(inspect(url, KEY))
    assert report.exit_code == 0, report.text()
    found = statuses(report)
    assert {found[check] for check in ("buffering", "compression", "framing", "end")} == {Status.OK}, report.text()


def test_nobody_is_taken_for_a_local_caller(tmp_path: Path) -> None:
    """Without a key the relay serves its own machine, and nginx is there; what it adds must give it away."""
    with front(tmp_path, {}) as url:
        report = asyncio.run(inspect(url, None))
    assert statuses(report)["access"] is Status.FAILED
    assert "CHUKEI_API_KEY" in report.text()
