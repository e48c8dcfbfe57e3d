"""What a backup is, written down: its manifest, the last thing that is stored of it."""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import sha256

import msgspec

from perdure.kernel.errors import NotFound, StorageError
from perdure.kernel.events import SessionId

from .depots import Depot

FORMAT = 1
PIECE = 4 << 20
"""Bytes of a piece. Files are cut at its multiples, so that a log that grew keeps its first pieces."""
BACKUPS, OBJECTS = "backups/", "objects/"
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
_encoder = msgspec.json.Encoder()


class File(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    """From the workspace's root, `/` between its parts."""
    mode: int
    size: int
    pieces: tuple[str, ...]
    """SHA-256 of each, in order; the names of objects."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    mode: int


class Link(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    target: str


class Session(msgspec.Struct, frozen=True, kw_only=True):
    id: SessionId
    records: int
    """In the log as it was copied, all of them verified."""
    busy: bool = False
    """It was in the middle of a turn, or had messages waiting."""
    damage: str = ""
    """Why its log, copied as it is, could not be verified beyond `records`."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    created: datetime
    version: str
    """Of Perdure."""
    workspace: str
    files: tuple[File, ...]
    folders: tuple[Folder, ...] = ()
    links: tuple[Link, ...] = ()
    sessions: tuple[Session, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be copied, or is damaged at the source."""

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


_decoder = msgspec.json.Decoder(Manifest)


def encode(manifest: Manifest) -> tuple[str, bytes]:
    """Its name, which vouches for it, and its bytes."""
    data = _encoder.encode(manifest) + b"\n"
    stamp = manifest.created.strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{sha256(data).hexdigest()[:16]}", data


def names(depot: Depot) -> list[str]:
    """Of all backups, oldest first."""
    found = (key.removeprefix(BACKUPS).removesuffix(".json") for key in depot.names(BACKUPS))
    return sorted(name for name in found if _NAME.fullmatch(name))


def load(depot: Depot, name: str) -> Manifest:
    """Raises NotFound; StorageError when it is not what its name says, or of a newer format."""
    if not _NAME.fullmatch(name):
        raise NotFound(f"there is no backup “{name[:60]}” in {depot.name}", hint=_known(depot))
    data = depot.read(f"{BACKUPS}{name}.json")
    if data is None:
        raise NotFound(f"there is no backup “{name}” in {depot.name}", hint=_known(depot))
    if sha256(data).hexdigest()[:16] != name.rpartition("-")[2]:
        raise StorageError(f"the manifest of backup {name} is damaged")
    try:
        manifest = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StorageError(f"the manifest of backup {name} cannot be read: {error}") from None
    if manifest.format != FORMAT:
        raise StorageError(
            f"backup {name} has format {manifest.format}, this version knows {FORMAT}",
            hint="Use a newer Perdure.",
        )
    return manifest


def object_key(name: str) -> str:
    return f"{OBJECTS}{name[:2]}/{name[2:]}"


def _known(depot: Depot) -> str:
    found = names(depot)
    return f"There are: {', '.join(found[-5:])}" if found else "There are none."
