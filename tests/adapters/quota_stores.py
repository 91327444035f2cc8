"""For tests of quota stores: subjects, and a process that makes reservations until a test kills it."""

import asyncio
import sys

from chukei.accounts.limits import Amounts, Grant, Limits, Subject
from chukei.adapters.redis.quota import RedisQuota

NAMESPACE = "test"
PATIENCE = 1.0  # for tests of something else than a slow Redis, on a slow machine


def subject(name: str = "caller:a", /, **limits: int) -> Subject:
    """Return a subject with some limits."""
    return Subject(name, Limits(**limits))


async def hold(url: str, count: int, server_time: str) -> None:
    """Reserve some concurrent slots, say so, and wait to be killed."""
    store = RedisQuota(url, namespace=NAMESPACE, patience=PATIENCE, server_time=server_time)
    store.start()
    for n in range(count):
        grant = await store.reserve(f"held-{n}", [subject(concurrent=count, tokens_per_day=1000)], Amounts(10))
        assert isinstance(grant, Grant)
    sys.stdout.write("held\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def hammer(url: str, name: str, tasks: int, each: int) -> None:
    """Ask as often as told, from many tasks, for one token at a time; print how many requests were granted."""
    store = RedisQuota(url, namespace=NAMESPACE, patience=PATIENCE)
    store.start()
    granted = 0

    async def ask(task: int) -> None:
        nonlocal granted
        for n in range(each):
            id = f"{name}-{task}-{n}"
            if isinstance(await store.reserve(id, [subject(requests_per_minute=100)], Amounts(1)), Grant):
                granted += 1
                await store.settle(id, Amounts(1))

    await asyncio.gather(*[ask(task) for task in range(tasks)])
    await store.close()
    sys.stdout.write(f"{granted}\n")


if __name__ == "__main__":
    what, url, *more = sys.argv[1:]
    if what == "hold":
        asyncio.run(hold(url, int(more[0]), more[1]))
    else:
        asyncio.run(hammer(url, more[0], int(more[1]), int(more[2])))
