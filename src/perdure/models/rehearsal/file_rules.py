"""What people say when they want something done with files, folders or a shell."""

from __future__ import annotations

import re

from . import files
from .plan import Plan
from .rules import MARK, PATH, PATHS, Found, rule
from .view import View

_FILE_LIKE = re.compile(r"[./~*\\]")

# Words that begin a command and little else. Others that also begin a sentence (make, test, sort …)
# need `run`, a `$` or backticks.
_COMMANDS = (
    "ls|pwd|git|echo|python3?|grep"
    "|wc|du|df|uname|whoami|ps|npm|npx|pip|uv|cargo|curl|printf|mkdir|tree"
)
_EXTENSIONS = {
    "python": "py",
    "javascript": "js",
    "typescript": "ts",
    "markdown": "md",
    "text": "txt",
}
_ANY = r".+?"
_FOLDER = r"(?:folder|directory|dir)"
_ON = r"(?:(?:the|a|my) )?(?:(?:file|document) )?(?:(?:called|named) )?"
_PLACE = (
    rf"(?P<path>(?:the|this|my)(?: (?:current|working))? {_FOLDER}"
    rf"|(?:(?:the|this|my) )?{PATH}(?: {_FOLDER})?)"
)
_IN = r"(?:in|of|inside|under|below|within)"
_THE = r"(?:(?:all|every|the|my|any|me) )*"
_COUNTED = r"(?P<what>lines?|words?|characters?|bytes?|files?|folders?|directories)"
_NEW = r"(?:(?:me|a|the|an|new|empty|text) )*"


def file_like(path: str) -> bool:
    return bool(_FILE_LIKE.search(path))


def _folder_only(found: Found, view: View) -> Plan | None:
    path = found.place()
    folder = path in (".", "..", "~") or not file_like(path) or found.text("path").endswith("/")
    return files.listing(path) if folder else None


def _finding(found: Found, view: View) -> Plan | None:
    words = found.text("words")
    if re.search(r"[*?]", words) and not re.search(r"\s", words):
        return files.finding_files(words, found.place())
    return files.finding(words, found.place()) if words else None


def _by_extension(found: Found, view: View) -> Plan:
    kind = found.text("words").lstrip(".").lower()
    return files.finding_files(f"*.{_EXTENSIONS.get(kind, kind)}", found.place())


def _where(found: Found, view: View) -> Plan | None:
    words = found.text("words")
    return files.finding_files(words, ".") if file_like(words) else None


def _counting(found: Found, view: View) -> Plan:
    return files.counting(found.text("what").lower().removesuffix("s"), found.place())


def _writing(found: Found, view: View) -> Plan:
    text = found.text("text")
    # `\n` typed in a line of chat is meant as a line break.
    return files.writing(found.path(), text if "\n" in text else text.replace("\\n", "\n"))


def _adding(found: Found, view: View) -> Plan:
    return files.adding(found.path(), found.text("text"))


def _replacing(found: Found, view: View) -> Plan:
    return files.replacing(found.path(), found.text("old"), found.text("new"))


def _running(found: Found, view: View) -> Plan:
    return files.running(found.code("command"))


_LISTING = (
    rule(
        rf"(?:list|ls|show|see|display|what(?:'s| is| are)|which) {_THE}"
        r"(?:files?|contents?|things|stuff|entries|items)(?: and folders)?(?: are)?(?: there)?"
        rf"(?: {_IN} {_PLACE}| here)?",
        lambda f, v: files.listing(f.place()),
    ),
    rule(r"(?:what|which) files are (?:there|here)", lambda f, v: files.listing(".")),
    rule(rf"(?:list|ls|show|look (?:in|into|at|inside))(?: me)?(?: {_PLACE})?", _folder_only),
    rule(
        r"what(?:'s| is| do (?:we|i) have)(?: there)?(?: in)?"
        rf"(?: here| (?:this|the|my)(?: (?:current|working))? {_FOLDER})",
        lambda f, v: files.listing("."),
    ),
)

_FINDING = (
    rule(
        rf"how many {_COUNTED}(?: (?:are|does|do|has|have|is))?(?: there)?"
        rf"(?: {_IN})?(?: {_ON}{_PLACE})?(?: (?:have|contain|has))?",
        _counting,
    ),
    rule(rf"count {_THE}{_COUNTED}(?: {_IN} {_ON}{_PLACE}| here)?", _counting),
    rule(
        rf"(?:find|locate|list|show) {_THE}(?P<words>\.?[a-z0-9]{{2,10}}) files(?: {_IN} {_PLACE}| here)?",
        _by_extension,
    ),
    rule(
        rf"(?:search for|find|search|look for|locate|list|show) {_THE}files?"
        rf"(?: (?:called|named|like|matching))? (?P<words>{PATH})(?: {_IN} {_PLACE})?",
        lambda f, v: files.finding_files(f.text("words"), f.place()),
    ),
    rule(rf"where(?:'s| is| are) {_ON}(?P<words>{PATH})", _where),
    rule(
        rf"(?:find|grep for|grep|search for|search|look for|where is|where do (?:we|i) use) {_THE}"
        r"(?:(?:word|text|string|occurrences of|lines with|uses of) )?"
        rf"(?P<words>{_ANY})(?: (?:in|under|inside|within) {_ON}{_PLACE})?",
        _finding,
    ),
    rule(
        rf"(?:search|grep|look) (?:in|through|into|inside) {_ON}{_PLACE} for (?P<words>{_ANY})",
        _finding,
    ),
)

