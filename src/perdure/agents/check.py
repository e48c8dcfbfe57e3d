"""Turns a document into its model, or into an error that says where, what, and what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Annotated, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from perdure.kernel.errors import ConfigError

from .document import Document, Where

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)


def check(document: Document, model: type[M]) -> M:
    """Raises ConfigError for the first thing wrong; its hint lists the others."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        problems = sorted(
            (_problem(document, model, e) for e in error.errors(include_url=False)),
            key=lambda p: p[0],
        )
        line, message = problems[0]
        others = "\n  ".join(f"also line {n}: {m}" for n, m in problems[1:6])
        raise ConfigError(message, file=str(document.file), line=line, hint=others) from None


def _problem(document: Document, model: type[BaseModel], error: ErrorDetails) -> tuple[int, str]:
    where: Where = error["loc"]
    line = document.line(where)
    name = ".".join(str(w) for w in where)
    if error["type"] == "extra_forbidden":
        return line, unknown_key(str(where[-1]), known_keys(model, where[:-1]), name)
    if error["type"] == "missing":
        return line, f"`{name}` is missing"
    message = error["msg"]
    message = message[:1].lower() + message[1:]
    given = error["input"]
    shown = "" if isinstance(given, dict | list) else f", not {_short(given)}"
    return line, f"`{name}`: {message}{shown}"


def unknown_key(key: str, known: list[str], name: str) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    meant = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known) or 'none'}"
    return f"unknown key `{name}`; {meant}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def known_keys(model: type[BaseModel], where: Where) -> list[str]:
    """Field names at a place in a model."""
    for step in where:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        inner = next(_models(field.annotation), None) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, Annotated, tuple):
        for argument in get_args(annotation):
            yield from _models(argument)
