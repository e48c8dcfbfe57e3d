"""What needs no scanner: short plain lines in which nothing could be found.

The libraries and formats of the scanner take five megabytes. A server that does nothing but say where it
listens does without them: as long as nothing else has loaded them, a line passes if it is proven here that
the scanner would find nothing. Anything that is not proven is for the scanner.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .forms import Own, forms

LONGEST = 1_000
"""Bytes; what is longer is no line of a log."""
MOST_OWN = 8
"""Own secrets that are looked for one after the other."""

_SUSPECT = re.compile(
    # The start of an escape: what it hides is unknown here.
    rb"[%\\&=\x80-\xff]"
    # A credential of any format, base64 or hex has a row like this in it …
    rb"|[A-Za-z0-9+/_~-]{20}"
    # … but for these: a password in an address, a private key, and those with dots all through.
    rb"|@|-----BEGIN|pscale_|Q~"
)


def is_harmless(data: bytes, own: Sequence[Own]) -> bool:
    """Whether the scanner is certain to find nothing in `data`, own secrets included."""
    if len(data) > LONGEST or len(own) > MOST_OWN or _SUSPECT.search(data):
        return False
    return not any(form in data for secret in own for form in forms(secret.value))