_WRITING = (
    rule(
        rf"(?:create|make|write|save|put|start|add) {_NEW}(?:file|note|document)(?: (?:called|named))?"
        rf" (?P<path>{PATH})(?:,? (?:with|containing|saying|that (?:says|contains|reads)"
        r"|and (?:write|put))(?: the)?(?: (?:text|contents?|words|lines?))?:? "
        rf"(?P<text>{_ANY})(?: (?:in|into|to) it)?)?",
        _writing,
    ),
    rule(
        r"(?:add|append)(?: (?:a|the))?(?: new)?(?: (?:lines?|text|words?|item|entry))?:? "
        rf"(?P<text>{_ANY}) (?:to|into|in|onto|at) (?:the (?:end|bottom) of )?{_ON}(?P<path>{PATH})",
        _adding,
    ),
    rule(rf"(?:append|add) to {_ON}(?P<path>{PATH}):? (?P<text>{_ANY})", _adding),
    rule(
        r"(?:replace|change|swap|substitute)(?: (?:all|every|each))?(?: the)?"
        rf"(?: (?:words?|text|line|occurrences? of))* (?P<old>{_ANY}) (?:with|by|to|for|into) "
        rf"(?:the (?:word|text|line) )?(?P<new>{_ANY}) (?:in|inside|within|of) {_ON}(?P<path>{PATH})",
        _replacing,
    ),
    rule(
        rf"(?:in|inside) {_ON}(?P<path>{PATH}),? (?:replace|change|swap)(?: the)?(?: (?:word|text))? "
        rf"(?P<old>{_ANY}) (?:with|by|to|for|into) (?P<new>{_ANY})",
        _replacing,
    ),
    rule(
        r"(?:write|save|put|store)(?: the)?(?: (?:text|words?|line))?:? "
        rf"(?P<text>{_ANY}) (?:to|into|in|as) {_ON}(?P<path>{PATH})",
        _writing,
    ),
    rule(
        rf"(?:write|save) (?:(?:to|into) )?{_ON}(?P<path>{PATH})(?: with|:)? (?P<text>{_ANY})",
        lambda f, v: _writing(f, v) if file_like(f.path()) else None,
    ),
)

_ARRANGING = (
    rule(
        rf"(?:make|create|add|mkdir|new) {_NEW}(?:sub)?(?:folders?|director(?:y|ies)|dirs?)"
        rf"(?: (?:called|named))?:? (?P<path>{PATHS})",
        lambda f, v: files.making_folder(f.paths()),
    ),
    rule(
        rf"(?:make|create) (?:(?:a|the) )?(?P<path>{PATH}) {_FOLDER}",
        lambda f, v: files.making_folder([f.path()]),
    ),
    rule(
        rf"(?P<verb>move|rename|copy) {_ON}(?P<path>{PATH}) (?:to|into|as|in)(?: the)?"
        rf"(?: {_FOLDER})? (?P<to>{PATH})(?: {_FOLDER})?",
        lambda f, v: files.moving(f.path(), f.path("to"), copy=f.text("verb").lower() == "copy"),
    ),
    rule(
        rf"(?:delete|remove|erase)(?: (?:the|my))?(?: files?)? (?P<path>{PATHS})",
        lambda f, v: files.deleting(f.paths()),
    ),
)

_READING = (
    rule(
        rf"(?P<verb>summari[sz]e|explain|describe|review|translate|analy[sz]e) {_ON}(?P<path>{PATH})",
        lambda f, v: (
            files.describing(f.path(), f.text("verb").lower()) if file_like(f.path()) else None
        ),
    ),
    rule(
        r"what(?:'s| is| does| are the contents)(?: there)?(?: (?:in|inside|of))? "
        rf"{_ON}(?P<path>{PATH})(?: (?:say|contain))?",
        lambda f, v: files.reading([f.path()]) if file_like(f.path()) else None,
    ),
    rule(
        r"(?:read|show|open|cat|print|display|view|look at|see|tell me what(?:'s| is) in|give)(?: me)?"
        rf"(?: (?:the|files?|contents? of|document|my))* (?P<path>{PATHS})"
        r"(?: (?:back|out|again|to me))*",
        lambda f, v: files.reading(f.paths()),
    ),
)

_RUNNING = (
    rule(
        rf"(?:run|execute|try)(?: (?:the|this))?(?: (?:command|following))?:? (?P<command>{MARK}\d+{MARK})"
        r"(?: (?:and|then) (?:tell|show|give) .*)?",
        _running,
        entire=True,
    ),
    rule(
        rf"(?P<command>{MARK}\d+{MARK})",
        lambda f, v: _running(f, v) if f.is_code("command") else None,
        entire=True,
    ),
    rule(r"\$\s*(?P<command>\S.*)", _running, entire=True),
    rule(
        r"(?:run|execute)(?: (?:the|this))?(?: command)?:? (?P<command>\S.*)", _running, entire=True
    ),
    rule(rf"(?P<command>(?:{_COMMANDS})(?: .*)?)", _running, entire=True),
)

RULES = (*_RUNNING, *_LISTING, *_FINDING, *_WRITING, *_ARRANGING, *_READING)
