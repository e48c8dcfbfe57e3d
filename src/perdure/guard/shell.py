"""What can be told of a shell command from its text, without parsing the shell's grammar.

Two questions, each answered on the safe side: is this one plain command, so that a pattern with
wildcards may allow it; and which commands does it run, so that a deny rule can be held against each.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_SPECIAL = re.compile(r"[;&|<>$`\n\r\\(){}*?\[\]!#~^\x00]|^\s*\w+\+?=")
"""Anything that may make the shell run, expand or redirect something, or sets a variable first."""

RUNS_OTHERS = frozenset(
    (
        ".", "alias", "awk", "bash", "builtin", "busybox", "bwrap", "chroot", "chrt",
        "cmake", "command", "coproc", "crontab", "csh", "dash", "deno", "doas", "docker",
        "ed", "emacs", "env", "eval", "exec", "expect", "fakeroot", "find", "fish", "flock",
        "gawk", "gdb", "git-shell", "ionice", "irb", "julia", "ksh", "lua", "make", "man",
        "mawk", "nice", "node", "nohup", "npm", "npx", "nsenter", "nvim", "osascript",
        "parallel", "perl", "php", "pip", "pipx", "pnpm", "podman", "pwsh", "python",
        "python2", "python3", "rsync", "ruby", "runuser", "screen", "script", "sed",
        "setarch", "setpriv", "setsid", "sh", "socat", "source", "sqlite3", "ssh", "stdbuf",
        "strace", "su", "sudo", "systemd-run", "tcsh", "time", "timeout", "tmux", "toybox",
        "trap", "unbuffer", "unshare", "uv", "uvx", "vi", "view", "vim", "vimdiff", "watch",
        "xargs", "xterm", "yarn", "zsh",
        "at", "batch", "bind", "bun", "capsh", "catchsegv", "choom", "chpst", "compgen", "complete",
        "daemonize", "dbus-launch", "dbus-run-session", "eatmydata", "enable", "entr", "ex", "faketime",
        "fc", "firejail", "gmake", "groovy", "guile", "hyperfine", "just", "ld.so", "logsave",
        "ltrace", "newgrp", "ninja", "nodejs", "numactl", "perf", "pkexec", "prlimit", "proxychains",
        "proxychains4", "pypy", "rlwrap", "rsh", "run-one", "run-parts", "setuidgid", "sg",
        "softlimit", "ssh-agent", "start-stop-daemon", "systemd-inhibit", "taskset", "tclsh", "torsocks",
        "trickle", "tsocks", "uftrace", "valgrind", "wish", "x-terminal-emulator",
        "xvfb-run",
    )
)  # fmt: skip
"""Programs that run what their arguments say: a wildcard cannot bound them."""

_EXECUTING_OPTIONS: dict[str, tuple[str, ...]] = {
    "apt": ("-o", "-c"),
    "apt-get": ("-o", "-c"),
    "cargo": ("--config",),
    "ctags": ("--options",),
    "curl": ("-o", "-O", "-K", "--config", "--output", "--remote-name", "-T", "--upload-file"),
    "date": ("-s", "--set"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "git": ("-c", "--config-env", "--exec-path", "--upload-pack", "--receive-pack", "--exec", "-x",
            "--ext-diff", "--textconv", "-O", "--open-files-in-pager", "-C", "--git-dir",
            "--work-tree", "--output"),
    "go": ("-exec", "-toolexec", "-vettool"),
    "less": ("+", "-o", "-O", "-k"),
    "mount": ("-o",),
    "pytest": ("-p", "-c", "--rootdir", "--pdbcls", "-o", "--confcutdir"),
    "rg": ("--pre", "--hostname-bin", "-z", "--search-zip"),
    "scp": ("-S", "-o", "-F"),
    "sftp": ("-S", "-o", "-F", "-D"),
    "sort": ("--compress-program", "-o", "--output"),
    "split": ("--filter",),
    "tar": ("--to-command", "--checkpoint-action", "-I", "--use-compress-program", "--rsh-command",
            "-F", "--info-script", "--new-volume-script", "--rmt-command"),
    "tree": ("-o",),
    "wget": ("--use-askpass", "--post-file", "--body-file", "-O", "-e", "--execute", "-i"),
    "zip": ("-T", "-TT", "--test", "--unzip-command"),
}  # fmt: skip
"""Options with which an otherwise harmless program runs another, or writes where it should read."""

_WRITING_OPTIONS: dict[str, tuple[str, ...]] = {
    "curl": ("-o", "-O", "--output", "--remote-name", "-T", "--upload-file"),
    "date": ("-s", "--set"),
    "git": ("-C", "--git-dir", "--work-tree", "--output"),
    "sort": ("-o", "--output"),
    "tree": ("-o",),
    "wget": ("--post-file", "--body-file", "-O", "-i"),
}
"""Those of them that run nothing: a wildcard does not bound them, a deny rule need not fear them."""

_RUNNING_BUILTINS: dict[str, tuple[str, ...]] = {
    "hash": ("-p",),
    "mapfile": ("-C",),
    "readarray": ("-C",),
}
_VERSIONED = re.compile(
    r"(python|pypy|ruby|perl|php|lua|node|tclsh|guile)[\d.]+|ld-linux.*|ld-musl.*"
)
_RUN_LATER = re.compile(r"(BASH_ENV|ENV|LD_\w+|DYLD_\w+|PS4|PROMPT_COMMAND|\w*(PAGER|EDITOR|VISUAL|BROWSER|"
                        r"_COMMAND|ASKPASS|_SSH|SHELL|OPENER)|GIT_CONFIG\w*|PYTHONSTARTUP|PERL5OPT|RUBYOPT|"
                        r"NODE_OPTIONS|PATH)\+?=")  # fmt: skip
"""Variables whose value programs run, load, or look for programs in."""
MAX_SUFFIXES = 24

_SUDO_LIKE = frozenset(("sudo", "doas", "env", "nohup", "nice", "time", "command", "exec", "builtin",
                        "setsid", "stdbuf", "ionice", "timeout"))  # fmt: skip
_KEYWORDS = frozenset(("if", "then", "else", "elif", "fi", "for", "do", "done", "while", "until",
                       "case", "esac", "!", "{", "}", "in", "select"))  # fmt: skip
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_NESTED = re.compile(r"[`\\]|\$[({]|\$'|<\(|>\(|<<")
"""Commands, or parts of words, may hide here, whatever quotes stand around it."""
_VAGUE = re.compile(r"[$*?\[{~]")
"""A word that the shell may turn into another."""
_PUNCTUATION = frozenset(";&|()<>")
_REDIRECTS = frozenset(("<", ">", ">>", ">&", "<&", "&>", "&>>", ">|", "<>"))


def plain_words(command: str) -> Sequence[str] | None:
    """The words of one plain command; None if the shell would do anything but run it with them."""
    if _SPECIAL.search(command):
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return words or None


def boundable(words: Sequence[str]) -> bool:
    """May a pattern with wildcards stand for this command? Not if an argument can make it run another
    program, whatever the pattern's author had in mind."""
    program = words[0]
    if "/" in program or _runs_others(program):
        return False
    options = (*_EXECUTING_OPTIONS.get(program, ()), *_RUNNING_BUILTINS.get(program, ()))
    return not any(_is_option(word, option) for word in words[1:] for option in options)


