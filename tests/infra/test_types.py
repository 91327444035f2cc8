"""Every property of every resource is one of its type, as Microsoft's own types say.

They are in Microsoft's Azure MCP server, which needs neither Azure nor a network for this: `npm install --global
@azure/mcp`, or AZMCP with the path of its program. Without it the test is skipped. It knows one version of a type, and
not every type; what is not in it is in LATER and UNKNOWN (2.0.5). It takes a minute.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from tests.infra.deployments import deploy, parameters_of

AZMCP = os.environ.get("AZMCP") or shutil.which("azmcp")
pytestmark = pytest.mark.skipif(AZMCP is None, reason="azmcp is not installed, and AZMCP names no program")

LATER = {"Microsoft.Web/sites.properties.functionAppConfig.siteUpdateStrategy"}
UNKNOWN = {
    "Microsoft.Cache/redisEnterprise",
    "Microsoft.Cache/redisEnterprise/databases",
    "Microsoft.DBforPostgreSQL/flexibleServers",
    "Microsoft.DBforPostgreSQL/flexibleServers/databases",
    "Microsoft.Insights/diagnosticSettings",
    "Microsoft.Network/privateDnsZones",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
}
EVERYTHING = {
    "AZURE_ENV_NAME": "try",
    "AZURE_LOCATION": "swedencentral",
    "AZURE_PRINCIPAL_ID": "whoever-deploys",
    "SERVICE_RELAY_IMAGE_NAME": "registry.example/chukei:1",
    "RELAY_ALWAYS_READY_INSTANCES": "1",
    "RELAY_DEPLOY_CONTAINER_APP": "true",
    "RELAY_USE_REDIS": "true",
    "RELAY_USE_POSTGRES": "true",
    "RELAY_ISOLATE_NETWORK": "true",
}


@cache
def types(kind: str) -> dict[str, dict[str, Any]]:
    """The named types of a resource's properties; the resource itself is under the empty name."""
    environment = {**os.environ, "AZURE_MCP_COLLECT_TELEMETRY": "false"}
    command = [str(AZMCP), "bicepschema", "get", "--resource-type", kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    found = (answer.get("results") or {}).get("BicepSchemaResult") or []
    return {"" if each.get("$type") == "Resource" else each["name"]: each.get("bodyType") or each for each in found}


def differences(value: Any, name: str, kind: str, place: str) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, list):
        for each in value:
            yield from differences(each, name.removesuffix("[]"), kind, place)
    elif isinstance(value, dict):
        known = {each["name"]: each for each in types(kind).get(name, {}).get("properties") or []}
        if not known:  # a table with any keys, or a type with variants
            return
        for key, inner in value.items():
            if key not in known:
                yield f"{place}.{key}"
            else:
                yield from differences(inner, known[key]["type"], kind, f"{place}.{key}")
        needed = {key for key, each in known.items() if "Required" in (each.get("flags") or "")}
        yield from (f"{place}.{key} is missing" for key in needed - value.keys())
    else:
        allowed = [each.strip() for each in name.split("|")]
        plain = {bool: "bool", int: "int", float: "int", str: "string"}[type(value)]
        if plain not in allowed and value not in allowed and "any" not in allowed:
            yield f"{place}: {value!r} is not {name}"


def test_every_property_is_one_of_its_type() -> None:
    outside = {"type", "id", "dependsOn", "scope", "parent"}
    found: set[str] = set()
    unknown: set[str] = set()
    for resource in deploy(parameters_of(EVERYTHING)).resources:
        kind = resource["type"]
        if not types(kind):
            unknown.add(kind)
        inside = {key: value for key, value in resource.items() if key not in outside}
        found |= {*differences(inside, "", kind, kind)}
    assert found <= LATER
    assert unknown <= UNKNOWN
