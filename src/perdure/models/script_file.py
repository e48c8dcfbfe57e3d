"""Reads the YAML file that a scripted model plays (docs/guides/script-models.md).

Every mistake is a ConfigError with file and line, and the key that was probably meant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from perdure.kernel.errors import ConfigError, ModelErrorKind
from perdure.kernel.events import Json, ResultStatus, StopReason, Usage

from .codec import clean

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 16 * 1024 * 1024
NO_USAGE = Usage()


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """What must be true of the prompt before the reply is played; empty fields ask nothing."""

    line: int
    message: str = ""
    """In the owner's last message."""
    results: tuple[str, ...] = ()
    """One for each result of the last round, in order."""
    status: tuple[str, ...] = ()
    system: str = ""
    tail: str = ""
    tools: bool | None = None
    """Whether tools were offered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptCall:
    tool: str
    arguments: dict[str, Json]
    id: str = ""
    unparsed: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptError:
    kind: ModelErrorKind
    message: str
    status: int | None
    retry_after: float | None
    times: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptReply:
    line: int
    thinking: str = ""
    text: str = ""
    calls: tuple[ScriptCall, ...] = ()
    error: ScriptError | None = None
    """Fails after `text` was streamed."""
    stop: StopReason | None = None
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    wait: float = 0.0
    delay: float = 0.0
    chunk: int = 24
    expect: Expect | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    path: Path
    replies: tuple[ScriptReply, ...]
    summary: str
    reads: tuple[str, ...]
    """Answers of the reader behind `extract`: the nth to the nth attempt, the last to all after it."""
    at_end: Literal["fail", "repeat"]


def read_script(path: Path) -> Script:
    """Raises ConfigError."""
    import yaml

    try:
        if path.exists() and not path.is_file():
            raise ConfigError("is no file", file=str(path))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES >> 20} MB", file=str(path))
    try:
        loader = _loader(data.decode("utf-8-sig"))
        node = loader.get_single_node()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8", file=str(path), line=line) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark is not None else 0
        raise ConfigError(f"is no YAML: {what}", file=str(path), line=line) from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply", file=str(path)) from error
    if node is None:
        raise ConfigError("is empty: expected `replies:`", file=str(path), line=1)
    try:
        return _script(_Value(path, loader, node, "the script"))
    except RecursionError as error:
        raise ConfigError("is nested too deeply", file=str(path)) from error


def _loader(text: str) -> yaml.SafeLoader:
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads what YAML 1.2 calls booleans and nothing more; dates stay text, as in JSON."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":bool"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    words = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", words, list("tTfF"))
    return Loader(text)


def _script(value: _Value) -> Script:
    keys = value.keys("replies", "summary", "reads", "at_end", "wait", "delay", "chunk")
    if "replies" not in keys:
        raise value.wrong("expected `replies:`, a list")
    defaults = _pace(keys, ScriptReply(line=0))
    replies = tuple(_reply(item, defaults) for item in keys["replies"].items())
    if not replies:
        raise keys["replies"].wrong("the list of replies is empty")
    at_end: Literal["fail", "repeat"] = "fail"
    if "at_end" in keys and keys["at_end"].one_of(("fail", "repeat")) == "repeat":
        at_end = "repeat"
        if all(r.error is not None for r in replies):
            raise keys["at_end"].wrong("repeating errors only would never end")
    summary = keys["summary"].text() if "summary" in keys else "What was said is in the log."
    reads = tuple(r.text() for r in keys["reads"].items()) if "reads" in keys else ()
    return Script(path=value.path, replies=replies, summary=summary, reads=reads, at_end=at_end)


_REPLY = (
    "text", "thinking", "calls", "stop", "usage", "cost_usd", "error", "message", "status",
    "retry_after", "times", "wait", "delay", "chunk", "expect",
)  # fmt: skip
_OF_ERROR = ("message", "status", "retry_after", "times")
_OF_ANSWER = ("thinking", "calls", "stop", "usage", "cost_usd")


def _reply(value: _Value, defaults: ScriptReply) -> ScriptReply:
    keys = value.keys(*_REPLY)
    error = keys.get("error")
    misplaced = _OF_ERROR if error is None else _OF_ANSWER
    for name in misplaced:
        if name in keys:
            only = "an `error`" if error is None else "an answer"
            raise keys[name].wrong(f"`{name}` belongs to {only} only")
    pace = _pace(keys, defaults)
    expect = _expect(keys["expect"]) if "expect" in keys else None
    text = keys["text"].text() if "text" in keys else ""
    if error is not None:
        return replace(pace, line=value.line, text=text, expect=expect, error=_error(error, keys))
    calls = tuple(_call(c) for c in keys["calls"].items()) if "calls" in keys else ()
    if not text.strip() and not calls:
        raise value.wrong("a reply needs `text`, `calls` or `error`")
    stop: StopReason | None = None
    if "stop" in keys:
        found = keys["stop"].one_of(get_args(StopReason))
        stop = next(s for s in get_args(StopReason) if s == found)
    return replace(
        pace,
        line=value.line,
        text=text,
        thinking=keys["thinking"].text() if "thinking" in keys else "",
        calls=calls,
        stop=stop,
        usage=_usage(keys["usage"]) if "usage" in keys else NO_USAGE,
        cost_usd=keys["cost_usd"].number() if "cost_usd" in keys else 0.0,
        expect=expect,
    )


def _pace(keys: dict[str, _Value], base: ScriptReply) -> ScriptReply:
    return replace(
        base,
        wait=keys["wait"].number() if "wait" in keys else base.wait,
        delay=keys["delay"].number() if "delay" in keys else base.delay,
        chunk=keys["chunk"].whole(1) if "chunk" in keys else base.chunk,
    )


def _error(kind: _Value, keys: dict[str, _Value]) -> ScriptError:
    known: tuple[ModelErrorKind, ...] = get_args(ModelErrorKind)
    name = kind.one_of(known)
    return ScriptError(
        kind=next(k for k in known if k == name),
        message=keys["message"].text() if "message" in keys else f"The script says: {name}.",
        status=keys["status"].whole(100) if "status" in keys else None,
        retry_after=keys["retry_after"].number() if "retry_after" in keys else None,
        times=keys["times"].whole(1) if "times" in keys else 1,
    )


def _call(value: _Value) -> ScriptCall:
    keys = value.keys("tool", "arguments", "id", "unparsed")
    if "tool" not in keys:
        raise value.wrong("a call needs `tool`")
    if "unparsed" in keys and "arguments" in keys:
        raise keys["unparsed"].wrong("a call has `arguments` or `unparsed`, not both")
    return ScriptCall(
        tool=keys["tool"].text(),
        arguments=keys["arguments"].json_object() if "arguments" in keys else {},
        id=keys["id"].text() if "id" in keys else "",
        unparsed=keys["unparsed"].text() if "unparsed" in keys else "",
    )


def _usage(value: _Value) -> Usage:
    names = ("input", "cache_read", "cache_write", "output", "reasoning")
    keys = value.keys(*names)
    return Usage(**{name: v.whole(0) for name, v in keys.items()})


def _expect(value: _Value) -> Expect:
    keys = value.keys("message", "results", "status", "system", "tail", "tools")
    if not keys:
        raise value.wrong("`expect` asks nothing")
    return Expect(
        line=value.line,
        message=keys["message"].text() if "message" in keys else "",
        results=keys["results"].texts() if "results" in keys else (),
        status=keys["status"].texts(get_args(ResultStatus)) if "status" in keys else (),
        system=keys["system"].text() if "system" in keys else "",
        tail=keys["tail"].text() if "tail" in keys else "",
        tools=keys["tools"].flag() if "tools" in keys else None,
    )


class _Value:
    """A YAML node, and what it is called in messages."""

    def __init__(self, path: Path, loader: yaml.SafeLoader, node: yaml.Node, name: str) -> None:
        self.path, self._loader, self._node, self._name = path, loader, node, name

    @property
    def line(self) -> int:
        return int(self._node.start_mark.line) + 1

    def wrong(self, what: str, hint: str = "") -> ConfigError:
        return ConfigError(what, file=str(self.path), line=self.line, hint=hint)

    def keys(self, *known: str) -> dict[str, _Value]:
        import yaml

        if not isinstance(self._node, yaml.MappingNode):
            raise self.wrong(f"{self._name} must be a mapping with keys such as `{known[0]}`")
        merged: dict[str, _Value] = {}
        found: dict[str, _Value] = {}
        for key, node in self._node.value:
            name = str(key.value)
            at = _Value(self.path, self._loader, key, name)
            if key.tag == "tag:yaml.org,2002:merge":
                merged |= _Value(self.path, self._loader, node, "`<<`").keys(*known)
                continue
            if name not in known:
                raise at.wrong(f"unknown key `{name}`", _did_you_mean(name, known))
            if name in found:
                raise at.wrong(f"`{name}` stands here twice")
            found[name] = _Value(self.path, self._loader, node, f"`{name}`")
        return merged | found

    def items(self) -> list[_Value]:
        import yaml

        if not isinstance(self._node, yaml.SequenceNode):
            raise self.wrong(f"{self._name} must be a list")
        return [
            _Value(self.path, self._loader, node, f"an item of {self._name}")
            for node in self._node.value
        ]

    def text(self) -> str:
        import yaml

        if not isinstance(self._node, yaml.ScalarNode):
            raise self.wrong(f"{self._name} must be text")
        # A bare 42 or yes is text where text is wanted.
        return clean(str(self._node.value))

    def texts(self, known: Sequence[str] = ()) -> tuple[str, ...]:
        """One text, or a list of them."""
        import yaml

        values = self.items() if isinstance(self._node, yaml.SequenceNode) else [self]
        return tuple(v.one_of(known) if known else v.text() for v in values)

    def one_of(self, known: Sequence[str]) -> str:
        text = self.text()
        if text not in known:
            hint = _did_you_mean(text, known) or f"One of {', '.join(known)}."
            raise self.wrong(f"{self._name} cannot be `{text}`", hint)
        return text

    def number(self) -> float:
        try:
            number = float(self.text())
        except ValueError:
            number = -1.0
        if not (0 <= number < math.inf):
            raise self.wrong(f"{self._name} must be a number, zero or more")
        return number

    def whole(self, least: int) -> int:
        text = self.text()
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise self.wrong(f"{self._name} must be a whole number, {least} or more")
        return int(text)

    def flag(self) -> bool:
        if self.text().lower() not in ("true", "false"):
            raise self.wrong(f"{self._name} must be true or false")
        return self.text().lower() == "true"

    def json_object(self) -> dict[str, Json]:
        import yaml

        try:
            value = self._loader.construct_document(self._node)
            text = json.dumps(value, allow_nan=False)
            return msgspec.json.decode(text.encode(errors="replace"), type=dict[str, Json])
        except yaml.YAMLError as error:
            raise self.wrong(f"{self._name}: {getattr(error, 'problem', error)}") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise self.wrong(f"{self._name} must be a mapping of plain JSON values") from error


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(known)}."
