"""Keys of model providers: from the environment, else from a store encrypted with age.

The store is one JSON object, provider name to key, in `credentials.age`; the age identity that opens
it lies beside it in `identity.txt`. Both belong to the owner alone (mode 0600) in
`$XDG_CONFIG_HOME/perdure` (`~/.config/perdure`), outside any workspace: a workspace can be copied,
committed or shown, and holds no secret. Nothing of the store is ever written unencrypted.

Format: age-encryption.org/v1, one X25519 recipient.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from perdure.kernel.errors import ConfigError, InvalidInput, ModelError, NotFound, StorageError

from .providers import PROVIDERS, Provider, find
from .spec import Secret

STORE = "credentials.age"
IDENTITY = "identity.txt"
MAX_KEY_CHARS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """That a provider has a key, and where it comes from; never the key."""

    provider: str
    source: Literal["environment", "store"]
    where: str
    """Name of the variable, or path of the store."""


def config_folder(env: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/perdure`, or `~/.config/perdure`. A relative XDG path counts as none, as the
    XDG specification wants it."""
    base = Path(env.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        base = Path(env.get("HOME") or Path.home()) / ".config"
    return base / "perdure"


class Credentials:
    """Finds, keeps and forgets keys. Looks into the store only when the environment has none."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """`folder`: see `config_folder`. `env` is read at each look-up."""
        self.folder = folder
        self._env = env
        self._cache: tuple[tuple[int, int, int], dict[str, str]] | None = None

    # Reading --------------------------------------------------------------------------------------

    def get(self, provider: str) -> str | None:
        """The key for a provider, or None. Raises ConfigError when the store cannot be opened."""
        row = find(provider)
        for name in self.variables(provider):
            if value := self._env.get(name, "").strip():
                return value
        stored = self._read()
        return stored.get(provider) or (stored.get(_store_name(row)) if row else None)

    def secret(self, provider: str, *, needed: bool = True) -> Secret:
        """A handle that fetches the key when a request is made. Calling it raises ModelError(kind=
        "auth") when there is no key and one is `needed`; otherwise no key is an empty one."""

        def key() -> str:
            try:
                found = self.get(provider)
                if found is None and needed:
                    raise missing(provider, self.variables(provider))
            except ConfigError as error:
                raise ModelError(error.message, kind="auth", hint=error.hint) from error
            return found or ""

        return key

    def variables(self, provider: str) -> tuple[str, ...]:
        """Environment variables that may hold a provider's key."""
        row = find(provider)
        if row is not None:
            return row.env
        word = "".join(c if c.isalnum() else "_" for c in provider.upper())
        return (f"{word}_API_KEY",)

    def list(self) -> list[Credential]:
        """Every provider that has a key, by name. Raises ConfigError when the store cannot be opened."""
        stored = self._read()
        found: dict[str, Credential] = {
            name: Credential(provider=name, source="store", where=str(self.folder / STORE))
            for name in stored
        }
        for row in PROVIDERS.values():
            variable = next((n for n in row.env if self._env.get(n, "").strip()), "")
            if variable and row.name == _store_name(row):
                found[row.name] = Credential(
                    provider=row.name, source="environment", where=variable
                )
        return [found[name] for name in sorted(found)]

    # Changing -------------------------------------------------------------------------------------

    def set(self, provider: str, key: str) -> None:
        """Keep a key. Raises InvalidInput, ConfigError or StorageError."""
        key = key.strip()
        if not key:
            raise InvalidInput("The key is empty.")
        if len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidInput(
                "That is no key: it holds blanks or characters that no HTTP header can carry.",
                hint="Copy it again, without quotes or line breaks.",
            )
        row = find(provider)
        if row is not None and row.key == "none":
            raise InvalidInput(f"{row.title} takes no key.")
        with self._locked():
            stored = self._read()
            stored[_store_name(row) if row else provider] = key
            self._write(stored)

    def remove(self, provider: str) -> None:
        """Forget a stored key. Raises NotFound when there is none."""
        row = find(provider)
        name = _store_name(row) if row else provider
        with self._locked():
            stored = self._read()
            if stored.pop(name, None) is None:
                raise NotFound(
                    f"No key is stored for {provider}.", hint=self._still_in_env(provider)
                )
            self._write(stored)

    def _still_in_env(self, provider: str) -> str:
        names = [n for n in self.variables(provider) if self._env.get(n)]
        return f"It comes from the environment: unset {names[0]}." if names else ""

    # The files ------------------------------------------------------------------------------------

    def _read(self) -> dict[str, str]:
        path = self.folder / STORE
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if self._cache is not None and self._cache[0] == stamp:
                return dict(self._cache[1])
            sealed = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(
                f"cannot be read: {error.strerror}", file=str(path), hint="Check who owns it."
            ) from error
        stored = self._open(path, sealed)
        self._cache = (stamp, stored)
        return dict(stored)

    def _open(self, path: Path, sealed: bytes) -> dict[str, str]:
        from . import age

        identity = self._identity()
        if identity is None:
            raise ConfigError(
                f"cannot be opened: {IDENTITY}, which holds its key, is missing beside it.",
                file=str(path),
                hint=f"Restore {self.folder / IDENTITY}, or delete {path} and log in again.",
            )
        try:
            return msgspec.json.decode(age.unseal(sealed, identity), type=dict[str, str])
        except ValueError as error:
            raise ConfigError(
                f"cannot be opened with {IDENTITY}: it is damaged, or was sealed with another one.",
                file=str(path),
                hint=f"Restore both files together, or delete {path} and log in again.",
            ) from error

    def _write(self, stored: dict[str, str]) -> None:
        from . import age

        identity = self._identity()
        try:
            if identity is None:
                identity = age.new_identity()
                _replace(self.folder / IDENTITY, f"{identity}\n".encode())
            sealed = age.seal(msgspec.json.encode(stored), identity)
            _replace(self.folder / STORE, sealed)
        except OSError as error:
            raise StorageError(
                f"The key could not be stored in {self.folder}: {error.strerror}."
            ) from error
        self._cache = None

    def _identity(self) -> str | None:
        path = self.folder / IDENTITY
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", file=str(path)) from error
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                if line.startswith("AGE-SECRET-KEY-"):
                    return line.strip()
                raise ConfigError("is no age identity.", file=str(path), line=number)
        raise ConfigError("holds no age identity.", file=str(path), line=1)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, so that two logins do not lose each other's key."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def missing(provider: str, variables: tuple[str, ...]) -> ConfigError:
    row = find(provider)
    title = row.title if row else provider
    where = f" Keys are made at {row.keys_at}." if row and row.keys_at else ""
    variable = f", or set {variables[0]}" if variables else ""
    return ConfigError(
        f"There is no key for {title}.", hint=f"Run `perdure login {provider}`{variable}.{where}"
    )


def _store_name(row: Provider) -> str:
    """Providers that take the same key share one entry: `openai-chat` has OpenAI's."""
    return next(r.name for r in PROVIDERS.values() if r.env == row.env)


def _replace(path: Path, data: bytes) -> None:
    """Write a whole file or none, readable by its owner only from its first moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
