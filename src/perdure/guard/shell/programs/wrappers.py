"""Programs that run the command their arguments say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..lexer import ASSIGNMENT
from ..model import HOLE, Word
from ..options import split
from ..scene import Call, Handler, Outcome
from ..variables import HARMLESS, risky

_SPACED = re.compile(r"[\w./:@%+,=\s-]*\Z", re.A)


def _unread(call: Call) -> Outcome:
    """Its options are not understood: any of its words may be the program."""
    call.unknown(f"the options of {call.name}")
    for n, word in enumerate(call.args[:24]):
        if word.text and not word.text.startswith("-"):
            call.run(call.args[n:])
            if n > 3:
                break
    return Outcome(executes=f"what its arguments tell {call.name}")


def _prefix(short: str, long: Sequence[str] = (), *, skip: int = 0, quiet: str = "") -> Handler:
    """Options, `skip` words of its own, and then the command. `quiet`: options with which it runs none."""

    def wrapper(call: Call) -> Outcome:
        found = split(call.args, short, long)
        if found is None:
            return _unread(call)
        if any(name.lstrip("-")[:1] in quiet for name, _ in found.options if len(name) == 2):
            return Outcome()
        rest = found.rest[skip:]
        if any(w.text is None for w in found.rest[:skip]) and found.rest[0].many:
            return _unread(call)
        if not rest:
            return Outcome(transparent=True)
        call.run(rest)
        return Outcome(transparent=True)

    return wrapper


def nice(call: Call) -> Outcome:
    args = list(call.args)
    if args and args[0].text and re.fullmatch(r"-\d+|--\d+", args[0].text):
        call.run(args[1:])
        return Outcome(transparent=True)
    return _nice(call)


_nice = _prefix("n:", ("adjustment=",))


def env(call: Call) -> Outcome:
    args = list(call.args)
    if args and re.match(r"-S|--s", args[0].shape):
        return _splits(call, args)
    found = split(
        args,
        "i0u:C:vP:",
        ("ignore-environment", "null", "unset=", "chdir=", "debug", "block-signal=?", "default-signal=?",
         "ignore-signal=?", "list-signal-handling", "argv0="),
    )  # fmt: skip
    if found is None:
        return _unread(call)
    rest = list(found.rest)
    for name, value in found.options:
        text = value.text if value is not None else None
        if name == "-P" or (name in ("-u", "--unset") and (text is None or risky(text))):
            call.unknown("env changes where programs are looked for")
        if name in ("-C", "--chdir"):
            if text is None:
                call.unknown("env changes to a folder that is only known when it runs")
            else:
                call.scene.enter(text)
    names: list[str] = []
    while rest and "=" in rest[0].shape:
        word = rest.pop(0)
        m = ASSIGNMENT.match(word.shape)
        if m is None or word.shape.startswith(HOLE):
            call.unknown("env sets a variable that is not a plain one")
            continue
        if risky(m[1]):
            value = None if word.text is None else Word(text := word.text[m.end() :], text)
            call.scene.steered(m[1], value)
        if HARMLESS.match(m[1]) is None:
            names.append(m[1])
    if not rest:
        return Outcome()
    call.assigns = (*call.assigns, *names)
    call.run(rest)
    return Outcome(transparent=True)


def _splits(call: Call, args: list[Word]) -> Outcome:
    """`env -S 'rm x'`: the text's words come first, options among them."""
    word = args.pop(0)
    if word.shape == "-S" and args:
        text = args.pop(0).text
    elif word.text is not None and word.text.startswith("-S"):
        text = word.text[2:]
    elif word.text is not None and "=" in word.text:
        text = word.text.partition("=")[2]
    else:
        text = None
    if text is None or not _SPACED.match(text):
        call.unknown("env splits a text into words")
        text = re.sub(r"[^\w./:@%+,=\s-]", "", text or "")
    call.args = [*(Word(w, w) for w in text.split()), *args]
    return env(call)


def xargs(call: Call) -> Outcome:
    found = split(
        call.args,
        "0rtpxoa:d:E:e::I:i::J:L:l::n:P:R:s:S:",
        ("null", "no-run-if-empty", "verbose", "interactive", "exit", "open-tty", "arg-file=", "delimiter=",
         "eof=?", "replace=?", "max-lines=?", "max-args=", "max-procs=", "max-chars=", "show-limits",
         "process-slot-var="),
    )  # fmt: skip
    if found is None:
        return _unread(call)
    rest = list(found.rest) or [Word("echo", "echo")]
    mark = ""
    for name, value in found.options:
        if name in ("-I", "-J", "-i", "--replace"):
            mark = (value.text if value is not None else None) or "{}"
    if mark:
        rest = [_holed(word, mark) for word in rest]
    else:
        rest.append(Word(None, HOLE, True))
    call.run(rest, stdin="")
    return Outcome(transparent=True)


