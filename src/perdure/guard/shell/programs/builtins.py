"""What the shell does itself. In bash's terms; sh has fewer of them."""

from __future__ import annotations

import re

from ..model import HOLE, Word
from ..scene import Call, Handler, Outcome
from ..variables import added, risky

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z", re.A)
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(?:\+?=(.*))?\Z", re.A | re.S)


def plain(call: Call) -> Outcome:
    return Outcome()


def opaque(call: Call) -> Outcome:
    call.unknown(f"{call.name} changes what the commands of the line mean")
    return Outcome()


def hashed(call: Call) -> Outcome:
    if any(w.text is None or not re.fullmatch(r"-[rdlt]+|\w[\w.-]*", w.text) for w in call.args):
        return opaque(call)
    return Outcome()


def waited(call: Call) -> Outcome:
    if any(
        (w.text is None and w.many) or (w.shape[:1] == "-" and "p" in w.shape) for w in call.args
    ):
        call.unknown("wait sets a variable in whose name something may run")
    return Outcome()


def cd(call: Call) -> Outcome:
    args = [
        w for w in call.args if w.text is None or not re.fullmatch(r"-[LPe@n]+|--|[+-]\d+", w.text)
    ]
    if not args:
        if call.name != "popd":
            call.scene.enter("~")
    elif args[0].text is None:
        call.unknown("it changes to a folder that is only known when it runs")
    elif args[0].text != "-":
        call.scene.enter(args[0].text)
    return Outcome()


def eval_(call: Call) -> Outcome:
    args = call.args[1:] if call.args and call.args[0].text == "--" else call.args
    if any(w.text is None for w in args):
        call.unknown("what eval runs is only known when it does")
        return Outcome(executes="what eval is told when it runs")
    call.script(" ".join(w.text or "" for w in args), dialect="bash" if call.scene.bash else "sh")
    return Outcome(transparent=True)


def source(call: Call) -> Outcome:
    args = call.args[1:] if call.args and call.args[0].text == "--" else call.args
    if not args:
        return Outcome()
    call.unknown(f"it goes on with the commands of {args[0].text or 'a file'}")
    return Outcome(
        executes=f"the script {args[0].text or 'that is only known when it runs'}", reads=args[:1]
    )


def trap(call: Call) -> Outcome:
    args = call.args[1:] if call.args and call.args[0].text == "--" else call.args
    if not args or args[0].text in ("-", "", "-l", "-p"):
        return Outcome()
    if args[0].text is None:
        call.unknown("what trap runs is only known when it does")
        return Outcome(executes="what trap is told when it runs")
    call.script(args[0].text, dialect="bash" if call.scene.bash else "sh", later=True)
    return Outcome()


def declare(call: Call) -> Outcome:
    """`export A=b` and its like."""
    exports = call.name == "export"
    for word in call.args:
        text = word.shape
        if text[:1] in ("-", "+") and word.text is not None:
            if set(text[1:]) & set("inIluc") and call.name != "export":
                call.unknown(f"{call.name} {text} may evaluate what it is given")
            if "f" in text or "n" in text:
                call.unknown(f"{call.name} {text}")
            exports = exports or "x" in text[1:]
            continue
        m = _ASSIGNED.match(text)
        if m is None:
            call.unknown(f"{call.name} sets a variable that is only known when it runs")
            continue
        value = None
        if m[2] is not None and word.text is not None and not (added(m) and risky(m[1])):
            value = Word(m[2], m[2])
        if m[2] is not None:
            call.scene.given(m[1], value)
        if exports:
            if risky(m[1]):
                call.scene.steered(m[1], value)
            call.scene.export((m[1],))
    return Outcome()


def names(call: Call) -> Outcome:
    """`read`, `unset`, `getopts` and others that set variables: their names must be plain ones."""
    rest = list(call.args)
    while rest:
        word = rest.pop(0)
        text = word.text
        if text is None:
            call.unknown(f"{call.name} sets a variable that is only known when it runs")
        elif call.name == "read" and re.fullmatch(r"-[ers]*[dinNptu]", text):
            if rest:
                rest.pop(0)
        elif call.name == "getopts" and word is call.args[0]:
            continue
        elif text.startswith("-"):
            if call.name in ("mapfile", "readarray") and text != "-t":
                call.unknown(f"{call.name} {text} may run something")
            if call.name == "unset" and text not in ("-v", "-f"):
                call.unknown(f"unset {text}")
            if call.name == "read" and "a" in text[1:]:
                continue
        elif _IDENTIFIER.match(text):
            call.scene.given(text, None)
        else:
            call.unknown(f"{call.name} sets {text[:40]}, in which something may run")
    return Outcome()


def printf(call: Call) -> Outcome:
    first = call.args[0] if call.args else None
    if first is not None and first.shape.startswith("-v"):
        name = first.shape[2:] or (call.args[1].shape if len(call.args) > 1 else "")
        if _IDENTIFIER.match(name):
            call.scene.given(name, None)
        else:
            call.unknown("printf sets a variable in whose name something may run")
    elif first is not None and first.text is None and first.shape[:1] in ("", "-", HOLE):
        # It may become `-v` and a name.
        call.unknown("the format of printf is only known when it runs")
    return Outcome()


