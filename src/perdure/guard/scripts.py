"""Which scripts the commands of a shell line run, as far as its text tells, so that an approval covers their
content.

Bound are scripts that are executed by their path, sourced, or given to an interpreter, the programs that
words name, and whatever looks like a script. Data files are not, or an approval would be void whenever a
log has grown. What a script loads or runs in turn is not looked at.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .binding import content_at, digest_of, identity_of
from .shell import HOLE, Command, Parsed, Word, parse

MAX_WORDS = 400
"""Words of a line that are looked at."""
MAX_BASES = 8
"""Folders in which its words may be meant, after `cd`."""
MAX_DEPTH = 3
"""Of commands within `su -c` and its like."""
SCRIPTS = frozenset(
    (".sh", ".bash", ".py", ".js", ".mjs", ".ts", ".pl", ".rb", ".php", ".lua", ".awk", ".mk")
)

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "fish", "ash", "csh", "tcsh", "su", "ssh"))
_INTERPRETERS = _SHELLS | frozenset(
    (".", "source", "python", "pypy", "perl", "ruby", "node", "nodejs", "deno", "bun", "php", "lua",
     "luajit", "Rscript", "julia", "tclsh", "wish", "expect", "osascript", "groovy", "scala", "java",
     "pwsh", "guile", "escript", "elixir", "sqlite3", "gdb", "ed", "ex", "make", "gmake", "just", "ninja")
)  # fmt: skip
_BY_FILE = frozenset(("make", "gmake", "just", "ninja", "npm", "npx", "pnpm", "yarn", "cargo", "go", "tox",
                      "nox", "pytest", "rake", "ant", "gradle", "mvn", "bazel", "uv", "poetry", "pre-commit",
                      "docker-compose"))  # fmt: skip
"""They run what files of the project say that no word names."""
_HIDING = frozenset(
    ("eval", "xargs", "parallel", "find", "alias", "trap", "coproc", "watch", "entr")
)
_BY_OPTION = frozenset(("awk", "gawk", "mawk", "sed", "make", "gmake"))
"""Their option `-f` names a script."""
_FOLDER_OPTIONS = ("-C", "--chdir", "--directory")
_CODE = {
    "perl": "eE",
    "ruby": "e",
    "node": "ep",
    "nodejs": "ep",
    "php": "r",
    "lua": "e",
    "python": "c",
}
_VAGUE = re.compile(r"[$`*?\[{~]")
_LOOSE_WORDS = re.compile(r"[\s;&|()<>'\"`=]+")
_VALUES = re.compile(r"(?:^|(?<=[\s;&|(]))([A-Za-z_]\w*)\+?=([^\s;&|()<>'\"`]*)")
_STEERS = re.compile(r"(\w+) is set, which decides what programs run\Z")
_QUIET = re.compile(r"-[abBiInlpqsSuvwO]+")
"""Options of interpreters that name no code: before code that the line shows they change nothing."""
_OTHERWISE = frozenset(
    ("su", "ssh", "make", "gmake", "just", "ninja", "sqlite3", "gdb", "ed", "ex", "expect")
)
"""They also run what other words than their first one say, or what runs elsewhere."""
_TOLD_HERE = re.compile(r"it goes on with the commands of |what is piped into ")
"""Of a line that is not understood: of this it is said here whether it is covered."""


@dataclass(slots=True)
class Scripts:
    """What an approval of a command rests on."""

    bound: dict[str, bytes] = field(default_factory=dict)
    """By path: a digest of the content, or that there is nothing."""
    programs: dict[str, bytes] = field(default_factory=dict)
    """The same of those that words name by PATH."""
    uncovered: dict[str, None] = field(default_factory=dict)
    """Why some of what it runs is not covered."""

    def digest(self, *, named: bool) -> bytes:
        """`named`: with the programs that words name."""
        said = {**self.bound, **self.programs} if named else self.bound
        return digest_of(
            itertools.chain.from_iterable((os.fsencode(path), one) for path, one in said.items())
        )

    def note(self) -> str:
        """For the owner; empty when there is nothing to say."""
        if not self.uncovered:
            return ""
        return f"[scripts not covered by this approval: {'; '.join(self.uncovered)}]"


def scripts_of(parsed: Parsed, workdir: Path, *, search: str | None = None) -> Scripts:
    """`search`: the PATH by which words name programs; None: those are bound elsewhere. Never raises. Reads
    files; blocking."""
    found = Scripts()
    _line(parsed, [os.path.realpath(workdir)], found, 0)
    # Whatever stands in quotes or was not understood, word by word.
    words = [w for w in _LOOSE_WORDS.split(parsed.text) if w]
    if len(words) > MAX_WORDS:
        found.uncovered[f"what stands after {MAX_WORDS} words"] = None
    for word in dict.fromkeys(words[:MAX_WORDS]):
        _bind(word, [os.path.realpath(workdir)], found, wanted=False)
        if search is not None and "/" not in word and (program := shutil.which(word, path=search)):
            found.programs[program] = identity_of(Path(program))
    return found


def _line(parsed: Parsed, bases: list[str], found: Scripts, depth: int) -> None:
    for folder in parsed.folders:
        _enter(folder, bases, found)
    # A variable is set as often as the line likes, each time for another command.
    steered = {name: True for name, _ in parsed.steers}
    for name, path in parsed.steers:
        steered[name] &= path is not None and "/" in path and not _VAGUE.search(path)
    for reason in parsed.unknown:
        steers = _STEERS.match(reason)
        bindable = steers is not None and steered.get(steers[1], False)
        if not bindable and not _TOLD_HERE.match(reason):
            found.uncovered[reason] = None
    written = (value for _, value in _VALUES.findall(parsed.text))
    for value in dict.fromkeys((*(path or "" for _, path in parsed.steers), *written)):
        _bind(value, bases, found, wanted="/" in value)  # BASH_ENV=./x and its like
    if len(parsed.commands) > MAX_WORDS:
        found.uncovered[f"what runs after {MAX_WORDS} commands"] = None
    before: Command | None = None
    for command in parsed.commands[:MAX_WORDS]:
        if command.how == "substitution":
            found.uncovered["the shell puts some of its words together"] = None
        told = _command(command, before, bases, found, depth)
        if command.executes and not told:
            found.uncovered[command.executes] = None
        if not command.transparent:
            before = command


def _command(
    command: Command, before: Command | None, bases: list[str], found: Scripts, depth: int
) -> bool:
    """Is the code that it runs bound, shown by the line, or said to be neither?"""
    words = command.words[:MAX_WORDS]
    if not words:
        return False
    first = _text(words[0])
    if not first:
        found.uncovered[f"what {_shown(words[0])} becomes"] = None
    elif "/" in first:
        _bind(first, bases, found, wanted=True)
    for one, word in itertools.pairwise(map(_text, words)):
        if one in _FOLDER_OPTIONS or word.startswith(("--chdir=", "--directory=")):
            _enter(word.split("=", 1)[-1], bases, found)
        if one in ("-f", "--file") and first in _BY_OPTION:
            _bind(word, bases, found, wanted=True)
    dashed = {word for word in map(_text, words[1:]) if word[:1] in ("-", "")}
    told = first in _BY_OPTION and bool(dashed) and dashed <= {"-f", "--file"}
    for at, word in enumerate(map(_text, words)):
        name = PurePosixPath(word).name
        if name in _BY_FILE or (name in _HIDING and at == 0):
            found.uncovered[f"what {name} runs"] = None
            told = told or at == 0
        _bind(word, bases, found, wanted=False)
    for at, word in enumerate(map(_text, words)):
        # `.` is an interpreter only where it is the command.
        if (name := _interpreter(word)) and (at == 0 or word != "."):
            known = _interpreted(name, words[at + 1 :], command, before, bases, found, depth)
            told = told or (at == 0 and known and name not in _OTHERWISE)
    return told


def _interpreted(
    name: str,
    arguments: Sequence[Word],
    command: Command,
    before: Command | None,
    bases: list[str],
    found: Scripts,
    depth: int,
) -> bool:
    """Which of an interpreter's arguments is its script: the first that is no option, and since it is not
    known which options take a value, what follows an option may be it or not. Is it bound, shown by the
    line, or noted?"""
    if name == "su":  # its first argument is somebody's name
        for one, given in itertools.pairwise(arguments):
            if _text(one) in ("-c", "--command"):
                _inner(given, command, bases, found, depth)
        return False
    code = "c" if name in _SHELLS else _CODE.get(name, "")
    after_option = candidate = False
    for at, given in enumerate(arguments):
        word = _text(given)
        if word.startswith(("-", "+")) and len(word) > 1:
            after_option = True
            short = word[1:] if word[1] != "-" else ""
            if (
                code
                and set(short) & set(code)
                and not set(short) - set("abcdefhiklmnprstuvxBCEHPTlO0")
            ):
                if name in _SHELLS and at + 1 < len(arguments):
                    _inner(arguments[at + 1], command, bases, found, depth)
                return _shows(name, arguments, at, attached=short[-1] not in code)
            if name == "python" and (short.startswith("m") or short.endswith("m")):
                module = short[1:] or " ".join(_shown(w) for w in arguments[at + 1 : at + 2])
                found.uncovered[f"module {module[:60]}"] = None
                return True
            if "=" in word:
                _bind(word.split("=", 1)[1], bases, found, wanted=True, told=True)
            continue
        if not word:
            found.uncovered[f"what {_shown(given)} becomes"] = None
        there = _bind(word, bases, found, wanted=True, told=after_option or candidate)
        if not after_option:
            return True
        candidate = candidate or there
        after_option = False
    if command.reads:
        for path in command.reads:
            _bind(path, bases, found, wanted=True)
        return True
    if before is not None:
        fed = [_text(w) for w in before.words]
        if fed[0] == "cat" and all(fed):
            for word in fed[1:]:
                _bind(word, bases, found, wanted=True)
        else:
            found.uncovered[f"what is piped into {name}"] = None
        return True
    return candidate


def _shows(name: str, arguments: Sequence[Word], at: int, *, attached: bool) -> bool:
    """Does the line show all code that an interpreter runs by its option `at`?"""
    if not attached and (at + 1 >= len(arguments) or arguments[at + 1].text is None):
        return False
    # For Python and shells the rest are arguments of that code.
    rest = () if name == "python" or name in _SHELLS else arguments[at + 1 + (not attached) :]
    options = (*arguments[:at], *(w for w in rest if _text(w)[:1] in ("-", "")))
    return all(_QUIET.fullmatch(_text(w)) for w in options)


def _inner(given: Word, command: Command, bases: list[str], found: Scripts, depth: int) -> None:
    """The commands in an argument of a shell. Of one that is known they stand in the line."""
    text = _text(given)
    if command.transparent:
        return
    if depth >= MAX_DEPTH or not text:
        found.uncovered["commands within commands"] = None
        return
    _line(parse(text, workdir=Path(bases[0])), bases, found, depth + 1)


def _text(word: Word) -> str:
    """Empty where only the run tells, or where it is a pattern."""
    return "" if word.text is None or word.glob else word.text


def _shown(word: Word) -> str:
    return (word.glob or word.shape.replace(HOLE, "…") or "it")[:60]


def _interpreter(word: str) -> str:
    """Its plain name: `python` for python3.12. Empty: it is none."""
    name = PurePosixPath(word).name if word != "." else "."
    plain = re.sub(r"[\d.]+\Z", "", name) or name
    return plain if plain in _INTERPRETERS else ""


def _enter(folder: str, bases: list[str], found: Scripts) -> None:
    if not folder or folder == "-" or len(bases) >= MAX_BASES:
        found.uncovered["which folder it changes to"] = None
        return
    for path in list(_paths(folder, bases)):
        real = os.path.realpath(path)
        if real not in bases and len(bases) < MAX_BASES:
            bases.append(real)


def _paths(word: str, bases: Sequence[str]) -> Iterator[str]:
    for base in bases:
        yield os.path.join(base, os.path.expanduser(word))  # noqa: PTH111, PTH118


def _bind(
    word: str,
    bases: list[str],
    found: Scripts,
    *,
    wanted: bool,
    told: bool = False,
) -> bool:
    """Is it a file? `wanted`: it runs, whatever it looks like, now or once it is there. `told`: not
    worth a note if it is none."""
    if not word or "\0" in word or len(word) > 4_096:
        return False
    there = False
    paths = list(dict.fromkeys(_paths(word, bases)))
    for path in paths:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
                continue
            there = True
            if path in found.bound:
                continue
            if wanted or _looks_like_script(path):
                real = os.path.realpath(path)
                found.bound[path] = digest_of([os.fsencode(real), content_at(Path(real))])
        except (OSError, ValueError):
            continue
    if wanted:
        for path in paths:  # whichever of them it will be
            found.bound.setdefault(path, b"absent")
        if not there and not told:
            found.uncovered[f"{word[:60]}, which is not there"] = None
    return there


def _looks_like_script(path: str) -> bool:
    if PurePosixPath(path).suffix in SCRIPTS or os.access(path, os.X_OK):
        return True
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return os.read(fd, 2) == b"#!"
    finally:
        os.close(fd)
