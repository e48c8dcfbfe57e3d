"""The written form of events is written down."""

from __future__ import annotations

import typing
from pathlib import Path

import msgspec

from perdure.kernel import events

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"


def test_every_event_and_field_stands_in_the_formats() -> None:
    rows = {
        line.split("`")[1]: line
        for line in FORMATS.read_text().splitlines()
        if line.startswith("| `")
    }
    for event in typing.get_args(events.AnyEvent):
        row = rows[event.__struct_config__.tag]
        for field in msgspec.structs.fields(event):
            assert f"`{field.name}`" in row, f"{event.__name__}.{field.name}"