def test(call: Call) -> Outcome:
    for before, word in zip(call.args, call.args[1:], strict=False):
        if before.text in ("-v", "-R") and not (word.text and _IDENTIFIER.match(word.text)):
            call.unknown("a test of a variable in whose name something may run")
    if any(w.text is None and not w.shape.strip(HOLE) and w.many for w in call.args):
        # `[ $x ]` may become `[ -v a[$(id)] ]`.
        call.unknown("a test whose words are only known when it runs")
    return Outcome()


def let(call: Call) -> Outcome:
    for word in call.args:
        if word.text is None or not re.fullmatch(r"[\w\s+*/%<>=!&|^~?:,()-]*", word.text, re.A):
            call.unknown("arithmetic in which something else may hide")
        else:
            call.scene.evaluated(set(re.findall(r"[A-Za-z_]\w*", word.text, re.A)))
    return Outcome()


def set_(call: Call) -> Outcome:
    words = [w.text for w in call.args]
    at = 0
    while at < len(words):
        text = words[at]
        if text is None:
            if call.args[at].shape.startswith(HOLE) and "--" not in words[:at]:
                call.unknown("set with options that are only known when it runs")
            break
        if text == "--" or text[:1] not in ("-", "+"):
            break
        if text[1:] in ("o", "eo", "euo", "ueo", "uo", "exo", "euxo", "xo"):
            at += 1
            if at < len(words) and words[at] not in ("pipefail", "errexit", "nounset", "xtrace", "noglob",
                                                    "noclobber", "errtrace", "verbose"):  # fmt: skip
                call.unknown(f"set -o {words[at]}")
        elif set(text[1:]) - set("euxvfCEhm"):
            call.unknown(f"set {text}")
        at += 1
    return Outcome()


def shopt(call: Call) -> Outcome:
    harmless = {"-s", "-u", "-q", "-p", "nullglob", "dotglob", "globstar", "nocaseglob", "failglob",
                "inherit_errexit", "lastpipe", "nocasematch"}  # fmt: skip
    if any(w.text not in harmless for w in call.args):
        call.unknown("shopt changes how the line is read")
    return Outcome()


def command(call: Call) -> Outcome:
    """`command`, `builtin`: the rest is a command, by the shell's own lookup without functions."""
    args = list(call.args)
    while args and args[0].text is not None and args[0].text.startswith("-"):
        option = args.pop(0).text or ""
        if option == "--":
            break
        if set(option[1:]) & set("vV"):
            return Outcome()
        if set(option[1:]) - set("p"):
            call.unknown(f"{call.name} {option}")
    if not args:
        return Outcome()
    _as_shell(call, args)
    return Outcome(transparent=True)


def exec_(call: Call) -> Outcome:
    args = list(call.args)
    while args and args[0].text is not None and args[0].text.startswith("-"):
        option = args.pop(0).text or ""
        if option == "--":
            break
        if set(option[1:]) - set("cla"):
            call.unknown(f"exec {option}")
        if option.endswith("a") and args:
            args.pop(0)
    if not args:
        return Outcome()
    call.run(args)
    return Outcome(transparent=True)


def _as_shell(call: Call, args: list[Word]) -> None:
    context = call.context._replace(via=(*call.context.via, call.name), opened=())
    if args[0].text in ("command", "builtin", "exec", "eval") and len(call.context.via) > 8:
        call.unknown("commands within commands")
        return
    call.scene.command(args, context, call.assigns)


def time(call: Call) -> Outcome:
    args = list(call.args)
    while args and args[0].text in ("-p", "--"):
        args.pop(0)
    if args and args[0].shape.startswith("-"):
        call.unknown(f"time {args[0].text}")
    if args:
        if "=" in args[0].shape:
            call.unknown("variables behind time")
        _as_shell(call, args)
    return Outcome(transparent=True)


def coproc(call: Call) -> Outcome:
    call.unknown("coproc")
    if call.args:
        _as_shell(call, list(call.args))
    return Outcome(transparent=True)


_PLAIN = (
    ":", "true", "false", "echo", "pwd", "exit", "return", "break", "continue", "shift", "umask",
    "ulimit", "times", "type", "jobs", "kill", "fg", "bg", "disown", "dirs", "suspend", "logout",
    "help", "caller", "history",
)  # fmt: skip

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_PLAIN, plain),
    **dict.fromkeys(
        ("alias", "unalias", "enable", "bind", "complete", "compgen", "compopt", "fc"), opaque
    ),
    **dict.fromkeys(("cd", "pushd", "popd"), cd),
    **dict.fromkeys(("export", "declare", "typeset", "local", "readonly"), declare),
    **dict.fromkeys(("read", "unset", "getopts", "mapfile", "readarray"), names),
    **dict.fromkeys(("test", "["), test),
    **dict.fromkeys((".", "source"), source),
    **dict.fromkeys(("command", "builtin"), command),
    "coproc": coproc,
    "hash": hashed,
    "wait": waited,
    "eval": eval_,
    "exec": exec_,
    "let": let,
    "printf": printf,
    "set": set_,
    "shopt": shopt,
    "time": time,
    "trap": trap,
}
