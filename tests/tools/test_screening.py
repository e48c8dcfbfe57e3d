"""Output that is shown while a tool runs holds no secret, in however many pieces it comes."""

from __future__ import annotations

import pytest

from perdure.kernel.events import AnyDelta, CallId, OutputDelta, RequestId, TextDelta
from perdure.tools.screening import KEPT, LONGEST, Showing

VALUE = "shp-9Qx2LmV7rT4kW8zB1nC6"


class Knows:
    def clean(self, text: str) -> str:
        return text.replace(VALUE, "[redacted]") if VALUE in text else text

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
