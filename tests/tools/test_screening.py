"""Output that is shown while a tool runs holds no secret, in however many pieces it comes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure.kernel.events import (
    AnyDelta,
    CallId,
    OutputDelta,
    RequestId,
    Text,
    TextDelta,
    ToolResult,
)
from perdure.tools.screening import KEPT, LONGEST, Showing, cleaned

VALUE = "shp-9Qx2LmV7rT4kW8zB1nC6"


class Knows:
    def __init__(self) -> None:
        self.searches = 0

    def clean(self, text: str) -> str:
        self.searches += 1
        return text.replace(VALUE, "[redacted]") if VALUE in text else text

    def clear(self, texts: Sequence[str]) -> bool:
        self.searches += 1
        return not any(VALUE in text for text in texts)

    def refusal(self, paths: object, texts: object) -> str:
        return ""


class Watched:
    def __init__(self) -> None:
        self.deltas: list[AnyDelta] = []
        self.showing = Showing(Knows(), self.deltas.append)

    def says(self, *pieces: str, stream: str = "stdout") -> None:
        for text in pieces:
            self.showing(OutputDelta(call=CallId("c"), stream=stream, text=text))  # type: ignore[arg-type]

    def shown(self, stream: str = "stdout") -> str:
        return "".join(
            d.text for d in self.deltas if isinstance(d, OutputDelta) and d.stream == stream
        )


@pytest.mark.parametrize("at", range(1, len(VALUE)))
def test_a_secret_in_two_pieces_is_found(at: int) -> None:
    watched = Watched()
    watched.says(f"key: {VALUE[:at]}", f"{VALUE[at:]} ok\nnext ", "line")
    assert watched.shown() == "key: [redacted] ok\n"
    watched.showing.flush()
    assert watched.shown() == "key: [redacted] ok\nnext line"


def test_the_end_of_the_output_needs_no_end_of_line() -> None:
    watched = Watched()
    watched.says(*VALUE)
    assert watched.shown() == ""
    watched.showing.flush()
    assert watched.shown() == "[redacted]"
    watched.says("too late\n")
    assert watched.shown() == "[redacted]"


def test_streams_are_put_together_each_by_itself() -> None:
    watched = Watched()
    watched.says(VALUE[:9])
    watched.says("warning\n", stream="stderr")
    watched.says(f"{VALUE[9:]}\n")
    assert watched.shown() == "[redacted]\n" and watched.shown("stderr") == "warning\n"


@pytest.mark.parametrize("before", range(LONGEST - KEPT - 40, LONGEST - KEPT + 3 * len(VALUE), 7))
def test_a_long_line_is_shown_in_parts_and_no_secret_is_cut(before: int) -> None:
    watched = Watched()
    text = "x" * before + VALUE + "y" * (3 * LONGEST)
    watched.says(*(text[n : n + 100] for n in range(0, len(text), 100)))
    assert len(watched.shown()) > LONGEST
    watched.showing.flush()
    assert watched.shown() == text.replace(VALUE, "[redacted]")


def test_a_line_of_progress_is_shown_as_it_is_written_over() -> None:
    watched = Watched()
    watched.says("10%\r", "20%\r")
    assert watched.shown() == "10%\r20%\r"


def test_what_is_no_output_passes_at_once() -> None:
    watched = Watched()
    delta = TextDelta(request=RequestId("r"), text="hello")
    watched.showing(delta)
    assert watched.deltas == [delta]


def test_a_clean_result_is_searched_once_however_many_values_it_holds() -> None:
    screen = Knows()
    rows = [{"id": str(n), "tags": ["a", "b"]} for n in range(1_000)]
    result = ToolResult(parts=(Text(text="many rows"),), data={"rows": rows})  # type: ignore[dict-item]
    assert cleaned(screen, result) is result
    assert screen.searches == 1


@pytest.mark.parametrize("data", [{VALUE: 1}, {"a": [{"b": VALUE}]}, {"a": 1}])
def test_a_secret_is_taken_out_of_values_names_and_text(data: dict[str, object]) -> None:
    result = ToolResult(parts=(Text(text=f"it is {VALUE}"),), data=data)  # type: ignore[arg-type]
    clean = cleaned(Knows(), result)
    assert VALUE not in str(clean) and clean.text == "it is [redacted]"
    assert list(clean.data) == [key.replace(VALUE, "[redacted]") for key in data]
