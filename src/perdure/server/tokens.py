"""Tokens that the owner hands out: scoped, expiring, revocable. Only digests are kept.

A token is `pdr_ID_SECRET`; SECRET has 256 random bits, so a plain digest of it needs no stretching. The
file is `.perdure/secrets.tokens.json`, mode 0600, which no tool may read. It is looked at anew when it
changes: what another process revokes counts at once.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from perdure.files import alone, replace
from perdure.kernel.errors import ConfigError, InvalidInput, NotFound, StorageError
from perdure.kernel.labels import Trust

from .grants import CONFIGURED, OWNER, SCOPES, Grant, Scope, closed

FILE = "secrets.tokens.json"
PREFIX = b"pdr_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,59}")
RESERVED = frozenset(("owner", "local", "configured", "terminal", "api"))
"""Names by which the log knows the owner and his ways in."""
MOST = 1_000
"""Tokens that tokens made. The owner may make as many as he likes."""
FAMILY = 20
"""Tokens that come from one of the owner's, directly or through others."""
LONGEST = timedelta(days=3660)

log = logging.getLogger("perdure.server")


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One token, as it is kept."""

    id: str
    name: str
    digest: str
    """SHA-256 of the whole token, hex."""
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime | None = None
    agents: tuple[str, ...] | None = None
    trust: Trust = "owner"
    parent: str = ""
    """The token that made it: when that one goes, so does this."""

    def grant(self) -> Grant:
        return Grant(
            id=self.id,
            name=self.name,
            scopes=closed(self.scopes),
            agents=None if self.agents is None else frozenset(self.agents),
            trust=self.trust,
        )


def default_trust(scopes: Sequence[Scope], most: Trust = "owner") -> Trust:
    """Whose words a token's messages are where nobody says: who may answer for the owner speaks for him.
    Never more than `most`."""
    return most if most != "owner" or {"approve", "admin"} & set(scopes) else "known"


def _room(tokens: Sequence[Token], parent: str) -> None:
    """For one more that this token makes. Raises InvalidInput."""
    parents = {t.id: t.parent for t in tokens}
    roots = [_root(t.id, parents) for t in tokens if t.parent]
    if roots.count(_root(parent, parents)) >= FAMILY:
        raise InvalidInput(
            f"{FAMILY} tokens come from this one, or from the one it comes from, and that is the most",
            hint="Revoke some that are not needed any more, or ask the owner: perdure token create",
        )
    if len(roots) >= MOST:
        raise InvalidInput(
            f"there are {MOST:,} tokens made by others already",
            hint="The owner can revoke some: perdure token list",
        )


def _root(id_: str, parents: Mapping[str, str]) -> str:
    """The owner's own token that this one comes from."""
    for _ in range(len(parents)):
        if not (parent := parents.get(id_, "")):
            break
        id_ = parent
    return id_


class Kept(msgspec.Struct, kw_only=True):
    tokens: list[Token] = []


