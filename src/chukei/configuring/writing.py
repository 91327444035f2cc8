"""Writing a file as a whole or not at all."""

import os
import tempfile
from pathlib import Path


class CannotWrite(Exception):
    """The file was not written; the message says why and what helps."""


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise ``CannotWrite`` where a file must not be replaced, or there is no place for it."""
    if path.is_dir():
        raise CannotWrite(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():  # with force, a device would be replaced by a file
        raise CannotWrite(f"{path} is no regular file; --output - prints instead")
    if not path.parent.is_dir():
        raise CannotWrite(f"there is no folder {path.parent}")
    if not force and (path.exists() or path.is_symlink()):
        raise CannotWrite(f"{path} exists, and stays as it is; --force replaces it, --output names another file")


def write(path: Path, text: str, *, force: bool) -> None:
    """Write a file that others may read, as the user's umask says. Whatever interrupts this leaves no part of a file.

    A file that exists is replaced only with ``force``; it keeps its permissions, and a link to it stays a link.

    Raises:
        CannotWrite: the file exists, or the folder does not, or cannot be written to.
    """
    refuse_existing(path, force=force)
    try:
        _write(path.resolve() if force else path, text, force=force)
    except FileExistsError:  # made by somebody else in this moment
        raise CannotWrite(f"{path} exists, and stays as it is; --force replaces it") from None
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror}; --output names another place") from None


def _write(path: Path, text: str, *, force: bool) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(_mode(path))
        if force:
            Path(name).replace(path)
        else:
            _place(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _place(made: Path, path: Path) -> None:
    """Give a file its name, unless another has it. ``rename`` would replace that one."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError from None
        made.rename(path)


def _mode(path: Path) -> int:
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
