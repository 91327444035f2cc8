"""Makes many callers' keys at once: ``python -m benchmarks.callers NUMBER --config FILE``.

It prints the keys, one per line, and writes their rows to the ledger that the file names.
"""

import argparse
import asyncio
import os
from datetime import UTC, datetime

from chukei.accounts.changes import Actor
from chukei.adapters.identity.access import peppers
from chukei.adapters.ledger.accounting import ledger_address
from chukei.adapters.ledger.databases import database_for
from chukei.callers.registry import KeyRegistry
from chukei.config import Settings
from chukei.hosts.asgi import checked_settings


async def make(settings: Settings, number: int) -> list[str]:
    """Make ``number`` callers and return their keys."""
    address = ledger_address(settings, os.environ)
    assert address is not None
    database = database_for(address)
    await database.open()
    try:
        registry = KeyRegistry(database, peppers(settings), lambda: datetime.now(UTC))
        made = [await registry.create(f"caller-{caller}", actor=Actor("benchmark")) for caller in range(number)]
    finally:
        await database.close()
    return [one.new.text.reveal() for one in made]


def main() -> None:
    """Make and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.callers", description="Make callers' keys.")
    parser.add_argument("number", type=int)
    parser.add_argument("--config")
    arguments = parser.parse_args()
    for key in asyncio.run(make(checked_settings(arguments.config), arguments.number)):
        print(key)


if __name__ == "__main__":
    main()
