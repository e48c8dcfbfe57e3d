"""What can be done with files and folders, and with a shell: one plan each."""

from __future__ import annotations

import re
import shlex

from perdure.kernel.events import ToolResult

from .plan import Ask, Call, Plan, Results, step
from .words import block, name, number, plural, quote, shell_path, trouble

_NUMBERED = re.compile(r" *\d+\t(.*)")


def bash(command: str) -> Call:
    return Call("bash", {"command": command})


def read(path: str) -> Call:
    return Call("read", {"path": path})


# Looking ---------------------------------------------------------------------------------------


def listing(path: str) -> Plan:
    result = yield from step(f"I look into {name(path)}.", read(path))
    if result.status != "ok":
        return trouble(result, f"list {name(path)}")
    head, _, entries = result.text.partition("\n")
    return f"{head}\n\n{block(entries)}" if entries else head


def reading(paths: list[str]) -> Plan:
    calls = tuple(read(path) for path in paths)
    say = f"I read {', '.join(map(name, paths))}."
    results = yield Ask(say, calls)
    return "\n\n".join(_content(path, result) for path, result in zip(paths, results, strict=True))


def _content(path: str, result: ToolResult) -> str:
    if result.status != "ok":
        return trouble(result, f"read {name(path)}")
    total = number(result, "total")
    if total is None or not (lines := text_lines(result)):
        return result.text
    return f"{name(path)} has {total:,} {plural(total, 'line')}:\n\n" + block("\n".join(lines))


def describing(path: str, verb: str) -> Plan:
    result = yield from step(f"I read {name(path)}.", read(path))
    if result.status != "ok":
        return trouble(result, f"read {name(path)}")
    lines = [line for line in text_lines(result) if line.strip()]
    words = sum(len(line.split()) for line in lines)
    return (
        f"To {verb} a text takes a language model, which I am not. What I can tell: {name(path)} has "
        f"{number(result, 'total') or len(lines):,} lines and about {words:,} words in what I read. "
        f"It begins:\n\n{block(chr(10).join(lines), 8)}"
    )


def finding(words: str, path: str) -> Plan:
    command = f"grep -rnIF --exclude-dir=.git -e {shlex.quote(words)} -- {shell_path(path)}"
    result = yield from step(f"I search for {quote(words)} in {name(path)}.", bash(command))
    if number(result, "exit_code") == 1 and number(result, "lines") == 0:
        return f"{quote(words)} does not occur in {name(path)}."
    if result.status != "ok":
        return trouble(result, f"search {name(path)}")
    count = number(result, "lines") or result.text.count("\n")
    found = f"{count:,} {plural(count, 'line')} with {quote(words)} in {name(path)}"
    return f"I found {found}:\n\n{block(result.text)}"


def finding_files(pattern: str, path: str) -> Plan:
    if not re.search(r"[*?\[]", pattern):
        pattern = f"*{pattern}*"
    command = (
        f"find {shell_path(path)} -name .git -prune -o "
        f"-iname {shlex.quote(pattern)} -print | LC_ALL=C sort"
    )
    result = yield from step(f"I look for {name(pattern)} in {name(path)}.", bash(command))
    if result.status != "ok":
        return trouble(result, f"search {name(path)}")
    count = number(result, "lines") or 0
    if not count:
        return f"There is nothing named {name(pattern)} in {name(path)}."
    return f"I found {count:,} {plural(count, 'path')}:\n\n{block(result.text)}"


def counting(what: str, path: str) -> Plan:
    place = shell_path(path)
    option = {"line": "-l", "word": "-w", "character": "-m", "byte": "-c"}.get(what, "")
    if option:
        command = f"wc {option} < {place}"
    else:
        kind = "-type d" if what in ("folder", "directory", "directorie", "dir") else "-type f"
        command = (
            f"find {place} -mindepth 1 {kind} -not -path '*/.git/*' -exec printf . ';' | wc -c"
        )
    result = yield from step(f"I count the {what}s.", bash(command))
    digits = result.text.strip()
    if result.status != "ok" or not digits.isdigit():
        return trouble(result, f"count the {what}s of {name(path)}")
    count = int(digits)
    words = {"directorie": "directory", "dir": "folder"}
    return f"{name(path)} has {count:,} {plural(count, words.get(what, what))}."


def running(command: str) -> Plan:
    results = yield Ask("I run it.", (bash(command),))
    return ran(command, results)


def ran(command: str, results: Results) -> str:
    (result,) = results
    code = number(result, "exit_code")
    if code is None and result.status != "ok":
        return trouble(result, f"run {name(command)}")
    head = f"{name(command)} ended with exit code {code or 0}."
    return f"{head}\n\n{block(result.text)}" if result.text.strip() else head


