"""Whether its owner has been told already what is wrong with the files a session goes by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import NoticeAdded, Record

RECENT = 1_000
"""So many records back a warning is looked for: what is further up nobody sees any more."""


class Warned:
    """Of one session while it is open; what was said before is found in its records."""

    def __init__(self, recent: Callable[[], Iterable[Record]]) -> None:
        """`recent`: its last records, RECENT at most. Called outside the event loop."""
        self._recent = recent
        self._last: str | None = None
        """What was found wrong last; None: nobody looked since the session was opened."""

    async def news(self, notice: NoticeAdded) -> bool:
        """Is it to be said? Not what was said last, as long as it stays so. An empty one: all is well."""
        if self._last is None and notice.text:
            found = await asyncio.to_thread(self._said)
            self._last = found if self._last is None else self._last
        last, self._last = self._last, notice.text
        return bool(notice.text) and notice.text != last

    def _said(self) -> str:
        last = ""
        try:
            for record in self._recent():
                event = record.event
                if isinstance(event, NoticeAdded) and event.level == "warning":
                    last = event.text if event.audience == "user" else last
        except PerdureError:
            return ""  # then it is said once more
        return last
