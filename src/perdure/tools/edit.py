"""The edit tool: replace an exact passage of a text file, atomically, keeping its form."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from perdure.kernel.events import ToolResult

from .base import Sink, ToolContext, failed, ok
from .diff import counts, unified
from .files import FileProblem, InDoubt, digest, read_regular, replace
from .matching import Edited, NoMatch, substitute
from .paths import PathTool, missing, shown
from .text import NotText, decode, storable


class Edit(PathTool):
    """Replace old_string, which must occur exactly once in the file, by new_string."""

    name = "edit"
    effects = frozenset({"writes"})
    recovery = "rerun"  # the intent it leaves tells whether it has happened
    cooperative = True
    tracks = True
    selects = ()  # all of it is one kind of change
    sink = Sink(kind="write", critical={"path": "path"}, content=("new_string",))

    old_string: str = Field(min_length=1)
    new_string: str
    replace_all: bool = False

    def preview(self, workdir: Path) -> str:
        path = self.target(workdir)
        try:
            before, _ = decode(read_regular(path))
            after = self._edited(before).text
        except (FileProblem, NotText, NoMatch) as problem:
            return f"{shown(path, workdir)}: would fail: {problem}"
        return unified(before, after, shown(path, workdir), max_chars=None)

    def binding(self, workdir: Path) -> bytes:
        path = self.target(workdir)
        return digest(read_regular(path) if path.exists() else None).encode()

    def _edited(self, text: str) -> Edited:
        return substitute(
            text, storable(self.old_string), storable(self.new_string), every=self.replace_all
        )

    async def execute(self, context: ToolContext) -> ToolResult:
        return await asyncio.to_thread(self._edit, context)

    def _edit(self, context: ToolContext) -> ToolResult:
        path = self.target(context.workdir)
        name = shown(path, context.workdir)
        lines: tuple[int, ...] = ()

        def change(old: bytes | None) -> bytes:
            nonlocal lines
            if old is None:
                raise FileNotFoundError(path)
            text, form = decode(old)
            edited = self._edited(text)
            lines = edited.lines
            if context.labels is not None:  # before the content is there: a crash may come between
                context.labels.mark(path, context.label)
            return form.encode(edited.text)

        try:
            done = replace(path, change, intent=context.scratch, resumed=context.resumed)
        except NoMatch as problem:
            return failed(f"{name} was not changed: {problem}", path=str(path))
        except NotText as problem:
            return failed(f"{name} was not changed: {problem}, so it is no text.", path=str(path))
        except UnicodeEncodeError as error:
            return failed(
                f"{name} was not changed: it is not UTF-8 but {error.encoding}, which lacks "
                f"{error.object[error.start]!r}. Leave such characters out, or convert it first.",
                path=str(path),
            )
        except InDoubt as problem:
            text = f"{name} may or may not have been changed: {problem}. Read it to find out."
            return failed(text, "in_doubt", path=str(path))
        except FileProblem as problem:
            if isinstance(problem.__cause__, FileNotFoundError):
                return failed(missing(path, context.workdir), path=str(path))
            return failed(f"{name} was not changed: {problem}.", path=str(path))
        if context.labels is not None:
            context.labels.mark(path, context.label)
        if done.earlier or done.before is None:
            return ok(f"Changed {name}.", path=str(path), diff="")
        if done.before == done.after:
            return failed(f"{name}: old_string and new_string are the same.", path=str(path))
        old, new = decode(done.before)[0], decode(done.after)[0]
        added, removed = counts(old, new)
        where = f"line {lines[0]}" if len(lines) == 1 else f"{len(lines)} places"
        return ok(
            f"Changed {name} at {where} (+{added:,} −{removed:,}).",
            path=str(path),
            line=lines[0],
            replaced=len(lines),
            diff=unified(old, new, name),
            added=added,
            removed=removed,
        )
