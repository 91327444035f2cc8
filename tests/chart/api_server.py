"""As much of Kubernetes' API server as Helm asks for a template's ``lookup`` of Secrets."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.chart.charts import Object


class ApiServer:
    """Serves the Secrets of one namespace, of which ``secrets`` holds the data by name."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.secrets: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.asked.append(path)
                status, answer = outer.answer(path)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path: str) -> tuple[int, Object]:
        """Return status and body of an answer."""
        secrets = f"/api/v1/namespaces/{self.namespace}/secrets"
        resource = {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret"}
        name = path.removeprefix(f"{secrets}/")
        match path:
            case "/version":
                return 200, {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
            case "/api":
                return 200, {"kind": "APIVersions", "versions": ["v1"]}
            case "/apis":
                return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
            case "/api/v1":
                return 200, {
                    "kind": "APIResourceList",
                    "groupVersion": "v1",
                    "resources": [resource | {"verbs": ["get", "list"]}],
                }
            case _ if path == secrets:
                found = [self._secret(each) for each in self.secrets]
                return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": found}
            case _ if name in self.secrets:
                return 200, self._secret(name)
        return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

    def _secret(self, name: str) -> Object:
        metadata = {"name": name, "namespace": self.namespace}
        return {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": self.secrets[name]}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
