"""What a line does, command by command: who runs whom, where it works, what it sets."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .context import Context
from .lexer import Redirection, Simple
from .model import HOLE, Command, Word
from .plain import KEYWORDS, plain_line
from .reader import Reader
from .variables import HARMLESS, risky

MAX_TEXT = 64 << 10
"""Characters of a line; a longer one is not looked at."""
MAX_COMMANDS = 500
MAX_FOLDERS = 8
MAX_SCRIPTS = 12
"""Texts within texts: `sh -c "sh -c …"`."""
_UNHARMED = re.compile(r"/dev/(?:null|stdin|stdout|stderr|tty|zero|u?random|fd/.*)\Z", re.S)
_NETWORK = re.compile(r"/dev/(?:tcp|udp)/")


@dataclass(slots=True)
class Outcome:
    """What a program makes of its arguments."""

    executes: str = ""
    loose: str = ""
    transparent: bool = False
    reads: Sequence[Word] = ()
    writes: Sequence[Word] = ()
    opens: Sequence[Word] = ()
    """Files that options name, which a pattern of arguments does not bound. Written to."""


@dataclass(slots=True)
class Call:
    """A command whose program is known by name."""

    scene: Scene
    name: str
    args: Sequence[Word]
    context: Context
    assigns: tuple[str, ...]

    def unknown(self, reason: str) -> None:
        self.scene.unclear(reason)

    def run(self, words: Sequence[Word], *, stdin: str | None = None) -> None:
        """These words are a command that it runs."""
        context = self.context._replace(
            how="wrapper", via=(*self.context.via, self.name), opened=()
        )
        if stdin is not None:
            context = context._replace(stdin=stdin, given=None)
        self.scene.command(words, context, self.assigns, shell=False)

    def script(self, text: str, *, dialect: str = "sh", later: bool = False) -> None:
        """This text is a shell script that it runs."""
        context = self.context._replace(
            how="later" if later else "wrapper", via=(*self.context.via, self.name), opened=()
        )
        self.scene.script(text, context, dialect=dialect)


Handler = Callable[[Call], Outcome]


@dataclass(slots=True)
class Scene:
    """Collects what a line comes to."""

    workdir: str
    bash: bool = True
    commands: list[Command] = field(default_factory=list)
    unknown: dict[str, None] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    folders: list[str] = field(default_factory=list)
    steers: dict[tuple[str, str | None], None] = field(default_factory=dict)
    called: set[int] = field(default_factory=set)
    """Which commands call a function, by their place in the list."""
    _evaluated: set[str] = field(default_factory=set)
    _unsafe: set[str] = field(default_factory=set)
    """Variables whose value may be anything."""
    _exported: tuple[str, ...] = ()
    _scripts: int = 0

    def __post_init__(self) -> None:
        self.folders.append(self.workdir)

    # What is read -------------------------------------------------------------------------------

    def unclear(self, reason: str) -> None:
        self.unknown[reason] = None

    def evaluated(self, names: set[str]) -> None:
        self._evaluated |= names
        if bad := sorted(filter(risky, names)):
            # Arithmetic may set it, too.
            self.unclear(f"{bad[0]} is used in arithmetic, and decides what programs run")

    def function(self, name: str) -> None:
        self.functions.add(name)

    def given(self, name: str, value: Word | None) -> None:
        if risky(name):
            self.steered(name, value)
        if value is None or value.text is None or not re.fullmatch(r"-?\d*", value.text):
            self._unsafe.add(name)

    def steered(self, name: str, value: Word | None) -> None:
        """A variable is set that decides what programs run."""
        self.unclear(f"{name} is set, which decides what programs run")
        self.steers[name, None if value is None or value.glob else value.text] = None

    def finish(self) -> None:
        if bad := sorted(self._evaluated & self._unsafe):
            self.unclear(f"arithmetic evaluates {bad[0]}, whose value may be a command")

    def script(self, text: str, context: Context, *, dialect: str = "bash") -> None:
        """A text that a shell reads."""
        self._scripts += 1
        if self._scripts > MAX_SCRIPTS:
            self.unclear("texts within texts")
            return
        if reason := strange(text):
            self.unclear(reason)
            return
        if dialect not in ("bash", "sh") and not _plain_for_any_shell(text):
            self.unclear(f"{dialect} may read this text in its own way")
        if (words := plain_line(text)) is not None:
            self.simple(Simple([], words, []), context)
            return
        try:
            Reader(text, self, bash=dialect != "sh", depth=self._scripts).read(context)
        except RecursionError:
            self.unclear("it is nested too deeply")

    def simple(self, found: Simple, context: Context) -> None:
        reads, writes, context = self._redirections(found.redirections, context)
        names: list[str] = []
        for name, value in found.assignments:
            self.given(name, value)
            if HARMLESS.match(name) is None:
                names.append(name)
        if not found.words:
            if any(name.isupper() or name in os.environ for name in names):
                # It may be in the environment already, and then it is changed for what follows.
                self._export(names)
            if reads or writes:
                opens = (*reads, *writes)
                self._add(Command(words=(Word(":", ":"),), how=context.how, via=context.via, builtin=True,
                                  reads=tuple(reads), writes=tuple(writes), opens=opens))  # fmt: skip
            return
        self.command(found.words, context, tuple(names), reads=reads, writes=writes)

    def _export(self, names: Iterable[str]) -> None:
        self._exported = tuple(dict.fromkeys((*self._exported, *names)))

    export = _export

    # Commands -----------------------------------------------------------------------------------

    def command(
        self,
        words: Sequence[Word],
        context: Context,
        assigns: tuple[str, ...] = (),
        *,
        reads: Sequence[str] = (),
        writes: Sequence[str] = (),
        shell: bool = True,
    ) -> None:
        """Words that are run as a command. `shell`: by a shell, which knows builtins and functions."""
        if not words:
            return
        if len(self.commands) >= MAX_COMMANDS:
            self.unclear("it has too many commands")
            return
        first = words[0].text
        assigns = (*self._exported, *assigns)
        place = len(self.commands)
        if not first:
            self.unclear("which program runs is only known when it does")
            self._add(Command(words=tuple(words), how=context.how, via=context.via, assigns=assigns,
                              reads=tuple(reads), writes=tuple(writes), opens=(*reads, *writes)))  # fmt: skip
            return
        if shell and first in KEYWORDS:
            self.unclear(f"{first} where a command is expected")
        from .programs import handler

        draft = Command(words=tuple(words), how=context.how, via=context.via)
        self._add(draft)
        if shell and first in self.functions:
            self.called.add(place)
        found, builtin = handler(first, shell=shell)
        call = Call(self, draft.name, words[1:], context, assigns)
        outcome = found(call) if found is not None else Outcome()
        opened = self._paths(outcome.opens)
        if outcome.transparent and len(self.commands) == place + 1:
            outcome.transparent = False  # it runs nothing
        if outcome.transparent and (reads or writes):
            # What it runs has the same files open.
            for n in range(place + 1, len(self.commands)):
                self.commands[n] = _opening(self.commands[n], reads, writes)
        self.commands[place] = Command(
            words=draft.words,
            how=context.how,
            via=context.via,
            builtin=builtin,
            transparent=outcome.transparent,
            executes=outcome.executes,
            loose=outcome.loose,
            reads=(*reads, *self._paths(outcome.reads)),
            writes=(*writes, *opened, *self._paths(outcome.writes)),
            opens=(*reads, *writes, *opened),
            assigns=assigns,
        )

    def _add(self, command: Command) -> None:
        self.commands.append(command)

    def enter(self, folder: str) -> None:
        """Some of what follows may work in another folder."""
        folder = os.path.expanduser(folder)  # noqa: PTH111
        for base in list(self.folders):
            path = os.path.normpath(os.path.join(base, folder))  # noqa: PTH118
            if path not in self.folders:
                if len(self.folders) >= MAX_FOLDERS:
                    self.unclear("it changes folders too often")
                    return
                self.folders.append(path)

    # Redirections -------------------------------------------------------------------------------

    def _redirections(
        self, redirections: Sequence[Redirection], context: Context
    ) -> tuple[list[str], list[str], Context]:
        reads: list[str] = []
        writes: list[str] = []
        if not redirections and not context.opened:
            return reads, writes, context
        stdin, given = context.stdin, context.given
        for n, one in enumerate((*context.opened, *redirections)):
            own = n >= len(context.opened)
            operator, target = one.operator, one.target
            if operator == "<<<":
                stdin, given = ("text", target.text) if own else (stdin, given)
                continue
            if operator in ("<&", ">&") and re.fullmatch(r"\d*-?", target.shape):
                if operator == "<&" and own:
                    stdin, given = "file", None
                continue
            if own and operator in ("<", "<>", "<&"):
                stdin, given = "file", None
                if target.text == "/dev/null":
                    stdin = ""
            if _UNHARMED.match(target.shape):
                continue
            if _NETWORK.match(target.shape):
                self.unclear("it opens a network connection")
            if target.text is None:
                self.unclear("it redirects to a file that is only known when it runs")
                continue
            paths = self._paths((target,))
            if operator in ("<", "<>", "<&"):
                reads += paths
            if operator not in ("<", "<&"):
                writes += paths
        return reads, writes, context._replace(stdin=stdin, given=given, opened=())

    def _paths(self, words: Sequence[Word]) -> list[str]:
        """Absolute, in every folder in which they may be meant."""
        found: dict[str, None] = {}
        for word in words:
            if word.text is None or not word.text or "\0" in word.text:
                continue
            for folder in self.folders:
                found[os.path.normpath(os.path.join(folder, word.text))] = None  # noqa: PTH118
        return list(found)


def _opening(command: Command, reads: Sequence[str], writes: Sequence[str]) -> Command:
    return dataclasses.replace(
        command,
        reads=(*command.reads, *reads),
        writes=(*command.writes, *writes),
        opens=(*command.opens, *reads, *writes),
    )


def strange(text: str) -> str:
    """Why a text is not even looked at."""
    if len(text) > MAX_TEXT:
        return "it is too long"
    if HOLE in text or not text.replace("\n", "").replace("\t", "").isprintable():
        return "it holds characters that cannot be seen"
    return ""


def _plain_for_any_shell(text: str) -> bool:
    """Every shell reads this as bash does."""
    return re.fullmatch(r"(?:(?![=~])[\w./:@%+,-][\w./:@%+,=-]*[ \t]*|(?:&&|;)[ \t]*|\|[ \t]+)*", text,
                        re.A) is not None  # fmt: skip
