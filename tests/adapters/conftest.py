"""The adapters run on both event loops: asyncio's own and uvloop."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

LOOPS: dict[str, Any] = {"asyncio": ("asyncio", {"use_uvloop": False}), "uvloop": ("asyncio", {"use_uvloop": True})}

on_both_loops = pytest.mark.parametrize("anyio_backend", LOOPS.values(), ids=list(LOOPS))
"""For a test of a module whose other tests know nothing of the loop and run on asyncio's own."""


@pytest.fixture(params=LOOPS.values(), ids=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run each asynchronous test twice."""
    return request.param


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that no system trusts."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Its certificate as a PEM file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's TLS context for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
