"""Nothing flickers: what belongs together reaches the terminal in one write."""

from __future__ import annotations

import io

from prompt_toolkit.data_structures import Size

from perdure.cli.chat.output import BEGIN, END, FrameOutput


class Writes(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_a_held_frame_is_one_synchronised_write() -> None:
    stream = Writes()
    output = FrameOutput(stream, lambda: Size(rows=24, columns=80))
    output.hold()
    for piece in ("erase", "print", "draw"):
        output.write_raw(piece)
        output.flush()
    assert stream.writes == []
    output.release()
    assert stream.writes == [f"{BEGIN}eraseprintdraw{END}"]


def test_an_empty_frame_writes_nothing() -> None:
    stream = Writes()
    output = FrameOutput(stream, lambda: Size(rows=24, columns=80))
    output.hold()
    output.release()
    assert stream.writes == []
