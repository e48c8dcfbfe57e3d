"""Shells: text they are given is read as a line of its own."""

from __future__ import annotations

from ..model import Word
from ..scene import Call, Handler, Outcome

_DIALECTS = {"bash": "bash", "rbash": "bash", "sh": "sh", "dash": "sh", "ash": "sh"}
SHELLS = (
    "bash", "rbash", "sh", "dash", "ash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh", "yash", "elvish",
    "nu", "xonsh", "pwsh", "oksh", "posh",
)  # fmt: skip
_TAKES_VALUE = ("-o", "+o", "-O", "+O")
_HARMLESS_LONG = ("--login", "--norc", "--noprofile", "--posix", "--restricted", "--verbose")


def shell(call: Call) -> Outcome:
    args = list(call.args)
    dialect = _DIALECTS.get(call.name, call.name)
    runs = False
    while args:
        word = args[0]
        text = word.text
        if text is None:
            if word.shape.startswith("/"):
                break
            call.unknown(f"what {call.name} runs is only known when it does")
            return Outcome(executes=f"what {call.name} is told when it runs")
        if text in ("--", "-"):
            args.pop(0)
            break
        if text.startswith("--"):
            if text in ("--version", "--help"):
                return Outcome()
            if text not in _HARMLESS_LONG:
                call.unknown(f"{call.name} {text}")
                return Outcome(executes=f"what {text} makes {call.name} run")
            args.pop(0)
        elif text[0] in "-+":
            args.pop(0)
            letters = text[1:]
            if set(letters) - set("abcefhklmnprstuvxBCEHPTiDo O"):
                call.unknown(f"{call.name} {text}")
            runs = runs or ("c" in letters and text[0] == "-")
            if "i" in letters:
                call.unknown(f"an interactive {call.name} reads files of its own")
            if letters and letters[-1] in "oO":
                if not args:
                    break
                args.pop(0)
        else:
            break
    if runs:
        return _code(call, args, dialect)
    if args and "-s" not in [w.text for w in call.args]:
        script = args[0]
        named = script.text or "a script that is only known when it runs"
        if script.text in ("/dev/stdin", "/dev/fd/0") or (
            script.text is None and script.shape.startswith("/dev/fd/")
        ):
            call.unknown(f"what is piped into {call.name} is not known")
        return Outcome(executes=f"the script {named}", reads=args[:1])
    return fed(call, dialect)


def _code(call: Call, args: list[Word], dialect: str) -> Outcome:
    if not args:
        return Outcome()
    if args[0].text is None:
        call.unknown(f"what {call.name} -c runs is only known when it does")
        return Outcome(executes=f"what {call.name} -c is told when it runs")
    call.script(args[0].text, dialect=dialect)
    return Outcome(transparent=True)


def fed(call: Call, dialect: str) -> Outcome:
    """It runs what it reads."""
    if call.context.stdin == "text" and call.context.given is not None:
        call.script(call.context.given, dialect=dialect)
        return Outcome(transparent=True)
    if call.context.stdin:
        call.unknown(f"what is piped into {call.name} is not known")
        return Outcome(executes=f"what is piped into {call.name}")
    return Outcome(executes=f"what {call.name} reads")


HANDLERS: dict[str, Handler] = dict.fromkeys(SHELLS, shell)
