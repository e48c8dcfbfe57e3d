"""Tidying a folder: its loose files go into one folder for each kind.

Each step is one command that can be cut off anywhere and run again: a file is moved by one rename, what
was moved is no longer in the way, nothing is ever overwritten, and what is not a loose file (folders,
links, hidden files) is not touched. What is told in the end is what the commands printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from perdure.kernel.events import ToolResult

from .files import bash
from .plan import Ask, Plan, step
from .rules import PATH, Found, rule
from .view import View
from .words import name, plural, shell_path, trouble

KINDS = {
    "Documents": "pdf doc docx odt rtf txt md rst tex pages epub xls xlsx ods numbers ppt pptx odp key",
    "Images": "jpg jpeg png gif webp heic avif svg bmp tif tiff ico raw psd xcf",
    "Audio": "mp3 wav flac ogg oga m4a aac opus wma mid aiff",
    "Video": "mp4 mkv mov avi webm m4v wmv mpg mpeg flv",
    "Archives": "zip tar gz tgz bz2 xz zst 7z rar deb rpm iso dmg jar whl",
    "Code": "py js mjs ts jsx tsx c h cc cpp hpp rs go java kt swift rb php pl lua sh bash sql html css"
    " ipynb r jl",
    "Data": "csv tsv json jsonl xml yaml yml toml ini db sqlite sqlite3 parquet log",
}
"""Folder and the extensions of what goes there."""
OTHER = "Other"

_KIND_OF = {extension: kind for kind, known in KINDS.items() for extension in known.split()}
_UNFINISHED = frozenset(("part", "crdownload", "download", "tmp", "swp", "lock"))
"""Still being written by some program."""
_STAYS = frozenset(("perdure.yaml", "AGENTS.md"))
_PROJECT = frozenset(
    (
        ".git", "pyproject.toml", "package.json", "Cargo.toml", "go.mod", "Makefile", "CMakeLists.txt",
        "pom.xml", "build.gradle", "Gemfile", "composer.json", ".svn", ".hg",
    )
)  # fmt: skip
"""Where one of these lies, the places of the files around it have a meaning."""

_SEEN = re.compile(r"(file|folder|link|hidden)  (.+)")
_MOVED = re.compile(r"moved  (.+?)  ->  (.+)")
_TOTAL = re.compile(r"total  (\d+)")
_ESCAPED = re.compile(rb"\\(?:([0-7]{3})|(.))", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"E": b"\x1b"}
BY_NAME = 100
"""More files of a kind than this are moved by pattern."""
NAMED = 12
"""At most so many files of a kind are named in the report."""


@dataclass(slots=True)
class Folder:
    """A folder as the listing showed it; names as bash quotes them, ready to be put into a command."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    whole: bool = False
    """The listing was seen to its end."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one command said that it moved."""

    names: list[tuple[str, str]]
    """From and to, as bash quotes them; not all of them where the output was cut."""
    total: int


def look(path: str) -> str:
    """Lists what is there, one quoted name a line, so that a name may hold anything."""
    return (
        "# Look at what is in the folder\n"
        f"cd -- {shell_path(path)} || exit\n"
        "total=0\n"
        "for f in * .[!.]* ..?*; do\n"
        "  if [[ -L $f ]]; then kind=link; elif [[ $f == .* && -e $f ]]; then kind=hidden\n"
        "  elif [[ -d $f ]]; then kind=folder; elif [[ -f $f ]]; then kind=file; else continue; fi\n"
        '  printf \'%s  %q\\n\' "$kind" "$f"; total=$((total+1))\n'
        "done\n"
        'echo "total  $total"'
    )


def sort_out(path: str, kind: str, names: str, *, slowly: bool) -> str:
    """Moves files into the folder of their kind. `names`: as bash quoted them, or patterns."""
    pause = "  sleep 0.3\n" if slowly else ""
    stays = " || ".join(f"$f == {name}" for name in sorted(_STAYS))
    return (
        f"# Move to {kind}, never over a file that is there\n"
        f"cd -- {shell_path(path)} && mkdir -p {kind} || exit\n"
        "shopt -s nullglob nocaseglob; bad=0 total=0\n"
        f"for f in {names}; do\n"
        f"  [[ ! -f $f || -L $f || {stays} ]] && continue\n"
        f"  to={kind}/$f n=2\n"
        "  while [[ -e $to || -L $to ]]; do\n"
        f'    if [[ $f == ?*.* ]]; then to="{kind}/${{f%.*}} ($n).${{f##*.}}"\n'
        f'    else to="{kind}/$f ($n)"; fi; n=$((n+1))\n'
        "  done\n"
        '  if mv -n -- "$f" "$to" && [[ ! -e $f ]]; then\n'
        '    printf \'moved  %q  ->  %q\\n\' "$f" "$to"; total=$((total+1))\n'
        "  else bad=1; fi\n"
        f"{pause}"
        "done\n"
        'echo "total  $total"; exit $bad'
    )