class TokenStore:
    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path, self._now = path, now
        self._stamp: tuple[int, ...] | None = None
        self._known: dict[str, Token] = {}

    def list(self) -> Sequence[Token]:
        """All that are kept, expired ones included. Raises ConfigError for a damaged file."""
        return tuple(self._read().tokens)

    def find(self, token: bytes) -> Grant | None:
        """What it gives; None for one that is unknown, revoked or expired. A damaged file knows none."""
        self._refresh()
        id_ = token.removeprefix(PREFIX).partition(b"_")[0].decode("latin-1")
        known = self._known.get(id_)
        digest = sha256(token).hexdigest()
        if not hmac.compare_digest(known.digest if known else "0" * 64, digest) or known is None:
            return None
        return known.grant() if self.alive(id_) else None

    def alive(self, id_: str) -> bool:
        """Neither revoked nor expired, and so are those it comes from."""
        self._refresh()
        now, seen = self._now(), 0
        while id_ not in ("", OWNER.id, CONFIGURED.id):
            token = self._known.get(id_)
            seen += 1
            if token is None or seen > MOST or (token.expires is not None and token.expires <= now):
                return False
            id_ = token.parent
        return True

    def create(
        self,
        name: str,
        scopes: Sequence[Scope],
        *,
        agents: Sequence[str] | None = None,
        days: float | None = None,
        trust: Trust = "owner",
        parent: str = "",
    ) -> tuple[Token, str]:
        """The record, and the token itself, which is kept nowhere. Raises InvalidInput, StorageError,
        ConfigError."""
        if not NAME.fullmatch(name):
            raise InvalidInput(
                f"{name[:80]!r} cannot be a token's name",
                hint="Letters, digits, spaces and ._@-, at most 60.",
            )
        if name.strip(" ._@-").casefold() in RESERVED:
            raise InvalidInput(
                f"no token can be called {name!r}: it would be taken for the owner",
                hint="Name who or what it is for, such as phone.",
            )
        unknown = [s for s in scopes if s not in SCOPES]
        if unknown or not scopes:
            raise InvalidInput(f"a token needs scopes out of: {', '.join(SCOPES)}")
        if days is not None and not 0 < days <= LONGEST.days:
            raise InvalidInput(f"a token lasts more than 0 and at most {LONGEST.days} days")
        now = self._now()
        id_ = secrets.token_hex(6)
        text = f"pdr_{id_}_{secrets.token_urlsafe(32)}"
        token = Token(
            id=id_,
            name=name,
            digest=sha256(text.encode()).hexdigest(),
            scopes=tuple(s for s in SCOPES if s in scopes),
            created=now,
            expires=None if days is None else now + timedelta(days=days),
            agents=None if agents is None else tuple(agents),
            trust=trust,
            parent=parent,
        )
        with self._changing() as kept:
            if parent:
                _room(kept.tokens, parent)
            kept.tokens.append(token)
        return token, text

    def revoke(self, id_: str) -> Sequence[Token]:
        """It, and all that were made with it. Raises NotFound, StorageError, ConfigError."""
        with self._changing() as kept:
            gone = {t.id for t in kept.tokens if t.id == id_}
            if not gone:
                raise NotFound(f"there is no token {id_}", hint="See them: perdure token list")
            more = True
            while more:
                below = {t.id for t in kept.tokens if t.parent in gone} - gone
                gone |= below
                more = bool(below)
            removed = [t for t in kept.tokens if t.id in gone]
            kept.tokens = [t for t in kept.tokens if t.id not in gone]
        return tuple(removed)

    def _refresh(self) -> None:
        try:
            seen = os.stat(self._path)  # noqa: PTH116  # before every request
            stamp: tuple[int, ...] = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
        except OSError:
            stamp = ()
        if stamp != self._stamp:
            try:
                self._known = {t.id: t for t in self._read().tokens}
            except (ConfigError, StorageError) as error:
                log.error("no token is known: %s", error)
                self._known = {}
            self._stamp = stamp

    def _read(self) -> Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"is damaged: {error}",
                file=str(self._path),
                hint="Until it is repaired no token of it is let in. Deleting it revokes them all.",
            ) from None
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error.strerror}") from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Kept]:
        """One writer at a time; durable on return."""
        try:
            with alone(self._path.parent):
                kept = self._read()
                yield kept
                data = msgspec.json.format(msgspec.json.encode(kept)) + b"\n"
                replace(self._path, data, mode=0o600)
        except OSError as error:
            raise StorageError(f"{self._path} could not be written: {error.strerror}") from error


class Keyring:
    """Everything that opens the server. A comparison takes the same time whichever fits, or none."""

    def __init__(self, local: str, configured: Sequence[str], store: TokenStore | None) -> None:
        self._fixed = [
            (sha256(token.encode()).digest(), grant)
            for token, grant in ((local, OWNER), *((c, CONFIGURED) for c in configured))
            if token
        ]
        self.store = store

    def find(self, token: bytes) -> Grant | None:
        digest, found = sha256(token).digest(), None
        for one, grant in self._fixed:
            if hmac.compare_digest(one, digest):
                found = found or grant
        if found is None and self.store is not None and token.startswith(PREFIX):
            found = self.store.find(token)
        return found
