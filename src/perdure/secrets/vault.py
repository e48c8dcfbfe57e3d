"""The vault: named secrets with their bindings, sealed in the workspace's `secrets.age`.

The identity that opens it lies outside of the workspace (`perdure.sealing`). What other processes
change is seen at the next look; two writers wait for each other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perdure.kernel.errors import Conflict, InvalidInput, NotFound, PerdureError
from perdure.sealing import SealedFile

from .bindings import Binding, checked
from .uses import Use, Uses
from .value import SecretValue

FILE, USES, LOCK = "secrets.age", "secrets.uses.jsonl", "secrets.lock"
SHORTEST, LONGEST = 8, 16_384
"""Characters. A shorter one could not be told from ordinary text, and so not be kept out of it."""
SCHEME = "secret://"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class NotBound(PerdureError):
    """This secret may not be used there."""

    code = "not_bound"


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a secret."""

    name: str
    binding: Binding
    created: datetime
    changed: datetime
    """When its value was last set."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    value: str
    binding: Binding
    created: datetime
    changed: datetime

    def __repr__(self) -> str:
        return "<a kept secret>"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    secrets: dict[str, _Kept] = {}


_file = msgspec.json.Decoder(_File)
_encode = msgspec.json.Encoder().encode


def name_of(reference: str) -> str:
    """The name in `secret://name`, or a name as such. Raises InvalidInput."""
    name = reference.removeprefix(SCHEME)
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{reference[:80]!r} is no secret's name.",
            hint="1 to 63 of a-z 0-9 _ -, beginning with a letter or digit.",
        )
    return name


class Vault:
    """Thread-safe for reading; writers exclude each other across processes."""

    def __init__(
        self,
        folder: Path,
        keys: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`folder`: the workspace's private one. `keys`: where the owner's identity is."""
        self._file = SealedFile(
            folder / FILE, keys, again="set the secrets again: perdure secrets set NAME"
        )
        self._lock, self._now = folder / LOCK, now
        self.uses = Uses(folder / USES)
        self._cache: tuple[bytes, _File] | None = None

    # Reading --------------------------------------------------------------------------------------

    def find(
        self,
        ref: str,
        *,
        host: str,
        position: str,
        tool: str,
        template: str = "",
        method: str = "",
        agent: str = "",
        session: str = "",
    ) -> SecretValue:
        """The value for one request, on record before it is handed out. `host` carries a port other
        than 443; for `position` and `template` see `Binding.refusal`. Raises NotFound, NotBound,
        InvalidInput, ConfigError or StorageError; none of them holds a value."""
        name = name_of(ref)
        kept = self._read().secrets.get(name)
        if kept is None:
            raise NotFound(
                f"There is no secret {SCHEME}{name}.",
                hint=f"Its owner can store it: perdure secrets set {name} --host {host}",
            )
        why = kept.binding.refusal(
            host=host, position=position, template=template, tool=tool, method=method, agent=agent
        )
        self.uses.append(
            Use(
                secret=name,
                at=self._now(),
                host=host[:300],
                position=position[:100],
                tool=tool[:100],
                agent=agent[:100],
                session=session[:100],
                pid=os.getpid(),
                refused=why[:500],
            )
        )
        if why:
            raise NotBound(
                f"{SCHEME}{name} may not be used so: {why}.",
                hint=f"Its owner can allow it: perdure secrets grant {name} --host … --header … --tool …",
            )
        return SecretValue(name, kept.value)

    def list(self) -> list[Secret]:
        """By name. Raises ConfigError when the store cannot be opened."""
        return [_shown(name, kept) for name, kept in sorted(self._read().secrets.items())]

    def get(self, name: str) -> Secret:
        """Raises NotFound."""
        return _shown(name, _of(self._read(), name))

    def values(self) -> dict[str, str]:
        """Every value by its name: for those who look for them in what must not hold them."""
        return {name: kept.value for name, kept in self._read().secrets.items()}

    def stamp(self) -> object:
        """Changes when the store does."""
        return self._file.stamp()

    # Changing -------------------------------------------------------------------------------------

    def set(self, name: str, value: str, binding: Binding) -> Secret:
        """Store a new one. Raises Conflict when the name is taken, InvalidInput, ConfigError or
        StorageError."""
        name, value, binding = name_of(name), _checked(value), checked(binding)
        with self._changing() as file:
            if name in file.secrets:
                raise Conflict(
                    f"{SCHEME}{name} is there already.",
                    hint=f"Another value: perdure secrets rotate {name}; other places: perdure "
                    f"secrets grant {name}",
                )
            now = self._now()
            file.secrets[name] = _Kept(value=value, binding=binding, created=now, changed=now)
        return self.get(name)

    def rotate(self, name: str, value: str) -> Secret:
        """Another value in the same place. Raises NotFound."""
        name, value = name_of(name), _checked(value)
        with self._changing() as file:
            kept = _of(file, name)
            if kept.value == value:
                raise InvalidInput(f"That is the value which {SCHEME}{name} already has.")
            file.secrets[name] = msgspec.structs.replace(kept, value=value, changed=self._now())
        return self.get(name)

    def grant(self, name: str, more: Binding) -> tuple[Binding, Binding]:
        """Extend what it is bound to: the binding before and after. Raises NotFound, InvalidInput."""
        name, more = name_of(name), checked(more)
        with self._changing() as file:
            kept = _of(file, name)
            wider = kept.binding.joined(more)
            file.secrets[name] = msgspec.structs.replace(kept, binding=wider)
        return kept.binding, wider

    def remove(self, name: str) -> None:
        """Raises NotFound."""
        name = name_of(name)
        with self._changing() as file:
            _of(file, name)
            del file.secrets[name]

    # The file -------------------------------------------------------------------------------------

    def _read(self) -> _File:
        data = self._file.read()
        if data is None:
            return _File(secrets={})
        cache = self._cache
        if cache is not None and cache[0] is data:
            return cache[1]
        try:
            file = _file.decode(data)
        except msgspec.DecodeError as error:
            raise self._file.damaged(error) from None
        self._cache = (data, file)
        return file

    @contextmanager
    def _changing(self) -> Iterator[_File]:
        with self._file.locked(self._lock):
            file = _File(secrets=dict(self._read().secrets))
            yield file
            self._file.write(_encode(file))
            self._cache = None


def _of(file: _File, name: str) -> _Kept:
    kept = file.secrets.get(name_of(name))
    if kept is None:
        raise NotFound(
            f"There is no secret {name_of(name)!r}.", hint="See them: perdure secrets list"
        )
    return kept


def _shown(name: str, kept: _Kept) -> Secret:
    return Secret(name=name, binding=kept.binding, created=kept.created, changed=kept.changed)


def _checked(value: str) -> str:
    value = value.strip("\r\n")
    if not value.strip():
        raise InvalidInput("The value is empty.")
    if len(value) < SHORTEST:
        raise InvalidInput(
            f"The value has less than {SHORTEST} characters.",
            hint="So short a one cannot be told from ordinary text, and so not be kept out of it.",
        )
    if len(value) > LONGEST or "\0" in value:
        raise InvalidInput(f"The value has more than {LONGEST:,} characters, or a zero byte.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput("The value is no valid text.") from None
    return value