def parse(result: ToolResult) -> Folder:
    seen = Folder()
    by_kind = {
        "file": seen.files,
        "folder": seen.folders,
        "link": seen.links,
        "hidden": seen.hidden,
    }
    total = -1
    for line in result.text.split("\n"):
        if match := _SEEN.fullmatch(line):
            by_kind[match.group(1)].append(match.group(2))
        elif match := _TOTAL.fullmatch(line):
            total = int(match.group(1))
    seen.whole = total == sum(map(len, by_kind.values()))
    return seen


def unquote(quoted: str) -> str:
    """A name as `printf %q` wrote it, as text; bytes that are no UTF-8 become U+FFFD."""
    body, controls = quoted, {}
    if quoted.startswith("$'") and quoted.endswith("'"):
        body, controls = quoted[2:-1], _CONTROLS

    def put(match: re.Match[bytes]) -> bytes:
        octal, char = match.groups()
        return bytes([int(octal, 8) & 255]) if octal else controls.get(char, char)

    return _ESCAPED.sub(put, body.encode()).decode(errors="replace")


def shown(quoted: str) -> str:
    """A name for people: as it is, unless it holds what cannot be shown."""
    text = unquote(quoted)
    return name(text if text.isprintable() else quoted)


def kind_of(quoted: str) -> str:
    """The kind of a file by its extension; empty for one that stays where it is."""
    file = unquote(quoted)
    stem, dot, extension = file.rpartition(".")
    if file in _STAYS or (dot and extension.lower() in _UNFINISHED):
        return ""
    return _KIND_OF.get(extension.lower(), OTHER) if dot and stem else OTHER


def tidying(path: str, *, anyway: bool = False, slowly: bool = False) -> Plan:
    problems: list[str] = []
    first = yield from step(f"First I look at what is in {name(path)}.", bash(look(path)))
    if first.text.startswith("[cleared"):
        # The runtime made room in the context. What was done since cannot be told from here.
        problems.append("This tells only what I did after my first results had left the context.")
        first = yield from step("I look again at what is there.", bash(look(path)))
    if first.status != "ok":
        return trouble(first, f"look into {name(path)}")
    before = parse(first)
    project = sorted(
        _PROJECT & {unquote(n) for n in (*before.files, *before.folders, *before.hidden)}
    )
    if project and not anyway:
        return (
            f"{name(path)} holds {name(project[0])}, so it looks like a project whose files must stay "
            "where they are. I moved nothing. Name another folder, or say “tidy it anyway”."
        )
    work = _work(before)
    if before.whole and not work:
        return f"There are no loose files to sort in {name(path)}. {_left(before)}".rstrip()
    done: dict[str, Moved] = {}
    for kind, names in work.items():
        count = len([n for n in before.files if kind_of(n) == kind])
        say = f"{count} {plural(count, 'file')} to {kind}." if before.whole else f"Next: {kind}."
        result = yield from step(say, bash(sort_out(path, kind, names, slowly=slowly)))
        if result.status == "denied":
            return _report(path, done, [*problems, trouble(result, f"move files to {kind}")])
        if result.status != "ok":
            problems.append(trouble(result, f"move everything to {kind}"))
        moved = _moved(result)
        if moved.total:
            done[kind] = moved
    (result,) = yield Ask("Now I check what is there.", (bash(look(path)),))
    if result.status != "ok":
        problems.append(trouble(result, "check the result"))
        return _report(path, done, problems)
    return _report(path, done, problems, before, parse(result))


def _moved(result: ToolResult) -> Moved:
    names = _MOVED.findall(result.text)
    total = _TOTAL.search(result.text)
    return Moved(names, max(int(total.group(1)) if total else 0, len(names)))


