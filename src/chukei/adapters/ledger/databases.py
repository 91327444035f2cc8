"""The database for an address, and the spool folder for its entries."""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chukei.accounts.stores import Database
from chukei.installation import command_for


def database_for(url: str) -> Database:
    """Return the database for an address, not opened yet. Only the required driver is imported.

    ``sqlite:///chukei.db`` is relative to the working directory, ``sqlite:////var/lib/chukei.db`` is absolute.

    Raises:
        ValueError: the address is invalid, or the driver is not installed. The message does not contain the address.
    """
    if _scheme(url) == "sqlite":
        from chukei.adapters.ledger.sqlite import SqliteDatabase

        return SqliteDatabase(sqlite_path(url))
    try:
        from chukei.adapters.ledger.postgres import PostgresDatabase
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ValueError(f"a PostgreSQL ledger needs asyncpg: {command_for('postgres')}") from None
    return PostgresDatabase(url)


def spool_for(url: str) -> Path:
    """Return the default spool folder: next to an SQLite file, else in the state folder.

    Each database has its own folder, so that entries are never written to another database. ``$STATE_DIRECTORY`` is
    systemd's, ``$XDG_STATE_HOME`` and ``~/.local/state`` are from the XDG Base Directory Specification. Without any of
    them it is the system's temporary folder, which may not survive a restart of the container or the machine.

    Raises:
        ValueError: the address is invalid.
    """
    if _scheme(url) == "sqlite":
        path = sqlite_path(url)
        return path.with_name(f"{path.name}-spool")
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    name = f"ledger-{hashlib.sha256(place.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return _state_folder() / name


def _state_folder() -> Path:
    if folder := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(folder)
    if (folder := os.environ.get("XDG_STATE_HOME", "")) and Path(folder).is_absolute():
        return Path(folder, "chukei")
    try:
        home = Path.home()
    except RuntimeError:  # this user has no home folder
        home = Path()
    if home.is_absolute() and os.access(home, os.W_OK):
        return home / ".local" / "state" / "chukei"
    import tempfile  # imported here, because it imports compression modules and is rarely needed

    owner = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir(), f"chukei-{owner}")


def _scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is not None and parts.scheme in ("sqlite", "postgres", "postgresql"):
        return parts.scheme
    raise ValueError("a ledger's address is sqlite:///PATH/TO/FILE.db or postgresql://USER:PASSWORD@HOST/DATABASE")


def sqlite_path(url: str) -> Path:
    """Return the path in an SQLite address.

    Raises:
        ValueError: the address is invalid.
    """
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.netloc or parts.query or parts.fragment or not path or path.endswith("/") or "\0" in path:
        raise ValueError("an SQLite address is sqlite:///relative.db or sqlite:////absolute/path.db, and nothing else")
    return Path(path)
