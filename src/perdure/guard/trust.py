"""`trust.yaml`: whom and what the owner has approved for good, read strictly, re-read when it changes.

    addresses: [ann@example.org]
    domains: [example.org]                  # any address there; none at a domain below it
    hosts: [docs.example.org]               # web servers that may be read and written to
    accounts: [DE89370400440532013000]
    paths: [/srv/shared]                    # a file, or a folder with all in it
    contacts: {Sarah Baker: sarah@example.net}     # approved when you speak of Sarah Baker
    lists: [get_channels]                   # tools: the people and places they list may be written to
    people: {Ann: ['telegram:4711', 'api:ann']}    # whose messages are those of somebody you know

A file that does not parse approves nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perdure.files import alone, read_regular, replace
from perdure.kernel.errors import ConfigError, InvalidInput, NotFound, StorageError

from .flow import EMPTY, Directory
from .flow.directory import KEYS, NAMED, canonical
from .flow.fold import fold
from .stamps import Stamp, stamp_of

if TYPE_CHECKING:
    import yaml

NAME = "trust.yaml"
MAX_BYTES = 1 << 20
_EXAMPLES = {
    "addresses": "ann@example.org",
    "domains": "example.org",
    "hosts": "docs.example.org",
    "accounts": "DE89370400440532013000",
    "paths": "/srv/shared",
    "contacts": "Sarah Baker: sarah@example.net",
    "lists": "get_channels",
    "people": "Ann: 'telegram:4711'",
}
_PLAIN = re.compile(r"[A-Za-z/~][A-Za-z0-9@./~_+ -]*\Z")
_WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    value: str
    """As it stands in the file; of a contact, the address or account; of a person, whence and as whom he
    writes."""
    name: str = ""
    """Of a contact, or of somebody the owner knows."""
    line: int


@dataclass(slots=True)
class TrustFile:
    """The owner's directory as its file says now."""

    path: Path
    """`P/trust.yaml`."""
    _stamp: Stamp | None = None
    _directory: Directory = EMPTY
    _error: ConfigError | None = field(default=None)

    def current(self) -> Directory:
        """Raises ConfigError when the file cannot be read or does not fit: then nothing is approved."""
        stamp = stamp_of(self.path)
        if stamp != self._stamp:
            self._stamp, self._error, self._directory = stamp, None, EMPTY
            if stamp:
                try:
                    self._directory = _directory(self.entries(), self.path.name)
                except ConfigError as error:
                    self._error = error
        if self._error is not None:
            raise self._error
        return self._directory

    def entries(self) -> list[Entry]:
        """What it holds, in order. Raises ConfigError."""
        return parse(self._text(), self.path)

    def add(self, key: str, value: str, name: str = "") -> bool:
        """Durable on return; blocking. False: it was there. Raises InvalidInput for what is no such entry,
        ConfigError when the file does not fit (it is left alone), StorageError."""
        if key not in KEYS:
            raise InvalidInput(f"unknown kind {key}", hint=f"Known: {', '.join(KEYS)}.")
        known = canonical(key, value)
        if known is None or (key in NAMED and not fold(name)):
            raise InvalidInput(
                f"{value!r} is no entry for {key}", hint=f"Such as {_EXAMPLES[key]}."
            )
        with self._changing():
            entries = self.entries()
            if any(_same(e, key, known, name) for e in entries):
                return False
            self._store([*entries, Entry(key=key, value=value, name=name, line=0)])
            return True

    def remove(self, value: str) -> list[Entry]:
        """All entries that say this, or a contact or person of this name. Raises NotFound, and as `add`."""
        with self._changing():
            entries = self.entries()
            gone = [
                e
                for e in entries
                if value == e.value
                or (
                    (known := canonical(e.key, value)) is not None
                    and known == canonical(e.key, e.value)
                )
                or (e.name and fold(e.name) == fold(value))
            ]
            if not gone:
                raise NotFound(f"{self.path} holds no {value}", hint="See `perdure trust list`.")
            self._store([e for e in entries if e not in gone])
            return gone

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with alone(self.path.parent):
                yield
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}") from error

    def _text(self) -> str:
        try:
            data = read_regular(self.path, MAX_BYTES)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=str(self.path)) from None
        if len(data) > MAX_BYTES:
            raise ConfigError(f"is larger than {MAX_BYTES:,} bytes", file=str(self.path))
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"is not UTF-8 (byte {error.start})", file=str(self.path)) from None

    def _store(self, entries: list[Entry]) -> None:
        """Comments above the first entry stay; the rest is written anew."""
        head = []
        for line in self._text().splitlines(keepends=True):
            if line.strip() and not line.startswith("#"):
                break
            head.append(line)
        lines = ["".join(head)]
        for key in KEYS:
            mine = [e for e in entries if e.key == key]
            if not mine:
                continue
            lines.append(f"{key}:\n")
            for name in dict.fromkeys(e.name for e in mine):
                values = [_quoted(e.value) for e in mine if e.name == name]
                if name:
                    lines.append(f"  {_quoted(name)}: [{', '.join(values)}]\n")
                else:
                    lines += [f"  - {value}\n" for value in values]
        text = "".join(lines)
        # Invariant: what is written says what was meant, whatever a value looks like to YAML.
        if _said(parse(text, self.path)) != _said(entries):
            raise ConfigError("cannot be changed by itself; edit it by hand", file=str(self.path))
        replace(self.path, text.encode("utf-8"), mode=0o600)


