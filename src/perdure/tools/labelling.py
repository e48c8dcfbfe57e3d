"""The label of what a call returns, and of what it writes (S4).

A tool may label its result itself. Else what comes from outside is a third party's, and what comes from
this machine has the join of the labels of the files it was read from. What repeats the call's arguments,
as errors and commands do, has the label of the conversation that thought them up.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import Image, ToolResult
from perdure.kernel.labels import SELF, UNKNOWN, Label

from .base import Tool, Touch, resolve
from .globs import TooMany, globbed
from .seams import Artifacts, Commands, Labels, Process

_GREP = ("EFGHILTUZabchilnoqsvwxyz", "ABCem")
_ENDS = ("qvz", "cn")
PLAIN: dict[str, tuple[str, str]] = {
    "basename": ("az", "s"), "cat": ("AETbenstuv", ""), "cmp": ("bls", "in"), "cut": ("nsz", "bcdf"),
    "date": ("Ru", "d"), "dirname": ("z", ""), "echo": ("Een", ""), "egrep": _GREP, "expr": ("", ""),
    "false": ("", ""), "fgrep": _GREP, "grep": _GREP, "head": _ENDS, "nl": ("p", "bdfhilnsvw"),
    "paste": ("sz", "d"), "printf": ("", ""), "pwd": ("LP", ""), "rev": ("", ""), "seq": ("w", "fs"),
    "sort": ("CMVbcdfghimnrsuz", "kt"), "tac": ("br", "s"), "tail": _ENDS,
    "test": ("GLNOSabcdefghklnopqrstuwxz", ""), "tr": ("Ccdst", ""), "true": ("", ""),
    "uniq": ("Dcdiuz", "fsw"), "wc": ("Lclmw", ""),
}  # fmt: skip
"""Programs that read what their arguments name, and nothing else, with these options: those that stand
alone, and those that take a text. With any other, nobody knows."""
MENTIONED = 512
"""Files named in a command whose labels are looked up; with more, nobody knows."""
LONGEST = 4_096
"""Bytes of a path."""
PARSED = 8_192
"""Characters of a command that are looked at."""
COULD_BE_SECRET = Label(trust="self", secrecy="secret")
"""Of what a command prints whose patterns match more than can be looked at."""
ONLINE = Label(trust="third_party", origins=("command",))
"""Of what a command prints that could have asked anybody for it."""

_SIMPLE = re.compile(r"[A-Za-z0-9_./,:=@%+ '\"\t|&;#-]*\Z")
"""Without expansion, substitution or redirection."""
_DIGITS = "0123456789"
_SEPARATORS = re.compile(r"\|\||&&|[|;&]")
_JOINS = re.compile(r"[<>|&;()`]+")


class Place(Protocol):
    """Where calls run: a bench, or the context of a call."""

    @property
    def workdir(self) -> Path: ...
    @property
    def labels(self) -> Labels | None: ...
    @property
    def commands(self) -> Commands: ...


def worth_keeping(label: Label) -> bool:
    """Is it above what the owner's files have anyway?"""
    return label.tainted or label.secrecy == "secret"


def read_label(touches: Sequence[Touch], command: str | None, place: Place) -> Label:
    """Of what a call could learn from files."""
    if place.labels is None:
        return UNKNOWN
    label = SELF
    for touch in touches:
        label = label.join(place.labels.of(touch.path))
    return label if command is None else label.join(command_label(command, place))


def command_label(command: str, place: Place) -> Label:
    """Of what a command could learn: from the files that it names and, where it cannot be told that
    those are all, from everything in its folder, and from the network where it has one."""
    if place.labels is None:
        return UNKNOWN
    label = SELF
    if not reads_what_it_names(command):
        for folder in (place.workdir, *elsewhere(place)):
            label = label.join(place.labels.below(folder))
        if place.commands.online:
            label = label.join(ONLINE)
    for count, path in enumerate(_mentioned(command, place.workdir)):
        if count >= MENTIONED:
            return UNKNOWN
        label = label.join(place.labels.of(path))
    try:
        for path in globbed(command[:PARSED], place.workdir):
            label = label.join(place.labels.of(path))
    except TooMany:
        label = label.join(COULD_BE_SECRET)
    return label


