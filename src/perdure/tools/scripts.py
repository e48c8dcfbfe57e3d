"""Which scripts a shell command runs, as far as its text tells, so that an approval covers their content.

Bound are scripts that are executed by their path, sourced, or given to an interpreter, the programs a
command names, and whatever looks like a script. Data files are not, or an approval would be void whenever
a log has grown. What a script loads or runs in turn is not looked at.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MAX_WORDS = 400
"""Words of a command that are looked at."""
MAX_BASES = 8
"""Folders in which its words may be meant, after `cd`."""
MAX_HASHED = 1 << 30
"""Bytes that are read in all; of what goes beyond, size, times and identity are bound."""
MAX_DEPTH = 3
"""Of commands within `sh -c`."""
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
_CODE = {
    "perl": "eE",
    "ruby": "e",
    "node": "ep",
    "nodejs": "ep",
    "php": "r",
    "lua": "e",
    "python": "c",
}
_VAGUE = re.compile(r"[$`*?\[{]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_SUBSTITUTION = re.compile(r"`|\$\(|<\(|>\(")
_OPERATORS = frozenset(";&|()<>")


@dataclass(slots=True)
class Scripts:
    """What an approval of a command rests on."""

    bound: dict[str, bytes] = field(default_factory=dict)
    """By path: a digest of the content, or that there is nothing."""
    uncovered: dict[str, None] = field(default_factory=dict)
    """Why some of what it runs is not covered."""
    left: int = MAX_HASHED
    """Bytes that may still be read."""

    def digest(self) -> bytes:
        return b"".join(os.fsencode(path) + b"\0" + said for path, said in self.bound.items())

    def note(self) -> str:
        """For the owner; empty when there is nothing to say."""
        if not self.uncovered:
            return ""
        return f"[scripts not covered by this approval: {'; '.join(self.uncovered)}]"


def programs(command: str, workdir: Path) -> bytes:
    """What an approval of the command covers besides its text. Reads files; blocking."""
    return scripts_of(command, workdir).digest()


def scripts(command: str, workdir: Path) -> bytes:
    """The same without the programs that it names, for who knows them better. Reads files; blocking."""
    return scripts_of(command, workdir, named=False).digest()


def scripts_of(command: str, workdir: Path, *, named: bool = True) -> Scripts:
    """`named`: with the programs that stand in its words. Never raises."""
    found = Scripts()
    _look(command, [os.path.realpath(workdir)], found, 0)
    # Whatever stands in quotes or cannot be parsed, word by word.
    words = [w for w in re.split(r"[\s;&|()<>'\"`=]+", command) if w]
    if len(words) > MAX_WORDS:
        found.uncovered["the command is too long to be looked through"] = None
    for word in dict.fromkeys(words[:MAX_WORDS]):
        _bind(word, [os.path.realpath(workdir)], found, wanted=False)
        if named and "/" not in word and (program := shutil.which(word)):
            found.bound[program] = _identity(program)
    return found


def _look(command: str, bases: list[str], found: Scripts, depth: int) -> None:
    if _SUBSTITUTION.search(command):
        found.uncovered["the shell puts some of its words together"] = None
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        found.uncovered["it cannot be parsed"] = None
        return
    before: list[str] = []
    for part, fed, operator in _parts(words[:MAX_WORDS]):
        _part(
            part,
            fed,
            before if operator.startswith("|") and operator != "||" else None,
            bases,
            found,
            depth,
        )
        before = part


def _parts(words: list[str]) -> Iterator[tuple[list[str], list[str], str]]:
    """The simple commands of a line: words, files it reads from, and the operator before it."""
    current: list[str] = []
    fed: list[str] = []
    operator, redirect = "", ""
    for word in [*words, ";"]:
        if word and set(word) <= _OPERATORS:
            if set(word) & {"<", ">"}:
                redirect = word
                continue
            if current or fed:
                yield current, fed, operator
            current, fed, operator, redirect = [], [], word, ""
        elif redirect:
            if redirect == "<":
                fed.append(word)
            redirect = ""
        else:
            current.append(word)


def _part(
    words: list[str],
    fed: list[str],
    piped: list[str] | None,
    bases: list[str],
    found: Scripts,
    depth: int,
) -> None:
    while words and (words[0] in ("if", "then", "else", "elif", "do", "while", "until", "!", "{", "time")
                     or _ASSIGNMENT.match(words[0])):  # fmt: skip
        if _ASSIGNMENT.match(words[0]):  # BASH_ENV=./x and its like
            _bind(words[0].split("=", 1)[1], bases, found, wanted="/" in words[0])
        words = words[1:]
    if not words:
        return
    if words[0] in ("cd", "pushd"):
        _enter(words[1] if len(words) > 1 else "~", bases, found)
        return
    if "/" in words[0]:
        _bind(words[0], bases, found, wanted=True)
    elif _VAGUE.search(words[0]):
        found.uncovered[f"what {words[0][:60]} becomes"] = None
    for before, word in itertools.pairwise(words):
        if before in ("-C", "--chdir", "--directory") or word.startswith(
            ("--chdir=", "--directory=")
        ):
            _enter(word.split("=", 1)[-1], bases, found)
        if before in ("-f", "--file") and words[0] in (
            "awk",
            "gawk",
            "mawk",
            "sed",
            "make",
            "gmake",
        ):
            _bind(word, bases, found, wanted=True)
    for word in words:
        name = PurePosixPath(word).name
        if name in _BY_FILE or (name in _HIDING and word == words[0]):
            found.uncovered[f"what {name} runs"] = None
        _bind(word, bases, found, wanted=False)
    at = [n for n, word in enumerate(words) if _interpreter(word)]
    # `.` is an interpreter only where it is the command.
    at = [n for n in at if n == 0 or words[n] != "."]
    for n in at:
        _interpreted(_interpreter(words[n]), words[n + 1 :], fed, piped, bases, found, depth)


def _interpreted(
    name: str,
    arguments: list[str],
    fed: list[str],
    piped: list[str] | None,
    bases: list[str],
    found: Scripts,
    depth: int,
) -> None:
    """Which of an interpreter's arguments is its script: the first that is no option, and since it is not
    known which options take a value, what follows an option may be it or not."""
    code = "c" if name in _SHELLS else _CODE.get(name, "")
    after_option = candidate = False
    for at, word in enumerate(arguments):
        if word.startswith(("-", "+")) and len(word) > 1:
            after_option = True
            short = word[1:] if word[1] != "-" else ""
            if (
                code
                and set(short) & set(code)
                and not set(short) - set("abcdefhiklmnprstuvxBCEHPTlO0")
            ):
                if name in _SHELLS and at + 1 < len(arguments):
                    if depth < MAX_DEPTH:
                        _look(arguments[at + 1], bases, found, depth + 1)
                    else:
                        found.uncovered["commands within commands"] = None
                return
            if name == "python" and (short.startswith("m") or short.endswith("m")):
                module = short[1:] or " ".join(arguments[at + 1 : at + 2])
                found.uncovered[f"module {module[:60]}"] = None
                return
            if "=" in word:
                _bind(word.split("=", 1)[1], bases, found, wanted=False, anything=True)
            continue
        if _VAGUE.search(word):
            found.uncovered[f"what {word[:60]} becomes"] = None
        there = _bind(word, bases, found, wanted=not after_option, anything=True, told=candidate)
        if not after_option:
            return
        candidate = candidate or there
        after_option = False
    for word in fed:
        _bind(word, bases, found, wanted=True)
    if piped is not None:
        if piped and piped[0] == "cat" and not any(_VAGUE.search(w) for w in piped):
            for word in piped[1:]:
                _bind(word, bases, found, wanted=True)
        else:
            found.uncovered[f"what is piped into {name}"] = None


def _interpreter(word: str) -> str:
    """Its plain name: `python` for python3.12. Empty: it is none."""
    name = PurePosixPath(word).name if word != "." else "."
    plain = re.sub(r"[\d.]+\Z", "", name) or name
    return plain if plain in _INTERPRETERS else ""


def _enter(folder: str, bases: list[str], found: Scripts) -> None:
    if folder == "-" or _VAGUE.search(folder) or len(bases) >= MAX_BASES:
        found.uncovered["which folder it changes to"] = None
        return
    for base in list(bases):
        path = os.path.realpath(os.path.join(base, os.path.expanduser(folder)))  # noqa: PTH111, PTH118
        if path not in bases and len(bases) < MAX_BASES:
            bases.append(path)


def _bind(
    word: str,
    bases: list[str],
    found: Scripts,
    *,
    wanted: bool,
    anything: bool = False,
    told: bool = False,
) -> bool:
    """Is it a file? `wanted`: it runs, whatever it looks like, now or once it is there. `anything`: bound
    if it is a file. `told`: not worth a note if it is none."""
    if not word or "\0" in word or len(word) > 4_096:
        return False
    there = False
    paths = [os.path.join(base, os.path.expanduser(word)) for base in bases]  # noqa: PTH111, PTH118
    for path in dict.fromkeys(paths):
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
                continue
            there = True
            if path in found.bound:
                continue
            if wanted or anything or _looks_like_script(path):
                found.bound[path] = _content(path, found)
        except (OSError, ValueError):
            continue
    if wanted and not there:
        found.bound.setdefault(paths[0], b"absent")
        if not told and not _VAGUE.search(word):
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


def _content(path: str, found: Scripts) -> bytes:
    """A digest of where it is and of all that is in it."""
    digest = hashlib.blake2b(os.fsencode(os.path.realpath(path)), digest_size=16)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as file:
        while found.left > 0 and (piece := file.read(min(1 << 20, found.left))):
            digest.update(piece)
            found.left -= len(piece)
    if found.left <= 0:
        digest.update(_identity(path))
    return digest.digest()


def _identity(path: str) -> bytes:
    try:
        real = os.path.realpath(path)
        seen = os.stat(real)  # noqa: PTH116
    except OSError:
        return b"gone"
    told = (real, seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
    return hashlib.blake2b(repr(told).encode("utf-8", "replace"), digest_size=16).digest()