def _holed(word: Word, mark: str, *, many: bool = False) -> Word:
    if mark not in word.shape:
        return word
    return Word(None, word.shape.replace(mark, HOLE), word.many or many)


def find(call: Call) -> Outcome:
    writes: list[Word] = []
    executes = ""
    args = list(call.args)
    at = 0
    while at < len(args):
        text = args[at].text
        if text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next(
                (n for n in range(at + 1, len(args)) if args[n].text in (";", "+")), len(args)
            )
            several = end < len(args) and args[end].text == "+"
            words = [_holed(w, "{}", many=several) for w in args[at + 1 : end]]
            if end == len(args):
                call.unknown(f"{text} that does not end")
            if words:
                if text.endswith("dir") and "/" not in (words[0].text or "/"):
                    executes = f"{words[0].text} in each folder it finds"
                call.run(words)
            at = end
        elif text in ("-fprint", "-fprintf", "-fls", "-fprint0") and at + 1 < len(args):
            writes.append(args[at + 1])
            at += 1
        elif text == "-delete":
            executes = "nothing, but it deletes what it finds"
        elif text is None and args[at].shape.startswith((HOLE, "-")) and not args[at].glob:
            executes = "an argument that is only known when it runs, and may be -exec"
        at += 1
    return Outcome(executes=executes, opens=writes)


def fd(call: Call) -> Outcome:
    for n, word in enumerate(call.args):
        text = word.text or word.shape
        if text in ("-x", "-X", "--exec", "--exec-batch"):
            call.run([_brace(w) for w in call.args[n + 1 :]] or [Word(None, HOLE)])
            return Outcome()
        if re.match(r"-\w*[xX]|--exec", text) or text.startswith(HOLE):
            call.unknown(f"the options of {call.name}")
    return Outcome()


def _brace(word: Word) -> Word:
    return (
        Word(None, re.sub(r"\{[/.]*\}", HOLE, word.shape))
        if re.search(r"\{[/.]*\}", word.shape)
        else word
    )


def sudo(call: Call) -> Outcome:
    found = split(
        call.args,
        "AbEeHhiKklnPSsVvg:u:C:D:h:p:R:r:T:t:U:" if call.name == "sudo" else "Lnsa:C:u:",
        ("askpass", "background", "preserve-env=?", "edit", "set-home", "login", "non-interactive",
         "stdin", "shell", "group=", "user=", "chdir=", "prompt=", "host=", "list", "validate"),
    )  # fmt: skip
    if found is None:
        return _unread(call)
    names = {name for name, _ in found.options}
    rest = list(found.rest)
    while rest and ASSIGNMENT.match(rest[0].shape):
        call.unknown("sudo sets variables")
        rest.pop(0)
    for name, _ in found.options:
        if name in ("-D", "--chdir", "-R", "-e", "--edit", "-C"):
            call.unknown(f"{call.name} {name}")
    if names & {"-s", "-i", "--shell", "--login"}:
        call.unknown(f"{call.name} starts a shell")
    if rest:
        call.run(rest)
    return Outcome()


def shell_words(call: Call) -> Outcome:
    """`watch`: what is left is put together and given to sh."""
    found = split(
        call.args,
        "bcdegn:pq:rtwxCh",
        ("beep", "color", "differences=?", "errexit", "chgexit", "interval=", "precise", "equexit=",
        "no-rerun",
         "no-title", "no-wrap", "exec"),
    )  # fmt: skip
    if found is None:
        return _unread(call)
    if any(w.text is None for w in found.rest):
        call.unknown(f"what {call.name} runs is only known when it does")
    elif found.rest:
        call.script(" ".join(w.text or "" for w in found.rest))
    return Outcome(transparent=True)


def applet(call: Call) -> Outcome:
    """`busybox sh`: the first word is a program within this one."""
    if not call.args or call.args[0].shape.startswith("-"):
        return Outcome()
    call.run(call.args)
    return Outcome(transparent=True)


def opaque(call: Call) -> Outcome:
    """It runs a command somewhere in its arguments."""
    found = [n for n, w in enumerate(call.args) if w.text and re.fullmatch(r"[\w./+-]+", w.text)]
    call.unknown(f"{call.name} runs what its arguments say")
    for n in found[:4]:
        if not (call.args[n].text or "-").startswith("-"):
            call.run(call.args[n:])
    return Outcome(executes=f"what its arguments tell {call.name}")


_HARMLESS_SSH = re.compile(
    r"(?:batchmode|connecttimeout|loglevel|port|user|stricthostkeychecking|serveralive\w+|requesttty"
    r"|compression)\b"
)