def _runs_others(program: str) -> bool:
    return program in RUNS_OTHERS or _VERSIONED.fullmatch(program) is not None


def _risky(program: str, arguments: Sequence[str]) -> bool:
    """Does an option make it run another program?"""
    harmless = _WRITING_OPTIONS.get(program, ())
    options = (*_EXECUTING_OPTIONS.get(program, ()), *_RUNNING_BUILTINS.get(program, ()))
    return any(_is_option(w, o) for w in arguments for o in options if o not in harmless)


def _is_option(word: str, option: str) -> bool:
    if option.startswith("--"):
        # GNU programs take any unique beginning of a long option.
        name = word.split("=", 1)[0]
        return len(name) > 2 and name.startswith("--") and option.startswith(name)
    if len(option) == 2 and option[0] == "-":
        return word.startswith(option) or (
            len(word) > 2 and word[0] == "-" and word[1] != "-" and option[1] in word[1:]
        )
    return word.startswith(option)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the commands in a line."""

    forms: tuple[str, ...]
    """As it stands, by its program's bare name, and without `sudo`, `env` and their like before it."""
    vague: bool
    """An argument is a pattern or variable: what it becomes is known to the shell only."""
    maybe: tuple[str, ...] = ()
    """What it may be as well, depending on which options take a value."""
    risky: bool = False
    """An option makes it run something that its text does not tell."""


