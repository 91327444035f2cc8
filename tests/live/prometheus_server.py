"""A real Prometheus that scrapes one relay every second, with the alert rules loaded."""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import pytest
from tests.live.plain_http import ask

START_SECONDS = 60
"""How long the server may take to start on a busy machine."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of a result: its labels and its value."""

    labels: dict[str, str]
    value: float


def binary() -> str:
    """Return the server's path; without one the test is skipped."""
    path = shutil.which("prometheus")
    if path is None:
        pytest.skip("Prometheus is not installed (Debian: prometheus)")
    return path


class PrometheusServer:
    """Scrapes the relay at ``url`` as the job ``chukei`` and evaluates ``rules``. It keeps its data in ``folder``."""

    def __init__(self, url: str, rules: Path, folder: Path) -> None:
        self._binary = binary()
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.url = f"http://{self._address}"
        job = {"job_name": "chukei", "static_configs": [{"targets": [urlsplit(url).netloc]}]}
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        settings = {"global": every, "rule_files": [str(rules)], "scrape_configs": [job]}
        (folder / "prometheus.yml").write_text(json.dumps(settings), "utf-8")  # JSON is YAML

    async def __aenter__(self) -> Self:
        command = [self._binary, f"--web.listen-address={self._address}", "--config.file=prometheus.yml"]
        command += ["--storage.tsdb.path=data", "--log.level=warn"]
        self._log = (self._folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=self._log, stderr=self._log)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._ready():
                    assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
                    await asyncio.sleep(0.1)
        except BaseException:
            self._end()
            raise
        return self

    async def _ready(self) -> bool:
        try:
            return (await ask(self.url, "GET", "/-/ready")).status == 200
        except OSError:
            return False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    async def _get(self, path: str) -> Any:
        answer = await ask(self.url, "GET", path)
        found = json.loads(answer.body)
        assert found["status"] == "success", found
        return found["data"]

    async def query(self, expression: str) -> Sequence[Sample]:
        """Return what a query yields now.

        Raises:
            AssertionError: Prometheus refuses the query; the error has its reason.
        """
        data = await self._get(f"/api/v1/query?query={quote(expression)}")
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    async def reached(self, expression: str) -> None:
        """Wait until a query yields anything."""
        async with asyncio.timeout(START_SECONDS):
            while not await self.query(expression):
                await asyncio.sleep(0.1)

    async def rules(self) -> list[dict[str, Any]]:
        """Return the state of the alert rules, once each was evaluated."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                (group,) = (await self._get("/api/v1/rules"))["groups"]
                found: list[dict[str, Any]] = group["rules"]
                if all(each["health"] != "unknown" for each in found):
                    return found
                await asyncio.sleep(0.1)
