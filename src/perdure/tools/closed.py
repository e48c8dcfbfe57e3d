"""Closed schemas: fields whose values are so narrow that no instruction fits through them.

A field is written as the model of a call writes it: `bool`, `date`, `int 0..100`, `number 0..9.5`,
`enum red|green` or `text 80` (at most so many characters).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Literal

import msgspec

from perdure.kernel.events import Json

from .taming import tame

MAX_FIELDS = 20
MAX_TEXT = 200
MAX_OPTIONS = 50
FEW = 1_000
"""Whole numbers in a range no wider are a choice among what the call lists, as an enum's options are."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,59}\Z")
_RANGE = re.compile(r"(int|number) (-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)\Z")
_TEXT = re.compile(r"text (\d{1,3})\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)


class Unfit(ValueError):
    """A field that is none, or an answer that does not fit; the message is for a model."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["bool", "date", "int", "number", "enum", "text"]
    options: tuple[str, ...] = ()
    least: float = 0
    most: float = 0

    @property
    def chosen(self) -> bool:
        """Are all its possible values in the call itself, or as good as that?"""
        if self.kind == "int":
            return self.most - self.least <= FEW
        return self.kind in ("bool", "enum")

    def check(self, value: Json) -> Json:
        """The value, or null where the text does not tell. Raises Unfit."""
        if value is None:
            return None
        match self.kind:
            case "bool":
                if isinstance(value, bool):
                    return value
                raise Unfit("expected true or false")
            case "enum":
                if isinstance(value, str) and value in self.options:
                    return value
                raise Unfit(f"expected one of {', '.join(self.options)}")
            case "date":
                return self._date(value)
            case "text":
                if isinstance(value, str) and len(value) <= self.most:
                    return tame(value, int(self.most))
                raise Unfit(f"expected a text of at most {int(self.most)} characters")
            case _:
                return self._number(value)

    def _date(self, value: Json) -> str:
        try:
            if isinstance(value, str) and _DATE.match(value):
                return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
        raise Unfit("expected a date, YYYY-MM-DD")

    def _number(self, value: Json) -> int | float:
        whole = self.kind == "int"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not (whole and not isinstance(value, int)):
            assert isinstance(value, int | float)
            if math.isfinite(value) and self.least <= value <= self.most:
                return value
        what = "a whole number" if whole else "a number"
        raise Unfit(f"expected {what} from {self.least:g} to {self.most:g}")


def parse(fields: Mapping[str, str]) -> dict[str, Field]:
    """Raises Unfit."""
    if not 1 <= len(fields) <= MAX_FIELDS:
        raise Unfit(f"expected 1 to {MAX_FIELDS} fields")
    parsed = {}
    for name, written in fields.items():
        if not _NAME.match(name):
            raise Unfit(f"{name[:80]!r} is no name of a field: letters, digits, `_`, `-`, blanks")
        parsed[name] = _field(name, written.strip())
    return parsed


def _field(name: str, written: str) -> Field:
    if written in ("bool", "date"):
        return Field(kind="bool" if written == "bool" else "date")
    if found := _RANGE.match(written):
        least, most = float(found[2]), float(found[3])
        if least > most or max(abs(least), abs(most)) > 1e15:
            raise Unfit(f"{name}: {written!r} is no range")
        return Field(kind="int" if found[1] == "int" else "number", least=least, most=most)
    if found := _TEXT.match(written):
        if not 1 <= int(found[1]) <= MAX_TEXT:
            raise Unfit(f"{name}: a text has 1 to {MAX_TEXT} characters")
        return Field(kind="text", most=int(found[1]))
    if written.startswith("enum "):
        options = tuple(o.strip() for o in written[5:].split("|"))
        if all(0 < len(o) <= MAX_TEXT for o in options) and 2 <= len(options) <= MAX_OPTIONS:
            return Field(kind="enum", options=options)
    raise Unfit(
        f"{name}: {written[:80]!r} is no field; write bool, date, int 0..100, number 0..9.5, enum a|b or "
        "text 80"
    )


def read_answer(text: str, fields: Mapping[str, Field]) -> dict[str, Json]:
    """What a model answered, every field and nothing else. Raises Unfit."""
    if fenced := _FENCE.match(text):
        text = fenced[1]
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise Unfit("expected one JSON object and nothing else") from None
    if not isinstance(answer, dict):
        raise Unfit("expected one JSON object")
    if others := [str(k) for k in answer if k not in fields]:
        raise Unfit(f"there is no field {others[0][:80]!r}")
    values: dict[str, Json] = {}
    for name, field in fields.items():
        if name not in answer:
            raise Unfit(f"{name}: missing; null where the text does not tell")
        try:
            values[name] = field.check(answer[name])
        except Unfit as problem:
            raise Unfit(f"{name}: {problem}") from None
    return values
