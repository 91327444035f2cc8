"""A stand-in for the Azure Functions host around Microsoft's real Python worker code, for tests.

`FunctionsHost` starts a process of its own, because the worker's registries belong to a whole process. In it,
`functions_worker` loads a function app through the coroutines of `azure-functions-runtime`, in the order in which the
platform calls them, and `functions_front` does what the platform's host does for each request: match the route, check
the key, send the invocation to the worker and, at the same time, forward the request to the worker's own HTTP server
under the same `x-ms-invocation-id`. Bodies are forwarded piece by piece both ways, a slow reader slows the sender, and
either side's departure closes the other. An exchange that is silent for 240 seconds is ended, as the host's YARP does.

What it does not prove: how the platform reads host.json (only `routePrefix` is read here), YARP and Kestrel with
their other limits and timeouts, App Service authentication, the buffering and idle limits of Azure's front end, cold
start, scaling and concurrency limits, and the gRPC channel between the host and the worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.live.processes import end

DEFAULT_KEY = "function-key-for-tests"
ROOT = Path(__file__).parents[2]


class FunctionsHost:
    """Runs a function app directory in a process of its own and knows where it listens.

    Use it as `with FunctionsHost(app_dir, env) as host:` or through `start` and `stop`. The environment is the
    caller's, with `env` laid over it, as app settings would be. `interpreter` is the command that runs Python.
    `silence` replaces the 240 seconds after which an exchange without a byte is ended. See the module's docstring
    for what it does not prove.
    """

    def __init__(
        self,
        app_dir: Path,
        env: Mapping[str, str] | None = None,
        *,
        interpreter: Sequence[str] = (sys.executable,),
        key: str = DEFAULT_KEY,
        deadline: float = 60,
        silence: float | None = None,
    ) -> None:
        program = ["-P", "-m", "tests.live.functions_front", "--app", str(app_dir), "--key", key]
        if silence is not None:
            program += ["--silence", str(silence)]
        self._command = [*interpreter, *program]
        own = {name: value for name, value in os.environ.items() if not name.startswith("CHUKEI_")}
        self._env = {**own, "PYTHON_ENABLE_INIT_INDEXING": "1", "PYTHONUNBUFFERED": "1", **(env or {})}
        paths = [str(ROOT), self._env.get("PYTHONPATH", "")]
        self._env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._deadline = deadline
        self._lines: list[str] = []
        self._settled = threading.Event()
        self._changed = threading.Condition()
        self.base_url = ""

    def start(self) -> str:
        """Starts the process and returns the base URL; RuntimeError with the log if it does not become ready."""
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._settled.wait(self._deadline) or not self.base_url:
            self.stop()
            raise RuntimeError(f"the functions host did not start:\n{self.logs}")
        return self.base_url

    def stop(self) -> int:
        """Ends the process as the platform would, with SIGTERM, and returns its exit status."""
        try:
            return end(self._process)
        finally:
            self._reader.join(60)
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None and not self._reader.is_alive():
                    stream.close()

    @property
    def pid(self) -> int:
        """The process in which the front, the worker and the application run."""
        return self._process.pid

    @property
    def logs(self) -> str:
        """Everything the process has written so far, standard output and standard error together."""
        return "".join(self._lines)

    def wait_for_log(self, text: str) -> None:
        """Returns when the process has written this text; TimeoutError when it does not."""
        with self._changed:
            if not self._changed.wait_for(lambda: text in self.logs, self._deadline):
                raise TimeoutError(f"{text!r} is not in the log:\n{self.logs}")

    def __enter__(self) -> FunctionsHost:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
            if line.startswith("READY "):
                self.base_url = f"http://127.0.0.1:{int(line.split()[1])}"
                self._settled.set()
        self._settled.set()
