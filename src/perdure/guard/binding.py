"""What an approval covers: everything on which depends what the call would do, as one digest (S8).

The parts are digested one by one, so that a person who is asked again can be told what changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perdure.kernel.events import SessionId

from .seams import Prepared

if TYPE_CHECKING:
    from .scripts import Scripts
    from .shell import Command, Parsed

DIGEST_CHARS = 32
"""128 bits: two contents with one digest cannot be made at will."""
HASHED = 64 << 20
"""Bytes of a file up to which its content counts; of a larger one size, times and identity."""
CONTENTS_KEPT = 512
SETTLED = 2.0
"""Seconds."""
FILES = "a file it works on or runs"
"""Those that the tool itself names, together."""
_PART_BYTES = 12
_OF_THE_TERMINAL = frozenset(("TERM", "COLORTERM"))
"""Differ between two starts of the server and say nothing to a command that has no terminal."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Binding(msgspec.Struct, frozen=True):
    parts: Mapping[str, bytes]
    """In plain words what it is, and its digest."""

    @property
    def digest(self) -> str:
        whole = hashlib.blake2b(digest_size=DIGEST_CHARS // 2)
        for name, part in self.parts.items():
            for piece in (os.fsencode(name), part):
                whole.update(len(piece).to_bytes(8, "big") + piece)
        return whole.hexdigest()

    def changes(self, since: Binding) -> str:
        """What differs, as a list of words."""
        names = [*since.parts, *(n for n in self.parts if n not in since.parts)]
        changed = [n for n in names if self.parts.get(n) != since.parts.get(n)]
        return ", ".join([n for n in changed if n != FILES] or changed)


def bind(
    session: SessionId,
    prepared: Prepared,
    parsed: Parsed | None,
    scripts: Scripts | None,
    home: Path,
    environment: Mapping[str, str],
) -> Binding:
    """`parsed`: its shell command. `scripts`: what that runs, as it is now. `environment`: what it will see.
    Reads files; blocking."""
    call = prepared.call
    parts = {
        "the call": digest_of(
            [session.encode(), call.name.encode("utf-8", "replace"), _encode(call.arguments)]
        ),
        "the working directory": digest_of([os.fsencode(home), identity_of(home)]),
    }
    for touch in prepared.touches:
        how = "write" if touch.write else "read"
        content = content_at(touch.path) if touch.write else b""
        parts[_named(touch.path)] = digest_of([how.encode(), os.fsencode(touch.path), content])
    files = [prepared.binding()]
    if scripts is not None:
        files.append(scripts.digest(named=True))
    parts[FILES] = digest_of(files)
    if parsed is not None:
        programs: dict[str, list[bytes]] = {}
        for command in parsed.commands:
            programs.setdefault(command.name or "of its command", []).append(_command(command))
        parts |= {f"the program {name}": digest_of(said) for name, said in programs.items()}
        seen = [f"{k}={v}" for k, v in sorted(environment.items()) if k not in _OF_THE_TERMINAL]
        parts["the environment"] = digest_of(map(os.fsencode, seen))
    return Binding(parts)


def look(parsed: Parsed | None, home: Path, environment: Mapping[str, str]) -> Scripts | None:
    """The scripts of a command as they are now. None: there is no command. Reads files; blocking."""
    if parsed is None:
        return None
    from .scripts import scripts_of

    return scripts_of(parsed, home, search=environment.get("PATH", os.defpath))


def content_of(parsed: Parsed | None, home: Path, scripts: Scripts | None = None) -> str:
    """What a command runs, for rules that are to hold for this only: where its programs were found, what
    those hold that are not the system's own, which an update may change, and the scripts. Blocking.
    `scripts`: of this command, where they were looked at already."""
    if parsed is None:
        return ""
    if scripts is None:
        from .scripts import scripts_of

        scripts = scripts_of(parsed, home)
    whole = hashlib.blake2b(scripts.digest(named=False), digest_size=DIGEST_CHARS // 2)
    for command in parsed.commands:
        real = os.path.realpath(command.program) if command.program else ""
        held = content_at(Path(real)) if real and command.foreign else b""
        whole.update(digest_of([os.fsencode(command.program), os.fsencode(real), held]))
    return whole.hexdigest()


def _named(path: Path) -> str:
    return os.fspath(path).encode("utf-8", "replace").decode("utf-8")


def _command(command: Command) -> bytes:
    """Its words, and the program behind the first: where it was found, where that leads, what it holds."""
    words = [word.shape.encode("utf-8", "surrogatepass") for word in command.words]
    program = command.program
    if not program:
        return digest_of([*words, b"none"])
    real = os.path.realpath(program)
    return digest_of([*words, os.fsencode(program), os.fsencode(real), content_at(Path(real))])


_contents: dict[bytes, bytes] = {}
"""Digests of contents by the identity of their file, which changes whenever the content does."""


def content_at(path: Path) -> bytes:
    """A digest of the file's content; says so where there is none. Never waits for a pipe."""
    identity = identity_of(path)
    if (known := _contents.get(identity)) is not None:
        return known
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b"absent"
    except OSError:
        return b"unreadable " + identity
    with os.fdopen(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > HASHED:
            return b"as it is " + identity
        digest = hashlib.blake2b(digest_size=_PART_BYTES)
        while piece := file.read(1 << 20):
            digest.update(piece)
        after = os.fstat(fd)
    # What changed a moment ago may change again without its times telling so.
    if _told(after) == identity and time.time() - after.st_ctime > SETTLED:
        if len(_contents) >= CONTENTS_KEPT:
            _contents.clear()
        _contents[identity] = digest.digest()
    return digest.digest()


def identity_of(path: Path) -> bytes:
    try:
        return _told(os.stat(path))  # noqa: PTH116  # bytes of paths that are no text
    except OSError as error:
        return f"errno {error.errno}".encode()


def _told(seen: os.stat_result) -> bytes:
    if stat.S_ISDIR(seen.st_mode):
        return f"{seen.st_dev} {seen.st_ino}".encode()
    told = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
    return " ".join(map(str, told)).encode()


def digest_of(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=_PART_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
