"""Claims: the folder that says what is to be run, made by whoever asks first under a key."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from .launcher import Launcher
from .planning import Made
from .walls.marking import MARKER

LONG_COMMAND = 100_000
"""Bytes beyond which a command is passed in a file: systems limit the length of an argument."""

Input = Literal["none", "pipe", "terminal"]
"""What a command reads from: nothing, what is sent to it, or a terminal that is typed into."""
Contain = Callable[[Path | None], Made | None]
"""Makes the plan of a command's walls, given its script if it has one; None: it was chosen to run without.
Raises Unavailable when it cannot be contained."""


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    root: Path
    environment: Mapping[str, str]
    """What commands see."""
    boot: str
    """Id of this run of the machine."""
    output_limit: int
    """Bytes of output kept per command."""

    def make(
        self,
        folder: Path,
        command: str | Sequence[str],
        cwd: Path,
        *,
        timeout: float | None,
        env: Mapping[str, str] | None = None,
        input: Input = "none",
        about: Mapping[str, str] | None = None,
        contain: Contain | None = None,
    ) -> bool:
        """Make the folder with what is to be run in it. False: it was there. `about`: kept in the
        spec for who lists it. `contain`: without, it runs as the owner's own code does. Raises OSError,
        Unavailable, after which there is no claim."""
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
        if (folder / "spec").exists():
            return False
        mine = (
            f"{os.getpid()}.{threading.get_ident()}"  # of two who claim at once, both write theirs
        )
        new, script = folder / f"spec.{mine}", folder / f"command.{mine}"
        long = _long(command)
        try:
            made = contain(script if long is not None else None) if contain else None
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        spec = {
            "argv": self._argv(command, made.script if made else os.fspath(script)),
            "plan": made.plan if made else None,
            "cwd": os.fspath(cwd),
            "env": {
                **self.environment,
                **(env or {}),
                **(made.env if made else {}),
                "PWD": os.fspath(cwd),
                # Keys and folders' names recur in copies of a workspace: this must not.
                MARKER: f"{folder.name}.{os.urandom(6).hex()}",
            },
            "inode": folder.stat().st_ino,
            "timeout": timeout,
            "output_limit": self.output_limit,
            "input": input,
            "boot": self.boot,
            "created": time.time(),
            "about": dict(about or {}),
        }
        try:
            if long is not None:
                script.write_bytes(long)
            new.write_text(json.dumps(spec), encoding="utf-8")
            _claim(new, folder / "spec")
        except FileExistsError:
            return False
        except OSError:
            with contextlib.suppress(OSError):  # one by one: listing them may lack a descriptor
                script.unlink(missing_ok=True)
                new.unlink(missing_ok=True)
                folder.rmdir()
            raise
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
        return True

    def _argv(self, command: str | Sequence[str], script: str) -> list[str]:
        if not isinstance(command, str):
            return list(command)
        path = self.environment["PATH"]
        shell = shutil.which("bash", path=path) or shutil.which("sh", path=path) or "/bin/sh"
        if _long(command) is None:
            return [shell, "-c", command.encode("utf-8", "replace").decode()]
        return [shell, script]


def _long(command: str | Sequence[str]) -> bytes | None:
    """A shell command too long for an argument."""
    if isinstance(command, str) and len(data := command.encode("utf-8", "replace")) > LONG_COMMAND:
        return data
    return None


def _claim(new: Path, spec: Path) -> None:
    """Give the finished spec its name, unless somebody has claimed it: then FileExistsError."""
    try:
        spec.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        new.rename(spec)  # a file system without links


def launch(launcher: Launcher, folder: Path) -> int | None:
    """Start the supervisor of a claim; its process id, or None if one has begun that we do not know.
    Raises OSError when none could be started, and then none ever will: the claim is gone."""
    try:
        return launcher.launch(folder)
    except OSError:
        # An answer that did not come does not mean that nothing was started.
        if revoke(folder):
            raise
        return None


def revoke(folder: Path) -> bool:
    """Take a claim back before a supervisor has it. False: one has."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return True
    except OSError:
        fd = -1  # neither space nor descriptor for a lock
    try:
        if fd >= 0:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (folder / "began").exists():
            return False
        # Invariant: without its folder a supervisor that was late to the lock begins nothing.
        gone = folder.with_name(f".{folder.name}.revoked")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    except OSError:
        return False
    finally:
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
    return True
