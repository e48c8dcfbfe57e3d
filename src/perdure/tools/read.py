"""The read tool: text in numbered lines, images, folders, and the artifacts of the session."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import Field

from perdure.kernel.events import ArtifactId, Image, Text, ToolResult

from .base import ToolContext, Touch, failed, ok
from .files import MAX_TEXT, FileProblem, opened, read_regular
from .labelling import artifact_label
from .pages import LINE_CHARS, Window, window
from .paths import ARTIFACT, PATH_CHARS, PathTool, missing, shown
from .taming import tame
from .text import NotText, decode, looks_binary, mark_of

PAGE_LINES = 2_000
MAX_IMAGE = 5 << 20
"""Bytes; what the providers take."""
MAX_ENTRIES = 500
QUICK = 64 << 10
"""Bytes that are read without a thread of their own."""

_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x7fELF", "an ELF program"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (also docx, xlsx, jar)"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"SQLite format 3\0", "an SQLite database"),
)


class Read(PathTool):
    """Read a text file (with line numbers), image or folder. Long files come in pages."""

    name = "read"
    effects = frozenset({"reads"})
    cooperative = True

    offset: Annotated[int, Field(ge=1, description="First line")] = 1
    limit: Annotated[int, Field(ge=1, description="Number of lines")] = PAGE_LINES

    def touches(self, workdir: Path) -> Sequence[Touch]:
        """An artifact of its own session is no path on the machine."""
        return () if self.path.startswith(ARTIFACT) else super().touches(workdir)

    async def execute(self, context: ToolContext) -> ToolResult:
        own = self.path.startswith(ARTIFACT)
        if own:
            path = context.artifacts.path(ArtifactId(self.path.removeprefix(ARTIFACT).strip()))
            name = self.path
        else:
            path = self.target(context.workdir)
            name = shown(path, context.workdir)
        try:
            seen = path.lstat()
            quick = stat.S_ISREG(seen.st_mode) and 0 < seen.st_size <= QUICK
        except OSError:
            quick = False
        if quick:  # handing it to a thread would cost several times the reading
            result = self._read(path, name, context)
        else:
            result = await asyncio.to_thread(self._read, path, name, context)
        if own:
            label = artifact_label(path, context.labels, context.label)
            result = msgspec.structs.replace(result, label=label)
        return result

    def _read(self, path: Path, name: str, context: ToolContext) -> ToolResult:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return failed(missing(path, context.workdir), path=str(path))
        except OSError as error:
            return failed(f"{name} cannot be read: {error.strerror}.", path=str(path))
        try:
            if stat.S_ISDIR(mode):
                return self._folder(path, name)
            with opened(path) as file:
                size = os.fstat(file.fileno()).st_size
                head = file.read(8192) or b""
                if kind := _image(head):
                    return self._image(path, name, size, kind, context)
                if looks_binary(head):
                    return failed(_binary(name, head, size), path=str(path), bytes=size)
                if mark_of(head)[1] not in ("", "utf-8"):
                    return self._marked(path, name, context)
                file.seek(0)
                page = window(file, self.offset, self.limit, context.max_result_chars)
        except FileProblem as problem:
            return failed(f"{name} cannot be read: {problem}.", path=str(path))
        except OSError as error:
            return failed(f"{name} cannot be read: {error.strerror}.", path=str(path))
        note = ""
        if page.lines and page.first == 1:
            page.lines[0] = page.lines[0].removeprefix(mark_of(page.lines[0])[0])
        try:
            texts = [_decoded(line) for line in page.lines]
        except UnicodeDecodeError:
            note = "not UTF-8, shown as Latin-1"
            texts = [line.decode("latin-1") for line in page.lines]
        return self._page(path, name, page, texts, note, size)

    def _marked(self, path: Path, name: str, context: ToolContext) -> ToolResult:
        """UTF-16 and UTF-32 are decoded whole: their lines cannot be found in bytes."""
        try:
            text, form = decode(read_regular(path, MAX_TEXT))
        except NotText as problem:
            return failed(f"{name} is not text: {problem}.", path=str(path))
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        chosen: list[str] = []
        used = 0
        for line in lines[self.offset - 1 : self.offset - 1 + self.limit]:
            used += min(len(line), LINE_CHARS) + 8
            if chosen and used > context.max_result_chars:
                break
            chosen.append(line)
        more = self.offset - 1 + len(chosen) < len(lines)
        page = Window(lines=[], first=self.offset, total=len(lines), more=more)
        return self._page(path, name, page, chosen, form.name, len(text))

    def _page(
        self, path: Path, name: str, page: Window, texts: list[str], note: str, size: int
    ) -> ToolResult:
        total = page.total
        if not texts:
            if total == 0:
                return ok(f"{name} is empty.", path=str(path), lines=0, total=0)
            return failed(
                f"{name} has {total:,} lines; there is no line {self.offset:,}.",
                path=str(path),
                total=total,
            )
        last = page.first + len(texts) - 1
        body = "\n".join(
            f"{number}\t{_cut(line)}" for number, line in enumerate(texts, start=page.first)
        )
        of = f"of {total:,}" if total is not None else "of many"
        notes = [note] if note else []
        if page.more:
            notes.append(f"lines {page.first:,} to {last:,} {of}; go on with offset={last + 1}")
        elif page.first > 1:
            notes.append(f"lines {page.first:,} to {last:,} {of}")
        if notes:
            body += f"\n[{'; '.join(notes)}]"
        return ok(
            body,
            path=str(path),
            first=page.first,
            lines=len(texts),
            total=total,
            bytes=size,
        )

    def _folder(self, path: Path, name: str) -> ToolResult:
        entries = sorted(os.scandir(path), key=lambda e: e.name)
        shown_ = entries[self.offset - 1 : self.offset - 1 + min(self.limit, MAX_ENTRIES)]
        lines = [_entry(e) for e in shown_]
        rest = len(entries) - (self.offset - 1) - len(shown_)
        if rest > 0:
            lines.append(f"[{rest:,} more; go on with offset={self.offset + len(shown_)}]")
        text = f"{name} is a folder with {len(entries):,} entries" + (":\n" if lines else ".")
        return ok(text + "\n".join(lines), path=str(path), entries=len(entries))

    def _image(
        self, path: Path, name: str, size: int, kind: tuple[str, str], context: ToolContext
    ) -> ToolResult:
        media_type, ext = kind
        if size > MAX_IMAGE:
            return failed(
                f"{name} is an image of {size:,} bytes; at most {MAX_IMAGE:,} can be looked at. "
                "Make a smaller copy first, e.g. with ImageMagick's convert -resize.",
                path=str(path),
                bytes=size,
            )
        artifact = context.artifacts.put(read_regular(path, MAX_IMAGE), ext)
        return ToolResult(
            parts=(
                Text(text=f"{name}: {media_type}, {size:,} bytes."),
                Image(media_type=media_type, artifact=artifact),
            ),
            data={"path": str(path), "bytes": size, "media_type": media_type},
        )


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        # A long line may have been cut inside a character.
        if error.start >= len(line) - 3 and len(line) >= LINE_CHARS:
            return line[: error.start].decode("utf-8")
        raise


def _cut(line: str) -> str:
    line = line.removesuffix("\r")
    if len(line) <= LINE_CHARS:
        return line
    return f"{line[:LINE_CHARS]} [… line cut; use bash with cut -c to see more]"


def _entry(entry: os.DirEntry[str]) -> str:
    name = tame(entry.name)
    try:
        if entry.is_symlink():
            return f"{name} -> {tame(str(Path(entry.path).readlink()), PATH_CHARS)}"
        if entry.is_dir():
            return f"{name}/"
        return f"{name}  {entry.stat().st_size:,}"
    except OSError:
        return name


def _image(head: bytes) -> tuple[str, str] | None:
    """Media type and extension by the first bytes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png", ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", ".jpg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif", ".gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp", ".webp"
    return None


def _binary(name: str, head: bytes, size: int) -> str:
    kind = next((what for magic, what in _KINDS if head.startswith(magic)), "binary")
    return (
        f"{name} is {kind}, {size:,} bytes, not text. "
        "Use bash with a program for it, or file, strings, xxd | head."
    )