def elsewhere(place: Place) -> tuple[Path, ...]:
    """Folders that commands may write to, outside the working folder."""
    others = (Path(os.path.realpath(folder)) for folder in place.commands.writable)
    return tuple(dict.fromkeys(o for o in others if not o.is_relative_to(place.workdir)))


def reads_what_it_names(command: str) -> bool:
    """Such as `cat notes.md | head`: nothing but what stands there can be in its output."""
    if len(command) > PARSED or not _SIMPLE.match(command) or "#" in command:
        return False
    try:
        parts = [shlex.split(part) for part in _SEPARATORS.split(command)]
    except ValueError:
        return False
    for words in parts:
        if not words:
            continue
        if words[0] not in PLAIN or not _known(words[1:], *PLAIN[words[0]]):
            return False
    return True


def _known(words: Sequence[str], alone: str, valued: str) -> bool:
    """Are these arguments all without an option, or with one of those?"""
    left = iter(words)
    for word in left:
        if word == "--":
            return True
        if word == "-" or not word.startswith("-"):
            continue
        for at, letter in enumerate(word[1:], 1):
            if letter in valued:
                if at == len(word) - 1:
                    next(left, None)
                break
            if letter not in alone and letter not in _DIGITS:
                return False
    return True


def _mentioned(command: str, workdir: Path) -> Iterator[Path]:
    command = command[:PARSED]
    try:
        words = shlex.split(command, comments=False)
    except ValueError:
        words = command.split()
    seen: set[str] = set()
    for word in words:
        texts = [word, word.partition("=")[2], word[2:] if word.startswith("-") else ""]
        if _JOINS.search(word):  # as in `cat a|head`
            texts += _JOINS.split(word)
        for name in (n for text in texts for n in (text, text.strip("<>|&;()\"'`"))):
            if not name or name in seen or len(name) > LONGEST:
                continue
            seen.add(name)
            # Most words name nothing: finding out where a path leads costs far more than that.
            if name[0] != "~" and not os.path.lexists(
                f"{workdir}/{name}" if name[0] != "/" else name
            ):
                continue
            with contextlib.suppress(ValueError):
                yield resolve(name, workdir)


def result_label(
    result: ToolResult, tool: Tool, effects: Sequence[str], read: Label, context: Label
) -> Label:
    """`read`: of the files it could read. `context`: of the conversation."""
    if result.label is not None:
        label = result.label
    elif origin := type(tool).origin:
        label = Label(trust="third_party", secrecy=read.secrecy, origins=(origin,)).join(read)
    elif "network" in effects:
        label = Label(trust="third_party", origins=(f"tool:{tool.name}",)).join(read)
    else:
        label = read
    if result.status != "ok" and context.tainted:
        label = label.join(context)
    return label


def seal(result: ToolResult, label: Label, artifacts: Artifacts, labels: Labels | None) -> None:
    """What a result keeps in artifacts has its label."""
    kept = [p.artifact for p in result.parts if isinstance(p, Image)]
    if result.artifact is not None:
        kept.append(result.artifact)
    for artifact in kept if labels is not None else ():
        assert labels is not None
        try:
            labels.seal(artifacts.path(artifact), label)
        except PerdureError:  # not an artifact of this store: read back, it has the session's label
            continue


def printed_label(process: Process, labels: Labels | None, context: Label) -> Label:
    """Of what a background process has printed: also of what it has heard since it began."""
    if labels is not None and (heard := labels.running(process.key)) is not None and heard.tainted:
        labels.seal(process.output, heard)  # it outlasts the run
    return artifact_label(process.output, labels, context)


def artifact_label(path: Path, labels: Labels | None, context: Label) -> Label:
    """Of an artifact of the session's own, which can hold no more than the session does."""
    sealed = labels.sealed(path) if labels is not None else None
    return sealed if sealed is not None else SELF.join(context)
