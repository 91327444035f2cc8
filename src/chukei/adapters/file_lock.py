"""A lock on a file that its process holds as long as it runs; the system releases it when the process ends."""

import os
import sys

if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> bool:
        """Lock a file until it is closed. Return False if another process holds the lock."""
        os.lseek(descriptor, 2**40, os.SEEK_SET)  # beyond the data, so that others may read it
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock a file until it is closed. Return False if another process holds the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
