"""The write tool: a whole file, atomically."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from perdure.kernel.events import ToolResult
from perdure.kernel.labels import SELF

from .base import Sink, ToolContext, failed, ok
from .diff import counts, unified
from .files import FileProblem, InDoubt, digest, read_regular, replace
from .paths import PathTool, shown
from .text import Form, NotText, decode, storable, uniform_crlf


class Write(PathTool):
    """Create a file, or replace its whole content. Missing folders are made."""

    name = "write"
    effects = frozenset({"writes"})
    recovery = "rerun"  # the intent it leaves tells whether it has happened
    cooperative = True
    tracks = True
    sink = Sink(kind="write", critical={"path": "path"}, content=("content",))

    content: str

    def preview(self, workdir: Path) -> str:
        path = self.target(workdir)
        name = shown(path, workdir)
        before = _bytes(path)
        try:
            old = decode(before)[0] if before is not None else ""
        except NotText:
            return f"replaces {name}, {len(before or b''):,} bytes that are not text, with:\n" + (
                unified("", self.content, name, max_chars=None)
            )
        return unified(old, self._text(before), name, max_chars=None) or f"{name}: nothing changes"

    def binding(self, workdir: Path) -> bytes:
        return digest(_bytes(self.target(workdir))).encode()

    def _text(self, old: bytes | None) -> str:
        """The content with the line ends of the file it replaces."""
        content = storable(self.content)
        if old and "\r" not in content:
            try:
                if uniform_crlf(decode(old)[0]):
                    return content.replace("\n", "\r\n")
            except NotText:
                pass
        return content

    def _encoded(self, old: bytes | None) -> bytes:
        form = Form()
        if old:
            try:
                _, found = decode(old)
                # Latin-1 only means unknown; new content has no reason to be written in it.
                form = found if found.codec != "latin-1" else form
            except NotText:
                pass
        return form.encode(self._text(old))

    @staticmethod
    def _marked(data: bytes, path: Path, context: ToolContext) -> bytes:
        """The file has its label before it has the content: a crash may come between."""
        if context.labels is not None:
            context.labels.mark(path, context.label)
        return data

    async def execute(self, context: ToolContext) -> ToolResult:
        result = await asyncio.to_thread(self._write, context)
        # It tells nothing of what was in the file before.
        return msgspec.structs.replace(result, label=SELF)

    def _write(self, context: ToolContext) -> ToolResult:
        path = self.target(context.workdir)
        name = shown(path, context.workdir)
        try:
            done = replace(
                path,
                lambda old: self._marked(self._encoded(old), path, context),
                intent=context.scratch,
                resumed=context.resumed,
                make_parents=True,
            )
        except InDoubt as problem:
            text = f"{name} may or may not have been written: {problem}. Read it to find out."
            return failed(text, "in_doubt", path=str(path))
        except FileProblem as problem:
            return failed(f"{name} was not written: {problem}.", path=str(path))
        if context.labels is not None:
            context.labels.replaced(path, context.label)
        lines = self.content.count("\n") + (not self.content.endswith("\n") and bool(self.content))
        if done.earlier or done.before is None:
            verb = "Wrote" if done.earlier else "Created"
            return ok(
                f"{verb} {name}, {lines:,} lines.",
                path=str(path),
                bytes=len(done.after),
                diff="" if done.earlier else unified("", self.content, name),
                added=lines,
                removed=0,
                created=not done.earlier,
            )
        try:
            old, new = decode(done.before)[0], decode(done.after)[0]
        except NotText:
            return ok(f"Replaced {name}, {lines:,} lines.", path=str(path), bytes=len(done.after))
        added, removed = counts(old, new)
        return ok(
            f"Replaced {name}, {lines:,} lines (+{added:,} −{removed:,}).",
            path=str(path),
            bytes=len(done.after),
            diff=unified(old, new, name),
            added=added,
            removed=removed,
            created=False,
        )


def _bytes(path: Path) -> bytes | None:
    """Raises FileProblem where there is something that is no regular file."""
    return read_regular(path) if path.exists() else None
