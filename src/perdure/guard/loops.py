"""A model that goes round in circles: the same call with the same result, the same error from one tool
again and again, or two calls that take turns. It is told first, and stopped if it goes on (S11).

Only what a call came to counts: who polls and sees something new makes progress. A new turn begins anew.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque

import msgspec

from perdure.kernel.events import Record, Text, ToolCall, ToolResult, TurnStarted

WARN_SAME, BLOCK_SAME = 3, 5
"""The same call with the same result, in a row."""
WARN_ERROR, BLOCK_ERROR = 4, 8
"""The same error of one tool, in a row, whatever the arguments."""
WARN_CYCLE, BLOCK_CYCLE = 3, 5
"""Rounds of the same two or three calls with the same results."""
LONGEST_CYCLE = 3
KEPT = LONGEST_CYCLE * BLOCK_CYCLE
_TIMES = re.compile(r"\b\d+(\.\d+)?\s?(ms|s|seconds?)\b")
"""How long something took is no news."""
_MAYBE_TIMES = re.compile(r"[ms](?:(?<=\d.)|(?<=\d\s.))")
"""Told in a third of the time: most results hold none."""
_encode = msgspec.json.Encoder(order="deterministic").encode


class Loops:
    """Of one session. Implements the gate's `Loops`."""

    def __init__(self) -> None:
        self._done: deque[tuple[bytes, bytes]] = deque(maxlen=KEPT)
        """Digests of calls and of what they came to."""
        self._weighed: tuple[ToolCall, bytes] | None = None
        """The last one that was weighed, and its digest."""
        self._errors: dict[str, tuple[bytes, int]] = {}
        """By tool: its last error and how often it came in a row."""

    def feed(self, record: Record) -> None:
        if isinstance(record.event, TurnStarted):
            self._done.clear()
            self._errors.clear()

    def ran(self, call: ToolCall, result: ToolResult) -> str:
        """A call has run. What the model should be told of it; empty: nothing."""
        self._take(call, result)
        if (n := self._same()) >= WARN_SAME:
            return f"You made this same call {n} times, with the same result each time. {_ADVICE}"
        if (n := self._errors.get(call.name, (b"", 0))[1]) >= WARN_ERROR:
            return f"{call.name} has failed {n} times in a row with this same error. {_ADVICE}"
        if (n := self._cycle()) >= WARN_CYCLE:
            return f"You have made the same few calls in turn {n} times, and nothing changed. {_ADVICE}"
        return ""

    def weigh(self, call: ToolCall) -> str:
        """Why this call must not run again now, for the model; empty: it may."""
        if not self._done and not self._errors:
            return ""
        key = self._key(call)
        if self._done and self._done[-1][0] == key and self._same() >= BLOCK_SAME:
            return f"Not run: this same call had the same result {BLOCK_SAME} times. {_STOP}"
        if self._errors.get(call.name, (b"", 0))[1] >= BLOCK_ERROR:
            return f"Not run: {call.name} failed {BLOCK_ERROR} times with the same error. {_STOP}"
        if self._cycle() >= BLOCK_CYCLE and any(done == key for done, _ in self._done):
            return f"Not run: the same few calls were made in turn {BLOCK_CYCLE} times. {_STOP}"
        return ""

    def _take(self, call: ToolCall, result: ToolResult) -> None:
        key, said = self._key(call), result.text
        if _MAYBE_TIMES.search(said):
            said = _TIMES.sub("", said)
        others = [p for p in result.parts if not isinstance(p, Text)]
        outcome = _digest(result.status, said, _encode(others))
        self._done.append((key, outcome))
        if result.status == "ok":
            self._errors.pop(call.name, None)
        else:
            error, count = self._errors.get(call.name, (b"", 0))
            self._errors[call.name] = (outcome, count + 1 if error == outcome else 1)

    def _key(self, call: ToolCall) -> bytes:
        if self._weighed is None or self._weighed[0] is not call:
            self._weighed = call, _digest(call.name, _encode(call.arguments))
        return self._weighed[1]

    def _same(self) -> int:
        """How often the last call was made in a row with the same result."""
        n = 0
        for done in reversed(self._done):
            if done != self._done[-1]:
                break
            n += 1
        return n

    def _cycle(self) -> int:
        """How often the last two, or three, calls were made in turn; 0 for once."""
        best, last = 0, self._done
        for length in range(2, LONGEST_CYCLE + 1):
            if len(last) <= length or last[-1] != last[-1 - length]:
                continue
            done = list(last)
            pattern = done[-length:]
            if len(set(pattern)) == 1:
                continue
            rounds = 0
            while done[len(done) - (rounds + 1) * length : len(done) - rounds * length] == pattern:
                rounds += 1
            best = max(best, rounds)
        return best


_ADVICE = "If you repeat it, it will be refused: do something else, or say what is in the way."
_STOP = "Do something else, or tell the user what is in the way. A new message begins anew."


def _digest(*parts: str | bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        data = part.encode("utf-8", "replace") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
