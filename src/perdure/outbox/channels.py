"""What the owner's workspace says of a channel."""

from __future__ import annotations

import msgspec

TIMEOUT = 60.0
TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h."""
HOPELESS = frozenset((64, 65, 66, 67, 68, 77, 78))
"""Exit codes of sysexits.h that another attempt would not change: usage, data, no user, no host,
permission, configuration."""


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    command: str
    """For the shell, run in the workspace. The letter is on its standard input, as JSON; exit code 0
    means that it was delivered, and the first line of output is the receipt."""
    timeout: float = TIMEOUT
    """Seconds of one attempt."""
