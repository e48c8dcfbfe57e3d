"""Files sealed with age (age-encryption.org/v1), and the owner's identity that opens them.

The identity lies in the owner's configuration, outside any workspace: a workspace can be copied,
committed or shown, and what is sealed in it stays sealed. Everything here is for the owner alone (mode
0600), is written whole or not at all, and never lies on a disk unencrypted.

Format: one X25519 recipient, the owner's own identity.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perdure.files import create, sync
from perdure.kernel.errors import ConfigError, StorageError

IDENTITY = "identity.txt"

Stamp = tuple[int, int, int]


def config_folder(env: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/perdure`, or `~/.config/perdure`. A relative XDG path counts as none, as the
    XDG specification wants it."""
    base = Path(env.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(env.get("HOME") or Path.home()) / ".config"
    return base / "perdure"


class SealedFile:
    """One sealed file. Keeps what it has opened until the file changes."""

    def __init__(self, path: Path, keys: Path, *, again: str) -> None:
        """`keys`: the folder of the identity, see `config_folder`. `again`: what a person does when
        the content is lost for good, as in "or delete it and …"."""
        self.path, self._keys, self._again = path, keys, again
        self._name = os.fspath(path)
        self._cache: tuple[Stamp, bytes] | None = None

    def stamp(self) -> Stamp | None:
        """Changes whenever the file does; None where there is none."""
        try:
            return self._look()
        except OSError:
            return None

    def _look(self) -> Stamp:
        stat = os.stat(self._name)  # noqa: PTH116  # before every request of a model
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def read(self) -> bytes | None:
        """What is sealed in it; None where there is no file. Raises ConfigError."""
        try:
            stamp = self._look()
        except FileNotFoundError:
            return None  # the usual case, told without opening anything
        except OSError:
            stamp = None  # what is wrong with it, opening it will say
        if stamp is not None and self._cache is not None and self._cache[0] == stamp:
            return self._cache[1]
        try:
            sealed = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(
                f"cannot be read: {error.strerror}",
                file=str(self.path),
                hint="Check who owns it.",
            ) from error
        data = self._open(sealed)
        if stamp is not None:
            self._cache = (stamp, data)
        return data

    def write(self, data: bytes) -> None:
        """Seal and replace the whole file. Call `read` before, within `locked`: what cannot be opened
        must not be overwritten. Raises ConfigError or StorageError."""
        try:
            identity = _identity(self._keys) or _new_identity(self._keys)
            replace(self.path, seal(data, identity))
        except ValueError as error:
            raise self._not_an_identity() from error
        except OSError as error:
            raise StorageError(
                f"{self.path.name} could not be stored in {self.path.parent}: {error.strerror}."
            ) from error
        finally:
            self._cache = None

    @contextmanager
    def locked(self, lock: Path) -> Iterator[None]:
        """One writer at a time, so that two processes do not lose each other's changes."""
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{lock.parent} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def damaged(self, error: Exception) -> ConfigError:
        """For what was opened and is not what it should be."""
        del error  # may quote what is in it
        return ConfigError(
            f"cannot be opened with {IDENTITY}: it is damaged, or was sealed with another one.",
            file=str(self.path),
            hint=f"Restore both files together, or delete {self.path} and {self._again}.",
        )

    def _open(self, sealed: bytes) -> bytes:
        identity = _identity(self._keys)
        if identity is None:
            where = "beside it" if self._keys == self.path.parent else f"in {self._keys}"
            raise ConfigError(
                f"cannot be opened: {IDENTITY}, which holds its key, is missing {where}.",
                file=str(self.path),
                hint=f"Restore {self._keys / IDENTITY}, or delete {self.path} and {self._again}.",
            )
        try:
            return unseal(sealed, identity)
        except ValueError as error:
            raise self.damaged(error) from None

    def _not_an_identity(self) -> ConfigError:
        return ConfigError("is no age identity.", file=str(self._keys / IDENTITY))


# The identity -------------------------------------------------------------------------------------


def _identity(folder: Path) -> str | None:
    path = folder / IDENTITY
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is no age identity.", file=str(path)) from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            if line.startswith("AGE-SECRET-KEY-"):
                return line.strip()
            raise ConfigError("is no age identity.", file=str(path), line=number)
    raise ConfigError("holds no age identity.", file=str(path), line=1)


def _new_identity(folder: Path) -> str:
    """Made once, whoever comes first. Raises ConfigError where one seems to be lost, OSError."""
    if sealed := sorted(folder.glob("*.age")):
        raise ConfigError(
            f"cannot be opened: {IDENTITY}, which holds its key, is missing beside it.",
            file=str(sealed[0]),
            hint=f"Restore {folder / IDENTITY}: a new one would not open {sealed[0].name}.",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{IDENTITY}.{os.getpid()}.new"
    create(draft, f"{new_identity()}\n".encode())
    try:
        os.link(draft, folder / IDENTITY)  # fails where another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    sync(folder)
    found = _identity(folder)
    assert found is not None
    return found


# Encryption ---------------------------------------------------------------------------------------


def new_identity() -> str:
    """A fresh X25519 identity: one line, `AGE-SECRET-KEY-1…`."""
    import pyrage  # type: ignore[import-untyped]

    return str(pyrage.x25519.Identity.generate())


def seal(data: bytes, identity: str) -> bytes:
    """Encrypt so that only `identity` opens it. Raises ValueError when it is no identity."""
    import pyrage

    sealed: bytes = pyrage.encrypt(data, [_parsed(identity).to_public()])
    return sealed


def unseal(sealed: bytes, identity: str) -> bytes:
    """Raises ValueError when it is damaged, or was sealed for another identity."""
    import pyrage

    try:
        data: bytes = pyrage.decrypt(sealed, [_parsed(identity)])
    except pyrage.DecryptError as error:
        raise ValueError(str(error)) from error
    return data


def _parsed(identity: str):  # type: ignore[no-untyped-def]  # pyrage has no types
    import pyrage

    try:
        return pyrage.x25519.Identity.from_str(identity)
    except pyrage.IdentityError as error:
        raise ValueError("no age identity") from error


# Files --------------------------------------------------------------------------------------------


def replace(path: Path, data: bytes) -> None:
    """Write a whole file or none, readable by its owner only from its first moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        create(draft, data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)