def parse(text: str, path: Path) -> list[Entry]:
    """Raises ConfigError with the line and what was expected."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(error.problem or "is not YAML", file=str(path), line=line) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"is not YAML: {str(error)[:200]}", file=str(path)) from None
    if node is None:
        return []
    found: list[Entry] = []
    for key, value, line in _items(node, path):
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(KEYS)}."
            raise ConfigError(f"unknown key {key}", file=str(path), line=line, hint=hint)
        if key in NAMED:
            for name, inner, at in _items(value, path):
                if not fold(name):
                    raise ConfigError(f"each of {key} needs a name", file=str(path), line=at)
                found += _entries(key, inner, path, name)
        else:
            found += _entries(key, value, path)
    return found


def _entries(key: str, node: yaml.Node, path: Path, name: str = "") -> Iterator[Entry]:
    import yaml

    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node] if name else None
    if nodes is None:
        hint = f"Such as: {key}: [{_EXAMPLES[key]}]"
        raise ConfigError(f"{key} must be a list", file=str(path), line=_line(node), hint=hint)
    for one in nodes:
        text = one.value if isinstance(one, yaml.ScalarNode) else ""
        if not isinstance(text, str) or canonical(key, text) is None:
            hint = f"Expected such as {_EXAMPLES[key].partition(': ')[2] or _EXAMPLES[key]}."
            shown = f"{text!a} is" if text else "this is"
            raise ConfigError(
                f"{shown} no entry for {key}", file=str(path), line=_line(one), hint=hint
            )
        yield Entry(key=key, value=text, name=name, line=_line(one))


def _items(node: yaml.Node, path: Path) -> Iterator[tuple[str, yaml.Node, int]]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        expected = ", ".join(KEYS)
        raise ConfigError(f"expected a mapping with {expected}", file=str(path), line=_line(node))
    seen: set[str] = set()
    for key_node, value in node.value:
        key = str(key_node.value)
        if key in seen:
            raise ConfigError(f"{key} is given twice", file=str(path), line=_line(key_node))
        seen.add(key)
        yield key, value, _line(key_node)


def _directory(entries: list[Entry], file: str) -> Directory:
    plain: dict[str, dict[str, str]] = {key: {} for key in KEYS}
    contacts: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        known = canonical(entry.key, entry.value)
        assert known is not None  # `parse` refuses others
        if entry.key == "paths" and known.startswith("~"):
            known = str(Path(known).expanduser())
        if entry.key == "people":
            plain["people"].setdefault(known, entry.name)
        elif entry.name:
            name = fold(entry.name)
            contacts[name] = (*contacts.get(name, ()), known)
        else:
            plain[entry.key].setdefault(known, f"{file}:{entry.line}")
    return Directory(
        addresses=plain["addresses"], domains=plain["domains"], hosts=plain["hosts"],
        accounts=plain["accounts"], paths=plain["paths"], contacts=contacts, lists=plain["lists"],
        people=plain["people"],
    )  # fmt: skip


def _same(entry: Entry, key: str, known: str, name: str) -> bool:
    return (
        entry.key == key and fold(entry.name) == fold(name) and canonical(key, entry.value) == known
    )


def _said(entries: list[Entry]) -> list[tuple[str, str, str]]:
    return sorted((e.key, e.name, e.value) for e in entries)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _quoted(text: str) -> str:
    if _PLAIN.match(text) and text == text.strip() and text.lower() not in _WORDS:
        return text
    return "'" + text.replace("'", "''") + "'"
