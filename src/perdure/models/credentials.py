"""Keys of model providers: from the environment, else from a store encrypted with age.

The store is one JSON object, provider name to key, in `credentials.age` in `$XDG_CONFIG_HOME/perdure`
(`~/.config/perdure`), beside the identity that opens it and outside any workspace (`perdure.sealing`).

A provider's key goes to that provider alone. For a server elsewhere, named by `base_url`, a key counts
only if it was stored for that very address, or if the environment that holds it names the address too:
an agent's file, which others may have written, cannot send a key anywhere by naming a `base_url`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from perdure.kernel.errors import ConfigError, InvalidInput, ModelError, NotFound
from perdure.sealing import IDENTITY, SealedFile, config_folder

from .places import base_variables, local_place, origin, own_origins
from .providers import PROVIDERS, Provider, find
from .spec import Secret

__all__ = ["IDENTITY", "STORE", "Credential", "Credentials", "config_folder", "missing"]

STORE = "credentials.age"
MAX_KEY_CHARS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """That a provider has a key, and where it comes from; never the key."""

    provider: str
    source: Literal["environment", "store"]
    where: str
    """Name of the variable, or path of the store."""
    at: str = ""
    """The address it was stored for, `https://host[:port]`; empty: the provider's own."""


class Credentials:
    """Finds, keeps and forgets keys. Looks into the store only when the environment has none."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """`folder`: see `config_folder`. `env` is read at each look-up."""
        self.folder = folder
        self._env = env
        self._file = SealedFile(folder / STORE, folder, again="log in again")

    # Reading --------------------------------------------------------------------------------------

    def get(self, provider: str, at: str = "") -> str | None:
        """The key for a provider, or None; `at`: the `base_url` of the server it is for, where that is
        not the provider's own. Raises ConfigError when the store cannot be opened."""
        row = find(provider)
        if at:
            stored = self._read().get(_entry(_store_name(row) if row else provider, origin(at)))
            if stored is not None or not self._trusted(provider, at):
                return stored
        for name in self.variables(provider):
            if value := self._env.get(name, "").strip():
                return value
        kept = self._read()
        return kept.get(provider) or (kept.get(_store_name(row)) if row else None)

    def secret(self, provider: str, *, needed: bool = True, at: str = "") -> Secret:
        """A handle that fetches the key when a request is made. Calling it raises ModelError(kind=
        "auth") when there is no key and one is `needed`; otherwise no key is an empty one."""

        def key() -> str:
            try:
                found = self.get(provider, at)
                if found is None and needed:
                    raise missing(provider, self.variables(provider))
            except ConfigError as error:
                raise ModelError(error.message, kind="auth", hint=error.hint) from error
            return found or ""

        return key

    def withheld(self, provider: str, at: str) -> str:
        """What to do when the server at this `base_url` wants a key: the hint says that the provider's
        own was not sent there. Empty where it was, or where there is none."""
        try:
            if self.get(provider, at) is not None or self.get(provider) is None:
                return ""
        except ConfigError:
            return ""
        row = find(provider)
        title, name = (row.title, row.name) if row else (provider, provider)
        return (
            f"The key for {title} is not sent to {origin(at)}. Store one for that address: "
            f"perdure login {name} --base-url {origin(at)}"
        )

    def _trusted(self, provider: str, at: str) -> bool:
        """Is that the provider's own address, or one that the environment names beside the key?"""
        row = find(provider)
        places = [*own_origins(row)] if row else []
        if row is not None and (moved := local_place(row, self._env)):
            places.append(origin(moved))
        for name in base_variables(self.variables(provider)):
            if value := self._env.get(name, "").strip():
                places.append(origin(value))
        return origin(at) in places

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
            name: Credential(
                provider=name.partition("@")[0],
                source="store",
                where=str(self.folder / STORE),
                at=name.partition("@")[2],
            )
            for name in stored
        }
        for row in PROVIDERS.values():
            variable = next((n for n in row.env if self._env.get(n, "").strip()), "")
            if variable and row.name == _store_name(row):
                found[row.name] = Credential(
                    provider=row.name, source="environment", where=variable
                )
        return [found[name] for name in sorted(found)]

    def values(self) -> dict[str, str]:
        """Every key of the store and of the environment, by what it is called. For those who look for
        them in what must not hold them. Raises ConfigError when the store cannot be opened."""
        found = dict(self._read())
        for row in PROVIDERS.values():
            for variable in row.env:
                if value := self._env.get(variable, "").strip():
                    found[variable] = value
        return found

    def stamp(self) -> object:
        """Changes when the store does."""
        return self._file.stamp()

    # Changing -------------------------------------------------------------------------------------

    def set(self, provider: str, key: str, at: str = "") -> None:
        """Keep a key; `at`: for the server at this `base_url` alone. Raises InvalidInput, ConfigError or
        StorageError."""
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
        if "@" in provider:
            raise InvalidInput(f"{provider!r} is no provider's name: it holds an @.")
        with self._locked():
            stored = self._read()
            stored[_entry(_store_name(row) if row else provider, origin(at))] = key
            self._file.write(msgspec.json.encode(stored))

    def remove(self, provider: str, at: str = "") -> None:
        """Forget a stored key. Raises NotFound when there is none."""
        row = find(provider)
        name = _entry(_store_name(row) if row else provider, origin(at))
        with self._locked():
            stored = self._read()
            if stored.pop(name, None) is None:
                where = f" at {origin(at)}" if at else ""
                raise NotFound(
                    f"No key is stored for {provider}{where}.",
                    hint="" if at else self._still_in_env(provider),
                )
            self._file.write(msgspec.json.encode(stored))

    def _still_in_env(self, provider: str) -> str:
        names = [n for n in self.variables(provider) if self._env.get(n)]
        return f"It comes from the environment: unset {names[0]}." if names else ""

    # The file -------------------------------------------------------------------------------------

    def _read(self) -> dict[str, str]:
        data = self._file.read()
        if data is None:
            return {}
        try:
            return msgspec.json.decode(data, type=dict[str, str])
        except msgspec.DecodeError as error:
            raise self._file.damaged(error) from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._file.locked(self.folder / ".lock"):
            yield


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


def _entry(name: str, at: str) -> str:
    return f"{name}@{at}" if at else name
