"""Watching of files by polling. Polling also sees what the kernel does not report: network file systems, and the link
that Kubernetes exchanges when a mounted ConfigMap changes."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path

SETTLE_SECONDS = 0.2
"""Seconds between two looks at changed files. They are read when both looks are the same: no one is writing then."""

Stamp = tuple[int, ...] | None


def stamps_of(files: Collection[str]) -> Mapping[str, Stamp]:
    """Return for each file its device, inode, size and times of change, or None if there is none.

    Links are followed, so a link to another file is a change. Programs that copy files may set the time of the content
    to an earlier one, but not the time of the inode.
    """
    return {name: _stamp(name) for name in files}


def _stamp(name: str) -> Stamp:
    try:
        found = Path(name).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def watch(
    files: Callable[[], Collection[str]],
    seconds: Callable[[], float],
    changed: Callable[[], Awaitable[object]],
    *,
    settle_seconds: float = SETTLE_SECONDS,
) -> None:
    """Call ``changed`` when a file has changed and rests again; end when ``seconds`` is 0.

    It is also called after the first look: a file may have changed since it was read.
    """
    known: Mapping[str, Stamp] | None = None
    while wait := seconds():
        await asyncio.sleep(wait)
        found = await asyncio.to_thread(stamps_of, files())
        if found == known:
            continue
        while True:
            await asyncio.sleep(settle_seconds)
            before, found = found, await asyncio.to_thread(stamps_of, files())
            if found == before:
                break
        known = found
        await changed()