def remote(call: Call) -> Outcome:
    """ssh: what follows the host is read by a shell there."""
    found = split(
        call.args, "1246AaCfGgKkMNnqsTtVvXxYyB:b:c:D:E:e:F:I:i:J:L:l:m:O:o:P:p:Q:R:S:W:w:"
    )
    if found is None:
        return _unread(call)
    executes = "commands on another machine"
    for name, value in found.options:
        text = value.text.lower() if value is not None and value.text is not None else HOLE
        harmless = name == "-o" and _HARMLESS_SSH.match(text)
        if name in ("-F", "-I", "-S", "-E") or (name == "-o" and not harmless):
            call.unknown(f"{call.name} {name} may run something here")
    if found.rest and found.rest[0].shape.startswith((HOLE, "-")):
        call.unknown("a host that may be an option")
    script = [w.text for w in found.rest[1:]]
    if any(text is None for text in script):
        call.unknown("what ssh runs is only known when it does")
    elif script:
        call.script(" ".join(t for t in script if t is not None))
    return Outcome(executes=executes)


def container(call: Call) -> Outcome:
    """docker and its like: what `run` and `exec` start is within, but may see what it is given."""
    words = [w.text or "" for w in call.args]
    verbs = [w for w in words if w and not w.startswith("-")]
    if verbs and verbs[0] in (
        "ps",
        "images",
        "version",
        "info",
        "logs",
        "inspect",
        "top",
        "stats",
        "port",
    ):
        return Outcome()
    return Outcome(executes=f"what {call.name} {verbs[0] if verbs else ''} starts".rstrip())


_TIMEOUT = ("foreground", "preserve-status", "verbose", "kill-after=", "signal=")
_PREFIXES: dict[str, Handler] = {
    "nohup": _prefix(""),
    "setsid": _prefix("cfw", ("ctty", "fork", "wait")),
    "timeout": _prefix("fpvk:s:", _TIMEOUT, skip=1),
    "gtimeout": _prefix("fpvk:s:", _TIMEOUT, skip=1),
    "stdbuf": _prefix("i:o:e:", ("input=", "output=", "error=")),
    "ionice": _prefix("c:n:tp:P:u:", ("class=", "classdata=", "ignore", "pid="), quiet="pPu"),
    "time": _prefix(
        "apqvf:o:", ("append", "portability", "quiet", "verbose", "format=", "output="), quiet=""
    ),
    "command": _prefix("pvV", quiet="vV"),
    "unbuffer": _prefix("p"),
    "catchsegv": _prefix(""),
    "eatmydata": _prefix(""),
    "caffeinate": _prefix("disut:w:"),
}
_OPAQUE = (
    "batch", "at", "bwrap", "capsh", "chpst", "choom", "chroot", "chrt", "crontab", "daemonize",
    "dbus-launch", "dbus-run-session", "dtach", "entr", "expect", "faketime", "fakeroot", "firejail",
    "flock", "gdb", "hyperfine", "ld.so", "logsave", "lldb", "ltrace", "newgrp", "nsenter", "numactl",
    "perf", "pkexec", "prlimit", "proxychains", "proxychains4", "rlwrap", "rsh", "run-one", "run-parts",
    "runcon", "runuser", "screen", "script", "setarch", "linux32", "linux64", "setpriv", "setuidgid",
    "sg", "socat", "softlimit", "ssh-agent", "start-stop-daemon", "strace", "su", "systemd-inhibit",
    "taskset", "tmux", "torify", "torsocks", "trickle", "tsocks", "uftrace", "unshare", "valgrind",
    "x-terminal-emulator", "xterm", "parallel", "sem", "rush", "pssh", "cpulimit", "dlv", "rr",
    "heaptrack", "sshpass", "s6-setuidgid", "gosu", "su-exec", "tini", "dumb-init", "envdir",
    "envuidgid", "pgrphack", "setlock", "direnv", "nix-shell", "nix", "guix", "mise", "asdf", "pyenv",
    "rbenv", "nodenv", "nvm", "aws-vault", "op", "chronic", "ts", "ifne", "pee", "vidir", "zrun",
    "watchexec", "nodemon", "when-changed", "inotify-hookable", "incrontab", "ncat", "nc", "netcat",
    "telnet", "ftp", "osascript", "launchctl", "systemctl", "service", "lxc", "machinectl", "vagrant",
    "kubectl", "oc", "helm", "incus", "toolbox", "distrobox", "flatpak", "snap", "apptainer",
    "singularity",
)  # fmt: skip

HANDLERS: dict[str, Handler] = {
    **_PREFIXES,
    **dict.fromkeys(_OPAQUE, opaque),
    **dict.fromkeys(("sudo", "doas"), sudo),
    **dict.fromkeys(("ssh", "autossh", "mosh"), remote),
    **dict.fromkeys(("docker", "podman", "nerdctl", "docker-compose", "podman-compose"), container),
    **dict.fromkeys(("busybox", "toybox"), applet),
    **dict.fromkeys(("fd", "fdfind"), fd),
    "env": env,
    "find": find,
    "nice": nice,
    "watch": shell_words,
    "xargs": xargs,
}
