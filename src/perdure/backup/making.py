"""Making a backup: new pieces are stored, known ones only named, and the manifest comes last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import perdure
from perdure.checkpoints import Checkpoints
from perdure.kernel.errors import NotFound
from perdure.storage import Committer, RealDisk, SessionStore, SystemClock, TimeIds

from .depots import Depot
from .records import (
    BACKUPS,
    OBJECTS,
    PIECE,
    File,
    Folder,
    Link,
    Manifest,
    Session,
    encode,
    object_key,
)
from .sources import PRIVATE, Source, things

AT_ONCE = 8
"""Pieces on their way to the depot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Created:
    name: str
    manifest: Manifest
    new_pieces: int
    new_bytes: int


def create(
    root: Path,
    depot: Depot,
    *,
    credentials: Path | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[str], None] = lambda _: None,
) -> Created:
    """Back up the workspace at `root`, whose server may be running. `credentials`: the encrypted store
    of provider keys; `progress` hears each path. Blocks. Raises StorageError, NotFound; what a failed one
    leaves in the depot is used by the next."""
    if not (root / "perdure.yaml").is_file():
        raise NotFound(f"{root} is no workspace: it has no perdure.yaml")
    private = root / PRIVATE
    private.mkdir(exist_ok=True)
    clock = SystemClock()
    committer = Committer(RealDisk())
    try:
        store = SessionStore(private, committer, clock)
        checkpoints = Checkpoints(private / "checkpoints", clock, TimeIds())
        with checkpoints.reading(), _Pieces(depot) as pieces:
            manifest = _collect(root, store, credentials, pieces, now, progress)
    finally:
        committer.close()
    depot.settle()
    name, data = encode(manifest)
    depot.write(f"{BACKUPS}{name}.json", data)
    depot.settle()
    return Created(name=name, manifest=manifest, new_pieces=pieces.new, new_bytes=pieces.new_bytes)


def _collect(
    root: Path,
    store: SessionStore,
    credentials: Path | None,
    pieces: _Pieces,
    now: Callable[[], datetime],
    progress: Callable[[str], None],
) -> Manifest:
    created = now()
    files: list[File] = []
    folders: list[Folder] = []
    links: list[Link] = []
    sessions: list[Session] = []
    problems: list[str] = []
    for thing in things(root, store, credentials):
        if isinstance(thing, Source):
            progress(thing.path)
            try:
                files.append(pieces.take(thing))
            except FileNotFoundError:
                continue  # it went while we were on our way
            except PermissionError as error:
                problems.append(f"{thing.path}: {error.strerror}; it was not copied")
        elif isinstance(thing, Folder):
            folders.append(thing)
        elif isinstance(thing, Link):
            links.append(thing)
        elif isinstance(thing, Session):
            sessions.append(thing)
        else:
            problems.append(thing)
    return Manifest(
        created=created,
        version=perdure.__version__,
        workspace=str(root).encode("utf-8", "replace").decode(),
        files=tuple(files),
        folders=tuple(folders),
        links=tuple(links),
        sessions=tuple(sessions),
        problems=tuple(problems),
    )


class _Pieces:
    """Pieces on their way into a depot. Leaving the context waits for all of them."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._known = {key.removeprefix(OBJECTS).replace("/", "") for key in depot.names(OBJECTS)}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backup")
        self._going: set[Future[None]] = set()
        self.new = 0
        self.new_bytes = 0

    def __enter__(self) -> _Pieces:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for future in self._going:
                future.result()

    def take(self, source: Source) -> File:
        if source.content and source.content in self._known:
            names, size = [source.content] if source.size else [], source.size
        else:
            names, size = [], 0
            for piece in _cut(source.read()):
                names.append(self._put(piece))
                size += len(piece)
        return File(path=source.path, mode=source.mode, size=size, pieces=tuple(names))

    def _put(self, piece: bytes) -> str:
        name = sha256(piece).hexdigest()
        if name not in self._known:
            self._known.add(name)
            self.new += 1
            self.new_bytes += len(piece)
            if len(self._going) >= AT_ONCE:  # so that no more than these are held in memory
                done, self._going = wait(self._going, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
            self._going.add(self._pool.submit(self._depot.write, object_key(name), piece))
        return name


def _cut(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """At the multiples of PIECE."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= PIECE:
            yield bytes(rest[:PIECE])
            del rest[:PIECE]
    if rest:
        yield bytes(rest)
