"""What a route takes from the path, the query and the headers: named, described and checked in one place.

    async def show(id: Annotated[str, Path(pattern=…)], limit: Annotated[int, Query(ge=1)] = 50): …

Strings, integers, numbers and truth values. The rules are checked by msgspec, like those of bodies, and
are told to readers of the document in the same words.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request

from .problems import Fault, Refusal, in_words, summary

Place = Literal["path", "query", "header"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a parameter must be. Made by `Path`, `Query` and `Header`."""

    place: Place
    description: str = ""
    alias: str = ""
    """What callers name it, where that is no name of Python's."""
    pattern: str | None = None
    """Of the whole value, from `^` to `$`."""
    max_length: int | None = None
    ge: float | None = None
    le: float | None = None
    examples: Sequence[str] = ()


def Path(*, description: str, pattern: str, examples: Sequence[str]) -> Rule:
    return Rule(place="path", description=description, pattern=pattern, examples=examples)


def Query(
    *,
    description: str = "",
    pattern: str | None = None,
    ge: float | None = None,
    le: float | None = None,
) -> Rule:
    return Rule(place="query", description=description, pattern=pattern, ge=ge, le=le)


def Header(*, alias: str, description: str, pattern: str, max_length: int | None = None) -> Rule:
    return Rule(
        place="header",
        alias=alias,
        description=description,
        pattern=pattern,
        max_length=max_length,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One that a handler takes."""

    argument: str
    """Of the handler."""
    rule: Rule
    kind: Any
    """The type to convert to, with what the rule demands of it."""
    default: object

    @property
    def name(self) -> str:
        return self.rule.alias or self.argument

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    def read(self, request: Request) -> object:
        """Its value in the request. Raises ValueError with what does not fit."""
        if self.rule.place == "path":
            raw = request.path_params.get(self.name)
        elif self.rule.place == "query":
            raw = request.query_params.get(self.name)
        else:
            raw = request.headers.get(self.name)
        if raw is None:
            if self.required:
                raise ValueError("It is missing")
            return self.default
        value = msgspec.convert(raw, self.kind, strict=False)
        # `$` would let a line end through, and neither bound stops what is no number.
        if self.rule.pattern and not re.fullmatch(self.rule.pattern, raw):
            raise ValueError(f"Expected `str` matching regex {self.rule.pattern!r}")
        if isinstance(value, float) and not isfinite(value):
            raise ValueError("Expected a finite number")
        return value

    def document(self) -> dict[str, Any]:
        """As OpenAPI describes it."""
        schema = msgspec.json.schema(self.kind)
        if not self.required and self.default is not None:
            schema["default"] = self.default
        told: dict[str, Any] = {
            "name": self.name,
            "in": self.rule.place,
            "required": self.required,
            "schema": schema,
        }
        if self.rule.description:
            told["description"] = self.rule.description
        return told


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """All that a handler takes."""

    parameters: tuple[Parameter, ...]
    request: str
    """The argument that gets the request itself; empty: none does."""

    def read(self, request: Request) -> dict[str, object]:
        """The handler's arguments. Raises Refusal, which names everything that does not fit."""
        values: dict[str, object] = {self.request: request} if self.request else {}
        faults: list[Fault] = []
        for parameter in self.parameters:
            try:
                values[parameter.argument] = parameter.read(request)
            except ValueError as error:  # msgspec's own errors are such, too
                where = f"{parameter.rule.place}.{parameter.name}"
                faults.append(Fault(where=where, what=in_words(str(error))))
        if not faults:
            return values
        if all(fault.where.startswith("path.") for fault in faults):
            # An id of a form that no id has: there can be no such thing.
            raise Refusal(404, "not_found", f"There is nothing at {request.url.path}.")
        raise Refusal(422, "invalid_input", summary(faults), errors=tuple(faults))


def taken_by(handler: Callable[..., object]) -> Taken:
    """From the handler's signature. Raises TypeError for an argument that is no parameter."""
    hints = get_type_hints(handler, include_extras=True)
    parameters: list[Parameter] = []
    request = ""
    for name, argument in inspect.signature(handler).parameters.items():
        hint = hints[name]
        if hint is Request:
            request = name
            continue
        if get_origin(hint) is not Annotated or not isinstance(hint.__metadata__[0], Rule):
            raise TypeError(f"{handler.__name__}: {name} is neither the request nor a parameter")
        rule = hint.__metadata__[0]
        parameters.append(
            Parameter(
                argument=name,
                rule=rule,
                kind=_kind(hint.__origin__, rule),
                default=argument.default,
            )
        )
    return Taken(parameters=tuple(parameters), request=request)


def _kind(hint: Any, rule: Rule) -> Any:
    """`T | None` says that it can be left out: whatever is sent must be a `T`."""
    plain = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    if plain == [str]:
        words = msgspec.Meta(
            pattern=rule.pattern,
            max_length=rule.max_length,
            examples=list(rule.examples) or None,
        )
        return Annotated[str, words]
    if plain in ([int], [float]):
        return Annotated[plain[0], msgspec.Meta(ge=rule.ge, le=rule.le)]
    if plain == [bool]:
        return bool
    raise TypeError(f"{hint} cannot be read from a request")
