"""The relay itself, in its several forms, with everything on."""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import free_port
from benchmarks.server import Server, Upstream

# Variables of the machine that would configure the relay.
_OURS = re.compile(r"(CHUKEI_|AZURE_|OPENAI_|IDENTITY_|MSI_|(HTTPS?|NO|ALL)_PROXY$)", re.IGNORECASE)
_WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from chukei.cli import main; main()"

MODEL = "gpt-4o"

_CONFIGURATION = """\
[server]
port = {port}

[auth]
api_key = {{ env = "SHARED_KEY" }}

[stores]
quota = "{quota}"
ledger = {ledger}

[log]
format = "json"

[upstream]
{ca}

[models."{model}"]
deployments = [{names}]
prices = {{ input = 2.5, cached = 1.25, output = 10 }}

[groups.everybody.limits]
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000_000
"""
_DEPLOYMENT = """
[deployments.{name}]
endpoint = "{endpoint}"
deployment = "{model}"
api_key = {{ env = "UPSTREAM_KEY" }}
"""


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the accounts of limits and the ledger are: addresses of Redis and PostgreSQL, by default neither."""

    quota: str = "memory"
    ledger: str | None = None


def chukei(
    name: str,
    upstream: Upstream,
    folder: Path,
    *,
    uvloop: bool = True,
    tree: Path | None = None,
    workers: int = 1,
    tls: bool = False,
    deployments: int = 1,
    callers: int = 1,
    stores: Stores | None = None,
) -> Server:
    """Return the relay with everything on.

    That is: callers' own keys from the database, limits of each caller that never refuse, usage accounting with prices,
    a ledger entry and a JSON log line for each request. ``tree`` is another checkout of it to run instead of this one.
    ``deployments`` are all the same upstream, over TLS or not; ``callers`` is for how many keys are made.
    """
    stores = stores or Stores()
    port = free_port()
    place = Path(tempfile.mkdtemp(prefix="chukei-", dir=folder))
    names = [f"d{number}" for number in range(deployments)]
    configuration = place / "relay.toml"
    configuration.write_text(
        _CONFIGURATION.format(
            port=port,
            quota=stores.quota,
            ledger='{ env = "LEDGER" }' if stores.ledger else f'"sqlite:///{place / "ledger.db"}"',
            ca=f'ca_file = "{upstream.ca}"' if tls else "",
            model=MODEL,
            names=", ".join(f'"{one}"' for one in names),
        )
        + "".join(_DEPLOYMENT.format(name=one, endpoint=upstream.address(tls=tls), model=MODEL) for one in names)
    )
    environment = {key: value for key, value in os.environ.items() if not _OURS.match(key)}
    environment |= {
        "SHARED_KEY": "shared-by-nobody-here",
        "UPSTREAM_KEY": "upstream-key",
        "LEDGER": stores.ledger or "",
        "XDG_STATE_HOME": str(place),
    }
    if tree is not None:
        environment["PYTHONPATH"] = str(tree.resolve() / "src")
    keys = place / "keys"
    make = [sys.executable, "-m", "benchmarks.callers", str(callers), "--config", str(configuration)]
    with keys.open("wb") as file:
        subprocess.run(make, cwd=tree, env=environment, stdout=file, check=True)  # by the modules of its tree
    start = ["-m", "chukei"] if uvloop else ["-c", _WITHOUT_UVLOOP]
    command = [sys.executable, *start, "serve", "--config", str(configuration), "--workers", str(workers)]
    return Server(name, command, port, environment, place / "log", keys=keys)
