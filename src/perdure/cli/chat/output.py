"""The terminal's output, written in whole frames.

prompt_toolkit erases, prints and draws in several writes, which shows as flicker. Here a frame is held
back and written at once, as a synchronised update (private mode 2026; terminals without it ignore it:
https://github.com/contour-terminal/vt-extensions/blob/master/synchronized-output.md).
"""

from __future__ import annotations

import os
from typing import TextIO

from prompt_toolkit.data_structures import Size
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"


class FrameOutput(Vt100_Output):
    holding = False

    def hold(self) -> None:
        """Keep what is written until `release`."""
        self.holding = True

    def release(self) -> None:
        self.holding = False
        if self._buffer:
            self._buffer = [BEGIN, *self._buffer, END]
            self.flush()

    def flush(self) -> None:
        if not self.holding:
            super().flush()


def frame_output(stream: TextIO) -> FrameOutput:
    """Output to a terminal. Cursor reports are off: a frame needs none, and waiting for one delays."""

    def size() -> Size:
        columns, rows = os.get_terminal_size(stream.fileno())
        # Some terminals know no size before they are shown.
        return Size(rows=rows or 24, columns=columns or 80)

    return FrameOutput(
        stream,
        size,
        term=os.environ.get("TERM"),
        default_color_depth=ColorDepth.from_env(),  # NO_COLOR
        enable_cpr=False,
    )