def _work(folder: Folder) -> dict[str, str]:
    """For each kind that is there, what its command goes over: the files by name, so that what is
    approved is what moves; or patterns, where they are many or the listing was cut."""
    if not folder.whole:
        # What has no known ending was perhaps not seen: it stays.
        return {kind: _patterns(kind) for kind in KINDS}
    work: dict[str, str] = {}
    for kind in (*KINDS, OTHER):
        names = [n for n in folder.files if kind_of(n) == kind]
        if len(names) > BY_NAME and kind != OTHER:
            work[kind] = _patterns(kind)
        elif names:
            work[kind] = " ".join(names)
    return work


def _patterns(kind: str) -> str:
    return " ".join(f"*.{extension}" for extension in KINDS[kind].split())


def _report(
    path: str,
    done: dict[str, Moved],
    problems: list[str],
    before: Folder | None = None,
    after: Folder | None = None,
) -> str:
    count = sum(moved.total for moved in done.values())
    lines = [f"I moved {count:,} {plural(count, 'file')} in {name(path)}:" if count else ""]
    if not count:
        lines = [f"I moved nothing in {name(path)}."]
    for kind, moved in done.items():
        named = ", ".join(shown(source) for source, _ in moved.names[:NAMED])
        more = moved.total - min(len(moved.names), NAMED)
        lines.append(f"- {kind} ({moved.total:,}): {named}{f' and {more:,} more' if more else ''}")
    every = [pair for moved in done.values() for pair in moved.names]
    renamed = [(s, t) for s, t in every if unquote(t).partition("/")[2] != unquote(s)]
    for source, target in renamed[:NAMED]:
        lines.append(f"- The name was taken: {shown(source)} is {shown(target)} now.")
    if before is not None and after is not None:
        unseen = set(before.files) - set(after.files) - {source for source, _ in every}
        if unseen and before.whole and after.whole and len(unseen) > count - len(every):
            names = ", ".join(map(shown, sorted(unseen)[:NAMED]))
            lines.append(f"- Gone from here too, though I did not see it happen: {names}")
        loose = f"{len(after.files):,} loose {plural(len(after.files), 'file')}"
        folders = ", ".join(map(shown, after.folders[:NAMED])) or "none"
        lines += ["", f"It now holds {loose} and these folders: {folders}. {_left(before)}"]
    if problems:
        lines += ["", *problems]
    return "\n".join(lines).rstrip()


def _left(folder: Folder) -> str:
    """What was there before and was left alone."""
    stays = [n for n in folder.files if not kind_of(n)]
    parts = [
        f"{len(names)} {plural(len(names), word)}"
        for names, word in (
            (folder.folders, "folder"),
            (folder.hidden, "hidden file"),
            (folder.links, "link"),
        )
        if names
    ]
    parts += map(shown, stays)
    return f"I left alone: {', '.join(parts)}." if parts else ""


_THINGS = r"(?:folder|directory|dir|files|stuff|mess|things|place|desktop)"
_HERE = re.compile(
    rf"(?:(?:this|the|my)\s+)?(?:(?:current|working)\s+)?(?:{_THINGS}|everything)", re.I
)
_TARGET = rf"(?P<path>{_HERE.pattern}|(?:(?:the|this|my) )?{PATH}(?: (?:folder|directory|dir))?)"
_CALLED = r"(?:(?:the )?(?:folder|directory|dir) (?:(?:called|named) )?)?"


def _tidying(found: Found, view: View) -> Plan:
    words = found.whole.lower()
    here = not found.has("path") or _HERE.fullmatch(found.text("path"))
    return tidying(
        "." if here else found.place(),
        anyway="anyway" in words,
        slowly="slowly" in words or "step by step" in words,
    )


RULES = (
    rule(
        r"(?:tidy|organi[sz]e|clean|sort|arrange|order|group|declutter)(?: (?:up|out))?"
        r"(?: (?:all|the files in|everything in|files in|my files in))?"
        rf"(?: {_CALLED}{_TARGET})?(?: (?:up|out))?"
        r"(?: (?:in|into|by|according to)(?: (?:the|their|separate|file|different))*"
        r" (?:types?|kinds?|extensions?|folders?(?: by (?:type|kind|extension))?))?"
        r"(?:,? anyway)?(?:,? (?:slowly|step by step))?",
        _tidying,
    ),
)
