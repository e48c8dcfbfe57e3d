"""git, which runs what its options, its configuration and its aliases say."""

from __future__ import annotations

import functools

from ..model import HOLE, Word
from ..options import Options
from ..scene import Call, Handler, Outcome

_HARMLESS = frozenset(
    ("add", "annotate", "apply", "blame", "branch", "cat-file", "check-attr", "check-ignore", "cherry",
     "cherry-pick", "checkout", "clean", "clone", "commit", "count-objects", "describe", "diff", "diff-files",
     "diff-index", "diff-tree", "fetch", "for-each-ref", "format-patch", "fsck", "gc", "grep",
     "hash-object", "log",
     "ls-files", "ls-remote", "ls-tree", "merge", "merge-base", "mv", "name-rev", "notes", "pull", "push",
     "range-diff", "rebase", "reflog", "remote", "reset", "restore", "rev-list", "rev-parse", "revert", "rm",
     "shortlog", "show", "show-ref", "stash", "status", "switch", "symbolic-ref", "tag", "var", "version",
     "verify-commit", "verify-tag", "whatchanged", "worktree", "init", "update-index", "write-tree",
     "commit-tree", "update-ref", "archive", "bundle", "mktree", "read-tree", "unpack-file", "show-branch")
)  # fmt: skip
"""Commands of git itself, which no alias can replace, and which run nothing by themselves but the hooks and
helpers that the repository is set up with."""
_EXECUTING = (
    "--ext-diff", "--textconv", "-O", "--open-files-in-pager", "--upload-pack", "--receive-pack",
    "--exec", "-x", "--exec-path", "--config", "--template", "--gpg-sign", "--sign", "--paginate",
    "--filters", "--remote", "--strategy", "--recurse-submodules", "--reference",
)  # fmt: skip
_SHORT = {
    "clone": ("-u", "-c"),
    "fetch": (),
    "commit": ("-S",),
    "init": (),
    "merge": ("-s",),
    "pull": ("-s",),
    "rebase": ("-s",),
}
_OUTPUT = Options(("--output", "--output-directory"))
_SAFE_CONFIG = (
    "user.name=", "user.email=", "color.", "advice.", "core.quotepath=", "core.autocrlf=",
    "init.defaultbranch=", "log.", "status.", "diff.renames=", "diff.noprefix=", "column.", "i18n.",
    "safe.directory=",
)  # fmt: skip
_WITH_VALUE = (
    "-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--super-prefix",
    "--exec-path", "--attr-source", "--list-cmds",
)  # fmt: skip


_ONLY = {"-x": "rebase", "-O": "grep"}
"""Options with which no other command runs anything."""


@functools.cache
def _running(command: str) -> Options:
    """Options with which this one of the harmless commands runs what they say."""
    named = (*_EXECUTING, *_SHORT.get(command, ()))
    return Options(option for option in named if _ONLY.get(option, command) == command)


def git(call: Call) -> Outcome:
    args = list(call.args)
    executes = loose = ""
    while args and args[0].shape.startswith(("-", HOLE)):
        word = args.pop(0)
        text = word.text
        if text is None:
            return Outcome(
                executes="an argument that is only known when it runs, and may be an option"
            )
        name = text.partition("=")[0]
        if name in ("-C", "--git-dir", "--work-tree", "--namespace", "--attr-source"):
            loose = "it works on another repository, with what that is set up to run"
        elif name in ("--config-env", "--exec-path"):
            executes = f"what {text} tells git"
        elif name == "-c":
            value = (args[0].text or "") if args else ""
            if not value.lower().startswith(_SAFE_CONFIG):
                executes = f"what -c {value[:60]} tells git"
        elif name in ("-p", "--paginate"):
            executes = "the pager"
        if text in _WITH_VALUE and args:
            args.pop(0)
    if executes:
        return Outcome(executes=executes)
    if not args:
        return Outcome()
    if len(call.scene.folders) > 1:
        loose = loose or "it may work on another repository, with what that is set up to run"
    command = args[0].text or ""
    if command not in _HARMLESS:
        named = command or "with a command that is only known when it runs"
        return Outcome(executes=f"git {named}, which may be an alias or run others")
    return _command(call, command, args[1:], loose)


def _command(call: Call, command: str, args: list[Word], loose: str) -> Outcome:
    opens: list[Word] = []
    running = _running(command)
    for n, word in enumerate(args):
        if word.text == "--":
            break
        text = word.text
        if text is not None and "::" in text:
            return Outcome(executes=f"the transport that {text[:60]} names")
        if word.shape[:1] not in ("-", HOLE):
            continue
        if text not in ("--no-ext-diff", "--no-textconv") and running.may_hold(word):
            if text is None:
                why = "an argument that is only known when it runs, and may be an option"
                return Outcome(executes=why)
            return Outcome(executes=f"what {text[:60]} tells git")
        if text is not None and _OUTPUT.may_hold(word):
            value = text.partition("=")[2] or (args[n + 1].text if n + 1 < len(args) else "") or "."
            opens.append(Word(value, value))
        if command in ("format-patch", "archive") and text == "-o" and n + 1 < len(args):
            opens.append(args[n + 1])
    return Outcome(opens=opens, loose=loose)


HANDLERS: dict[str, Handler] = {"git": git, "git-shell": lambda _: Outcome(executes="git commands"),
                                "gitk": lambda _: Outcome(executes="a window")}  # fmt: skip
