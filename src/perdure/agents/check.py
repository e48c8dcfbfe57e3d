"""Turns a document into its model, or into an error that says where, what, and what was meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from perdure.kernel.errors import ConfigError

from .document import Document, Where
from .wording import example_of, explained, field_at, keys_at

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
    where: Where = tuple(step for step in error["loc"] if step != "[key]")
    line = document.line(where)
    name = ".".join(str(w) for w in where)
    if error["type"] == "extra_forbidden":
        return line, unknown_key(str(where[-1]), keys_at(model, where[:-1]), name)
    if error["type"] == "missing":
        owner, key = field_at(model, where)
        example = f"; for example: {key}: {example_of(owner, key)}" if owner is not None else ""
        return line, f"`{name}` is missing{example}"
    return line, f"`{name}`: {explained(model, error)}"


def unknown_key(key: str, known: list[str], name: str) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    meant = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known) or 'none'}"
    return f"unknown key `{name}`; {meant}"
