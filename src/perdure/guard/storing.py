"""The local file of rules: read by people, added to on the answer `always`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.files import alone, read_regular, replace
from perdure.kernel.errors import ConfigError, StorageError

from .reading import parse, parse_rule

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1 << 20


def remember(local: Path, rule: str) -> None:
    """Add a rule to the file's `allow`. Durable on return; blocking. Raises ConfigError if rule or file do
    not fit (the file is left alone), StorageError."""
    rule = str(parse_rule(rule))
    try:
        local.parent.mkdir(parents=True, exist_ok=True)
        with alone(local.parent):
            before = text_of(local) if os.path.lexists(local) else ""
            kept = parse(before, local)
            if rule in map(str, kept.allow):
                return
            after = _with_rule(before, rule)
            changed = parse(after, local)
            rest = [
                (*map(str, p.deny), "", *map(str, p.ask), p.mode, p.expire) for p in (kept, changed)
            ]
            if [*map(str, changed.allow)] != [*map(str, kept.allow), rule] or rest[0] != rest[1]:
                hint = f"Add this under allow yourself: - {rule}"
                raise ConfigError("cannot be added to", file=str(local), hint=hint)
            replace(local, after.encode("utf-8"))
    except OSError as error:
        raise StorageError(f"{local} cannot be written: {error.strerror}") from error


def text_of(path: Path) -> str:
    data = read_regular(path, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES:,} bytes", file=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", file=str(path)) from None


def _with_rule(text: str, rule: str) -> str:
    """The file's text with one more entry under `allow`; what a person wrote stays as it is."""
    import yaml

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is None or isinstance(node, yaml.MappingNode)
    entries = {k.value: (k, v) for k, v in node.value} if node is not None else {}
    if text and not text.endswith("\n"):
        text += "\n"
    if "allow" not in entries:
        if node is not None and node.flow_style:
            return text  # `{mode: ask}`: the caller sees that nothing was added, and says so
        return f"{text}allow:\n  - {rule}\n"
    key, value = entries["allow"]
    lines = text.splitlines(keepends=True)
    if isinstance(value, yaml.SequenceNode) and value.value and not value.flow_style:
        end = _last_line(value) + 1
        lines.insert(end, f"{' ' * value.start_mark.column}- {rule}\n")
        return "".join(lines)
    if isinstance(value, yaml.SequenceNode) and value.flow_style:
        at = value.end_mark.index - 1
        comma = ", " if value.value and not re.search(r",\s*\Z", text[:at]) else ""
        return f"{text[:at]}{comma}{rule}{text[at:]}"
    lines.insert(key.start_mark.line + 1, f"  - {rule}\n")
    return "".join(lines)


def _last_line(node: yaml.Node) -> int:
    """Where a node's text ends. A block's own end mark lies behind the comments that follow it."""
    import yaml

    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    end = node.end_mark
    return int(end.line) if end.column or end.line == node.start_mark.line else int(end.line) - 1
