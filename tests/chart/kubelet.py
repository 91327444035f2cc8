"""What the kubelet does for a pod before its process starts, and when a ConfigMap or a Secret changes.

Volumes are folders of the test instead of mounts, so the paths in variables and files are the pod's below that folder.
"""

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chart.charts import Object, container_of, one, pod_of

CONTENT: Mapping[str, Mapping[str, str]] = {
    "chukei-caller": {"api-key": "the-key-of-all-callers"},
    "chukei-metrics": {"metrics-key": "the-key-of-prometheus"},
    "azure-openai": {"api-key": "the-key-of-azure"},
    "chukei": {
        "redis-url": "rediss://:password@redis.example.com:10000/0",
        "postgres-url": "postgresql://chukei:password@postgres.example.com:5432/chukei",
        "pepper": "a pepper of thirty-two characters, or of more",
    },
    "vault": {"azure-openai-key": "the-key-of-azure", "caller-key": "the-key-of-all-callers"},
}
"""The Secrets that the examples name, and the files of the CSI driver's volume."""

_ROOTS = ("/etc/chukei", "/var/lib")
_numbers = itertools.count()


class Pod:
    """One pod of a rendering: its volumes below ``folder``, and its variables."""

    def __init__(
        self,
        found: list[Object],
        folder: Path,
        secrets: Mapping[str, Mapping[str, str]] = CONTENT,
        address: str = "127.0.0.2",
    ) -> None:
        self._found, self._secrets = found, secrets
        self.folder, self.address = folder, address
        container = container_of(found)
        volumes = {volume["name"]: volume for volume in pod_of(found)["volumes"]}
        self._mounts = {mount["name"]: self.path(mount["mountPath"]) for mount in container["volumeMounts"]}
        assert all("subPath" not in mount for mount in container["volumeMounts"])
        for name, place in self._mounts.items():
            place.mkdir(parents=True)
            content = self._content(volumes[name])
            if content is not None:
                self.write(name, content)
        self.environment = self._variables(container)

    def path(self, path: str) -> Path:
        """Return where a path of the pod is."""
        return self.folder / path.lstrip("/")

    def moved(self, text: str) -> str:
        """Return a text whose paths are those below the folder."""
        for root in _ROOTS:
            text = text.replace(root, str(self.path(root)))
        return text

    def _content(self, volume: Mapping[str, Any]) -> Mapping[str, str] | None:
        match volume:
            case {"configMap": {"name": "ca"}}:
                return {}
            case {"configMap": {"name": name}}:
                config = one("ConfigMap", self._found)
                assert config["metadata"]["name"] == name
                data: Mapping[str, str] = config["data"]
                return data
            case {"secret": {"secretName": name}}:
                return self._secrets[name]
            case {"csi": _, "name": name}:
                return self._secrets[name]
        return None

    def write(self, volume: str, content: Mapping[str, str]) -> None:
        """Put files into a volume, or replace them, as the kubelet's atomic writer does.

        The files are links through ``..data``, a link to a folder of its own for each version. A new version is written
        beside the old one, and one rename moves ``..data`` to it.
        """
        place = self._mounts[volume]
        data = place / "..data"
        old = data.resolve() if data.is_symlink() else None
        version = place / f"..2026_11_29_00_00_00.{next(_numbers)}"
        version.mkdir()
        for name, text in content.items():
            (version / name).write_text(self.moved(text), "utf-8")
        following = place / "..data_tmp"
        following.symlink_to(version.name)
        following.rename(data)
        for name in content:
            if not (place / name).is_symlink():
                (place / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)

    def _variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        variables: dict[str, str] = {}
        for each in container["env"]:
            assert each["name"] not in variables
            match each:
                case {"value": str(value)}:
                    for name, known in variables.items():  # only those before it, as the kubelet does
                        value = value.replace(f"$({name})", known)
                    assert "$(" not in value
                case {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}:
                    value = self._secrets[name][key]
                case {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}:
                    value = self.address
                case _:
                    raise AssertionError(each)
            variables[each["name"]] = self.moved(value)
        return variables
