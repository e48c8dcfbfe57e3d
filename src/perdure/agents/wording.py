"""What a key of perdure.yaml or agent.yaml wants, in words, and an example of it that is right."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from . import config
from .document import Where

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

FORMS = {
    config.HOST_PATTERN: "the name of a host, without scheme or port",
    config.ORIGIN_PATTERN: "where a web page comes from: https://name[:port], nothing behind it",
    config.NAME_PATTERN: "a name of letters, digits, `_` and `-`, at most 64, beginning with one of the "
    "first two",
    config.SIZE_PATTERN: "a size such as 512M or 2G, a share such as 50%, or none",
    config.EGRESS_PATTERN: "[METHODS] [https://]host[:port][/path]",
    config.PRIVATE_PATTERN: "host:port",
    config.SECRET_PATTERN: "secret://NAME, where `perdure secrets set NAME` has stored the key",
    config.URL_PATTERN: "an address that begins with https:// or http://, without a user or password",
}
"""Each pattern of the configuration in words."""

EXAMPLES = {
    "AgentFile.metadata": "{name: ann}",
    "AgentFile.spec": "{model: anthropic/claude-sonnet-4-5}",
    "Budget.day": "{cost_usd: 5}",
    "Budget.month": "{cost_usd: 60}",
    "Budget.session": "{cost_usd: 10}",
    "Budget.unattended": "{turns: 50}",
    "Budget.calls": "200",
    "Budget.cost_usd": "2.5",
    "Budget.rounds": "100",
    "Budget.seconds": "1800",
    "Budget.tokens": "500000",
    "CapSettings.calls": "2000",
    "CapSettings.cost_usd": "5",
    "CapSettings.seconds": "3600",
    "CapSettings.tokens": "1000000",
    "CapSettings.turns": "50",
    "ChannelSettings.command": "notify-send Perdure",
    "ContextSettings.window": "100000",
    "EgressRule.agents": "[ann]",
    "EgressRule.to": "GET https://api.github.com/repos/*",
    "EgressRule.tools": "[http_request]",
    "EgressSettings.allow": "[api.github.com]",
    "EgressSettings.deny": "[uploads.example.com]",
    "EgressSettings.intercept": "[files.example.com]",
    "EgressSettings.private": "[nas.home:443]",
    "HookSettings.command": "python3 check.py",
    "HookSettings.tools": "[bash]",
    "Metadata.description": "Looks after the garden.",
    "Metadata.labels": "{team: home}",
    "Metadata.name": "ann",
    "Metadata.version": "1.0.0",
    "Price.input": "3",
    "Price.output": "15",
    "SandboxSettings.image": "debian:12",
    "SandboxSettings.read": "[/opt/data]",
    "SandboxSettings.write": "[~/builds]",
    "SearchSettings.fields": "{title: name, url: link, text: snippet}",
    "SearchSettings.headers": "{X-Api-Key: secret://search}",
    "SearchSettings.results": "data.items",
    "SearchSettings.secret": "secret://search",
    "SearchSettings.url": "https://search.example/search",
    "ServerSettings.allowed_hosts": "[perdure.home]",
    "ServerSettings.allowed_origins": "['https://my.site']",
    "ServerSettings.port": "8420",
    "ServerSettings.token": "${PERDURE_TOKEN}",
    "Spec.budget": "{rounds: 100}",
    "Spec.context": "{window: 100000}",
    "Spec.hooks": "[{on: before_tool, command: python3 check.py}]",
    "Spec.instructions": "INSTRUCTIONS.md",
    "Spec.memory": "{enabled: true}",
    "Spec.model": "anthropic/claude-sonnet-4-5",
    "Spec.sandbox": "{backend: auto}",
    "Spec.session": "{collect_ms: 0}",
    "Spec.soul": "SOUL.md",
    "Spec.system_prompt": "SYSTEM_PROMPT.md",
    "Spending.day": "{cost_usd: 10}",
    "Spending.month": "{cost_usd: 100}",
    "WebSettings.requests": "true",
    "WebSettings.search": "{provider: brave, secret: secret://search}",
    "WorkspaceFile.budget": "{rounds: 100}",
    "WorkspaceFile.checkpoints": "{enabled: true}",
    "WorkspaceFile.egress": "{allow: [api.github.com]}",
    "WorkspaceFile.hooks": "[{on: before_tool, command: python3 check.py}]",
    "WorkspaceFile.model": "anthropic/claude-sonnet-4-5",
    "WorkspaceFile.outbox": "{desk: {command: notify-send Perdure}}",
    "WorkspaceFile.sandbox": "{backend: auto}",
    "WorkspaceFile.server": "{port: 8420}",
    "WorkspaceFile.spending": "{day: {cost_usd: 10}}",
    "WorkspaceFile.web": "{fetch: true}",
}
"""Where the default is no good example."""
_MODEL = {
    "base_url": "http://127.0.0.1:8000/v1",
    "context_window": "200000",
    "effort": "high",
    "extra": "{top_k: 20}",
    "fallbacks": "[openai/gpt-5-mini]",
    "headers": "{X-Title: mine}",
    "max_output_tokens": "16000",
    "name": "claude-sonnet-4-5",
    "price": "{input: 3, output: 15}",
    "provider": "anthropic",
    "temperature": "0.7",
}

_KINDS = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "some text",
    "tuple_type": "a list",
    "dict_type": "`key: value` lines",
    "model_type": "`key: value` lines",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_HIDDEN = frozenset(("secret", "token"))
"""What is wrong here may be a key that was pasted."""


def explained(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wanted, what was given instead, and an example."""
    where: Where = tuple(w for w in error["loc"] if w != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        wanted = FORMS[str(context["pattern"])]
    elif kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        wanted = f"{words} {bound:g}" if isinstance(bound, float) else f"{words} {bound:,}"
    elif kind == "literal_error":
        wanted = str(context["expected"]).replace("'", "")
    elif kind == "value_error":
        return str(context["error"]) + _example(model, where)
    else:
        wanted = _KINDS.get(kind, "")
        if not wanted:
            return error["msg"][:1].lower() + error["msg"][1:] + _example(model, where)
    return f"must be {wanted}{_given(error, where)}" + (
        ""
        if kind == "literal_error"
        else _example(model, where, is_key=error["loc"][-1] == "[key]")
    )


def _given(error: ErrorDetails, where: Where) -> str:
    given = error["input"]
    if isinstance(given, dict | list) or not where or where[-1] in _HIDDEN:
        return ""
    if isinstance(given, str) and "@" in given:
        return ""  # an address with a password in it
    if given is None or isinstance(given, bool):
        return f", not {'nothing' if given is None else str(given).lower()}"
    text = repr(given)
    return f", not {text if len(text) <= 60 else text[:59] + '…'}"


def _example(model: type[BaseModel], where: Where, *, is_key: bool = False) -> str:
    if is_key:
        return "; for example: desk"
    owner, key = field_at(model, where)
    return f"; for example: {key}: {example_of(owner, key)}" if owner is not None else ""


def example_of(model: type[BaseModel], key: str) -> str:
    """A right value, as it is written in the file."""
    if issubclass(model, config.OneModel) and key in _MODEL:
        return _MODEL[key]
    if found := EXAMPLES.get(f"{model.__name__}.{key}"):
        return found
    field = model.model_fields[key]
    default = field.get_default(call_default_factory=True)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float | str) and default != "":
        return f"{default:g}" if isinstance(default, float) else str(default)
    return str(_choices(field)[0])


def _choices(field: FieldInfo) -> tuple[object, ...]:
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)
    raise LookupError(f"no example is known for {field}")


def field_at(model: type[BaseModel], where: Where) -> tuple[type[BaseModel] | None, str]:
    """The key at a place in a file, or of the list or table it is in, and the section that has it."""
    owner: type[BaseModel] | None = None
    inner: type[BaseModel] | None = model
    key = ""
    for step in where:
        if isinstance(step, int) or inner is None:
            continue
        field = inner.model_fields.get(step)
        if field is None:
            continue  # a name the owner chose, as of a channel
        owner, key = inner, step
        inner = next(_models(field.annotation), None)
    return owner, key


def keys_at(model: type[BaseModel], where: Where) -> list[str]:
    """Keys that are known at a place."""
    owner, key = field_at(model, where)
    if owner is None:
        return list(model.model_fields)
    inner = next(_models(owner.model_fields[key].annotation), None)
    return list(inner.model_fields) if inner is not None else []


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated, tuple, dict):
        for argument in get_args(annotation):
            yield from _models(argument)
