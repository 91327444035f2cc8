"""Microsoft's Python worker code for Azure Functions, driven without gRPC: the inner half of `FunctionsHost`.

The worker takes protobuf messages of the FunctionRpc protocol and answers with types that its caller provides; both
are replaced here by plain attribute objects.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import urlsplit


class ProtobufMessage:
    """Stands in for a generated message: fields are attributes, and one that was never set reads as None."""

    oneofs: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, **fields: object) -> None:
        vars(self).update(fields)

    def __getattr__(self, name: str) -> Any:
        # The worker finds out whether it holds a TypedData by asking for that attribute and catching the error.
        if name == "TypedData" or name.startswith("__"):
            raise AttributeError(name)
        return None

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's name
        """The member of the group that is set."""
        return next((name for name in self.oneofs[group] if getattr(self, name) is not None), None)


def message_type(name: str, *, oneofs: Mapping[str, Sequence[str]] | None = None, **constants: object) -> Any:
    """A message class with its oneof groups and its enumeration constants."""
    return type(name, (ProtobufMessage,), {"oneofs": oneofs or {}, **constants})


def message_types() -> SimpleNamespace:
    """The names of the FunctionRpc protocol that the worker touches for HTTP functions."""
    plain = (
        "WorkerInitResponse", "WorkerMetadata", "FunctionMetadataResponse", "FunctionLoadResponse",
        "FunctionEnvironmentReloadResponse", "InvocationResponse", "RpcException", "RpcFunctionMetadata",
        "RpcRetryOptions", "RpcHttp",
    )  # fmt: skip
    return SimpleNamespace(
        **{name: message_type(name) for name in plain},
        StatusResult=message_type("StatusResult", Failure=0, Success=1, Cancelled=2),
        BindingInfo=message_type("BindingInfo", undefined=0, out=1, inout=2),
        TypedData=message_type("TypedData", oneofs={"data": ("http", "string", "bytes", "json")}),
        ParameterBinding=message_type("ParameterBinding", oneofs={"rpc_data": ("data",)}),
    )


class HttpFunction:
    """One HTTP function of the app, as its metadata describes it."""

    def __init__(self, metadata: Any, route_prefix: str) -> None:
        trigger = next(b for b in map(json.loads, metadata.raw_bindings) if b["type"].lower() == "httptrigger")
        self.function_id: str = metadata.function_id
        self.parameter: str = trigger["name"]
        self.anonymous = str(trigger.get("authLevel", "FUNCTION")).upper() == "ANONYMOUS"
        self.methods = {str(method).upper() for method in trigger.get("methods") or ()}
        self.pattern = route_pattern(route_prefix, trigger.get("route") or metadata.name)


def route_pattern(prefix: str, route: str) -> re.Pattern[str]:
    """Translates a route template (literals, `{name}`, `{name?}`, `{name:constraint}`, `{*name}`)."""
    pattern = ""
    for segment in f"{prefix}/{route}".strip("/").split("/"):
        parameter = re.fullmatch(r"\{(\*?)(\w+)(?::[^}?]+)?(\??)\}", segment)
        if parameter is None:
            pattern += "/" + re.escape(segment)
        elif parameter[1]:
            pattern += rf"(?:/(?P<{parameter[2]}>.*))?"
        else:
            pattern += rf"(?:/(?P<{parameter[2]}>[^/]+)){parameter[3]}"
    return re.compile(f"^{pattern}/?$", re.IGNORECASE | re.DOTALL)


class Worker:
    """Microsoft's worker code, called in the order in which the platform's host calls it."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._protos = message_types()
        self.functions: list[HttpFunction] = []

    async def start(self) -> None:
        """Loads the function app; RuntimeError with the worker's own report if it cannot."""
        import azure_functions_runtime

        self._runtime = azure_functions_runtime
        self._runtime.start_threadpool_executor()
        begin = SimpleNamespace(capabilities={}, function_app_directory=str(self._app_dir))
        initialised = await self._call("worker_init_request", begin, host="127.0.0.1", protos=self._protos)
        if initialised.result.status != self._protos.StatusResult.Success:
            failure = initialised.result.exception
            raise RuntimeError(f"the worker could not load the app: {failure.message}\n{failure.stack_trace}")
        prefix = json.loads((self._app_dir / "host.json").read_text()).get("extensions", {}).get("http", {})
        indexed = await self._call("functions_metadata_request", None)
        for metadata in indexed.function_metadata_results or ():
            await self._call("function_load_request", SimpleNamespace(function_id=metadata.function_id))
            self.functions.append(HttpFunction(metadata, prefix.get("routePrefix", "api")))
        address = urlsplit(initialised.capabilities["HttpUri"])
        assert address.hostname is not None
        assert address.port is not None
        self.address = (address.hostname, address.port)
        await self._listening()

    async def _listening(self) -> None:
        """Waits for the worker's HTTP server, which starts as a task of its own and tells nobody."""
        while True:
            try:
                _, writer = await asyncio.open_connection(*self.address)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return

    async def invoke(self, function: HttpFunction, invocation_id: str, route: Mapping[str, str]) -> Any:
        """Announces a request to the worker; returns when the function has returned its response object."""
        http = self._protos.RpcHttp(headers={}, query={}, params=dict(route), body=self._protos.TypedData())
        data = self._protos.TypedData(http=http)
        body = SimpleNamespace(
            invocation_id=invocation_id,
            function_id=function.function_id,
            trigger_metadata={},
            input_data=[self._protos.ParameterBinding(name=function.parameter, data=data)],
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        return await self._call("invocation_request", body)

    async def _call(self, kind: str, body: object, **properties: object) -> Any:
        request = SimpleNamespace(request=SimpleNamespace(**{kind: body}), properties=properties)
        return await getattr(self._runtime, kind)(request)