def commands_of(command: str) -> Sequence[Part] | None:
    """The commands a shell line runs. None if some of it cannot be told from the text."""
    if _NESTED.search(command):
        return None
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return None
    parts: list[Part] = []
    current: list[str] = []
    skip = False
    for word in [*words, ";"]:
        operator = bool(word) and set(word) <= _PUNCTUATION
        if operator and set(word) & {"<", ">"} and current and current[-1].isdigit():
            current.pop()
        if operator and word not in _REDIRECTS:
            if current:
                part = _part(current)
                if part is None:
                    return None
                parts.append(part)
            current = []
        if operator:
            skip = bool(set(word) & {"<", ">"})
        elif skip:
            skip = False  # the file of a redirection
        else:
            current.append(word)
    return parts


def _part(words: list[str]) -> Part | None:
    vague = any(_VAGUE.search(w) for w in words[1:])
    while words and (
        words[0] in _KEYWORDS or words[0] == "function" or _ASSIGNMENT.match(words[0])
    ):
        if _RUN_LATER.match(words[0]):
            return None
        words = words[2:] if words[0] == "function" else words[1:]
    sets = bool(words) and words[0] in ("export", "declare", "typeset", "readonly", "local")
    if sets and any(_RUN_LATER.match(w) for w in words[1:]):
        return None
    forms: list[str] = []
    maybe: list[str] = []
    risky = False
    while words:
        name = PurePosixPath(words[0]).name
        if _VAGUE.search(words[0]):
            return None
        forms += [" ".join([name, *words[1:]]), " ".join(words)]
        if name not in _SUDO_LIKE:
            if _runs_others(name):
                return None
            risky = risky or _risky(name, words[1:])
            sure, more = _without_options(name, words[1:])
            return Part((*forms, *sure), vague, (*maybe, *more), risky)
        words = words[1:]
        options = False
        while words and (words[0][0:1] in ("-", "") or _ASSIGNMENT.match(words[0])):
            if name == "env" and words[0].startswith(("-S", "--split")):
                return None
            if _RUN_LATER.match(words[0]):
                return None
            options = options or words[0][0:1] == "-"
            words = words[1:]
        takes_one = name in ("timeout", "nice", "ionice", "sudo", "doas", "stdbuf")
        if (options or takes_one) and len(words) > 1:
            # Which of the next words is an option's value is not known here: each may be the program.
            if len(words) > MAX_SUFFIXES:
                return None
            for start in range(1, len(words)):
                first = PurePosixPath(words[start]).name
                if start < 3 and takes_one:
                    forms.append(" ".join([first, *words[start + 1 :]]))
                    if _runs_others(first):
                        return None
                elif _runs_others(first):
                    risky = True
                maybe.append(" ".join([first, *words[start + 1 :]]))
                maybe += _without_options(first, words[start + 1 :])[0]
                risky = risky or _risky(first, words[start + 1 :])
    return Part(tuple(forms), vague, tuple(maybe), risky)


def _without_options(name: str, words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """`git --no-pager push` as `git push`: without the options that stand before the first other word,
    and what it may be if some of them take a value."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 1
    if at == 0:
        return (), ()
    sure = [" ".join([name, *words[at:]])]
    maybe = []
    # A word behind an option may be that option's value; then the next one counts.
    while 0 < at < len(words) and words[at - 1].startswith("-"):
        at += 1
        while at < len(words) and words[at].startswith("-"):
            at += 1
        maybe.append(" ".join([name, *words[at:]]))
    return sure, maybe
