"""What a shell line comes to: the commands that would run, and what is not known about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

HOLE = "\uffff"
"""Stands for text that only the run tells. No character of a command: such text is not understood."""

How = Literal["direct", "substitution", "function", "wrapper", "later"]
"""`direct`: as it stands. `substitution`: within `$( )`, backticks, `<( )` or `>( )`. `function`: in the
body of one. `wrapper`: another command of the line runs it (`env`, `xargs`, `sh -c` …). `later`: on a
signal, at the end (`trap`)."""


class Word(NamedTuple):
    """One word of a command."""

    text: str | None
    """As the program gets it; None where only the run tells."""
    shape: str
    """The same with a HOLE for each part that is not known."""
    many: bool = False
    """It may become several words, or none."""
    glob: str = ""
    """A pattern of file names, as it was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command that the line would run."""

    words: tuple[Word, ...]
    how: How = "direct"
    via: tuple[str, ...] = ()
    """Names of the commands that run it, outermost first."""
    builtin: bool = False
    """The shell itself does it, or a function of the line."""
    transparent: bool = False
    """It does nothing but run another command, which is in the list as well."""
    program: str = ""
    """Path of the program that would run now; empty: none was found, or it is a builtin."""
    foreign: str = ""
    """Why the program's name does not vouch for it: given by path, or found outside the system's folders."""
    executes: str = ""
    """What code it runs that the line does not show; empty: none."""
    loose: str = ""
    """Why a pattern with wildcards does not bound what it does, though it runs no other code."""
    reads: tuple[str, ...] = ()
    """Absolute paths it is known to read: redirections, and arguments of programs that are known."""
    writes: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    """Those of them that stand in redirections or options, so that no pattern of arguments bounds them."""
    assigns: tuple[str, ...] = ()
    """Variables set for it alone."""

    def located(self, program: str, foreign: str) -> Command:
        """The same with where its name leads. Once for each command of each line: `replace` takes longer."""
        return Command(
            words=self.words, how=self.how, via=self.via, builtin=self.builtin,
            transparent=self.transparent, program=program, foreign=foreign, executes=self.executes,
            loose=self.loose, reads=self.reads, writes=self.writes, opens=self.opens, assigns=self.assigns,
        )  # fmt: skip

    @property
    def argv(self) -> tuple[str | None, ...]:
        return tuple(word.text for word in self.words)

    @property
    def name(self) -> str:
        """The program's bare name; empty when it is not known."""
        text = self.words[0].text if self.words else None
        return "" if text is None else text.rpartition("/")[2]

    @property
    def text(self) -> str:
        """Its words with one space between them, HOLE where something is not known."""
        return " ".join(word.shape for word in self.words)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """A shell line."""

    text: str
    commands: tuple[Command, ...] = ()
    """All that would or might run, in the order in which they stand."""
    unknown: tuple[str, ...] = ()
    """Why the line is not wholly understood; it may run commands besides those listed."""
    folders: tuple[str, ...] = ()
    """Where its commands may work: the working directory, and where `cd` leads."""
    steers: tuple[tuple[str, str | None], ...] = ()
    """Variables that decide what programs run, each time with the value they get; None where only the run
    tells. Of each of them `unknown` speaks as well."""

    @property
    def understood(self) -> bool:
        return not self.unknown
