"""What a person is told when the disk refuses: an OSError as a StorageError with a hint."""

from __future__ import annotations

import errno

from perdure.kernel.errors import StorageError

_HINTS = {
    errno.ENOSPC: "Free some space on that disk and send the message again.",
    errno.EDQUOT: "Your disk quota is used up: free some space and send the message again.",
    errno.EFBIG: "The process may not write files so large: raise the limit (`ulimit -f`).",
    errno.EIO: "The disk reported an error: look at the system's log, and at your backups.",
    errno.EROFS: "The file system is read-only.",
    errno.EACCES: "Check who owns the workspace's .perdure folder.",
    errno.EPERM: "Check who owns the workspace's .perdure folder.",
    errno.EMFILE: "Too many files are open: raise the limit (`ulimit -n`).",
    errno.ENFILE: "Too many files are open on this machine.",
}


def storage_error(doing: str, error: OSError) -> StorageError:
    """`doing` completes “could not …”."""
    why = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename else ""
    return StorageError(f"could not {doing}: {why}{where}", hint=_HINTS.get(error.errno or 0, ""))
