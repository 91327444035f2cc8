"""Makes the secrets of compose.yaml at its first start, and none that is there already.

Each folder below the one that is given is a volume of one service, so that none can read another's secrets. The
services run as different users, so whoever has the volume can read its files. A folder named ``…-data`` holds no
secret: it is opened for its service to write there.
"""

import secrets
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Write what is missing. A password that two services share is made once."""
    redis, postgres = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    metrics = secrets.token_urlsafe(32)
    wanted = {
        "relay/api-key": secrets.token_urlsafe(32),
        "relay/admin-key": secrets.token_urlsafe(32),
        "relay/metrics-key": metrics,
        "relay/quota-address": f"redis://:{redis}@redis:6379/0",
        "relay/ledger-address": f"postgresql://chukei:{postgres}@postgres:5432/chukei",
        "redis/valkey.conf": f'requirepass {redis}\nsave ""\nappendonly yes\n',
        "postgres/password": postgres,
        "prometheus/metrics-key": metrics,
    }
    for volume in folder.glob("*-data"):
        volume.chmod(0o1777)
    found = {name for name in wanted if (folder / name).exists()}
    if found == set(wanted):
        return
    if found:
        first = min(set(wanted) - found)
        sys.exit(f"{first} and maybe others are missing: remove the volumes of all secrets, and of PostgreSQL's data")
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o444)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