# Changing --------------------------------------------------------------------------------------


def writing(path: str, content: str) -> Plan:
    text = content if content.endswith("\n") or not content else content + "\n"
    call = Call("write", {"path": path, "content": text})
    result = yield from step(f"I write {name(path)}.", call)
    return result.text if result.status == "ok" else trouble(result, f"write {name(path)}")


def adding(path: str, line: str) -> Plan:
    """Through the edit tool, so that what is approved is a diff: the end of the file, as much of it as
    occurs only once, is replaced by itself and the new line."""
    seen = yield from step(f"I look at {name(path)} first.", read(path))
    if seen.status == "denied":
        return trouble(seen, f"read {name(path)}")
    new = f"{line}\n"
    if seen.status != "ok" or number(seen, "total") == 0:
        if seen.status == "ok" or "here is no" in seen.text:
            result = yield from step("", Call("write", {"path": path, "content": new}))
            return _added(result, path, line)
        return trouble(seen, f"read {name(path)}")
    ending = _ending(seen)
    if ending:
        change = Call(
            "edit", {"path": path, "old_string": ending, "new_string": f"{ending}\n{line}"}
        )
        result = yield from step("I add the line at its end.", change)
    else:
        place = shell_path(path)
        command = f"printf '%s\\n' {shlex.quote(line)} >> {place}"
        (result,) = yield Ask("It is long, so I add the line with the shell.", (bash(command),))
    return _added(result, path, line)


def _added(result: ToolResult, path: str, line: str) -> str:
    if result.status != "ok":
        return trouble(result, f"add the line to {name(path)}")
    return f"I added {quote(line)} to {name(path)}. {result.text if result.data.get('diff') else ''}".strip()


def _ending(seen: ToolResult) -> str:
    """The least of a file's last lines that occurs once in it; empty when not all of it was seen."""
    lines = text_lines(seen)
    if len(lines) != number(seen, "total") or any("[… line cut" in line for line in lines):
        return ""
    whole = "\n".join(lines)
    for count in range(1, len(lines) + 1):
        ending = "\n".join(lines[-count:])
        if ending.strip() and whole.find(ending) == len(whole) - len(ending):
            return ending
    return ""


def text_lines(result: ToolResult) -> list[str]:
    """The lines of a file as the read tool numbers them."""
    found = (_NUMBERED.fullmatch(line) for line in result.text.split("\n"))
    return [match.group(1) for match in found if match]


def replacing(path: str, old: str, new: str) -> Plan:
    call = Call("edit", {"path": path, "old_string": old, "new_string": new, "replace_all": True})
    result = yield from step(f"I replace {quote(old)} by {quote(new)} in {name(path)}.", call)
    if result.status != "ok":
        return trouble(result, f"change {name(path)}")
    count = number(result, "replaced")
    places = f" It stood there {count:,} times." if count and count > 1 else ""
    return result.text + places


def making_folder(paths: list[str]) -> Plan:
    names = ", ".join(map(name, paths))
    command = f"mkdir -p -- {' '.join(map(shell_path, paths))}"
    result = yield from step(f"I make {names}.", bash(command))
    what = f"the {plural(len(paths), 'folder')} {names}"
    return (
        f"{what[:1].upper()}{what[1:]} is there now."
        if result.status == "ok"
        else trouble(result, f"make {what}")
    )


def moving(path: str, to: str, *, copy: bool) -> Plan:
    """Never over something that is there."""
    verb, program = ("copy", "cp -Rn") if copy else ("move", "mv -n")
    command = (
        f"from={shell_path(path)} to={shell_path(to)}\n"
        '[ -d "$to" ] && to="${to%/}/$(basename -- "$from")"\n'
        'if [ -e "$to" ] || [ -L "$to" ]; then echo "$to is there already" >&2; exit 1; fi\n'
        f'{program} -- "$from" "$to"'
    )
    (result,) = yield Ask(f"I {verb} {name(path)} to {name(to)}.", (bash(command),))
    if result.status != "ok":
        return trouble(result, f"{verb} {name(path)} to {name(to)}")
    return f"I {'copied' if copy else 'moved'} {name(path)} to {name(to)}."


def deleting(paths: list[str]) -> Plan:
    names = ", ".join(map(name, paths))
    command = f"rm -- {' '.join(map(shell_path, paths))}"
    (result,) = yield Ask(f"I delete {names}.", (bash(command),))
    return f"I deleted {names}." if result.status == "ok" else trouble(result, f"delete {names}")
